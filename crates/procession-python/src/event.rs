//! `Event`.

use crate::blocking::{deadline, released};
use crate::rebuild::{self, delivered_or};
use procession as runtime;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

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
    #[pyo3(signature = (*args, **kwargs), text_signature = "(*, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // They are for `__init__`, which a subclass may have given another signature.
        let _ = kwargs;
        let (found, new) = (runtime::Event::from_object, runtime::Event::new);
        Ok(Self {
            event: delivered_or(args.py(), found, new)?,
        })
    }

    #[pyo3(signature = (*, ctx = None))]
    fn __init__(&self, ctx: Option<Bound<'_, PyAny>>) {
        drop(ctx);
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

    /// What travels beside what is shared: the attributes that a program has given it.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("__dict__")?.call_method0("copy")
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.getattr("__dict__")?
            .call_method1("update", (state,))
            .map(drop)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce_with_state(
            slf.as_any(),
            "Event",
            slf.get().event.object(),
            PyTuple::empty(slf.py()),
        )
    }
}
