//! What the tests make, put, get and count, for any world.
#![allow(dead_code, reason = "each test uses a part of it")]

use procession_shm::condition::Condition;
use procession_shm::job::{Held, Job, Outcome};
use procession_shm::message::Message;
use procession_shm::object::{self, Kind};
use procession_shm::pool::{NoElement, Pool};
use procession_shm::queue::{Got, Item, NotGot, NotPut, Queue};
use procession_shm::tag::{Holds, Tag};
use procession_shm::{Off, OutOfMemory, World, heap};

/// A queue, `max` 0 for an unbounded one.
pub fn make_queue<W: World>(w: &W, max: u64) -> (object::Handle, Queue) {
    let handle = object::create(w, Kind::Queue, |entry, body| {
        Queue::init(w, entry, body + object::BODY_BLOCK, max)
    })
    .expect("room for a queue");
    let body = object::body(w, handle, Kind::Queue).expect("it lives");
    (handle, Queue::at(w.load(body + object::BODY_BLOCK)))
}

/// A queue that counts what is put into it.
pub fn make_joinable<W: World>(w: &W, max: u64) -> (object::Handle, Queue) {
    let handle = object::create(w, Kind::Queue, |entry, body| {
        let link = body + object::BODY_BLOCK;
        Queue::init(w, entry, link, max)?;
        Queue::at(w.load(link)).start_counting(w);
        Ok(())
    })
    .expect("room for a queue");
    let body = object::body(w, handle, Kind::Queue).expect("it lives");
    (handle, Queue::at(w.load(body + object::BODY_BLOCK)))
}

/// A condition.
pub fn make_condition<W: World>(w: &W) -> (object::Handle, Condition) {
    let handle = object::create(w, Kind::Condition, |entry, body| {
        Condition(body).init(w, entry)
    })
    .expect("room for a condition");
    let body = object::body(w, handle, Kind::Condition).expect("it lives");
    (handle, Condition(body))
}

/// An object of eight words, all zero.
pub fn make<W: World>(w: &W, kind: Kind) -> (object::Handle, Off) {
    let handle = object::create(w, kind, |_, _| Ok(())).expect("room for an object");
    (handle, object::body(w, handle, kind).expect("it lives"))
}

/// Puts a number that stands in the cell.
pub fn put<W: World>(w: &W, q: Queue, value: u64) -> Result<(), NotPut> {
    q.put(w, Item::Inline(1, &value.to_le_bytes()), None)
}

/// A message in which a number stands, and once more in a part of it.
pub fn number<W: World>(w: &W, value: u64) -> Result<Message<'_, W>, OutOfMemory> {
    let message = Message::new(w, 3, 8, 1)?;
    let part = heap::alloc_len(w, 8)?;
    w.write(part, &value.to_le_bytes());
    message.add_part(0, part, 8, Holds::Bytes);
    w.write(message.bytes().0, &value.to_le_bytes());
    Ok(message)
}

/// The number in a message, and in its part.
pub fn number_in<W: World>(w: &W, message: &Message<'_, W>) -> u64 {
    let (part, len, _) = message.part(0).expect("the part");
    let [number, again] = [message.bytes().0, part].map(|at| {
        let mut bytes = [0; 8];
        w.read(at, &mut bytes);
        u64::from_le_bytes(bytes)
    });
    assert_eq!((again, len), (number, 8));
    number
}

/// Puts a number that stands in a message block, and once more in a part of it.
pub fn put_block<W: World>(w: &W, q: Queue, value: u64) -> Result<(), NotPut> {
    let message = number(w, value)?;
    q.put(w, Item::Message(&mut Some(message)), None)
}

/// Gets a number that either of the above has put.
pub fn get<W: World>(w: &W, q: Queue, until: Option<u64>) -> Result<u64, NotGot<()>> {
    q.get(w, until, |_| Ok(())).map(|(got, ())| match got {
        Got::Inline { bytes, .. } => {
            u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
        }
        Got::Message(message) => {
            let mut bytes = [0; 8];
            w.read(message.bytes().0, &mut bytes);
            let value = u64::from_le_bytes(bytes);
            // One without parts was put inline, but its claim was revoked too often.
            if message.summary().parts == 1 {
                let (part, len) = message.take_part(0).expect("the part");
                w.read(part, &mut bytes);
                heap::free(w, part);
                assert_eq!((u64::from_le_bytes(bytes), len), (value, 8));
            }
            value
        }
    })
}

/// A pool.
pub fn make_pool<W: World>(w: &W) -> (object::Handle, Pool) {
    let handle = Pool::create(w, 2).expect("room for a pool");
    (handle, Pool::of(w, handle).expect("it lives"))
}

/// A job whose elements are numbers from `call << 32` on. An odd call's results are messages.
pub fn make_job<W: World>(w: &W, call: u64, count: u64) -> object::Handle {
    let call = number(w, call).expect("room for a call");
    Job::create(w, count, true, call).expect("room for a job")
}

/// Claims an element, waiting until `until` at most, and settles it; `begun` is told which it is.
pub fn run_one<'w, W: World>(
    w: &'w W,
    pool: Pool,
    current: &mut Option<Held<'w, W>>,
    until: Option<u64>,
    begun: impl FnOnce(u64),
) -> Result<(), NoElement> {
    let index = pool.next(w, current, until)?;
    let job = current.as_ref().expect("the job of the element").job();
    let call = number_in(w, &job.call(w));
    let value = call << 32 | index;
    begun(value);
    if call.is_multiple_of(2) {
        pool.settle_inline(w, job, index, 7, &value.to_le_bytes());
    } else {
        let message = number(w, value).expect("room for a result");
        pool.settle_message(w, job, index, message);
    }
    Ok(())
}

/// The result of an element that `run_one` settled; `None` if its thread died.
pub fn result<W: World>(w: &W, job: Job, index: u64) -> Option<u64> {
    match job.outcome(w, index) {
        Outcome::Inline { kind, bytes, len } => {
            assert_eq!((kind, len), (7, 8));
            Some(u64::from_le_bytes(
                bytes[..8].try_into().expect("eight bytes"),
            ))
        }
        Outcome::Block(block) => Some(number_in(w, &job.result(w, block))),
        Outcome::Lost { .. } => None,
        unsettled => panic!("{index} is {unsettled:?}"),
    }
}

/// Blocks in use.
pub fn in_use<W: World>(w: &W) -> usize {
    let mut count = 0;
    heap::walk(w, |_, _, tag| {
        count += !matches!(tag, Tag::Free { .. }) as usize
    });
    count
}

/// Nobody owns anything.
pub fn assert_all_is_free<W: World>(w: &W) {
    let mut owned = Vec::new();
    heap::walk(w, |block, class, tag| {
        if !matches!(tag, Tag::Free { .. }) {
            owned.push((block, class, tag));
        }
    });
    assert!(owned.is_empty(), "{owned:x?}");
}
