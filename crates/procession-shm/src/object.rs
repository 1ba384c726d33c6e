//! Objects: what handles name, and who keeps them alive.
//!
//! An object is a block of the class `OBJECT`, which never serves as payload: state, identity, leases,
//! and a body of one cache line. *Idea*: leases are counts, one a process record, and the count is the only
//! truth; the decision to free is taken on the state word, which every new reference moves.
//! *Invariant*: a reference becomes visible, then the state is moved, then the reference that it was made
//! from may go. So who finds no reference, and the state unmoved, is right.
//! *On a death*: the recoverer zeroes the dead process's counts and looks at every object again.

use crate::barrier::Barrier;
use crate::class;
use crate::condition::Condition;
use crate::heap::{self, OutOfMemory};
use crate::job::{self, Job};
use crate::layout::GRANULE;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::queue::Queue;
use crate::section::Section;
use crate::slot::{self, Frame, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Off, World};

/// Names an object for as long as the program lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    /// Where it is, in granules.
    pub id: u64,
    /// How often the entry had been used when the object was made.
    pub generation: u64,
}

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// [`crate::lock::Lock`].
    Lock = 1,
    /// [`crate::lock::ReentrantLock`].
    ReentrantLock = 2,
    /// [`crate::semaphore::Semaphore`].
    Semaphore = 3,
    /// [`crate::event::Event`].
    Event = 4,
    /// [`crate::condition::Condition`].
    Condition = 5,
    /// [`crate::barrier::Barrier`].
    Barrier = 6,
    /// [`crate::queue::Queue`].
    Queue = 7,
    /// A block of memory that a process reads and writes in place.
    Buffer = 8,
    /// A lock and the block of plain data that it guards.
    Mutex = 9,
    /// [`crate::job::Job`]. The only edge that ever names it is that of its ticket.
    Job = 10,
    /// [`crate::pool::Pool`].
    Pool = 11,
    /// [`crate::memory`].
    Memory = 12,
    /// [`crate::name`].
    Name = 13,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::Lock,
        Kind::ReentrantLock,
        Kind::Semaphore,
        Kind::Event,
        Kind::Condition,
        Kind::Barrier,
        Kind::Queue,
        Kind::Buffer,
        Kind::Mutex,
        Kind::Job,
        Kind::Pool,
        Kind::Memory,
        Kind::Name,
    ];
}

/// The handle names nothing that lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

// Words of an entry.
const STATE: u64 = 0;
const IDENTITY: u64 = 8;
const EXTENSION: u64 = 16;
const LEASES: u64 = 24;
const BODY: u64 = 128;
/// A word of the body that names the block, where an object has one: see [`Kind`].
pub const BODY_BLOCK: u64 = 16;
/// The length that counts in that block.
pub const BODY_LEN: u64 = 24;

// The word STATE: two bits, two flags, then how often it was moved.
const LIVE: u64 = 1;
const DEAD: u64 = 2;
const LIFE: u64 = 3;
const TRAVELLED: u64 = 4;
const PINNED: u64 = 8;
const MOVE: u64 = 16;

// Four counts of 16 bits to a word; processes above the inline ones stand in the extension.
const INLINE: u32 = 32;
const COUNT_MAX: u64 = 0xffff;

fn at(handle: Handle) -> Off {
    handle.id.wrapping_mul(GRANULE)
}

/// Makes an object; `init` writes its body, with the offsets of entry and body. The calling process has one lease on it.
pub fn create<W: World>(
    world: &W,
    kind: Kind,
    init: impl FnOnce(Off, Off) -> Result<(), OutOfMemory>,
) -> Result<Handle, OutOfMemory> {
    let _section = Section::ObjectCreate.enter();
    let entry = reserve(world, kind)?;
    match init(entry, entry + BODY) {
        Ok(()) => Ok(publish(world, entry)),
        Err(error) => {
            destroy(world, entry);
            Err(error)
        }
    }
}

