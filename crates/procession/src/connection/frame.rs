//! A message on a stream: its length, the highest byte first, then its bytes.
//!
//! The length has four bytes, with a sign; -1 says that eight more bytes hold a longer one. It is the
//! format of the standard library's connections, so either end may be one of those.

use crate::descriptor;
use crate::error::{Error, Kind, Result};
use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSlice};

/// What is read at a time, and so the most memory that a length costs for which nothing comes.
const PIECE: usize = 64 << 10;
const SHORT: usize = 4;
const LONG: usize = 12;

/// A system call on a connection as an error: a signal is [`Kind::Interrupted`], to be called again.
pub(crate) fn failed(doing: &str, error: Errno) -> Error {
    match error {
        Errno::INTR => Error::new(Kind::Interrupted, "a signal came; call again to go on"),
        error => Error::system(doing, error),
    }
}

/// Who made a descriptor so that it does not block is told that it would; amid a message there is no way back.
fn may_block(fd: BorrowedFd<'_>, doing: &str) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|error| failed(doing, error))?;
    if flags.contains(OFlags::NONBLOCK) {
        return Err(failed(doing, Errno::AGAIN));
    }
    Ok(())
}

/// A message that goes out. It remembers how far it came, so a signal may come amid.
#[derive(Debug)]
pub struct Outgoing {
    header: [u8; LONG],
    header_len: usize,
    done: usize,
}

impl Outgoing {
    /// A message of so many bytes.
    pub fn new(len: usize) -> Self {
        let mut header = [0; LONG];
        let header_len = match i32::try_from(len) {
            Ok(len) => {
                header[..SHORT].copy_from_slice(&len.to_be_bytes());
                SHORT
            }
            Err(_) => {
                header[..SHORT].copy_from_slice(&(-1_i32).to_be_bytes());
                header[SHORT..].copy_from_slice(&(len as u64).to_be_bytes());
                LONG
            }
        };
        Self {
            header,
            header_len,
            done: 0,
        }
    }

    /// Writes what there is room for; true once all is written. `body` is the same at each call.
    pub fn write_some(&mut self, fd: BorrowedFd<'_>, body: &[u8]) -> Result<bool> {
        while self.done < self.header_len + body.len() {
            let head = &self.header[self.done.min(self.header_len)..self.header_len];
            let rest = &body[self.done.saturating_sub(self.header_len)..];
            match descriptor::write_now(fd, &[IoSlice::new(head), IoSlice::new(rest)]) {
                Ok(n) => self.done += n,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(failed("sending a message", error)),
            }
        }
        Ok(true)
    }

    /// Writes all, and waits for room. [`Kind::Interrupted`]: a signal came; call again to go on. A descriptor that does not
    /// block, and that has room for nothing: an error of kind [`Kind::System`], after which nothing was written.
    pub fn write(&mut self, fd: BorrowedFd<'_>, body: &[u8]) -> Result<()> {
        while !self.write_some(fd, body)? {
            if self.done == 0 {
                may_block(fd, "sending a message")?;
            }
            descriptor::wait(fd, PollFlags::OUT, None)
                .map_err(|error| failed("waiting for room to send", error))?;
        }
        Ok(())
    }
}

/// What came.
#[derive(Debug)]
pub enum Came {
    /// A message.
    Message(Vec<u8>),
    /// The header of a message that is longer than wanted, with its length; none of its bytes were read.
    TooLong(u64),
}

/// A message that comes in. It remembers what came, so a signal may come amid; its memory grows with what has come.
#[derive(Debug)]
pub struct Incoming {
    header: [u8; LONG],
    header_have: usize,
    most: u64,
    bytes: Vec<u8>,
    have: usize,
}

impl Incoming {
    /// The next message, if it has `most` bytes at most.
    pub fn new(most: Option<u64>) -> Self {
        Self {
            header: [0; LONG],
            header_have: 0,
            most: most.unwrap_or(u64::MAX),
            bytes: Vec::new(),
            have: 0,
        }
    }

    /// Reads what is there; `None`: that was not all. The end of the stream before a message is [`Kind::Disconnected`].
    pub fn read_some(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Came>> {
        let Some(len) = self.read_header(fd)? else {
            return Ok(None);
        };
        if len > self.most {
            return Ok(Some(Came::TooLong(len)));
        }
        let len = usize::try_from(len)
            .ok()
            .filter(|&len| len as u64 <= memory())
            .ok_or_else(|| bad_length(format!("{len}: this machine has not so much memory")))?;
        while self.have < len {
            if self.have == self.bytes.len() {
                self.grow(len)?;
            }
            match descriptor::read_now(fd, &mut self.bytes[self.have..]) {
                Ok(0) => {
                    let have = self.have;
                    let text = format!("{len}, and the stream ended after {have} bytes of it");
                    return Err(bad_length(text));
                }
                Ok(n) => self.have += n,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(failed("receiving a message", error)),
            }
        }
        Ok(Some(Came::Message(std::mem::take(&mut self.bytes))))
    }

    /// Waits for the message. [`Kind::Interrupted`]: a signal came; call again to go on. A descriptor that does not block, and
    /// has nothing: an error of kind [`Kind::System`].
    pub fn read(&mut self, fd: BorrowedFd<'_>) -> Result<Came> {
        loop {
            if let Some(came) = self.read_some(fd)? {
                return Ok(came);
            }
            if self.header_have == 0 {
                may_block(fd, "receiving a message")?;
            }
            descriptor::wait(fd, PollFlags::IN, None)
                .map_err(|error| failed("waiting for a message", error))?;
        }
    }

    /// The length, once its header is there.
    fn read_header(&mut self, fd: BorrowedFd<'_>) -> Result<Option<u64>> {
        loop {
            let short = i32::from_be_bytes([0, 1, 2, 3].map(|at| self.header[at]));
            let wanted = if self.header_have >= SHORT && short == -1 {
                LONG
            } else {
                SHORT
            };
            if self.header_have == wanted {
                let mut long = [0; LONG - SHORT];
                long.copy_from_slice(&self.header[SHORT..]);
                return match u64::try_from(short) {
                    Ok(len) => Ok(Some(len)),
                    Err(_) if wanted == LONG => Ok(Some(u64::from_be_bytes(long))),
                    Err(_) => Err(bad_length(format!("{short}: it is below zero"))),
                };
            }
            match descriptor::read_now(fd, &mut self.header[self.header_have..wanted]) {
                Ok(0) if self.header_have == 0 => {
                    return Err(Error::new(Kind::Disconnected, "the other end is closed"));
                }
                Ok(0) => {
                    return Err(Error::new(
                        Kind::System,
                        "the stream ended amid the length of a message",
                    ));
                }
                Ok(n) => self.header_have += n,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(failed("receiving a message", error)),
            }
        }
    }

    /// Makes room for as much again as has come.
    fn grow(&mut self, len: usize) -> Result<()> {
        let room = len.min((self.have * 2).max(PIECE));
        self.bytes
            .try_reserve_exact(room - self.have)
            .map_err(|_| bad_length(format!("{len}: there is no memory for it")))?;
        self.bytes.resize(room, 0);
        Ok(())
    }
}

fn bad_length(text: String) -> Error {
    Error::new(Kind::System, format!("bad message length {text}"))
}

/// All memory of this machine, swap included: no message that is longer can be received.
fn memory() -> u64 {
    let found = rustix::system::sysinfo();
    let unit = found.mem_unit.max(1) as u64;
    let pages = (found.totalram as u64).saturating_add(found.totalswap as u64);
    pages.saturating_mul(unit)
}
