//! `Lock` and `RLock`.

use crate::blocking::{block_until, released, truth};
use crate::errors::to_python;
use crate::rebuild::{self, delivered_or};
use procession::{Kind, ReentrantLock, lock as runtime};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A lock between processes: `acquire(block=True, timeout=None)`, `release()`, or `with`.
///
/// Any process may release it. If its holder is killed, every acquire raises BrokenLockError until
/// `reset()`; a holder that is stopped keeps it.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Lock {
    lock: runtime::Lock,
}

impl Lock {
    pub fn runtime(&self) -> &runtime::Lock {
        &self.lock
    }

    #[cold]
    #[inline(never)]
    fn acquire_slowly(
        &self,
        py: Python<'_>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let until = block_until(block, timeout)?;
        match self.lock.acquire_until(Some(0)) {
            Ok(false) if until != Some(0) => released(py, || self.lock.acquire_until(until)),
            done => done.map_err(|error| to_python(py, &error)),
        }
    }

    #[cold]
    #[inline(never)]
    fn release_slowly(&self, py: Python<'_>) -> PyResult<()> {
        self.lock.release().map_err(|error| match error.kind() {
            Kind::NotHeld => PyValueError::new_err("semaphore or lock released too many times"),
            _ => to_python(py, &error),
        })
    }
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(*, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // They are for `__init__`, which a subclass may have given another signature.
        let _ = kwargs;
        let lock = delivered_or(args.py(), runtime::Lock::from_object, runtime::Lock::new)?;
        Ok(Self { lock })
    }

    #[pyo3(signature = (*, ctx = None))]
    fn __init__(&self, ctx: Option<Bound<'_, PyAny>>) {
        drop(ctx);
    }

    /// Acquires the lock; True if it did. Waits for `timeout` seconds at most, for ever if None, not at all unless `block`.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        // Free, as a rule: then the interpreter is not released.
        if timeout.is_none() && self.lock.acquire_now() {
            return Ok(true);
        }
        self.acquire_slowly(py, block, timeout)
    }

    /// Releases the lock, whoever holds it. ValueError if nobody does.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        if self.lock.release_now() {
            return Ok(());
        }
        self.release_slowly(py)
    }

    /// Whether somebody holds the lock.
    fn locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Makes the lock free again after its holder was killed. True if it was broken.
    fn reset(&self) -> bool {
        self.lock.reset()
    }

    /// What the standard library's own classes ask a lock of its context: `_semlock`, and the next four.
    #[getter]
    fn _semlock(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn _is_zero(&self) -> bool {
        self.lock.is_locked()
    }

    fn _get_value(&self) -> u32 {
        u32::from(!self.lock.is_locked())
    }

    fn _is_mine(&self) -> bool {
        self.lock.is_mine()
    }

    fn _count(&self) -> u64 {
        u64::from(self.lock.is_mine())
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (kind = None, error = None, trace = None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<Bound<'_, PyAny>>,
        error: Option<Bound<'_, PyAny>>,
        trace: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop((kind, error, trace));
        self.release(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = &slf.get().lock;
        let owner = if lock.is_mine() {
            rebuild::own_name(slf.py())?
        } else {
            other_owner(lock.is_locked(), lock.is_held_here()).to_string()
        };
        rebuild::describe(slf.as_any(), &format!("owner={owner}"))
    }

    /// What travels beside what is shared: nothing, unless a subclass has something.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyTuple> {
        PyTuple::empty(slf.py())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) {
        let _ = state;
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce_with_state(
            slf.as_any(),
            "Lock",
            slf.get().lock.object(),
            PyTuple::empty(slf.py()),
        )
    }
}

/// How an owner is called that is not the calling thread.
fn other_owner(locked: bool, here: bool) -> &'static str {
    match (locked, here) {
        (false, _) => "None",
        (true, true) => "SomeOtherThread",
        (true, false) => "SomeOtherProcess",
    }
}

/// A lock that its holder may acquire again, to be released as often. Broken when its holder ends.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct RLock {
    lock: ReentrantLock,
}

impl RLock {
    pub fn runtime(&self) -> &ReentrantLock {
        &self.lock
    }
}

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(*, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let _ = kwargs;
        let lock = delivered_or(args.py(), ReentrantLock::from_object, ReentrantLock::new)?;
        Ok(Self { lock })
    }

    #[pyo3(signature = (*, ctx = None))]
    fn __init__(&self, ctx: Option<Bound<'_, PyAny>>) {
        drop(ctx);
    }

    /// As Lock.acquire; the holder acquires it at once.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let until = block_until(block, timeout.as_ref())?;
        match self.lock.acquire_until(Some(0)) {
            Ok(false) if until != Some(0) => released(py, || self.lock.acquire_until(until)),
            done => done.map_err(|error| to_python(py, &error)),
        }
    }

    /// Releases the lock once. AssertionError if the caller does not hold it.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.lock.release().map_err(|error| to_python(py, &error))
    }

    /// Whether somebody holds the lock.
    fn locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Makes the lock free again after its holder died. True if it was broken.
    fn reset(&self) -> bool {
        self.lock.reset()
    }

    /// What the standard library's own classes ask a lock of its context: `_semlock`, and the next four.
    #[getter]
    fn _semlock(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn _is_zero(&self) -> bool {
        self.lock.is_locked()
    }

    fn _get_value(&self) -> u32 {
        u32::from(!self.lock.is_locked())
    }

    fn _is_mine(&self) -> bool {
        self.lock.depth() > 0
    }

    fn _count(&self) -> u64 {
        self.lock.depth()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (kind = None, error = None, trace = None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<Bound<'_, PyAny>>,
        error: Option<Bound<'_, PyAny>>,
        trace: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop((kind, error, trace));
        self.release(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = &slf.get().lock;
        let (depth, locked) = (lock.depth(), lock.is_locked());
        let what = if depth > 0 {
            format!("{}, {depth}", rebuild::own_name(slf.py())?)
        } else {
            let count = if locked { "nonzero" } else { "0" };
            format!("{}, {count}", other_owner(locked, lock.is_held_here()))
        };
        rebuild::describe(slf.as_any(), &what)
    }

    /// What travels beside what is shared: nothing, unless a subclass has something.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyTuple> {
        PyTuple::empty(slf.py())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) {
        let _ = state;
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce_with_state(
            slf.as_any(),
            "RLock",
            slf.get().lock.object(),
            PyTuple::empty(slf.py()),
        )
    }
}
