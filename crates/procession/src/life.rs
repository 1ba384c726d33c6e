//! Who lives: taking a thread slot, ending, and the news of deaths.
//!
//! *Invariant*: a slot is taken by taking its life word; a thread that ends by itself writes so as
//! its last act, and its absence means killed. Whoever sees a death tells all others before he does
//! anything else, then recovers the slot, then tells again, since the recovery changed things.

use crate::arena::Arena;
use crate::program;
use crate::sys::life_word::{LifeWord, Taken};
use crate::sys::process::{self, Identity};
use procession_shm::layout::header;
use procession_shm::section::Section;
use procession_shm::slot::{self, State, state_word};
use procession_shm::{Fate, Owner, World};
use procession_shm::{job, recover};
use std::cell::Cell;
use std::sync::atomic::Ordering;

thread_local! {
    /// This thread's slot, and the token of the process in which it was taken.
    static CACHED: Cell<(u64, Owner)> = const { Cell::new((0, Owner { slot: 0, generation: 0 })) };
    static EPOCH: Cell<u64> = const { Cell::new(0) };
    static LAST_ACT: LastAct = const { LastAct };
}

/// How many rounds a thread spins before it sleeps, as it goes: fewer when spinning was in vain, because
/// the other has no core to run on; more when it was not; the most again now and then.
#[derive(Clone, Copy)]
struct Patience {
    rounds: u32,
    in_vain: u32,
}

const MOST_ROUNDS: u32 = 100;
const FEWEST_ROUNDS: u32 = 6;
const TRY_MOST_EVERY: u32 = 64;

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience { rounds: MOST_ROUNDS, in_vain: 0 }) };
}

/// Whether a thread that has spun for `round` rounds spins once more.
#[inline]
pub(crate) fn spins_again(round: u32) -> bool {
    let mut patience = PATIENCE.with(Cell::get);
    if round == 0 {
        patience.rounds = (patience.rounds * 2).min(MOST_ROUNDS);
        PATIENCE.with(|kept| kept.set(patience));
    }
    if round < patience.rounds {
        return true;
    }
    patience.in_vain = patience.in_vain.wrapping_add(1);
    patience.rounds = if patience.in_vain.is_multiple_of(TRY_MOST_EVERY) {
        MOST_ROUNDS
    } else {
        (patience.rounds / 4).max(FEWEST_ROUNDS / 2)
    };
    PATIENCE.with(|kept| kept.set(patience));
    false
}

thread_local! {
    static ATTENDS: Cell<bool> = const { Cell::new(false) };
}

/// For bindings: in the process's first thread, where interpreters run the handlers of signals, the
/// calling thread's waits are `Interrupted` after each slice as well.
pub fn attend_to_signals() {
    if !ATTENDS.with(Cell::get) && process::tid() == process::pid() {
        ATTENDS.with(|attends| attends.set(true));
    }
}

pub(crate) fn attends_to_signals() -> bool {
    ATTENDS.with(Cell::get)
}

/// Dropped when the thread ends.
struct LastAct;

impl Drop for LastAct {
    fn drop(&mut self) {
        if let Some(arena) = Arena::existing() {
            end_thread(arena);
        }
    }
}

/// The calling thread. Takes a slot at first use in this process.
#[inline]
pub(crate) fn me(arena: &Arena) -> Owner {
    let (token, owner) = CACHED.with(Cell::get);
    if token != 0 && token == arena.token() {
        return owner;
    }
    take_slot(arena)
}

/// Whether the epoch moved since this thread last asked.
pub(crate) fn epoch_moved(epoch: u64) -> bool {
    EPOCH.with(|seen| seen.replace(epoch) != epoch)
}

#[cold]
fn take_slot(arena: &Arena) -> Owner {
    let _section = Section::SlotTake.enter();
    let process = arena.my_process();
    let mut dead = None;
    for slot in 0..arena.layout().thread_count as u32 {
        let Some(generation) = try_take(arena, slot) else {
            if dead.is_none() && is_left_behind(arena, slot) {
                dead = Some(slot);
            }
            continue;
        };
        let at = arena.layout().thread(slot);
        let before = arena.load(at + slot::word::PROCESS) as u32;
        arena.store(at + slot::word::PROCESS, process as u64);
        arena.store(at + slot::word::STATE, state_word(generation, State::Live));
        // After the generation: who reads them first knows whose they are.
        arena.store(at + slot::word::IDS, my_ids());
        let owner = Owner { slot, generation };
        CACHED.with(|cached| cached.set((arena.token(), owner)));
        let mut high = arena.load(header::THREADS_HIGH);
        while high <= slot as u64 {
            match arena.cas(header::THREADS_HIGH, high, slot as u64 + 1) {
                Ok(()) => break,
                Err(now) => high = now,
            }
        }
        // Registers the last act. Late in the thread's end it can't be, and the slot counts as killed.
        let _ = LAST_ACT.try_with(|_| ());
        // Sleepers watch those who live: they learn of the newcomer.
        arena.tell_death();
        if let Some(dead) = dead {
            attend(arena, dead);
        }
        // The thread that had the slot ended, and perhaps its process with it.
        if generation > 1 && before != process {
            program::recover_if_gone(arena, before);
        }
        return owner;
    }
    panic!(
        "no thread slot is free: {} threads use the arena at once",
        arena.layout().thread_count
    );
}

