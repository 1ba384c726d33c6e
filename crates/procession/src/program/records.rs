//! Process records: reserved for a process that is to come, shown up in, and given back when it is gone.

use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::life;
use crate::parcel;
use crate::sys::process::{self, Identity};
use procession_shm::layout::header;
use procession_shm::object;
use procession_shm::process::{self as record, State, keep};
use procession_shm::section::Section;
use procession_shm::{Fate, Owner, World, recover};
use std::sync::atomic::{AtomicU64, Ordering};

/// The pool that processes work for which this one starts, as [`pool_word`] says it; 0 if none.
static POOL_OF_CHILDREN: AtomicU64 = AtomicU64::new(0);

/// The processes that this one starts from now on work for a pool. A fork of it starts others.
pub(crate) fn children_work_for(pool: object::Handle) {
    POOL_OF_CHILDREN.store(pool_word(pool), Ordering::Relaxed);
}

/// A fork of a process that works for a pool does not.
pub(super) fn forget_pool() {
    POOL_OF_CHILDREN.store(0, Ordering::Relaxed);
}

/// Reserves the record of a process that is to come.
pub fn reserve(arena: &Arena) -> Result<u32> {
    let _section = Section::RecordReserve.enter();
    let me = arena.me();
    let index = record::reserve(arena, me).or_else(|| {
        sweep(arena);
        record::reserve(arena, me)
    });
    let index = index.ok_or_else(|| {
        let all = arena.layout().process_count;
        Error::new(
            Kind::OutOfMemory,
            format!(
                "the program has {all} processes already, the most that its arena has records for"
            ),
        )
    })?;
    let at = arena.layout().process(index);
    let parent = parent_word(arena, arena.my_process());
    arena.store(at + record::word::PARENT, parent);
    let pool = POOL_OF_CHILDREN.load(Ordering::Relaxed);
    arena.store(at + record::word::POOL, pool);
    Ok(index)
}

/// Gives a reserved record up: its process never came to be.
pub fn unreserve(arena: &Arena, index: u32) {
    recover::recover_process(arena, index, record::state(arena, index));
}

/// Gives up a record that the calling thread reserved and whose process died before it showed up.
pub(crate) fn unreserve_if_unused(arena: &Arena, index: u32, generation_meant: u64) {
    let seen = record::state(arena, index);
    if generation(arena, index) != generation_meant {
        return;
    }
    if seen == State::Reserved(arena.me()) {
        recover::recover_process(arena, index, seen);
    } else {
        // It died amid showing up.
        recover_if_gone(arena, index);
    }
}

/// This process's starter does not note its pid: its record says so.
pub(crate) fn note_myself(arena: &Arena) {
    let _section = Section::RecordShowUp.enter();
    let at = arena.layout().process(arena.my_process());
    arena.store(at + record::word::NOTED, keep::NOTED);
}

/// Notes the pid of a child that was started with this record. To be called for each, by its starter.
pub fn set_pid(arena: &Arena, index: u32, pid: u32) {
    let _section = Section::RecordReserve.enter();
    let at = arena.layout().process(index);
    let unknown = arena.load(at + record::word::PID) == 0;
    if unknown {
        write_identity(arena, index, Identity::of(pid));
    }
    let seen = record::state(arena, index);
    if matches!(seen, State::Reserved(_)) {
        record::change(arena, index, seen, State::Live(generation(arena, index)));
    }
    let noted = arena.swap(at + record::word::NOTED, keep::NOTED);
    // Who saw it end before left the record to us, or could not know whether it had ended.
    if unknown || noted == keep::EMPTY {
        recover_if_gone(arena, index);
    }
}

