//! Processes as the kernel knows them: pidfds, start times, exit status, the end with the root.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::io::Read;

/// The process id of the calling process.
pub fn pid() -> u32 {
    std::process::id()
}

/// The kernel's id of the calling thread.
pub fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// A descriptor that becomes readable when the process ends.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid as i32).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// A file of /proc, which tells all it has in one read.
fn read_proc(path: &str) -> Option<String> {
    let mut bytes = [0; 4096];
    let len = std::fs::File::open(path).ok()?.read(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// What the kernel tells of a task (proc_pid_stat(5)).
struct Stat {
    start: u64,
    /// It runs its last kernel code, or is a zombie by now.
    ending: bool,
    /// What waitid(2) would tell of it, once it is ending.
    status: i32,
}

fn stat(path: &str) -> Option<Stat> {
    // PF_EXITING: set before the kernel marks the life words.
    const EXITING: u64 = 4;
    let stat = read_proc(&format!("{path}/stat"))?;
    // The name, second field, may hold anything but ends at the last parenthesis.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(Stat {
        start: fields.nth(12)?.parse().ok()?,
        ending: matches!(state, "Z" | "X") || flags & EXITING != 0,
        status: fields.last()?.parse().ok()?,
    })
}

/// The exit code, or minus the signal, of a process that is ending or waits to be reaped.
pub fn ending_code(pid: u32, start: u64) -> Option<i32> {
    let stat = stat(&format!("/proc/{pid}"))?;
    let meant = start == 0 || stat.start == start;
    (meant && stat.ending).then(|| match stat.status & 0x7f {
        0 => stat.status >> 8 & 0xff,
        signal => -signal,
    })
}

/// Whether a task comes back from the kernel no more: it ends, or SIGKILL is on its way to it.
fn is_ending(path: &str) -> bool {
    let killed = || {
        let status = read_proc(&format!("{path}/status"))?;
        let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
        let pending = u64::from_str_radix(pending?.trim(), 16).ok()?;
        Some(pending & 1 << (libc::SIGKILL - 1) != 0)
    };
    stat(path).is_none_or(|stat| stat.ending) || killed().unwrap_or(true)
}

/// When the kernel started this process, in its own unit; 0 where /proc can't be read.
pub fn start_time(pid: u32) -> u64 {
    stat(&format!("/proc/{pid}")).map_or(0, |stat| stat.start)
}

/// Whether the process that had this pid and start time is no more, or all its threads are about to end.
pub fn is_gone(pid: u32, start: u64) -> bool {
    let Some(known) = Pid::from_raw(pid as i32) else {
        return false;
    };
    match stat(&format!("/proc/{pid}")) {
        Some(now) if start != 0 && now.start != start => true,
        // The first thread may have ended alone.
        Some(now) => {
            now.ending
                && std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| {
                    tasks
                        .flatten()
                        .all(|task| is_ending(&task.path().to_string_lossy()))
                })
        }
        None => rustix::process::test_kill_process(known) == Err(Errno::SRCH),
    }
}

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

/// Ends and reaps a child that was started and can't be kept: there is no descriptor for it.
pub fn discard(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        while matches!(wait(), Err(Errno::INTR)) {}
    }
}

/// The pipe by which the program ends with its root: (read end, write end).
pub fn root_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
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

/// Closes a descriptor of which only the number is known.
pub fn close(fd: RawFd) {
    // SAFETY: the caller owns the descriptor; it is closed once.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// Calls these around every `fork` of this process.
pub fn at_fork(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> io::Result<()> {
    // SAFETY: the handlers are functions of ours, which live as long as the process.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error)),
    }
}

/// Calls this when the process exits by `exit` or by return from `main`.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: as above.
    unsafe { libc::atexit(handler) };
}

/// The processors that a process, 0 for the calling thread, may run on.
pub fn affinity(pid: u32) -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(Pid::from_raw(pid as i32))?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

/// Asks for the processors that a process, 0 for the calling thread, runs on.
pub fn set_affinity(pid: u32, cpus: &[usize]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus {
        if cpu >= rustix::thread::CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(Pid::from_raw(pid as i32), &set)
}

/// Forks the calling process: 0 in the child, its pid in the parent.
///
/// # Safety
/// The calling process has one thread.
pub unsafe fn fork() -> io::Result<u32> {
    // SAFETY: the child is a whole copy, as the caller says.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        pid => Ok(pid as u32),
    }
}

/// Ends the calling process at once: nothing that is to be done at an exit is done.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: passes no memory, and does not return.
    unsafe { libc::_exit(code) }
}

/// Which signals the calling thread holds back.
pub struct Mask(libc::sigset_t);

/// Holds SIGINT back from the calling thread; says what was held back before.
pub fn hold_interrupts() -> Mask {
    // SAFETY: sigset_t is a plain array of bits, and is written before it is read.
    unsafe {
        let (mut set, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before);
        Mask(before)
    }
}

/// Holds back what was held back then.
pub fn restore(mask: &Mask) {
    // SAFETY: the mask was written by the kernel.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &mask.0, std::ptr::null_mut()) };
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
