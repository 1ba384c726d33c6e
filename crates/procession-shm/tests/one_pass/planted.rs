//! Planted bugs: structures, and a machine, that are wrong in one way each. A pass that does not find one is no pass.

use crate::machine::{Fault, Thread};
use crate::queue::{Begin, EMPTY, Queues};
use crate::scene::{Event, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::make;
use procession_shm::object::Kind;
use procession_shm::section::Section;
use procession_shm::{Fate, Off, Owner, World};

/// A queue, and beside it the number of its items.
struct Counted {
    queues: Queues,
    count: Off,
}

impl Stage for Counted {
    fn operations(&self) -> Vec<Op> {
        vec!["put", "get late"]
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        let out = self.queues.perform(w, op, local);
        let _section = Section::QueuePut.enter();
        match out.0 {
            "put" => w.add(self.count, 1),
            "got" => w.add(self.count, u64::MAX),
            _ => 0,
        };
        out
    }

    fn check(&self, w: &Thread, story: &Story) {
        let count = w.load(self.count);
        let mut items = 0;
        while let Out("got", _) = self.queues.perform(w, "get late", &mut Local::Nothing) {
            items += 1;
        }
        assert_eq!(
            count,
            items,
            "the count is off; {} died",
            story.killed.len()
        );
    }
}

// Words of the ring.
const TAIL: u64 = 0;
const HEAD: u64 = 8;
const CELLS: u64 = 16;

/// A ring in which the tail moves before the item is there.
struct Ring(Off);

impl Stage for Ring {
    fn operations(&self) -> Vec<Op> {
        vec!["put", "get"]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let _section = Section::QueuePut.enter();
        let cell = |n| self.0 + CELLS + n * 8;
        match op {
            "put" => {
                let n = w.add(self.0 + TAIL, 1);
                w.store(cell(n), u64::from(w.slot()) + 1);
                Out("put", 0)
            }
            _ if w.load(self.0 + HEAD) == w.load(self.0 + TAIL) => Out("empty", 0),
            _ => Out("got", w.load(cell(w.add(self.0 + HEAD, 1)))),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        while let Out("got", id) = self.perform(w, "get", &mut Local::Nothing) {
            assert_ne!(id, 0, "an item never comes; {} died", story.killed.len());
        }
    }
}

/// A lock that is taken by one store, and names its holder by the next.
struct LateOwner(Off);

impl Stage for LateOwner {
    fn operations(&self) -> Vec<Op> {
        vec!["acquire", "release"]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let _section = Section::LockAcquire.enter();
        let holder = || Owner::from_bits(w.load(self.0 + 8));
        if op == "release" {
            let mine = holder() == w.me;
            if mine {
                w.store(self.0 + 8, 0);
                w.store(self.0, 0);
            }
            return Out("released", u64::from(mine));
        }
        if w.cas(self.0, 0, 1).is_err() && w.fate(holder()) != Fate::Killed {
            return Out("held", 0);
        }
        w.store(self.0 + 8, w.me.to_bits());
        Out("acquired", 0)
    }

    fn check(&self, w: &Thread, story: &Story) {
        let acquired = |event: &&Event| event.out.0 == "acquired";
        let by_one_who_lives = |event: &Event| !story.dead.contains(&event.who);
        let held = w.load(self.0) != 0;
        let known = story.events.iter().filter(acquired).any(by_one_who_lives);
        assert!(
            !held || known || w.load(self.0 + 8) != 0,
            "held by nobody known"
        );
    }
}

/// Each with what it is found by.
pub fn cases() -> Vec<(Case, &'static str)> {
    let queue = |name, begin: Begin| Case::new(name, move |w| Queues::new(w, begin));
    let waited_for = Begin {
        sleepers: &["get of another", "get"],
        ..EMPTY
    };
    vec![
        (
            queue("publish before write", EMPTY).with(Fault::WritesLate),
            "a torn item",
        ),
        (
            Case::new("second word of truth", |w| Counted {
                queues: Queues::new(w, EMPTY),
                count: make(w, Kind::Event).1,
            }),
            "the count is off",
        ),
        (
            Case::new("tail first", |w| Ring(make(w, Kind::Event).1)),
            "an item never comes",
        ),
        (
            Case::new("owner later", |w| LateOwner(make(w, Kind::Event).1)),
            "held by nobody known",
        ),
        (
            queue("news not passed on", waited_for).with(Fault::Deaf),
            "sleeps on though there is",
        ),
    ]
}
