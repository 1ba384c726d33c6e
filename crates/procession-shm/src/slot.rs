//! Thread slots: one for each thread that uses the arena, and the frames in it.
//!
//! A slot's `STATE` is its generation and what is known of it; whether the thread lives is told
//! by its life word, which belongs to the runtime (see [`World::fate`]).

use crate::world::{Off, Owner, World};

/// Words of a thread slot, as byte offsets into it.
pub mod word {
    /// Generation and [`State`](super::State).
    pub const STATE: u64 = 0;
    /// The process record of the thread's process.
    pub const PROCESS: u64 = 8;
    /// The kernel's ids of the thread and of its process, as [`Ids`](super::Ids).
    pub const IDS: u64 = 16;
    /// Frames in use.
    pub const DEPTH: u64 = 24;
    /// The cell of the element that the thread runs, or is about to claim; 0 if none. See [`crate::job`].
    pub const RUNS: u64 = 32;
    /// The entry of the job that the thread looks into, which keeps it; 0 if none.
    pub const JOB: u64 = 40;
    /// Not 0 if the thread's process exited by another thread, whatever this one was amid.
    pub const CUT_SHORT: u64 = 48;
    /// 64 bytes for the runtime's life word.
    pub const LIFE: u64 = 64;
    /// The frames, 32 bytes each.
    pub const FRAMES: u64 = 128;
}

/// What is known of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nobody's.
    Vacant,
    /// A thread took it and has not said that it ended.
    Live,
    /// Its thread said, as its last act, that it ends.
    Ended,
    /// Somebody saw that its thread died without a word; not recovered yet.
    Killed,
}

/// Splits the word `STATE`.
pub const fn state(word: u64) -> (u64, State) {
    let state = match word & 3 {
        0 => State::Vacant,
        1 => State::Live,
        2 => State::Ended,
        _ => State::Killed,
    };
    (word >> 2, state)
}

/// Makes the word `STATE`.
pub const fn state_word(generation: u64, state: State) -> u64 {
    generation << 2
        | match state {
            State::Vacant => 0,
            State::Live => 1,
            State::Ended => 2,
            State::Killed => 3,
        }
}

/// What the kernel calls a thread: the ids of its process and its own, each less than 2^30; 0 if not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

impl Ids {
    const BITS: u32 = 30;

    /// As a word of 60 bits.
    pub const fn to_bits(self) -> u64 {
        (self.pid as u64) << Self::BITS | self.tid as u64
    }

    /// Those that [`to_bits`](Self::to_bits) made these bits from.
    pub const fn from_bits(bits: u64) -> Self {
        let low = (1 << Self::BITS) - 1;
        Self {
            pid: (bits >> Self::BITS & low) as u32,
            tid: (bits & low) as u32,
        }
    }
}

/// The ids of a thread, as long as its slot is not another's.
pub fn ids<W: World>(world: &W, owner: Owner) -> Ids {
    let at = world.layout().thread(owner.slot);
    let ids = world.load(at + word::IDS);
    let (generation, _) = state(world.load(at + word::STATE));
    Ids::from_bits(if generation == owner.generation {
        ids
    } else {
        0
    })
}

/// What a thread announced before it touched a structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Nothing.
    None,
    /// To name a block in a word.
    Put {
        /// The word.
        word: Off,
        /// The block.
        block: Off,
    },
    /// To claim a cell.
    Claim {
        /// The cell's state word.
        word: Off,
    },
    /// To take what a cell holds; `block` is 0 if it holds it itself.
    Take {
        /// The cell's state word.
        word: Off,
        /// The block that the cell names.
        block: Off,
    },
}

/// The two segments that a frame can protect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hazard {
    /// The segment that is written or read.
    First = 0,
    /// Another one, walked through.
    Second = 8,
}

const OP: u64 = 16;
const BLOCK: u64 = 24;
const FRAME_BYTES: u64 = 32;

/// One frame of the calling thread, in use until it is dropped.
pub struct Frame<'w, W: World> {
    world: &'w W,
    at: Off,
    depth_at: Off,
    me: Owner,
}

