//! Segments: rows of cells, made, protected by hazards, and freed once the head has left them.

use super::cell::{Cell, cell};
use super::{HEAD, HEAD_SEQ};
use crate::class;
use crate::heap::{self, OutOfMemory};
use crate::slot::Frames;
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

// Words of a segment.
pub(super) const LIFE: u64 = 0;
pub(super) const SEQ: u64 = 8;
pub(super) const NEXT: u64 = 16;
pub(super) const PUT_HINT: u64 = 24;
pub(super) const QUEUE: u64 = 32;
pub(super) const GET_HINT: u64 = 64;
pub(super) const CELLS: u64 = 128;
pub(super) const CELL_BYTES: u64 = 128;

// A segment's LIFE: lives or not, who freed it, how often it was used.
pub(super) const LIVES: u64 = 1;
pub(super) const FREED_BY: u32 = 1;
pub(super) const USE: u32 = 24;

pub(super) const fn cell_at(segment: Off, index: u64) -> Off {
    segment + CELLS + index * CELL_BYTES
}

pub(super) fn new_segment<W: World>(world: &W, queue: Off, seq: u64) -> Result<Off, OutOfMemory> {
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
pub(super) fn free_if_retired<W: World>(world: &W, queue: Off, segment: Off) {
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

pub(super) fn free_segment<W: World>(world: &W, segment: Off, life: u64) {
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
pub(super) fn full_behind<W: World>(world: &W, segment: Off, index: u64) -> bool {
    world.load(segment + NEXT) != 0
        || (index + 1..W::SEGMENT_CELLS)
            .map(|index| cell(world.load(cell_at(segment, index))))
            .take_while(|&cell| cell != Cell::Empty)
            .any(|cell| matches!(cell, Cell::FullInline | Cell::FullBlock(_)))
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