/// Takes an entry without publishing it: what [`create`] does before `init`. The caller owns it.
pub fn reserve<W: World>(world: &W, kind: Kind) -> Result<Off, OutOfMemory> {
    let _section = Section::ObjectCreate.enter();
    let process = world.my_process();
    let entry = heap::alloc(world, class::OBJECT)?;
    let generation = (world.load(entry + IDENTITY) >> 8) + 1;
    world.store(entry + IDENTITY, generation << 8 | kind as u64);
    for word in (EXTENSION..class::OBJECT_BYTES).step_by(8) {
        world.store(entry + word, 0);
    }
    heap::set_tag(world, entry, Tag::Owned(world.me(), Holds::Body));
    match add_lease(world, entry, process, 1) {
        Ok(()) => Ok(entry),
        Err(error) => {
            destroy(world, entry);
            Err(error)
        }
    }
}

/// Publishes a reserved entry: what [`create`] does after `init`.
pub fn publish<W: World>(world: &W, entry: Off) -> Handle {
    let _section = Section::ObjectCreate.enter();
    world.store(entry + STATE, world.load(entry + STATE) & !0xf | LIVE);
    let generation = world.load(entry + IDENTITY) >> 8;
    heap::set_tag(world, entry, Tag::Object { generation });
    Handle {
        id: entry / GRANULE,
        generation,
    }
}

/// Gives up a reserved entry.
pub fn abandon<W: World>(world: &W, entry: Off) {
    destroy(world, entry);
}

/// The body of a reserved entry.
pub fn body_of_reserved(entry: Off) -> Off {
    entry + BODY
}

/// The body of an object, if the handle names a live one of this kind.
pub fn body<W: World>(world: &W, handle: Handle, kind: Kind) -> Result<Off, Gone> {
    if kind_of(world, handle)? != kind {
        return Err(Gone);
    }
    Ok(at(handle) + BODY)
}

/// What the handle names, if it lives.
pub fn kind_of<W: World>(world: &W, handle: Handle) -> Result<Kind, Gone> {
    let entry = at(handle);
    if heap::class_of(world, entry) != Some(class::OBJECT) {
        return Err(Gone);
    }
    let identity = world.load(entry + IDENTITY);
    let kind = Kind::ALL
        .into_iter()
        .find(|&kind| kind as u64 == identity & 0xff);
    let generation = handle.generation;
    let lives = heap::tag(world, entry) == Tag::Object { generation }
        && world.load(entry + STATE) & LIFE == LIVE
        && identity >> 8 == generation;
    kind.filter(|_| lives).ok_or(Gone)
}

/// Why a lease was not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLease {
    /// The object is no more.
    Gone,
    /// There is no memory for the counts of so many processes.
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for NoLease {
    fn from(error: OutOfMemory) -> Self {
        NoLease::OutOfMemory(error)
    }
}

/// Gives a process a lease. The caller has a reference already: a lease, an edge, or a pin.
pub fn lease<W: World>(world: &W, handle: Handle, process: u32) -> Result<(), NoLease> {
    let _section = Section::ObjectLease.enter();
    kind_of(world, handle).map_err(|Gone| NoLease::Gone)?;
    add_lease(world, at(handle), process, 1)?;
    move_state(world, at(handle), 0);
    Ok(())
}

/// Takes a lease of a process away; the last one frees the object, if nothing else names it.
pub fn unlease<W: World>(world: &W, handle: Handle, process: u32) {
    let _section = Section::ObjectUnlease.enter();
    let Some(word) = lease_word(world, at(handle), process) else {
        return;
    };
    let shift = process % 4 * 16;
    loop {
        let seen = world.load(word);
        let count = seen >> shift & COUNT_MAX;
        // A count that reached the limit is not exact any more: it goes with the process.
        if count == 0 || count == COUNT_MAX {
            return;
        }
        if world.cas(word, seen, seen - (1 << shift)).is_ok() {
            if count == 1 {
                free_if_unused(world, handle);
            }
            return;
        }
    }
}

/// A job knows the one edge that names it.
pub(crate) fn note_ticket<W: World>(world: &W, handle: Handle, edge: Off) {
    let entry = at(handle);
    if is_job(world, entry) {
        world.store(entry + BODY + job::TICKET, edge);
    }
}

