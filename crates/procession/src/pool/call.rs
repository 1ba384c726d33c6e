//! The call of a job as bytes: what to call, and the argument of each element, each readable by itself.
//!
//! ```text
//! 16 bytes       length of the function, elements that count as one task
//! 24 an element  kind << 56 | offset, length, first buffer << 32 | buffers
//! function, then the arguments
//! ```

use crate::arena::Arena;
use crate::error::Result;
use crate::queue::Draft;
use procession_shm::job::Lent;
use procession_shm::object::Handle;

const FUNCTION: usize = 16;
const ENTRY: usize = 24;
const OFFSET: u64 = (1 << 56) - 1;

/// A call that is being written.
#[derive(Default)]
pub struct Writer {
    entries: Vec<[u64; 3]>,
    bytes: Vec<u8>,
    buffers: u64,
}

impl Writer {
    /// Adds an element: the kind and the bytes of its argument, and how many buffers go with it.
    pub fn add(&mut self, kind: u8, bytes: &[u8], buffers: u64) {
        let offset = self.bytes.len() as u64;
        self.entries.push([
            (kind as u64) << 56 | offset,
            bytes.len() as u64,
            self.buffers << 32 | buffers,
        ]);
        self.buffers += buffers;
        self.bytes.extend_from_slice(bytes);
    }

    /// The number of elements so far.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The message of a call of `function`, which names these objects; its buffers are still to be sent. `kind` is
    /// the caller's own; `chunk` elements count as one task.
    pub fn message(
        &self,
        arena: &'static Arena,
        kind: u8,
        chunk: u64,
        function: &[u8],
        handles: &[Handle],
    ) -> Result<Draft> {
        let table = FUNCTION + self.entries.len() * ENTRY;
        let len = table + function.len() + self.bytes.len();
        let draft = Draft::new(arena, kind, len as u64, handles, self.buffers)?;
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            draft.write_at(at, bytes);
            at += bytes.len() as u64;
        };
        put(&(function.len() as u64).to_le_bytes());
        put(&chunk.to_le_bytes());
        let start = (table + function.len()) as u64;
        for &[place, len, buffers] in &self.entries {
            for word in [place + start, len, buffers] {
                put(&word.to_le_bytes());
            }
        }
        put(function);
        put(&self.bytes);
        Ok(draft)
    }
}

/// The argument of an element.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// The kind that the caller gave it.
    pub kind: u8,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The number of its first buffer among the parts of the message.
    pub first_buffer: u64,
    /// How many buffers are its.
    pub buffers: u64,
}

/// A call that is read in place.
pub struct Reader<'a> {
    arena: &'static Arena,
    message: &'a Lent<'static, Arena>,
    bytes: &'a [u8],
    /// The parts that come before the buffers.
    handles: u64,
    count: u64,
}

impl<'a> Reader<'a> {
    /// Reads the call of a job of so many elements. The caller keeps a lease on the job meanwhile.
    pub fn new(arena: &'static Arena, message: &'a Lent<'static, Arena>, count: u64) -> Self {
        let (at, len) = message.bytes();
        // SAFETY: a job's call does not change, and lives as long as the job, on which the caller has a lease.
        let bytes = unsafe { std::slice::from_raw_parts(arena.bytes(at, len), len as usize) };
        let buffers = (0..count)
            .next_back()
            .and_then(|last| word(bytes, FUNCTION + last as usize * ENTRY + 16))
            .map_or(0, |word| (word >> 32) + (word & 0xffff_ffff));
        let handles = message.summary().parts.saturating_sub(buffers);
        Self {
            arena,
            message,
            bytes,
            handles,
            count,
        }
    }

    /// The kind that the caller gave it.
    pub fn kind(&self) -> u8 {
        self.message.summary().kind
    }

    /// How many elements count as one task.
    pub fn chunk(&self) -> u64 {
        word(self.bytes, 8).unwrap_or(1).max(1)
    }

    /// The bytes of the function.
    pub fn function(&self) -> &'a [u8] {
        let start = FUNCTION + self.count as usize * ENTRY;
        let len = word(self.bytes, 0).unwrap_or(0) as usize;
        let bytes = self.bytes.get(start..start.saturating_add(len));
        bytes.unwrap_or_default()
    }

    /// The argument of an element.
    pub fn argument(&self, index: u64) -> Argument<'a> {
        let at = FUNCTION + index as usize * ENTRY;
        let read = |n: usize| word(self.bytes, at + n * 8).unwrap_or(0);
        let (place, len, buffers) = (read(0), read(1) as usize, read(2));
        let start = (place & OFFSET) as usize;
        let bytes = self.bytes.get(start..start.saturating_add(len));
        Argument {
            kind: (place >> 56) as u8,
            bytes: bytes.unwrap_or_default(),
            first_buffer: self.handles + (buffers >> 32),
            buffers: buffers & 0xffff_ffff,
        }
    }

    /// The message that it is.
    pub fn message(&self) -> &'a Lent<'static, Arena> {
        self.message
    }

    /// The arena that it is in.
    pub fn arena(&self) -> &'static Arena {
        self.arena
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(eight.try_into().ok()?))
}
