//! A process that is none of the program's, under a pid that was one's of the program a moment ago.

use procession::sys::process::{self as sys, Identity};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::support::{PROMISED, until};

/// Sleeps with all signals held back, so that what was sent to it stays to be seen.
pub struct Stranger(Pid);

impl Stranger {
    /// Gives a pid that is free to a stranger; `None` where this process may not choose pids.
    fn try_new(pid: u32) -> Option<Self> {
        assert_eq!(sys::threads(), 1, "a process with one thread may fork");
        // The kernel's struct clone_args in its second version.
        const WORDS: usize = 10;
        const EXIT_SIGNAL: usize = 4;
        const SET_TID: usize = 8;
        const SET_TID_SIZE: usize = 9;
        let (pids, parent) = ([pid as i32], sys::pid());
        let mut arguments = [0_u64; WORDS];
        arguments[EXIT_SIGNAL] = libc::SIGCHLD as u64;
        arguments[SET_TID] = pids.as_ptr() as u64;
        arguments[SET_TID_SIZE] = 1;
        // SAFETY: the mask is initialised before it is read, and put back. The child is a copy of this process, which
        // has one thread; it makes system calls only, on strings that live for good.
        let made = unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            let made = libc::syscall(
                libc::SYS_clone3,
                arguments.as_ptr(),
                size_of_val(&arguments),
            );
            if made == 0 {
                // It outlives no test. The thread that makes it is the one that its parent has.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() as u32 != parent {
                    // Too late.
                    libc::_exit(127);
                }
                let words = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
                libc::execv(c"/bin/sleep".as_ptr(), words.as_ptr());
                libc::_exit(127);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
            made
        };
        (made > 0).then(|| Self(Pid::from_raw(made as i32).expect("a pid is not 0")))
    }

    /// Gives the pid of one that is gone to a stranger.
    pub fn in_place_of(pid: u32) -> Self {
        let mut made = None;
        until("a pid is free", PROMISED, || {
            made = Self::try_new(pid);
            made.is_some()
        });
        made.expect("it was made")
    }

    /// Whether this process may choose the pid of another.
    pub fn is_possible() -> bool {
        let child = Child::start(|| ());
        let pid = child.pid();
        child.reap();
        Self::try_new(pid).is_some_and(|stranger| {
            stranger.end();
            true
        })
    }

    fn pid(&self) -> u32 {
        self.0.as_raw_nonzero().get() as u32
    }

    /// Fails if anybody has sent it a signal.
    pub fn assert_left_alone(&self) {
        let options = WaitIdOptions::EXITED
            | WaitIdOptions::STOPPED
            | WaitIdOptions::NOHANG
            | WaitIdOptions::NOWAIT;
        let state = rustix::process::waitid(WaitId::Pid(self.0), options);
        assert!(matches!(state, Ok(None)), "a stranger ended: {state:?}");
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("it is there");
        for field in ["SigPnd:", "ShdPnd:"] {
            let mut lines = status.lines();
            let sent = lines.find_map(|line| line.strip_prefix(field));
            let sent = sent.expect("each process has it").trim();
            assert_eq!(sent, "0000000000000000", "signals of a stranger");
        }
    }

    /// Ends it, and leaves it to be reaped.
    pub fn kill(&self) {
        rustix::process::kill_process(self.0, Signal::KILL).expect("it is our child");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::process::waitid(WaitId::Pid(self.0), options);
    }

    pub fn end(self) {
        self.kill();
        let _ = rustix::process::waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Kills a child of this process, and gives its pid to a stranger before anybody looks.
pub fn replace(pid: u32) -> Stranger {
    let child = Pid::from_raw(pid as i32).expect("a pid is not 0");
    rustix::process::kill_process(child, Signal::KILL).expect("it is our child");
    let reaped = rustix::process::waitpid(Some(child), WaitOptions::empty());
    reaped.expect("it is our child").expect("we waited");
    Stranger::in_place_of(pid)
}

/// Until a process that starts now is told from those that run: at once where the kernel numbers them; else when its
/// start time is another, in steps of 10 ms.
pub fn until_told_apart() {
    if Identity::of(sys::pid()).is_numbered() {
        return;
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
}
