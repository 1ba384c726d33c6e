//! A stage: objects, the operations that are played on them, and what must hold in the end.

use crate::machine::{Fault, Machine, Thread};
use crate::scene::{ASLEEP, BEGUN, Event, Local, Op, Out};
use std::rc::Rc;

/// Made anew for each act.
pub trait Stage {
    /// What can be done on it. Each is an act, and what others do beside each act.
    fn operations(&self) -> Vec<Op>;

    /// What those do who sleep already when the act begins.
    fn sleepers(&self) -> Vec<Op> {
        Vec::new()
    }

    /// What lets those go on who sleep in this operation, if anything does.
    fn relief(&self, _: Op) -> Option<Op> {
        None
    }

    /// Does an operation, or goes on with it if it came back [`ASLEEP`].
    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out;

    /// Nothing is lost, twice, or torn. All who died are buried; nobody else is amid anything.
    fn check(&self, w: &Thread, story: &Story);

    /// Whether others may find this beside an act that stopped, though they would find it neither before nor after.
    fn may_find(&self, _act: Op, _op: Op, _found: Out) -> bool {
        false
    }
}

/// What all actors have done.
pub struct Story {
    pub events: Vec<Event>,
    /// Who died amid what.
    pub killed: Vec<u32>,
    /// The same, and who slept to the end and was ended then.
    pub dead: Vec<u32>,
}

impl Story {
    /// What was done of an operation, by whomever.
    pub fn done(&self, op: Op) -> impl Iterator<Item = &Event> {
        let done = |out| !matches!(out, BEGUN | ASLEEP);
        self.events
            .iter()
            .filter(move |event| event.op == op && done(event.out))
    }

    /// How often an operation came to this.
    pub fn count(&self, op: Op, out: Out) -> u64 {
        self.done(op).filter(|event| event.out == out).count() as u64
    }

    /// How often somebody died amid an operation: nobody knows what came of it.
    pub fn unknown(&self, op: Op) -> u64 {
        let amid = |event: &&Event| event.op == op && event.out == BEGUN;
        self.events.iter().filter(amid).count() as u64
    }

    /// How often somebody died asleep in an operation.
    pub fn slept(&self, op: Op) -> u64 {
        let amid = |event: &&Event| event.op == op && event.out == ASLEEP;
        self.events.iter().filter(amid).count() as u64
    }
}

/// Sets up a stage; the thread is the director's, whose process alone has leases on it.
pub type Make = Rc<dyn Fn(&Thread) -> Box<dyn Stage>>;

/// Stages by name.
pub struct Case {
    pub name: &'static str,
    pub fault: Fault,
    /// How often who is about to sleep looks once more.
    pub spins: u32,
    pub make: Make,
}

impl Case {
    pub fn new<S: Stage + 'static>(
        name: &'static str,
        make: impl Fn(&Thread) -> S + 'static,
    ) -> Self {
        Self {
            name,
            fault: Fault::None,
            spins: 0,
            make: Rc::new(move |w| Box::new(make(w))),
        }
    }

    /// The same on a machine with a planted bug.
    pub fn with(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// The same with sleepers who look so often once more.
    pub fn spinning(self, spins: u32) -> Self {
        Self { spins, ..self }
    }

    /// The operations of the stage.
    pub fn operations(&self) -> Vec<Op> {
        let machine = Machine::new(self.fault, self.spins);
        machine.scene.borrow_mut().make_room(crate::play::SLOTS);
        (self.make)(&machine.thread(crate::play::DIRECTOR)).operations()
    }
}
