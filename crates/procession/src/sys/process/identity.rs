//! Which process a pid means: the kernel gives the pid of one that is gone to another.

use super::exit::exit_code;
use super::pidfd;
use super::stat::{is_ending, stat};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU8, Ordering};

/// One process, told from all that had its pid before or get it later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Its process id; 0: not known.
    pub pid: u32,
    /// What no other process with this pid has. Where the kernel numbers its processes (Linux 6.9, on machines of 64
    /// bits): that number, with a mark. Elsewhere the time at which it was started, in steps of 10 ms: one that gets the
    /// pid within the same step is taken for it. 0: not known, and whoever has the pid is taken for it.
    pub birth: u64,
}

/// The bit by which a number is told from a time.
const NUMBER: u64 = 1 << 63;

impl Identity {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Self {
        let numbered = || number(pidfd(pid).ok()?.as_fd());
        let birth = numbered().or_else(|| start_of(pid)).unwrap_or(0);
        Self { pid, birth }
    }

    /// Whether it is told from others by a number, not by a time.
    pub fn is_numbered(self) -> bool {
        self.birth & NUMBER != 0
    }

    /// Whether its pid is its own still: it runs, or waits to be reaped. `None` if the kernel can't be asked. `start` says
    /// when who has the pid now was started.
    fn has_pid(self, start: impl FnOnce() -> Option<u64>) -> Option<bool> {
        if !self.is_numbered() {
            return start().map(|start| self.birth == 0 || start == self.birth);
        }
        match pidfd(self.pid) {
            Ok(pidfd) => number(pidfd.as_fd()).map(|number| number == self.birth),
            Err(error) => is_nobodys(error).then_some(false),
        }
    }

    /// Whether its pid is its own still: it runs, or waits to be reaped.
    pub fn is_there(self) -> bool {
        self.has_pid(|| start_of(self.pid)) == Some(true)
    }

    /// Whether it is no more, or all its threads are about to end.
    pub fn is_gone(self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid as i32) else {
            return false;
        };
        let path = format!("/proc/{}", self.pid);
        let told = stat(&path);
        // Asked after that: if the pid is its own still, what was told is of this process.
        if self.has_pid(|| Some(told.as_ref()?.start)) == Some(false) {
            return true;
        }
        match told {
            // The first thread may have ended alone.
            Some(told) => {
                told.ending
                    && std::fs::read_dir(format!("{path}/task")).is_ok_and(|tasks| {
                        tasks
                            .flatten()
                            .all(|task| is_ending(&task.path().to_string_lossy()))
                    })
            }
            None => rustix::process::test_kill_process(pid) == Err(Errno::SRCH),
        }
    }

    /// Whether it, which was forked, has become another program since. False where the kernel does not tell.
    pub fn has_become_another(self) -> bool {
        let Some(told) = stat(&format!("/proc/{}", self.pid)) else {
            return false;
        };
        // Asked last, as above.
        told.replaced && self.has_pid(|| Some(told.start)) == Some(true)
    }

    /// Its exit code, or minus the signal, while it is ending or waits to be reaped.
    pub fn ending_code(self) -> Option<i32> {
        use std::os::unix::fs::MetadataExt;
        let path = format!("/proc/{}", self.pid);
        let stat = stat(&path)?;
        // Who may not look into the process reads 0.
        let me = rustix::process::geteuid().as_raw();
        let mine = || std::fs::metadata(&path).is_ok_and(|of| of.uid() == me);
        let told = stat.status != 0 || me == 0 || mine();
        // Asked last, as above.
        (stat.ending && told && self.has_pid(|| Some(stat.start)) != Some(false))
            .then(|| exit_code(stat.status))
    }

    /// A descriptor that becomes readable when it ends; `None` if it has ended and was waited for.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let pidfd = match pidfd(self.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if is_nobodys(error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let meant = if self.is_numbered() {
            number(pidfd.as_fd()).is_none_or(|number| number == self.birth)
        } else {
            // Since it was opened the pid is nobody else's; if it was before, the start tells.
            self.is_there()
        };
        Ok(meant.then_some(pidfd))
    }
}

fn start_of(pid: u32) -> Option<u64> {
    stat(&format!("/proc/{pid}")).map(|stat| stat.start)
}

/// Whether an error of `pidfd_open` says that no process has the pid; it may be a thread's.
fn is_nobodys(error: Errno) -> bool {
    matches!(error, Errno::SRCH | Errno::INVAL | Errno::NOENT)
}

/// The number that the kernel gave the process of a pidfd, if it does: no other process gets it while the machine runs.
fn number(pidfd: BorrowedFd<'_>) -> Option<u64> {
    // PID_FS_MAGIC of linux/magic.h.
    const PIDFS: i64 = 0x5049_4446;
    // 0 not asked yet, 1 yes, 2 no.
    static NUMBERS: AtomicU8 = AtomicU8::new(0);
    if NUMBERS.load(Ordering::Relaxed) == 0 {
        let fs = rustix::fs::fstatfs(pidfd).ok();
        let numbers = cfg!(target_pointer_width = "64") && fs.is_some_and(|fs| fs.f_type == PIDFS);
        NUMBERS.store(if numbers { 1 } else { 2 }, Ordering::Relaxed);
    }
    let asked = NUMBERS.load(Ordering::Relaxed) == 1;
    let stat = asked.then(|| rustix::fs::fstat(pidfd).ok()).flatten()?;
    Some(stat.st_ino | NUMBER)
}
