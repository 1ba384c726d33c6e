//! What a forked child inherits beside memory: noted in the process that asks for a child, put in
//! place in the one that becomes it.

use crate::error::{Error, Kind, Result};
use crate::sys::process as sys;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const LIMITS: u32 = 16;
const SIGNALS: i32 = 64;

/// Environment, limits, priorities, signals and standard streams of a process; its directory and
/// its streams travel beside it, as descriptors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Surroundings {
    environ: Vec<(Vec<u8>, Vec<u8>)>,
    umask: u32,
    nice: i32,
    policy: (i32, i32),
    affinity: Vec<usize>,
    limits: Vec<(u64, u64)>,
    /// Signals as bits, number 1 the lowest.
    blocked: u64,
    ignored: u64,
    group: i32,
    session: i32,
    /// Which of the standard streams are open.
    streams: [bool; 3],
}

impl Surroundings {
    /// Those of the calling thread, and the descriptors that go with them.
    pub fn capture() -> Result<(Self, Descriptors)> {
        let directory = open(
            ".",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Error::system("opening the current directory", e))?;
        // SAFETY: F_GETFD looks at a number only.
        let streams = [0, 1, 2].map(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0);
        // SAFETY: calls that take and give numbers; the struct is plain data.
        let (group, session, nice, policy) = unsafe {
            let mut param: libc::sched_param = std::mem::zeroed();
            libc::sched_getparam(0, &raw mut param);
            (
                libc::getpgrp(),
                libc::getsid(0),
                libc::getpriority(libc::PRIO_PROCESS, 0),
                (libc::sched_getscheduler(0), param.sched_priority),
            )
        };
        let environ = std::env::vars_os()
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .collect();
        let surroundings = Self {
            environ,
            umask: sys::umask(),
            nice,
            policy,
            affinity: sys::affinity(0).unwrap_or_default(),
            limits: (0..LIMITS).map(limit).collect(),
            blocked: blocked(),
            ignored: (1..=SIGNALS)
                .filter(|&signal| disposition(signal) == Some(libc::SIG_IGN))
                .fold(0, |bits, signal| bits | bit(signal)),
            group,
            session,
            streams,
        };
        let descriptors = Descriptors { directory, streams };
        Ok((surroundings, descriptors))
    }

