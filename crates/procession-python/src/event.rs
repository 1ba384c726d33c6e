//! `Event`.

use crate::blocking::{deadline, released};
use crate::rebuild::{self, delivered_or};
use procession as runtime;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Set or not; one process sets it, others wait for it. `set()` never waits for those who wait.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Event {
    event: runtime::Event,
}

impl Event {
    /// The event itself.
    pub fn inner(&self) -> &runtime::Event {
        &self.event
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*, ctx = None))]
    fn new(py: Python<'_>, ctx: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        drop(ctx);
        Ok(Self {
            event: delivered_or(py, runtime::Event::from_object, runtime::Event::new)?,
        })
    }

    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.event.is_set()
    }

    /// Sets it and wakes all who wait.
    fn set(&self) {
        self.event.set();
    }

    /// Clears it.
    fn clear(&self) {
        self.event.clear();
    }

    /// Waits until it is set, for `timeout` seconds at most; True if it was set meanwhile.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        if self.event.is_set() {
            return Ok(true);
        }
        let (sets, until) = (self.event.sets(), deadline(timeout.as_ref())?);
        released(py, || self.event.wait_until(sets, until))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let state = if slf.get().event.is_set() {
            "set"
        } else {
            "unset"
        };
        Ok(format!(
            "<{} at {:p} {state}>",
            slf.get_type().qualname()?,
            slf.as_ptr()
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce(
            slf.as_any(),
            "Event",
            slf.get().event.object(),
            PyTuple::empty(slf.py()),
        )
    }
}
