//! The file in which a request goes to a child and its answer comes back: unnamed, and shared by starter and child, so
//! however long they are, neither waits for the other.

use super::Surroundings;
use crate::error::{Error, Kind, Result};
use crate::sys::memory;
use crate::sys::process::Identity;
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What a process is to do, and as whom.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub name: String,
    pub affinity: Option<Vec<usize>>,
    pub token: i64,
    pub arguments: Vec<u8>,
    pub handles: Vec<(u64, u64)>,
    pub parent: (Identity, String),
    /// What a process from the template does not inherit.
    pub surroundings: Option<Surroundings>,
    /// On which the program asks for processes from the template, if it has.
    pub ends: Option<(i32, i32, u64)>,
}

/// What became of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Returned(Vec<u8>),
    Panicked(String),
    /// Serialization failed, or the process could not be set up.
    Failed((bool, String)),
}

/// The file: 16 bytes of lengths, request, answer.
#[derive(Debug)]
pub(super) struct Mail(File);

impl From<OwnedFd> for Mail {
    fn from(file: OwnedFd) -> Self {
        Self(File::from(file))
    }
}

impl Mail {
    pub(super) fn send(request: &Request) -> Result<Self> {
        let file = memfd_create(c"procession-mail", MemfdFlags::CLOEXEC)
            .map_err(|e| Error::system("making a request", e))?;
        let bytes = postcard::to_stdvec(request).map_err(|e| {
            Error::new(
                Kind::Serialization,
                format!("the request can't be written: {e}"),
            )
        })?;
        let mail = Self(File::from(file));
        mail.write(16, &bytes)?;
        mail.write(0, &(bytes.len() as u64).to_le_bytes())?;
        Ok(mail)
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(super) fn receive(&self) -> Result<Request> {
        let bytes = self.read(16, self.length(0)?)?;
        postcard::from_bytes(&bytes)
            .map_err(|e| Error::new(Kind::Serialization, format!("the request is not one: {e}")))
    }

    pub(super) fn reply(&self, answer: &Answer) -> Result<()> {
        let bytes = postcard::to_stdvec(answer)
            .map_err(|e| Error::new(Kind::Serialization, e.to_string()))?;
        self.write(16 + self.length(0)?, &bytes)?;
        // Written last: a child that dies before has not answered.
        self.write(8, &(bytes.len() as u64).to_le_bytes())
    }

    /// What the child answered, if it did.
    pub(super) fn answer(&self) -> Result<Option<Result<Vec<u8>>>> {
        let len = self.length(8)?;
        if len == 0 {
            return Ok(None);
        }
        let bytes = self.read(16 + self.length(0)?, len)?;
        let answer = postcard::from_bytes(&bytes)
            .map_err(|e| Error::new(Kind::Serialization, format!("the answer is not one: {e}")))?;
        Ok(Some(match answer {
            Answer::Returned(bytes) => Ok(bytes),
            Answer::Panicked(message) => Err(Error::new(Kind::Panicked, message)),
            Answer::Failed((true, message)) => Err(Error::new(Kind::Serialization, message)),
            Answer::Failed((false, message)) => Err(Error::new(Kind::System, message)),
        }))
    }

    fn length(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        match self.0.read_at(&mut bytes, at) {
            Ok(_) => Ok(u64::from_le_bytes(bytes)),
            Err(error) => Err(Error::new(
                Kind::System,
                format!("reading a request: {error}"),
            )),
        }
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let most =
            memory::size(self.0.as_fd()).map_err(|e| Error::system("reading a request", e))?;
        if len > most {
            return Err(Error::new(
                Kind::System,
                format!("a request says that it has {len} bytes, its file has {most}"),
            ));
        }
        let mut bytes = vec![0; len as usize];
        self.0
            .read_exact_at(&mut bytes, at)
            .map_err(|e| Error::new(Kind::System, format!("reading a request: {e}")))?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.0
            .write_all_at(bytes, at)
            .map_err(|e| Error::new(Kind::System, format!("writing a request: {e}")))
    }
}
