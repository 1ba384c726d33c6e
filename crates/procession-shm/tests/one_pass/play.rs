//! One pass through an act: at each new state of the arena it is copied, and on each copy the actor is dead, or stopped,
//! and others go on.

use crate::machine::{Machine, PROCESSES, Thread};
use crate::scene::{ASLEEP, BEGUN, Event, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::violation;
use procession_shm::section::Section;
use procession_shm::slot::{self, State};
use procession_shm::tag::Tag;
use procession_shm::{World, heap, object};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

// Who has which slot.
pub const DIRECTOR: u32 = 0;
const SLEEPERS: [u32; 2] = [1, 2];
pub const ACTOR: u32 = 3;
const OTHER: u32 = 4;
const HELPER: u32 = 5;
/// The second one repairs what the first one died of, the last thread what the second one died of.
const REPAIRERS: [u32; 2] = [6, 7];
pub const LAST: u32 = 8;
/// Slots, with some that nobody has.
pub const SLOTS: usize = 12;

/// How often an actor is let go on who sleeps.
const RELIEFS: u32 = 4;

/// Which points are played: every so-manieth.
#[derive(Clone, Copy)]
pub struct Share {
    pub every: u64,
    pub offset: u64,
}

impl Share {
    fn has(self, point: u64) -> bool {
        point % self.every == self.offset % self.every
    }
}

/// What an act came to.
#[derive(Clone, Default)]
pub struct Row {
    /// Steps of the actor.
    pub steps: u64,
    /// States of the arena from which others went on with the actor dead.
    pub states: u64,
    /// Operations of others, each on a copy of its own.
    pub pairs: u64,
    /// States amid recoveries at which the repairer died, the first one or the second.
    pub nested: u64,
    /// Steps by section.
    pub sections: HashMap<u8, u64>,
    /// What did not hold.
    pub violations: Vec<String>,
}

/// What it is that somebody sleeps on though there is something for him.
#[derive(Clone, Copy, PartialEq)]
enum Hanging {
    /// A violation.
    IsViolation,
    /// Somebody is stopped who would have woken him: a slice's end does.
    EndsWithTheSlice,
    /// Somebody else was woken for it, and has yet to come.
    MayBe,
}

pub struct Play {
    machine: Rc<Machine>,
    stage: Box<dyn Stage>,
    threads: Vec<Thread>,
    act: Op,
    share: Share,
    row: RefCell<Row>,
    seen: RefCell<HashSet<u64>>,
    repairs: Cell<u64>,
    /// What others find before the act, after it, and while the actor sleeps.
    expected: RefCell<HashSet<(Op, Out)>>,
    /// What others find who come when the actor is dead.
    after_death: RefCell<HashSet<(Op, Out)>>,
    /// What is being played, for who reads of a violation.
    scene: Cell<(u64, &'static str, Op)>,
}

impl Play {
    pub fn new(case: &Case, act: Op, share: Share) -> Rc<Self> {
        let machine = Machine::new(case.fault, case.spins);
        machine.scene.borrow_mut().make_room(SLOTS);
        let threads: Vec<Thread> = (0..=LAST).map(|slot| machine.thread(slot)).collect();
        let stage = (case.make)(&threads[DIRECTOR as usize]);
        Rc::new(Self {
            machine,
            stage,
            threads,
            act,
            share,
            row: RefCell::default(),
            seen: RefCell::default(),
            repairs: Cell::new(0),
            expected: RefCell::default(),
            after_death: RefCell::default(),
            scene: Cell::new((0, "before it", "")),
        })
    }

    pub fn row(&self) -> Row {
        self.row.borrow().clone()
    }

    /// Does it on a copy of what is now.
    fn on_a_copy(&self, work: impl FnOnce()) {
        let here = self.machine.copied();
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            let (step, what, op) = self.scene.get();
            let found = violation::last();
            let violation = format!("step {step} of {}, {what}, {op}: {found}", self.act);
            self.row.borrow_mut().violations.push(violation);
        }
        self.machine.go_back(&here);
    }

    /// Plays it all.
    pub fn run(self: &Rc<Self>) {
        self.on_a_copy(|| self.play());
    }

    fn play(self: &Rc<Self>) {
        for (slot, op) in SLEEPERS.into_iter().zip(self.stage.sleepers()) {
            assert_eq!(self.perform(slot, op), ASLEEP, "it sleeps at first");
        }
        self.on_a_copy(|| {
            self.note_expected();
            let play = self.clone();
            self.machine
                .resting(Some(Rc::new(move || play.note_expected())));
            self.play_act(|play| play.note_expected());
            self.note_expected();
            self.machine.resting(None);
        });
        self.on_a_copy(|| {
            let play = self.clone();
            let watcher = Rc::new(move |section| play.come_to(section));
            self.machine.watching(ACTOR, watcher, || {
                self.play_act(|play| play.look(false));
            });
            self.look(true);
        });
        let steps = self.row.borrow().steps;
        for step in (1..=steps).filter(|&step| self.share.has(step)) {
            for op in self.stage.operations() {
                self.scene.set((step, "stopped, and goes on after", op));
                self.on_a_copy(|| self.play_beside(step, op));
            }
        }
    }

    fn thread(&self, slot: u32) -> &Thread {
        &self.threads[slot as usize]
    }

    fn is_asleep(&self, slot: u32) -> bool {
        !self.thread(slot).is_dead() && self.machine.scene.borrow().is_asleep(slot)
    }

    /// Does an operation, or goes on with it.
    fn perform(&self, slot: u32, op: Op) -> Out {
        let mut local = {
            let scene = &mut *self.machine.scene.borrow_mut();
            scene.sleepers.retain(|&(sleeper, _)| sleeper != slot);
            if scene.is_asleep(slot) {
                let at = scene.last_of(slot).expect("it fell asleep");
                scene.events[at].out = BEGUN;
            } else {
                let (who, out) = (slot, BEGUN);
                scene.events.push(Event { who, op, out });
            }
            scene.locals[slot as usize]
        };
        let out = self.stage.perform(self.thread(slot), op, &mut local);
        let scene = &mut *self.machine.scene.borrow_mut();
        scene.falls_asleep = None;
        scene.locals[slot as usize] = local;
        let at = scene.last_of(slot).expect("it began it");
        scene.events[at].out = out;
        out
    }

    /// The act, from its begin to its end, or to a sleep that nothing ends.
    fn play_act(self: &Rc<Self>, asleep: impl Fn(&Rc<Self>)) {
        let mut woken = true;
        for _ in 0..RELIEFS {
            if woken && self.perform(ACTOR, self.act) != ASLEEP {
                return;
            }
            asleep(self);
            let Some(relief) = self.stage.relief(self.act) else {
                return;
            };
            self.perform(HELPER, relief);
            self.settle(Some(ACTOR), Hanging::MayBe);
            asleep(self);
            let sleepers = &self.machine.scene.borrow().sleepers;
            woken = !sleepers.iter().any(|&(sleeper, _)| sleeper == ACTOR);
        }
    }

    fn note_expected(&self) {
        for op in self.stage.operations() {
            self.on_a_copy(|| {
                let found = (op, self.perform(OTHER, op));
                self.expected.borrow_mut().insert(found);
            });
        }
    }

    /// The actor comes to a step.
    fn come_to(self: &Rc<Self>, section: Option<Section>) {
        {
            let row = &mut *self.row.borrow_mut();
            row.steps += 1;
            if let Some(section) = section {
                *row.sections.entry(section as u8).or_default() += 1;
            }
        }
        self.look(false);
    }

    /// The actor stands where it stands: it dies here, or is stopped. The end of the act is always played.
    fn look(self: &Rc<Self>, end: bool) {
        let step = self.row.borrow().steps;
        let state = self.machine.state();
        if !(end || self.share.has(step)) || !self.seen.borrow_mut().insert(state) {
            return;
        }
        self.row.borrow_mut().states += 1;
        for op in self.stage.operations() {
            self.scene.set((step, "stopped", op));
            self.on_a_copy(|| self.go_on_beside(op));
        }
        self.on_a_copy(|| {
            self.thread(ACTOR).die();
            self.after_death.borrow_mut().clear();
            for op in self.stage.operations() {
                self.scene.set((step, "killed", op));
                self.on_a_copy(|| self.go_on_after(op));
            }
            self.scene.set((step, "killed and buried", ""));
            self.on_a_copy(|| {
                self.thread(REPAIRERS[0]).attend();
                self.settle(None, Hanging::IsViolation);
                for op in self.stage.operations() {
                    self.scene.set((step, "killed and buried", op));
                    self.on_a_copy(|| self.go_on_after(op));
                }
            });
            self.scene.set((step, "killed, and who repairs", ""));
            self.repair(0);
        });
    }

    /// Another goes on while the actor is stopped, and does not wait for it.
    fn go_on_beside(&self, op: Op) {
        let found = self.perform(OTHER, op);
        assert!(
            self.expected.borrow().contains(&(op, found))
                || self.stage.may_find(self.act, op, found),
            "{op} finds {found:?}, neither before the act nor after it"
        );
        // A slice's end is what lets those go on who were to be woken by it.
        self.settle(Some(ACTOR), Hanging::EndsWithTheSlice);
        self.thread(ACTOR).die();
        self.finish();
    }

    /// Another goes on when the actor is dead.
    fn go_on_after(&self, op: Op) {
        let found = self.perform(OTHER, op);
        self.after_death.borrow_mut().insert((op, found));
        self.finish();
    }

    /// The act, with an operation of another, and of those whom that lets go on, before one of its steps.
    fn play_beside(self: &Rc<Self>, step: u64, op: Op) {
        let (play, count) = (self.clone(), Cell::new(0));
        let watcher = Rc::new(move |_| {
            count.set(count.get() + 1);
            if count.get() == step {
                play.perform(OTHER, op);
                play.settle(Some(ACTOR), Hanging::EndsWithTheSlice);
            }
        });
        self.machine
            .watching(ACTOR, watcher, || self.play_act(|_| {}));
        self.finish();
    }

    /// A repairer recovers all, and dies of it at each step; the next one does the same.
    fn repair(self: &Rc<Self>, depth: usize) {
        let by = REPAIRERS[depth];
        let play = self.clone();
        let watcher = Rc::new(move |_| play.repairer_comes_to(depth));
        self.machine.watching(by, watcher, || {
            self.thread(by).attend();
            self.thread(by).sweep();
        });
        self.finish();
    }

    fn repairer_comes_to(self: &Rc<Self>, depth: usize) {
        let state = self.machine.state();
        if !self.seen.borrow_mut().insert(state) {
            return;
        }
        self.repairs.set(self.repairs.get() + 1);
        if !self.share.has(self.repairs.get()) {
            return;
        }
        self.row.borrow_mut().nested += 1;
        let (step, _, _) = self.scene.get();
        if depth == 0 {
            for op in self.stage.operations() {
                self.scene
                    .set((step, "killed, and who repairs is stopped", op));
                self.on_a_copy(|| self.go_on_beside_repair(op));
            }
        }
        self.scene
            .set((step, "killed, and who repairs is killed", ""));
        self.on_a_copy(|| {
            self.thread(REPAIRERS[depth]).die();
            if depth + 1 < REPAIRERS.len() {
                self.repair(depth + 1);
            } else {
                self.finish();
            }
        });
    }

    /// Another goes on while who repairs is stopped, and does not wait for it.
    fn go_on_beside_repair(&self, op: Op) {
        let found = self.perform(OTHER, op);
        let asleep = self.after_death.borrow().contains(&(op, ASLEEP));
        assert!(found != ASLEEP || asleep, "{op} waits for who repairs");
        self.thread(REPAIRERS[0]).die();
        self.finish();
    }

    /// Whoever can go on does. Who sleeps on though there is something for him hangs.
    fn settle(&self, except: Option<u32>, hanging: Hanging) {
        let all = || (0..=LAST).filter(|&slot| Some(slot) != except);
        loop {
            let mut moved = self.tell_of_deaths(except);
            for slot in all().filter(|&slot| self.is_asleep(slot)) {
                let sleeps = |&(sleeper, _): &(u32, u64)| sleeper == slot;
                if !self.machine.scene.borrow().sleepers.iter().any(sleeps) {
                    self.perform(slot, self.op_of(slot));
                    moved = true;
                }
            }
            if moved {
                continue;
            }
            if hanging == Hanging::MayBe {
                return;
            }
            let here = self.machine.copied();
            for slot in all().filter(|&slot| self.is_asleep(slot)) {
                let op = self.op_of(slot);
                let found = self.perform(slot, op);
                if found != ASLEEP {
                    let slice = hanging == Hanging::EndsWithTheSlice;
                    assert!(slice, "{op} sleeps on though there is {found:?}");
                    moved = true;
                    break;
                }
                self.machine.go_back(&here);
            }
            if !moved {
                return;
            }
        }
    }

    /// The kernel wakes one of those who sleep, or somebody comes by; that one sees to the dead.
    fn tell_of_deaths(&self, except: Option<u32>) -> bool {
        let (dead, woken) = {
            let scene = &mut *self.machine.scene.borrow_mut();
            let dead = (0..=LAST).any(|slot| scene.says_died(slot));
            let other = |&(sleeper, _): &(u32, u64)| Some(sleeper) != except;
            let at = scene.sleepers.iter().position(other).filter(|_| dead);
            (dead, at.map(|at| scene.sleepers.remove(at).0))
        };
        dead && self.thread(woken.unwrap_or(LAST)).attend() || woken.is_some()
    }

    fn op_of(&self, slot: u32) -> Op {
        let scene = self.machine.scene.borrow();
        let at = scene.last_of(slot).expect("it did something");
        scene.events[at].op
    }

    /// All who can go on do, the rest die asleep; then what must hold is asked, and all is let go.
    fn finish(&self) {
        self.settle(None, Hanging::IsViolation);
        let last = self.thread(LAST);
        let killed = self.machine.scene.borrow().dead.clone();
        let local = |slot: u32| self.machine.scene.borrow().locals[slot as usize];
        for thread in &self.threads {
            let slot = thread.slot();
            if !thread.is_dead() && (self.is_asleep(slot) || matches!(local(slot), Local::Busy)) {
                thread.die();
            }
        }
        last.attend();
        last.sweep();
        self.check_threads();
        heap::walk(last, |block, _, tag| {
            if let Tag::Owned(owner, _) = tag {
                let kept = matches!(local(owner.slot), Local::Block(kept) if kept == block);
                assert!(kept, "{block:#x} is {tag:?}");
            }
        });
        let story = {
            let scene = self.machine.scene.borrow();
            let (events, dead) = (scene.events.clone(), scene.dead.clone());
            Story {
                events,
                killed,
                dead,
            }
        };
        self.stage.check(last, &story);
        for thread in &self.threads {
            if let (false, Local::Block(block)) = (thread.is_dead(), local(thread.slot())) {
                heap::free(thread, block);
            }
        }
        let in_use = || {
            let mut blocks = Vec::new();
            heap::walk(last, |block, class, tag| {
                if !matches!(tag, Tag::Free { .. }) {
                    blocks.push((block, class, tag));
                }
            });
            blocks
        };
        // What the dead had leases on is not needed by them any more, as it stands.
        let dead = |process: &u32| {
            self.threads
                .iter()
                .any(|t| t.is_dead() && t.process == *process)
        };
        let mut left = vec![(0, 0, Tag::FREE)];
        for process in (0..PROCESSES as u32).filter(|process| !dead(process)) {
            if left.is_empty() {
                break;
            }
            object::drop_leases(last, process);
            left = in_use();
        }
        assert!(left.is_empty(), "leaked: {left:x?}");
        self.row.borrow_mut().pairs += 1;
    }

    /// Who is dead has neither slot nor record, and who lives has both.
    fn check_threads(&self) {
        let last = self.thread(LAST);
        for thread in &self.threads {
            let at = last.layout().thread(thread.slot());
            let lives = slot::state(last.load(at)).1 == State::Live;
            assert_eq!(lives, !thread.is_dead(), "slot {}", thread.slot());
        }
        assert!(self.machine.scene.borrow().gone.is_empty(), "records");
    }
}