    /// As bytes, for a request.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|e| Error::new(Kind::Serialization, e.to_string()))
    }

    /// From the bytes of a request.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        postcard::from_bytes(bytes).map_err(|e| {
            let text = format!("the surroundings of a request are damaged: {e}");
            Error::new(Kind::Serialization, text)
        })
    }

    /// The environment, name and value.
    pub fn environ(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.environ
    }

    /// The numbers of the signals that are ignored.
    pub fn ignored(&self) -> Vec<i32> {
        (1..=SIGNALS)
            .filter(|&signal| self.ignored & bit(signal) != 0)
            .collect()
    }

    /// Puts them in place in the calling process, which has one thread, as far as it is allowed to. `descriptors`
    /// begin with those that [`Descriptors::list`] gave; what follows them is returned.
    pub fn apply(&self, descriptors: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
        let mut descriptors = descriptors.into_iter();
        let missing = || Error::new(Kind::System, "a request came without its descriptors");
        let directory = descriptors.next().ok_or_else(missing)?;
        for (number, &is_open) in self.streams.iter().enumerate() {
            let number = number as RawFd;
            if is_open {
                let stream = descriptors.next().ok_or_else(missing)?;
                // SAFETY: both are descriptors; what stood at the number is the stream that this replaces.
                unsafe { libc::dup2(stream.as_raw_fd(), number) };
            } else {
                // SAFETY: as above.
                unsafe { libc::close(number) };
            }
        }
        rustix::process::fchdir(&directory)
            .map_err(|e| Error::system("entering the current directory", e))?;
        rustix::process::umask(Mode::from_raw_mode(self.umask));
        self.apply_environ();
        let _ = sys::set_affinity(0, &self.affinity);
        // SAFETY: calls that take numbers; a refusal leaves things as they are.
        unsafe {
            if libc::getpriority(libc::PRIO_PROCESS, 0) != self.nice {
                libc::setpriority(libc::PRIO_PROCESS, 0, self.nice);
            }
            let param = libc::sched_param {
                sched_priority: self.policy.1,
            };
            if libc::sched_getscheduler(0) != self.policy.0 {
                libc::sched_setscheduler(0, self.policy.0, &raw const param);
            }
            if libc::getsid(0) == self.session && libc::getpgrp() != self.group {
                libc::setpgid(0, self.group);
            }
        }
        for (resource, &wanted) in (0..LIMITS).zip(&self.limits) {
            set_limit(resource, wanted);
        }
        self.apply_signals();
        Ok(descriptors.collect())
    }

    fn apply_environ(&self) {
        let c = |bytes: &[u8]| CString::new(bytes).ok();
        let wanted = |name: &OsString| {
            let mut all = self.environ.iter();
            all.any(|(wanted, _)| wanted == name.as_bytes())
        };
        let unwanted = std::env::vars_os().filter(|(name, _)| !wanted(name));
        for name in unwanted.filter_map(|(name, _)| c(name.as_bytes())) {
            // SAFETY: the process has one thread.
            unsafe { libc::unsetenv(name.as_ptr()) };
        }
        for (name, value) in &self.environ {
            if let (Some(name), Some(value)) = (c(name), c(value)) {
                // SAFETY: as above.
                unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
            }
        }
    }

    fn apply_signals(&self) {
        for signal in self.ignored() {
            if disposition(signal) == Some(libc::SIG_DFL) {
                // SAFETY: no handler is put in place.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
        }
        // SAFETY: the set is initialised before it is read.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in (1..=SIGNALS).filter(|&signal| self.blocked & bit(signal) != 0) {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
    }
}

/// The descriptors that go with [`Surroundings`]: the current directory, and the open standard streams.
pub struct Descriptors {
    directory: OwnedFd,
    streams: [bool; 3],
}

impl Descriptors {
    /// In the order in which [`Surroundings::apply`] wants them.
    pub fn list(&self) -> Vec<RawFd> {
        let streams = (0..3).filter(|&number| self.streams[number as usize]);
        std::iter::once(self.directory.as_raw_fd())
            .chain(streams)
            .collect()
    }
}

/// Blocks every signal that can be.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Takes away the signals that are blocked and have come.
pub(crate) fn forget_signals() {
    let none = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the set is initialised before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        while libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const none) > 0 {}
    }
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn blocked() -> u64 {
    // SAFETY: the set is written by the call before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
        (1..=SIGNALS)
            .filter(|&signal| libc::sigismember(&raw const set, signal) == 1)
            .fold(0, |bits, signal| bits | bit(signal))
    }
}

/// What is done about a signal; `None` for those of the C library's own.
fn disposition(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: the struct is plain data, and only written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0)
            .then_some(action.sa_sigaction)
    }
}

fn limit(resource: u32) -> (u64, u64) {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one struct; an unknown resource is an error.
    unsafe { libc::getrlimit64(resource as _, &raw mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

fn set_limit(resource: u32, (current, most): (u64, u64)) {
    let now = limit(resource);
    let set = |current, most| {
        let limit = libc::rlimit64 {
            rlim_cur: current,
            rlim_max: most,
        };
        // SAFETY: reads one struct.
        match unsafe { libc::setrlimit64(resource as _, &raw const limit) } {
            0 => Ok(()),
            _ => Err(Errno::PERM),
        }
    };
    // A limit that may not be raised any more is left; what is below it is set.
    if now != (current, most) && set(current, most).is_err() {
        let _ = set(current.min(now.1), now.1);
    }
}
