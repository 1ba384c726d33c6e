//! A condition: who waits, in order of arrival, each with a record of his own.
//!
//! *Idea*: one cell a waiter (compare the waiter lists of Rust's parking_lot), claimed by CAS and numbered by a ticket;
//! `notify(n)` marks the n oldest that live. *Invariant*: a wait that says "notified" had its own mark, so
//! notify(1) lets exactly one go. *On a death*: a waiting record of a killed thread is skipped and
//! freed; the mark of one that died before it used it passes to the next.
//!
//! The cells stand in chunks, linked as more waiters come: word 0 of a chunk is the next chunk.
//! The condition itself is three words: first chunk, next ticket, the object that owns the chunks.

use crate::heap::{self, OutOfMemory};
use crate::section::Section;
use crate::slot::{Frame, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Fate, Interrupted, Off, Owner, Wake, World};

const CHUNK_BYTES: u64 = 256;
// A cell is two words: state and ticket, then the owner, written before the state.
const CELLS: u64 = (CHUNK_BYTES - 16) / 16;

const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const WAITING: u64 = 2;
const NOTIFIED: u64 = 3;
const STATE: u64 = 3;
const TICKET: u32 = 24;
const SLOT: u32 = 4;
const SLOT_MASK: u64 = (1 << 20) - 1;

/// The condition at an offset of the arena.
#[derive(Clone, Copy)]
pub struct Condition(pub Off);

/// A waiter's own record.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    cell: Off,
    word: u64,
}

impl Condition {
    /// Writes a condition that nobody shares yet, a part of `object`.
    pub fn init<W: World>(self, world: &W, object: Off) -> Result<(), OutOfMemory> {
        world.store(self.0, 0);
        world.store(self.0 + 8, 0);
        world.store(self.0 + 16, object);
        let chunk = new_chunk(world)?;
        world.store(self.0, chunk);
        heap::set_tag(world, chunk, Tag::Shared(object, Holds::Bytes));
        Ok(())
    }

    /// Calls `visit` with each chunk that is `object`'s. Recoverers also look at conditions that
    /// are taken apart meanwhile: they follow no link out of memory that is somebody else's by now.
    fn chunks<W: World>(self, world: &W, object: Off, mut visit: impl FnMut(Off)) {
        let ours = |chunk| {
            heap::class_of(world, chunk).is_some()
                && heap::tag(world, chunk) == Tag::Shared(object, Holds::Bytes)
        };
        let mut chunk = world.load(self.0);
        while ours(chunk) {
            visit(chunk);
            chunk = world.load(chunk);
        }
    }

    /// Calls `free` with each chunk, the last one first, so that what is left can be found if the
    /// caller dies. For the end of the object.
    pub(crate) fn free_chunks<W: World>(self, world: &W, object: Off, free: impl Fn(Off)) {
        loop {
            let mut last = None;
            self.chunks(world, object, |chunk| last = Some(chunk));
            let Some(last) = last else { return };
            free(last);
        }
    }

    /// Enters the calling thread as a waiter, the youngest. Call it with the lock held, then
    /// release the lock, then [`wait`](Self::wait).
    pub fn enter<W: World>(self, world: &W) -> Result<Record, OutOfMemory> {
        let _section = Section::ConditionWait.enter();
        let me = world.me();
        let ticket = world.add(self.0 + 8, 1);
        let claimed = CLAIMED | (me.slot as u64) << SLOT;
        let word = WAITING | (me.slot as u64) << SLOT | ticket << TICKET;
        let mut link = self.0;
        loop {
            let mut chunk = world.load(link);
            if chunk == 0 {
                chunk = self.extend(world, link)?;
            }
            for n in 0..CELLS {
                let cell = chunk + 16 + n * 16;
                if world.load(cell) == FREE && world.cas(cell, FREE, claimed).is_ok() {
                    world.store(cell + 8, me.to_bits());
                    world.store(cell, word);
                    return Ok(Record { cell, word });
                }
            }
            link = chunk;
        }
    }

    fn extend<W: World>(self, world: &W, link: Off) -> Result<Off, OutOfMemory> {
        let object = world.load(self.0 + 16);
        let chunk = new_chunk(world)?;
        let frame = Frame::enter(world);
        frame.announce(Intent::Put {
            word: link,
            block: chunk,
        });
        heap::set_tag(world, chunk, Tag::Shared(object, Holds::Bytes));
        match world.cas(link, 0, chunk) {
            Ok(()) => Ok(chunk),
            Err(theirs) => {
                heap::set_tag(world, chunk, Tag::Owned(frame.me(), Holds::Bytes));
                frame.announce(Intent::None);
                heap::free(world, chunk);
                Ok(theirs)
            }
        }
    }

