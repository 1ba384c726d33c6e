//! `Queue`, `JoinableQueue` and `SimpleQueue`.

mod end;
mod items;
mod simple;

pub use self::end::QueueEnd;
pub use self::simple::SimpleQueue;

use self::items::Items;
use crate::blocking::{block_until, released, truth};
use crate::calls::{call, next};
use crate::errors::to_python;
use crate::rebuild::{self, delivered};
use procession::queue::RawQueue;
use pyo3::exceptions::{PyAssertionError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use std::sync::Arc;

/// First in, first out, many producers, many consumers.
///
/// When `put` returns, the item is pickled, in the queue, visible to all, and outlives its producer; there is no feeder thread. A process that is killed or stopped in the
/// middle of an operation holds up nobody; with a killed consumer at most the one item goes that it had just got.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Queue {
    items: Arc<Items>,
}

/// What is called, where a subclass has one of its own, with an object that can't be pickled and why: concurrent.futures has.
const REFUSED: &str = "_on_queue_feeder_error";

/// How many items a queue made with this `maxsize` holds; 0 for one without a bound.
fn bound(maxsize: i64) -> u64 {
    u64::try_from(maxsize).unwrap_or(0)
}

/// `class[item]`, as types are written.
fn generic<'py>(
    class: &Bound<'py, PyType>,
    item: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let types = class.py().import("types")?;
    types.getattr("GenericAlias")?.call1((class, item))
}

impl Queue {
    fn found() -> Self {
        let queue = delivered().map(RawQueue::from_object);
        Self {
            items: Arc::new(Items::new(queue)),
        }
    }

    fn open<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a Items> {
        let items = &slf.get().items;
        if items.is_closed() {
            return Err(PyValueError::new_err(format!(
                "Queue {} is closed",
                slf.repr()?
            )));
        }
        Ok(items)
    }

    fn put_object(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        until: Option<u64>,
    ) -> PyResult<()> {
        let py = slf.py();
        Self::open(slf)?.put(obj, until, |error| {
            let own = slf.get_type().getattr(REFUSED)?;
            if own.is(&py.get_type::<Self>().getattr(REFUSED)?) {
                return Err(error);
            }
            call(&slf.getattr(REFUSED)?, &[error.value(py).as_any(), obj]).map(drop)
        })
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(maxsize=0, *, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // They are for `__init__`, which a subclass may have given another signature.
        let _ = (args, kwargs);
        Self::found()
    }

    #[pyo3(signature = (maxsize = 0, *, ctx = None))]
    fn __init__(
        &self,
        py: Python<'_>,
        maxsize: i64,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop(ctx);
        self.items.init(py, || RawQueue::new(bound(maxsize)))
    }

    /// Puts an item. If the queue is full, waits for `timeout` seconds at most (for ever if None, not at all unless `block`), then raises queue.Full.
    #[pyo3(signature = (obj, block = true, timeout = None))]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::open(slf)?;
        Self::put_object(slf, obj, block_until(block, timeout.as_ref())?)
    }

