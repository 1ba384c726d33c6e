//! The queue: first in, first out, many producers, many consumers, unbounded or bounded.
//!
//! *Idea*: linked segments of cells as in crossbeam's list flavour, `head` and `tail` as in Michael and Scott's queue
//! (1996), segments protected by hazard pointers (Michael, 2004); but the claim stands in the cell, with its owner,
//! instead of in the tail, and a claim may be revoked. *Invariant*, states and deaths: README.md of this crate.

mod awaiting;
mod cell;
mod joinable;
mod segment;
mod walk;

use self::cell::{CLAIMED, Cell, FULL_BLOCK, FULL_INLINE, SLOT, TAKEN, cell};
pub(crate) use self::cell::{names, taken_by};
pub use self::joinable::AllDone;
pub(crate) use self::segment::sweep_segments;
use self::segment::{
    GET_HINT, LIFE, NEXT, PUT_HINT, QUEUE, SEQ, cell_at, free_segment, full_behind, new_segment,
};
use crate::class;
use crate::gate::Gate;
use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::message::{self, Message, Summary};
use crate::section::Section;
use crate::slot::{Frame, Hazard, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Off, Wake, World};

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

/// How often a put lets its claim be revoked before it takes the way that nobody can revoke.
const PATIENCE: u32 = 2;
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

/// What is put: bytes that fit into a cell, or a message.
pub enum Item<'a, 'w, W: World> {
    /// A kind, and at most [`INLINE`] bytes.
    Inline(u8, &'a [u8]),
    /// A message; `None` once it is in the queue.
    Message(&'a mut Option<Message<'w, W>>),
}

/// Why a put did not put. The item is the caller's still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPut {
    /// The queue is full, and the time is over.
    Full,
    /// The arena's budget is used up.
    OutOfMemory(OutOfMemory),
    /// A signal came.
    Interrupted,
}

impl From<OutOfMemory> for NotPut {
    fn from(error: OutOfMemory) -> Self {
        NotPut::OutOfMemory(error)
    }
}

/// What a get got.
pub enum Got<'w, W: World> {
    /// A message that stood in the cell.
    Inline {
        /// The kind that the sender gave it.
        kind: u8,
        /// Its bytes are the first `len` of these.
        bytes: [u8; INLINE],
        /// How many bytes.
        len: u8,
    },
    /// A message in a block of its own, now the caller's.
    Message(Message<'w, W>),
}

/// Why a get did not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotGot<E> {
    /// The queue is empty, and the time is over.
    Empty,
    /// A signal came.
    Interrupted,
    /// What was to be prepared before the commit failed; the item is in the queue still.
    NotPrepared(E),
    /// The queue is empty, and nothing will come.
    Ended,
}

/// Where an item stands that is looked at: cells go one way, so as long as it holds what was seen there it is the same item.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    word: Off,
    seen: u64,
}

impl Place {
    /// Whether the item stands there still.
    pub(crate) fn holds<W: World>(self, world: &W) -> bool {
        world.load(self.word) == self.seen
    }
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

