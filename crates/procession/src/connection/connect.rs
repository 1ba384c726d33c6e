//! Connecting, on a socket that does not block: what waits for the listener attends to signals.

use super::frame::failed;
use crate::descriptor;
use crate::error::{Error, Kind, Result};
use crate::time;
use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;

/// How long to wait before a listener with a full backlog is asked again: the system does not say when there is room.
const FULL: u64 = 2_000_000;

/// How far a socket came that connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It does not connect yet.
    Idle,
    /// It connects, and the system says when it is done.
    Underway,
}

/// Goes on until the socket is connected, which `attempt` calls `connect` on. [`Kind::Interrupted`]: a signal came; call again
/// with the same `progress`, at first [`Progress::Idle`]. Refused or unreachable: [`Kind::System`].
pub fn go_on(
    socket: BorrowedFd<'_>,
    progress: &mut Progress,
    mut attempt: impl FnMut() -> Result<(), Errno>,
) -> Result<()> {
    let connecting = |error| failed("connecting", error);
    loop {
        if *progress == Progress::Underway {
            descriptor::wait(socket, PollFlags::OUT, None).map_err(connecting)?;
            return socket_error(socket)
                .map_err(connecting)?
                .map_err(connecting);
        }
        match attempt() {
            Ok(()) | Err(Errno::ISCONN) => return Ok(()),
            Err(Errno::INPROGRESS | Errno::ALREADY) => *progress = Progress::Underway,
            Err(Errno::AGAIN) => {
                let until = time::now().saturating_add(FULL);
                descriptor::wait_any(&mut [], Some(until)).map_err(connecting)?;
            }
            Err(Errno::INTR) => {
                return Err(Error::new(Kind::Interrupted, "a signal came; call again"));
            }
            Err(error) => return Err(connecting(error)),
        }
    }
}
