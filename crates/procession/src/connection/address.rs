//! Where a listener listens.

use super::system;
use crate::error::Result;
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Where a listener listens; it may travel to those who are to connect.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Address {
    /// A file of the kind socket, for processes of this machine.
    Unix(PathBuf),
    /// A host and a port. Port 0 is, for a listener, one that the system chooses.
    Tcp(SocketAddr),
}

impl Address {
    /// A TCP address of this machine that others can't reach, with a port that the system chooses.
    pub fn local() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) fn connect(&self) -> Result<OwnedFd> {
        Ok(match self {
            Self::Unix(path) => UnixStream::connect(path).map_err(system)?.into(),
            Self::Tcp(address) => TcpStream::connect(address).map_err(system)?.into(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}
