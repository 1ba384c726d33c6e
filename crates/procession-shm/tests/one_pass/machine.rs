//! A world whose memory can be copied, with all threads on one thread of the machine: each step of each of them comes
//! when the play says, so what is seen once is seen always.
//!
//! A copy costs nothing: what is changed on it is noted, and taken back when the copy has served.

use crate::play::ACTOR;
use crate::scene::Scene;
use procession_shm::layout::{Layout, header};
use procession_shm::section::{self, Section};
use procession_shm::slot::{self, State};
use procession_shm::{Fate, Off, Owner, Wake, World};
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

const SIZE: u64 = 6 << 20;
const THREADS: u64 = 16;
/// More than an object's entry has leases for.
pub const PROCESSES: u64 = 48;
/// Freed large blocks keep their pages up to so many bytes.
const WATERMARK: u64 = 300_000;

/// A planted bug of the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Bytes are written only after the next word has been changed.
    WritesLate,
    /// The news of a death wakes nobody.
    Deaf,
}

/// What is called before each step of a thread.
pub type Watcher = Rc<dyn Fn(Option<Section>)>;

pub struct Machine {
    layout: Layout,
    words: Box<[Cell<u64>]>,
    /// What stood where, before each change.
    changes: RefCell<Vec<(Off, u64)>>,
    digest: Cell<u64>,
    /// All that is no memory of the arena.
    pub scene: RefCell<Scene>,
    watched: RefCell<Option<(u32, Watcher)>>,
    rests: RefCell<Option<Rc<dyn Fn()>>>,
    quiet: Cell<bool>,
    spins: u32,
    fault: Fault,
    held_back: RefCell<Option<(Off, Vec<u8>)>>,
}

/// A state to go back to.
pub struct Copied {
    changes: usize,
    scene: Scene,
}

impl Machine {
    pub fn new(fault: Fault, spins: u32) -> Rc<Self> {
        let layout = Layout::with_counts(SIZE, THREADS, PROCESSES);
        let machine = Self {
            layout,
            words: vec![Cell::new(0); SIZE as usize / 8].into(),
            changes: RefCell::default(),
            digest: Cell::new(0),
            scene: RefCell::default(),
            watched: RefCell::default(),
            rests: RefCell::default(),
            quiet: Cell::new(false),
            spins,
            fault,
            held_back: RefCell::default(),
        };
        for (at, value) in [
            (header::SIZE, SIZE),
            (header::THREADS, THREADS),
            (header::PROCESSES, PROCESSES),
            (header::PROCESSES_HIGH, PROCESSES),
            (header::BUDGET, SIZE),
            (header::WATERMARK, WATERMARK),
        ] {
            machine.poke(at, value);
        }
        Rc::new(machine)
    }

    pub fn peek(&self, at: Off) -> u64 {
        assert!(
            at.is_multiple_of(8) && at < SIZE,
            "word {at:#x} is outside the arena"
        );
        self.words[at as usize / 8].get()
    }

    pub fn poke(&self, at: Off, value: u64) {
        let was = self.peek(at);
        if was != value {
            self.changes.borrow_mut().push((at, was));
            self.put(at, was, value);
        }
    }

    fn put(&self, at: Off, was: u64, value: u64) {
        self.words[at as usize / 8].set(value);
        // How often something was told makes no other state.
        if !matches!(at, header::EPOCH | header::RECOVERED) {
            let digest = self.digest.get() ^ mix(at, was) ^ mix(at, value);
            self.digest.set(digest);
        }
    }

    /// What tells this state from others.
    pub fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.digest.get().hash(&mut hasher);
        self.scene.borrow().hash(&mut hasher);
        hasher.finish()
    }

    pub fn copied(&self) -> Copied {
        Copied {
            changes: self.changes.borrow().len(),
            scene: self.scene.borrow().clone(),
        }
    }

    /// Goes back to a state; `copy` may serve again.
    pub fn go_back(&self, copy: &Copied) {
        loop {
            let mut changes = self.changes.borrow_mut();
            if changes.len() <= copy.changes {
                break;
            }
            let change = changes.pop();
            drop(changes);
            if let Some((at, was)) = change {
                self.put(at, self.peek(at), was);
            }
        }
        self.scene.borrow_mut().clone_from(&copy.scene);
    }

    /// Has `watcher` called before each step of a thread, and of no other, while `work` is done.
    pub fn watching<T>(&self, slot: u32, watcher: Watcher, work: impl FnOnce() -> T) -> T {
        let before = self.watched.replace(Some((slot, watcher)));
        let done = work();
        self.watched.replace(before);
        done
    }

    /// Does what is no part of an operation: nobody watches it.
    pub fn quietly<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.quiet.replace(true);
        let done = work();
        self.quiet.set(before);
        done
    }

    /// Has this called whenever an act of several operations is between two of them.
    pub fn resting(&self, rests: Option<Rc<dyn Fn()>>) {
        *self.rests.borrow_mut() = rests;
    }

    /// A thread comes to a step.
    pub fn come_to(&self, slot: u32, section: Option<Section>) {
        let watched = self.watched.borrow().clone();
        if let Some((watched, watcher)) = watched
            && watched == slot
        {
            let before = self.watched.replace(None);
            watcher(section);
            self.watched.replace(before);
        }
    }
}

fn mix(at: Off, value: u64) -> u64 {
    let mut word =
        (value ^ at.rotate_left(40)).wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    // What was never written is as if it were not there.
    if value == 0 { 0 } else { word ^ word >> 31 }
}

/// One thread, the only one of its process.
pub struct Thread {
    pub machine: Rc<Machine>,
    pub me: Owner,
    pub process: u32,
}

impl Thread {
    pub fn slot(&self) -> u32 {
        self.me.slot
    }

