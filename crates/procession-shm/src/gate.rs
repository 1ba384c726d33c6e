//! A gate: where threads wait for something to come.
//!
//! *Idea*: an event count (Reed and Kanodia, 1979): one word with a number and the bit "somebody may sleep".
//! *Invariant*: a waiter sets the bit before it looks for the last time; a notifier looks at the bit
//! after it published. There is no count of sleepers that a death could make wrong.

use crate::world::{Off, World};

const SLEEPERS: u64 = 1;
const ONE: u64 = 2;

/// The gate at an offset of the arena.
#[derive(Clone, Copy)]
pub struct Gate(pub Off);

impl Gate {
    /// Says that the caller is about to sleep; look once more, then sleep on the value returned.
    #[inline]
    pub fn announce<W: World>(self, world: &W) -> u32 {
        let mut seen = world.load(self.0);
        while seen & SLEEPERS == 0 {
            match world.cas(self.0, seen, seen | SLEEPERS) {
                Ok(()) => seen |= SLEEPERS,
                Err(now) => seen = now,
            }
        }
        // Pairs with the fence in `notify`: either the waiter sees what was published, or the
        // notifier sees the bit.
        world.fence();
        seen as u32
    }

    /// Wakes one sleeper, if there may be one. To be called after publishing.
    #[inline]
    pub fn notify<W: World>(self, world: &W) {
        world.fence();
        let seen = world.load(self.0);
        if seen & SLEEPERS != 0 {
            self.notify_slowly(world);
        }
    }

    #[cold]
    fn notify_slowly<W: World>(self, world: &W) {
        let now = world.add(self.0, ONE).wrapping_add(ONE);
        if world.wake(self.0, 1) == 0
            && world
                .cas(self.0, now, now.wrapping_add(ONE) & !SLEEPERS)
                .is_ok()
        {
            // Nobody slept when we woke; but somebody may have gone to sleep on `now` since,
            // trusting the bit that we have just taken away.
            world.wake(self.0, u32::MAX);
        }
    }

    /// Wakes all sleepers.
    pub fn notify_all<W: World>(self, world: &W) {
        world.fence();
        if world.load(self.0) & SLEEPERS != 0 {
            world.add(self.0, ONE);
            world.wake(self.0, u32::MAX);
        }
    }
}