    /// Puts an item, waiting for room until `until` at most. When it returns the item is in the
    /// queue and needs its producer no more.
    pub fn put<W: World>(
        self,
        world: &W,
        mut item: Item<'_, '_, W>,
        until: Option<u64>,
    ) -> Result<(), NotPut> {
        let _section = Section::QueuePut.enter();
        let mut late = until == Some(0);
        let mut round = 0;
        loop {
            match self.try_put(world, &mut item) {
                Err(NotPut::Full) if !late => {}
                done => return done,
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let ticket = self.space().announce(world);
            match self.try_put(world, &mut item) {
                Err(NotPut::Full) => {}
                done => return done,
            }
            match world.wait(self.0 + SPACE, ticket, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(NotPut::Interrupted),
            }
        }
    }

    /// Puts an item if there is room.
    pub fn try_put<W: World>(self, world: &W, item: &mut Item<'_, '_, W>) -> Result<(), NotPut> {
        let done = self.try_put_quietly(world, item);
        if done.is_ok() {
            self.items().notify(world);
        }
        done
    }

    /// As [`try_put`](Self::try_put), but who waits for an item is not told.
    pub(crate) fn try_put_quietly<W: World>(
        self,
        world: &W,
        item: &mut Item<'_, '_, W>,
    ) -> Result<(), NotPut> {
        let _section = Section::QueuePut.enter();
        let frame = Frame::enter(world);
        let done = match item {
            Item::Inline(kind, bytes) if bytes.len() <= INLINE && !self.counts(world) => {
                self.put_inline(world, &frame, *kind, bytes)
            }
            Item::Inline(kind, bytes) => match message_of(world, *kind, bytes) {
                Ok(message) => self.put_message(world, &frame, &mut Some(message)),
                Err(error) => Err(error.into()),
            },
            Item::Message(message) => self.put_message(world, &frame, message),
        };
        self.leave(world, frame);
        if let Err(NotPut::OutOfMemory(_)) = done {
            // We may have been woken for the room that we leave now: it is the next one's.
            self.space().notify(world);
        }
        done
    }

    fn put_inline<W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        kind: u8,
        bytes: &[u8],
    ) -> Result<(), NotPut> {
        let claimed = CLAIMED | (frame.me().slot as u64) << SLOT;
        for _ in 0..PATIENCE {
            loop {
                let (segment, index) = self.first_empty(world, frame)?;
                let word = cell_at(segment, index);
                frame.announce(Intent::Claim { word });
                if world.cas(word, 0, claimed).is_err() {
                    continue;
                }
                world.store(word + 8, bytes.len() as u64 | (kind as u64) << 32);
                world.write(word + 16, bytes);
                if world.cas(word, claimed, FULL_INLINE).is_ok() {
                    world.store(segment + PUT_HINT, index + 1);
                    return Ok(());
                }
                break;
            }
        }
        frame.announce(Intent::None);
        let mut message = Some(message_of(world, kind, bytes)?);
        self.put_message(world, frame, &mut message)
    }

