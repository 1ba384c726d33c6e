//! Waiting on descriptors: pidfds, pipes, sockets.

use crate::{life, time};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use rustix::io::{self, Errno, IoSlice, IoSliceMut, ReadWriteFlags};

/// How long a thread that attends to signals waits at a time: see [`life::attend_to_signals`].
const SLICE: u64 = 20_000_000;
/// Instead of an offset: where the stream is.
const HERE: u64 = u64::MAX;

/// Waits until one of `events` holds, until a deadline of [`time::deadline`]; false if the time is
/// over. `Err(INTR)` if a signal came, or may have come.
pub fn wait(fd: BorrowedFd<'_>, events: PollFlags, until: Option<u64>) -> io::Result<bool> {
    wait_any(&mut [PollFd::from_borrowed_fd(fd, events)], until)
}

/// The same for several: until one of them has what it wants.
pub fn wait_any(fds: &mut [PollFd<'_>], until: Option<u64>) -> io::Result<bool> {
    let now = time::now();
    let slice = life::attends_to_signals().then(|| now.saturating_add(SLICE));
    let end = match (until, slice) {
        (Some(until), Some(slice)) => Some(until.min(slice)),
        (until, slice) => until.or(slice),
    };
    let left = end.map(|end| time::timespec(end.saturating_sub(now)));
    if poll(fds, left.as_ref())? > 0 {
        return Ok(true);
    }
    if until.is_some_and(|until| until <= time::now()) {
        return Ok(false);
    }
    Err(Errno::INTR)
}

/// Reads what is there; `Err(AGAIN)` if nothing is, also where the descriptor blocks.
pub fn read_now(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    match io::preadv2(
        fd,
        &mut [IoSliceMut::new(into)],
        HERE,
        ReadWriteFlags::NOWAIT,
    ) {
        // Not every kind of stream can be asked so.
        Err(Errno::OPNOTSUPP) => io::read(fd, into),
        done => done,
    }
}

/// Writes what there is room for; `Err(AGAIN)` if there is none, also where the descriptor blocks.
pub fn write_now(fd: BorrowedFd<'_>, from: &[IoSlice<'_>]) -> io::Result<usize> {
    match io::pwritev2(fd, from, HERE, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP) => io::writev(fd, from),
        done => done,
    }
}
