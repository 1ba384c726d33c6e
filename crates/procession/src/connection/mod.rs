//! Connections between programs: messages over a Unix or TCP socket, with or without a key.
//!
//! What travels is the format of Python's `multiprocessing.connection`, handshake included, so the
//! other end may be a Python program, of this package or of the standard library. Within one
//! program there are [`crate::Queue`] and [`crate::pipe()`], which outlive deaths.
//!
//! ```
//! use procession::connection::{Connection, Listener};
//!
//! let key = b"only those who know it";
//! let listener = Listener::new()?.with_key(key);
//! let address = listener.address().clone();
//! let client = std::thread::spawn(move || {
//!     let client = Connection::connect_with_key(&address, key)?;
//!     client.send_bytes(b"hello")?;
//!     client.recv_bytes()
//! });
//! let server = listener.accept()?;
//! assert_eq!(server.recv_bytes()?, b"hello");
//! server.send_bytes(b"welcome")?;
//! assert_eq!(client.join().unwrap()?, b"welcome");
//! assert_eq!(server.recv_bytes().unwrap_err().kind(), procession::Kind::Disconnected);
//! # Ok::<(), procession::Error>(())
//! ```

mod accept;
mod address;
pub mod auth;
pub mod connect;
pub mod frame;
mod handshake;
mod listener;

pub use accept::{Acceptor, HANDSHAKE_LIMIT};
pub use address::Address;
pub use listener::Listener;

use crate::descriptor;
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::parcel;
use crate::time;
use frame::{Came, Incoming, Outgoing, failed};
use handshake::Handshake;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// One end of a stream on which messages go both ways.
///
/// Unlike the ends of [`crate::pipe()`] it is a descriptor, may lead to another program, and a message is written and read in
/// parts: when a process is killed amid, the other end finds that the stream ended within a message, which is an error
/// of kind [`Kind::System`]. Two that send, or receive, on one stream at a time must take turns.
#[derive(Debug)]
pub struct Connection {
    stream: OwnedFd,
}

impl Connection {
    /// Connects to a listener; waits until it takes the call. Nobody listens there: an error of kind [`Kind::System`].
    pub fn connect(address: &Address) -> Result<Self> {
        address.connect().map(Self::from)
    }

    /// The same, and both ends prove that they have the key. Waits until the listener accepts. The listener has another key:
    /// an error of kind [`Kind::AuthenticationFailed`]; it hangs up: [`Kind::Disconnected`].
    pub fn connect_with_key(address: &Address, key: &[u8]) -> Result<Self> {
        let connection = Self::connect(address)?;
        let mut handshake = Handshake::of_client(key);
        let fd = connection.as_fd();
        while let Some(wants) = retry(|| handshake.step(fd))? {
            retry(|| descriptor::wait(fd, wants, None).map_err(|e| failed("proving the key", e)))?;
        }
        Ok(connection)
    }

    /// Two ends that are connected to each other.
    ///
    /// ```
    /// let (one, other) = procession::connection::Connection::pair()?;
    /// one.send(&("answer".to_string(), 42))?;
    /// let (what, n): (String, i32) = other.recv()?;
    /// assert_eq!((what.as_str(), n), ("answer", 42));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = std::os::unix::net::UnixStream::pair().map_err(system)?;
        Ok((
            Self::from(OwnedFd::from(one)),
            Self::from(OwnedFd::from(other)),
        ))
    }

    /// Sends a message; waits while the stream is full. The other end is gone: an error of kind [`Kind::System`].
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut outgoing = Outgoing::new(bytes.len());
        retry(|| outgoing.write(self.as_fd(), bytes))
    }

    /// Receives the next message; waits as long as it takes. All was received, and the other end is closed:
    /// an error of kind [`Kind::Disconnected`].
    pub fn recv_bytes(&self) -> Result<Vec<u8>> {
        self.receive(None)
    }

    /// Receives the next message if it has `most` bytes at most; else an error of kind [`Kind::InvalidInput`], after which the
    /// stream can't be used.
    pub fn recv_bytes_up_to(&self, most: u64) -> Result<Vec<u8>> {
        self.receive(Some(most))
    }

    /// Sends a value, in postcard's format.
    pub fn send<T: Serialize>(&self, value: &T) -> Result<()> {
        let bytes = postcard::to_stdvec(value).map_err(|e| {
            Error::new(Kind::Serialization, format!("the value can't be sent: {e}"))
        })?;
        self.send_bytes(&bytes)
    }

    /// Receives a value that [`Connection::send`] sent.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T> {
        postcard::from_bytes(&self.recv_bytes()?).map_err(|e| {
            Error::new(
                Kind::Serialization,
                format!("the message is no value of this type: {e}"),
            )
        })
    }

    /// Whether there is something to receive, or the other end is closed, within `timeout`.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        let until = time::deadline(Some(timeout));
        retry(|| {
            descriptor::wait(self.as_fd(), PollFlags::IN, until)
                .map_err(|e| failed("waiting for a message", e))
        })
    }

    fn receive(&self, most: Option<u64>) -> Result<Vec<u8>> {
        let mut incoming = Incoming::new(most);
        match retry(|| incoming.read(self.as_fd()))? {
            Came::Message(bytes) => Ok(bytes),
            Came::TooLong(len) => Err(Error::new(
                Kind::InvalidInput,
                format!(
                    "the message has {len} bytes, and at most {} are wanted",
                    most.unwrap_or(0)
                ),
            )),
        }
    }
}

/// It may travel to another process of the program, which has an end of its own then; the bytes name it once, so they can be
/// read once. It arrives though its sender has ended: see [`crate::parcel`].
impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer).map(Self::from)
    }
}

impl From<OwnedFd> for Connection {
    /// A stream socket or a pipe, whose other end speaks the format.
    fn from(stream: OwnedFd) -> Self {
        Self { stream }
    }
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> Self {
        connection.stream
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Waits until one of several has something to read, or its other end is closed, for `timeout` at most, or for ever; says which,
/// by their places. Connections, sockets and pipes can be waited for, and processes by their pidfds. None in time: an empty list.
///
/// ```
/// use procession::connection::{Connection, wait};
/// let ((one, other), (two, _far)) = (Connection::pair()?, Connection::pair()?);
/// other.send_bytes(b"here")?;
/// assert_eq!(wait(&[&one, &two], None)?, [0]);
/// # Ok::<(), procession::Error>(())
/// ```
pub fn wait(all: &[impl AsFd], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let until = time::deadline(timeout);
    let each = all.iter().map(|one| PollFd::new(one, PollFlags::IN));
    let mut fds: Vec<_> = each.collect();
    retry(|| wait_until(&mut fds, until))
}

/// The same, for bindings: until a deadline of [`time::deadline`], for what each wants. [`Kind::Interrupted`]: a signal came; call again.
pub fn wait_until(fds: &mut [PollFd<'_>], until: Option<u64>) -> Result<Vec<usize>> {
    descriptor::wait_any(fds, until).map_err(|e| failed("waiting for several", e))?;
    let each = fds.iter().enumerate();
    let ready = each.filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(index, _)| index).collect())
}

/// An error of the standard library's calls.
fn system(error: std::io::Error) -> Error {
    let errno = rustix::io::Errno::from_io_error(&error);
    match errno {
        Some(errno) => Error::system("making a connection", errno),
        None => Error::new(Kind::System, format!("making a connection: {error}")),
    }
}
