//! A stage: an object, what a victim does with it, and what must hold when others go on with it.

use crate::items::{arena, in_use, promised};
use crate::page::{get, page, set};
use crate::support::{PROMISED, until};
use procession::program;
use procession::shm::layout::header;
use procession::shm::slot::{self, State};
use procession::shm::{World, process};
use std::time::{Duration, Instant};

/// How a victim ended its act.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum End {
    Killed,
    Stopped,
    Survived,
}

/// One play: made anew for each point. All but `ready` and `act` is the controller's.
pub trait Stage {
    /// The victim, before it is stepped.
    fn ready(&mut self) {
        arena().me();
    }
    /// Whether its points are its stores, since it has too many instructions.
    fn is_long(&self) -> bool {
        false
    }
    /// Whether what is stepped is the victim's way into the program, from its fork on, instead of its act.
    fn acts_from_its_fork(&self) -> bool {
        false
    }
    /// Whether the victim is forked by a call that runs no handlers: the program learns of it when it acts.
    fn is_foreign(&self) -> bool {
        false
    }
    /// The victim is known, and has not begun.
    fn curtain(&mut self) {}
    /// What the victim does, stepped.
    fn act(&mut self);
    /// Whether the victim may sleep in its act: then `relieve` is called when it does.
    fn sleeps(&self) -> bool {
        false
    }
    /// Lets go on who sleeps.
    fn relieve(&mut self) {}
    /// The same for a victim that was stopped, was let go on, and sleeps.
    fn help(&mut self) {}
    /// Another process succeeds with the same object, or can't because a stopped victim holds a user's lock: false.
    fn go_on(&mut self, end: End) -> bool;
    /// Nothing is lost, twice or torn.
    fn check(&mut self, end: End);
    /// The victim that was stopped has done its act.
    fn resumed(&mut self) {}
}

/// What is in use in the arena: blocks, thread slots, process records.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Census(usize, usize, usize);

pub fn census() -> Census {
    let (arena, layout) = (arena(), arena().layout());
    let slots = arena.load(header::THREADS_HIGH) as u32;
    let live = |&slot: &u32| {
        let word = arena.load(layout.thread(slot) + slot::word::STATE);
        slot::state(word).1 != State::Vacant
    };
    let records = arena.load(header::PROCESSES_HIGH) as u32;
    let taken = |&index: &u32| process::state(arena, index) != process::State::Vacant;
    Census(
        in_use(),
        (0..slots).filter(live).count(),
        (0..records).filter(taken).count(),
    )
}

/// Waits until all is as it was before.
pub fn settle(before: Census) {
    let since = Instant::now();
    while {
        notice_deaths();
        program::sweep(arena());
        census() != before
    } {
        assert!(
            since.elapsed() < PROMISED,
            "something is leaked: {before:?} before, {:?} now",
            census()
        );
        std::thread::yield_now();
    }
}

/// A wait that is over at once: as each does, it looks who has died.
pub fn notice_deaths() {
    let word = header::EPOCH;
    arena().wait(word, arena().load(word) as u32, Some(0));
}

/// What a victim's act waits at most: a stepped one takes its time, and sleeps seldom.
pub fn patience() -> Option<u64> {
    procession::time::deadline(Some(Duration::from_secs(10)))
}

/// What others' operations wait at most.
pub fn limit() -> Option<u64> {
    promised()
}

pub fn result() -> u64 {
    get(&page().result)
}

pub fn set_result(value: u64) {
    set(&page().result, value);
}

/// Waits for a word of the page.
pub fn until_set(what: &str, word: &std::sync::atomic::AtomicU64) {
    until(what, PROMISED, || get(word) != 0);
}
