//! One sleep for which the kernel is short of memory: the next ones wait for deaths again.

use libtest_mimic::Trial;
use procession::sys::process as sys;
use procession::{Kind, Lock, Semaphore};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::plan::{NEVER, SLICE};
use crate::refuse;
use crate::support::shared::{Words, is_asleep};
use crate::support::{Outcome, PROMISED, trial, until};

/// Set in a program that the tests start.
pub const ROLE: &str = "WAKE_ONCE";
const LIMIT: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![trial("one_sleep_without_waitv", LIMIT, run)]
}

fn run() -> Outcome {
    let mut program = Command::new(std::env::current_exe()?);
    let program = program.env(ROLE, "").env(SLICE, NEVER.to_string());
    let status = program.status()?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| status.to_string().into())
}

// Words.
const HELD: u64 = 0;
const GO: u64 = 1;

/// Plays it, in a program of its own.
pub fn play() {
    let words = Words::new();
    let (lock, permits) = (Lock::new().expect("room"), Semaphore::new(0).expect("room"));
    let holder = Child::start(|| {
        std::mem::forget(lock.acquire().expect("it is free"));
        words.set(HELD, 1);
        loop {
            std::thread::park();
        }
    });
    until("the lock is taken", PROMISED, || words.get(HELD) == 1);
    let waiter = sys::pid();
    let doomed = Pid::from_raw(holder.pid() as i32).expect("a pid is not 0");
    let killer = Child::start(|| {
        until("it is time", PROMISED, || words.get(GO) == 1);
        until("the other sleeps", PROMISED, || is_asleep(waiter));
        rustix::process::kill_process(doomed, Signal::KILL).expect("it is not reaped");
    });
    // The filter is this thread's alone.
    let short = std::thread::spawn(move || {
        refuse::waitv(Errno::NOMEM);
        permits.acquire_timeout(Duration::from_millis(1))
    });
    assert!(!short.join().expect("it returns"), "there was no permit");
    words.set(GO, 1);
    let since = Instant::now();
    let error = lock
        .acquire_timeout(5 * PROMISED)
        .expect_err("its holder died");
    assert_eq!(error.kind(), Kind::BrokenLock);
    assert!(since.elapsed() < PROMISED, "nobody told of the death");
    holder.reap();
    killer.reap();
}