/// Notes that an edge names the object from now on.
pub(crate) fn travels<W: World>(world: &W, handle: Handle) {
    move_state(world, at(handle), TRAVELLED);
}

/// Whether something beside leases keeps the object, or did: a message that named it, or a pin.
pub fn has_travelled<W: World>(world: &W, handle: Handle) -> bool {
    world.load(at(handle) + STATE) & (TRAVELLED | PINNED) != 0
}

/// Keeps the object until the program ends: it was named where we can't see.
pub fn pin<W: World>(world: &W, handle: Handle) {
    let _section = Section::ObjectSend.enter();
    move_state(world, at(handle), PINNED);
}

/// Ends a pin, and frees the object if nothing else keeps it.
pub fn unpin<W: World>(world: &W, handle: Handle) {
    let _section = Section::ObjectSend.enter();
    let state = at(handle) + STATE;
    loop {
        // Read first: an entry that is used anew after this has moved.
        let seen = world.load(state);
        if kind_of(world, handle).is_err() {
            return;
        }
        let now = (seen & !PINNED).wrapping_add(MOVE);
        if world.cas(state, seen, now).is_ok() {
            return free_if_unused(world, handle);
        }
    }
}

fn move_state<W: World>(world: &W, entry: Off, flag: u64) {
    let mut seen = world.load(entry + STATE);
    while let Err(now) = world.cas(entry + STATE, seen, (seen | flag).wrapping_add(MOVE)) {
        seen = now;
    }
}

fn lease_word<W: World>(world: &W, entry: Off, process: u32) -> Option<Off> {
    if process < INLINE {
        return Some(entry + LEASES + process as u64 / 4 * 8);
    }
    match world.load(entry + EXTENSION) {
        0 => None,
        extension => Some(extension + process as u64 / 4 * 8),
    }
}

fn add_lease<W: World>(world: &W, entry: Off, process: u32, count: u64) -> Result<(), OutOfMemory> {
    let word = match lease_word(world, entry, process) {
        Some(word) => word,
        None => extend(world, entry)? + process as u64 / 4 * 8,
    };
    let shift = process % 4 * 16;
    loop {
        let seen = world.load(word);
        let now = (seen >> shift & COUNT_MAX)
            .saturating_add(count)
            .min(COUNT_MAX);
        if world
            .cas(word, seen, seen & !(COUNT_MAX << shift) | now << shift)
            .is_ok()
        {
            return Ok(());
        }
    }
}

fn extend<W: World>(world: &W, entry: Off) -> Result<Off, OutOfMemory> {
    let bytes = world.layout().process_count * 2;
    let block = heap::alloc(world, class::LEASES)?;
    for word in 0..bytes / 8 {
        world.store(block + word * 8, 0);
    }
    let frame = Frame::enter(world);
    frame.announce(Intent::Put {
        word: entry + EXTENSION,
        block,
    });
    heap::set_tag(world, block, Tag::Shared(entry, Holds::Bytes));
    match world.cas(entry + EXTENSION, 0, block) {
        Ok(()) => Ok(block),
        Err(theirs) => {
            heap::set_tag(world, block, Tag::Owned(frame.me(), Holds::Bytes));
            frame.announce(Intent::None);
            heap::free(world, block);
            Ok(theirs)
        }
    }
}

fn count<W: World>(world: &W, entry: Off, process: u32) -> u64 {
    lease_word(world, entry, process)
        .map_or(0, |word| world.load(word) >> (process % 4 * 16) & COUNT_MAX)
}

fn has_lease<W: World>(world: &W, entry: Off) -> bool {
    let inline = (0..INLINE as u64 / 4).any(|word| world.load(entry + LEASES + word * 8) != 0);
    let extension = world.load(entry + EXTENSION);
    let words = world
        .load(crate::layout::header::PROCESSES_HIGH)
        .div_ceil(4);
    inline || extension != 0 && (0..words).any(|word| world.load(extension + word * 8) != 0)
}

