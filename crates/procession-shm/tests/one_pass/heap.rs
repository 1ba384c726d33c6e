//! The heap: blocks taken and given back, of memory that is there, that must grow, or that is used up.

use crate::machine::Thread;
use crate::scene::{Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use procession_shm::layout::{SPAN, header};
use procession_shm::tag::{Holds, Tag};
use procession_shm::{Off, World, heap};

const SMALL: u64 = 64;
const LARGE: u64 = 200_000;

#[derive(Clone, Copy, PartialEq)]
enum Begin {
    /// Nobody ever had a block: the heap grows.
    Fresh,
    /// There are free blocks of each length.
    Used,
    /// The same, and the budget is used up.
    Tight,
    /// A free large block has lost its pages, and there is no budget for them.
    Cold,
}

struct Heap {
    begin: Begin,
    /// Each a parent of blocks that are to be freed.
    shared: Vec<Off>,
}

impl Heap {
    fn new(w: &Thread, begin: Begin) -> Self {
        let alloc = |len| heap::alloc_len(w, len).expect("room");
        let own = |block| heap::set_tag(w, block, Tag::Shared(w.layout().heap, Holds::Bytes));
        let mut shared = Vec::new();
        if begin != Begin::Fresh {
            let free: Vec<Off> = [SMALL, SMALL, LARGE, LARGE].map(alloc).into();
            // Whoever frees one takes it out of a structure first, so that it is his.
            shared = [SMALL, LARGE].map(alloc).into();
            w.machine.quietly(|| shared.iter().copied().for_each(own));
            free.into_iter().for_each(|block| heap::free(w, block));
        }
        match begin {
            Begin::Tight => w.machine.poke(header::BUDGET, w.load(header::TOUCHED)),
            Begin::Cold => {
                heap::cool(w);
                w.machine.poke(header::BUDGET, w.load(header::TOUCHED));
            }
            _ => {}
        }
        Self { begin, shared }
    }

    fn take(&self, w: &Thread, len: u64, local: &mut Local) -> Out {
        match heap::alloc_len(w, len) {
            Ok(block) => {
                assert_eq!(heap::tag(w, block), Tag::Owned(w.me, Holds::Bytes));
                w.machine.quietly(|| w.store(block, w.me.to_bits()));
                *local = Local::Block(block);
                Out("block", 0)
            }
            Err(error) => Out("no room", error.wanted),
        }
    }

    fn give(&self, w: &Thread, index: usize) -> Out {
        let Some(&block) = self.shared.get(index) else {
            return Out("none", 0);
        };
        let shared = Tag::Shared(w.layout().heap, Holds::Bytes);
        let mine = w.machine.quietly(|| heap::seize(w, block, shared));
        if mine {
            heap::free(w, block);
        }
        Out("given", u64::from(mine))
    }
}

impl Stage for Heap {
    fn operations(&self) -> Vec<Op> {
        vec!["small", "large", "give small", "give large", "cool"]
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "small" => self.take(w, SMALL, local),
            "large" => self.take(w, LARGE, local),
            "give small" => self.give(w, 0),
            "give large" => self.give(w, 1),
            "cool" => {
                heap::cool(w);
                Out("done", 0)
            }
            _ => unreachable!("no such operation"),
        }
    }

    /// A block of which somebody gives the pages back is his meanwhile, and counts.
    fn may_find(&self, act: Op, op: Op, found: Out) -> bool {
        act == "cool" && matches!(op, "small" | "large") && found.0 == "no room"
    }

    fn check(&self, w: &Thread, story: &Story) {
        for &block in &self.shared {
            // Whoever died between taking it out and freeing it left it to his recoverer.
            if heap::tag(w, block) == Tag::Shared(w.layout().heap, Holds::Bytes) {
                w.machine
                    .quietly(|| heap::set_tag(w, block, Tag::Owned(w.me, Holds::Bytes)));
                heap::free(w, block);
            }
        }
        // The kept blocks are whole.
        heap::walk(w, |block, _, tag| {
            if let Tag::Owned(owner, _) = tag {
                assert_eq!(w.load(block), owner.to_bits(), "written over by another");
            }
        });
        let top = w.load(header::HEAP_TOP);
        assert!(top <= w.layout().span_count, "grown too far");
        if self.begin == Begin::Tight || self.begin == Begin::Cold {
            let (counted, budget) = (w.load(header::TOUCHED), w.load(header::BUDGET));
            w.machine.quietly(|| heap::recount(w));
            let touched = w.load(header::TOUCHED);
            assert!(
                touched <= budget.max(counted) + 4 * SPAN,
                "{touched} bytes are touched, {budget} may be; {} died",
                story.killed.len()
            );
        }
        w.machine.poke(header::BUDGET, u64::MAX / 2);
        for len in [SMALL, LARGE] {
            let block = heap::alloc_len(w, len).expect("room");
            heap::free(w, block);
        }
    }
}

pub fn cases() -> Vec<Case> {
    let play = |name, begin| Case::new(name, move |w| Heap::new(w, begin));
    vec![
        play("heap that grows", Begin::Fresh),
        play("heap", Begin::Used),
        play("heap at its budget", Begin::Tight),
        play("heap of cold blocks", Begin::Cold),
    ]
}
