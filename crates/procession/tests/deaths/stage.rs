//! Where the deaths happen: structures by name, words that processes talk through, and a witness, a process that goes on.

use procession::object::{Name, Object};
use procession::shm::lock::{Acquired, Lock, OnEnd};
use procession::shm::object::{self, Kind};
use procession::shm::queue::Queue;
use procession::{Process, Semaphore};
use std::time::{Duration, Instant};

pub use crate::items::{
    Form, OF_WITNESS, arena, get, in_use, is_asleep, make_queue, promised, put,
};
pub use crate::support::shared::Words;
use crate::support::{PROMISED, until};

/// Names an object without a carrier: whoever gets the name trusts the giver to keep the object.
pub fn name_of(object: &Object) -> Name {
    let object::Handle { id, generation } = object.handle();
    let program = arena().program();
    Name {
        program,
        id,
        generation,
    }
}

/// The queue of a name, and the lease that keeps it.
pub fn queue_of(name: Name) -> (Object, Queue) {
    let object = Object::from_name(name, Kind::Queue).expect("the giver keeps it");
    let queue = Queue::at(object.word(object::BODY_BLOCK));
    (object, queue)
}

/// The lock of a name, and the lease that keeps it.
pub fn lock_of(name: Name) -> (Object, Lock) {
    let object = Object::from_name(name, Kind::Lock).expect("the giver keeps it");
    let lock = Lock(object.body());
    (object, lock)
}

/// What a witness is asked to do.
#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    Get = 1,
    Put,
    Acquire,
    End,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer {
    Did(u64),
    Broken,
}

// The witness's words.
const ORDER: u64 = 0;
const ID: u64 = 1;
const GENERATION: u64 = 2;
const BEGUN: u64 = 3;
const DONE: u64 = 4;
const OUTCOME: u64 = 5;
const VALUE: u64 = 6;

/// A process that does one thing at a time on order. It sets no limit of time: that is for who asks, and a limit that
/// is over would look again.
pub struct Witness {
    process: Process<()>,
    words: Words,
    orders: Semaphore,
    given: u64,
}

impl Witness {
    pub fn start() -> Self {
        let (words, orders) = (Words::new(), Semaphore::new(0).expect("room"));
        let process = Process::spawn(live, (words, orders.clone())).expect("a process");
        Self {
            process,
            words,
            orders,
            given: 0,
        }
    }

    /// Has it begin; with `asleep`, comes back when it sleeps in it.
    pub fn begin(&mut self, order: Order, object: &Object, asleep: bool) {
        let handle = object.handle();
        self.words.set(ORDER, order as u64);
        self.words.set(ID, handle.id);
        self.words.set(GENERATION, handle.generation);
        self.given += 1;
        self.orders.release().expect("no bound");
        if asleep {
            let pid = self.process.pid();
            until("the witness sleeps", PROMISED, || {
                self.words.get(BEGUN) == self.given && is_asleep(pid)
            });
        }
    }

    pub fn is_asleep(&self) -> bool {
        is_asleep(self.process.pid())
    }

    pub fn is_done(&self) -> bool {
        self.words.get(DONE) == self.given
    }

    /// What became of the order, within the promised time from `since`.
    pub fn answer(&mut self, since: Instant, worst: &mut Duration) -> Answer {
        until("the witness goes on", PROMISED, || self.is_done());
        *worst = since.elapsed().max(*worst);
        let value = self.words.get(VALUE);
        match self.words.get(OUTCOME) {
            0 => Answer::Did(value),
            _ => Answer::Broken,
        }
    }

    pub fn end(mut self) -> procession::Result<()> {
        let orders = self.orders.object().clone();
        self.begin(Order::End, &orders, false);
        self.process.join()?;
        self.words.free();
        Ok(())
    }
}

fn live((words, orders): (Words, Semaphore)) {
    let arena = arena();
    for given in 1.. {
        orders.acquire();
        let name = Name {
            program: arena.program(),
            id: words.get(ID),
            generation: words.get(GENERATION),
        };
        let order = words.get(ORDER);
        let answer = if order == Order::Get as u64 {
            let (_lease, queue) = queue_of(name);
            words.set(BEGUN, given);
            Answer::Did(get(arena, queue, None).expect("no limit of time is over"))
        } else if order == Order::Put as u64 {
            let (_lease, queue) = queue_of(name);
            words.set(BEGUN, given);
            put(arena, queue, Form::Inline, OF_WITNESS, None).expect("room comes");
            Answer::Did(0)
        } else if order == Order::Acquire as u64 {
            let (_lease, lock) = lock_of(name);
            words.set(BEGUN, given);
            match lock.acquire(arena, None, OnEnd::Stays) {
                Acquired::Yes => {
                    lock.release(arena, false).expect("it is held");
                    Answer::Did(0)
                }
                Acquired::Broken(_) => Answer::Broken,
                other => panic!("no limit of time is over: {other:?}"),
            }
        } else {
            return;
        };
        let (outcome, value) = match answer {
            Answer::Did(value) => (0, value),
            Answer::Broken => (1, 0),
        };
        words.set(VALUE, value);
        words.set(OUTCOME, outcome);
        words.set(DONE, given);
    }
}
