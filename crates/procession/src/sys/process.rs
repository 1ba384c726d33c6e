//! Processes as the kernel knows them: pidfds, start times, exit status, the end with the root.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::ffi::{CStr, CString};
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
    use std::os::unix::fs::MetadataExt;
    let path = format!("/proc/{pid}");
    let stat = stat(&path)?;
    let meant = start == 0 || stat.start == start;
    // Who may not look into the process reads 0.
    let me = rustix::process::geteuid().as_raw();
    let mine = || std::fs::metadata(&path).is_ok_and(|of| of.uid() == me);
    let told = stat.status != 0 || me == 0 || mine();
    (meant && stat.ending && told).then(|| exit_code(stat.status))
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
    let told = || ending_code(pid, 0).filter(|_| has_its_pid(pidfd));
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

/// What a started program's own start needs, between two processes that share memory.
struct Launch {
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    keep: *const [RawFd],
    mask: libc::sigset_t,
    stack: *mut libc::c_void,
    pid: i32,
    error: i32,
}

const STACK: usize = 64 << 10;

/// Runs a program that is nobody's child: its parent, a process between, ends at once and is waited for
/// here, so that no `wait` of the caller meets either. Of the descriptors from 3 on it gets those of `keep`.
/// It starts with no signal ignored, and those blocked that a terminal sends. Says its pid.
///
/// Both processes share the caller's memory until the program runs (vfork(2)), so this costs the same
/// however large the caller is; in between they make system calls only.
pub fn run_detached(path: &CStr, argv: &[CString], keep: &[RawFd]) -> io::Result<u32> {
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let mut stacks = vec![0_u8; 2 * STACK];
    // Stacks grow downwards, from addresses that are multiples of 16.
    let top = |of: usize, base: *mut u8| base.wrapping_add(of * STACK).map_addr(|at| at & !15);
    let base = stacks.as_mut_ptr();
    // SAFETY: the sets are initialised before they are read; the launch and the stacks live until both
    // processes have ended or run the program, which CLONE_VFORK waits for. The signals are blocked meanwhile,
    // so no handler of the caller runs in a process that shares its memory.
    unsafe {
        let mut launch = Launch {
            path: path.as_ptr(),
            argv: pointers.as_ptr(),
            keep,
            mask: std::mem::zeroed(),
            stack: top(2, base).cast(),
            pid: 0,
            error: 0,
        };
        libc::sigemptyset(&raw mut launch.mask);
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTSTP] {
            libc::sigaddset(&raw mut launch.mask, signal);
        }
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        // No signal at its end, and so no `wait` but ours sees it.
        let flags = libc::CLONE_VM | libc::CLONE_VFORK;
        let between = libc::clone(
            start_launched,
            top(1, base).cast(),
            flags,
            (&raw mut launch).cast(),
        );
        let mut error = if between < 0 {
            *libc::__errno_location()
        } else {
            0
        };
        if between > 0 {
            let mut status = 0;
            while libc::waitpid(between, &raw mut status, libc::__WALL) < 0
                && *libc::__errno_location() == libc::EINTR
            {}
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if error == 0 {
            error = (&raw const launch.error).read_volatile();
        }
        if error != 0 {
            return Err(Errno::from_raw_os_error(error));
        }
        Ok((&raw const launch.pid).read_volatile() as u32)
    }
}

/// The process between: starts the one that runs the program.
extern "C" fn start_launched(launch: *mut libc::c_void) -> libc::c_int {
    let launch: *mut Launch = launch.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the launch outlives this process, and nobody else touches it now.
    unsafe {
        let pid = libc::clone(run_launched, (*launch).stack, flags, launch.cast());
        if pid < 0 {
            (*launch).error = *libc::__errno_location();
        } else {
            (*launch).pid = pid;
        }
    }
    0
}

/// Runs the program. Only system calls: others share this memory.
extern "C" fn run_launched(launch: *mut libc::c_void) -> libc::c_int {
    let launch: *mut Launch = launch.cast();
    // SAFETY: as above; `execve` gets null-terminated arrays that live until the program runs.
    unsafe {
        for signal in 1..=64 {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
            {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
        libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const (*launch).mask,
            std::ptr::null_mut(),
        );
        let on_exec = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, on_exec) != 0 {
            // Before Linux 5.11.
            let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 1 << 16) as RawFd;
            for fd in 3..most {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        for &fd in &*(*launch).keep {
            libc::fcntl(fd, libc::F_SETFD, 0);
        }
        libc::execve((*launch).path, (*launch).argv, environ);
        (*launch).error = *libc::__errno_location();
    }
    127
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// The umask of this process, without setting it for a moment where /proc tells it.
pub fn umask() -> u32 {
    let told = || {
        let status = read_proc("/proc/thread-self/status")?;
        let umask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(umask.trim(), 8).ok()
    };
    told().unwrap_or_else(|| {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        umask.as_raw_mode()
    })
}

/// What the kernel lets the calling thread do and be seen by, as one number: users and groups,
/// session, capabilities, filters of system calls, root directory, namespaces. A process that is forked
/// from another may stand in for its child only if these are equal.
pub fn standing() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    const LINES: [&str; 7] = [
        "Uid:",
        "Gid:",
        "Groups:",
        "NSsid:",
        "Cap",
        "NoNewPrivs:",
        "Seccomp",
    ];
    // The same for equal input in every process: its keys are constants.
    let mut hasher = DefaultHasher::new();
    // Whole: a user may be in a thousand groups.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    for line in status.lines() {
        if LINES.iter().any(|start| line.starts_with(start)) {
            line.hash(&mut hasher);
        }
    }
    let root = std::fs::metadata("/").ok();
    root.map(|root| (root.dev(), root.ino())).hash(&mut hasher);
    for name in ["mnt", "net", "user", "pid_for_children", "ipc", "uts"] {
        let space = std::fs::read_link(format!("/proc/thread-self/ns/{name}"));
        space.ok().hash(&mut hasher);
    }
    // Where /proc tells nothing.
    // SAFETY: calls that give numbers.
    unsafe { (libc::geteuid(), libc::getegid(), libc::getsid(0)) }.hash(&mut hasher);
    hasher.finish()
}

/// Whether the real ids of this process are these.
pub fn has_real_ids(user: u32, group: u32) -> bool {
    rustix::process::getuid().as_raw() == user && rustix::process::getgid().as_raw() == group
}
