//! Waiting for an item that another may take.

use super::{ITEMS, Queue};
use crate::section::Section;
use crate::world::{Interrupted, Wake, World};

impl Queue {
    /// Waits until there is an item, until `until` at most, and leaves it there; `false` if the time is over, or `ended`.
    pub fn await_item<W: World>(
        self,
        world: &W,
        until: Option<u64>,
        ended: impl Fn() -> bool,
    ) -> Result<bool, Interrupted> {
        let _section = Section::QueueAwait.enter();
        let awaited = self.await_quietly(world, until, ended);
        // If we were woken for an item, it is the next one's: we take none.
        self.items().notify(world);
        awaited
    }

    fn await_quietly<W: World>(
        self,
        world: &W,
        until: Option<u64>,
        ended: impl Fn() -> bool,
    ) -> Result<bool, Interrupted> {
        let mut late = until == Some(0);
        let mut round = 0;
        loop {
            if !self.is_empty(world) {
                return Ok(true);
            }
            if late || ended() {
                return Ok(false);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let ticket = self.items().announce(world);
            if ended() || !self.is_empty(world) {
                continue;
            }
            match world.wait(self.0 + ITEMS, ticket, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }
}
