//! Walking through the segments: protecting them, and counting what is in them.

use super::cell::{Cell, REVOKED, cell};
use super::segment::{GET_HINT, NEXT, cell_at, free_if_retired};
use super::{DISTURBED, HEAD, LOOKS, Queue, head_segment};
use crate::section::Section;
use crate::slot::{Frame, Hazard};
use crate::world::{Off, World};

impl Queue {
    /// Protects the segment that HEAD or TAIL names; says which, and what the word was. Until the
    /// hazard is changed the segment is not freed.
    pub(super) fn protect<W: World>(
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
    pub(super) fn look_into<W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        hazard: Hazard,
        segment: Off,
    ) {
        let before = frame.hazard(hazard);
        frame.set_hazard(hazard, segment);
        if before != 0 && before != segment {
            free_if_retired(world, self.0, before);
        }
    }

    /// Counts the items, up to `enough`. With `settle`, claims on the way are revoked if they last, so that no item
    /// can come to stand among those counted.
    pub(super) fn count<W: World>(
        self,
        world: &W,
        frame: &Frame<'_, W>,
        settle: bool,
        enough: u64,
    ) -> u64 {
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
    pub(super) fn revoke<W: World>(self, world: &W, word: Off, seen: u64) {
        world.store(self.0 + DISTURBED, 1);
        let _ = world.cas(word, seen, REVOKED);
    }

    /// The number of items in the queue.
    pub fn len<W: World>(self, world: &W) -> u64 {
        self.len_up_to(world, u64::MAX)
    }

    pub(super) fn len_up_to<W: World>(self, world: &W, enough: u64) -> u64 {
        let _section = Section::QueueLen.enter();
        let frame = Frame::enter(world);
        let len = self.count(world, &frame, false, enough);
        self.leave(world, frame);
        len
    }

    /// Whether the queue is empty.
    pub fn is_empty<W: World>(self, world: &W) -> bool {
        self.len_up_to(world, 1) == 0
    }
}