/// Takes a slot whose thread is no more and left nothing behind; says the generation to live in.
fn try_take(arena: &Arena, slot: u32) -> Option<u64> {
    let at = arena.layout().thread(slot) + slot::word::STATE;
    let vacant = || matches!(slot::state(arena.load(at)).1, State::Vacant | State::Ended);
    if !vacant() {
        return None;
    }
    let life = arena.life(slot);
    if life.try_take() == Taken::No {
        return None;
    }
    mark_if_dead(arena, slot);
    // A recovery takes a slot's owner to be; we are nobody yet.
    if !vacant() || recover::is_needed(arena, slot) {
        life.give_back();
        return None;
    }
    Some(slot::state(arena.load(at)).0 + 1)
}

/// Whether a slot's thread is dead and somebody must see to it.
fn is_left_behind(arena: &Arena, slot: u32) -> bool {
    match slot::state(arena.load(arena.layout().thread(slot) + slot::word::STATE)).1 {
        State::Live => LifeWord::says_died(arena.life(slot).word().load(Ordering::Acquire)),
        State::Killed => true,
        State::Vacant | State::Ended => recover::is_needed(arena, slot),
    }
}

/// Sees to a slot that may have been left behind.
pub(crate) fn attend(arena: &Arena, slot: u32) {
    match slot::state(arena.load(arena.layout().thread(slot) + slot::word::STATE)).1 {
        State::Live => {
            notice_death(arena, slot);
        }
        State::Killed => {
            bury(arena, slot);
        }
        State::Ended => {
            see_off(arena, slot);
        }
        State::Vacant => {}
    }
}

/// Sees off a thread that said that it ends: once it has ended, its slot is vacant, and if it was the last of its
/// process, what that had is given back. Says whether the slot became vacant.
pub(crate) fn see_off(arena: &Arena, slot: u32) -> bool {
    let _section = Section::Recovery.enter();
    let at = arena.layout().thread(slot);
    let seen = arena.load(at + slot::word::STATE);
    let process = arena.load(at + slot::word::PROCESS) as u32;
    let (generation, state) = slot::state(seen);
    // Who wanted the slot, and found it not ready to be taken, has given the word back without the kernel's mark.
    let gone = LifeWord::is_nobodys(arena.life(slot).word().load(Ordering::Acquire));
    if state != State::Ended || !gone {
        return false;
    }
    // Its process exited while the thread was amid an operation.
    if recover::is_needed(arena, slot) {
        return bury(arena, slot);
    }
    let vacant = state_word(generation, State::Vacant);
    let mine = arena.cas(at + slot::word::STATE, seen, vacant).is_ok();
    if mine {
        program::recover_if_gone(arena, process);
    }
    mine
}

/// What became of an owner.
pub(crate) fn fate(arena: &Arena, owner: Owner) -> Fate {
    if let Some(pid) = owner.process() {
        // Whoever has the pid: another's may delay what is done about the dead one.
        let gone = Identity { pid, birth: 0 }.is_gone();
        return if gone { Fate::Killed } else { Fate::Alive };
    }
    if owner.slot as u64 >= arena.layout().thread_count {
        return Fate::Ended;
    }
    let at = arena.layout().thread(owner.slot) + slot::word::STATE;
    loop {
        let seen = arena.load(at);
        let (generation, state) = slot::state(seen);
        return match state {
            _ if generation != owner.generation => Fate::Ended,
            State::Killed => Fate::Killed,
            State::Vacant | State::Ended => Fate::Ended,
            State::Live => {
                let died =
                    LifeWord::says_died(arena.life(owner.slot).word().load(Ordering::Acquire));
                if arena.load(at) != seen {
                    // The word may have been a successor's.
                    continue;
                }
                if died { Fate::Killed } else { Fate::Alive }
            }
        };
    }
}

/// Acts on a life word that woke us: if its thread was killed, tells all and recovers the slot. Says whether it was.
pub(crate) fn notice_death(arena: &Arena, slot: u32) -> bool {
    let _section = Section::Recovery.enter();
    let at = arena.layout().thread(slot) + slot::word::STATE;
    // The state is read before the life word, and must still be it: the word of a successor says nothing of this one.
    let seen = arena.load(at);
    let died = LifeWord::says_died(arena.life(slot).word().load(Ordering::Acquire));
    let killed = died && mark_killed(arena, slot, seen);
    if killed {
        bury(arena, slot);
    }
    killed
}

/// Marks a slot killed whose thread is dead, and tells all. Says whether it was the caller who did.
fn mark_killed(arena: &Arena, slot: u32, seen: u64) -> bool {
    if job::is_running(arena, slot) {
        // While it can be asked: from the mark on what it ran is lost, with this code, for whoever looks.
        let process = arena.load(arena.layout().thread(slot) + slot::word::PROCESS) as u32;
        program::note_exit(arena, process);
    }
    let killed = recover::mark_killed(arena, slot, seen);
    if killed {
        arena.tell_death();
    }
    killed
}

