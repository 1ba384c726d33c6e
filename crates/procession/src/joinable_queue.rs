//! Queues whose items are work: what was put can be waited for until it is done.

use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::object::deserialize;
use crate::queue::{Queue, RawQueue};
use crate::time;
use procession_shm::object;
use procession_shm::queue::AllDone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::time::Duration;

/// A [`Queue`] that knows how many of its items are *unfinished*: put, and not yet said to be done.
///
/// Who gets an item calls [`task_done`](Self::task_done) when its work is done; [`join`](Self::join) waits until all work is.
/// The work of a consumer that was killed stays unfinished until another calls `task_done` in its place: nobody can know how far
/// it had come. A producer's death leaves nothing half-counted.
///
/// ```
/// let work = procession::JoinableQueue::new()?;
/// work.put(&"sweep the floor".to_string())?;
/// let what: String = work.get()?;
/// assert_eq!((work.len(), work.unfinished()), (0, 1));
/// work.task_done()?;
/// work.join();
/// # assert_eq!(what, "sweep the floor");
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// A new queue without a bound.
    pub fn new() -> Result<Self> {
        RawQueue::new_joinable(0).map(|raw| Self(Queue::from_raw(raw)))
    }

    /// A new queue of at most `max_size` items.
    pub fn bounded(max_size: u64) -> Result<Self> {
        if max_size == 0 {
            return Err(Error::new(
                Kind::InvalidInput,
                "a bounded queue needs room for 1 item at least; got 0",
            ));
        }
        RawQueue::new_joinable(max_size).map(|raw| Self(Queue::from_raw(raw)))
    }

    /// How many items were put and are not done.
    pub fn unfinished(&self) -> u64 {
        self.raw().unfinished()
    }

    /// Says that the work of one item is done. An error of kind [`Kind::InvalidInput`] if all that was ever put is done.
    pub fn task_done(&self) -> Result<()> {
        self.raw().task_done()
    }

    /// Waits until all that was put is done, as long as it takes.
    pub fn join(&self) {
        let _ = retry(|| self.raw().join(None));
    }

    /// Waits for the same, for `timeout` at most; says whether all is done.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let until = time::deadline(Some(timeout));
        retry(|| self.raw().join(until)) == Ok(true)
    }
}

/// All that a queue does.
impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = deserialize(deserializer, object::Kind::Queue).map(RawQueue::from_object)?;
        if !raw.is_joinable() {
            return Err(serde::de::Error::custom(
                "what came is a Queue, and not a JoinableQueue",
            ));
        }
        Ok(Self(Queue::from_raw(raw)))
    }
}

/// For a queue made by [`RawQueue::new_joinable`].
impl RawQueue {
    /// Whether it knows what is done.
    pub fn is_joinable(&self) -> bool {
        self.shm().counts(self.arena())
    }

    /// As [`JoinableQueue::unfinished`].
    pub fn unfinished(&self) -> u64 {
        self.shm().unfinished(self.arena())
    }

    /// As [`JoinableQueue::task_done`].
    pub fn task_done(&self) -> Result<()> {
        self.shm().task_done(self.arena()).map_err(|AllDone| {
            Error::new(
                Kind::InvalidInput,
                "task_done() was called more often than items were put",
            )
        })
    }

    /// As [`JoinableQueue::join`], until a deadline of [`crate::time::deadline`]: false if it is over. An error of kind
    /// [`Kind::Interrupted`] says that a signal came.
    pub fn join(&self, until: Option<u64>) -> Result<bool> {
        Ok(self.shm().join(self.arena(), until)?)
    }
}