    /// Sleeps until the record is marked: `true`; or the time is over: `false`, unless the mark
    /// came first. On a signal the record stays: call again, or [`leave`](Self::leave).
    pub fn wait<W: World>(
        self,
        world: &W,
        record: Record,
        until: Option<u64>,
    ) -> Result<bool, Interrupted> {
        let _section = Section::ConditionWait.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            if world.load(record.cell) != record.word {
                world.store(record.cell, FREE);
                return Ok(true);
            }
            if late {
                return Ok(!self.withdraw(world, record));
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            self.pass_on(world);
            match world.wait(record.cell, record.word as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// Frees the record; `false` if it was marked before, which this wait then has used up.
    fn withdraw<W: World>(self, world: &W, record: Record) -> bool {
        let withdrawn = world.cas(record.cell, record.word, FREE).is_ok();
        if !withdrawn {
            world.store(record.cell, FREE);
        }
        withdrawn
    }

    /// Gives up waiting for good, because of an exception: a mark that came already passes on.
    pub fn leave<W: World>(self, world: &W, record: Record) {
        let _section = Section::ConditionWait.enter();
        if !self.withdraw(world, record) {
            self.notify(world, 1);
        }
    }

    /// Lets up to `count` of the oldest waiters that live go; says how many. Never waits.
    pub fn notify<W: World>(self, world: &W, count: u64) -> u64 {
        let _section = Section::ConditionNotify.enter();
        let mut notified = 0;
        while notified < count {
            let Some((cell, word)) = self.oldest(world) else {
                break;
            };
            let marked = word & !STATE | NOTIFIED;
            let owner = Owner::from_bits(world.load(cell + 8));
            if world.fate(owner) == Fate::Killed {
                let _ = world.cas(cell, word, FREE);
            } else if world.cas(cell, word, marked).is_ok() {
                world.wake(cell, 1);
                notified += 1;
            }
        }
        notified
    }

    /// The waiting record with the lowest ticket.
    fn oldest<W: World>(self, world: &W) -> Option<(Off, u64)> {
        let mut oldest = None;
        self.cells(world, |cell, word| {
            if word & STATE == WAITING
                && oldest.is_none_or(|(_, old): (Off, u64)| word >> TICKET < old >> TICKET)
            {
                oldest = Some((cell, word));
            }
        });
        oldest
    }

    /// Whether anybody waits.
    pub fn has_waiters<W: World>(self, world: &W) -> bool {
        self.oldest(world).is_some()
    }

    /// How many wait and live.
    pub fn waiters<W: World>(self, world: &W) -> u64 {
        let mut count = 0;
        self.cells(world, |cell, word| {
            let owner = Owner::from_bits(world.load(cell + 8));
            count += u64::from(word & STATE == WAITING && world.fate(owner) != Fate::Killed);
        });
        count
    }

    fn cells<W: World>(self, world: &W, mut visit: impl FnMut(Off, u64)) {
        let object = world.load(self.0 + 16);
        self.chunks(world, object, |chunk| {
            for n in 0..CELLS {
                let cell = chunk + 16 + n * 16;
                visit(cell, world.load(cell));
            }
        });
    }

    /// Marks of killed threads that had not used them let the next one go.
    fn pass_on<W: World>(self, world: &W) {
        self.cells(world, |cell, word| {
            let slot = (word >> SLOT & SLOT_MASK) as u32;
            if word & STATE == NOTIFIED && world.is_killed(slot) {
                self.notify(world, 1);
                let _ = world.cas(cell, word, FREE);
            }
        });
    }

    /// Frees the records of a dead thread; a mark that it had not used passes on. For the
    /// recovery of its slot. Done twice it may let one more go, never one fewer.
    pub fn recover<W: World>(self, world: &W, slot: u32) {
        self.cells(world, |cell, mut word| {
            while word & STATE != FREE && word >> SLOT & SLOT_MASK == slot as u64 {
                if word & STATE == NOTIFIED {
                    self.notify(world, 1);
                }
                // Marked just now, by one who saw it alive: that mark passes on, too.
                match world.cas(cell, word, FREE) {
                    Ok(()) => break,
                    Err(now) => word = now,
                }
            }
        });
    }
}

fn new_chunk<W: World>(world: &W) -> Result<Off, OutOfMemory> {
    let chunk = heap::alloc_len(world, CHUNK_BYTES)?;
    for word in 0..CHUNK_BYTES / 8 {
        world.store(chunk + word * 8, 0);
    }
    Ok(chunk)
}