/// This process takes over the record that was reserved for it, in this use of it if that is known: if its starter
/// died, others may have given the record back and taken it again.
pub(crate) fn show_up(arena: &Arena, index: u32, reserved_in: Option<u64>) -> Result<()> {
    let gone = || {
        Error::new(
            Kind::Gone,
            "the record that the starter reserved for this process is gone: the starter died",
        )
    };
    if index as u64 >= arena.layout().process_count {
        return Err(gone());
    }
    let me = Owner::of_process(process::pid());
    if !record::show_up(arena, index, reserved_in, me) {
        // The starter was faster, and has noted who we are.
        let now = generation(arena, index);
        let at = arena.layout().process(index);
        let noted = arena.load(at + record::word::PID) == process::pid() as u64
            && reserved_in.is_none_or(|then| then as u32 == now as u32);
        if !noted || record::state(arena, index) != State::Live(now) {
            return Err(gone());
        }
    }
    enter(arena, index);
    record::is_shown(arena, index, me);
    Ok(())
}

/// This process, a spare of the template, becomes the one that a record was reserved for, and wakes who asked for it.
/// False if nobody asks any more.
pub fn become_asked_for(arena: &Arena, index: u32, generation_asked: u64) -> bool {
    let spare = arena.my_process();
    let was = State::Live(generation(arena, spare));
    let me = Owner::of_process(process::pid());
    if !record::show_up(arena, index, Some(generation_asked), me) {
        return false;
    }
    enter(arena, index);
    record::is_shown(arena, index, me);
    arena.wake(arena.layout().process(index) + record::word::PID, u32::MAX);
    // What it has from the template goes with it.
    let _ = object::inherit_leases(arena, spare, index);
    life::rename_process(arena, spare, index);
    recover::recover_process(arena, spare, was);
    true
}

fn enter(arena: &Arena, index: u32) {
    let _section = Section::RecordShowUp.enter();
    // Without its token the process would count as forked, and take another record.
    arena.give_token();
    write_identity(arena, index, Identity::of(process::pid()));
    arena.record.store(index + 1, Ordering::Relaxed);
}

/// The record of this process; the root, and forks that no handler saw, take one here.
#[cold]
pub(crate) fn my_record(arena: &Arena) -> u32 {
    let _section = Section::RecordReserve.enter();
    if !arena.has_token() {
        // Forked by a call that runs no handlers: nothing of the parent's is ours.
        arena.record.store(0, Ordering::Relaxed);
        arena.give_token();
    }
    if let Some(record) = arena.record.load(Ordering::Relaxed).checked_sub(1) {
        return record;
    }
    // He has no slot yet; until the record says who he is, it names his process as its taker.
    let taker = Owner::of_process(process::pid());
    let index = record::reserve(arena, taker)
        .expect("a process record is free, or the program could not have started this process");
    write_identity(arena, index, Identity::of(process::pid()));
    let noted = arena.layout().process(index) + record::word::NOTED;
    arena.store(noted, keep::NOTED);
    record::is_shown(arena, index, taker);
    match arena
        .record
        .compare_exchange(0, index + 1, Ordering::AcqRel, Ordering::Acquire)
    {
        Ok(_) => index,
        Err(theirs) => {
            // Another thread of this process was first.
            record::vacate(arena, index, State::Live(generation(arena, index)));
            theirs - 1
        }
    }
}

