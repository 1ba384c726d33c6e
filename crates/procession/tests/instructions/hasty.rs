//! Worlds that differ from the arena in when bytes are written: a planted bug, and a way to stop at the right moment.

use procession::arena::Arena;
use procession::shm::layout::Layout;
use procession::shm::{Fate, Off, Owner, Wake, World};
use std::cell::Cell;

pub struct Hasty {
    arena: &'static Arena,
    /// Called before bytes are written, which is then done at once.
    before_write: Option<fn()>,
    held_back: Cell<Option<(Off, Box<[u8]>)>>,
}

impl Hasty {
    /// One with a bug: bytes are written only after the next word has been changed.
    pub fn new(arena: &'static Arena) -> Self {
        Self {
            arena,
            before_write: None,
            held_back: Cell::new(None),
        }
    }

    /// One that calls this before it writes bytes.
    pub fn watched(arena: &'static Arena, before_write: fn()) -> Self {
        Self {
            before_write: Some(before_write),
            ..Self::new(arena)
        }
    }
}

impl World for Hasty {
    const SEGMENT_CELLS: u64 = <Arena as World>::SEGMENT_CELLS;
    const FRAMES: u64 = <Arena as World>::FRAMES;

    fn load(&self, at: Off) -> u64 {
        self.arena.load(at)
    }
    fn store(&self, at: Off, value: u64) {
        self.arena.store(at, value);
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        let done = self.arena.cas(at, old, new);
        if done.is_ok()
            && let Some((at, bytes)) = self.held_back.take()
        {
            self.arena.write(at, &bytes);
        }
        done
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        self.arena.swap(at, value)
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        self.arena.add(at, value)
    }
    fn fence(&self) {
        self.arena.fence();
    }
    fn read(&self, at: Off, into: &mut [u8]) {
        self.arena.read(at, into);
    }
    fn write(&self, at: Off, from: &[u8]) {
        if let Some(before_write) = self.before_write {
            before_write();
            self.arena.write(at, from);
        } else {
            self.held_back.set(Some((at, from.into())));
        }
    }
    fn give_back(&self, at: Off, len: u64) {
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
        self.arena.wait(at, expected, until)
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        self.arena.wake(at, count)
    }
    fn tell_death(&self) {
        self.arena.tell_death();
    }
    fn now(&self) -> u64 {
        self.arena.now()
    }
    fn spin(&self, round: u32) -> bool {
        self.arena.spin(round)
    }
}
