//! Programs of their own: one whose root is killed, and one in which nobody dies.

use procession::arena::Arena;
use procession::{Event, Lock, Process, Queue, Semaphore};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{Outcome, PROMISED, assert_gone_with_root, is_gone_by};
use crate::{MODE, SLICE};

/// Processes below the root: children, each with a child of its own, and one that sleeps.
const BELOW: usize = 5;

/// What the root whose death is watched does: it has busy children and grandchildren.
pub fn run() {
    let pids = Queue::new().expect("room");
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(Process::spawn(busy_with_a_child, pids.clone()).expect("a process"));
    }
    children.push(Process::spawn(sleepy, pids.clone()).expect("a process"));
    for _ in 0..BELOW {
        println!("{}", pids.get().expect("a pid"));
    }
    std::io::stdout().flush().expect("somebody reads");
    busy(());
}

fn busy_with_a_child(pids: Queue<u32>) {
    let child = Process::spawn(busy, ()).expect("a process");
    pids.put(&child.pid()).expect("room");
    pids.put(&std::process::id()).expect("room");
    busy(());
}

fn sleepy(pids: Queue<u32>) {
    let never = Event::new().expect("room");
    pids.put(&std::process::id()).expect("room");
    never.wait();
}

fn busy((): ()) {
    loop {
        std::hint::spin_loop();
    }
}

pub fn takes_all_along() -> Outcome {
    let mut root = Command::new(std::env::current_exe()?)
        .env(MODE, "root")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(root.stdout.take().expect("it is piped"));
    let pids: Vec<u32> = output
        .lines()
        .take(BELOW)
        .map(|line| Ok(line?.parse()?))
        .collect::<Outcome<_>>()?;
    assert_eq!(pids.len(), BELOW);
    assert!(pids.iter().all(|&pid| !is_gone_by(pid, Instant::now())));
    root.kill()?;
    let killed = Instant::now();
    root.wait()?;
    assert_gone_with_root(&pids, killed + PROMISED);
    println!(
        "the root took {BELOW} processes along within {:?}",
        killed.elapsed()
    );
    Ok(())
}

/// What a run without deaths does: all wakes come from those who have something to tell.
pub fn calm() {
    type Table = (Queue<u64>, Queue<u64>, Lock, Semaphore);
    const ROUNDS: u64 = 5_000;
    let table: Table = (
        Queue::bounded(4).expect("room"),
        Queue::new().expect("room"),
        Lock::new().expect("room"),
        Semaphore::new(0).expect("room"),
    );
    let echo = |(asked, answers, lock, turns): Table| {
        for _ in 0..ROUNDS {
            let n = asked.get().expect("one comes");
            let guard = lock.acquire().expect("nobody dies");
            answers.put(&n).expect("room");
            drop(guard);
            turns.release().expect("no bound");
        }
    };
    let (asked, answers, lock, turns) = table.clone();
    let children = [0, 1].map(|_| Process::spawn(echo, table.clone()).expect("a process"));
    for n in 0..2 * ROUNDS {
        asked.put(&n).expect("room comes");
        drop(lock.acquire().expect("nobody dies"));
        if n % 3 == 0 {
            turns.acquire();
        }
    }
    let sum: u64 = (0..2 * ROUNDS)
        .map(|_| answers.get().expect("one comes"))
        .sum();
    assert_eq!(sum, ROUNDS * (2 * ROUNDS - 1));
    for child in children {
        child.join().expect("nobody dies");
    }
    let arena = Arena::get().expect("it is there");
    println!("{}", arena.slices_that_found_work());
}

pub fn no_slice_finds_work() -> Outcome {
    // Long slices: on a busy machine a short one may end at the moment at which the wake comes.
    let output = Command::new(std::env::current_exe()?)
        .env(MODE, "calm")
        .env(SLICE, "1000")
        .output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "0");
    Ok(())
}
