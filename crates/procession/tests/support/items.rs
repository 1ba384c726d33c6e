//! Queues, items that show when they are torn, and what is in use: for tests in which processes die.
#![allow(dead_code, reason = "each test uses a part of it")]

use crate::support::PROMISED;
pub use crate::support::shared::{arena, is_asleep};
use procession::queue::RawQueue;
use procession::shm::message::Message;
use procession::shm::object;
use procession::shm::queue::{Got, Item, NotGot, NotPut, Queue};
use procession::shm::tag::{Holds, Tag};
use procession::shm::{World, heap};
use procession::time;
use serde::{Deserialize, Serialize};

/// Blocks that somebody owns.
pub fn in_use() -> usize {
    let mut count = 0;
    heap::walk(arena(), |_, _, tag| {
        count += usize::from(!matches!(tag, Tag::Free { .. }));
    });
    count
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

/// What a witness puts.
pub const OF_WITNESS: u64 = 7_000_000;
