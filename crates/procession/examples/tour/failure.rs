//! Why a tour ends early.

use std::fmt;
use std::io;

/// What went wrong, in one line.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be done.
    Input(String),
    /// A worker could not be started, or ended otherwise than it should.
    Worker(String),
}

impl Failure {
    pub fn input(path: &str, error: &io::Error) -> Self {
        Failure::Input(format!("{path:?}: {error}"))
    }

    /// The exit code that tells it.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Worker(_) => 1,
            Failure::Input(_) => 2,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<procession::Error> for Failure {
    fn from(error: procession::Error) -> Self {
        Failure::Worker(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Input(text) | Failure::Worker(text)) = self;
        f.write_str(text)
    }
}