fn has_edge<W: World>(world: &W, handle: Handle, state: u64) -> bool {
    let names = |edge, tag| {
        // One that is being made names nothing yet, whatever stands there.
        let made = matches!(
            tag,
            Tag::Owned(_, Holds::Edge) | Tag::Shared(_, Holds::Edge)
        );
        made && world.load(edge) == handle.id && world.load(edge + 8) == handle.generation
    };
    let entry = at(handle);
    if is_job(world, entry) {
        let edge = world.load(entry + BODY + job::TICKET);
        return heap::class_of(world, edge) == Some(class::EDGE)
            && names(edge, heap::tag(world, edge));
    }
    let mut found = false;
    if state & TRAVELLED != 0 {
        heap::walk_blocks_of(world, class::EDGE, |edge, tag| found |= names(edge, tag));
    }
    found
}

fn is_job<W: World>(world: &W, entry: Off) -> bool {
    world.load(entry + IDENTITY) & 0xff == Kind::Job as u64
}

/// The job of an entry that somebody keeps.
pub(crate) fn job_in<W: World>(world: &W, entry: Off) -> Option<Job> {
    if heap::class_of(world, entry) != Some(class::OBJECT) || !is_job(world, entry) {
        return None;
    }
    let block = world.load(entry + BODY + BODY_BLOCK);
    heap::class_of(world, block).map(|_| Job::at(block))
}

/// Whether a thread looks into this job. Asked when no edge is left through which another could begin to.
fn is_looked_into<W: World>(world: &W, entry: Off) -> bool {
    if !is_job(world, entry) {
        return false;
    }
    // Pairs with the fence of who begins to look, or ends: he sees the edge gone, or we see him.
    world.fence();
    let high = world.load(crate::layout::header::THREADS_HIGH);
    (0..high.min(world.layout().thread_count) as u32)
        .any(|slot| world.load(world.layout().thread(slot) + slot::word::JOB) == entry)
}

/// Frees the object if no lease, edge or pin, and no thread that looks into it, keeps it.
pub(crate) fn free_if_unused<W: World>(world: &W, handle: Handle) {
    let entry = at(handle);
    loop {
        let state = world.load(entry + STATE);
        if kind_of(world, handle).is_err()
            || state & PINNED != 0
            || has_lease(world, entry)
            || has_edge(world, handle, state)
            || is_looked_into(world, entry)
        {
            return;
        }
        if world
            .cas(entry + STATE, state, state & !LIFE | DEAD)
            .is_ok()
        {
            break;
        }
    }
    bury(world, handle);
}

/// Frees whatever object stands at this place, if nothing keeps it.
pub(crate) fn free_at<W: World>(world: &W, entry: Off) {
    if heap::class_of(world, entry) == Some(class::OBJECT)
        && let Tag::Object { generation } = heap::tag(world, entry)
    {
        let id = entry / GRANULE;
        free_if_unused(world, Handle { id, generation });
    }
}

/// Takes a dead object apart, if nobody else has begun to.
fn bury<W: World>(world: &W, handle: Handle) {
    let (entry, generation) = (at(handle), handle.generation);
    if world.load(entry + STATE) & LIFE == DEAD
        && heap::seize(world, entry, Tag::Object { generation })
    {
        destroy(world, entry);
    }
}

