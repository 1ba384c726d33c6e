//! The end with the root: the kernel kills who hangs on its pipe.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io;

/// The pipe by which the program ends with its root: (read end, write end).
pub fn root_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // A child that has changed its user has children too, who open the pipe anew.
    let _ = rustix::fs::fchmod(&pipe.0, Mode::from_raw_mode(0o644));
    Ok(pipe)
}

/// Makes the kernel kill this process when the last writer of the root's pipe is gone. Returns
/// the descriptor that this hangs on.
pub fn die_with_root(read_end: RawFd) -> io::Result<OwnedFd> {
    // A description of our own: O_ASYNC belongs to the description.
    let path = format!("/proc/self/fd/{read_end}");
    let own = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // SAFETY: plain fcntl calls on a descriptor that we own.
    unsafe {
        libc::fcntl(own.as_raw_fd(), libc::F_SETOWN, libc::getpid());
        // F_SETSIG, which the libc crate does not name on every target.
        libc::fcntl(own.as_raw_fd(), 10, libc::SIGKILL);
        let flags = libc::fcntl(own.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(own.as_raw_fd(), libc::F_SETFL, flags | libc::O_ASYNC);
    }
    if has_hung_up(own.as_fd()) {
        // The root went before we asked.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    }
    Ok(own)
}

fn has_hung_up(read_end: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&read_end, PollFlags::IN)];
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&none)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
