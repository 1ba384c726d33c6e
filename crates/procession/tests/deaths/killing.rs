//! A world that kills or stops its own process at one of its steps.

use procession::arena::Arena;
use procession::shm::layout::Layout;
use procession::shm::{Fate, Off, Owner, Wake, World};
use std::cell::Cell;

/// The arena, up to the n-th step that others can notice: a store, a wait, a wake.
pub struct Killing {
    arena: &'static Arena,
    left: Cell<u32>,
    signal: i32,
    stamp: Option<Off>,
}

impl Killing {
    /// A world in which this process gets `signal` right before step number `step`.
    pub fn before(arena: &'static Arena, step: u32, signal: i32) -> Self {
        Self {
            arena,
            left: Cell::new(step),
            signal,
            stamp: None,
        }
    }

    /// The same, with a word that is told when the signal is sent.
    #[allow(dead_code, reason = "not each test asks when")]
    pub fn stamping(self, word: Off) -> Self {
        Self {
            stamp: Some(word),
            ..self
        }
    }

    fn step(&self) {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if left == 1 {
            if let Some(word) = self.stamp {
                self.arena.store(word, self.arena.now());
            }
            // SAFETY: a signal to oneself.
            unsafe { libc::kill(libc::getpid(), self.signal) };
        }
    }
}

impl World for Killing {
    const SEGMENT_CELLS: u64 = <Arena as World>::SEGMENT_CELLS;
    const FRAMES: u64 = <Arena as World>::FRAMES;

    fn load(&self, at: Off) -> u64 {
        self.arena.load(at)
    }
    fn store(&self, at: Off, value: u64) {
        self.step();
        self.arena.store(at, value);
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        self.step();
        self.arena.cas(at, old, new)
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        self.step();
        self.arena.swap(at, value)
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        self.step();
        self.arena.add(at, value)
    }
    fn fence(&self) {
        self.arena.fence();
    }
    fn read(&self, at: Off, into: &mut [u8]) {
        self.arena.read(at, into);
    }
    fn write(&self, at: Off, from: &[u8]) {
        // Half of it is written when the end comes.
        let (first, second) = from.split_at(from.len() / 2);
        self.arena.write(at, first);
        self.step();
        self.arena.write(at + first.len() as u64, second);
    }
    fn give_back(&self, at: Off, len: u64) {
        self.step();
        self.arena.give_back(at, len);
    }
    fn layout(&self) -> &Layout {
        self.arena.layout()
    }
    fn me(&self) -> Owner {
        self.arena.me()
    }
    fn my_process(&self) -> u32 {
        self.arena.my_process()
    }
    fn fate(&self, owner: Owner) -> Fate {
        self.arena.fate(owner)
    }
    fn is_killed(&self, slot: u32) -> bool {
        self.arena.is_killed(slot)
    }
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake {
        self.step();
        self.arena.wait(at, expected, until)
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        self.step();
        self.arena.wake(at, count)
    }
    fn tell_death(&self) {
        self.step();
        self.arena.tell_death();
    }
    fn now(&self) -> u64 {
        self.arena.now()
    }
    fn spin(&self, _: u32) -> bool {
        // Straight to sleep: the number of steps is the same each time.
        false
    }
}
