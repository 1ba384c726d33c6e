//! A barrier: everything but the number of parties in one word.
//!
//! The arrival that completes a generation first runs the caller's action, its slot in the word,
//! then opens the barrier. Arrivals of the next generation need not wait for the last one to
//! leave: a waiter only asks whether its own generation is over, and how it ended.
//! *On a death*: who waits and finds that the thread that runs the action was killed breaks the
//! barrier, as does whoever recovers its slot. A thread that died waiting has arrived all the same.

use crate::section::Section;
use crate::world::{Interrupted, Off, Wake, World};

// The low half is what sleepers look at; each turn of the generation changes it.
const BROKEN: u64 = 1;
const ACTION: u64 = 2;
const GENERATION: u32 = 2;
const GENERATION_MASK: u64 = (1 << 14) - 1;
const COUNT: u32 = 16;
/// The largest number of parties.
pub const MAX_PARTIES: u64 = (1 << 16) - 1;
const SLOT: u32 = 32;
const SLOT_MASK: u64 = (1 << 20) - 1;
/// How the last twelve generations ended, the newest lowest: 1 = by a reset.
const HISTORY: u32 = 52;
const HISTORY_LEN: u64 = 12;

/// The barrier at an offset of the arena: its word, then the number of parties.
#[derive(Clone, Copy)]
pub struct Barrier(pub Off);

/// What an arrival found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Others are still to come: wait with this ticket.
    Wait {
        /// For [`Barrier::wait`].
        ticket: u64,
        /// How many had arrived before.
        index: u64,
    },
    /// The caller is the last: it runs the action, then opens the barrier with [`Barrier::open`].
    Last {
        /// How many had arrived before.
        index: u64,
    },
    /// The barrier is broken.
    Broken,
}

/// How a generation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// All arrived.
    Yes,
    /// The barrier broke: by a timeout, `abort`, `reset`, or the death of the one who ran the action.
    Broken,
}

const fn generation(word: u64) -> u64 {
    word >> GENERATION & GENERATION_MASK
}

const fn turned(word: u64, by_reset: bool) -> u64 {
    let history = (word >> HISTORY) << 1 | by_reset as u64;
    ((generation(word) + 1) & GENERATION_MASK) << GENERATION | history << HISTORY
}

impl Barrier {
    /// Writes a barrier that nobody shares yet.
    pub fn init<W: World>(self, world: &W, parties: u64) {
        world.store(self.0, 0);
        world.store(self.0 + 8, parties);
    }

    /// How many must arrive.
    pub fn parties<W: World>(self, world: &W) -> u64 {
        world.load(self.0 + 8)
    }

    /// How many wait now.
    pub fn waiting<W: World>(self, world: &W) -> u64 {
        let seen = world.load(self.0);
        if seen & (BROKEN | ACTION) != 0 {
            0
        } else {
            seen >> COUNT & MAX_PARTIES
        }
    }

    /// Whether it is broken.
    pub fn is_broken<W: World>(self, world: &W) -> bool {
        world.load(self.0) & BROKEN != 0
    }

    /// Arrives. While the last arrival of the generation before runs its action, sleeps.
    /// `None` if the time is over by then.
    pub fn arrive<W: World>(
        self,
        world: &W,
        until: Option<u64>,
    ) -> Result<Option<Arrival>, Interrupted> {
        let _section = Section::BarrierWait.enter();
        let parties = self.parties(world);
        loop {
            let seen = world.load(self.0);
            if seen & BROKEN != 0 {
                return Ok(Some(Arrival::Broken));
            }
            if seen & ACTION != 0 {
                if self.settle(world, seen) {
                    continue;
                }
                match world.wait(self.0, seen as u32, until) {
                    Wake::Look => continue,
                    Wake::TimedOut => return Ok(None),
                    Wake::Interrupted => return Err(Interrupted),
                }
            }
            let index = seen >> COUNT & MAX_PARTIES;
            if index + 1 >= parties {
                let mine = seen & !(SLOT_MASK << SLOT) | (world.me().slot as u64) << SLOT | ACTION;
                if world.cas(self.0, seen, mine).is_ok() {
                    return Ok(Some(Arrival::Last { index }));
                }
            } else if world.cas(self.0, seen, seen + (1 << COUNT)).is_ok() {
                return Ok(Some(Arrival::Wait {
                    ticket: generation(seen),
                    index,
                }));
            }
        }
    }

    /// Opens the barrier; the caller was told that it is the last. `Broken` if it broke meanwhile.
    pub fn open<W: World>(self, world: &W) -> Passed {
        let _section = Section::BarrierWait.enter();
        let mut passed = Passed::Yes;
        self.change(world, |seen| {
            passed = if seen & BROKEN == 0 && seen & ACTION != 0 {
                Passed::Yes
            } else {
                Passed::Broken
            };
            (passed == Passed::Yes).then(|| turned(seen, false))
        });
        passed
    }

    /// Waits for the others. When the time is over the barrier breaks for all.
    pub fn wait<W: World>(
        self,
        world: &W,
        ticket: u64,
        until: Option<u64>,
    ) -> Result<Passed, Interrupted> {
        let _section = Section::BarrierWait.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            let seen = world.load(self.0);
            let behind = generation(seen).wrapping_sub(ticket) & GENERATION_MASK;
            if behind != 0 {
                let by_reset =
                    behind <= HISTORY_LEN && seen >> (HISTORY as u64 + behind - 1) & 1 == 1;
                return Ok(if by_reset {
                    Passed::Broken
                } else {
                    Passed::Yes
                });
            }
            if seen & BROKEN != 0 {
                return Ok(Passed::Broken);
            }
            if seen & ACTION != 0 && self.settle(world, seen) {
                continue;
            }
            if late {
                if world.cas(self.0, seen, seen | BROKEN).is_ok() {
                    world.wake(self.0, u32::MAX);
                }
                continue;
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            match world.wait(self.0, seen as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// Breaks it if the thread that runs the action was killed; says whether to look again.
    fn settle<W: World>(self, world: &W, seen: u64) -> bool {
        let slot = (seen >> SLOT & SLOT_MASK) as u32;
        let killed = world.is_killed(slot);
        if killed {
            self.break_action_of(world, slot);
        }
        killed
    }

    /// Breaks it: all who wait, and all who come, are told.
    pub fn abort<W: World>(self, world: &W) {
        let _section = Section::BarrierReset.enter();
        self.change(world, |seen| (seen & BROKEN == 0).then_some(seen | BROKEN));
    }

    /// Makes it empty and whole; those who wait are told that it broke.
    pub fn reset<W: World>(self, world: &W) {
        let _section = Section::BarrierReset.enter();
        self.change(world, |seen| Some(turned(seen, true)));
    }

    /// Breaks it if the thread of this slot runs its action. For the recovery of the slot.
    pub fn break_action_of<W: World>(self, world: &W, slot: u32) {
        self.change(world, |seen| {
            (seen & ACTION != 0 && seen & BROKEN == 0 && seen >> SLOT & SLOT_MASK == slot as u64)
                .then_some(seen | BROKEN)
        });
    }

    fn change<W: World>(self, world: &W, mut next: impl FnMut(u64) -> Option<u64>) {
        loop {
            let seen = world.load(self.0);
            let Some(next) = next(seen) else { return };
            if world.cas(self.0, seen, next).is_ok() {
                world.wake(self.0, u32::MAX);
                return;
            }
        }
    }
}
