//! `Queue`.

use crate::blocking::{block_until, released};
use crate::errors::to_python;
use crate::item::{self, PICKLE, Ready};
use crate::pickling;
use crate::rebuild::{self, delivered_or};
use procession::arena::Arena;
use procession::queue::{Missed, RawQueue};
use procession::shm::message::Message;
use procession::shm::queue::INLINE;
use procession::{Error, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};
use std::sync::atomic::{AtomicBool, Ordering};

/// First in, first out, many producers, many consumers.
///
/// When `put` returns, the item is pickled, in the queue, visible to all, and outlives its producer; there is no feeder thread. A process that is killed or stopped in the
/// middle of an operation holds up nobody; with a killed consumer at most the one item goes that it had just got.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Queue {
    queue: RawQueue,
    closed: AtomicBool,
}

impl Queue {
    fn open(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().closed.load(Ordering::Relaxed) {
            return Err(PyValueError::new_err(format!(
                "Queue {} is closed",
                slf.repr()?
            )));
        }
        Ok(())
    }

    fn put_bytes(
        &self,
        py: Python<'_>,
        kind: u8,
        bytes: &[u8],
        until: Option<u64>,
    ) -> PyResult<()> {
        if bytes.len() > INLINE {
            let message = item::message(py, self.queue.arena(), kind, bytes, &[], &[])?;
            return self.put_message(py, message.into_inner(), until);
        }
        match self.queue.put_inline(kind, bytes, Some(0)) {
            Err(error) if error.kind() == Kind::Full && until != Some(0) => {
                released(py, || self.queue.put_inline(kind, bytes, until))
            }
            done => done.map_err(|error| to_python(py, &error)),
        }
    }

    fn put_message(
        &self,
        py: Python<'_>,
        message: Message<'static, Arena>,
        until: Option<u64>,
    ) -> PyResult<()> {
        let mut message = Some(message);
        match self.queue.put_message(&mut message, Some(0)) {
            Err(error) if error.kind() == Kind::Full && until != Some(0) => {
                released(py, || self.queue.put_message(&mut message, until))
            }
            done => done.map_err(|error| to_python(py, &error)),
        }
    }

    fn put_object(&self, item: &Bound<'_, PyAny>, until: Option<u64>) -> PyResult<()> {
        let py = item.py();
        if let Some(plain) = item::plain(item) {
            return self.put_bytes(py, plain.kind(), plain.bytes(), until);
        }
        let pickled = pickling::dumps(item)?;
        if pickled.handles.is_empty() && pickled.buffers.is_empty() {
            return self.put_bytes(py, PICKLE, &pickled.bytes, until);
        }
        let message = item::pickled_message(py, self.queue.arena(), PICKLE, &pickled)?;
        self.put_message(py, message.into_inner(), until)
    }

    fn get_object<'py>(&self, py: Python<'py>, until: Option<u64>) -> PyResult<Bound<'py, PyAny>> {
        match self.get_if_any(py, until)? {
            Ok(object) => Ok(object),
            Err(empty) => Err(to_python(py, &empty)),
        }
    }

    /// The oldest item, or the error that says that there is none.
    fn get_if_any<'py>(
        &self,
        py: Python<'py>,
        until: Option<u64>,
    ) -> PyResult<Result<Bound<'py, PyAny>, Error>> {
        let mut ready = Ready::default();
        loop {
            let fits = |summary| {
                if ready.fits(summary) {
                    Ok(())
                } else {
                    Err(summary)
                }
            };
            let taken = match self.queue.get_with(Some(0), fits, || false) {
                Err(Missed::Failed(error)) if error.kind() == Kind::Empty && until != Some(0) => {
                    released(py, || match self.queue.get_with(until, fits, || false) {
                        Err(Missed::Failed(error)) if error.kind() != Kind::Empty => Err(error),
                        taken => Ok(taken),
                    })?
                }
                taken => taken,
            };
            match taken {
                Ok((got, ())) => return ready.object(py, got).map(Ok),
                Err(Missed::NotPrepared(summary)) => ready = Ready::new(py, summary)?,
                Err(Missed::Failed(error)) if error.kind() == Kind::Empty => return Ok(Err(error)),
                Err(Missed::Failed(error)) => return Err(to_python(py, &error)),
            }
        }
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (maxsize = 0, *, ctx = None))]
    fn new(py: Python<'_>, maxsize: i64, ctx: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        drop(ctx);
        let max = u64::try_from(maxsize).unwrap_or(0);
        let queue = delivered_or(py, RawQueue::from_object, || RawQueue::new(max))?;
        Ok(Self {
            queue,
            closed: AtomicBool::new(false),
        })
    }

    /// Puts an item. If the queue is full, waits for `timeout` seconds at most (for ever if None, not at all unless `block`), then raises queue.Full.
    #[pyo3(signature = (obj, block = true, timeout = None))]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::open(slf)?;
        slf.get()
            .put_object(obj, block_until(block, timeout.as_ref())?)
    }

    /// put(obj, block=False)
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::open(slf)?;
        slf.get().put_object(obj, Some(0))
    }

    /// Puts each item of an iterable, one after the other; returns how many. An exception leaves those in the queue that were put before.
    #[pyo3(signature = (items, block = true, timeout = None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        Self::open(slf)?;
        let until = block_until(block, timeout.as_ref())?;
        let mut count = 0;
        for item in items.try_iter()? {
            slf.get().put_object(&item?, until)?;
            count += 1;
        }
        Ok(count)
    }

    /// Gets the oldest item. If there is none, waits for `timeout` seconds at most (for ever if None, not at all unless `block`), then raises queue.Empty.
    #[pyo3(signature = (block = true, timeout = None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::open(slf)?;
        slf.get()
            .get_object(slf.py(), block_until(block, timeout.as_ref())?)
    }

    /// get(block=False)
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::open(slf)?;
        slf.get().get_object(slf.py(), Some(0))
    }

    /// Waits for one item as `get` does, then gets what else is there, `max` in all.
    #[pyo3(signature = (max, block = true, timeout = None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: i64,
        block: bool,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        Self::open(slf)?;
        let py = slf.py();
        let items = PyList::empty(py);
        let max = match usize::try_from(max) {
            Ok(max) if max > 0 => max,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "get_many() takes 1 item at least; asked for {max}"
                )));
            }
        };
        items.append(
            slf.get()
                .get_object(py, block_until(block, timeout.as_ref())?)?,
        )?;
        while items.len() < max
            && let Ok(item) = slf.get().get_if_any(py, Some(0))?
        {
            items.append(item)?;
        }
        Ok(items)
    }

    /// The number of items in the queue.
    fn qsize(&self) -> u64 {
        self.queue.len()
    }

    /// Whether the queue is empty.
    fn empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the queue is full.
    fn full(&self) -> bool {
        self.queue.is_full()
    }

    #[getter]
    fn _maxsize(&self) -> u64 {
        self.queue.max_size()
    }

    /// This process will neither put nor get any more. What was put stays.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Returns at once: there is no thread, what was put is in the queue.
    fn join_thread(&self) {}

    /// Returns at once: there is no thread.
    fn cancel_join_thread(&self) {}

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class
            .py()
            .import("types")?
            .getattr("GenericAlias")?
            .call1((class, item))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce(
            slf.as_any(),
            "Queue",
            slf.get().queue.object(),
            PyTuple::empty(slf.py()),
        )
    }
}
