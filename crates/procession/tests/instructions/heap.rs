//! The heap where it grows, and where its budget is used up.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage};
use procession::shm::layout::header;
use procession::shm::{Off, World, heap};

/// A block of one span: where all of these are in use, the next one is made by growing.
const LEN: u64 = 64 << 10;
/// A block that needs more than there is.
const MORE: u64 = 8 << 20;

struct Play {
    /// The budget that the arena had, if it is used up now.
    budget: Option<u64>,
    held: Vec<Off>,
}

fn play(used_up: bool) -> Make {
    Box::new(move |_| {
        let w = arena();
        let (mut held, top) = (Vec::new(), w.load(header::HEAP_TOP));
        while !used_up && w.load(header::HEAP_TOP) == top {
            held.push(heap::alloc_len(w, LEN).expect("room"));
        }
        let budget = used_up.then(|| {
            let budget = w.load(header::BUDGET);
            w.store(header::BUDGET, w.load(header::TOUCHED) + MORE / 2);
            budget
        });
        Box::new(Play { budget, held })
    })
}

impl Play {
    fn perform(&self) {
        let w = arena();
        let len = if self.budget.is_some() { MORE } else { LEN };
        if let Ok(block) = heap::alloc_len(w, len) {
            heap::free(w, block);
            assert!(self.budget.is_none(), "the budget is used up");
        }
    }
}

impl Stage for Play {
    fn act(&mut self) {
        self.perform();
    }

    fn go_on(&mut self, _: End) -> bool {
        self.perform();
        true
    }

    fn check(&mut self, _: End) {
        // What fits is still to be had.
        let block = heap::alloc_len(arena(), LEN).expect("room");
        heap::free(arena(), block);
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let w = arena();
        if let Some(budget) = self.budget {
            w.store(header::BUDGET, budget);
        }
        self.held.drain(..).for_each(|block| heap::free(w, block));
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![
        ("heap_that_grows", play(false)),
        ("heap_at_its_budget", play(true)),
    ]
}
