//! Semaphores, events and barriers.

use crate::machine::Thread;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::make;
use procession_shm::barrier::{Arrival, Barrier, Passed};
use procession_shm::event::Event;
use procession_shm::object::{self, Kind};
use procession_shm::semaphore::Semaphore;

struct Semaphores {
    semaphore: Semaphore,
    value: u64,
    bound: Option<u64>,
    sleepers: &'static [Op],
}

impl Semaphores {
    fn new(w: &Thread, value: u64, bound: Option<u64>, sleepers: &'static [Op]) -> Self {
        let handle = object::create(w, Kind::Semaphore, |_, body| {
            Semaphore(body).init(w, value, bound);
            Ok(())
        });
        let body = object::body(w, handle.expect("room"), Kind::Semaphore);
        Self {
            semaphore: Semaphore(body.expect("it lives")),
            value,
            bound,
            sleepers,
        }
    }
}

impl Stage for Semaphores {
    fn operations(&self) -> Vec<Op> {
        vec!["acquire", "acquire late", "try acquire", "release", "value"]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, _: Op) -> Option<Op> {
        Some("release")
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let acquired = |acquired| match acquired {
            Ok(true) => Out("acquired", 0),
            Ok(false) => Out("timed out", 0),
            Err(procession_shm::Interrupted) => ASLEEP,
        };
        match op {
            "acquire" => acquired(self.semaphore.acquire(w, None)),
            "acquire late" => acquired(self.semaphore.acquire(w, Some(1))),
            "try acquire" => acquired(Ok(self.semaphore.try_acquire(w))),
            "release" => match self.semaphore.release(w) {
                Ok(()) => Out("released", 0),
                Err(_) => Out("above", 0),
            },
            "value" => Out("value", self.semaphore.value(w)),
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        let all = ["acquire", "acquire late", "try acquire"];
        let taken: u64 = all
            .map(|op| story.count(op, Out("acquired", 0)))
            .iter()
            .sum();
        let unsure: u64 = all.map(|op| story.unknown(op)).iter().sum();
        let given = story.count("release", Out("released", 0));
        let value = self.semaphore.value(w);
        let most = self.value + given + story.unknown("release");
        let most = most
            .checked_sub(taken)
            .expect("no permit comes from nowhere");
        let least = (self.value + given).saturating_sub(taken + unsure);
        assert!((least..=most).contains(&value), "the value is off");
        assert!(
            self.bound.is_none_or(|bound| value <= bound),
            "above the bound"
        );
        for _ in 0..value {
            assert!(self.semaphore.try_acquire(w));
        }
        assert!(!self.semaphore.try_acquire(w));
        self.semaphore.release(w).expect("it is below its bound");
    }
}

struct Events {
    event: Event,
    sleepers: &'static [Op],
}

impl Events {
    fn new(w: &Thread, set: bool, sleepers: &'static [Op]) -> Self {
        let event = Event(make(w, Kind::Event).1);
        if set {
            event.set(w);
        }
        Self { event, sleepers }
    }
}

impl Stage for Events {
    fn operations(&self) -> Vec<Op> {
        vec!["set", "clear", "wait", "wait late", "is set"]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, _: Op) -> Option<Op> {
        Some("set")
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        let until = (op == "wait late").then_some(1);
        match op {
            "set" => self.event.set(w),
            "clear" => self.event.clear(w),
            "is set" => return Out("is set", u64::from(self.event.is_set(w))),
            _ => {
                let sets = match *local {
                    Local::Ticket(sets) => sets,
                    _ => self.event.sets(w),
                };
                *local = Local::Ticket(sets);
                return match self.event.wait(w, sets, until) {
                    Ok(was_set) => Out("waited", u64::from(was_set)),
                    Err(procession_shm::Interrupted) => ASLEEP,
                };
            }
        }
        Out("done", 0)
    }

