//! Planted bugs: a world that does one thing wrong, for the shipping structures to stand on. A
//! model that does not notice is no model.
#![allow(dead_code, reason = "each test uses a part of it")]

use procession_shm::layout::Layout;
use procession_shm::{Fate, Off, Owner, Wake, World};
use std::cell::RefCell;
use std::ops::Range;

/// What is wrong.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// A `cas` on one of these words is a load and a store.
    TornCas(Range<Off>),
    /// A `store` to one of these words is forgotten.
    LostStore(Range<Off>),
    /// A `store` to one of these words stores one more.
    OneMore(Range<Off>),
    /// A wake of one wakes nobody.
    LostWakeOne,
    /// A wake of all wakes nobody.
    LostWakeAll,
    /// Who goes to sleep does not look whether the word has changed since.
    BlindWait,
    /// There are no fences.
    NoFence,
    /// Bytes are written only after the next word has been changed.
    LateWrite,
}

/// A world with a fault.
pub struct Broken<'w, W> {
    pub world: &'w W,
    pub fault: Fault,
    held_back: RefCell<Option<(Off, Vec<u8>)>>,
}

impl<'w, W> Broken<'w, W> {
    pub fn new(world: &'w W, fault: Fault) -> Self {
        Self {
            world,
            fault,
            held_back: RefCell::new(None),
        }
    }
}

impl<W: World> Broken<'_, W> {
    fn tears(&self, at: Off) -> bool {
        matches!(&self.fault, Fault::TornCas(words) if words.contains(&at))
    }
}

impl<W: World> World for Broken<'_, W> {
    const SEGMENT_CELLS: u64 = W::SEGMENT_CELLS;
    const FRAMES: u64 = W::FRAMES;

    fn load(&self, at: Off) -> u64 {
        self.world.load(at)
    }
    fn store(&self, at: Off, value: u64) {
        match &self.fault {
            Fault::LostStore(words) if words.contains(&at) => {}
            Fault::OneMore(words) if words.contains(&at) => self.world.store(at, value + 1),
            _ => self.world.store(at, value),
        }
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        if !self.tears(at) {
            let done = self.world.cas(at, old, new);
            let late = done.is_ok().then(|| self.held_back.take()).flatten();
            if let Some((at, bytes)) = late {
                self.world.write(at, &bytes);
            }
            return done;
        }
        let seen = self.world.load(at);
        if seen != old {
            return Err(seen);
        }
        self.world.store(at, new);
        Ok(())
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        self.world.swap(at, value)
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        self.world.add(at, value)
    }
    fn fence(&self) {
        if !matches!(self.fault, Fault::NoFence) {
            self.world.fence();
        }
    }
    fn read(&self, at: Off, into: &mut [u8]) {
        self.world.read(at, into);
    }
    fn write(&self, at: Off, from: &[u8]) {
        match self.fault {
            Fault::LateWrite => *self.held_back.borrow_mut() = Some((at, from.into())),
            _ => self.world.write(at, from),
        }
    }
    fn give_back(&self, at: Off, len: u64) {
        self.world.give_back(at, len);
    }
    fn layout(&self) -> &Layout {
        self.world.layout()
    }
    fn me(&self) -> Owner {
        self.world.me()
    }
    fn my_process(&self) -> u32 {
        self.world.my_process()
    }
    fn fate(&self, owner: Owner) -> Fate {
        self.world.fate(owner)
    }
    fn is_killed(&self, slot: u32) -> bool {
        self.world.is_killed(slot)
    }
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake {
        let expected = match self.fault {
            Fault::BlindWait => self.world.load(at) as u32,
            _ => expected,
        };
        self.world.wait(at, expected, until)
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        match self.fault {
            Fault::LostWakeOne if count == 1 => 1,
            Fault::LostWakeAll if count > 1 => 0,
            _ => self.world.wake(at, count),
        }
    }
    fn tell_death(&self) {
        self.world.tell_death();
    }
    fn now(&self) -> u64 {
        self.world.now()
    }
    fn spin(&self, round: u32) -> bool {
        self.world.spin(round)
    }
}