    /// Between two operations of an act: others may find what they find here.
    pub fn rest(&self) {
        let rests = self.machine.rests.borrow().clone();
        if let Some(rests) = rests.filter(|_| self.me.slot == ACTOR) {
            self.machine.resting(None);
            rests();
            self.machine.resting(Some(rests));
        }
    }

    /// False if all is over, and what is dropped must leave no trace.
    fn step(&self) -> bool {
        if self.machine.quiet.get() {
            return true;
        }
        let section = section::now();
        assert!(
            section.is_some() || std::thread::panicking(),
            "a store to the arena is within a section"
        );
        self.come_to(section)
    }

    fn come_to(&self, section: Option<Section>) -> bool {
        let lives = !std::thread::panicking();
        if lives {
            self.machine.come_to(self.me.slot, section);
        }
        lives
    }

    fn change(&self, at: Off, value: u64) {
        self.machine.poke(at, value);
        if self.machine.fault == Fault::WritesLate {
            let late = self.machine.held_back.take();
            if let Some((at, bytes)) = late
                && self.step()
            {
                self.write_now(at, &bytes);
            }
        }
    }

    fn write_now(&self, at: Off, from: &[u8]) {
        for (at, chunk) in (at..).step_by(8).zip(from.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // It fills what nobody reads yet: no section is needed for that.
            if self.come_to(section::now()) {
                self.machine.poke(at, u64::from_le_bytes(word));
            }
        }
    }
}

impl World for Thread {
    const SEGMENT_CELLS: u64 = 3;

    fn load(&self, at: Off) -> u64 {
        self.machine.peek(at)
    }
    fn store(&self, at: Off, value: u64) {
        if self.step() {
            self.machine.poke(at, value);
        }
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        if !self.step() {
            return Ok(());
        }
        let seen = self.load(at);
        if seen != old {
            return Err(seen);
        }
        self.change(at, new);
        Ok(())
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        if !self.step() {
            return 0;
        }
        let seen = self.load(at);
        self.change(at, value);
        seen
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        if !self.step() {
            return 0;
        }
        let seen = self.load(at);
        self.change(at, seen.wrapping_add(value));
        seen
    }
    fn fence(&self) {}
    fn read(&self, at: Off, into: &mut [u8]) {
        for (at, chunk) in (at..).step_by(8).zip(into.chunks_mut(8)) {
            chunk.copy_from_slice(&self.load(at).to_le_bytes()[..chunk.len()]);
        }
    }
    fn write(&self, at: Off, from: &[u8]) {
        if self.machine.fault == Fault::WritesLate {
            *self.machine.held_back.borrow_mut() = Some((at, from.into()));
        } else {
            self.write_now(at, from);
        }
    }
    fn give_back(&self, at: Off, len: u64) {
        if self.step() {
            for at in (at..at + len).step_by(8) {
                self.machine.poke(at, 0);
            }
        }
    }
    fn layout(&self) -> &Layout {
        &self.machine.layout
    }
    fn me(&self) -> Owner {
        self.me
    }
    fn my_process(&self) -> u32 {
        self.process
    }
    fn fate(&self, owner: Owner) -> Fate {
        if let Some(pid) = owner.process() {
            return if self.is_gone(pid) {
                Fate::Killed
            } else {
                Fate::Alive
            };
        }
        let died = || self.machine.scene.borrow().says_died(owner.slot);
        match slot::state(self.load(self.layout().thread(owner.slot))) {
            (generation, _) if generation != owner.generation => Fate::Ended,
            (_, State::Killed) => Fate::Killed,
            (_, State::Live) if died() => Fate::Killed,
            (_, State::Live) => Fate::Alive,
            _ => Fate::Ended,
        }
    }
    fn is_killed(&self, slot: u32) -> bool {
        let (generation, _) = slot::state(self.load(self.layout().thread(slot)));
        self.fate(Owner { slot, generation }) == Fate::Killed
    }
    /// Who would sleep is noted as asleep and comes back as if by a signal: he does the same again when he is woken.
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake {
        if !self.step() {
            return Wake::TimedOut;
        }
        // As the runtime's sleepers do, who watch all the others.
        if self.attend() {
            return Wake::Look;
        }
        let epoch = self.load(header::EPOCH);
        let mut scene = self.machine.scene.borrow_mut();
        if scene.epoch_moved(self.me.slot, epoch) || self.load(at) as u32 != expected {
            return Wake::Look;
        }
        if until.is_some() {
            return Wake::TimedOut;
        }
        scene.sleepers.push((self.me.slot, at));
        scene.falls_asleep = Some(self.me.slot);
        Wake::Interrupted
    }
    /// The last one who went to sleep is woken first: the machine promises no order.
    fn wake(&self, at: Off, count: u32) -> u32 {
        if !self.step() {
            return 0;
        }
        let scene = &mut *self.machine.scene.borrow_mut();
        if scene.falls_asleep == Some(self.me.slot) {
            // He sleeps already: what an interrupted one would do on his way out does not happen.
            return count;
        }
        let sleepers = &mut scene.sleepers;
        let mut left = count;
        while left > 0
            && let Some(index) = sleepers.iter().rposition(|&(_, word)| word == at)
        {
            sleepers.remove(index);
            left -= 1;
        }
        count - left
    }
    fn tell_death(&self) {
        if self.step() {
            let epoch = self.load(header::EPOCH);
            self.machine.poke(header::EPOCH, epoch + 1);
        }
        if self.machine.fault != Fault::Deaf && self.step() {
            self.machine.scene.borrow_mut().sleepers.clear();
        }
    }
    fn now(&self) -> u64 {
        1
    }
    fn spin(&self, round: u32) -> bool {
        round < self.machine.spins
    }
}