    fn check(&self, w: &Thread, story: &Story) {
        let (sets, clears) = (story.done("set").count(), story.done("clear").count());
        if sets > 0 && clears == 0 && story.unknown("clear") == 0 {
            assert!(self.event.is_set(w), "what was set is set");
        }
        self.event.clear(w);
        let sets = self.event.sets(w);
        assert_eq!(self.event.wait(w, sets, Some(0)), Ok(false));
        self.event.set(w);
        assert_eq!(self.event.wait(w, self.event.sets(w), Some(0)), Ok(true));
    }
}

struct Barriers {
    barrier: Barrier,
    sleepers: &'static [Op],
}

impl Barriers {
    fn new(w: &Thread, parties: u64, sleepers: &'static [Op]) -> Self {
        let handle = object::create(w, Kind::Barrier, |_, body| {
            Barrier(body).init(w, parties);
            Ok(())
        });
        let body = object::body(w, handle.expect("room"), Kind::Barrier);
        Self {
            barrier: Barrier(body.expect("it lives")),
            sleepers,
        }
    }

    fn passed(passed: Passed) -> Out {
        Out(
            match passed {
                Passed::Yes => "passed",
                Passed::Broken => "broken",
            },
            0,
        )
    }

    fn meet(&self, w: &Thread, until: Option<u64>, local: &mut Local) -> Out {
        let ticket = match *local {
            Local::Ticket(ticket) => ticket,
            _ => match self.barrier.arrive(w, until) {
                Ok(Some(Arrival::Wait { ticket, .. })) => ticket,
                Ok(Some(Arrival::Last { .. })) => {
                    // The action of the caller; others wait for it.
                    w.rest();
                    return Self::passed(self.barrier.open(w));
                }
                Ok(Some(Arrival::Broken)) => return Out("broken", 0),
                Ok(None) => return Out("late", 0),
                Err(procession_shm::Interrupted) => return ASLEEP,
            },
        };
        *local = Local::Ticket(ticket);
        w.rest();
        match self.barrier.wait(w, ticket, until) {
            Ok(passed) => Self::passed(passed),
            Err(procession_shm::Interrupted) => ASLEEP,
        }
    }
}

impl Stage for Barriers {
    fn operations(&self) -> Vec<Op> {
        vec!["meet", "meet late", "abort", "reset", "is broken"]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, _: Op) -> Option<Op> {
        Some("meet")
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "meet" => return self.meet(w, None, local),
            "meet late" => return self.meet(w, Some(1), local),
            "abort" => self.barrier.abort(w),
            "reset" => self.barrier.reset(w),
            _ => return Out("is broken", u64::from(self.barrier.is_broken(w))),
        }
        Out("done", 0)
    }

    fn check(&self, w: &Thread, story: &Story) {
        let (breaks, all) = (["abort", "reset", "meet late"], ["meet", "meet late"]);
        let done = breaks
            .iter()
            .any(|op| story.events.iter().any(|event| event.op == *op));
        let broken = all.iter().map(|op| story.count(op, Out("broken", 0)));
        if story.killed.is_empty() && !done {
            assert_eq!(broken.sum::<u64>(), 0, "nobody broke it");
        }
        self.barrier.reset(w);
        assert!(!self.barrier.is_broken(w) && self.barrier.waiting(w) == 0);
        for index in 0..self.barrier.parties(w) {
            let last = index + 1 == self.barrier.parties(w);
            match self.barrier.arrive(w, Some(0)) {
                Ok(Some(Arrival::Wait { .. })) if !last => {}
                Ok(Some(Arrival::Last { .. })) if last => {
                    assert_eq!(self.barrier.open(w), Passed::Yes);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    let semaphore = |name, value, bound, sleepers| {
        Case::new(name, move |w| Semaphores::new(w, value, bound, sleepers))
    };
    let event = |name, set, sleepers| Case::new(name, move |w| Events::new(w, set, sleepers));
    let barrier =
        |name, parties, sleepers| Case::new(name, move |w| Barriers::new(w, parties, sleepers));
    vec![
        semaphore("semaphore", 1, None, &[]),
        semaphore("semaphore at its bound", 2, Some(2), &[]),
        semaphore("semaphore waited for", 0, None, &["acquire", "acquire"]),
        event("event", false, &[]),
        event("set event", true, &[]),
        event("event waited for", false, &["wait", "wait"]),
        barrier("barrier", 2, &[]),
        barrier("barrier waited for", 2, &["meet"]),
        barrier("barrier of three", 3, &["meet"]),
    ]
}