impl<'w, W: World> Frame<'w, W> {
    /// Takes the next frame of the calling thread's slot.
    ///
    /// # Panics
    /// If signal handlers have nested operations deeper than there are frames; nothing was touched.
    #[inline]
    pub fn enter(world: &'w W) -> Self {
        let me = world.me();
        let slot = world.layout().thread(me.slot);
        let depth_at = slot + word::DEPTH;
        let depth = world.load(depth_at);
        assert!(
            depth < W::FRAMES,
            "operations nested more than {} deep by signal handlers",
            W::FRAMES
        );
        world.store(depth_at, depth + 1);
        Self {
            world,
            at: slot + word::FRAMES + depth * FRAME_BYTES,
            depth_at,
            me,
        }
    }

    /// The thread whose frame it is.
    #[inline]
    pub fn me(&self) -> Owner {
        self.me
    }

    /// Announces.
    #[inline]
    pub fn announce(&self, intent: Intent) {
        announce(self.world, self.at, intent);
    }

    /// Sets a hazard, or takes it back with 0, and fences: the caller then looks whether it came in
    /// time. Pairs with the fence of whoever moves the head and then looks for hazards.
    #[inline]
    pub fn set_hazard(&self, hazard: Hazard, segment: Off) {
        self.world.store(self.at + hazard as u64, segment);
        self.world.fence();
    }

    /// The segment that stands as this hazard, or 0.
    #[inline]
    pub fn hazard(&self, hazard: Hazard) -> Off {
        self.world.load(self.at + hazard as u64)
    }
}

impl<W: World> Drop for Frame<'_, W> {
    #[inline]
    fn drop(&mut self) {
        self.announce(Intent::None);
        self.world.store(self.at + Hazard::First as u64, 0);
        self.world.store(self.at + Hazard::Second as u64, 0);
        let depth = self.world.load(self.depth_at);
        self.world.store(self.depth_at, depth - 1);
    }
}

fn announce<W: World>(world: &W, frame: Off, intent: Intent) {
    let (op, block) = match intent {
        Intent::None => (0, 0),
        Intent::Put { word, block } => (word | 1, block),
        Intent::Claim { word } => (word | 2, 0),
        Intent::Take { word, block } => (word | 3, block),
    };
    // A recoverer must never see the word of one intent with the block of another.
    world.store(frame + OP, 0);
    if op != 0 {
        world.store(frame + BLOCK, block);
        world.store(frame + OP, op);
    }
}

/// The frames of any slot, as its recoverer and those who look for hazards see them.
pub struct Frames<'w, W: World> {
    world: &'w W,
    slot: Off,
}

impl<'w, W: World> Frames<'w, W> {
    /// The frames of slot number `slot`.
    pub fn of(world: &'w W, slot: u32) -> Self {
        Self {
            world,
            slot: world.layout().thread(slot),
        }
    }

    fn at(&self, frame: u64) -> Off {
        self.slot + word::FRAMES + frame * FRAME_BYTES
    }

    /// Whether any frame protects this segment.
    pub fn protect(&self, segment: Off) -> bool {
        (0..W::FRAMES).any(|frame| {
            self.world.load(self.at(frame)) == segment
                || self.world.load(self.at(frame) + 8) == segment
        })
    }

    /// What frame number `frame` announces.
    pub fn intent(&self, frame: u64) -> Intent {
        let op = self.world.load(self.at(frame) + OP);
        let block = self.world.load(self.at(frame) + BLOCK);
        let word = op & !7;
        match op & 7 {
            1 => Intent::Put { word, block },
            2 => Intent::Claim { word },
            3 => Intent::Take { word, block },
            _ => Intent::None,
        }
    }

    /// The segment that a frame protects first.
    pub fn hazard(&self, frame: u64, hazard: Hazard) -> Off {
        self.world.load(self.at(frame) + hazard as u64)
    }

    /// Clears a frame, intent first.
    pub fn clear(&self, frame: u64) {
        announce(self.world, self.at(frame), Intent::None);
        self.world.store(self.at(frame), 0);
        self.world.store(self.at(frame) + 8, 0);
    }

    /// Begins a recovery: the slot needs one until it is whole.
    pub fn begin_recovery(&self) {
        self.world.store(self.slot + word::DEPTH, W::FRAMES);
    }

    /// Ends a recovery: no frame is in use any more.
    pub fn end_recovery(&self) {
        self.world.store(self.slot + word::CUT_SHORT, 0);
        self.world.store(self.slot + word::DEPTH, 0);
    }
}
