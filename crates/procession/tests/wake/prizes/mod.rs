//! What two processes wait for: each primitive that wakes.

mod locks;
mod pools;
mod queues;
mod words;

use procession::queue::RawQueue;
use procession::shm::{Owner, lock};
use procession::{Barrier, Event, Kind, Lock, ReentrantLock, Semaphore};

use locks::{Notified, Plain, Reentrant};
use pools::{Answer, Element};
use queues::{Item, Room};
use words::{Passage, Permit, Set};

/// What became of the process that is killed or stopped.
pub struct Victim {
    pub owner: Owner,
    pub is_stopped: bool,
    /// It was killed, and what it left was settled.
    pub is_recovered: bool,
}

/// What two processes wait for, until a third one gives it.
pub trait Prize {
    /// Makes sure that whoever asks has to wait.
    fn withhold(&mut self);
    /// Waits for it: calls `begins` before it may sleep, and `had` as soon as it has it.
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn());
    /// Gives it to one, or to all: the wake. False if there was nothing to give.
    fn give(&mut self) -> bool;
    /// Whether there is something for the other to have.
    fn is_there(&self, victim: &Victim) -> bool;
    /// The lock that comes with it, which a stopped process keeps as any holder does.
    fn lock(&self) -> Option<lock::Lock> {
        None
    }
}

/// A prize's name, and how it is made.
type Row = (&'static str, fn() -> Box<dyn Prize>);

/// All of them.
pub const ALL: [Row; 11] = [
    ("lock", || Box::new(Plain(Lock::new().expect("room")))),
    ("reentrant_lock", || {
        Box::new(Reentrant(ReentrantLock::new().expect("room")))
    }),
    ("semaphore", || {
        Box::new(Permit(Semaphore::new(0).expect("room")))
    }),
    ("event", || Box::new(Set(Event::new().expect("room")))),
    ("notify", || Box::new(Notified::by(1))),
    ("notify_all", || Box::new(Notified::by(u64::MAX))),
    ("barrier", || {
        Box::new(Passage(Barrier::new(3).expect("room")))
    }),
    ("queue_get", || {
        Box::new(Item(RawQueue::new(0).expect("room")))
    }),
    ("queue_put", || {
        Box::new(Room(RawQueue::new(1).expect("room")))
    }),
    ("pool_worker", || Box::new(Element::new())),
    ("pool_caller", || Box::new(Answer::new())),
];

/// Calls until no signal came in between.
fn retry<T>(mut call: impl FnMut() -> procession::Result<T>) -> T {
    loop {
        match call() {
            Err(error) if error.kind() == Kind::Interrupted => {}
            done => return done.expect("what is waited for comes"),
        }
    }
}
