//! Foreign forks: processes that somebody else forked from one of ours, as `os.fork` does, or a library.
//!
//! Each has a copy of its parent's leases, since it may use whatever its parent had. Most never do: they end soon, or become
//! another program, and have no thread slot that would tell of it. So the parent looks after them: before it forks again, and
//! when it gives up what somebody else keeps. Whoever finds no room left looks at all processes.

use super::records::{generation, parent_word, recover_if_gone};
use crate::arena::Arena;
use crate::sys::process;
use procession_shm::World;
use procession_shm::layout::header;
use procession_shm::object::{self, Handle};
use procession_shm::process::{self as record, State, keep};
use procession_shm::section::Section;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many foreign forks of this process may be there still: never less than there are.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// When they may be looked at again for the sake of an object.
static NEXT_LOOK: AtomicU64 = AtomicU64::new(0);
/// Looks for the sake of objects take one part in so many of the time.
const SHARE: u64 = 20;

/// The record is a foreign fork's: nobody will note its pid.
pub(super) fn note(arena: &Arena, index: u32) {
    let noted = arena.layout().process(index) + record::word::NOTED;
    arena.store(noted, keep::FORKED);
    // After that: who looks in between counts it, and then it is counted twice.
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// In a fork: its parent's are not its own.
pub(super) fn forget() {
    COUNT.store(0, Ordering::Relaxed);
}

/// Takes back what this process's foreign forks had that are gone, or are another program by now.
pub(super) fn look(arena: &Arena) {
    let before = COUNT.load(Ordering::Relaxed);
    if before == 0 {
        return;
    }
    let parent = parent_word(arena, arena.my_process());
    let mut left = 0;
    for index in 0..used(arena) {
        let at = arena.layout().process(index);
        let is_mine = || {
            arena.load(at + record::word::PARENT) == parent
                && arena.load(at + record::word::NOTED) == keep::FORKED
        };
        if is_mine() {
            recover_if_gone(arena, index);
            left += u32::from(is_mine());
        }
    }
    // If others forked or looked meanwhile, the next one counts anew.
    let _ = COUNT.compare_exchange(before, left, Ordering::Relaxed, Ordering::Relaxed);
}

/// This process has given up an object. If somebody else keeps it, that may be a foreign fork that is no more.
pub(crate) fn may_be_all_that_keeps(arena: &Arena, object: Handle) {
    if COUNT.load(Ordering::Relaxed) == 0 || object::kind_of(arena, object).is_err() {
        return;
    }
    let began = arena.now();
    if began >= NEXT_LOOK.load(Ordering::Relaxed) {
        look(arena);
        let now = arena.now();
        NEXT_LOOK.store(now + (now - began) * SHARE, Ordering::Relaxed);
    }
}

/// This process was started by `exec`. If it was forked past our handlers, or by a library's call, another record is its
/// own too, with what its starter had at that moment.
pub(crate) fn leave_earlier_records(arena: &Arena) {
    let _section = Section::RecordVacate.enter();
    let me = arena.my_process();
    for index in (0..used(arena)).filter(|&index| index != me) {
        let at = arena.layout().process(index);
        let mine = record::state(arena, index) == State::Live(generation(arena, index))
            && arena.load(at + record::word::PID) == process::pid() as u64;
        if mine {
            recover_if_gone(arena, index);
        }
    }
}

fn used(arena: &Arena) -> u32 {
    let high = arena.load(header::PROCESSES_HIGH);
    high.min(arena.layout().process_count) as u32
}