    fn put_message<'w, W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        message: &mut Option<Message<'w, W>>,
    ) -> Result<(), NotPut> {
        let Some(owned) = message.take() else {
            return Ok(());
        };
        let (own, block) = (owned.world(), owned.into_block());
        let mine = Tag::Owned(frame.me(), Holds::Message);
        let done = loop {
            let (segment, index) = match self.first_empty(world, frame) {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let word = cell_at(segment, index);
            frame.announce(Intent::Put { word, block });
            heap::set_tag(world, block, Tag::Shared(word, Holds::Message));
            if world
                .cas(word, 0, FULL_BLOCK | (block / GRANULE) << 4)
                .is_ok()
            {
                world.store(segment + PUT_HINT, index + 1);
                return Ok(());
            }
            heap::set_tag(world, block, mine);
        };
        frame.announce(Intent::None);
        *message = Some(Message::from_block(own, block));
        done
    }

    /// The first empty cell, with its segment protected; `Full` if a bounded queue has no room there.
    fn first_empty<W: World>(self, world: &W, frame: &Frame<'_, W>) -> Result<(Off, u64), NotPut> {
        loop {
            let (segment, _) = self.protect(world, frame, Hazard::First, TAIL);
            let mut index = world.load(segment + PUT_HINT);
            while index < W::SEGMENT_CELLS && world.load(cell_at(segment, index)) != 0 {
                index += 1;
            }
            if index < W::SEGMENT_CELLS {
                let position = world.load(segment + SEQ) * W::SEGMENT_CELLS + index;
                return if self.has_room(world, frame, position) {
                    Ok((segment, index))
                } else {
                    Err(NotPut::Full)
                };
            }
            // Asked before the queue grows: a full queue does not.
            let position = (world.load(segment + SEQ) + 1) * W::SEGMENT_CELLS;
            if world.load(segment + NEXT) == 0 && !self.has_room(world, frame, position) {
                return Err(NotPut::Full);
            }
            self.extend(world, frame, segment)?;
        }
    }

    /// Whether a bounded queue has room for an item at this position. Once true it stays true until
    /// the cell there is claimed: nothing is put before it any more, and the head only advances.
    fn has_room<W: World>(self, world: &W, frame: &Frame<'_, W>, position: u64) -> bool {
        let max = self.max_size(world);
        if max == 0 {
            return true;
        }
        let (head, _) = self.protect(world, frame, Hazard::Second, HEAD);
        let mut index = world.load(head + GET_HINT);
        while index < W::SEGMENT_CELLS
            && matches!(
                cell(world.load(cell_at(head, index))),
                Cell::Taken | Cell::Revoked
            )
        {
            index += 1;
        }
        let first = world.load(head + SEQ) * W::SEGMENT_CELLS + index;
        // If it seems full, it may be full of claims: of the dead, the stopped and the slow.
        position < first + max || self.count(world, frame, true, max) < max
    }

    /// Links a segment behind the full one `segment`, which is protected, and helps the tail on.
    fn extend<W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        segment: Off,
    ) -> Result<(), OutOfMemory> {
        if world.load(segment + NEXT) == 0 {
            let new = new_segment(world, self.0, world.load(segment + SEQ) + 1)?;
            frame.announce(Intent::Put {
                word: segment + NEXT,
                block: new,
            });
            heap::set_tag(world, new, Tag::Shared(self.0, Holds::Bytes));
            let linked = world.cas(segment + NEXT, 0, new).is_ok();
            if !linked {
                heap::set_tag(world, new, Tag::Owned(frame.me(), Holds::Bytes));
            }
            // While `segment` is protected: what its NEXT says later says nothing about `new`.
            frame.announce(Intent::None);
            if !linked {
                heap::free(world, new);
            }
        }
        let next = world.load(segment + NEXT);
        let _ = world.cas(self.0 + TAIL, segment, next);
        Ok(())
    }

    /// Gets the oldest item, waiting until `until` at most. `prepare` is told what the item is
    /// before it is the caller's: what can fail, fails there, and the item stays in the queue.
    pub fn get<'w, W: World, T, E>(
        self,
        world: &'w W,
        until: Option<u64>,
        prepare: impl FnMut(Summary) -> Result<T, E>,
    ) -> Result<(Got<'w, W>, T), NotGot<E>> {
        self.get_unless(world, until, prepare, || false)
    }

    /// As [`get`](Self::get); ends as well when the queue is empty and `ended`, which must stay true once it is, and
    /// whose change must be told by [`wake_consumers`](Self::wake_consumers) or as a death.
    pub fn get_unless<'w, W: World, T, E>(
        self,
        world: &'w W,
        until: Option<u64>,
        mut prepare: impl FnMut(Summary) -> Result<T, E>,
        ended: impl Fn() -> bool,
    ) -> Result<(Got<'w, W>, T), NotGot<E>> {
        let _section = Section::QueueGet.enter();
        let mut late = until == Some(0);
        let mut round = 0;
        loop {
            // Asked first: what was put before the end is found after it.
            let over = ended();
            if let Some(got) = self.try_get(world, &mut prepare)? {
                return Ok(got);
            }
            if over {
                return Err(NotGot::Ended);
            }
            if late {
                return Err(NotGot::Empty);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let ticket = self.items().announce(world);
            if ended() {
                continue;
            }
            if let Some(got) = self.try_get(world, &mut prepare)? {
                return Ok(got);
            }
            match world.wait(self.0 + ITEMS, ticket, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(NotGot::Interrupted),
            }
        }
    }

    /// Makes every consumer that waits look again.
    pub fn wake_consumers<W: World>(self, world: &W) {
        let _section = Section::QueueWake.enter();
        self.items().notify_all(world);
    }

    /// Gets the oldest item if there is one.
    pub fn try_get<'w, W: World, T, E>(
        self,
        world: &'w W,
        prepare: &mut impl FnMut(Summary) -> Result<T, E>,
    ) -> Result<Option<(Got<'w, W>, T)>, NotGot<E>> {
        let _section = Section::QueueGet.enter();
        let got = self.visit_head(world, &mut |summary, _| prepare(summary));
        match got {
            Ok(Some(_)) if self.max_size(world) == 0 => {}
            Ok(Some(_)) if world.load(self.0 + DISTURBED) == 0 => self.space().notify(world),
            // Revoked cells may have become room together with this one.
            Ok(Some(_)) => self.space().notify_all(world),
            Ok(None) => {}
            // We may have been woken for the item that we leave now: it is the next one's.
            Err(_) => self.items().notify(world),
        }
        got.map_err(NotGot::NotPrepared)
    }

    /// Takes the oldest item if `prepare`, which may look at it in its place, agrees; tells nobody.
    pub(crate) fn visit_head<'w, W: World, T, E>(
        self,
        world: &'w W,
        prepare: &mut impl FnMut(Summary, Place) -> Result<T, E>,
    ) -> Result<Option<(Got<'w, W>, T)>, E> {
        let frame = Frame::enter(world);
        let got = self.take(world, &frame, prepare);
        self.leave(world, frame);
        got
    }

    fn take<'w, W: World, T, E>(
        self,
        world: &'w W,
        frame: &Frame<'_, W>,
        prepare: &mut impl FnMut(Summary, Place) -> Result<T, E>,
    ) -> Result<Option<(Got<'w, W>, T)>, E> {
        let taken = TAKEN | (frame.me().slot as u64) << SLOT;
        'segment: loop {
            let (segment, head) = self.protect(world, frame, Hazard::First, HEAD);
            let mut index = world.load(segment + GET_HINT);
            let mut looks = 0;
            while index < W::SEGMENT_CELLS {
                let word = cell_at(segment, index);
                let seen = world.load(word);
                match cell(seen) {
                    Cell::Taken | Cell::Revoked => {
                        index += 1;
                        looks = 0;
                    }
                    Cell::Empty => return Ok(None),
                    Cell::Claimed if looks < LOOKS && world.spin(looks) => looks += 1,
                    Cell::Claimed => {
                        if !full_behind(world, segment, index) {
                            return Ok(None);
                        }
                        self.revoke(world, word, seen);
                    }
                    Cell::FullInline => {
                        let head = world.load(word + 8);
                        let (kind, len) =
                            ((head >> 32) as u8, (head as u32 as u64).min(INLINE as u64));
                        let summary = Summary {
                            kind,
                            len,
                            parts: 0,
                            block: 0,
                        };
                        let prepared = prepare(summary, Place { word, seen })?;
                        frame.announce(Intent::Take { word, block: 0 });
                        if world.cas(word, seen, taken).is_ok() {
                            let mut bytes = [0; INLINE];
                            world.read(word + 16, &mut bytes[..len as usize]);
                            world.store(segment + GET_HINT, index + 1);
                            return Ok(Some((
                                Got::Inline {
                                    kind,
                                    bytes,
                                    len: len as u8,
                                },
                                prepared,
                            )));
                        }
                    }
                    Cell::FullBlock(block) => {
                        let summary = message::summary(world, block);
                        // Still there: then what was read was the message's, not a successor's.
                        world.fence();
                        if world.load(word) != seen {
                            continue;
                        }
                        let prepared = prepare(summary, Place { word, seen })?;
                        frame.announce(Intent::Take { word, block });
                        if world
                            .cas(word, seen, taken | (block / GRANULE) << 4)
                            .is_ok()
                        {
                            heap::set_tag(world, block, Tag::Owned(frame.me(), Holds::Message));
                            world.store(segment + GET_HINT, index + 1);
                            return Ok(Some((
                                Got::Message(Message::from_block(world, block)),
                                prepared,
                            )));
                        }
                    }
                }
            }
            if !self.advance(world, frame, segment, head) {
                return Ok(None);
            }
            continue 'segment;
        }
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

fn message_of<'w, W: World>(
    world: &'w W,
    kind: u8,
    bytes: &[u8],
) -> Result<Message<'w, W>, OutOfMemory> {
    let message = Message::new(world, kind, bytes.len() as u64, 0)?;
    world.write(message.bytes().0, bytes);
    Ok(message)
}

/// Revokes the claim of a dead producer. For the recovery of its slot.
pub(crate) fn revoke<W: World>(world: &W, segment: Off, word: Off, slot: u32) {
    let seen = world.load(word);
    if cell(seen) == Cell::Claimed && seen >> SLOT == slot as u64 {
        Queue(world.load(segment + QUEUE)).revoke(world, word, seen);
    }
}
