//! Putting: a cell is claimed and filled, or filled at once with the name of a message.

use super::cell::{CLAIMED, Cell, FULL_BLOCK, FULL_INLINE, SLOT, cell};
use super::segment::{GET_HINT, NEXT, PUT_HINT, SEQ, cell_at, new_segment};
use super::{HEAD, INLINE, Queue, SPACE, TAIL};
use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::message::Message;
use crate::section::Section;
use crate::slot::{Frame, Hazard, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Off, Wake, World};

/// How often a put lets its claim be revoked before it takes the way that nobody can revoke.
const PATIENCE: u32 = 2;

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

impl Queue {
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
