//! `Semaphore` and `BoundedSemaphore`.

use crate::blocking::{block_until, released, truth};
use crate::errors::to_python;
use crate::made::Made;
use crate::rebuild;
use procession::{self as runtime, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A counter between processes that is never below zero.
///
/// It has no holders: what a killed process had acquired is not given back.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Semaphore {
    semaphore: Made<runtime::Semaphore>,
}

impl Semaphore {
    fn found() -> PyResult<Self> {
        let semaphore = Made::delivered(|object| Ok(runtime::Semaphore::from_object(object)))?;
        Ok(Self { semaphore })
    }
}

fn permits(value: i64) -> PyResult<u64> {
    u64::try_from(value).map_err(|_| {
        PyValueError::new_err(format!("semaphore initial value must be >= 0, not {value}"))
    })
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(value=1, *, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // They are for `__init__`, which a subclass may have given another signature.
        let _ = (args, kwargs);
        Self::found()
    }

    #[pyo3(signature = (value = 1, *, ctx = None))]
    fn __init__(&self, py: Python<'_>, value: i64, ctx: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        drop(ctx);
        let value = permits(value)?;
        self.semaphore.init(py, || runtime::Semaphore::new(value))
    }

    /// Takes a permit; True if it did. Waits for `timeout` seconds at most, for ever if None, not at all unless `block`.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let until = block_until(block, timeout.as_ref())?;
        let semaphore = self.semaphore.get()?;
        if semaphore.try_acquire() {
            return Ok(true);
        }
        if until == Some(0) {
            return Ok(false);
        }
        released(py, || semaphore.acquire_until(until))
    }

    /// Gives a permit back, or adds one. ValueError if the value would pass its bound.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let released = self.semaphore.get()?.release();
        released.map_err(|error| match error.kind() {
            Kind::NotHeld => PyValueError::new_err(error.to_string()),
            _ => to_python(py, &error),
        })
    }

    /// The number of permits.
    fn get_value(&self) -> PyResult<u64> {
        Ok(self.semaphore.get()?.value())
    }

    /// Whether there are no permits.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.semaphore.get()?.value() == 0)
    }

    /// What the standard library's own classes ask a semaphore of its context: `_semlock`, and the next two.
    #[getter]
    fn _semlock(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn _is_zero(&self) -> PyResult<bool> {
        self.locked()
    }

    fn _get_value(&self) -> PyResult<u64> {
        self.get_value()
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
        let value = slf.get().get_value()?;
        rebuild::describe(slf.as_any(), &format!("value={value}"))
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
            "Semaphore",
            slf.get().semaphore.get()?.object(),
            PyTuple::empty(slf.py()),
        )
    }
}

/// A semaphore whose value never passes what it was made with.
#[pyclass(extends = Semaphore, subclass, frozen, module = "procession")]
pub struct BoundedSemaphore;

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(value=1, *, ctx=None)")]
    fn new(
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let _ = (args, kwargs);
        Ok(PyClassInitializer::from(Semaphore::found()?).add_subclass(Self))
    }

    #[pyo3(signature = (value = 1, *, ctx = None))]
    fn __init__(slf: &Bound<'_, Self>, value: i64, ctx: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        drop(ctx);
        let value = permits(value)?;
        let semaphore = &slf.as_super().get().semaphore;
        semaphore.init(slf.py(), || {
            runtime::BoundedSemaphore::new(value).map(|bounded| (*bounded).clone())
        })
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let semaphore = slf.as_super().get().semaphore.get()?;
        let (value, bound) = (semaphore.value(), semaphore.bound().unwrap_or(0));
        rebuild::describe(slf.as_any(), &format!("value={value}, maxvalue={bound}"))
    }
}
