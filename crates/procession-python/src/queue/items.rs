//! What the classes of queues share: items in, items out, for one reference of one process.

use crate::blocking::released;
use crate::errors::to_python;
use crate::item::{self, PICKLE, Ready};
use crate::made::Made;
use crate::pickling;
use procession::arena::Arena;
use procession::queue::{Missed, RawQueue};
use procession::readiness::Readiness;
use procession::shm::message::Message;
use procession::shm::queue::INLINE;
use procession::{Error, Kind};
use pyo3::prelude::*;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// A queue as one Python object has it.
pub struct Items {
    queue: Made<RawQueue>,
    closed: AtomicBool,
    /// Made when somebody first asks for a descriptor; only with the interpreter held.
    readiness: AtomicPtr<Readiness>,
}

impl Items {
    /// The queue that was found again, or one that `__init__` has to set.
    pub fn new(queue: Option<RawQueue>) -> Self {
        Self {
            queue: queue.into(),
            closed: AtomicBool::new(false),
            readiness: AtomicPtr::default(),
        }
    }

    /// What `__init__` does: makes the queue, unless there is one.
    pub fn init(
        &self,
        py: Python<'_>,
        make: impl FnOnce() -> procession::Result<RawQueue>,
    ) -> PyResult<()> {
        self.queue.init(py, make)
    }

    #[inline]
    pub fn queue(&self) -> PyResult<&RawQueue> {
        self.queue.get()
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Puts an object. What can't be pickled is `refused`, which may raise.
    pub fn put(
        &self,
        object: &Bound<'_, PyAny>,
        until: Option<u64>,
        refused: impl FnOnce(PyErr) -> PyResult<()>,
    ) -> PyResult<()> {
        let (py, queue) = (object.py(), self.queue()?);
        if let Some(plain) = item::plain(object) {
            return put_bytes(py, queue, plain.kind(), plain.bytes(), until);
        }
        let pickled = match pickling::dumps(object) {
            Ok(pickled) => pickled,
            Err(error) => return refused(error),
        };
        if pickled.handles.is_empty() && pickled.buffers.is_empty() {
            return put_bytes(py, queue, PICKLE, &pickled.bytes, until);
        }
        let message = item::pickled_message(py, queue.arena(), PICKLE, &pickled)?;
        put_message(py, queue, message.into_inner(), until)
    }

    /// Gets the oldest object; queue.Empty if there is none.
    pub fn get<'py>(&self, py: Python<'py>, until: Option<u64>) -> PyResult<Bound<'py, PyAny>> {
        match self.get_if_any(py, until)? {
            Ok(object) => Ok(object),
            Err(empty) => Err(to_python(py, &empty)),
        }
    }

    /// The oldest object, or the error that says that there is none.
    pub fn get_if_any<'py>(
        &self,
        py: Python<'py>,
        until: Option<u64>,
    ) -> PyResult<Result<Bound<'py, PyAny>, Error>> {
        let got = get_if_any(py, self.queue()?, until);
        if let Some(readiness) = self.readiness() {
            readiness.look();
        }
        got
    }

    /// Waits until there is something to get; false if the time is over.
    pub fn await_item(&self, py: Python<'_>, until: Option<u64>) -> PyResult<bool> {
        let queue = self.queue()?;
        if !queue.is_empty() {
            return Ok(true);
        }
        if let Some(readiness) = self.readiness() {
            readiness.look();
        }
        if until == Some(0) {
            return Ok(false);
        }
        released(py, || queue.await_item(until, || false))
    }

    /// A descriptor that is readable while there is something to get.
    pub fn descriptor(&self, py: Python<'_>) -> PyResult<i32> {
        if let Some(readiness) = self.readiness() {
            return Ok(readiness.descriptor().as_raw_fd());
        }
        let made = Readiness::new(self.queue()?.clone()).map_err(|error| to_python(py, &error))?;
        let descriptor = made.descriptor().as_raw_fd();
        // One that a parent made is the parent's: what is left of it here is a descriptor and a little memory.
        self.readiness
            .store(Box::into_raw(Box::new(made)), Ordering::Release);
        Ok(descriptor)
    }

    #[inline]
    fn readiness(&self) -> Option<&Readiness> {
        let at = self.readiness.load(Ordering::Acquire);
        if at.is_null() {
            return None;
        }
        // SAFETY: it was made by `descriptor` and is freed by no other than our own `drop`.
        let readiness = unsafe { &*at };
        readiness.is_of_this_process().then_some(readiness)
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        let at = self.readiness.swap(ptr::null_mut(), Ordering::AcqRel);
        if !at.is_null() {
            // SAFETY: as in `readiness`; nobody else has the queue any more.
            drop(unsafe { Box::from_raw(at) });
        }
    }
}

fn put_bytes(
    py: Python<'_>,
    queue: &RawQueue,
    kind: u8,
    bytes: &[u8],
    until: Option<u64>,
) -> PyResult<()> {
    if bytes.len() > INLINE {
        let message = item::message(py, queue.arena(), kind, bytes, &[], &[])?;
        return put_message(py, queue, message.into_inner(), until);
    }
    match queue.put_inline(kind, bytes, Some(0)) {
        Err(error) if error.kind() == Kind::Full && until != Some(0) => {
            released(py, || queue.put_inline(kind, bytes, until))
        }
        done => done.map_err(|error| to_python(py, &error)),
    }
}

fn put_message(
    py: Python<'_>,
    queue: &RawQueue,
    message: Message<'static, Arena>,
    until: Option<u64>,
) -> PyResult<()> {
    let mut message = Some(message);
    match queue.put_message(&mut message, Some(0)) {
        Err(error) if error.kind() == Kind::Full && until != Some(0) => {
            released(py, || queue.put_message(&mut message, until))
        }
        done => done.map_err(|error| to_python(py, &error)),
    }
}

fn get_if_any<'py>(
    py: Python<'py>,
    queue: &RawQueue,
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
        let taken = match queue.get_with(Some(0), fits, || false) {
            Err(Missed::Failed(error)) if error.kind() == Kind::Empty && until != Some(0) => {
                released(py, || match queue.get_with(until, fits, || false) {
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
