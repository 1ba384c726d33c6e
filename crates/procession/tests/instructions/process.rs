//! Process records and thread slots: taken, shown up in, given back.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage};
use crate::victim::fork;
use procession::program;
use procession::shm::World;

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
}

struct Play(Does);

impl Stage for Play {
    fn ready(&mut self) {
        if !matches!(self.0, Does::TakeSlot | Does::ShowUp) {
            arena().me();
        }
    }

    fn is_long(&self) -> bool {
        self.0 == Does::ShowUp
    }

    fn acts_from_its_fork(&self) -> bool {
        self.0 == Does::ShowUp
    }

    fn act(&mut self) {
        match self.0 {
            Does::TakeSlot => {
                arena().me();
            }
            Does::EndProcess => program::end_process(0),
            Does::Reserve => {
                let record = program::reserve(arena()).expect("a record");
                program::unreserve(arena(), record);
            }
            Does::ShowUp => {}
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
    let play = |does| -> Make { Box::new(move |_| Box::new(Play(does))) };
    vec![
        ("slot", play(Does::TakeSlot)),
        ("end", play(Does::EndProcess)),
        ("reserve", play(Does::Reserve)),
        ("show_up", play(Does::ShowUp)),
    ]
}