/// If a process is gone for good, or was forked by somebody else and is another program by now, and its threads' slots are recovered, takes back what it had; its record too, unless
/// its starter is to learn from it how the process ended.
pub fn recover_if_gone(arena: &Arena, index: u32) {
    let _section = Section::RecordVacate.enter();
    if index as u64 >= arena.layout().process_count {
        return;
    }
    let at = arena.layout().process(index);
    // Read first: the rest is this use's, or the state has moved on when it is changed.
    let seen = record::state(arena, index);
    let noted = arena.load(at + record::word::NOTED);
    // Nobody started it, or he has not written yet who he is.
    let unsigned = arena.load(at + record::word::PARENT) == 0;
    let started = !unsigned && !parent_is_gone(arena, index);
    let kept = seen.has_shown_up() && !keep::is_noted(noted) && started;
    let gone = match seen {
        State::Vacant => false,
        State::Leaving(_) | State::Emptying(_) => true,
        State::Preparing(taker) => arena.fate(taker) != Fate::Alive,
        State::Reserved(taker) if unsigned || seen.has_shown_up() => {
            arena.fate(taker) != Fate::Alive
        }
        // Not shown up yet: its starter watches over it, or is gone himself.
        State::Reserved(_) => !started,
        State::Live(_) => {
            let process = identity(arena, index);
            !(kept && noted == keep::EMPTY)
                && (process.is_gone() || noted == keep::FORKED && process.has_become_another())
        }
    };
    if !gone {
        return;
    }
    life::look_round(arena);
    if life::has_threads(arena, index) {
        return;
    }
    let mine = if kept {
        recover::empty_process(arena, index, seen)
    } else {
        recover::recover_process(arena, index, seen)
    };
    if mine {
        parcel::close_unread(arena);
        // What only it had is no more: the other ends of its pipes look.
        arena.tell_death();
    }
    if mine && kept && keep::is_noted(arena.load(at + record::word::NOTED)) {
        // Its starter let go of it meanwhile, and left it to us.
        recover_if_gone(arena, index);
    }
}

/// What a record says of its starter: which record, and which use of it.
pub(crate) fn parent_word(arena: &Arena, parent: u32) -> u64 {
    (generation(arena, parent) & 0xffff_ffff) << 32 | (parent as u64 + 1)
}

/// Whether the process that reserved a record is gone.
pub(crate) fn parent_is_gone(arena: &Arena, index: u32) -> bool {
    let word = arena.load(arena.layout().process(index) + record::word::PARENT);
    let Some(parent) = (word as u32)
        .checked_sub(1)
        .filter(|&p| (p as u64) < arena.layout().process_count)
    else {
        return false;
    };
    parent_word(arena, parent) != word || identity(arena, parent).is_gone()
}

/// Looks at every record: takes back what processes that are gone had.
pub fn sweep(arena: &Arena) {
    let high = arena
        .load(header::PROCESSES_HIGH)
        .min(arena.layout().process_count) as u32;
    for index in 0..high {
        if record::state(arena, index) != State::Vacant
            && Some(index) != arena.record.load(Ordering::Relaxed).checked_sub(1)
        {
            recover_if_gone(arena, index);
        }
    }
}

/// What a record says of the pool that its process works for: place, and the low half of its generation.
pub(crate) fn pool_word(pool: object::Handle) -> u64 {
    pool.generation << 34 | pool.id
}

/// The processes that run and work for a pool, and the record of each.
pub(crate) fn processes_of_pool(arena: &Arena, pool: object::Handle) -> Vec<(Identity, u32)> {
    let high = arena
        .load(header::PROCESSES_HIGH)
        .min(arena.layout().process_count) as u32;
    (0..high)
        .filter_map(|index| {
            let at = arena.layout().process(index);
            let seen = record::state(arena, index);
            let process = identity(arena, index);
            let works = matches!(seen, State::Live(_))
                && arena.load(at + record::word::POOL) == pool_word(pool)
                // All of one use of the record.
                && record::state(arena, index) == seen;
            (works && process.pid != 0 && !process.is_gone()).then_some((process, index))
        })
        .collect()
}

/// The process that showed up under a record, or that its starter noted; its pid is 0 as long as that is not known.
pub fn identity(arena: &Arena, index: u32) -> Identity {
    let at = arena.layout().process(index);
    Identity {
        // Whose pid is known, his birth was written before.
        pid: arena.load(at + record::word::PID) as u32,
        birth: arena.load(at + record::word::BIRTH),
    }
}

fn write_identity(arena: &Arena, index: u32, process: Identity) {
    let at = arena.layout().process(index);
    arena.store(at + record::word::BIRTH, process.birth);
    arena.store(at + record::word::PID, process.pid as u64);
}

/// How often a record was taken: with the index it names one process.
pub fn generation(arena: &Arena, index: u32) -> u64 {
    record::generation(arena, index)
}
