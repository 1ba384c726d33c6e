//! Recovery of a thread slot whose thread is dead.
//!
//! The caller holds the slot's life word, so nobody else recovers it; if he dies, the next one
//! begins anew. Each step may be done twice: intents only change tags, to `OWNED(dead)`; memory is
//! freed when all frames are clear, and only memory that says that it was the dead thread's.

use crate::class;
use crate::heap;
use crate::job;
use crate::layout::header;
use crate::message;
use crate::object;
use crate::process::{self, State, keep};
use crate::queue;
use crate::section::Section;
use crate::slot::{self, Frames, Hazard, Intent, state, word};
use crate::tag::{Holds, Tag};
use crate::world::{Fate, Owner, World};

/// Settles all that the thread of `slot` left half-done. Its life word must be the caller's.
/// Says whose slot it was.
pub fn recover<W: World>(world: &W, slot: u32) -> Owner {
    let _section = Section::Recovery.enter();
    let at = world.layout().thread(slot);
    let (generation, _) = state(world.load(at + word::STATE));
    let dead = Owner { slot, generation };
    // If the recoverer dies half-way, the next one must see that there is something to do.
    Frames::of(world, slot).begin_recovery();
    settle_frames(world, dead);
    job::lose_run(world, dead);
    // While the queues stand that the dead one had begun to take apart: they tell what is retired.
    queue::sweep_segments(world, slot);
    free_owned_by(world, dead);
    object::settle_holds(world, dead);
    object::sweep(world);
    heap::recount(world);
    world.add(header::RECOVERED, 1);
    Frames::of(world, slot).end_recovery();
    dead
}

/// Whether the thread of this slot left an operation half-done.
pub fn is_needed<W: World>(world: &W, slot: u32) -> bool {
    let at = world.layout().thread(slot);
    [word::DEPTH, word::JOB, word::CUT_SHORT]
        .into_iter()
        .any(|word| world.load(at + word) != 0)
}

fn settle_frames<W: World>(world: &W, dead: Owner) {
    let frames = Frames::of(world, dead.slot);
    for frame in 0..W::FRAMES {
        match frames.intent(frame) {
            Intent::None => {}
            Intent::Claim { word } => {
                queue::revoke(world, frames.hazard(frame, Hazard::First), word, dead.slot)
            }
            Intent::Put { word, block } => {
                if !queue::names(world.load(word), block) {
                    disown(world, block, dead);
                }
            }
            Intent::Take { word, block } => {
                if block != 0 && queue::taken_by(world.load(word), dead.slot, block) {
                    // Taken, and not yet the taker's: the cell still stands as its parent.
                    if heap::tag(world, block) == Tag::Shared(word, Holds::Message) {
                        disown(world, block, dead);
                    }
                }
            }
        }
        frames.clear(frame);
    }
}

/// What no structure names is the dead thread's, to be freed with the rest of it.
fn disown<W: World>(world: &W, block: u64, dead: Owner) {
    if heap::class_of(world, block).is_none() {
        return;
    }
    if let Tag::Shared(parent, holds) = heap::tag(world, block) {
        heap::change_tag(
            world,
            block,
            Tag::Shared(parent, holds),
            Tag::Owned(dead, holds),
        );
    }
}

fn free_owned_by<W: World>(world: &W, dead: Owner) {
    heap::walk(world, |block, class, tag| {
        let Tag::Owned(owner, _) = tag else { return };
        if owner != dead || !heap::seize(world, block, tag) {
            return;
        }
        if class == class::OBJECT {
            object::destroy(world, block);
        } else {
            message::free_tree(world, block);
        }
    });
}

/// Marks a slot killed, if it is still this generation's and nobody has marked it.
pub fn mark_killed<W: World>(world: &W, slot: u32, seen: u64) -> bool {
    let _section = Section::Recovery.enter();
    let (generation, was) = state(seen);
    was == slot::State::Live
        && world
            .cas(
                world.layout().thread(slot) + word::STATE,
                seen,
                slot::state_word(generation, slot::State::Killed),
            )
            .is_ok()
}

/// Frees what a process that is gone had leases on; its record stays its starter's, who is to learn how it ended. None of
/// its threads has a slot any more. `seen` is the state in which it was found gone. Says whether it was the caller
/// who did.
pub fn empty_process<W: World>(world: &W, index: u32, seen: State) -> bool {
    let _section = Section::RecordVacate.enter();
    let emptying = State::Emptying(world.me());
    let mine = is_free_to_change(world, seen) && process::change(world, index, seen, emptying);
    if mine {
        object::drop_leases(world, index);
        let noted = world.layout().process(index) + process::word::NOTED;
        let _ = world.cas(noted, keep::KEPT, keep::EMPTY);
        let live = State::Live(process::generation(world, index));
        process::change(world, index, emptying, live);
    }
    mine
}

/// As [`empty_process`], and frees its record.
pub fn recover_process<W: World>(world: &W, index: u32, seen: State) -> bool {
    let _section = Section::RecordVacate.enter();
    let leaving = State::Leaving(world.me());
    let mine = is_free_to_change(world, seen) && process::change(world, index, seen, leaving);
    if mine {
        object::drop_leases(world, index);
        process::vacate(world, index, leaving);
    }
    mine
}

/// Whether nobody else is at a record in this state, unless he died.
fn is_free_to_change<W: World>(world: &W, seen: State) -> bool {
    match seen {
        State::Vacant => false,
        State::Leaving(owner) | State::Emptying(owner) | State::Preparing(owner) => {
            world.fate(owner) != Fate::Alive
        }
        State::Reserved(_) | State::Live(_) => true,
    }
}
