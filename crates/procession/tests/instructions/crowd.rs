//! Objects that more processes know than an entry has leases for: the counts of the others stand in a block.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage};
use procession::object::Object;
use procession::program;
use procession::shm::World;
use procession::shm::object::{self, Kind};

/// Above so many records an object needs the block.
const CROWD: u32 = 33;

/// Takes and gives back a lease on an object that only the controller has one on.
struct Play {
    /// Of processes that never come.
    records: Vec<u32>,
    object: Object,
}

fn make() -> Make {
    Box::new(|_| {
        let mut records = Vec::new();
        while records.last().is_none_or(|&record| record < CROWD) {
            records.push(program::reserve(arena()).expect("a record"));
        }
        let object = Object::create(Kind::Lock, |_, _, _| Ok(())).expect("room");
        Box::new(Play { records, object })
    })
}

impl Play {
    fn perform(&self) {
        let (w, handle) = (arena(), self.object.handle());
        object::lease(w, handle, w.my_process()).expect("it lives");
        object::unlease(w, handle, w.my_process());
    }
}

impl Stage for Play {
    fn ready(&mut self) {
        arena().me();
        assert!(arena().my_process() > CROWD, "it is one of many");
    }

    fn act(&mut self) {
        self.perform();
    }

    fn go_on(&mut self, _: End) -> bool {
        self.perform();
        true
    }

    fn check(&mut self, _: End) {
        let handle = self.object.handle();
        assert_eq!(
            object::kind_of(arena(), handle),
            Ok(Kind::Lock),
            "it is leased"
        );
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        for &record in &self.records {
            program::unreserve(arena(), record);
        }
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![("lease_of_many", make())]
}
