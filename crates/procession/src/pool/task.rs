//! What was handed to a pool's workers, as seen by who waits for it.

use super::callbacks::Callbacks;
use super::serve::{FAILED, unpack};
use super::shared::Shared;
use super::{Outcome, RawJob, State};
use crate::error::{Error, Kind, Result};
use crate::process::ExitStatus;
use crate::queue::POSTCARD;
use crate::time;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How workers end that ran a task when their pool was terminated.
const ENDED_BY_US: [Option<i32>; 2] = [Some(-libc::SIGTERM), Some(-libc::SIGKILL)];

/// A task, or a list of them, that was handed to a pool's workers, and the result of type `T` that will come of it.
///
/// Dropping it takes nothing back: the task is done all the same. It outlives its [`Pool`](super::Pool): what was done
/// when the pool ended can still be got.
///
/// The result stays in the arena, as bytes, until the `Task` is dropped; each `get` makes a value of it anew.
pub struct Task<T> {
    shared: Arc<Shared>,
    job: Arc<RawJob>,
    function: &'static str,
    read: fn(&Task<T>) -> Result<T>,
}

impl<T> Task<T> {
    fn new(
        shared: &Arc<Shared>,
        job: RawJob,
        function: &'static str,
        read: fn(&Task<T>) -> Result<T>,
    ) -> Self {
        Self {
            shared: shared.clone(),
            job: Arc::new(job),
            function,
            read,
        }
    }

    /// The result; waits for it as long as it takes.
    ///
    /// # Errors
    /// * [`Kind::Panicked`]: the function panicked; with message and place, and with a backtrace if `RUST_BACKTRACE` is set.
    /// * [`Kind::WorkerDied`]: the worker was killed, or ended, amid the task; [`Error::pid`] tells which. The task is
    ///   not done again; another worker takes the dead one's place.
    /// * [`Kind::Serialization`]: argument or result can't be turned into bytes, or back.
    /// * [`Kind::OutOfMemory`]: the arena has no room for the result.
    /// * [`Kind::Terminated`]: the pool was terminated, or dropped, before the task was done.
    /// * [`Kind::PoolBroken`]: the pool's workers can't be started.
    ///
    /// Of a `map_async` it is the error of the first element that has one.
    pub fn get(&self) -> Result<T> {
        self.shared.wait(&self.job, None, None)?;
        (self.read)(self)
    }

    /// The result, if it is there within `timeout`; else an error of kind [`Kind::TimedOut`], and the task goes on.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        if !self.wait_timeout(timeout)? {
            return Err(Error::new(
                Kind::TimedOut,
                format!(
                    "{} was not done after {timeout:?}; it goes on",
                    self.function
                ),
            ));
        }
        (self.read)(self)
    }

    /// Waits until the task is done or failed, as long as it takes.
    pub fn wait(&self) -> Result<()> {
        self.shared.wait(&self.job, None, None).map(drop)
    }

    /// Waits until the task is done or failed, for `timeout` at most; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.shared
            .wait(&self.job, None, time::deadline(Some(timeout)))
    }

    /// Whether the task is done or failed: whether [`get`](Self::get) returns at once.
    pub fn is_ready(&self) -> bool {
        self.job.is_done() || self.shared.is_over()
    }

    pub(super) fn is_begun(&self) -> bool {
        self.job.outcome(0) != Outcome::Free
    }

    pub(super) fn settled_at(&self) -> u64 {
        self.job.settled_at()
    }

    fn element<R: DeserializeOwned>(&self, index: u64) -> Result<R> {
        match self.job.outcome(index) {
            Outcome::Free | Outcome::Begun { .. } => Err(self.shared.end_error()),
            Outcome::Lost { exit, .. }
                if self.shared.pool().state() == State::Terminated
                    && ENDED_BY_US.contains(&exit) =>
            {
                Err(self.shared.end_error())
            }
            Outcome::Lost { pid, exit } => {
                let ending = exit.map_or("it is not known how".to_string(), |code| {
                    ExitStatus::from_raw(code).to_string()
                });
                let which = match self.job.count() {
                    1 => String::new(),
                    count => format!(", element {index} of {count},"),
                };
                let what = self.function;
                let sentence = format!("worker {pid} died before {what}{which} was done: {ending}");
                Err(Error::of_death(Kind::WorkerDied, sentence, pid))
            }
            Outcome::Inline { kind, bytes, len } => value(kind, &bytes[..len as usize]),
            Outcome::Block(block) => {
                let message = self.job.message(block);
                let (at, len) = message.bytes();
                let bytes = self.shared.pool().arena().bytes(at, len);
                // SAFETY: the message is the job's, on which we have a lease, and does not change.
                let bytes = unsafe { std::slice::from_raw_parts(bytes, len as usize) };
                value(message.summary().kind, bytes)
            }
        }
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// The task that a job of one element is.
    pub(super) fn one(shared: &Arc<Shared>, job: RawJob, function: &'static str) -> Self {
        Self::new(shared, job, function, |task| task.element(0))
    }
}

impl<R: DeserializeOwned> Task<Vec<R>> {
    /// The tasks that the elements of a job are.
    pub(super) fn all(shared: &Arc<Shared>, job: RawJob, function: &'static str) -> Self {
        Self::new(shared, job, function, |task| {
            (0..task.job.count())
                .map(|index| task.element(index))
                .collect()
        })
    }
}

impl<T: 'static> Task<T> {
    /// Calls this with the result when it is there.
    pub(super) fn then(&self, call: impl FnOnce(Result<T>) + Send + 'static) -> Result<()> {
        let task = Self {
            shared: self.shared.clone(),
            job: self.job.clone(),
            function: self.function,
            read: self.read,
        };
        let call = Box::new(move || call((task.read)(&task)));
        Callbacks::add(&self.shared, self.job.clone(), call).map_err(|e| {
            Error::new(
                Kind::System,
                format!("starting the thread of callbacks: {e}"),
            )
        })
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("function", &self.function)
            .field("elements", &self.job.count())
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

fn value<R: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<R> {
    match kind {
        POSTCARD => postcard::from_bytes(bytes).map_err(|e| {
            Error::new(
                Kind::Serialization,
                format!("the result is not a {}: {e}", std::any::type_name::<R>()),
            )
        }),
        FAILED => Err(unpack(bytes)),
        _ => Err(Error::new(
            Kind::Serialization,
            "the result was not made by a worker of Rust's",
        )),
    }
}
