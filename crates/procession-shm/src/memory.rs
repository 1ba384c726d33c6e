//! Memory: bytes that processes read and write in place, for values and arrays.
//!
//! *Idea*: an object and one block, zeroed before anybody can see it. What stands in it is its users' affair: the
//! structure never looks. Unlike a [buffer](crate::object::Kind::Buffer) that was received, it stays one memory
//! for all through every fork. *On a death*: what the dead one had written so far stays; the memory goes with its last lease.

use crate::class;
use crate::heap::{self, OutOfMemory};
use crate::object::{self, BODY_BLOCK, BODY_LEN, Handle, Kind};
use crate::section::Section;
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

const ZEROS: [u8; 4096] = [0; 4096];

/// Makes a memory of `len` bytes, all zero, aligned to 64 bytes. The calling process has one lease on it.
pub fn create<W: World>(world: &W, len: u64) -> Result<Handle, OutOfMemory> {
    object::create(world, Kind::Memory, |entry, body| {
        let _section = Section::MemoryCreate.enter();
        let block = heap::alloc_len(world, len.max(1))?;
        zero(world, block, len);
        world.store(body + BODY_LEN, len);
        world.store(body + BODY_BLOCK, block);
        heap::set_tag(world, block, Tag::Shared(entry, Holds::Bytes));
        Ok(())
    })
}

/// Where its bytes are, and how many, from the body of the object.
pub fn bytes<W: World>(world: &W, body: Off) -> (Off, u64) {
    let (block, len) = (world.load(body + BODY_BLOCK), world.load(body + BODY_LEN));
    (block, len.min(heap::capacity(world, block)))
}

/// Zeroes a block of the caller's own. Whole pages are given back: they read as zeros, and cost nothing until written.
fn zero<W: World>(world: &W, block: Off, len: u64) {
    let capacity = heap::capacity(world, block);
    if heap::class_of(world, block).is_some_and(class::is_large) {
        world.give_back(block, capacity);
        return;
    }
    let mut at = 0;
    while at < len {
        let piece = (len - at).min(ZEROS.len() as u64);
        world.write(block + at, &ZEROS[..piece as usize]);
        at += piece;
    }
}
