//! A witness: a process that does one thing at a time on order, to be found asleep in it.

use crate::items::{self, Form, OF_WITNESS, arena, is_asleep};
use crate::page::{get, page, set};
use crate::stage::until_set;
use crate::support::{PROMISED, until};
use crate::victim::{Child, fork};
use procession::shm::barrier::{Arrival, Barrier, Passed};
use procession::shm::condition::Condition;
use procession::shm::event::Event;
use procession::shm::job::Job;
use procession::shm::lock::{Acquired, Lock, OnEnd};
use procession::shm::object::Handle;
use procession::shm::queue::Queue;
use procession::shm::semaphore::Semaphore;
use procession::shm::{Off, World};
use std::io::{PipeReader, PipeWriter, Read, Write};

/// What it is asked to do with the object at an offset. It sets no limit of time.
#[derive(Clone, Copy, PartialEq)]
#[repr(u64)]
pub enum Order {
    Get = 1,
    Put,
    /// Acquires a lock and releases it, or finds it broken.
    Lock,
    Acquire,
    Event,
    /// Waits at a condition, and passes its turn on to nobody.
    Condition,
    Barrier,
    /// Waits for element 0 of a job.
    Job,
    /// Waits until all that was put into a queue is done.
    Join,
}

// Words of the page.
const GIVEN: usize = 0;
const ORDER: usize = 1;
const AT: usize = 2;
const GENERATION: usize = 3;
const BEGUN: usize = 4;
const DONE: usize = 5;
const ANSWER: usize = 6;
const READY: usize = 7;

/// What a lock or barrier that was found broken is answered with.
pub const BROKEN: u64 = u64::MAX;

pub struct Witness {
    child: Child,
    /// A byte for each order.
    bell: PipeWriter,
}

impl Witness {
    pub fn start() -> Self {
        page().witness.iter().for_each(|word| set(word, 0));
        let (heard, bell) = std::io::pipe().expect("a pipe");
        let child = fork(|| live(heard));
        until_set("the witness is known to all", &page().witness[READY]);
        Self { child, bell }
    }

    /// Has it begin, and comes back when it sleeps.
    pub fn begin(&self, order: Order, at: Off, generation: u64) {
        let words = &page().witness;
        let given = get(&words[GIVEN]) + 1;
        set(&words[ORDER], order as u64);
        set(&words[AT], at);
        set(&words[GENERATION], generation);
        set(&words[GIVEN], given);
        (&self.bell).write_all(&[0]).expect("the witness lives");
        self.until_asleep();
    }

    /// Until it sleeps in what it was asked to do, or has done it.
    pub fn until_asleep(&self) {
        until("the witness sleeps", PROMISED, || {
            self.is_done()
                || get(&page().witness[BEGUN]) == get(&page().witness[GIVEN])
                    && is_asleep(self.child.pid)
        });
    }

    pub fn is_done(&self) -> bool {
        get(&page().witness[DONE]) == get(&page().witness[GIVEN])
    }

    /// What it came to.
    pub fn answer(&self) -> u64 {
        until("the witness goes on", PROMISED, || self.is_done());
        get(&page().witness[ANSWER])
    }
}

fn live(mut bell: PipeReader) {
    arena().me();
    let words = &page().witness;
    set(&words[READY], 1);
    for given in 1.. {
        bell.read_exact(&mut [0]).expect("an order");
        set(&words[BEGUN], given);
        let answer = obey(get(&words[ORDER]), get(&words[AT]), get(&words[GENERATION]));
        set(&words[ANSWER], answer);
        set(&words[DONE], given);
    }
}

fn obey(order: u64, at: Off, generation: u64) -> u64 {
    let is = |named: Order| order == named as u64;
    let w = arena();
    if is(Order::Get) {
        items::get(w, Queue::at(at), None).expect("no limit of time is over")
    } else if is(Order::Put) {
        items::put(w, Queue::at(at), Form::Inline, OF_WITNESS, None).expect("room comes");
        0
    } else if is(Order::Lock) {
        match Lock(at).acquire(w, None, OnEnd::Stays) {
            Acquired::Yes => {
                Lock(at).release(w, false).expect("it is held");
                0
            }
            _ => BROKEN,
        }
    } else if is(Order::Acquire) {
        u64::from(Semaphore(at).acquire(w, None) == Ok(true))
    } else if is(Order::Event) {
        u64::from(Event(at).wait(w, Event(at).sets(w), None) == Ok(true))
    } else if is(Order::Condition) {
        let record = Condition(at).enter(w).expect("room");
        u64::from(Condition(at).wait(w, record, None) == Ok(true))
    } else if is(Order::Barrier) {
        let passed = match Barrier(at).arrive(w, None) {
            Ok(Some(Arrival::Wait { ticket, .. })) => Barrier(at).wait(w, ticket, None),
            Ok(Some(Arrival::Last { .. })) => Ok(Barrier(at).open(w)),
            _ => Ok(Passed::Broken),
        };
        if passed == Ok(Passed::Yes) { 0 } else { BROKEN }
    } else if is(Order::Join) {
        u64::from(Queue::at(at).join(w, None) == Ok(true))
    } else {
        let handle = Handle { id: at, generation };
        let job = Job::of(w, handle).expect("it lives");
        let waited = job.wait(w, 0, None, || false);
        u64::from(waited.is_ok())
    }
}
