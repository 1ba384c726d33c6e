//! `Barrier`.

use crate::blocking::{deadline, released};
use crate::calls::call;
use crate::errors::to_python;
use crate::made::Made;
use crate::rebuild;
use procession as runtime;
use procession::shm::barrier::Arrival;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A point that `parties` threads pass together; the last to arrive first calls `action`.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Barrier {
    parts: Made<Parts>,
}

struct Parts {
    barrier: runtime::Barrier,
    action: Option<Py<PyAny>>,
    timeout: Option<Py<PyAny>>,
}

impl Barrier {
    fn barrier(&self) -> PyResult<&runtime::Barrier> {
        Ok(&self.parts.get()?.barrier)
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(
        signature = (*args, **kwargs),
        text_signature = "(parties, action=None, timeout=None, *, ctx=None)"
    )]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // They are for `__init__`, which a subclass may have given another signature; or from `__reduce__`.
        let _ = kwargs;
        let parts = Made::delivered(|object| {
            let (action, timeout) = args.extract()?;
            Ok(Parts {
                barrier: runtime::Barrier::from_object(object),
                action,
                timeout,
            })
        })?;
        Ok(Self { parts })
    }

    #[pyo3(signature = (parties, action = None, timeout = None, *, ctx = None))]
    fn __init__(
        &self,
        py: Python<'_>,
        parties: i64,
        action: Option<Py<PyAny>>,
        timeout: Option<Py<PyAny>>,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop(ctx);
        if parties < 1 {
            return Err(PyValueError::new_err("parties must be > 0"));
        }
        self.parts.init(py, || {
            Ok(Parts {
                barrier: runtime::Barrier::new(parties.unsigned_abs())?,
                action,
                timeout,
            })
        })
    }

    /// Waits until all have arrived; returns which arrival this was, 0 to parties - 1.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<u64> {
        let Parts {
            barrier,
            action,
            timeout: usual,
        } = self.parts.get()?;
        let timeout = timeout.filter(|timeout| !timeout.is_none());
        let usual = usual.as_ref().map(|timeout| timeout.bind(py));
        let until = deadline(timeout.as_ref().or(usual))?;
        // Who leaves by an exception of his own breaks it for the others.
        let leaving = |error| {
            barrier.abort();
            error
        };
        match released(py, || barrier.arrive(until))? {
            Arrival::Broken => Err(to_python(py, &runtime::barrier::broken())),
            Arrival::Wait { ticket, index } => {
                let passed = released(py, || match barrier.wait_until(ticket, until) {
                    Err(error) if error.kind() != runtime::Kind::Interrupted => Ok(Err(error)),
                    done => done.map(Ok),
                });
                passed
                    .map_err(leaving)?
                    .map_err(|error| to_python(py, &error))?;
                Ok(index)
            }
            Arrival::Last { index } => {
                if let Some(action) = action {
                    call(action.bind(py), &[]).map_err(leaving)?;
                }
                barrier.open().map_err(|error| to_python(py, &error))?;
                Ok(index)
            }
        }
    }

    /// Makes it whole and empty; those who wait get BrokenBarrierError.
    fn reset(&self) -> PyResult<()> {
        self.barrier()?.reset();
        Ok(())
    }

    /// Breaks it for all.
    fn abort(&self) -> PyResult<()> {
        self.barrier()?.abort();
        Ok(())
    }

    /// How many pass together.
    #[getter]
    fn parties(&self) -> PyResult<u64> {
        Ok(self.barrier()?.parties())
    }

    /// How many wait now.
    #[getter]
    fn n_waiting(&self) -> PyResult<u64> {
        Ok(self.barrier()?.waiting())
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> PyResult<bool> {
        Ok(self.barrier()?.is_broken())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let barrier = slf.get().barrier()?;
        let name = slf.get_type().fully_qualified_name()?;
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

    /// What travels beside what is shared: nothing, unless a subclass has something.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyTuple> {
        PyTuple::empty(slf.py())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) {
        let _ = state;
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let this = slf.get().parts.get()?;
        let arguments = (&this.action, &this.timeout).into_pyobject(slf.py())?;
        rebuild::reduce_with_state(slf.as_any(), "Barrier", this.barrier.object(), arguments)
    }
}
