//! Process records: one for each process of the program, reserved by its starter.

use crate::section::Section;
use crate::world::{Off, Owner, World};

/// Words of a process record, as byte offsets into it.
pub mod word {
    /// [`State`](super::State), and the reserver while it is reserved.
    pub const STATE: u64 = 0;
    /// How often the record was taken.
    pub const GENERATION: u64 = 8;
    /// Process id, 0 while unknown.
    pub const PID: u64 = 16;
    /// What tells it from all that had its pid before or get it later, as the runtime knows it; 0 while unknown.
    pub const BIRTH: u64 = 24;
    /// The starter's record: its index plus one, and above 32 bits the low half of its generation.
    pub const PARENT: u64 = 32;
    /// Exit code as [`exit_word`](super::exit_word) makes it.
    pub const EXIT: u64 = 40;
    /// What holds the record when its process is gone, as [`keep`](super::keep) says.
    pub const NOTED: u64 = 48;
    /// A request to a template for this process: its number, or who has taken it. The runtime's.
    pub const OFFER: u64 = 56;
    /// The pool that the process works for, as the id of its handle; 0 if none.
    pub const POOL: u64 = 64;
    /// The descriptors by which descriptors travel, as the process that is started inherits them. The runtime's.
    pub const CHEST: u64 = 72;
    /// Free for the runtime's own words.
    pub const RUNTIME: u64 = 80;
}

/// Values of [`word::NOTED`].
pub mod keep {
    /// The starter has not noted the pid, or wants to know how the process ends: nobody else gives the record back.
    pub const KEPT: u64 = 0;
    /// The starter writes here no more.
    pub const NOTED: u64 = 1;
    /// As [`KEPT`], and the process is gone, with all that it had.
    pub const EMPTY: u64 = 2;
    /// As [`NOTED`], and somebody else forked the process: all that it had is gone too if it becomes another program.
    pub const FORKED: u64 = 3;

    /// Whether the starter writes here no more.
    pub const fn is_noted(word: u64) -> bool {
        matches!(word, NOTED | FORKED)
    }
}

/// What is known of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nobody's.
    Vacant,
    /// Taken by a starter for a child that has not shown up yet; or by that child's [process](Owner::of_process), which
    /// shows up and has not said who it is.
    Reserved(Owner),
    /// Its process is known: in which use of the record, so that whoever saw it gone can't mean a later one.
    Live(u64),
    /// Seen gone by this thread, which drops its leases.
    Leaving(Owner),
    /// Seen gone by this thread, which drops its leases; the record is live again after that.
    Emptying(Owner),
    /// Being taken by this thread: what its last user left there is cleared before anybody can show up.
    Preparing(Owner),
}

impl State {
    /// Whether the process that the record is for is there, or was.
    pub fn has_shown_up(self) -> bool {
        match self {
            State::Live(_) | State::Emptying(_) => true,
            State::Reserved(taker) => taker.process().is_some(),
            State::Vacant | State::Leaving(_) | State::Preparing(_) => false,
        }
    }
}

fn to_word(state: State) -> u64 {
    match state {
        State::Vacant => 0,
        State::Reserved(owner) => 1 | owner.to_bits() << 4,
        State::Live(generation) => 2 | generation << 4,
        State::Leaving(owner) => 3 | owner.to_bits() << 4,
        State::Emptying(owner) => 4 | owner.to_bits() << 4,
        State::Preparing(owner) => 5 | owner.to_bits() << 4,
    }
}

/// The state of record number `index`.
pub fn state<W: World>(world: &W, index: u32) -> State {
    let word = world.load(at(world, index) + word::STATE);
    match word & 7 {
        0 => State::Vacant,
        1 => State::Reserved(Owner::from_bits(word >> 4)),
        2 => State::Live(word >> 4),
        3 => State::Leaving(Owner::from_bits(word >> 4)),
        4 => State::Emptying(Owner::from_bits(word >> 4)),
        _ => State::Preparing(Owner::from_bits(word >> 4)),
    }
}

/// Changes a record's state if it is what is expected.
pub fn change<W: World>(world: &W, index: u32, from: State, to: State) -> bool {
    world
        .cas(at(world, index) + word::STATE, to_word(from), to_word(to))
        .is_ok()
}

fn at<W: World>(world: &W, index: u32) -> Off {
    world.layout().process(index)
}

/// How often a record was taken: with the index it names one process.
pub fn generation<W: World>(world: &W, index: u32) -> u64 {
    world.load(at(world, index) + word::GENERATION)
}

/// Makes a record vacant that the caller is [`Leaving`](State::Leaving).
pub fn vacate<W: World>(world: &W, index: u32, leaving: State) {
    let _section = Section::RecordVacate.enter();
    let record = at(world, index);
    // Before the next one takes it: he is not his predecessor's child.
    for word in [word::PARENT, word::NOTED, word::POOL] {
        world.store(record + word, 0);
    }
    change(world, index, leaving, State::Vacant);
}

/// Takes a vacant record for a process that is to come. `None` if all are in use.
pub fn reserve<W: World>(world: &W, reserver: Owner) -> Option<u32> {
    let _section = Section::RecordReserve.enter();
    let high = crate::layout::header::PROCESSES_HIGH;
    for index in 0..world.layout().process_count as u32 {
        let preparing = State::Preparing(reserver);
        if state(world, index) == State::Vacant && change(world, index, State::Vacant, preparing) {
            let record = at(world, index);
            world.add(record + word::GENERATION, 1);
            for word in [word::PID, word::BIRTH, word::PARENT, word::EXIT] {
                world.store(record + word, 0);
            }
            let mut seen = world.load(high);
            while seen <= index as u64 {
                match world.cas(high, seen, index as u64 + 1) {
                    Ok(()) => break,
                    Err(now) => seen = now,
                }
            }
            change(world, index, preparing, State::Reserved(reserver));
            return Some(index);
        }
    }
    None
}

/// The process that a record was reserved for, which is `taker`'s, shows up in this use of it (compared as far as 32 bits
/// go; in any, if `None`): nobody else has the record while it lives. It says who it is, then [`is_shown`].
/// False if the record is not reserved for it any more.
pub fn show_up<W: World>(world: &W, index: u32, reserved_in: Option<u64>, taker: Owner) -> bool {
    let _section = Section::RecordShowUp.enter();
    // Read in this order: whoever reserves it anew counts before he says so.
    let seen = state(world, index);
    let now = generation(world, index);
    let meant = reserved_in.is_none_or(|then| then as u32 == now as u32);
    meant
        && matches!(seen, State::Reserved(starter) if starter.process().is_none())
        && change(world, index, seen, State::Reserved(taker))
}

/// The record tells who the process is that showed up in it. Its starter may have been faster.
pub fn is_shown<W: World>(world: &W, index: u32, taker: Owner) {
    let _section = Section::RecordShowUp.enter();
    let live = State::Live(generation(world, index));
    change(world, index, State::Reserved(taker), live);
}

/// An exit code as a word.
pub const fn exit_word(code: i32) -> u64 {
    1 << 32 | code as u32 as u64
}

/// The exit code in a word, if one was written.
pub const fn exit_code(word: u64) -> Option<i32> {
    if word >> 32 == 1 {
        Some(word as u32 as i32)
    } else {
        None
    }
}
