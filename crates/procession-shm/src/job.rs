//! A job: a call that is made once or many times, each run of it an *element* with a cell of its own.
//!
//! *Idea*: the claim stands in the element's own cell, with its owner, and the result replaces it there; so what
//! was not begun is anybody's, and a death costs the one element that was running. *Invariant*: before a thread
//! claims a cell its slot's word `RUNS` names it. *On a death*: the recoverer turns the cell that `RUNS` names to
//! *lost*, if it is claimed by that slot. States and deaths: README.md of this crate.

use crate::heap::{self, OutOfMemory};
use crate::layout::GRANULE;
use crate::message::{self, Message};
use crate::object::{self, Gone, Handle, Kind};
use crate::process;
use crate::section::Section;
use crate::slot::{self, Frame, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Interrupted, Off, Owner, Wake, World};

/// Word of the object's body that names the edge of the job's ticket.
pub(crate) const TICKET: u64 = 8;

/// Results of up to so many bytes stand in the cell itself.
pub const INLINE: usize = 16;

// Words of the job's block.
const COUNT: u64 = 0;
const CURSOR: u64 = 8;
const CALL: u64 = 16;
const SETTLED_AT: u64 = 24;
const ASKS: u64 = 32;
const CELLS: u64 = 64;

// A cell: state, kind and length, 16 bytes.
const CELL_BYTES: u64 = 32;
const HEAD: u64 = 8;
const PAYLOAD: u64 = 16;

// The state word of a cell, laid out as that of a queue's cell: what names a block names it in the same bits.
const CODE: u64 = 7;
const FREE: u64 = 0;
const BEGUN: u64 = 1;
const DONE_INLINE: u64 = 2;
const LOST: u64 = 3;
const DONE_BLOCK: u64 = 4;
const WAITED: u64 = 8;
const SLOT: u32 = 38;

/// What is known of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nobody has begun it.
    Free,
    /// The thread of this slot runs it.
    Begun {
        /// The slot.
        slot: u32,
    },
    /// It is done; its result stood in the cell.
    Inline {
        /// The kind that the worker gave it.
        kind: u8,
        /// Its bytes are the first `len` of these.
        bytes: [u8; INLINE],
        /// How many bytes.
        len: u8,
    },
    /// It is done; its result is a message in this block.
    Block(Off),
    /// The thread that ran it died first.
    Lost {
        /// The process id of its process.
        pid: u32,
        /// The exit code of its process, if it was known then.
        exit: Option<i32>,
    },
}

/// What a wait for an element found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// It is done, or lost.
    Settled,
    /// It is not, and never will be.
    Over,
    /// It is not, and the time is over.
    TimedOut,
}

/// The job whose block is at an offset of the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job(Off);

impl Job {
    /// The job that a handle names.
    pub fn of<W: World>(world: &W, handle: Handle) -> Result<Self, Gone> {
        let body = object::body(world, handle, Kind::Job)?;
        let block = world.load(body + object::BODY_BLOCK);
        if heap::class_of(world, block).is_none() {
            return Err(Gone);
        }
        Ok(Self(block))
    }

    /// Makes a job object of `count` elements; the calling process has one lease on it. The message, which the caller
    /// owns, is its call. `asks`: the pool's gate for settled elements is notified of each.
    pub fn create<W: World>(
        world: &W,
        count: u64,
        asks: bool,
        call: Message<'_, W>,
    ) -> Result<Handle, OutOfMemory> {
        let bytes = count
            .checked_mul(CELL_BYTES)
            .and_then(|cells| cells.checked_add(CELLS));
        let bytes = bytes.ok_or(OutOfMemory { wanted: u64::MAX })?;
        object::create(world, Kind::Job, |entry, body| {
            let block = heap::alloc_len(world, bytes)?;
            for word in (0..CELLS).step_by(8) {
                world.store(block + word, 0);
            }
            for index in 0..count {
                world.store(block + CELLS + index * CELL_BYTES, FREE);
            }
            world.store(block + COUNT, count);
            world.store(block + ASKS, asks as u64);
            // Top down, so that at each moment what is SHARED can be found from what is OWNED.
            heap::set_tag(world, block, Tag::Owned(world.me(), Holds::Body));
            world.store(body + object::BODY_BLOCK, block);
            heap::set_tag(world, block, Tag::Shared(entry, Holds::Body));
            let call = call.into_block();
            world.store(block + CALL, call);
            heap::set_tag(world, call, Tag::Shared(block, Holds::Message));
            Ok(())
        })
    }

    /// How many elements it has.
    pub fn count<W: World>(self, world: &W) -> u64 {
        // Bounded, whatever stands there: each element is looked up in the block.
        let room = heap::capacity(world, self.0).saturating_sub(CELLS) / CELL_BYTES;
        world.load(self.0 + COUNT).min(room)
    }

