//! How soon others go on: from the SIGKILL of one who is amid something to the next success of another there.

use libtest_mimic::Trial;
use procession::queue::RawQueue;
use procession::shm::World;
use procession::shm::queue::Queue;
use procession::sys::process as sys;
use procession::{Event, Kind, Lock, Pool};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::killing::Killing;
use crate::plan::{BESIDE, SHIPPED, percentile};
use crate::stage::{Form, get, make_queue, promised, put};
use crate::support::shared::{Words, arena, is_asleep};
use crate::support::{Outcome, PROMISED, trial, until};

/// Tells a program that the tests start whose death it measures.
pub const ROLE: &str = "WAKE_RECOVERY";
const LIMIT: Duration = Duration::from_secs(120);
const SAMPLES: usize = 200;
/// The steps of a put or get after which a victim dies in turn.
const STEPS: u32 = 12;

/// Who dies, and how its death is measured.
type Row = (&'static str, fn() -> Vec<Duration>);

const ALL: [Row; 4] = [
    ("holder", holder),
    ("producer", producer),
    ("consumer", consumer),
    ("worker", worker),
];

pub fn trials() -> Vec<Trial> {
    ALL.map(|(name, _)| {
        let run = move || -> Outcome {
            let mut program = Command::new(std::env::current_exe()?);
            let output = program.env(ROLE, name).stderr(std::process::Stdio::inherit());
            let output = output.output()?;
            if !output.status.success() {
                return Err(format!("{}", output.status).into());
            }
            let times: Vec<Duration> = serde_json::from_slice(&output.stdout)?;
            let [half, most, worst] = [50, 99, 100].map(|share| percentile(&times, share));
            println!(
                "death of a {name}: {} times, others went on after {half:.1?} (p50), {most:.1?} (p99), {worst:.1?} (worst)",
                times.len()
            );
            assert!(most < Duration::from_millis(SHIPPED + BESIDE), "p99 {most:?}");
            Ok(())
        };
        trial(format!("recovery::{name}"), LIMIT, run)
    })
    .into()
}

/// Measures one, in a program of its own.
pub fn play(role: &str) -> Vec<Duration> {
    let (_, play) = ALL
        .into_iter()
        .find(|(name, _)| *name == role)
        .expect("one of ours");
    play()
}

// Words.
const BEGUN: u64 = 0;
const KILLED: u64 = 1;
const WENT_ON: u64 = 2;

/// Who goes on: does `act` once, says when it was done, and ends.
fn other(words: Words, act: impl FnOnce()) -> Child {
    let other = Child::start(|| {
        words.set(BEGUN, 1);
        act();
        words.set(WENT_ON, arena().now());
    });
    until("the other sleeps", PROMISED, || {
        words.get(BEGUN) == 1 && is_asleep(other.pid())
    });
    other
}

/// From the kill until the other went on; `None` if it did before.
fn between(words: Words) -> Option<Duration> {
    until("the other goes on", PROMISED, || words.get(WENT_ON) != 0);
    let nanos = words.get(WENT_ON).checked_sub(words.get(KILLED))?;
    Some(Duration::from_nanos(nanos))
}

fn clear(words: Words) {
    for word in [BEGUN, KILLED, WENT_ON] {
        words.set(word, 0);
    }
}

fn kill(words: Words, child: &Child) {
    words.set(KILLED, arena().now());
    child.signal(rustix::process::Signal::KILL);
}

/// The other waits for a lock whose holder is killed: it learns so, and makes it whole.
fn holder() -> Vec<Duration> {
    let (lock, words) = (Lock::new().expect("room"), Words::new());
    let sample = |_| {
        clear(words);
        let holder = Child::start(|| {
            std::mem::forget(lock.acquire().expect("it is free"));
            words.set(BEGUN, 2);
            loop {
                std::thread::park();
            }
        });
        until("the holder has it", PROMISED, || words.get(BEGUN) == 2);
        let other = other(words, || {
            let error = lock.acquire().expect_err("its holder dies");
            assert_eq!(error.kind(), Kind::BrokenLock);
            assert!(lock.reset());
            drop(lock.acquire().expect("it is whole"));
        });
        kill(words, &holder);
        let took = between(words);
        assert!(holder.until_reaped() && !other.until_reaped());
        took.expect("not before the kill")
    };
    (0..SAMPLES).map(sample).collect()
}

/// Lets victims die at each step of their operation in turn while another one sleeps there; `more` makes sure that there is
/// something for it, whatever the victim had come to.
fn amid(
    bound: u64,
    fill: u64,
    victim: fn(&Killing, Queue),
    rest: fn(Queue),
    more: fn(Queue),
) -> Vec<Duration> {
    let words = Words::new();
    let mut times = Vec::new();
    for round in 0.. {
        if times.len() == SAMPLES {
            break;
        }
        clear(words);
        let (_raw, queue): (RawQueue, Queue) = make_queue(bound);
        for id in 0..fill {
            put(arena(), queue, Form::Inline, id, Some(0)).expect("room");
        }
        let other = other(words, || rest(queue));
        let victim = Child::start(|| {
            let world = Killing::before(arena(), 1 + round % STEPS, libc::SIGKILL);
            victim(&world.stamping(words.at(KILLED)), queue);
            // It survived, or its last step was before.
            words.set(KILLED, u64::MAX);
        });
        until("the victim dies", PROMISED, || words.get(KILLED) != 0);
        more(queue);
        times.extend(between(words));
        victim.until_reaped();
        assert!(!other.until_reaped());
    }
    times
}

fn producer() -> Vec<Duration> {
    let one = |queue| put(arena(), queue, Form::Inline, 1, promised()).expect("no bound");
    amid(
        0,
        0,
        |world, queue| put(world, queue, Form::Message, 0, None).expect("no bound"),
        |queue| assert!(get(arena(), queue, None).is_some()),
        one,
    )
}

fn consumer() -> Vec<Duration> {
    amid(
        2,
        2,
        |world, queue| assert!(get(world, queue, None).is_some()),
        |queue| put(arena(), queue, Form::Inline, 2, None).expect("room comes"),
        |queue| {
            let _ = get(arena(), queue, Some(0));
        },
    )
}

/// A worker amid a task; another task is done next, by the worker that is started for it.
fn worker() -> Vec<Duration> {
    let pool = Pool::new(1).expect("room");
    let begun = Event::new().expect("room");
    let sample = |_| {
        begun.clear();
        let worker = pool.apply(|()| sys::pid(), ()).expect("it works");
        let task = pool.apply_async(
            |begun: Event| -> () {
                begun.set();
                loop {
                    std::thread::park();
                }
            },
            begun.clone(),
        );
        begun.wait();
        let pid = rustix::process::Pid::from_raw(worker as i32).expect("a pid is not 0");
        let killed = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        let next = pool.apply(|()| sys::pid(), ()).expect("another worker");
        let took = killed.elapsed();
        assert_ne!(next, worker);
        let error = task
            .and_then(|task| task.get())
            .expect_err("its worker died");
        assert_eq!(error.pid(), Some(worker));
        took
    };
    (0..SAMPLES).map(sample).collect()
}
