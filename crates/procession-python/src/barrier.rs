//! `Barrier`.

use crate::blocking::{deadline, released};
use crate::errors::to_python;
use crate::rebuild::{self, delivered_or};
use procession as runtime;
use procession::shm::barrier::Arrival;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A point that `parties` threads pass together; the last to arrive first calls `action`.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Barrier {
    barrier: runtime::Barrier,
    action: Option<Py<PyAny>>,
    timeout: Option<Py<PyAny>>,
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (parties, action = None, timeout = None, *, ctx = None))]
    fn new(
        py: Python<'_>,
        parties: i64,
        action: Option<Py<PyAny>>,
        timeout: Option<Py<PyAny>>,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        drop(ctx);
        if parties < 1 {
            return Err(PyValueError::new_err("parties must be > 0"));
        }
        let barrier = delivered_or(py, runtime::Barrier::from_object, || {
            runtime::Barrier::new(parties.unsigned_abs())
        })?;
        Ok(Self {
            barrier,
            action,
            timeout,
        })
    }

    /// Waits until all have arrived; returns which arrival this was, 0 to parties - 1.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<u64> {
        let timeout = timeout.filter(|timeout| !timeout.is_none());
        let until = deadline(
            timeout
                .as_ref()
                .or(self.timeout.as_ref().map(|timeout| timeout.bind(py))),
        )?;
        // Who leaves by an exception of his own breaks it for the others.
        let leaving = |error| {
            self.barrier.abort();
            error
        };
        match released(py, || self.barrier.arrive(until))? {
            Arrival::Broken => Err(to_python(py, &runtime::barrier::broken())),
            Arrival::Wait { ticket, index } => {
                let passed = released(py, || match self.barrier.wait_until(ticket, until) {
                    Err(error) if error.kind() != runtime::Kind::Interrupted => Ok(Err(error)),
                    done => done.map(Ok),
                });
                passed
                    .map_err(leaving)?
                    .map_err(|error| to_python(py, &error))?;
                Ok(index)
            }
            Arrival::Last { index } => {
                if let Some(action) = &self.action {
                    action.call0(py).map_err(leaving)?;
                }
                self.barrier.open().map_err(|error| to_python(py, &error))?;
                Ok(index)
            }
        }
    }

    /// Makes it whole and empty; those who wait get BrokenBarrierError.
    fn reset(&self) {
        self.barrier.reset();
    }

    /// Breaks it for all.
    fn abort(&self) {
        self.barrier.abort();
    }

    /// How many pass together.
    #[getter]
    fn parties(&self) -> u64 {
        self.barrier.parties()
    }

    /// How many wait now.
    #[getter]
    fn n_waiting(&self) -> u64 {
        self.barrier.waiting()
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> bool {
        self.barrier.is_broken()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let barrier = &slf.get().barrier;
        let name = slf.get_type().qualname()?;
        let at = slf.as_ptr();
        Ok(if barrier.is_broken() {
            format!("<{name} at {at:p}: broken>")
        } else {
            format!(
                "<{name} at {at:p}: waiters={}/{}>",
                barrier.waiting(),
                barrier.parties()
            )
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let this = slf.get();
        let arguments =
            (this.barrier.parties(), &this.action, &this.timeout).into_pyobject(slf.py())?;
        rebuild::reduce(slf.as_any(), "Barrier", this.barrier.object(), arguments)
    }
}
