//! What fits in a word: semaphores, events, barriers.

use procession::shm::barrier::{Arrival, Passed};
use procession::shm::{barrier, event, semaphore};
use procession::{Barrier, Event, Semaphore};

use super::{Prize, Victim, retry};
use crate::support::shared::arena;

pub struct Permit(pub Semaphore);

impl Prize for Permit {
    fn withhold(&mut self) {
        while self.0.try_acquire() {}
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.acquire_until(None));
        had();
    }
    fn give(&mut self) -> bool {
        semaphore::Semaphore(self.0.object().body())
            .release(arena())
            .is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        self.0.value() > 0
    }
}

pub struct Set(pub Event);

impl Prize for Set {
    fn withhold(&mut self) {
        self.0.clear();
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let sets = self.0.sets();
        begins();
        retry(|| self.0.wait_until(sets, None));
        had();
    }
    fn give(&mut self) -> bool {
        event::Event(self.0.object().body()).set(arena());
        true
    }
    fn is_there(&self, _: &Victim) -> bool {
        true
    }
}

pub struct Passage(pub Barrier);

impl Passage {
    fn shm(&self) -> barrier::Barrier {
        barrier::Barrier(self.0.object().body())
    }
}

impl Prize for Passage {
    fn withhold(&mut self) {
        assert!(!self.0.is_broken() && self.0.waiting() == 0);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let Ok(Some(Arrival::Wait { ticket, .. })) = self.shm().arrive(arena(), None) else {
            panic!("the third one is to come");
        };
        begins();
        let passed = loop {
            if let Ok(passed) = self.shm().wait(arena(), ticket, None) {
                break passed;
            }
        };
        assert_eq!(passed, Passed::Yes);
        had();
    }
    fn give(&mut self) -> bool {
        // Only as the last one.
        if self.0.waiting() + 1 < self.0.parties() {
            return false;
        }
        let arrival = self.shm().arrive(arena(), Some(0));
        let last = matches!(arrival, Ok(Some(Arrival::Last { .. })));
        last && self.shm().open(arena()) == Passed::Yes
    }
    fn is_there(&self, _: &Victim) -> bool {
        true
    }
}
