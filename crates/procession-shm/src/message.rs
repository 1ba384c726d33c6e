//! Messages in blocks: bytes, and a list of blocks that travel with them.
//!
//! Word 0 of the block is the number of bytes, word 1 the number of listed blocks and the kind;
//! two words for each listed block follow (where, how many bytes of it count), then the bytes.
//! *Invariant*: a listed block belongs to the message while its tag is `SHARED(message)`.

use crate::class;
use crate::heap::{self, OutOfMemory};
use crate::object;
use crate::section::Section;
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

const LEN: u64 = 0;
const LIST: u64 = 8;
const FIRST: u64 = 16;

/// What a message says of itself, read without owning it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The kind that the sender gave it; the structures do not look at it.
    pub kind: u8,
    /// Number of bytes.
    pub len: u64,
    /// Number of blocks that travel with it.
    pub parts: u64,
    /// The block that it stands in; 0 if it stands in a queue's cell.
    pub block: Off,
}

/// A message that the calling thread owns: being written, or taken out of a queue.
/// Dropped, it is freed with all that hangs below it.
pub struct Message<'w, W: World> {
    world: &'w W,
    block: Off,
}

impl<'w, W: World> Message<'w, W> {
    /// A message of `len` bytes with room for `parts` listed blocks; its bytes are still to be written.
    pub fn new(world: &'w W, kind: u8, len: u64, parts: u64) -> Result<Self, OutOfMemory> {
        let _section = Section::MessageFill.enter();
        let head = FIRST + parts * 16;
        let block = heap::alloc_len(
            world,
            len.checked_add(head).ok_or(OutOfMemory { wanted: len })?,
        )?;
        world.store(block + LEN, len);
        for part in 0..parts {
            world.store(block + FIRST + part * 16, 0);
        }
        world.store(block + LIST, parts | (kind as u64) << 32);
        heap::set_tag(world, block, Tag::Owned(world.me(), Holds::Message));
        Ok(Self { world, block })
    }

    /// The world that it is of.
    pub(crate) fn world(&self) -> &'w W {
        self.world
    }

    /// The message in a block that the caller owns.
    pub(crate) fn from_block(world: &'w W, block: Off) -> Self {
        Self { world, block }
    }

    /// The block; the caller answers for it from now on.
    pub(crate) fn into_block(self) -> Off {
        let block = self.block;
        core::mem::forget(self);
        block
    }

    /// What the message says of itself.
    pub fn summary(&self) -> Summary {
        summary(self.world, self.block)
    }

    /// Where its bytes are.
    pub fn bytes(&self) -> (Off, u64) {
        let Summary { len, parts, .. } = self.summary();
        (self.block + FIRST + parts * 16, len)
    }

    /// Lists a block that the caller owns, of which `len` bytes count; it belongs to the message now.
    pub fn add_part(&self, index: u64, block: Off, len: u64, holds: Holds) {
        let _section = Section::MessageFill.enter();
        let at = self.block + FIRST + index * 16;
        self.world.store(at + 8, len);
        self.world.store(at, block);
        heap::set_tag(self.world, block, Tag::Shared(self.block, holds));
    }

    /// Lists an object: it lives at least until the message is gone.
    pub fn add_edge(&self, index: u64, handle: object::Handle) -> Result<(), OutOfMemory> {
        let _section = Section::ObjectSend.enter();
        let edge = heap::alloc(self.world, class::EDGE)?;
        self.world.store(edge, handle.id);
        self.world.store(edge + 8, handle.generation);
        heap::set_tag(self.world, edge, Tag::Owned(self.world.me(), Holds::Edge));
        object::note_ticket(self.world, handle, edge);
        self.add_part(index, edge, 0, Holds::Edge);
        object::travels(self.world, handle);
        Ok(())
    }

    /// A listed block that still belongs to the message: where, how many bytes count, what it holds.
    pub fn part(&self, index: u64) -> Option<(Off, u64, Holds)> {
        part(self.world, self.block, index)
    }

    /// Takes a listed block out of the message: it is the caller's own.
    pub fn take_part(&self, index: u64) -> Option<(Off, u64)> {
        let _section = Section::MessageFill.enter();
        let (block, len, holds) = self.part(index)?;
        heap::seize(self.world, block, Tag::Shared(self.block, holds)).then_some((block, len))
    }

    /// Makes a listed block a part of the object whose entry the caller owns.
    pub fn give_part(&self, index: u64, entry: Off) -> Option<(Off, u64)> {
        let _section = Section::MessageFill.enter();
        let (block, len, holds) = self.part(index)?;
        let given = Tag::Shared(entry, Holds::Bytes);
        heap::change_tag(self.world, block, Tag::Shared(self.block, holds), given)
            .then_some((block, len))
    }
}

impl<W: World> Drop for Message<'_, W> {
    fn drop(&mut self) {
        free_tree(self.world, self.block);
    }
}

/// What the message in a block says of itself. If the block may be somebody else's by now, the
/// caller finds out before it believes it.
pub(crate) fn summary<W: World>(world: &W, block: Off) -> Summary {
    let list = world.load(block + LIST);
    Summary {
        kind: (list >> 32) as u8,
        len: world.load(block + LEN),
        parts: list & 0xffff_ffff,
        block,
    }
}

/// The object that part `index` of a message names, if it does. If the block may be somebody else's by now, the
/// caller finds out before he believes it.
pub(crate) fn named<W: World>(world: &W, block: Off, index: u64) -> Option<object::Handle> {
    match part(world, block, index)? {
        (edge, _, Holds::Edge) => Some(object::Handle {
            id: world.load(edge),
            generation: world.load(edge + 8),
        }),
        _ => None,
    }
}

fn part<W: World>(world: &W, message: Off, index: u64) -> Option<(Off, u64, Holds)> {
    let at = message + FIRST + index * 16;
    if at + 16 > message + heap::capacity(world, message) {
        return None;
    }
    let (block, len) = (world.load(at), world.load(at + 8));
    if heap::class_of(world, block).is_none() || len > heap::capacity(world, block) {
        return None;
    }
    match heap::tag(world, block) {
        Tag::Shared(parent, holds) if parent == message => Some((block, len, holds)),
        _ => None,
    }
}

/// Frees a block that the caller owns, and all that is `SHARED` below it. Begun by one who died,
/// it may be done again from the start.
pub(crate) fn free_tree<W: World>(world: &W, root: Off) {
    let _section = Section::MessageFree.enter();
    if let Tag::Owned(_, Holds::Message) = heap::tag(world, root) {
        for index in 0..summary(world, root).parts {
            let Some((block, _, holds)) = part(world, root, index) else {
                continue;
            };
            let named = named(world, root, index);
            if heap::seize(world, block, Tag::Shared(root, holds)) {
                heap::free(world, block);
                if let Some(handle) = named {
                    object::free_if_unused(world, handle);
                }
            }
        }
    }
    heap::free(world, root);
}
