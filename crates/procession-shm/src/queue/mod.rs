//! The queue: first in, first out, many producers, many consumers, unbounded or bounded.
//!
//! *Idea*: linked segments of cells as in crossbeam's list flavour, `head` and `tail` as in Michael and Scott's queue
//! (1996), segments protected by hazard pointers (Michael, 2004); but the claim stands in the cell, with its owner,
//! instead of in the tail, and a claim may be revoked. *Invariant*, states and deaths: README.md of this crate.

mod awaiting;
mod cell;
mod get;
mod joinable;
mod put;
mod segment;
mod walk;

use self::cell::{Cell, SLOT, cell};
pub(crate) use self::cell::{names, taken_by};
pub use self::get::{Got, NotGot};
pub use self::joinable::AllDone;
pub use self::put::{Item, NotPut};
pub(crate) use self::segment::sweep_segments;
use self::segment::{LIFE, NEXT, QUEUE, SEQ, free_segment, new_segment};
use crate::class;
use crate::gate::Gate;
use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::slot::{Frame, Hazard, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

/// Bytes of the queue's own block: each gate and pointer on a cache line of its own.
pub const BYTES: u64 = 384;
const HEAD: u64 = 0;
const TAIL: u64 = 64;
const ITEMS: u64 = 128;
const SPACE: u64 = 192;
const MAX_SIZE: u64 = 256;
/// Not 0: claims were revoked, so one item taken may make room for several.
const DISTURBED: u64 = 264;
/// Not 0: what is put is counted. See [`joinable`].
const COUNTS: u64 = 272;
const FINISHED: u64 = 320;
const DONE: u64 = 328;

/// Messages of up to so many bytes stand in the cell itself.
pub const INLINE: usize = 112;

/// How often a get looks again at a claim before it revokes it.
const LOOKS: u32 = 64;

// The word HEAD: the segment, and the low bits of its number.
const HEAD_SEQ: u32 = 34;

const fn head_segment(word: u64) -> Off {
    (word & ((1 << HEAD_SEQ) - 1)) * GRANULE
}

const fn head_word(segment: Off, seq: u64) -> u64 {
    (segment / GRANULE) | (seq << HEAD_SEQ)
}

/// The queue whose block is at an offset of the arena.
#[derive(Clone, Copy)]
pub struct Queue(Off);

impl Queue {
    /// The queue in this block.
    pub const fn at(block: Off) -> Self {
        Self(block)
    }

    /// Makes a queue, part of the object `entry` that the caller owns; the word `link` of the
    /// object's body names its block. `max_size` 0 means unbounded.
    pub fn init<W: World>(
        world: &W,
        entry: Off,
        link: Off,
        max_size: u64,
    ) -> Result<(), OutOfMemory> {
        let body = heap::alloc_len(world, BYTES)?;
        for word in 0..BYTES / 8 {
            world.store(body + word * 8, 0);
        }
        world.store(body + MAX_SIZE, max_size);
        heap::set_tag(world, body, Tag::Owned(world.me(), Holds::Body));
        let segment = match new_segment(world, body, 0) {
            Ok(segment) => segment,
            Err(error) => {
                heap::free(world, body);
                return Err(error);
            }
        };
        // Top down, so that at each moment what is SHARED can be found from what is OWNED.
        world.store(link, body);
        heap::set_tag(world, body, Tag::Shared(entry, Holds::Body));
        world.store(body + HEAD, head_word(segment, 0));
        world.store(body + TAIL, segment);
        heap::set_tag(world, segment, Tag::Shared(body, Holds::Bytes));
        Ok(())
    }

    /// The bound, 0 if there is none.
    pub fn max_size<W: World>(self, world: &W) -> u64 {
        world.load(self.0 + MAX_SIZE)
    }

    /// Where consumers wait.
    pub(crate) fn items(self) -> Gate {
        Gate(self.0 + ITEMS)
    }

    fn space(self) -> Gate {
        Gate(self.0 + SPACE)
    }

    /// Moves the head to the next segment; `false` if there is none.
    fn advance<W: World>(self, world: &W, frame: &Frame<'_, W>, segment: Off, head: u64) -> bool {
        let next = world.load(segment + NEXT);
        if next == 0 {
            return false;
        }
        // The tail is never behind the head.
        let _ = world.cas(self.0 + TAIL, segment, next);
        let seq = world.load(segment + SEQ) + 1;
        let _ = world.cas(self.0 + HEAD, head, head_word(next, seq));
        self.look_into(world, frame, Hazard::First, 0);
        true
    }

    /// Ends an operation: nothing is protected any more, and what was kept for us is freed.
    fn leave<W: World>(self, world: &W, frame: Frame<'_, W>) {
        frame.announce(Intent::None);
        self.look_into(world, &frame, Hazard::First, 0);
        self.look_into(world, &frame, Hazard::Second, 0);
    }

    /// Frees all that is in the queue, and its segments. For the end of the object; begun by one
    /// who died, it may be done again.
    pub(crate) fn drain<W: World>(self, world: &W) {
        let ours = |segment| {
            heap::class_of(world, segment) == Some(class::SEGMENT)
                && heap::tag(world, segment) == Tag::Shared(self.0, Holds::Bytes)
        };
        // The last segment, once freed, may be another queue's by now.
        while ours(head_segment(world.load(self.0 + HEAD))) {
            let frame = Frame::enter(world);
            let got = self.take(world, &frame, &mut |_, _| Ok::<(), ()>(()));
            self.leave(world, frame);
            if !matches!(got, Ok(Some(_))) {
                break;
            }
        }
        let mut segment = head_segment(world.load(self.0 + HEAD));
        while ours(segment) {
            let next = world.load(segment + NEXT);
            let life = world.load(segment + LIFE);
            free_segment(world, segment, life);
            segment = next;
        }
    }
}

/// Revokes the claim of a dead producer. For the recovery of its slot.
pub(crate) fn revoke<W: World>(world: &W, segment: Off, word: Off, slot: u32) {
    let seen = world.load(word);
    if cell(seen) == Cell::Claimed && seen >> SLOT == slot as u64 {
        Queue(world.load(segment + QUEUE)).revoke(world, word, seen);
    }
}
