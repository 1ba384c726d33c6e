//! What the tests share: a limit of time for each, and looking at processes from outside.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod shared;

use libtest_mimic::{Arguments, Trial};
use procession::{StartMethod, set_start_method};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What the runtime promises: after so long, nobody waits for the dead.
pub const PROMISED: Duration = Duration::from_secs(2);

/// What a test returns; `?` takes any error.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Names the start method to a program that a test runs.
pub const METHOD: &str = "TEST_START_METHOD";

/// Sets the start method that the environment names, if it does.
pub fn follow_environment() {
    let named = std::env::var(METHOD);
    if named.as_deref() == Ok(method_name(StartMethod::Forkserver)) {
        set_start_method(StartMethod::Forkserver);
    }
}

/// The body of a test.
pub type Body = fn() -> Outcome;

/// Runs tests under each start method, and ends the process.
pub fn run_under_each_method(limit: Duration, rows: &[(&str, Body)]) -> ! {
    let arguments = Arguments::from_args();
    let mut failed = false;
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        set_start_method(method);
        let trials = rows.iter().map(|&(name, body)| {
            let name = format!("{}::{name}", method_name(method));
            trial(name, limit, body)
        });
        failed |= libtest_mimic::run(&arguments, trials.collect()).has_failed();
    }
    std::process::exit(if failed { 101 } else { 0 });
}

/// A start method in lower case.
pub fn method_name(method: StartMethod) -> &'static str {
    match method {
        StartMethod::Spawn => "spawn",
        StartMethod::Forkserver => "forkserver",
    }
}

/// A test that fails when it takes longer than `limit`. Its thread is left behind then.
pub fn trial(
    name: impl Into<String>,
    limit: Duration,
    body: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    let name = name.into();
    Trial::test(name.clone(), move || {
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name(name);
        let thread = thread.spawn(move || {
            let outcome = body();
            let _ = tell.send(());
            outcome
        })?;
        if told.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            return Err(format!("not done after {limit:?}").into());
        }
        match thread.join() {
            Ok(outcome) => outcome.map_err(|error| error.to_string().into()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Whether a process is gone by a moment; it need not be a child of ours.
pub fn is_gone_by(pid: u32, deadline: Instant) -> bool {
    let pid = Pid::from_raw(pid as i32).expect("a pid is not 0");
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("a limit of a test is short");
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0)
}

/// Fails if one of these processes, whose root is gone, lives at a moment still.
pub fn assert_gone_with_root(pids: &[u32], deadline: Instant) {
    for &pid in pids {
        assert!(is_gone_by(pid, deadline), "{pid} lives without its root");
    }
}

/// Waits, in small steps, until something holds; panics with its name if that takes too long.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not so after {limit:?}: {what}");
        thread::yield_now();
    }
}
