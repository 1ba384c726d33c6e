//! Errors of the runtime as exceptions of Python.

use procession::{Error, Kind};
use pyo3::exceptions::{
    PyAssertionError, PyMemoryError, PyOSError, PyRuntimeError, PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;

pyo3::create_exception!(
    procession,
    BrokenLockError,
    PyRuntimeError,
    "The process that held the lock was killed. Its attribute `pid` says which. What the lock protects may be half-done: look at it, then call `reset()`."
);

/// The exception that says the same.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let text = error.to_string();
    match error.kind() {
        Kind::BrokenLock => {
            let raised = BrokenLockError::new_err(text);
            let pid = error.pid();
            match raised.value(py).setattr("pid", pid) {
                Ok(()) => raised,
                Err(other) => other,
            }
        }
        Kind::BrokenBarrier => named(py, "threading", "BrokenBarrierError", None),
        Kind::Full => named(py, "queue", "Full", None),
        Kind::Empty => named(py, "queue", "Empty", None),
        Kind::OutOfMemory => PyMemoryError::new_err(text),
        Kind::NotHeld => PyAssertionError::new_err(text),
        Kind::InvalidInput | Kind::Serialization | Kind::Gone | Kind::NotOpen => {
            PyValueError::new_err(text)
        }
        Kind::System => match error.os_error() {
            // With the number Python finds the subclass.
            Some(code) => PyOSError::new_err((code, text)),
            None => PyOSError::new_err(text),
        },
        Kind::TimedOut => PyTimeoutError::new_err(text),
        Kind::AuthenticationFailed => named(py, "procession", "AuthenticationError", Some(&text)),
        _ => PyRuntimeError::new_err(text),
    }
}

/// An exception of a module of the standard library.
fn named(py: Python<'_>, module: &str, name: &str, text: Option<&str>) -> PyErr {
    let made = py
        .import(module)
        .and_then(|module| module.getattr(name))
        .and_then(|class| match text {
            Some(text) => class.call1((text,)),
            None => class.call0(),
        });
    match made {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}