/// For who has taken a slot's life word: a thread that lives would have it. One that came and died since the slot was looked
/// at must be marked before the word is given back, since then the kernel's mark is gone.
fn mark_if_dead(arena: &Arena, slot: u32) {
    let seen = arena.load(arena.layout().thread(slot) + slot::word::STATE);
    if slot::state(seen).1 == State::Live {
        mark_killed(arena, slot, seen);
    }
}

/// Recovers a slot that is marked killed, unless somebody else is at it. Says whether it did.
pub(crate) fn bury(arena: &Arena, slot: u32) -> bool {
    let _section = Section::Recovery.enter();
    let life = arena.life(slot);
    if life.try_take() == Taken::No {
        return false;
    }
    mark_if_dead(arena, slot);
    let at = arena.layout().thread(slot) + slot::word::STATE;
    let mine = match slot::state(arena.load(at)).1 {
        State::Killed => true,
        State::Ended | State::Vacant => recover::is_needed(arena, slot),
        State::Live => false,
    };
    if mine {
        recover_held(arena, slot);
    }
    life.give_back();
    if mine {
        arena.tell_death();
    }
    mine
}

/// Recovers a slot whose life word the caller holds.
fn recover_held(arena: &Arena, slot: u32) {
    let at = arena.layout().thread(slot);
    let process = arena.load(at + slot::word::PROCESS) as u32;
    // While it can be asked: what the dead one ran is lost with this code.
    program::note_exit(arena, process);
    let dead = recover::recover(arena, slot);
    arena.store(
        at + slot::word::STATE,
        state_word(dead.generation, State::Vacant),
    );
    program::recover_if_gone(arena, process);
}

/// Looks at every slot: the safety net at the end of a slice.
pub(crate) fn look_round(arena: &Arena) {
    let high = arena
        .load(header::THREADS_HIGH)
        .min(arena.layout().thread_count) as u32;
    for slot in 0..high {
        attend(arena, slot);
    }
}

/// Whether any thread of a process has a slot that it did not leave, or left with something to be settled.
pub(crate) fn has_threads(arena: &Arena, process: u32) -> bool {
    let high = arena
        .load(header::THREADS_HIGH)
        .min(arena.layout().thread_count) as u32;
    (0..high).any(|slot| {
        let at = arena.layout().thread(slot);
        let left = match slot::state(arena.load(at + slot::word::STATE)).1 {
            State::Live | State::Killed => false,
            State::Ended => !recover::is_needed(arena, slot),
            State::Vacant => true,
        };
        !left && arena.load(at + slot::word::PROCESS) == process as u64
    })
}

/// The calling thread says that it ends.
pub(crate) fn end_thread(arena: &Arena) {
    let _section = Section::SlotEnd.enter();
    let (token, owner) = CACHED.with(|cached| {
        cached.replace((
            0,
            Owner {
                slot: 0,
                generation: 0,
            },
        ))
    });
    if token == 0 || token != arena.token() {
        return;
    }
    let at = arena.layout().thread(owner.slot) + slot::word::STATE;
    let _ = arena.cas(
        at,
        state_word(owner.generation, State::Live),
        state_word(owner.generation, State::Ended),
    );
}

/// All threads of this process end, by its exit: none of them was killed.
pub(crate) fn end_process(arena: &Arena) {
    let _section = Section::SlotEnd.enter();
    let process = match arena.record.load(Ordering::Relaxed) {
        record if record != 0 && arena.has_token() => record as u64 - 1,
        _ => return,
    };
    let high = arena
        .load(header::THREADS_HIGH)
        .min(arena.layout().thread_count) as u32;
    for slot in 0..high {
        let at = arena.layout().thread(slot);
        let seen = arena.load(at + slot::word::STATE);
        let (generation, state) = slot::state(seen);
        if state == State::Live && arena.load(at + slot::word::PROCESS) == process {
            if arena.load(at + slot::word::IDS) != my_ids() {
                // It may be amid anything, and does not end it.
                arena.store(at + slot::word::CUT_SHORT, 1);
            }
            let _ = arena.cas(
                at + slot::word::STATE,
                seen,
                state_word(generation, State::Ended),
            );
        }
    }
}

/// The threads of this process are those of another record from now on.
pub(crate) fn rename_process(arena: &Arena, from: u32, to: u32) {
    let _section = Section::RecordShowUp.enter();
    let high = arena
        .load(header::THREADS_HIGH)
        .min(arena.layout().thread_count) as u32;
    for slot in 0..high {
        let at = arena.layout().thread(slot);
        let live = slot::state(arena.load(at + slot::word::STATE)).1 == State::Live;
        if live && arena.load(at + slot::word::PROCESS) == from as u64 {
            arena.store(at + slot::word::PROCESS, to as u64);
        }
    }
}

fn my_ids() -> u64 {
    let (pid, tid) = (process::pid(), process::tid());
    slot::Ids { pid, tid }.to_bits()
}
