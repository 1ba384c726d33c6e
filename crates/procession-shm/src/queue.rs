//! The queue: first in, first out, many producers, many consumers, unbounded or bounded.
//!
//! *Idea*: linked segments of cells as in crossbeam's list flavour, `head` and `tail` as in Michael and Scott's queue
//! (1996), segments protected by hazard pointers (Michael, 2004); but the claim stands in the cell, with its owner,
//! instead of in the tail, and a claim may be revoked. *Invariant*, states and deaths: README.md of this crate.

use crate::class;
use crate::gate::Gate;
use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::message::{self, Message, Summary};
use crate::slot::{Frame, Frames, Hazard, Intent};
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

// Words of a segment.
const LIFE: u64 = 0;
const SEQ: u64 = 8;
const NEXT: u64 = 16;
const PUT_HINT: u64 = 24;
const QUEUE: u64 = 32;
const GET_HINT: u64 = 64;
const CELLS: u64 = 128;
const CELL_BYTES: u64 = 128;

// A segment's LIFE: lives or not, who freed it, how often it was used.
const LIVES: u64 = 1;
const FREED_BY: u32 = 1;
const USE: u32 = 24;

/// Messages of up to so many bytes stand in the cell itself.
pub const INLINE: usize = 112;

/// How often a put lets its claim be revoked before it takes the way that nobody can revoke.
const PATIENCE: u32 = 2;
/// How often a get looks again at a claim before it revokes it.
const LOOKS: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    Empty,
    Claimed,
    FullInline,
    Revoked,
    FullBlock(Off),
    Taken,
}

const SLOT: u32 = 38;
const CLAIMED: u64 = 1;
const FULL_INLINE: u64 = 2;
const REVOKED: u64 = 3;
const FULL_BLOCK: u64 = 4;
const TAKEN: u64 = 5;

const fn cell(word: u64) -> Cell {
    match word & 0xf {
        0 => Cell::Empty,
        CLAIMED => Cell::Claimed,
        FULL_INLINE => Cell::FullInline,
        REVOKED => Cell::Revoked,
        FULL_BLOCK => Cell::FullBlock(block_of(word)),
        _ => Cell::Taken,
    }
}

const fn block_of(word: u64) -> Off {
    (word >> 4 & ((1 << 34) - 1)) * GRANULE
}

