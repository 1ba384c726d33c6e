//! Children forked from the calling process, which has one thread: cheap enough for one a round.

use procession::program;
use procession::sys::process as sys;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::support::shared::arena;

/// A child that was forked and not waited for yet.
pub struct Child {
    pid: Pid,
    record: Option<u32>,
}

impl Child {
    /// Forks a process that does `run` and ends.
    pub fn start(run: impl FnOnce()) -> Self {
        assert_eq!(sys::threads(), 1, "a process with one thread may fork");
        // SAFETY: just looked: this process has one thread.
        let pid = program::forking(|| unsafe { sys::fork() }).expect("room for a process");
        let record = program::take_child_record();
        if pid == 0 {
            let code = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(()) => 0,
                Err(_) => 101,
            };
            program::end_process(code);
            sys::exit_now(code);
        }
        if let Some(record) = record {
            program::set_pid(arena(), record, pid);
        }
        let pid = Pid::from_raw(pid as i32).expect("a pid is not 0");
        Self { pid, record }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// What the kernel tells of it, for messages.
    pub fn stat(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default()
    }

    /// How long it was ready to run and had no core, so far.
    pub fn queued(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.pid());
        let told = std::fs::read_to_string(path).unwrap_or_default();
        let nanos = told.split_whitespace().nth(1);
        Duration::from_nanos(nanos.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
    }

    /// Sends a signal: the pid is this child's until it is reaped.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).expect("it is our child");
    }

    /// Until it has ended, without reaping it: nobody shall learn of its death from us.
    pub fn until_dead(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(WaitId::Pid(self.pid), options);
        let status = status.expect("it is our child").expect("we waited");
        let killed = status.terminating_signal() == Some(libc::SIGKILL);
        assert!(killed, "a child ended otherwise: {status:?}");
    }

    pub fn until_stopped(&self) {
        let status = rustix::process::waitpid(Some(self.pid), WaitOptions::UNTRACED);
        let (_, status) = status.expect("it is our child").expect("we waited");
        assert!(status.stopped(), "a child ended: {status:?}");
    }

    /// Reaps one that is dead.
    pub fn reap(self) {
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        if let Some(record) = self.record {
            program::recover_if_gone(arena(), record);
        }
    }

    /// Reaps one that ends by itself; says whether it was killed.
    pub fn until_reaped(self) -> bool {
        let status = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        let (_, status) = status.expect("it is our child").expect("we waited");
        status.terminating_signal() == Some(libc::SIGKILL)
    }
}

/// How long the machine had no cores of its own, so far: a virtual one may have to wait for them.
pub fn stolen() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    const STEAL: usize = 8;
    let told = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = told.split_whitespace().nth(STEAL);
    TICK * ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}