/// Takes an entry apart that the caller owns. Begun by one who died, it may be done again.
pub(crate) fn destroy<W: World>(world: &W, entry: Off) {
    let _section = Section::ObjectDestroy.enter();
    let body = entry + BODY;
    let free = |block: Off| {
        if heap::class_of(world, block).is_none() {
            return;
        }
        if let Tag::Shared(parent, holds) = heap::tag(world, block)
            && parent == entry
            && heap::seize(world, block, Tag::Shared(entry, holds))
        {
            heap::free(world, block);
        }
    };
    match world.load(entry + IDENTITY) & 0xff {
        kind if kind == Kind::Condition as u64 => {
            Condition(body).free_chunks(world, entry, free);
        }
        kind if kind == Kind::Job as u64 => {
            let block = world.load(body + BODY_BLOCK);
            if heap::class_of(world, block).is_some()
                && heap::tag(world, block) == Tag::Shared(entry, Holds::Body)
            {
                Job::at(block).take_apart(world);
                free(block);
            }
        }
        kind if kind == Kind::Queue as u64 || kind == Kind::Pool as u64 => {
            let block = world.load(body + BODY_BLOCK);
            if heap::class_of(world, block).is_some()
                && heap::tag(world, block) == Tag::Shared(entry, Holds::Body)
            {
                // Its error is the block's: it is freed while the block is still the entry's.
                if kind == Kind::Pool as u64 {
                    Pool::take_apart(world, body);
                }
                Queue::at(block).drain(world);
                free(block);
            }
        }
        kind if [Kind::Buffer, Kind::Mutex, Kind::Memory, Kind::Name]
            .map(|kind| kind as u64)
            .contains(&kind) =>
        {
            free(world.load(body + BODY_BLOCK));
        }
        _ => {}
    }
    free(world.load(entry + EXTENSION));
    let moved = world.load(entry + STATE) & !0xf;
    world.store(entry + STATE, moved.wrapping_add(MOVE));
    heap::free(world, entry);
}

/// Whether an entry in use is a buffer on which this process has a lease.
pub fn is_leased_buffer<W: World>(world: &W, entry: Off, process: u32) -> bool {
    world.load(entry + IDENTITY) & 0xff == Kind::Buffer as u64 && count(world, entry, process) > 0
}

/// Before a fork: the child's record gets a copy of the parent's leases.
pub fn inherit_leases<W: World>(world: &W, parent: u32, child: u32) -> Result<(), OutOfMemory> {
    let _section = Section::ObjectLease.enter();
    let mut result = Ok(());
    heap::walk_blocks_of(world, class::OBJECT, |entry, tag| {
        let count = if matches!(tag, Tag::Object { .. }) {
            count(world, entry, parent)
        } else {
            0
        };
        if count > 0 && result.is_ok() {
            result = add_lease(world, entry, child, count);
            move_state(world, entry, 0);
        }
    });
    result
}

/// Takes away all leases of a process that is gone, and frees what nobody needs any more.
pub fn drop_leases<W: World>(world: &W, process: u32) {
    let _section = Section::RecordVacate.enter();
    let shift = process % 4 * 16;
    heap::walk_blocks_of(world, class::OBJECT, |entry, tag| {
        if !matches!(tag, Tag::Object { .. }) {
            return;
        }
        let Some(word) = lease_word(world, entry, process) else {
            return;
        };
        let mut seen = world.load(word);
        while seen >> shift & COUNT_MAX != 0 {
            match world.cas(word, seen, seen & !(COUNT_MAX << shift)) {
                Ok(()) => break,
                Err(now) => seen = now,
            }
        }
    });
    sweep(world);
}

/// Looks at every object: is it still needed? Finishes what the dead left half-done.
pub fn sweep<W: World>(world: &W) {
    let _section = Section::Recovery.enter();
    heap::walk_blocks_of(world, class::OBJECT, |entry, tag| {
        if let Tag::Object { generation } = tag {
            let handle = Handle {
                id: entry / GRANULE,
                generation,
            };
            free_if_unused(world, handle);
            bury(world, handle);
        }
    });
}

/// Settles what a dead thread held: its locks break, its turn to be notified passes on.
pub(crate) fn settle_holds<W: World>(world: &W, dead: crate::world::Owner) {
    heap::walk_blocks_of(world, class::OBJECT, |entry, tag| {
        if !matches!(tag, Tag::Object { .. }) {
            return;
        }
        let body = entry + BODY;
        match world.load(entry + IDENTITY) & 0xff {
            kind if kind == Kind::Lock as u64
                || kind == Kind::ReentrantLock as u64
                || kind == Kind::Mutex as u64 =>
            {
                Lock(body).break_held_by(world, dead);
            }
            kind if kind == Kind::Condition as u64 => Condition(body).recover(world, dead.slot),
            kind if kind == Kind::Barrier as u64 => Barrier(body).break_action_of(world, dead.slot),
            _ => {}
        }
    });
}
