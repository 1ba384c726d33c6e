//! Tracked names: what the program unlinks when it is over.
//!
//! A file of shared memory has a name outside the arena, so it can outlive the program. *Idea*: a tracked name is an
//! object without any lease, kept by its pin, that says which file it means: its device and inode beside the name. It is
//! begun before the file gets its name and ended after the file has lost it. *Invariant*: a file of ours that
//! has its name is tracked. Whoever unlinks at the end looks whether the name leads to that very file, so what is tracked
//! too long does no harm. *On a death*: before the pin the object goes with its maker's lease, and the file had no name
//! yet; after it, it stays, whether the file came to have its name or not.

use crate::class;
use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::object::{self, BODY_BLOCK, BODY_LEN, Handle, Kind};
use crate::section::Section;
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

/// The longest name that a file has.
pub const MAX: usize = 255;

// Words of the body, beside those of every object with a block.
const DEVICE: Off = 32;
const INODE: Off = 40;

/// What tells a file from every other that exists at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// The device that it is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// Tracks a name from now on, until [`forget`]. To be called before the file has it.
///
/// # Panics
/// If the name is longer than [`MAX`].
pub fn track<W: World>(world: &W, name: &[u8], file: File) -> Result<Handle, OutOfMemory> {
    assert!(name.len() <= MAX, "no file has so long a name");
    let _section = Section::NameTrack.enter();
    let handle = object::create(world, Kind::Name, |entry, body| {
        let _section = Section::NameTrack.enter();
        let block = heap::alloc_len(world, MAX as u64)?;
        // By words: who looks may read them while the block has become another name's.
        for (at, word) in words(block).zip(name.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            world.store(at, u64::from_le_bytes(bytes));
        }
        world.store(body + BODY_LEN, name.len() as u64);
        world.store(body + DEVICE, file.device);
        world.store(body + INODE, file.inode);
        world.store(body + BODY_BLOCK, block);
        heap::set_tag(world, block, Tag::Shared(entry, Holds::Bytes));
        Ok(())
    })?;
    object::pin(world, handle);
    object::unlease(world, handle, world.my_process());
    Ok(handle)
}

/// Where the words of a name are in its block.
fn words(block: Off) -> impl Iterator<Item = Off> {
    (block..).step_by(8)
}

/// Tracks a name no more. To be called after the file has lost it; any process may, and more than one.
pub fn forget<W: World>(world: &W, handle: Handle) {
    let _section = Section::NameForget.enter();
    object::unpin(world, handle);
}

/// Calls `visit` with each tracked name, until it returns false.
pub fn visit<W: World>(world: &W, mut visit: impl FnMut(Handle, File, &[u8]) -> bool) {
    let mut goes_on = true;
    heap::walk_blocks_of(world, class::OBJECT, |entry, tag| {
        let Tag::Object { generation } = tag else {
            return;
        };
        let id = entry / GRANULE;
        let handle = Handle { id, generation };
        if !goes_on || object::kind_of(world, handle) != Ok(Kind::Name) {
            return;
        }
        let body = object::body_of_reserved(entry);
        let len = world.load(body + BODY_LEN).min(MAX as u64) as usize;
        let file = File {
            device: world.load(body + DEVICE),
            inode: world.load(body + INODE),
        };
        let block = world.load(body + BODY_BLOCK);
        if heap::capacity(world, block) < len as u64 {
            return;
        }
        let mut name = [0; MAX];
        for (at, word) in words(block).zip(name[..len].chunks_mut(8)) {
            word.copy_from_slice(&world.load(at).to_le_bytes()[..word.len()]);
        }
        // What was read is of this name only if nobody has forgotten it meanwhile.
        if object::kind_of(world, handle) == Ok(Kind::Name) {
            goes_on = visit(handle, file, &name[..len]);
        }
    });
}
