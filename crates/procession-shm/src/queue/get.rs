//! Getting: the oldest full cell is found, looked at, and taken by one compare-and-swap.

use super::cell::{Cell, SLOT, TAKEN, cell};
use super::segment::{GET_HINT, cell_at, full_behind};
use super::{DISTURBED, HEAD, INLINE, ITEMS, LOOKS, Queue};
use crate::heap;
use crate::layout::GRANULE;
use crate::message::{self, Message, Summary};
use crate::section::Section;
use crate::slot::{Frame, Hazard, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Off, Wake, World};

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

impl Queue {
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

    pub(super) fn take<'w, W: World, T, E>(
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
}
