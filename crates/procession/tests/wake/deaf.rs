//! A planted bug: a world that hears of a death and passes it on to nobody.

use procession::arena::Arena;
use procession::shm::layout::{Layout, header};
use procession::shm::slot::{self, State};
use procession::shm::{Fate, Off, Owner, Wake, World};
use procession::sys::futex::{self, MAX_WORDS, Word};
use procession::sys::life_word::LifeWord;
use rustix::time::Timespec;
use std::sync::atomic::{AtomicU32, Ordering};

/// Later than any test ends.
const NEVER: Timespec = Timespec {
    tv_sec: 1 << 40,
    tv_nsec: 0,
};

/// The arena, but for its sleep: as the shipping one it ends with a wake, a death that was told, or a death; unlike it,
/// the latter stays with the sleeper.
pub struct Deaf(pub &'static Arena);

impl Deaf {
    fn half(&self, at: Off) -> &'static AtomicU32 {
        let word: *mut AtomicU32 = self.0.bytes(at, 8).cast();
        // SAFETY: the low half of a word of the arena, which stays mapped and is accessed atomically by all.
        unsafe { &*word }
    }

    /// The life words of all threads that live.
    fn lives(&self) -> impl Iterator<Item = Word> + '_ {
        let high = self.0.load(header::THREADS_HIGH) as u32;
        let others = (0..high).filter(|&slot| slot != self.0.me().slot);
        others.filter_map(|slot| {
            let at = self.0.layout().thread(slot);
            let live = slot::state(self.0.load(at + slot::word::STATE)).1 == State::Live;
            let life = self.half(at + slot::word::LIFE);
            let value = life.load(Ordering::Acquire);
            (live && !LifeWord::says_died(value)).then(|| futex::word(life, value))
        })
    }
}

impl World for Deaf {
    const SEGMENT_CELLS: u64 = <Arena as World>::SEGMENT_CELLS;
    const FRAMES: u64 = <Arena as World>::FRAMES;

    fn wait(&self, at: Off, expected: u32, _: Option<u64>) -> Wake {
        let epoch = self.half(header::EPOCH);
        let told = epoch.load(Ordering::Acquire);
        let own = [
            futex::word(self.half(at), expected),
            futex::word(epoch, told),
        ];
        let words: Vec<Word> = own
            .into_iter()
            .chain(self.lives())
            .take(MAX_WORDS)
            .collect();
        futex::wait(&words, self.half(at), NEVER);
        Wake::Look
    }

    fn load(&self, at: Off) -> u64 {
        self.0.load(at)
    }
    fn store(&self, at: Off, value: u64) {
        self.0.store(at, value);
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        self.0.cas(at, old, new)
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        self.0.swap(at, value)
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        self.0.add(at, value)
    }
    fn fence(&self) {
        self.0.fence();
    }
    fn read(&self, at: Off, into: &mut [u8]) {
        self.0.read(at, into);
    }
    fn write(&self, at: Off, from: &[u8]) {
        self.0.write(at, from);
    }
    fn give_back(&self, at: Off, len: u64) {
        self.0.give_back(at, len);
    }
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn me(&self) -> Owner {
        self.0.me()
    }
    fn my_process(&self) -> u32 {
        self.0.my_process()
    }
    fn fate(&self, owner: Owner) -> Fate {
        self.0.fate(owner)
    }
    fn is_killed(&self, slot: u32) -> bool {
        self.0.is_killed(slot)
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        self.0.wake(at, count)
    }
    fn tell_death(&self) {
        self.0.tell_death();
    }
    fn now(&self) -> u64 {
        self.0.now()
    }
    fn spin(&self, _: u32) -> bool {
        false
    }
}
