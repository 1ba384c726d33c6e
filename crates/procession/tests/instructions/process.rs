//! Process records and thread slots: taken, shown up in, given back.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage};
use crate::victim::fork;
use procession::program;
use procession::shm::World;
use procession::shm::process::{self, State};

#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Takes a thread slot.
    TakeSlot,
    /// Says that it ends.
    EndProcess,
    /// Reserves a record and gives it up.
    Reserve,
    /// Shows up in the record that was reserved for it, from its fork on.
    ShowUp,
    /// Takes a record, since its fork reserved none, and a thread slot.
    TakeRecord,
    /// Becomes the process that another record was reserved for, as a spare of a template does.
    Become,
}

struct Play {
    does: Does,
    /// The record of the controller.
    controller: u32,
    /// For who becomes another process, and in which use of it.
    asked: Option<(u32, u64)>,
}

impl Play {
    fn new(does: Does) -> Self {
        let ask = || {
            let record = program::reserve(arena()).expect("a record");
            (record, program::generation(arena(), record))
        };
        let asked = (does == Does::Become).then(ask);
        let controller = arena().my_process();
        Self {
            does,
            controller,
            asked,
        }
    }
}

impl Drop for Play {
    /// Who asked needs the record no more.
    fn drop(&mut self) {
        if let Some((record, _)) = self.asked {
            match process::state(arena(), record) {
                State::Reserved(_) => program::unreserve(arena(), record),
                _ => program::let_go(arena(), record),
            }
        }
    }
}

impl Stage for Play {
    fn ready(&mut self) {
        if !matches!(self.does, Does::TakeSlot | Does::ShowUp | Does::TakeRecord) {
            arena().me();
        }
    }

    fn is_long(&self) -> bool {
        self.does == Does::ShowUp
    }

    fn acts_from_its_fork(&self) -> bool {
        self.does == Does::ShowUp
    }

    fn is_foreign(&self) -> bool {
        self.does == Does::TakeRecord
    }

    fn act(&mut self) {
        match self.does {
            Does::TakeSlot => {
                arena().me();
            }
            Does::TakeRecord => {
                arena().me();
                assert_ne!(arena().my_process(), self.controller);
            }
            Does::EndProcess => program::end_process(0),
            Does::Reserve => {
                let record = program::reserve(arena()).expect("a record");
                program::unreserve(arena(), record);
            }
            Does::ShowUp => {}
            Does::Become => {
                let (record, generation) = self.asked.expect("it is asked for");
                program::become_asked_for(arena(), record, generation);
            }
        }
    }

    fn go_on(&mut self, _: End) -> bool {
        let other = fork(|| {
            arena().me();
        });
        assert_eq!(other.ended(0), Some(End::Survived));
        true
    }

    fn check(&mut self, _: End) {}
}

pub fn cases() -> Vec<(&'static str, Make)> {
    let play = |does| -> Make { Box::new(move |_| Box::new(Play::new(does))) };
    vec![
        ("slot", play(Does::TakeSlot)),
        ("end", play(Does::EndProcess)),
        ("reserve", play(Does::Reserve)),
        ("show_up", play(Does::ShowUp)),
        ("foreign_fork", play(Does::TakeRecord)),
        ("become", play(Does::Become)),
    ]
}
