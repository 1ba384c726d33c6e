//! The ends of a queue, as clients of the standard library's queues ask for them: `_reader` and `_writer`.

use super::items::Items;
use crate::blocking::deadline;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One end of a queue: what there is to read can be polled, waited for with others, and received.
#[pyclass(frozen, module = "procession._procession")]
pub struct QueueEnd {
    items: Arc<Items>,
    reads: bool,
    closed: AtomicBool,
}

impl QueueEnd {
    pub fn new(items: &Arc<Items>, reads: bool) -> Self {
        Self {
            items: items.clone(),
            reads,
            closed: AtomicBool::new(false),
        }
    }

    fn open(&self, reads: bool) -> PyResult<()> {
        if self.closed() {
            return Err(PyOSError::new_err("handle is closed"));
        }
        if self.reads != reads {
            let end = if self.reads { "read" } else { "write" };
            return Err(PyOSError::new_err(format!("connection is {end}-only")));
        }
        Ok(())
    }
}

#[pymethods]
impl QueueEnd {
    /// A descriptor of this process that is readable while there is something to receive. The first call starts a thread that keeps it so.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.open(true)?;
        self.items.descriptor(py)
    }

    /// Whether there is something to receive; waits for it for `timeout` seconds, for ever if None.
    #[pyo3(signature = (timeout = Some(0.0)), text_signature = "($self, timeout=0.0)")]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.open(true)?;
        let timeout = timeout.into_pyobject(py)?;
        self.items.await_item(py, deadline(Some(&timeout))?)
    }

    /// Gets the oldest item, waiting for it.
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.open(true)?;
        self.items.get(py, None)
    }

    /// Puts an item.
    fn send(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.open(false)?;
        self.items.put(obj, None, Err)
    }

    /// This object is used no more. The queue is open still.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) || self.items.is_closed()
    }

    /// Whether it is the end that is received from.
    #[getter]
    fn readable(&self) -> bool {
        self.reads
    }

    /// Whether it is the end that is sent to.
    #[getter]
    fn writable(&self) -> bool {
        !self.reads
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            Arc::ptr_eq(&self.items, &other.items) && self.reads == other.reads
        })
    }

    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.items) as usize + usize::from(self.reads)
    }
}