/// Whether a word of a structure names this block: a cell, or a plain link.
pub(crate) fn names(word: u64, block: Off) -> bool {
    if word & 0xf == 0 {
        word == block
    } else {
        block_of(word) == block
    }
}

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

    fn items(self) -> Gate {
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
        let frame = Frame::enter(world);
        let done = match item {
            Item::Inline(kind, bytes) if bytes.len() <= INLINE => {
                self.put_inline(world, &frame, *kind, bytes)
            }
            Item::Inline(kind, bytes) => match message_of(world, *kind, bytes) {
                Ok(message) => self.put_message(world, &frame, &mut Some(message)),
                Err(error) => Err(error.into()),
            },
            Item::Message(message) => self.put_message(world, &frame, message),
        };
        self.leave(world, frame);
        match done {
            Ok(()) => self.items().notify(world),
            // We may have been woken for the room that we leave now: it is the next one's.
            Err(NotPut::OutOfMemory(_)) => self.space().notify(world),
            Err(NotPut::Full | NotPut::Interrupted) => {}
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
        self.items().notify_all(world);
    }

    /// Gets the oldest item if there is one.
    pub fn try_get<'w, W: World, T, E>(
        self,
        world: &'w W,
        prepare: &mut impl FnMut(Summary) -> Result<T, E>,
    ) -> Result<Option<(Got<'w, W>, T)>, NotGot<E>> {
        let frame = Frame::enter(world);
        let got = self.take(world, &frame, prepare);
        self.leave(world, frame);
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

    fn take<'w, W: World, T, E>(
        self,
        world: &'w W,
        frame: &Frame<'_, W>,
        prepare: &mut impl FnMut(Summary) -> Result<T, E>,
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
                        let prepared = prepare(Summary {
                            kind,
                            len,
                            parts: 0,
                        })?;
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
                        let prepared = prepare(summary)?;
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

    /// Protects the segment that HEAD or TAIL names; says which, and what the word was. Until the
    /// hazard is changed the segment is not freed.
    fn protect<W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        hazard: Hazard,
        at: u64,
    ) -> (Off, u64) {
        let mut seen = world.load(self.0 + at);
        loop {
            let segment = if at == HEAD { head_segment(seen) } else { seen };
            self.look_into(world, frame, hazard, segment);
            let now = world.load(self.0 + at);
            if now == seen {
                return (segment, seen);
            }
            seen = now;
        }
    }

    /// Changes a hazard. Who retired the segment that it stood for may have left it to us.
    fn look_into<W: World>(self, world: &W, frame: &Frame<'_, W>, hazard: Hazard, segment: Off) {
        let before = frame.hazard(hazard);
        frame.set_hazard(hazard, segment);
        if before != 0 && before != segment {
            free_if_retired(world, self.0, before);
        }
    }

    /// Counts the items, up to `enough`. With `settle`, claims on the way are revoked if they last, so that no item
    /// can come to stand among those counted.
    fn count<W: World>(self, world: &W, frame: &Frame<'_, W>, settle: bool, enough: u64) -> u64 {
        'again: loop {
            let (mut segment, head) = self.protect(world, frame, Hazard::Second, HEAD);
            let mut index = world.load(segment + GET_HINT);
            let (mut count, mut looks) = (0, 0);
            loop {
                while index < W::SEGMENT_CELLS && count < enough {
                    let word = cell_at(segment, index);
                    let seen = world.load(word);
                    match cell(seen) {
                        Cell::Empty => return count,
                        Cell::Claimed if settle && looks < LOOKS && world.spin(looks) => {
                            looks += 1;
                            continue;
                        }
                        Cell::Claimed if settle => {
                            self.revoke(world, word, seen);
                            continue;
                        }
                        Cell::FullInline | Cell::FullBlock(_) => count += 1,
                        Cell::Claimed | Cell::Revoked | Cell::Taken => {}
                    }
                    index += 1;
                }
                segment = world.load(segment + NEXT);
                if segment == 0 || count >= enough {
                    return count;
                }
                self.look_into(world, frame, Hazard::Second, segment);
                if world.load(self.0 + HEAD) != head {
                    continue 'again;
                }
                index = 0;
            }
        }
    }

    /// Revokes a claim that was seen in a cell.
    fn revoke<W: World>(self, world: &W, word: Off, seen: u64) {
        world.store(self.0 + DISTURBED, 1);
        let _ = world.cas(word, seen, REVOKED);
    }

    /// The number of items in the queue.
    pub fn len<W: World>(self, world: &W) -> u64 {
        self.len_up_to(world, u64::MAX)
    }

    fn len_up_to<W: World>(self, world: &W, enough: u64) -> u64 {
        let frame = Frame::enter(world);
        let len = self.count(world, &frame, false, enough);
        self.leave(world, frame);
        len
    }

    /// Whether the queue is empty.
    pub fn is_empty<W: World>(self, world: &W) -> bool {
        self.len_up_to(world, 1) == 0
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
            let got = self.take(world, &frame, &mut |_| Ok::<(), ()>(()));
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

const fn cell_at(segment: Off, index: u64) -> Off {
    segment + CELLS + index * CELL_BYTES
}

fn new_segment<W: World>(world: &W, queue: Off, seq: u64) -> Result<Off, OutOfMemory> {
    let segment = heap::alloc(world, class::SEGMENT)?;
    let uses = (world.load(segment + LIFE) >> USE) + 1;
    world.store(segment + LIFE, uses << USE | LIVES);
    world.store(segment + SEQ, seq);
    world.store(segment + NEXT, 0);
    world.store(segment + PUT_HINT, 0);
    world.store(segment + GET_HINT, 0);
    world.store(segment + QUEUE, queue);
    for index in 0..W::SEGMENT_CELLS {
        world.store(cell_at(segment, index), 0);
    }
    Ok(segment)
}

/// Frees a segment that the head has left, if no frame protects it. Anybody may try at any time:
/// LIFE is read first, so if it is still the same at the end, all that was read belongs together.
fn free_if_retired<W: World>(world: &W, queue: Off, segment: Off) {
    const MASK: u64 = (1 << (64 - HEAD_SEQ)) - 1;
    let life = world.load(segment + LIFE);
    if heap::tag(world, segment) != Tag::Shared(queue, Holds::Bytes) {
        return;
    }
    let head = world.load(queue + HEAD) >> HEAD_SEQ;
    let passed = head.wrapping_sub(world.load(segment + SEQ)) & MASK;
    if passed == 0 || passed > MASK / 2 {
        return;
    }
    let high = world.load(crate::layout::header::THREADS_HIGH) as u32;
    if (0..high).any(|slot| Frames::of(world, slot).protect(segment)) {
        return;
    }
    free_segment(world, segment, life);
}

fn free_segment<W: World>(world: &W, segment: Off, life: u64) {
    if life & LIVES == 0 {
        return;
    }
    // One wins, and is named, so that the block is freed once, also if the winner dies here.
    let freed = life >> USE << USE | (world.me().slot as u64) << FREED_BY;
    if world.cas(segment + LIFE, life, freed).is_ok() {
        heap::free(world, segment);
    }
}

/// Whether an item may stand behind a claim.
fn full_behind<W: World>(world: &W, segment: Off, index: u64) -> bool {
    world.load(segment + NEXT) != 0
        || (index + 1..W::SEGMENT_CELLS)
            .map(|index| cell(world.load(cell_at(segment, index))))
            .take_while(|&cell| cell != Cell::Empty)
            .any(|cell| matches!(cell, Cell::FullInline | Cell::FullBlock(_)))
}

/// Revokes the claim of a dead producer. For the recovery of its slot.
pub(crate) fn revoke<W: World>(world: &W, segment: Off, word: Off, slot: u32) {
    let seen = world.load(word);
    if cell(seen) == Cell::Claimed && seen >> SLOT == slot as u64 {
        Queue(world.load(segment + QUEUE)).revoke(world, word, seen);
    }
}

/// Whether a cell says that this slot took the block from it.
pub(crate) fn taken_by(word: u64, slot: u32, block: Off) -> bool {
    word & 0xf == TAKEN && word >> SLOT == slot as u64 && block_of(word) == block
}

/// Frees the segments that a dead thread had left half-freed, and those that nobody else will look at.
pub(crate) fn sweep_segments<W: World>(world: &W, dead: u32) {
    heap::walk_blocks_of(world, class::SEGMENT, |segment, tag| {
        let Tag::Shared(queue, _) = tag else { return };
        let life = world.load(segment + LIFE);
        if life & LIVES != 0 {
            if heap::class_of(world, queue).is_some() {
                free_if_retired(world, queue, segment);
            }
        } else if life & ((1 << USE) - 1) == (dead as u64) << FREED_BY {
            // Only he who won the CAS may free it; his recoverer is we.
            heap::free(world, segment);
        }
    });
}