    /// put(obj, block=False)
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::put_object(slf, obj, Some(0))
    }

    /// Puts each item of an iterable, one after the other; returns how many. An exception leaves those in the queue that were put before.
    #[pyo3(signature = (items, block = true, timeout = None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        Self::open(slf)?;
        let until = block_until(block, timeout.as_ref())?;
        let mut count = 0;
        let items = items.try_iter()?;
        while let Some(item) = next(&items)? {
            Self::put_object(slf, &item, until)?;
            count += 1;
        }
        Ok(count)
    }

    /// Gets the oldest item. If there is none, waits for `timeout` seconds at most (for ever if None, not at all unless `block`), then raises queue.Empty.
    #[pyo3(signature = (block = true, timeout = None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let items = Self::open(slf)?;
        items.get(slf.py(), block_until(block, timeout.as_ref())?)
    }

    /// get(block=False)
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::open(slf)?.get(slf.py(), Some(0))
    }

    /// Waits for one item as `get` does, then gets what else is there, `max` in all.
    #[pyo3(signature = (max, block = true, timeout = None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: i64,
        #[pyo3(from_py_with = truth)] block: bool,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, items) = (slf.py(), Self::open(slf)?);
        let list = PyList::empty(py);
        let max = match usize::try_from(max) {
            Ok(max) if max > 0 => max,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "get_many() takes 1 item at least; asked for {max}"
                )));
            }
        };
        list.append(items.get(py, block_until(block, timeout.as_ref())?)?)?;
        while list.len() < max
            && let Ok(item) = items.get_if_any(py, Some(0))?
        {
            list.append(item)?;
        }
        Ok(list)
    }

    /// The number of items in the queue.
    fn qsize(&self) -> PyResult<u64> {
        Ok(self.items.queue()?.len())
    }

    /// Whether the queue is empty. OSError if it was closed here while there was something in it.
    fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let items = &slf.get().items;
        let is_empty = items.queue()?.is_empty();
        if items.is_closed() && !is_empty {
            return Err(PyOSError::new_err(format!(
                "Queue {} is closed: what is in it can't be got here",
                slf.repr()?
            )));
        }
        Ok(is_empty)
    }

    /// Whether the queue is full.
    fn full(&self) -> PyResult<bool> {
        Ok(self.items.queue()?.is_full())
    }

    #[getter]
    fn _maxsize(&self) -> PyResult<u64> {
        Ok(self.items.queue()?.max_size())
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.items.is_closed()
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

    /// This process will neither put nor get any more. What was put stays.
    fn close(&self) {
        self.items.close();
    }

    /// Returns at once: there is no thread, what was put is in the queue. AssertionError before `close`.
    fn join_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().items.is_closed() {
            return Ok(());
        }
        let what = slf.repr()?;
        Err(PyAssertionError::new_err(format!(
            "{what} is not closed: close() comes before join_thread()"
        )))
    }

    /// Returns at once: there is no thread.
    fn cancel_join_thread(&self) {}

    /// What executors call when their workers are gone.
    fn _terminate_broken(&self) {
        self.items.close();
    }

    /// What a subclass may have of its own: it is called with an object that can't be pickled, in place of an exception from `put`.
    #[staticmethod]
    fn _on_queue_feeder_error(e: &Bound<'_, PyAny>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = obj;
        e.py()
            .import("traceback")?
            .getattr("print_exception")
            .and_then(|print| {
                call(
                    &print,
                    &[e.get_type().as_any(), e, &e.getattr("__traceback__")?],
                )
            })
            .map(drop)
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
        let object = slf.get().items.queue()?.object();
        rebuild::reduce_with_state(slf.as_any(), "Queue", object, PyTuple::empty(slf.py()))
    }
}

/// A queue that knows how many of its items are unfinished: put, and not yet said to be done.
///
/// The work of a consumer that was killed stays unfinished until another calls `task_done` in its place.
#[pyclass(extends = Queue, subclass, frozen, module = "procession")]
pub struct JoinableQueue;

#[pymethods]
impl JoinableQueue {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(maxsize=0, *, ctx=None)")]
    fn new(
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        let _ = (args, kwargs);
        PyClassInitializer::from(Queue::found()).add_subclass(Self)
    }

    #[pyo3(signature = (maxsize = 0, *, ctx = None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: i64,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop(ctx);
        let items = &slf.as_super().get().items;
        items.init(slf.py(), || RawQueue::new_joinable(bound(maxsize)))
    }

    /// Says that the work of one item is done. ValueError if all that was ever put is done.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        let queue = slf.as_super().get().items.queue()?;
        queue
            .task_done()
            .map_err(|error| to_python(slf.py(), &error))
    }

    /// Waits until all that was put is done, as long as it takes.
    fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        let queue = slf.as_super().get().items.queue()?;
        if !queue
            .join(Some(0))
            .map_err(|error| to_python(slf.py(), &error))?
        {
            released(slf.py(), || queue.join(None))?;
        }
        Ok(())
    }
}
