//! Memory that processes read and write in place: what values and arrays stand in.

use crate::error::Result;
use crate::object::{Object, travels};
use procession_shm::memory;
use procession_shm::object::Kind;

/// Bytes of the arena, zero at first, the same for every process that has a reference; gone with the last one.
///
/// It says nothing of who may access it when: see [`crate::Shared`], [`crate::Mutex`], [`crate::Array`].
#[derive(Clone, Debug)]
pub struct Memory {
    object: Object,
}

travels!(Memory, Kind::Memory);

impl Memory {
    /// Takes `len` bytes.
    pub fn new(len: u64) -> Result<Self> {
        let object = Object::make(Kind::Memory, |arena| memory::create(arena, len))?;
        Ok(Self { object })
    }

    /// The memory that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Its first byte, aligned to 64 bytes, and its length. Valid as long as this reference or a clone of it.
    pub fn as_ptr(&self) -> (*mut u8, usize) {
        let arena = self.object.arena();
        let (at, len) = memory::bytes(arena, self.object.body());
        (arena.bytes(at, len), len as usize)
    }
}
