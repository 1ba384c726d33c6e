//! Calls of Python code, which may end with the interpreter.
//!
//! Before 3.14 a daemon thread that wants to go on in Python code while the interpreter ends is ended by `pthread_exit`, which
//! unwinds its stack; where that meets frames of ours it would end the whole process. So whoever calls Python code
//! that takes its time does it from here: the unwinding comes to a thread that waits for ever, as it does in 3.14.

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyTuple};
use std::ptr;

/// The most positional arguments of [`call`].
const MOST: usize = 3;

type Vectorcall = unsafe extern "C-unwind" fn(
    *mut PyObject,
    *const *mut PyObject,
    usize,
    *mut PyObject,
) -> *mut PyObject;

unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    fn PyIter_Next(iterator: *mut PyObject) -> *mut PyObject;
}

/// Dropped by an unwinding only: nobody misses the thread.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Calls into Python, by functions that may unwind.
fn guarded<T>(call: impl FnOnce() -> T) -> T {
    let ended = Ended;
    let returned = call();
    std::mem::forget(ended);
    returned
}

/// `callable(*arguments)`.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &[&Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    assert!(arguments.len() <= MOST, "at most {MOST} arguments");
    // SAFETY: the interpreter is held, and `callable` is an object.
    let Some(function) = (unsafe { ffi::PyVectorcall_Function(callable.as_ptr()) }) else {
        let arguments = PyTuple::new(callable.py(), arguments)?;
        return call_with(callable, &arguments, None);
    };
    // SAFETY: the same function, of which is said that it may unwind.
    let function: Vectorcall = unsafe { std::mem::transmute(function) };
    // The first one is the callee's to use.
    let mut array = [ptr::null_mut(); 1 + MOST];
    for (place, argument) in array[1..].iter_mut().zip(arguments) {
        *place = argument.as_ptr();
    }
    let count = arguments.len() | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
    // SAFETY: so many arguments are there, and outlive the call; what it returns is the caller's, or null and an error.
    unsafe {
        let returned = guarded(|| {
            function(
                callable.as_ptr(),
                array.as_ptr().add(1),
                count,
                ptr::null_mut(),
            )
        });
        Bound::from_owned_ptr_or_err(callable.py(), returned)
    }
}

/// `callable(*arguments, **named)`.
pub fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    named: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let named = named.map_or(ptr::null_mut(), |named| named.as_ptr());
    // SAFETY: as above.
    unsafe {
        let returned = guarded(|| PyObject_Call(callable.as_ptr(), arguments.as_ptr(), named));
        Bound::from_owned_ptr_or_err(callable.py(), returned)
    }
}

/// The next item of an iterator.
pub fn next<'py>(iterator: &Bound<'py, PyIterator>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    // SAFETY: as above; null without an error is the end.
    unsafe {
        let item = guarded(|| PyIter_Next(iterator.as_ptr()));
        match Bound::from_owned_ptr_or_opt(py, item) {
            Some(item) => Ok(Some(item)),
            None => PyErr::take(py).map_or(Ok(None), Err),
        }
    }
}
