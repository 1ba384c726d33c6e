//! Sections: the code of one operation between its first and last store to the arena, by name.
//!
//! Each operation enters its section in its first line. With the feature `sections` the thread then knows
//! what it is amid: tests kill it at each instruction of it, and a store outside all sections is an error. Without the
//! feature nothing of this is left in the program.
//!
//! [`World::write`](crate::World::write) needs no section: it fills memory that nobody reads yet, a block of the
//! writer's own or a cell that he has claimed, until a store within a section says that it is there.

use crate::world::Off;

macro_rules! sections {
    ($($section:ident $name:literal,)*) => {
        /// An operation that stores to the arena.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Section {
            $(#[doc = $name] $section,)*
        }

        impl Section {
            /// All of them.
            pub const ALL: &[Section] = &[$(Section::$section,)*];

            /// What tables call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Section::$section => $name,)*
                }
            }
        }
    };
}

sections! {
    QueuePut "queue: put",
    QueueGet "queue: get",
    QueueLen "queue: len",
    QueueAwait "queue: await an item",
    QueueWake "queue: wake all",
    QueueTaskDone "queue: task done",
    QueueJoin "queue: join",
    LockAcquire "lock: acquire",
    LockRelease "lock: release",
    LockReset "lock: reset",
    SemaphoreAcquire "semaphore: acquire",
    SemaphoreRelease "semaphore: release",
    EventSet "event: set",
    EventClear "event: clear",
    EventWait "event: wait",
    ConditionWait "condition: wait",
    ConditionNotify "condition: notify",
    BarrierWait "barrier: wait",
    BarrierReset "barrier: abort, reset",
    Alloc "heap: alloc",
    Free "heap: free",
    MessageFill "message: fill",
    MessageFree "message: free",
    ObjectCreate "object: create",
    ObjectLease "object: lease",
    ObjectUnlease "object: unlease",
    ObjectSend "object: send",
    ObjectDestroy "object: destroy",
    MemoryCreate "memory: create",
    NameTrack "name: track",
    NameForget "name: forget",
    PoolSubmit "pool: submit",
    PoolState "pool: state",
    TaskTake "task: take",
    TaskSettle "task: settle",
    TaskLeave "task: leave",
    TaskWait "task: wait",
    RecordReserve "process record: reserve",
    RecordShowUp "process record: show up",
    RecordVacate "process record: vacate",
    SlotTake "thread slot: take",
    SlotEnd "thread slot: end",
    Recovery "recovery",
}

/// Being in a section, until it is dropped: then in the one around it, if there is one.
#[must_use]
pub struct Inside {
    #[cfg(feature = "sections")]
    before: Option<Section>,
}

impl Section {
    /// Enters the section.
    #[inline(always)]
    pub fn enter(self) -> Inside {
        Inside {
            #[cfg(feature = "sections")]
            before: watched::replace(Some(self)),
        }
    }
}

/// A world calls it before it stores to a word. Panics if this thread shall be in a section and is in none: the feature
/// `sections` has a function `demand` for that.
#[inline(always)]
pub fn check(at: Off) {
    #[cfg(feature = "sections")]
    watched::check(at);
    #[cfg(not(feature = "sections"))]
    let _ = at;
}

#[cfg(feature = "sections")]
pub use watched::{BeforeStore, demand, now};

#[cfg(feature = "sections")]
mod watched {
    use super::{Inside, Section};
    use crate::world::Off;
    use std::cell::Cell;

    /// Told which word is stored to, and in which section.
    pub type BeforeStore = fn(Off, Section);

    std::thread_local! {
        static NOW: Cell<Option<Section>> = const { Cell::new(None) };
        static DEMANDED: Cell<Option<BeforeStore>> = const { Cell::new(None) };
    }

    /// The innermost section that the calling thread is in. A handler of signals may ask.
    #[inline(always)]
    pub fn now() -> Option<Section> {
        NOW.with(Cell::get)
    }

    /// From now on each store of the calling thread must be in a section, and `before` is called before it; or, with
    /// `None`, anything goes.
    pub fn demand(before: Option<BeforeStore>) {
        DEMANDED.with(|demanded| demanded.set(before));
    }

    #[inline(always)]
    pub(super) fn replace(section: Option<Section>) -> Option<Section> {
        NOW.with(|now| now.replace(section))
    }

    #[inline(always)]
    pub(super) fn check(at: Off) {
        if let Some(before) = DEMANDED.with(Cell::get) {
            // What it does is no part of the section.
            let section = replace(None);
            before(
                at,
                section.expect("a store to the arena is within a section"),
            );
            replace(section);
        }
    }

    impl Drop for Inside {
        #[inline(always)]
        fn drop(&mut self) {
            replace(self.before);
        }
    }
}
