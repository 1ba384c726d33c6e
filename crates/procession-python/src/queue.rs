//! `Queue`.

use crate::blocking::{block_until, released};
use crate::buffer::Buffer;
use crate::errors::to_python;
use crate::pickling::{self, Pickled};
use crate::rebuild::{self, delivered_or};
use procession::arena::Arena;
use procession::queue::{Missed, RawQueue};
use procession::shm::message::{Message, Summary};
use procession::shm::object::Handle;
use procession::shm::queue::{Got, INLINE};
use procession::shm::tag::Holds;
use procession::view::{Outgoing, Reserved};
use procession::{Error, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};
use std::sync::atomic::{AtomicBool, Ordering};

// Kinds of message. What is exactly of one of these types needs no pickle.
const PICKLE: u8 = 0;
const NONE: u8 = 1;
const TRUE: u8 = 2;
const FALSE: u8 = 3;
const INT: u8 = 4;
const FLOAT: u8 = 5;
const STR: u8 = 6;
const BYTES: u8 = 7;

/// Copies longer than this are made with the interpreter released.
const LONG_COPY: usize = 1 << 20;

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
            let message = self.message(py, kind, bytes, &[], &[])?;
            return self.put_message(py, message, until);
        }
        match self.queue.put_inline(kind, bytes, Some(0)) {
            Err(error) if error.kind() == Kind::Full && until != Some(0) => {
                released(py, || self.queue.put_inline(kind, bytes, until))
            }
            done => done.map_err(|error| to_python(py, &error)),
        }
    }

    fn message(
        &self,
        py: Python<'_>,
        kind: u8,
        bytes: &[u8],
        handles: &[Handle],
        buffers: &[Py<PyAny>],
    ) -> PyResult<Message<'static, Arena>> {
        let fail = |error: Error| to_python(py, &error);
        let draft = self
            .queue
            .message(kind, bytes.len() as u64, handles, buffers.len() as u64)
            .map_err(fail)?;
        if bytes.len() > LONG_COPY {
            py.detach(|| draft.write(bytes));
        } else {
            draft.write(bytes);
        }
        for (index, buffer) in buffers.iter().enumerate() {
            let raw = pickling::raw_bytes(buffer.bind(py))?;
            let outgoing =
                Outgoing::new(self.queue.arena(), raw.len_bytes() as u64).map_err(fail)?;
            let (from, into, len) = (
                raw.buf_ptr() as usize,
                outgoing.as_ptr().0 as usize,
                raw.len_bytes(),
            );
            // SAFETY: `raw` holds its `len` bytes; the block of `outgoing` is ours and as long. The bytes may
            // change while they are copied only if the program changes what it puts at that moment.
            py.detach(|| unsafe {
                std::ptr::copy_nonoverlapping(from as *const u8, into as *mut u8, len)
            });
            outgoing.send(draft.message(), (handles.len() + index) as u64);
        }
        Ok(draft.into_inner())
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
        if item.is_none() {
            return self.put_bytes(py, NONE, &[], until);
        }
        if let Ok(int) = item.cast_exact::<PyInt>() {
            if let Ok(int) = int.extract::<i64>() {
                return self.put_bytes(py, INT, &int.to_le_bytes(), until);
            }
        } else if let Ok(string) = item.cast_exact::<PyString>() {
            // Lone surrogates have no UTF-8: those are pickled.
            if let Ok(text) = string.to_str() {
                return self.put_bytes(py, STR, text.as_bytes(), until);
            }
        } else if let Ok(bytes) = item.cast_exact::<PyBytes>() {
            return self.put_bytes(py, BYTES, bytes.as_bytes(), until);
        } else if let Ok(float) = item.cast_exact::<PyFloat>() {
            return self.put_bytes(py, FLOAT, &float.value().to_le_bytes(), until);
        } else if let Ok(truth) = item.cast_exact::<PyBool>() {
            return self.put_bytes(py, if truth.is_true() { TRUE } else { FALSE }, &[], until);
        }
        let Pickled {
            bytes,
            buffers,
            handles,
        } = pickling::dumps(item)?;
        if handles.is_empty() && buffers.is_empty() {
            return self.put_bytes(py, PICKLE, &bytes, until);
        }
        let message = self.message(py, PICKLE, &bytes, &handles, &buffers)?;
        self.put_message(py, message, until)
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

