//! An event: set or not, and how often it was set, in one word.
//!
//! A wait ends when the event is set, or was set since the wait began: a pulse (`set`, `clear`) is
//! never missed. `set` never waits for a sleeper, dead, stopped or slow.

use crate::section::Section;
use crate::world::{Interrupted, Off, Wake, World};

const SET: u64 = 1;
const WAITERS: u64 = 2;
const ONE: u64 = 4;

/// The event at an offset of the arena.
#[derive(Clone, Copy)]
pub struct Event(pub Off);

impl Event {
    /// Whether it is set.
    #[inline]
    pub fn is_set<W: World>(self, world: &W) -> bool {
        world.load(self.0) & SET != 0
    }

    /// Sets it and wakes all who wait.
    #[inline]
    pub fn set<W: World>(self, world: &W) {
        let _section = Section::EventSet.enter();
        let mut seen = world.load(self.0);
        while seen & SET == 0 {
            match world.cas(self.0, seen, ((seen & !WAITERS) | SET).wrapping_add(ONE)) {
                Ok(()) => {
                    if seen & WAITERS != 0 {
                        world.wake(self.0, u32::MAX);
                    }
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Clears it.
    #[inline]
    pub fn clear<W: World>(self, world: &W) {
        let _section = Section::EventClear.enter();
        let mut seen = world.load(self.0);
        while seen & SET != 0 {
            match world.cas(self.0, seen, seen & !SET) {
                Ok(()) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// How often it was set so far: what [`wait`](Self::wait) compares with.
    pub fn sets<W: World>(self, world: &W) -> u64 {
        world.load(self.0) / ONE
    }

    /// Waits until it is set, or was set more often than `sets`; `false` if the time is over.
    pub fn wait<W: World>(
        self,
        world: &W,
        sets: u64,
        until: Option<u64>,
    ) -> Result<bool, Interrupted> {
        let _section = Section::EventWait.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            let seen = world.load(self.0);
            if seen & SET != 0 || seen / ONE != sets {
                return Ok(true);
            }
            if late {
                return Ok(false);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            if seen & WAITERS == 0 && world.cas(self.0, seen, seen | WAITERS).is_err() {
                continue;
            }
            match world.wait(self.0, (seen | WAITERS) as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }
}
