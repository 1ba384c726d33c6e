//! A semaphore: value and the bit "somebody may sleep" in one word.
//!
//! A semaphore has no holder: a permit that a killed thread took is not given back. The word after
//! it is the bound of a bounded semaphore plus one (0: none).

use crate::section::Section;
use crate::world::{Interrupted, Off, Wake, World};

const WAITERS: u64 = 1 << 31;
const VALUE: u64 = WAITERS - 1;

/// The largest value.
pub const MAX_VALUE: u64 = VALUE;

/// The semaphore at an offset of the arena: value, then bound.
#[derive(Clone, Copy)]
pub struct Semaphore(pub Off);

/// A release would lift the value above the bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AboveBound;

impl Semaphore {
    /// Writes a semaphore that nobody shares yet. Without a bound it may rise to [`MAX_VALUE`].
    pub fn init<W: World>(self, world: &W, value: u64, bound: Option<u64>) {
        world.store(self.0, value);
        world.store(self.0 + 8, bound.map_or(0, |bound| bound + 1));
    }

    /// The value.
    pub fn value<W: World>(self, world: &W) -> u64 {
        world.load(self.0) & VALUE
    }

    /// What the value never passes, if it is bounded.
    pub fn bound<W: World>(self, world: &W) -> Option<u64> {
        world.load(self.0 + 8).checked_sub(1)
    }

    /// Takes one if there is one.
    #[inline]
    pub fn try_acquire<W: World>(self, world: &W) -> bool {
        let _section = Section::SemaphoreAcquire.enter();
        let mut seen = world.load(self.0);
        while seen & VALUE > 0 {
            match world.cas(self.0, seen, seen - 1) {
                Ok(()) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes one, waiting until `until` at most; `false` if the time is over.
    pub fn acquire<W: World>(self, world: &W, until: Option<u64>) -> Result<bool, Interrupted> {
        let _section = Section::SemaphoreAcquire.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            if self.try_acquire(world) {
                return Ok(true);
            }
            if late {
                return Ok(false);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let seen = world.load(self.0);
            if seen & VALUE > 0
                || seen & WAITERS == 0 && world.cas(self.0, seen, seen | WAITERS).is_err()
            {
                continue;
            }
            match world.wait(self.0, (seen | WAITERS) as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// Gives one back.
    #[inline]
    pub fn release<W: World>(self, world: &W) -> Result<(), AboveBound> {
        let _section = Section::SemaphoreRelease.enter();
        let bound = match world.load(self.0 + 8) {
            0 => MAX_VALUE,
            bound => bound - 1,
        };
        let mut seen = world.load(self.0);
        loop {
            if seen & VALUE >= bound {
                return Err(AboveBound);
            }
            match world.cas(self.0, seen, seen + 1) {
                Ok(()) => break,
                Err(now) => seen = now,
            }
        }
        if seen & WAITERS != 0
            && world.wake(self.0, 1) == 0
            && world.cas(self.0, seen + 1, (seen + 1) & !WAITERS).is_ok()
        {
            // Nobody slept when we woke; but the value may have been taken and given since, and
            // somebody sleep trusting the bit that we have just taken away.
            world.wake(self.0, u32::MAX);
        }
        Ok(())
    }
}