/// What is made before an item is taken, so that nothing fails after that but its own unpickling.
#[derive(Default)]
struct Ready {
    bytes: Option<Py<PyBytes>>,
    len: usize,
    buffers: Vec<Reserved>,
}

impl Ready {
    fn needs_bytes(summary: Summary) -> bool {
        summary.kind == BYTES && summary.len > INLINE as u64
    }

    fn fits(&self, summary: Summary) -> bool {
        (!Self::needs_bytes(summary) || self.bytes.is_some() && self.len as u64 == summary.len)
            && self.buffers.len() as u64 >= summary.parts
    }

    fn new(py: Python<'_>, summary: Summary) -> PyResult<Self> {
        let mut ready = Self::default();
        if Self::needs_bytes(summary) {
            let len = ffi::Py_ssize_t::try_from(summary.len)?;
            // SAFETY: a bytes object of this length with any content, or null and an exception; it is filled
            // before anybody else sees it.
            let bytes = unsafe {
                Bound::from_owned_ptr_or_err(
                    py,
                    ffi::PyBytes_FromStringAndSize(std::ptr::null(), len),
                )?
            };
            ready.bytes = Some(bytes.cast_into::<PyBytes>()?.unbind());
            ready.len = len as usize;
        }
        if summary.parts > 0 {
            let arena = Arena::get().map_err(|error| to_python(py, &error))?;
            for _ in 0..summary.parts {
                ready
                    .buffers
                    .push(Reserved::new(arena).map_err(|error| to_python(py, &error.into()))?);
            }
        }
        Ok(ready)
    }

    fn object<'py>(self, py: Python<'py>, got: Got<'static, Arena>) -> PyResult<Bound<'py, PyAny>> {
        match got {
            Got::Inline { kind, bytes, len } => object_of(py, kind, &bytes[..len as usize]),
            Got::Message(message) => {
                let Summary { kind, parts, .. } = message.summary();
                let arena = Arena::get().map_err(|error| to_python(py, &error))?;
                let (at, len) = message.bytes();
                // SAFETY: the message is ours until it is dropped at the end of this arm, and nobody else
                // writes into it.
                let bytes =
                    unsafe { std::slice::from_raw_parts(arena.bytes(at, len), len as usize) };
                if let (BYTES, Some(object)) = (kind, self.bytes) {
                    let into = object.as_bytes(py).as_ptr() as usize;
                    // SAFETY: the object was made for this length, and only we have it.
                    py.detach(|| unsafe {
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), into as *mut u8, bytes.len())
                    });
                    return Ok(object.into_bound(py).into_any());
                }
                if kind != PICKLE {
                    return object_of(py, kind, bytes);
                }
                let buffers = PyList::empty(py);
                for (index, reserved) in (0..parts).zip(self.buffers) {
                    let is_edge = matches!(message.part(index), Some((_, _, Holds::Edge)));
                    if !is_edge && let Some(view) = reserved.fill(&message, index) {
                        buffers.append(Bound::new(py, Buffer::new(view))?)?;
                    }
                }
                // SAFETY: the memory outlives the view: `loads` keeps no reference to what it reads from.
                let view = unsafe {
                    let start = bytes.as_ptr().cast_mut().cast();
                    Bound::from_owned_ptr_or_err(
                        py,
                        ffi::PyMemoryView_FromMemory(
                            start,
                            len as ffi::Py_ssize_t,
                            ffi::PyBUF_READ,
                        ),
                    )?
                };
                pickling::loads(&view, (!buffers.is_empty()).then_some(buffers))
            }
        }
    }
}

fn object_of<'py>(py: Python<'py>, kind: u8, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let eight =
        || <[u8; 8]>::try_from(bytes).map_err(|_| PyValueError::new_err("the item is damaged"));
    Ok(match kind {
        NONE => py.None().into_bound(py),
        TRUE | FALSE => PyBool::new(py, kind == TRUE).to_owned().into_any(),
        INT => i64::from_le_bytes(eight()?).into_pyobject(py)?.into_any(),
        FLOAT => PyFloat::new(py, f64::from_le_bytes(eight()?)).into_any(),
        STR => PyString::from_bytes(py, bytes)?.into_any(),
        BYTES => PyBytes::new(py, bytes).into_any(),
        PICKLE => pickling::loads(PyBytes::new(py, bytes).as_any(), None)?,
        other => {
            return Err(PyValueError::new_err(format!(
                "the item was put by a program in another language (kind {other}); get it there"
            )));
        }
    })
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
