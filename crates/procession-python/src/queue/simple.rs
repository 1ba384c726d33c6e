//! `SimpleQueue`.

use super::end::QueueEnd;
use super::generic;
use super::items::Items;
use crate::lock::Lock;
use crate::rebuild::{self, delivered};
use procession::queue::RawQueue;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::sync::Arc;

/// The simplest queue: first in, first out, without a bound, many producers, many consumers.
///
/// When `put` returns, the item is in the queue and outlives its producer. A process that is killed or stopped in the middle of an
/// operation holds up nobody.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct SimpleQueue {
    items: Arc<Items>,
    /// For clients that read and write the ends themselves; ours need none.
    locks: PyOnceLock<(Py<Lock>, Py<Lock>)>,
}

impl SimpleQueue {
    fn open(&self) -> PyResult<&Items> {
        if self.items.is_closed() {
            return Err(PyOSError::new_err("handle is closed"));
        }
        Ok(&self.items)
    }

    fn locks(&self, py: Python<'_>) -> PyResult<&(Py<Lock>, Py<Lock>)> {
        self.locks.get_or_try_init(py, || {
            let lock = || {
                py.get_type::<Lock>()
                    .call0()?
                    .extract::<Py<Lock>>()
                    .map_err(PyErr::from)
            };
            Ok((lock()?, lock()?))
        })
    }
}

#[pymethods]
impl SimpleQueue {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(*, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let _ = kwargs;
        let found = delivered().map(RawQueue::from_object);
        let locks = PyOnceLock::new();
        if found.is_some() {
            let _ = locks.set(args.py(), args.extract()?);
        }
        Ok(Self {
            items: Arc::new(Items::new(found)),
            locks,
        })
    }

    #[pyo3(signature = (*, ctx = None))]
    fn __init__(&self, py: Python<'_>, ctx: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        drop(ctx);
        self.items.init(py, || RawQueue::new(0))?;
        self.locks(py).map(drop)
    }

    /// Puts an item; never waits.
    fn put(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.open()?.put(obj, None, Err)
    }

    /// Gets the oldest item; waits for it as long as it takes.
    fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.open()?.get(py, None)
    }

    /// Whether the queue is empty.
    fn empty(&self) -> PyResult<bool> {
        Ok(self.open()?.queue()?.is_empty())
    }

    /// This process will neither put nor get any more. What was put stays.
    fn close(&self) {
        self.items.close();
    }

    /// The end that clients of the standard library's queues poll, wait for and receive from.
    #[getter]
    fn _reader(&self) -> QueueEnd {
        QueueEnd::new(&self.items, true)
    }

    /// The end that they send to.
    #[getter]
    fn _writer(&self) -> QueueEnd {
        QueueEnd::new(&self.items, false)
    }

    /// A lock for clients that want one around `_reader`.
    #[getter]
    fn _rlock(&self, py: Python<'_>) -> PyResult<Py<Lock>> {
        Ok(self.locks(py)?.0.clone_ref(py))
    }

    /// A lock for clients that want one around `_writer`.
    #[getter]
    fn _wlock(&self, py: Python<'_>) -> PyResult<Py<Lock>> {
        Ok(self.locks(py)?.1.clone_ref(py))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        generic(class, item)
    }

    /// What travels beside what is shared: nothing, unless a subclass has something.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyTuple> {
        PyTuple::empty(slf.py())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) {
        let _ = state;
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let (this, py) = (slf.get(), slf.py());
        let (reads, writes) = this.locks(py)?;
        let locks = PyTuple::new(py, [reads, writes])?;
        rebuild::reduce_with_state(slf.as_any(), "Queue", this.items.queue()?.object(), locks)
    }
}
