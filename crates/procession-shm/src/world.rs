//! `World`: all that the structures know of the machine.
//!
//! Memory is a row of 64-bit words named by byte offsets ([`Off`]). The code that ships
//! instantiates the structures with the arena; tests and model checkers with worlds of their own.

/// A byte offset into the arena. Zero names nothing.
pub type Off = u64;

/// One thread of one process, for as long as the program lives: slot index and generation.
///
/// ```
/// use procession_shm::Owner;
/// let owner = Owner { slot: 3, generation: 7 };
/// assert_eq!(Owner::from_bits(owner.to_bits()), owner);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Index of the thread slot, less than 2^20.
    pub slot: u32,
    /// How often the slot had been taken when this thread took it, less than 2^40.
    pub generation: u64,
}

impl Owner {
    /// Who takes a process record before he has a thread slot: his process. Its [`World::fate`] is the process's.
    #[inline]
    pub const fn of_process(pid: u32) -> Self {
        Self {
            slot: Self::NO_SLOT,
            generation: pid as u64,
        }
    }

    /// The process id in what [`of_process`](Self::of_process) made; `None` if this is a thread with a slot.
    #[inline]
    pub const fn process(self) -> Option<u32> {
        if self.slot == Self::NO_SLOT {
            Some(self.generation as u32)
        } else {
            None
        }
    }

    /// Bits that an owner takes in a word.
    pub const BITS: u32 = 60;
    const SLOT_BITS: u32 = 20;
    /// The largest number of thread slots.
    pub const MAX_SLOTS: u32 = Self::NO_SLOT;
    const NO_SLOT: u32 = (1 << Self::SLOT_BITS) - 1;

    /// The owner as the low 60 bits of a word: slot below, generation above.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.slot as u64 | self.generation << Self::SLOT_BITS
    }

    /// The owner that [`to_bits`](Self::to_bits) made these bits from.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        let bits = bits & ((1 << Self::BITS) - 1);
        Self {
            slot: (bits & Self::NO_SLOT as u64) as u32,
            generation: bits >> Self::SLOT_BITS,
        }
    }
}

/// What became of an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It runs, or is stopped.
    Alive,
    /// It came to its end by itself.
    Ended,
    /// It ended without saying so: killed, crashed, or gone through `exec`.
    Killed,
}

/// Why [`World::wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Look again: the word has changed, somebody woke us, a death was told, a slice ended.
    Look,
    /// The time given is over.
    TimedOut,
    /// A signal came; its handler may want to run before we go on.
    Interrupted,
}

/// A signal came while the caller waited. Nothing has changed; call again to go on waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

/// Memory, time, waiting, and who lives.
///
/// Orders: [`load`](World::load) acquires and pairs with [`store`](World::store),
/// [`cas`](World::cas), [`swap`](World::swap) and [`add`](World::add), which release (the last
/// three acquire as well). Where two threads each write one word and then read the other's
/// there is a [`fence`](World::fence) between, on both sides.
pub trait World {
    /// Cells of a queue's segment.
    const SEGMENT_CELLS: u64 = 127;
    /// Frames of a thread slot: how deep signal handlers may nest operations.
    const FRAMES: u64 = 4;

    /// Reads a word; acquires.
    fn load(&self, at: Off) -> u64;
    /// Writes a word; releases.
    fn store(&self, at: Off, value: u64);
    /// Replaces `old` by `new`, or says what stands there.
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64>;
    /// Replaces a word and returns what stood there.
    fn swap(&self, at: Off, value: u64) -> u64;
    /// Adds, wrapping, and returns what stood there.
    fn add(&self, at: Off, value: u64) -> u64;
    /// A sequentially consistent fence.
    fn fence(&self);
    /// Copies bytes out of the arena.
    fn read(&self, at: Off, into: &mut [u8]);
    /// Copies bytes into the arena.
    fn write(&self, at: Off, from: &[u8]);
    /// Gives the pages of a range back; it reads as zeros afterwards.
    fn give_back(&self, at: Off, len: u64);

    /// The layout of this arena.
    fn layout(&self) -> &crate::layout::Layout;
    /// The calling thread. Takes a slot at first use.
    fn me(&self) -> Owner;
    /// The process record of the calling process.
    fn my_process(&self) -> u32;
    /// What became of `owner`. Never waits.
    fn fate(&self, owner: Owner) -> Fate;

    /// Whether the thread of this slot was killed and the slot not yet recovered. Never waits.
    fn is_killed(&self, slot: u32) -> bool;

    /// There is no room left: gives back what the dead had, where nobody has noticed yet that they are. Never allocates.
    fn take_from_the_dead(&self) {}

    /// Sleeps while the low half of the word is `expected`, at most until `until` (nanoseconds of
    /// [`now`](World::now)); may return early for any reason.
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake;
    /// Wakes up to `count` threads that sleep on the word; says how many.
    fn wake(&self, at: Off, count: u32) -> u32;
    /// Raises the death epoch and wakes every sleeper of the program.
    fn tell_death(&self);
    /// Monotonic time in nanoseconds.
    fn now(&self) -> u64;
    /// Called in turn before a thread goes to sleep: `true` if it shall look once more instead.
    fn spin(&self, round: u32) -> bool;
}
