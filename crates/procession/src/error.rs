//! The one error type: what kind, and a sentence that says what to do.

use std::fmt;

/// A `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The lock's holder died. See [`crate::Lock::reset`].
    BrokenLock,
    /// The barrier broke.
    BrokenBarrier,
    /// The queue stayed full until the time was over.
    Full,
    /// The queue stayed empty until the time was over.
    Empty,
    /// A signal handler wants to run: call again to go on.
    Interrupted,
    /// The arena's budget, or the room for processes, threads or handles, is used up.
    OutOfMemory,
    /// The object is no more, or belongs to another program.
    Gone,
    /// The caller does not hold what it wants to release.
    NotHeld,
    /// An argument is not what the call takes.
    InvalidInput,
    /// A value could not be turned into bytes, or back.
    Serialization,
    /// The other end of a pipe is closed.
    Disconnected,
    /// The system refused.
    System,
    /// A function in another process panicked.
    Panicked,
    /// A process died before it had a result.
    ProcessDied,
    /// The pool takes no more tasks.
    NotOpen,
    /// A pool's worker died before it had done the task. See [`Error::pid`].
    WorkerDied,
    /// The pool was terminated before the task was done.
    Terminated,
    /// The pool's workers can't be started: the message says why.
    PoolBroken,
    /// The task was not done when the time was over.
    TimedOut,
    /// The other end of a connection has another key.
    AuthenticationFailed,
    /// `procession::init()` was not called first thing in `main`.
    NotInitialized,
}

/// An error of this crate: its [`Kind`], and a sentence.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    /// Process id of the one whose death is the cause, 0 if none is.
    pid: u32,
    /// The system's number of the error, 0 if it has none.
    number: i32,
}

impl Error {
    /// An error of this kind with this sentence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            pid: 0,
            number: 0,
        }
    }

    /// The same, caused by the death of a process.
    pub fn of_death(kind: Kind, message: impl Into<String>, pid: u32) -> Self {
        Self {
            kind,
            message: message.into(),
            pid,
            number: 0,
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process whose death is the cause, if one is.
    pub fn pid(&self) -> Option<u32> {
        (self.pid != 0).then_some(self.pid)
    }

    /// The system's number of the error, as in `errno`, if the system refused and said why.
    pub fn os_error(&self) -> Option<i32> {
        (self.number != 0).then_some(self.number)
    }

    pub(crate) fn system(doing: &str, error: rustix::io::Errno) -> Self {
        Self {
            number: error.raw_os_error(),
            ..Self::new(
                Kind::System,
                format!("{doing}: {}", std::io::Error::from(error)),
            )
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<procession_shm::OutOfMemory> for Error {
    fn from(error: procession_shm::OutOfMemory) -> Self {
        let wanted = error.wanted;
        Self::new(
            Kind::OutOfMemory,
            format!(
                "the arena has no room for {wanted} bytes more within its budget; get items from full queues, or raise the budget"
            ),
        )
    }
}

impl From<procession_shm::object::Gone> for Error {
    fn from(_: procession_shm::object::Gone) -> Self {
        Self::new(
            Kind::Gone,
            "the object is no more: every process that had a handle on it has dropped it",
        )
    }
}

impl From<procession_shm::object::NoLease> for Error {
    fn from(error: procession_shm::object::NoLease) -> Self {
        match error {
            procession_shm::object::NoLease::Gone => procession_shm::object::Gone.into(),
            procession_shm::object::NoLease::OutOfMemory(error) => error.into(),
        }
    }
}

impl From<procession_shm::Interrupted> for Error {
    fn from(_: procession_shm::Interrupted) -> Self {
        Self::new(
            Kind::Interrupted,
            "a signal came while the call waited; call again to go on waiting",
        )
    }
}
