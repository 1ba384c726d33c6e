//! Processes as the kernel knows them: pidfds, identities, exit status, the end with the root.

mod exit;
mod identity;
mod launch;
mod root;
mod standing;
mod stat;

pub use exit::{
    discard, ended, ended_child, exit_code, exit_of, peek, reap, take_away, wait_ended,
};
pub use identity::Identity;
pub use launch::run_detached;
pub use root::{die_with_root, root_pipe};
pub use standing::{has_real_ids, standing, umask};

use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::{Pid, PidfdFlags};

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

/// How many threads this process has; 0 where /proc can't be read.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// This process holds on to none of its starter's streams, nor to its directory.
pub fn leave_streams_and_directory() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::chdir("/")
}

/// This process stays on when all around it ends: a session of its own, none of the streams but the one for errors, no
/// directory, and no signal that a terminal or an end of the day sends.
pub fn settle_apart() -> io::Result<()> {
    // Who leads a group can't; then it is apart already.
    let _ = rustix::process::setsid();
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
        // SAFETY: to ignore a signal runs nothing.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::process::chdir("/")
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

/// Calls with all signals held back from the calling thread, and for good from the threads that it starts meanwhile.
pub fn without_signals<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: sigset_t is a plain array of bits, and is written before it is read.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Mask(before)
    };
    let done = call();
    restore(&before);
    done
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
