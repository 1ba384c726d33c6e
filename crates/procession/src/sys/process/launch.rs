//! Running a program that is nobody's child.

use rustix::fd::RawFd;
use rustix::io::{self, Errno};
use std::ffi::{CStr, CString};

/// What a started program's own start needs, between two processes that share memory.
struct Launch {
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    keep: *const [RawFd],
    apart: bool,
    mask: libc::sigset_t,
    stack: *mut libc::c_void,
    pid: i32,
    error: i32,
}

const STACK: usize = 64 << 10;

/// Runs a program that is nobody's child: its parent, a process between, ends at once and is waited for
/// here, so that no `wait` of the caller meets either. Of the descriptors from 3 on it gets those of `keep`.
/// It starts with no signal ignored, and those blocked that a terminal sends; `apart`: in a session of its own, so that
/// what is sent to the caller's process group never meets it. Says its pid.
///
/// Both processes share the caller's memory until the program runs (vfork(2)), so this costs the same
/// however large the caller is; in between they make system calls only.
pub fn run_detached(path: &CStr, argv: &[CString], keep: &[RawFd], apart: bool) -> io::Result<u32> {
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
            apart,
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
        if (*launch).apart {
            libc::setsid();
        }
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
