//! The state word of a cell, and what it names.

use crate::layout::GRANULE;
use crate::world::Off;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    Empty,
    Claimed,
    FullInline,
    Revoked,
    FullBlock(Off),
    Taken,
}

pub(super) const SLOT: u32 = 38;
pub(super) const CLAIMED: u64 = 1;
pub(super) const FULL_INLINE: u64 = 2;
pub(super) const REVOKED: u64 = 3;
pub(super) const FULL_BLOCK: u64 = 4;
pub(super) const TAKEN: u64 = 5;

pub(super) const fn cell(word: u64) -> Cell {
    match word & 0xf {
        0 => Cell::Empty,
        CLAIMED => Cell::Claimed,
        FULL_INLINE => Cell::FullInline,
        REVOKED => Cell::Revoked,
        FULL_BLOCK => Cell::FullBlock(block_of(word)),
        _ => Cell::Taken,
    }
}

pub(super) const fn block_of(word: u64) -> Off {
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

/// Whether a cell says that this slot took the block from it.
pub(crate) fn taken_by(word: u64, slot: u32, block: Off) -> bool {
    word & 0xf == TAKEN && word >> SLOT == slot as u64 && block_of(word) == block
}
