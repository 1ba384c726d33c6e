//! What processes of one test share beside the structures: the arena, and words to talk through.

use procession::arena::Arena;
use procession::shm::{Off, World, heap};
use serde::{Deserialize, Serialize};

pub fn arena() -> &'static Arena {
    Arena::get().expect("room for an arena")
}

/// Plain words in a block that all know.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Words(Off);

impl Words {
    pub fn new() -> Self {
        let block = heap::alloc_len(arena(), 512).expect("room");
        let words = Self(block);
        (0..64).for_each(|n| words.set(n, 0));
        words
    }
    pub fn get(self, n: u64) -> u64 {
        arena().load(self.0 + n * 8)
    }
    pub fn set(self, n: u64, value: u64) {
        arena().store(self.0 + n * 8, value);
    }
    /// Where a word is: to sleep on.
    pub fn at(self, n: u64) -> Off {
        self.0 + n * 8
    }
    pub fn free(self) {
        heap::free(arena(), self.0);
    }
}

/// Whether a process sleeps.
pub fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('S'))
}
