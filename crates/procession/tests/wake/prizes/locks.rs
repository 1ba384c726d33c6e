//! Locks, and conditions, which come with one.

use procession::object::Object;
use procession::shm::condition;
use procession::shm::lock::{self, Acquired, OnEnd, Status};
use procession::{Condition, Lock, ReentrantLock, time};

use super::{Prize, Victim};
use crate::support::shared::arena;
use crate::support::{PROMISED, until};

fn kept_by(lock: lock::Lock, victim: &Victim) -> bool {
    victim.is_stopped && lock.status(arena()) == Status::Held(victim.owner)
}

fn have_lock(acquire: impl Fn() -> Acquired, release: impl Fn(), had: &dyn Fn()) {
    let acquired = loop {
        match acquire() {
            Acquired::Interrupted => {}
            acquired => break acquired,
        }
    };
    had();
    match acquired {
        Acquired::Yes => release(),
        Acquired::Broken(_) => {}
        other => panic!("no limit of time is over: {other:?}"),
    }
}

fn of(object: &Object) -> lock::Lock {
    lock::Lock(object.body())
}

fn have(lock: lock::Lock, had: &dyn Fn()) {
    let release = || lock.release(arena(), true).expect("it is held");
    have_lock(|| lock.acquire(arena(), None, OnEnd::Stays), release, had);
}

pub struct Plain(pub Lock);

impl Prize for Plain {
    fn withhold(&mut self) {
        let lock = of(self.0.object());
        lock.reset(arena());
        let acquired = lock.acquire(arena(), time::deadline(Some(PROMISED)), OnEnd::Stays);
        assert_eq!(acquired, Acquired::Yes);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        have(of(self.0.object()), had);
    }
    fn give(&mut self) -> bool {
        self.0.is_mine() && of(self.0.object()).release(arena(), true).is_ok()
    }
    fn is_there(&self, victim: &Victim) -> bool {
        !kept_by(of(self.0.object()), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(of(self.0.object()))
    }
}

pub struct Reentrant(pub ReentrantLock);

impl Reentrant {
    fn shm(&self) -> lock::ReentrantLock {
        lock::ReentrantLock(self.0.object().body())
    }
}

impl Prize for Reentrant {
    fn withhold(&mut self) {
        self.shm().lock().reset(arena());
        let acquired = self.shm().acquire(arena(), time::deadline(Some(PROMISED)));
        assert_eq!(acquired, Acquired::Yes);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        let lock = self.shm();
        let release = || lock.release(arena()).expect("it is held");
        have_lock(|| lock.acquire(arena(), None), release, had);
    }
    fn give(&mut self) -> bool {
        self.shm().depth(arena()) == 1 && self.shm().release(arena()).is_ok()
    }
    fn is_there(&self, victim: &Victim) -> bool {
        !kept_by(self.shm().lock(), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(self.shm().lock())
    }
}

/// The end of a wait for a condition, with its lock.
pub struct Notified {
    condition: Condition,
    lock: Lock,
    count: u64,
}

impl Notified {
    pub fn by(count: u64) -> Self {
        Self {
            condition: Condition::new().expect("room"),
            lock: Lock::new().expect("room"),
            count,
        }
    }
    fn shm(&self) -> condition::Condition {
        condition::Condition(self.condition.object().body())
    }
}

impl Prize for Notified {
    fn withhold(&mut self) {
        of(self.lock.object()).reset(arena());
        // Who had it last may be about to release it.
        until("the lock is free", PROMISED, || !self.lock.is_locked());
        assert!(!self.shm().has_waiters(arena()));
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let lock = of(self.lock.object());
        assert_eq!(lock.acquire(arena(), None, OnEnd::Stays), Acquired::Yes);
        let record = self.shm().enter(arena()).expect("room");
        lock.release(arena(), true).expect("it is held");
        begins();
        while self.shm().wait(arena(), record, None) != Ok(true) {}
        have(lock, had);
    }
    fn give(&mut self) -> bool {
        self.shm().notify(arena(), self.count) > 0
    }
    fn is_there(&self, victim: &Victim) -> bool {
        // A dead one's turn passes on when it is recovered, unless it was used.
        let passes = !victim.is_stopped && !victim.is_recovered;
        let marked = passes || !self.shm().has_waiters(arena());
        marked && !kept_by(of(self.lock.object()), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(of(self.lock.object()))
    }
}
