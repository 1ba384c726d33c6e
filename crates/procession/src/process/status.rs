//! How a process ended.

use std::fmt;

/// An exit code as multiprocessing tells it: 0 without error, positive what the process said, negative the signal
/// that killed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitStatus(Option<i32>);

impl ExitStatus {
    /// The status of this number.
    pub const fn from_raw(code: i32) -> Self {
        Self(Some(code))
    }

    /// Somebody else waited for the process, and it left no word of its own.
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// The number: `None` if it is not known.
    pub const fn raw(self) -> Option<i32> {
        self.0
    }

    /// Whether it ended without error.
    pub const fn success(self) -> bool {
        matches!(self.0, Some(0))
    }

    /// The exit code, if the process ended by itself.
    pub const fn code(self) -> Option<i32> {
        match self.0 {
            Some(code) if code >= 0 => self.0,
            _ => None,
        }
    }

    /// The signal that killed the process, if one did.
    pub const fn signal(self) -> Option<i32> {
        match self.0 {
            Some(code) if code < 0 => Some(-code),
            _ => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code(), self.signal()) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (_, Some(signal)) => write!(f, "killed by signal {signal}"),
            _ => f.write_str("exit code unknown: somebody else waited for the process"),
        }
    }
}

/// What a join with a limit of time found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// The process has ended.
    Ended(ExitStatus),
    /// It runs still.
    Running,
}
