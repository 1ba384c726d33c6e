//! `Semaphore` and `BoundedSemaphore`.

use crate::blocking::{block_until, released};
use crate::errors::to_python;
use crate::rebuild::{self, delivered_or};
use procession::{self as runtime, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A counter between processes that is never below zero.
///
/// It has no holders: what a killed process had acquired is not given back.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Semaphore {
    semaphore: runtime::Semaphore,
}

fn permits(value: i64) -> PyResult<u64> {
    u64::try_from(value).map_err(|_| {
        PyValueError::new_err(format!("semaphore initial value must be >= 0, not {value}"))
    })
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (value = 1, *, ctx = None))]
    fn new(py: Python<'_>, value: i64, ctx: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        drop(ctx);
        let value = permits(value)?;
        let semaphore = delivered_or(py, runtime::Semaphore::from_object, || {
            runtime::Semaphore::new(value)
        })?;
        Ok(Self { semaphore })
    }

    /// Takes a permit; True if it did. Waits for `timeout` seconds at most, for ever if None, not at all unless `block`.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire(
        &self,
        py: Python<'_>,
        block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let until = block_until(block, timeout.as_ref())?;
        if self.semaphore.try_acquire() {
            return Ok(true);
        }
        if until == Some(0) {
            return Ok(false);
        }
        released(py, || self.semaphore.acquire_until(until))
    }

    /// Gives a permit back, or adds one. ValueError if the value would pass its bound.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.semaphore
            .release()
            .map_err(|error| match error.kind() {
                Kind::NotHeld => PyValueError::new_err(error.to_string()),
                _ => to_python(py, &error),
            })
    }

    /// The number of permits.
    fn get_value(&self) -> u64 {
        self.semaphore.value()
    }

    /// Whether there are no permits.
    fn locked(&self) -> bool {
        self.semaphore.value() == 0
    }

    /// What the standard library's own classes ask a semaphore of its context: `_semlock`, and the next two.
    #[getter]
    fn _semlock(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn _is_zero(&self) -> bool {
        self.semaphore.value() == 0
    }

    fn _get_value(&self) -> u64 {
        self.semaphore.value()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Bound<'_, PyAny>,
        error: Bound<'_, PyAny>,
        trace: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        drop((kind, error, trace));
        self.release(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        rebuild::describe(
            slf.as_any(),
            &format!("value={}", slf.get().semaphore.value()),
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce(
            slf.as_any(),
            "Semaphore",
            slf.get().semaphore.object(),
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
    #[pyo3(signature = (value = 1, *, ctx = None))]
    fn new(
        py: Python<'_>,
        value: i64,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        drop(ctx);
        let value = permits(value)?;
        let bounded = || runtime::BoundedSemaphore::new(value).map(|bounded| (*bounded).clone());
        let semaphore = delivered_or(py, runtime::Semaphore::from_object, bounded)?;
        Ok(PyClassInitializer::from(Semaphore { semaphore }).add_subclass(Self))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        rebuild::describe(
            slf.as_any(),
            &format!("value={}", slf.as_super().get().semaphore.value()),
        )
    }
}