    /// The message that says what to call. It stays the job's.
    pub fn call<W: World>(self, world: &W) -> Lent<'_, W> {
        Lent::new(world, world.load(self.0 + CALL))
    }

    /// When an element was settled last, in nanoseconds of [`World::now`], if the job asks for it; 0 before.
    pub fn settled_at<W: World>(self, world: &W) -> u64 {
        world.load(self.0 + SETTLED_AT)
    }

    fn has_cell<W: World>(self, world: &W, cell: Off) -> bool {
        let first = self.0 + CELLS;
        cell >= first
            && cell < first + self.count(world) * CELL_BYTES
            && (cell - first).is_multiple_of(CELL_BYTES)
    }

    fn cell(self, index: u64) -> Off {
        self.0 + CELLS + index * CELL_BYTES
    }

    /// Claims an element for the calling thread, if one is free.
    pub(crate) fn claim<W: World>(self, world: &W) -> Option<u64> {
        let me = world.me();
        let runs = world.layout().thread(me.slot) + slot::word::RUNS;
        let count = self.count(world);
        let mut index = world.load(self.0 + CURSOR);
        while index < count {
            let cell = self.cell(index);
            let seen = world.load(cell);
            if seen & CODE != FREE {
                index += 1;
                continue;
            }
            world.store(runs, cell);
            let begun = BEGUN | (me.slot as u64) << SLOT | seen & WAITED;
            if world.cas(cell, seen, begun).is_ok() {
                if world.load(self.0 + CURSOR) <= index {
                    world.store(self.0 + CURSOR, index + 1);
                }
                return Some(index);
            }
            world.store(runs, 0);
        }
        None
    }

    /// Whether no element is free any more.
    pub(crate) fn is_exhausted<W: World>(self, world: &W) -> bool {
        let count = self.count(world);
        (world.load(self.0 + CURSOR)..count)
            .all(|index| world.load(self.cell(index)) & CODE != FREE)
    }

    /// Settles an element that the calling thread has claimed, with up to [`INLINE`] bytes. False if it has not claimed
    /// it: in a process forked amid the element, which is its parent's.
    pub(crate) fn settle_inline<W: World>(
        self,
        world: &W,
        index: u64,
        kind: u8,
        bytes: &[u8],
    ) -> bool {
        let cell = self.cell(index);
        let mine = is_mine(world, cell);
        if mine {
            world.store(cell + HEAD, bytes.len() as u64 | (kind as u64) << 32);
            world.write(cell + PAYLOAD, bytes);
            self.settle(world, cell, DONE_INLINE);
        }
        mine
    }

    /// Settles an element that the calling thread has claimed, with a message that it owns; false as above.
    pub(crate) fn settle_message<W: World>(
        self,
        world: &W,
        index: u64,
        message: Message<'_, W>,
    ) -> bool {
        let cell = self.cell(index);
        let mine = is_mine(world, cell);
        if mine {
            let frame = Frame::enter(world);
            let block = message.into_block();
            frame.announce(Intent::Put { word: cell, block });
            heap::set_tag(world, block, Tag::Shared(self.0, Holds::Message));
            self.settle(world, cell, DONE_BLOCK | (block / GRANULE) << 4);
        }
        mine
    }

    /// Gives up an element that the calling thread has claimed; false as above.
    pub(crate) fn settle_lost<W: World>(
        self,
        world: &W,
        index: u64,
        pid: u32,
        exit: Option<i32>,
    ) -> bool {
        let cell = self.cell(index);
        let mine = is_mine(world, cell);
        if mine {
            note_loss(world, cell, pid, exit.map_or(0, process::exit_word));
            self.settle(world, cell, LOST);
        }
        mine
    }

    fn settle<W: World>(self, world: &W, cell: Off, settled: u64) {
        self.note_time(world);
        let me = world.me().slot;
        change(world, cell, me, settled);
        world.store(world.layout().thread(me) + slot::word::RUNS, 0);
    }

    fn note_time<W: World>(self, world: &W) {
        if self.asks(world) {
            world.store(self.0 + SETTLED_AT, world.now());
        }
    }

    /// Whether the pool's gate is to be notified of each element.
    pub(crate) fn asks<W: World>(self, world: &W) -> bool {
        world.load(self.0 + ASKS) != 0
    }

    /// What is known of an element.
    pub fn outcome<W: World>(self, world: &W, index: u64) -> Outcome {
        let cell = self.cell(index);
        let word = world.load(cell);
        match word & CODE {
            FREE => Outcome::Free,
            BEGUN => Outcome::Begun {
                slot: (word >> SLOT) as u32,
            },
            DONE_INLINE => {
                let head = world.load(cell + HEAD);
                let mut bytes = [0; INLINE];
                world.read(cell + PAYLOAD, &mut bytes);
                Outcome::Inline {
                    kind: (head >> 32) as u8,
                    bytes,
                    len: (head as u32).min(INLINE as u32) as u8,
                }
            }
            DONE_BLOCK => Outcome::Block(block_of(word)),
            _ => Outcome::Lost {
                pid: world.load(cell + HEAD) as u32,
                exit: process::exit_code(world.load(cell + PAYLOAD)),
            },
        }
    }

    /// The message of an element that is done. It stays the job's.
    pub fn result<W: World>(self, world: &W, block: Off) -> Lent<'_, W> {
        Lent::new(world, block)
    }

    /// Whether an element is done or lost. That of a killed thread is lost from now on: nobody waits for its recoverer.
    #[inline]
    pub fn is_settled<W: World>(self, world: &W, index: u64) -> bool {
        let cell = self.cell(index);
        let seen = world.load(cell);
        match seen & CODE {
            FREE => false,
            BEGUN => self.lose_if_killed(world, cell, (seen >> SLOT) as u32),
            _ => true,
        }
    }

    fn lose_if_killed<W: World>(self, world: &W, cell: Off, slot: u32) -> bool {
        let _section = Section::TaskWait.enter();
        // Marked so: before that nobody has noted how its process ended, and whoever sleeps notices the death himself.
        let at = world.layout().thread(slot) + slot::word::STATE;
        let killed = slot::state(world.load(at)).1 == slot::State::Killed;
        killed && self.lose(world, cell, slot)
    }

    /// An element that the dead thread of this slot has begun is lost. Its recoverer calls it, and whoever looks for the
    /// element: each writes the same, or what is known by then. Says whether it is.
    fn lose<W: World>(self, world: &W, cell: Off, slot: u32) -> bool {
        let noted = world.load(cell + PAYLOAD);
        let index = world.load(world.layout().thread(slot) + slot::word::PROCESS);
        let (mut pid, mut exit) = (0, 0);
        if index < world.layout().process_count {
            let record = world.layout().process(index as u32);
            pid = world.load(record + process::word::PID);
            exit = world.load(record + process::word::EXIT);
        }
        // Until it is lost nobody takes the slot anew, and what was read is the dead one's.
        if !is_begun_by(world.load(cell), slot) {
            return true;
        }
        world.store(cell + HEAD, pid);
        // Not over what another noted since.
        let _ = world.cas(cell + PAYLOAD, noted, exit);
        self.note_time(world);
        change(world, cell, slot, LOST);
        true
    }

    /// The last element before `end` that is not settled.
    pub fn last_unsettled<W: World>(self, world: &W, end: u64) -> Option<u64> {
        (0..end).rev().find(|&index| !self.is_settled(world, index))
    }

    /// Waits until an element is settled, until `until` at most. `over` says that it never will be; when that
    /// begins to be true it is told as a death is.
    pub fn wait<W: World>(
        self,
        world: &W,
        index: u64,
        until: Option<u64>,
        over: impl Fn() -> bool,
    ) -> Result<Waited, Interrupted> {
        let _section = Section::TaskWait.enter();
        let cell = self.cell(index);
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            // Asked first: what was settled before the end is found after it.
            let ended = over();
            if self.is_settled(world, index) {
                return Ok(Waited::Settled);
            }
            let seen = world.load(cell);
            if ended {
                return Ok(Waited::Over);
            }
            if late {
                return Ok(Waited::TimedOut);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            if !matches!(seen & CODE, FREE | BEGUN)
                || seen & WAITED == 0 && world.cas(cell, seen, seen | WAITED).is_err()
            {
                continue;
            }
            match world.wait(cell, (seen | WAITED) as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// Takes apart what hangs below the block, which is the caller's own. Begun by one who died, it may be done again.
    pub(crate) fn take_apart<W: World>(self, world: &W) {
        let free = |block: Off| {
            let ours = Tag::Shared(self.0, Holds::Message);
            if heap::class_of(world, block).is_some()
                && heap::tag(world, block) == ours
                && heap::seize(world, block, ours)
            {
                message::free_tree(world, block);
            }
        };
        free(world.load(self.0 + CALL));
        for index in 0..self.count(world) {
            let word = world.load(self.cell(index));
            if word & CODE == DONE_BLOCK {
                free(block_of(word));
            }
        }
    }

    /// The job in a block that is being taken apart.
    pub(crate) const fn at(block: Off) -> Self {
        Self(block)
    }
}

fn block_of(word: u64) -> Off {
    (word >> 4 & ((1 << 34) - 1)) * GRANULE
}

fn note_loss<W: World>(world: &W, cell: Off, pid: u32, exit_word: u64) {
    world.store(cell + HEAD, pid as u64);
    world.store(cell + PAYLOAD, exit_word);
}

/// Whether the calling thread runs the element of this cell.
fn is_mine<W: World>(world: &W, cell: Off) -> bool {
    let me = world.me().slot;
    is_begun_by(world.load(cell), me)
        && world.load(world.layout().thread(me) + slot::word::RUNS) == cell
}

fn is_begun_by(word: u64, slot: u32) -> bool {
    word & CODE == BEGUN && (word >> SLOT) as u32 == slot
}

/// Changes a cell that this slot has begun to what is settled, and wakes those who wait for it.
fn change<W: World>(world: &W, cell: Off, slot: u32, settled: u64) {
    let mut seen = world.load(cell);
    loop {
        if !is_begun_by(seen, slot) {
            return;
        }
        match world.cas(cell, seen, settled) {
            Ok(()) => break,
            Err(now) => seen = now,
        }
    }
    if seen & WAITED != 0 {
        world.wake(cell, u32::MAX);
    }
}

/// The element that a dead thread ran is lost, and it looks into no job any more. For the recovery of its slot.
pub(crate) fn lose_run<W: World>(world: &W, dead: Owner) {
    let at = world.layout().thread(dead.slot);
    let (cell, entry) = (
        world.load(at + slot::word::RUNS),
        world.load(at + slot::word::JOB),
    );
    // While its slot names the job, what it ran is in the job's block still.
    if let Some(job) = object::job_in(world, entry).filter(|job| job.has_cell(world, cell))
        && is_begun_by(world.load(cell), dead.slot)
    {
        job.lose(world, cell, dead.slot);
    }
    world.store(at + slot::word::RUNS, 0);
    // The sweep of this recovery looks whether anybody needs the job.
    world.store(at + slot::word::JOB, 0);
    world.fence();
}

/// Whether the thread of a slot runs an element that it has not settled.
pub fn is_running<W: World>(world: &W, slot: u32) -> bool {
    let at = world.layout().thread(slot);
    let (cell, entry) = (
        world.load(at + slot::word::RUNS),
        world.load(at + slot::word::JOB),
    );
    object::job_in(world, entry).is_some_and(|job| job.has_cell(world, cell))
        && is_begun_by(world.load(cell), slot)
}

/// Whether the calling thread looks into a job.
pub(crate) fn looks_into_one<W: World>(world: &W) -> bool {
    world.load(world.layout().thread(world.me().slot) + slot::word::JOB) != 0
}

/// The calling thread, whose word `JOB` is at this place, looks into a job no more.
fn look_away<W: World>(world: &W, at: Off) {
    let _section = Section::TaskLeave.enter();
    let entry = world.swap(at, 0);
    // Pairs with the fence of who found no other reference and saw us: one of us frees it.
    world.fence();
    object::free_at(world, entry);
}

/// A job that the calling thread looks into: it lives as long as that is said in the thread's slot.
pub struct Held<'w, W: World> {
    world: &'w W,
    me: Owner,
    handle: Handle,
    job: Job,
}

impl<'w, W: World> Held<'w, W> {
    /// Looks into a job that something names, which the caller asks anew: `named` says whether it does still.
    /// `None` if not. The thread looks into no other.
    pub(crate) fn new(world: &'w W, handle: Handle, named: impl FnOnce() -> bool) -> Option<Self> {
        let _section = Section::TaskTake.enter();
        let me = world.me();
        let at = world.layout().thread(me.slot) + slot::word::JOB;
        world.store(at, handle.id.wrapping_mul(GRANULE));
        // Pairs with the fence of who frees the job: he sees us, or we see that it is not named any more.
        world.fence();
        let job = if named() {
            Job::of(world, handle).ok()
        } else {
            None
        };
        if let Some(job) = job {
            return Some(Self {
                world,
                me,
                handle,
                job,
            });
        }
        // By now the place may be another job's, which we have kept as well.
        look_away(world, at);
        None
    }

    /// The job.
    pub fn job(&self) -> Job {
        self.job
    }

    /// Its handle.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Whether the calling thread is the one that looks into it: not so in a process forked since.
    pub fn is_mine(&self) -> bool {
        self.world.me() == self.me
    }
}

impl<W: World> Drop for Held<'_, W> {
    fn drop(&mut self) {
        if self.is_mine() {
            let slot = self.world.layout().thread(self.me.slot);
            look_away(self.world, slot + slot::word::JOB);
        }
    }
}

/// A message that belongs to a job, read in place by who has a lease on the job.
pub struct Lent<'w, W: World>(core::mem::ManuallyDrop<Message<'w, W>>);

impl<'w, W: World> Lent<'w, W> {
    pub(crate) fn new(world: &'w W, block: Off) -> Self {
        Self(core::mem::ManuallyDrop::new(Message::from_block(
            world, block,
        )))
    }
}

impl<'w, W: World> core::ops::Deref for Lent<'w, W> {
    type Target = Message<'w, W>;

    fn deref(&self) -> &Message<'w, W> {
        &self.0
    }
}
