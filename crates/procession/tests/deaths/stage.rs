//! Where the deaths happen: structures by name, words that processes talk through, items that show when they are torn,
//! and a witness, a process that goes on.

use procession::object::{Name, Object};
use procession::queue::RawQueue;
use procession::shm::lock::{Acquired, Lock, OnEnd};
use procession::shm::message::Message;
use procession::shm::object::{self, Kind};
use procession::shm::queue::{Got, Item, NotGot, NotPut, Queue};
use procession::shm::tag::{Holds, Tag};
use procession::shm::{World, heap};
use procession::{Process, Semaphore, time};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

pub use crate::support::shared::{Words, arena, is_asleep};
use crate::support::{PROMISED, until};

/// Blocks that somebody owns.
pub fn in_use() -> usize {
    let mut count = 0;
    heap::walk(arena(), |_, _, tag| {
        count += usize::from(!matches!(tag, Tag::Free { .. }));
    });
    count
}

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

pub fn make_queue(bound: u64) -> (RawQueue, Queue) {
    let raw = RawQueue::new(bound).expect("room");
    let queue = Queue::at(raw.object().word(object::BODY_BLOCK));
    (raw, queue)
}

/// How items travel.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Form {
    Inline,
    /// A message with a block that travels along.
    Message,
}

const PART: usize = 3000;
const BYTES: usize = 800;

/// Puts item `id`; its bytes all follow from its number.
pub fn put<W: World>(
    w: &W,
    queue: Queue,
    form: Form,
    id: u64,
    until: Option<u64>,
) -> Result<(), NotPut> {
    let bytes = id.to_le_bytes();
    match form {
        Form::Inline => queue.put(w, Item::Inline(1, &bytes.repeat(8)), until),
        Form::Message => {
            let message = Message::new(w, 2, BYTES as u64, 1)?;
            w.write(message.bytes().0, &bytes.repeat(BYTES / 8));
            let part = heap::alloc_len(w, PART as u64)?;
            w.write(part, &bytes.repeat(PART / 8));
            message.add_part(0, part, PART as u64, Holds::Bytes);
            queue.put(w, Item::Message(&mut Some(message)), until)
        }
    }
}

/// Gets an item; panics if any of its bytes is another's.
pub fn get<W: World>(w: &W, queue: Queue, until: Option<u64>) -> Option<u64> {
    let got = match queue.get(w, until, |_| Ok::<_, ()>(())) {
        Ok((got, ())) => got,
        Err(NotGot::Empty) => return None,
        Err(why) => panic!("it is there, or not: {why:?}"),
    };
    let mut all = Vec::new();
    match got {
        Got::Inline { bytes, len, .. } => all.extend_from_slice(&bytes[..len as usize]),
        Got::Message(message) => {
            let (part, len) = message
                .part(0)
                .map(|part| (part.0, part.1))
                .expect("its part");
            for (at, len) in [message.bytes(), (part, len)] {
                let mut bytes = vec![0; len as usize];
                w.read(at, &mut bytes);
                all.extend(bytes);
            }
            assert_eq!(all.len(), BYTES + PART);
        }
    }
    let (words, []) = all.as_chunks::<8>() else {
        panic!("whole words were put");
    };
    assert!(words.iter().all(|word| *word == words[0]), "a torn item");
    Some(u64::from_le_bytes(words[0]))
}

/// The moment at which a promise is broken.
pub fn promised() -> Option<u64> {
    time::deadline(Some(PROMISED))
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

/// What a witness puts.
pub const OF_WITNESS: u64 = 7_000_000;

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
