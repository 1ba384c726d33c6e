//! Process records and thread slots: taken, shown up in, given back; and what the dead left.

use crate::machine::Thread;
use crate::scene::{Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::{get, make, make_condition, make_job, make_pool, make_queue, put, run_one};
use procession_shm::condition::Condition;
use procession_shm::lock::{Acquired, Lock, OnEnd, Status};
use procession_shm::object::{self, Handle, Kind};
use procession_shm::pool::Pool;
use procession_shm::process::{self, State};
use procession_shm::queue::Queue;
use procession_shm::slot::word;
use procession_shm::{Fate, World, heap, recover};

/// Slots that nobody has at first.
const VACANT: u32 = 9;
const DOOMED: u32 = 10;

struct Records {
    /// The director reserved it.
    reserved: u32,
    generation: u64,
    /// Their processes are gone; the director wants to know how the second one ended.
    gone: u32,
    kept: u32,
    /// Each has a lease on one of these, and nobody else.
    things: [Handle; 2],
}

impl Records {
    fn new(w: &Thread) -> Self {
        let reserve = || process::reserve(w, w.me).expect("a record");
        let [reserved, gone, kept] = [reserve(), reserve(), reserve()];
        let thing = |of| {
            let (thing, _) = make(w, Kind::Lock);
            assert!(w.show_up(of, None, of), "it is reserved");
            object::lease(w, thing, of).expect("room");
            object::unlease(w, thing, w.process);
            w.machine.scene.borrow_mut().gone.push(of);
            thing
        };
        Self {
            reserved,
            generation: process::generation(w, reserved),
            things: [thing(gone), thing(kept)],
            gone,
            kept,
        }
    }
}

impl Stage for Records {
    fn operations(&self) -> Vec<Op> {
        vec!["reserve", "show up", "give up", "see off", "empty", "slot"]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        match op {
            "reserve" => {
                let index = process::reserve(w, w.me).expect("there are many");
                assert_eq!(process::state(w, index), State::Reserved(w.me));
                let at = w.layout().process(index);
                assert_eq!(w.load(at + process::word::PARENT), 0, "as good as new");
                Out("reserved", 0)
            }
            "show up" => {
                let shown = w.show_up(self.reserved, Some(self.generation), w.process);
                Out("shown up", u64::from(shown))
            }
            "give up" => {
                let reserver = State::Reserved(self.reserver(w));
                let seen = process::state(w, self.reserved);
                let mine = seen == reserver && recover::recover_process(w, self.reserved, seen);
                Out("given up", u64::from(mine))
            }
            "see off" => {
                w.see_off(self.gone);
                Out("done", 0)
            }
            "empty" => {
                let seen = process::state(w, self.kept);
                if matches!(seen, State::Live(_) | State::Emptying(_)) {
                    recover::empty_process(w, self.kept, seen);
                }
                Out("done", 0)
            }
            "slot" => match w.take_slot(VACANT, w.process) {
                Some(owner) => {
                    w.rest();
                    w.end_slot(owner);
                    Out("taken", 1)
                }
                None => Out("taken", 0),
            },
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        let shown_up = story.count("show up", Out("shown up", 1));
        let given_up = story.count("give up", Out("given up", 1));
        assert!(shown_up + given_up <= 1, "one of the two, and once");
        for thing in self.things {
            assert!(object::kind_of(w, thing).is_err(), "leased by who is gone");
        }
        for index in 0..w.layout().process_count as u32 {
            match process::state(w, index) {
                State::Vacant | State::Live(_) => {}
                State::Reserved(owner) if owner.process().is_some() => {
                    assert_eq!(w.fate(owner), Fate::Alive, "the dead show up");
                }
                State::Reserved(owner) => {
                    assert!(!story.dead.contains(&owner.slot), "reserved by the dead");
                }
                other => panic!("record {index} stays {other:?}"),
            }
        }
        if w.take_slot(VACANT, w.process).is_none() {
            // Its taker died taking it. Who takes another attends to it.
            assert!(w.take_slot(VACANT + 2, w.process).is_some());
            w.attend();
            assert!(w.take_slot(VACANT, w.process).is_some(), "it is vacant");
        }
        assert_eq!(w.load(w.layout().thread(VACANT) + word::DEPTH), 0);
    }
}

impl Records {
    /// Who reserved the record: the director.
    fn reserver(&self, w: &Thread) -> procession_shm::Owner {
        procession_shm::Owner {
            slot: crate::play::DIRECTOR,
            generation: w.me.generation,
        }
    }
}

/// Somebody died with all that one can have: a lock, a mark at a condition, an element, a block, a lease.
struct Graves {
    lock: Lock,
    condition: Condition,
    queue: Queue,
    pool: Pool,
    thing: Handle,
    sleepers: &'static [Op],
}

impl Graves {
    fn new(w: &Thread, sleepers: &'static [Op]) -> Self {
        let doomed = w.machine.thread(DOOMED);
        let lock = Lock(make(w, Kind::Lock).1);
        let (_, condition) = make_condition(w);
        let (_, queue) = make_queue(w, 0);
        let (_, pool) = make_pool(w);
        let (thing, _) = make(w, Kind::Event);
        let job = make_job(w, 0, 2);
        pool.submit(w, job).expect("it is open");
        assert!(lock.try_acquire(&doomed));
        let _record = condition.enter(&doomed).expect("room");
        let mut current = None;
        pool.next(&doomed, &mut current, None).expect("an element");
        std::mem::forget(current);
        heap::alloc_len(&doomed, 1000).expect("room");
        object::lease(&doomed, thing, doomed.process).expect("room");
        object::unlease(w, thing, w.process);
        put(&doomed, queue, 5).expect("no bound");
        condition.notify(w, 1);
        doomed.die();
        Self {
            lock,
            condition,
            queue,
            pool,
            thing,
            sleepers,
        }
    }
}

impl Stage for Graves {
    fn operations(&self) -> Vec<Op> {
        vec!["attend", "acquire", "wait", "get", "run", "reset"]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, _: Op) -> Option<Op> {
        Some("notify")
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "attend" => {
                w.attend();
                w.sweep();
                Out("done", 0)
            }
            "acquire" => match self.lock.acquire(w, Some(1), OnEnd::Stays) {
                Acquired::Broken(_) => Out("broken", 0),
                Acquired::Yes => Out("acquired", 0),
                _ => Out("late", 0),
            },
            "reset" => Out("reset", u64::from(self.lock.reset(w))),
            "wait" => {
                let record = match *local {
                    Local::Record(record) => record,
                    _ => self.condition.enter(w).expect("room"),
                };
                *local = Local::Record(record);
                w.rest();
                // The mark of the dead one passes on: nobody needs to notify again.
                match self.condition.wait(w, record, None) {
                    Ok(_) => Out("notified", 0),
                    Err(_) => crate::scene::ASLEEP,
                }
            }
            "notify" => Out("let go", self.condition.notify(w, 1)),
            "get" => Out("got", get(w, self.queue, Some(0)).unwrap_or(0)),
            "run" => {
                let (mut current, mut ran) = (None, 0);
                let done = run_one(w, self.pool, &mut current, Some(1), |value| ran = value);
                Out("ran", done.map_or(99, |()| ran))
            }
            _ => unreachable!("no such operation"),
        }
    }

    /// The lock can't be reset before it is broken, which is whoever's first who looks.
    fn may_find(&self, _: Op, op: Op, _: Out) -> bool {
        matches!(op, "reset" | "acquire" | "wait")
    }

    fn check(&self, w: &Thread, story: &Story) {
        let held = |status| matches!(status, Status::Held(owner) if owner.slot == DOOMED);
        assert!(!held(self.lock.status(w)), "held by the dead");
        assert!(
            object::kind_of(w, self.thing).is_err(),
            "leased by the dead"
        );
        let got = story.count("get", Out("got", 5));
        let left = u64::from(get(w, self.queue, Some(0)) == Ok(5));
        assert!(got + left <= 1 && got + left + story.unknown("get") >= 1);
    }
}

pub fn cases() -> Vec<Case> {
    let grave = |name, sleepers| Case::new(name, move |w| Graves::new(w, sleepers));
    vec![
        Case::new("records and slots", Records::new),
        grave("grave", &[]),
    ]
}
