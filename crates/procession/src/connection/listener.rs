//! Listening for others who connect.

use super::{Acceptor, Address, Connection, HANDSHAKE_LIMIT, system};
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::sys::process;
use crate::time;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, mkdir};
use rustix::rand::{GetRandomFlags, getrandom};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

/// A socket that others connect to.
///
/// With a key, all who connect prove side by side that they have it, and prove it within a time limit: one who is silent
/// keeps nobody else from being accepted. That happens within [`Listener::accept`], and there is no thread of ours.
///
/// ```
/// use procession::connection::{Address, Connection, Listener};
/// let listener = Listener::bind(&Address::local())?;
/// let client = Connection::connect(listener.address())?;
/// client.send(&7_u8)?;
/// assert_eq!(listener.accept()?.recv::<u8>()?, 7);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: Address,
    key: Option<Box<[u8]>>,
    limit: Duration,
    acceptor: Acceptor,
    file: Option<SocketFile>,
}

/// A socket's file, removed by the process that made it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// The directory, if it was made for this file.
    directory: Option<PathBuf>,
    process: u32,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.process != process::pid() {
            return;
        }
        // Nothing is to be done about an error: somebody else removed it.
        let _ = std::fs::remove_file(&self.path);
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

impl Listener {
    /// Listens on a Unix socket in a directory of its own, which only this user can enter.
    pub fn new() -> Result<Self> {
        let mut random = [0; 8];
        let failed = |doing| move |error| Error::system(doing, error);
        retry_random(&mut random).map_err(failed("taking random bytes"))?;
        let name = format!("procession-{:016x}", u64::from_le_bytes(random));
        let directory = std::env::temp_dir().join(name);
        mkdir(&directory, Mode::RWXU).map_err(failed("making a directory for a socket"))?;
        let path = directory.join("listener");
        let made = Self::bind(&Address::Unix(path));
        match made {
            Ok(mut listener) => {
                if let Some(file) = &mut listener.file {
                    file.directory = Some(directory);
                }
                Ok(listener)
            }
            Err(error) => {
                let _ = std::fs::remove_dir(&directory);
                Err(error)
            }
        }
    }

    /// Listens there. The address is taken: an error of kind [`Kind::System`].
    pub fn bind(address: &Address) -> Result<Self> {
        let (socket, address, file) = match address {
            Address::Unix(path) => {
                let socket = UnixListener::bind(path).map_err(system)?;
                let file = SocketFile {
                    path: path.clone(),
                    directory: None,
                    process: process::pid(),
                };
                (OwnedFd::from(socket), address.clone(), Some(file))
            }
            Address::Tcp(wanted) => {
                let socket = TcpListener::bind(wanted).map_err(system)?;
                let address = Address::Tcp(socket.local_addr().map_err(system)?);
                (OwnedFd::from(socket), address, None)
            }
        };
        Ok(Self {
            socket,
            address,
            key: None,
            limit: HANDSHAKE_LIMIT,
            acceptor: Acceptor::new(),
            file,
        })
    }

    /// Takes only those who have this key.
    pub fn with_key(mut self, key: &[u8]) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long one who connects may take to prove its key; [`HANDSHAKE_LIMIT`] if nothing is said.
    pub fn with_handshake_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many may wait for being accepted; the system refuses more, or lets them wait.
    pub fn with_backlog(self, backlog: i32) -> Result<Self> {
        if backlog < 0 {
            return Err(Error::new(
                Kind::InvalidInput,
                format!("a backlog is 0 or more; got {backlog}"),
            ));
        }
        rustix::net::listen(&self.socket, backlog)
            .map_err(|error| Error::system("setting the backlog", error))?;
        Ok(self)
    }

    /// Where it listens, to connect to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next one who connects, and has the key if there is one. One who has another key is an error of kind
    /// [`Kind::AuthenticationFailed`], after which others can be accepted.
    pub fn accept(&self) -> Result<Connection> {
        self.accept_until(None)
    }

    /// The same, for so long; else an error of kind [`Kind::TimedOut`].
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection> {
        self.accept_until(time::deadline(Some(timeout)))
    }

    fn accept_until(&self, until: Option<u64>) -> Result<Connection> {
        let (socket, key) = (self.socket.as_fd(), self.key.as_deref());
        retry(|| self.acceptor.accept(socket, key, self.limit, until)).map(Connection::from)
    }
}

impl AsFd for Listener {
    /// Readable when somebody connects.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn retry_random(into: &mut [u8]) -> rustix::io::Result<()> {
    // So few bytes come whole, or not at all.
    rustix::io::retry_on_intr(|| getrandom(&mut *into, GetRandomFlags::empty())).map(drop)
}
