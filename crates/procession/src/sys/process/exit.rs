//! How processes end: waiting for them, and what the kernel tells of those that are gone.

use super::{Identity, last_error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::process::{Pid, WaitId, WaitIdOptions};

/// Waits until the process of a pidfd has ended, for `timeout` at most (for ever if `None`).
/// `Err(INTR)` on a signal.
pub fn wait_ended(pidfd: BorrowedFd<'_>, timeout: Option<Timespec>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut fds, timeout.as_ref()).map(|ready| ready > 0)
}

/// How a child of ours ended: exit code, or minus the signal. `None` while it runs; `ECHILD` if
/// somebody else has waited for it.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    status(pidfd, WaitIdOptions::empty())
}

/// As [`reap`], but leaves it to be reaped: until then the kernel tells others too.
pub fn peek(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    status(pidfd, WaitIdOptions::NOWAIT)
}

fn status(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<i32>> {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(status) = rustix::process::waitid(WaitId::PidFd(pidfd), options)? else {
        return Ok(None);
    };
    Ok(status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| -signal)))
}

/// In place of the pidfd of a process that is gone: a pipe without a writer.
pub fn ended() -> io::Result<OwnedFd> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map(|(read, _)| read)
}

/// Ends and reaps a child that was started and can't be kept: there is no descriptor for it.
pub fn discard(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        while matches!(wait(), Err(Errno::INTR)) {}
    }
}

/// The exit code in a status of wait(2): minus the signal that ended the process, if one did.
pub fn exit_code(status: i32) -> i32 {
    match status & 0x7f {
        0 => status >> 8 & 0xff,
        signal => -signal,
    }
}

/// The exit code of a process that has ended and that somebody else waits for, or has waited for, as far
/// as the kernel tells it: after the wait from Linux 6.15 on, before it always.
pub fn exit_of(pidfd: BorrowedFd<'_>, pid: u32) -> Option<i32> {
    // Looked at after the pid was asked: if it is its own still, what was told is of this process.
    let who = Identity { pid, birth: 0 };
    let told = || who.ending_code().filter(|_| has_its_pid(pidfd));
    // Once more at the end: it may have been waited for just now.
    exit_after_wait(pidfd)
        .or_else(told)
        .or_else(|| exit_after_wait(pidfd))
}

/// Whether the process of a pidfd was not waited for yet: until then its pid is nobody else's.
fn has_its_pid(pidfd: BorrowedFd<'_>) -> bool {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: signal 0 is sent to nobody, and passes no memory.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, none, 0) };
    sent == 0 || last_error() != Errno::SRCH
}

fn exit_after_wait(pidfd: BorrowedFd<'_>) -> Option<i32> {
    // PIDFD_GET_INFO and PIDFD_INFO_EXIT of linux/pidfd.h, with the struct of its first version.
    const GET_INFO: u32 = 0xc040_ff0b;
    const EXIT: u64 = 1 << 3;
    let mut info = [0_u64; 8];
    info[0] = EXIT;
    // SAFETY: the kernel writes the 64 bytes that the request's number says.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, info.as_mut_ptr()) };
    (done == 0 && info[0] & EXIT != 0).then(|| exit_code((info[7] >> 32) as i32))
}

/// Waits, without taking it away, for a child that has ended: its pid and exit code; `None` if none has.
pub fn ended_child() -> Option<(u32, i32)> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the struct is plain data that the kernel fills in; its fields are read as waitid(2) says.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_ALL, 0, &raw mut info, options) != 0 || info.si_pid() == 0 {
            return None;
        }
        let code = match info.si_code {
            libc::CLD_EXITED => info.si_status(),
            _ => -info.si_status(),
        };
        Some((info.si_pid() as u32, code))
    }
}

/// Takes away a child that has ended.
pub fn take_away(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        while matches!(wait(), Err(Errno::INTR)) {}
    }
}
