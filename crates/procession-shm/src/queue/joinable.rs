//! What a queue knows of the work that its items are: how many were ever put, and of how many it was said that they
//! are done.
//!
//! *Idea*: in a queue that counts, a put is one compare-and-swap on its cell, the way that nobody can revoke. So the
//! position of the first empty cell is the number of items ever put, and no count beside the cells can be wrong.
//! *Invariant*: `DONE` never passes that number, and moves by one compare-and-swap for each item done.
//! *On a death*: nothing is half-done. An item whose taker died stays unfinished until somebody says that it is done.

use super::segment::{NEXT, PUT_HINT, SEQ, cell_at};
use super::{COUNTS, DONE, FINISHED, Queue, TAIL};
use crate::gate::Gate;
use crate::section::Section;
use crate::slot::{Frame, Hazard};
use crate::world::{Interrupted, Wake, World};

/// More items would be done than were ever put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllDone;

impl Queue {
    /// Makes the queue count what is put into it. For one that nobody shares yet.
    pub fn start_counting<W: World>(self, world: &W) {
        let _section = Section::ObjectCreate.enter();
        world.store(self.0 + COUNTS, 1);
    }

    /// Whether it counts what is put into it.
    pub fn counts<W: World>(self, world: &W) -> bool {
        world.load(self.0 + COUNTS) != 0
    }

    fn finished(self) -> Gate {
        Gate(self.0 + FINISHED)
    }

    /// How many items were put and not done, in a queue that counts.
    pub fn unfinished<W: World>(self, world: &W) -> u64 {
        let _section = Section::QueueJoin.enter();
        // In this order: neither number ever falls, so if they are equal all was done when the first was read.
        let done = world.load(self.0 + DONE);
        self.put_count(world).saturating_sub(done)
    }

    /// Says that the work of one item is done; who waits for the last one goes on.
    pub fn task_done<W: World>(self, world: &W) -> Result<(), AllDone> {
        let _section = Section::QueueTaskDone.enter();
        loop {
            let done = world.load(self.0 + DONE);
            let put = self.put_count(world);
            if put <= done {
                return Err(AllDone);
            }
            if world.cas(self.0 + DONE, done, done + 1).is_ok() {
                // Whoever does the last one finds so here; one who dies before he tells is told of as a death.
                if put == done + 1 || self.put_count(world) == done + 1 {
                    self.finished().notify_all(world);
                }
                return Ok(());
            }
        }
    }

    /// Waits until all that was put is done, until `until` at most; `false` if the time is over.
    pub fn join<W: World>(self, world: &W, until: Option<u64>) -> Result<bool, Interrupted> {
        let _section = Section::QueueJoin.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            if self.unfinished(world) == 0 {
                return Ok(true);
            }
            if late {
                return Ok(false);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let ticket = self.finished().announce(world);
            if self.unfinished(world) == 0 {
                return Ok(true);
            }
            match world.wait(self.0 + FINISHED, ticket, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// The number of items ever put: the position of the first empty cell.
    fn put_count<W: World>(self, world: &W) -> u64 {
        let frame = Frame::enter(world);
        let count = self.first_empty_position(world, &frame);
        self.leave(world, frame);
        count
    }

    fn first_empty_position<W: World>(self, world: &W, frame: &Frame<'_, W>) -> u64 {
        loop {
            let (segment, _) = self.protect(world, frame, Hazard::First, TAIL);
            let mut index = world.load(segment + PUT_HINT);
            while index < W::SEGMENT_CELLS && world.load(cell_at(segment, index)) != 0 {
                index += 1;
            }
            let next = world.load(segment + NEXT);
            if index < W::SEGMENT_CELLS || next == 0 {
                return world.load(segment + SEQ) * W::SEGMENT_CELLS + index;
            }
            let _ = world.cas(self.0 + TAIL, segment, next);
        }
    }
}
