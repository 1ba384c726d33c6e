//! Views: large buffers that were received, read and written in place, with the semantics of a
//! private copy.
//!
//! A view is a lease on a buffer object whose block nobody else maps as his own. Before a fork
//! the pages become a copy on write in parent and child alike, so that neither sees what the other
//! writes; the block is free when the last of them has dropped its view.

use crate::arena::Arena;
use crate::error::Result;
use crate::object::Object;
use procession_shm::class;
use procession_shm::heap;
use procession_shm::message::Message;
use procession_shm::object::{self, BODY_BLOCK, BODY_LEN, Kind};
use procession_shm::tag::{Holds, Tag};
use procession_shm::{Off, OutOfMemory, World};

/// Word of a buffer's body: whether it was ever mapped as a copy on write.
const FORKED: u64 = 32;

/// Buffers from this size on travel by themselves and are read in place.
pub const MIN_LEN: u64 = 64 << 10;

/// A buffer's entry, taken before the message that brings the buffer is.
pub struct Reserved {
    arena: &'static Arena,
    entry: Off,
}

impl Reserved {
    /// Takes an entry, so that nothing can fail once the message is taken.
    pub fn new(arena: &'static Arena) -> Result<Self, OutOfMemory> {
        Ok(Self {
            arena,
            entry: object::reserve(arena, Kind::Buffer)?,
        })
    }

    /// Makes part `index` of the message a view.
    pub fn fill(self, message: &Message<'_, Arena>, index: u64) -> Option<View> {
        let (arena, entry) = (self.arena, self.entry);
        let body = object::body_of_reserved(entry);
        let (block, len, _) = message.part(index)?;
        arena.store(body + BODY_LEN, len);
        arena.store(body + FORKED, 0);
        arena.store(body + BODY_BLOCK, block);
        message.give_part(index, entry)?;
        std::mem::forget(self);
        let handle = object::publish(arena, entry);
        Some(View {
            object: Object::adopt(handle, Kind::Buffer).ok()?,
            block,
            len,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        object::abandon(self.arena, self.entry);
    }
}

/// A received buffer.
pub struct View {
    object: Object,
    block: Off,
    len: u64,
}

impl View {
    /// Its first byte and its length. The memory is this view's, to read and to write, until it is dropped.
    pub fn as_ptr(&self) -> (*mut u8, usize) {
        (
            self.object.arena().bytes(self.block, self.len),
            self.len as usize,
        )
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.object.word(FORKED) != 0 {
            let arena = self.object.arena();
            // If this fails the pages stay private here, and the block must not be used again.
            if arena
                .remap(self.block, heap::capacity(arena, self.block), false)
                .is_err()
            {
                object::pin(arena, self.object.handle());
            }
        }
    }
}

/// Before a fork: the buffers of this process become copies on write.
pub(crate) fn make_private(arena: &Arena) {
    let process = arena.my_process();
    heap::walk_blocks_of(arena, class::OBJECT, |entry, tag| {
        if !matches!(tag, Tag::Object { .. }) || !object::is_leased_buffer(arena, entry, process) {
            return;
        }
        let body = object::body_of_reserved(entry);
        let block = arena.load(body + BODY_BLOCK);
        arena.store(body + FORKED, 1);
        let _ = arena.remap(block, heap::capacity(arena, block), true);
    });
}

/// A block for a buffer of `len` bytes, which the caller owns and writes.
pub struct Outgoing {
    arena: &'static Arena,
    block: Off,
    len: u64,
}

impl Outgoing {
    /// Takes a block of whole pages.
    pub fn new(arena: &'static Arena, len: u64) -> Result<Self> {
        let class = class::for_pages(len).ok_or(OutOfMemory { wanted: len })?;
        Ok(Self {
            arena,
            block: heap::alloc(arena, class)?,
            len,
        })
    }

    /// Where to write.
    pub fn as_ptr(&self) -> (*mut u8, usize) {
        (self.arena.bytes(self.block, self.len), self.len as usize)
    }

    /// Lists it in a message.
    pub fn send(self, message: &Message<'_, Arena>, index: u64) {
        message.add_part(index, self.block, self.len, Holds::Bytes);
        std::mem::forget(self);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        heap::free(self.arena, self.block);
    }
}
