//! What is no memory of the arena: who lives and who sleeps, as a kernel knows it, and what the actors have done.

use procession_shm::Off;
use procession_shm::condition::Record;
use std::hash::{Hash, Hasher};

/// An operation of a stage, by its name.
pub type Op = &'static str;

/// What an operation came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Out(pub &'static str, pub u64);

/// It is amid it, or died amid it.
pub const BEGUN: Out = Out("begun", 0);
/// It sleeps.
pub const ASLEEP: Out = Out("asleep", 0);

/// What somebody did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    pub who: u32,
    pub op: Op,
    pub out: Out,
}

/// What an actor keeps from one part of an operation to the next.
#[derive(Clone, Copy, Default, Debug)]
pub enum Local {
    #[default]
    Nothing,
    /// A number that a wait compares with.
    Ticket(u64),
    /// Its record at a condition.
    Record(Record),
    /// A block of its own.
    Block(Off),
    /// It slept.
    Slept,
    /// It is amid something that only its death ends.
    Busy,
}

/// The life word of a slot: a robust mutex.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Life {
    holder: Option<u32>,
    died: bool,
}

#[derive(Clone, Default)]
pub struct Scene {
    lives: Vec<Life>,
    epochs: Vec<u64>,
    /// Threads that died, and the processes of which that is not settled.
    pub dead: Vec<u32>,
    pub gone: Vec<u32>,
    /// Who sleeps on which word.
    pub sleepers: Vec<(u32, Off)>,
    /// Who came to sleep, and has not said so yet.
    pub falls_asleep: Option<u32>,
    pub events: Vec<Event>,
    pub locals: Vec<Local>,
}

impl Hash for Scene {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.lives.hash(hasher);
        self.dead.hash(hasher);
        self.gone.hash(hasher);
        self.sleepers.hash(hasher);
        self.events.hash(hasher);
    }
}

impl Scene {
    /// Makes room for so many slots.
    pub fn make_room(&mut self, slots: usize) {
        self.lives.resize(slots, Life::default());
        self.epochs.resize(slots, 0);
        self.locals.resize(slots, Local::Nothing);
    }

    /// Whether who held a slot's life word died with it.
    pub fn says_died(&self, slot: u32) -> bool {
        self.lives[slot as usize].died
    }

    /// Takes the life word of a slot, if nobody who lives has it.
    pub fn take_life(&mut self, slot: u32, taker: u32) -> bool {
        let life = &mut self.lives[slot as usize];
        let taken = life.holder.is_none() || life.died;
        if taken {
            *life = Life {
                holder: Some(taker),
                died: false,
            };
        }
        taken
    }

    pub fn give_life_back(&mut self, slot: u32) {
        self.lives[slot as usize] = Life::default();
    }

    /// A thread, and its process, is no more.
    pub fn kill(&mut self, slot: u32, process: u32) {
        for life in &mut self.lives {
            life.died |= life.holder == Some(slot);
        }
        self.dead.push(slot);
        self.gone.push(process);
        self.gone.sort_unstable();
        self.sleepers.retain(|&(sleeper, _)| sleeper != slot);
    }

    pub fn epoch_moved(&mut self, slot: u32, epoch: u64) -> bool {
        std::mem::replace(&mut self.epochs[slot as usize], epoch) != epoch
    }

    /// What a thread did last.
    pub fn last_of(&self, slot: u32) -> Option<usize> {
        self.events.iter().rposition(|event| event.who == slot)
    }

    /// Whether a thread went to sleep, and has not gone on.
    pub fn is_asleep(&self, slot: u32) -> bool {
        self.last_of(slot)
            .is_some_and(|at| self.events[at].out == ASLEEP)
    }

    /// How many operations a thread has begun.
    pub fn begun_by(&self, slot: u32) -> u64 {
        let mine = |event: &&Event| event.who == slot;
        self.events.iter().filter(mine).count() as u64
    }
}
