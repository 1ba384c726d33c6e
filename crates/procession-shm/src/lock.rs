//! Locks that know their holder and notice its death.
//!
//! *Idea*: Drepper's futex mutex ("Futexes are tricky", 2011), with the owner's slot in the word: the CAS that wins
//! the lock names the owner, so there is no moment at which it is held by nobody known.
//! *On a death*: a waiter whose owner was killed turns the word to `BROKEN`, with the owner's ids in it, which outlive its
//! slot; every acquire fails until `reset` (the idiom of Barrier, and of POSIX robust mutexes).

use crate::section::Section;
use crate::slot::{self, Ids};
use crate::world::{Fate, Interrupted, Off, Owner, Wake, World};

const LOCKED: u64 = 1;
const WAITERS: u64 = 2;
const BROKEN: u64 = 4;
const OWNER: u32 = 4;

/// What a lock's word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Nobody holds it.
    Free,
    /// This thread holds it, or held it when it ended.
    Held(Owner),
    /// This thread held it when it died.
    Broken(Ids),
}

/// How an acquire ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquired {
    /// The caller holds the lock.
    Yes,
    /// The time is over.
    TimedOut,
    /// Its holder died; somebody must look at what the lock protects, and `reset` it.
    Broken(Ids),
    /// A signal came.
    Interrupted,
}

/// Why a release was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReleased {
    /// Nobody holds it.
    NotHeld,
    /// Somebody else holds it (asked of a reentrant lock only).
    NotOwner,
    /// It is broken.
    Broken(Ids),
}

/// What the end of a holder means that left the lock locked without being killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnEnd {
    /// It stays locked: any thread may release it, so it may be meant.
    Stays,
    /// It breaks: nobody else can release it.
    Breaks,
}

fn status(word: u64) -> Status {
    match word & (LOCKED | BROKEN) {
        0 => Status::Free,
        LOCKED => Status::Held(Owner::from_bits(word >> OWNER)),
        _ => Status::Broken(Ids::from_bits(word >> OWNER)),
    }
}

/// The lock word at an offset of the arena.
#[derive(Clone, Copy)]
pub struct Lock(pub Off);

impl Lock {
    /// What the lock's word says now.
    pub fn status<W: World>(self, world: &W) -> Status {
        status(world.load(self.0))
    }

    /// Acquires the lock if it is free.
    #[inline]
    pub fn try_acquire<W: World>(self, world: &W) -> bool {
        let _section = Section::LockAcquire.enter();
        world
            .cas(self.0, 0, LOCKED | world.me().to_bits() << OWNER)
            .is_ok()
    }

    /// Acquires the lock, waiting until `until` at most (forever if `None`).
    #[inline]
    pub fn acquire<W: World>(self, world: &W, until: Option<u64>, on_end: OnEnd) -> Acquired {
        if self.try_acquire(world) {
            return Acquired::Yes;
        }
        self.acquire_slowly(world, until, on_end)
    }

    #[cold]
    fn acquire_slowly<W: World>(self, world: &W, until: Option<u64>, on_end: OnEnd) -> Acquired {
        let _section = Section::LockAcquire.enter();
        let mut mine = LOCKED | world.me().to_bits() << OWNER;
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            let seen = world.load(self.0);
            let owner = match status(seen) {
                Status::Free => {
                    if world.cas(self.0, seen, mine).is_ok() {
                        return Acquired::Yes;
                    }
                    continue;
                }
                Status::Broken(dead) => return Acquired::Broken(dead),
                Status::Held(owner) => owner,
            };
            if late {
                return self
                    .settle(world, seen, owner, on_end)
                    .map_or(Acquired::TimedOut, Acquired::Broken);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            if let Some(dead) = self.settle(world, seen, owner, on_end) {
                return Acquired::Broken(dead);
            }
            if seen & WAITERS == 0 && world.cas(self.0, seen, seen | WAITERS).is_err() {
                continue;
            }
            // Whoever slept takes the lock with the bit: others may sleep still.
            mine |= WAITERS;
            match world.wait(self.0, (seen | WAITERS) as u32, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Acquired::Interrupted,
            }
        }
    }

    /// Breaks the lock if the owner seen in the word can't release it any more.
    fn settle<W: World>(self, world: &W, seen: u64, owner: Owner, on_end: OnEnd) -> Option<Ids> {
        let gone = match world.fate(owner) {
            Fate::Alive => false,
            Fate::Ended => on_end == OnEnd::Breaks,
            Fate::Killed => true,
        };
        if gone {
            self.break_seen(world, seen, owner)
        } else {
            None
        }
    }

