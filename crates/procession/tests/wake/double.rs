//! Two deaths wake one sleeper, which is not on a core yet: it has the news of both, and what it waits for is there. Who
//! waits for the other dead one learns of it all the same.

use libtest_mimic::Trial;
use procession::shm::World;
use procession::sys::process as sys;
use procession::{Kind, Lock, Semaphore};
use rustix::process::Signal;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::plan::{NEVER, SLICE};
use crate::support::shared::{Words, arena, is_asleep};
use crate::support::{Outcome, PROMISED, trial, until};

/// Set in a program that the tests start.
pub const ROLE: &str = "WAKE_DOUBLE";
const LIMIT: Duration = Duration::from_secs(60);
/// The sleeper got a core too early, on a whim of the kernel's or for others on the machine: then it is tried again.
const TOO_EARLY: i32 = 3;

pub fn trials() -> Vec<Trial> {
    let possible = sys::affinity(0).is_ok_and(|cores| cores.len() > 1);
    if !possible {
        println!("two_deaths_one_wake: ignored, since it takes two cores");
    }
    vec![trial("two_deaths_one_wake", LIMIT, run).with_ignored_flag(!possible)]
}

fn run() -> Outcome {
    let since = Instant::now();
    while since.elapsed() < LIMIT * 3 / 4 {
        let mut program = Command::new(std::env::current_exe()?);
        let program = program.env(ROLE, "").env(SLICE, NEVER.to_string());
        let status = program.status()?;
        if status.code() != Some(TOO_EARLY) {
            return status
                .success()
                .then_some(())
                .ok_or_else(|| status.to_string().into());
        }
    }
    Err("the sleeper got a core too early each time".into())
}

// Words.
const THERE: u64 = 0;
const GO: u64 = 1;
const HAD: u64 = 2;
const LEARNED: u64 = 3;
const HOGS: u64 = 4;

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// Starts a process that takes a thread slot, and waits until it has it: slots are taken in this order.
fn start(words: Words, run: impl FnOnce()) -> Child {
    words.set(THERE, 0);
    let child = Child::start(|| {
        arena().me();
        words.set(THERE, 1);
        run();
        stay();
    });
    until("a child is there", PROMISED, || words.get(THERE) == 1);
    child
}

fn until_asleep(child: &Child) {
    until("a child sleeps", PROMISED, || is_asleep(child.pid()));
}

/// Plays it, in a program of its own.
pub fn play() {
    let words = Words::new();
    let (lock, permits) = (Lock::new().expect("room"), Semaphore::new(0).expect("room"));
    let cores = sys::affinity(0).expect("we are there");
    sys::set_affinity(0, &cores[1..2]).expect("one of ours");
    // A sleeper lists the words of those who came before it from the youngest to the oldest, and the kernel names the last
    // one in the list that woke it.
    let first = start(words, || ());
    let second = start(words, || {
        std::mem::forget(lock.acquire().expect("it is free"))
    });
    until("the lock is taken", PROMISED, || lock.is_locked());
    let sleeper = start(words, || {
        sys::set_affinity(0, &cores[..1]).expect("one of ours");
        run_last();
        until("it is time", PROMISED, || words.get(GO) >= 1);
        permits.acquire();
        words.set(HAD, 1);
    });
    let other = start(words, || {
        until("it is time", PROMISED, || words.get(GO) == 2);
        let error = lock.acquire().expect_err("its holder dies");
        words.set(LEARNED, u64::from(error.kind() == Kind::BrokenLock));
    });
    // The sleeper is the first in the queue of each word.
    words.set(GO, 1);
    until_asleep(&sleeper);
    words.set(GO, 2);
    until_asleep(&other);
    let hog = Child::start(|| {
        sys::set_affinity(0, &cores[..1]).expect("one of ours");
        words.set(HOGS, 1);
        while words.get(HOGS) == 1 {
            std::hint::spin_loop();
        }
    });
    until("the sleeper's core is busy", PROMISED, || {
        words.get(HOGS) == 1
    });

    // Its news goes to the sleeper; we have it, too, and tell all.
    first.signal(Signal::KILL);
    first.until_dead();
    until("the first death is told", PROMISED, || {
        arena().wait(words.at(GO), 2, Some(1));
        arena().recoveries() == 1
    });
    until_asleep(&other);
    // Its news goes to the sleeper alone.
    second.signal(Signal::KILL);
    second.until_dead();
    permits.release().expect("no bound");
    let early = is_asleep(sleeper.pid()) || words.get(HAD) == 1;
    words.set(HOGS, 0);
    if early {
        std::process::exit(TOO_EARLY);
    }
    until("the sleeper has what it waits for", PROMISED, || {
        words.get(HAD) == 1
    });
    until("the other learns of the second death", PROMISED, || {
        words.get(LEARNED) == 1
    });
    for child in [sleeper, other] {
        child.signal(Signal::KILL);
        child.reap();
    }
    hog.until_reaped();
}

/// The calling thread runs when nobody else would.
fn run_last() {
    // SAFETY: zeros are a priority; the kernel reads it.
    let done = unsafe {
        let none: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none)
    };
    assert_eq!(done, 0, "each process may step back");
}