    /// Breaks the lock if it is still as seen, held by `owner`.
    fn break_seen<W: World>(self, world: &W, seen: u64, owner: Owner) -> Option<Ids> {
        // Nobody else gets the owner's slot before all that he held is settled.
        let dead = slot::ids(world, owner);
        world
            .cas(self.0, seen, BROKEN | dead.to_bits() << OWNER)
            .ok()?;
        world.wake(self.0, u32::MAX);
        Some(dead)
    }

    /// Breaks the lock if `dead` holds it. For the recovery of a thread slot.
    pub fn break_held_by<W: World>(self, world: &W, dead: Owner) {
        loop {
            let seen = world.load(self.0);
            if status(seen) != Status::Held(dead) || self.break_seen(world, seen, dead).is_some() {
                return;
            }
        }
    }

    /// Releases the lock if it is held and nobody waits for it: the way it goes as a rule.
    #[inline]
    pub fn try_release<W: World>(self, world: &W) -> bool {
        let _section = Section::LockRelease.enter();
        let seen = world.load(self.0);
        seen & (LOCKED | WAITERS | BROKEN) == LOCKED && world.cas(self.0, seen, 0).is_ok()
    }

    /// Releases the lock; `owner_only` refuses it to all but the holder.
    #[inline]
    pub fn release<W: World>(self, world: &W, owner_only: bool) -> Result<(), NotReleased> {
        let _section = Section::LockRelease.enter();
        loop {
            let seen = world.load(self.0);
            match status(seen) {
                Status::Free => return Err(NotReleased::NotHeld),
                Status::Broken(dead) => return Err(NotReleased::Broken(dead)),
                Status::Held(owner) if owner_only && owner != world.me() => {
                    return Err(NotReleased::NotOwner);
                }
                Status::Held(_) => {}
            }
            if world.cas(self.0, seen, 0).is_ok() {
                if seen & WAITERS != 0 {
                    world.wake(self.0, 1);
                }
                return Ok(());
            }
        }
    }

    /// Makes a broken lock free again. Says whether it was broken.
    pub fn reset<W: World>(self, world: &W) -> bool {
        let _section = Section::LockReset.enter();
        let seen = world.load(self.0);
        let done = matches!(status(seen), Status::Broken(_)) && world.cas(self.0, seen, 0).is_ok();
        if done {
            world.wake(self.0, u32::MAX);
        }
        done
    }
}

/// A lock that its holder may acquire again: a lock word, then a count that only the holder touches.
#[derive(Clone, Copy)]
pub struct ReentrantLock(pub Off);

impl ReentrantLock {
    /// The lock under the count.
    #[inline]
    pub fn lock(self) -> Lock {
        Lock(self.0)
    }

    fn count(self) -> Off {
        self.0 + 8
    }

    /// How often the caller holds it.
    pub fn depth<W: World>(self, world: &W) -> u64 {
        if self.lock().status(world) == Status::Held(world.me()) {
            world.load(self.count())
        } else {
            0
        }
    }

    /// Acquires the lock once more.
    #[inline]
    pub fn acquire<W: World>(self, world: &W, until: Option<u64>) -> Acquired {
        let _section = Section::LockAcquire.enter();
        let depth = self.depth(world);
        if depth > 0 {
            world.store(self.count(), depth + 1);
            return Acquired::Yes;
        }
        let acquired = self.lock().acquire(world, until, OnEnd::Breaks);
        if acquired == Acquired::Yes {
            world.store(self.count(), 1);
        }
        acquired
    }

    /// Releases the lock once.
    #[inline]
    pub fn release<W: World>(self, world: &W) -> Result<(), NotReleased> {
        let _section = Section::LockRelease.enter();
        let depth = self.depth(world);
        if depth > 1 {
            world.store(self.count(), depth - 1);
            return Ok(());
        }
        self.lock().release(world, true)
    }

    /// Releases the lock altogether and says how often it was held.
    pub fn release_all<W: World>(self, world: &W) -> Result<u64, NotReleased> {
        let depth = self.depth(world);
        self.lock().release(world, true).map(|()| depth)
    }

    /// Sets the count, for a holder that acquired the lock again after [`release_all`](Self::release_all).
    pub fn set_depth<W: World>(self, world: &W, depth: u64) {
        let _section = Section::LockAcquire.enter();
        world.store(self.count(), depth);
    }
}

impl From<Interrupted> for Acquired {
    fn from(_: Interrupted) -> Self {
        Acquired::Interrupted
    }
}
