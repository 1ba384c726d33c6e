//! Planted bugs: operations that are wrong in one way each. A run that does not find one is no run.

use crate::deaf::Deaf;
use crate::hasty::Hasty;
use crate::items::{Form, arena, get, is_asleep, make_queue, put};
use crate::run::Make;
use crate::stage::{End, Stage, limit};
use crate::support::{PROMISED, until};
use crate::victim::{Child, fork};
use crate::witness::{Order, Witness};
use procession::object::Object;
use procession::queue::RawQueue;
use procession::shm::object::{self, Kind};
use procession::shm::queue::Queue;
use procession::shm::section::Section;
use procession::shm::{Off, Owner, World};

/// What is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    /// A cell says that it is full before its bytes are there.
    PublishBeforeWrite,
    /// A queue and, beside it, the number of its items.
    SecondWordOfTruth,
    /// A ring in which the tail moves before the item is there.
    TailFirst,
    /// A lock that is taken by one store, and names its holder by the next.
    OwnerLater,
}

struct Play {
    bug: Bug,
    _raw: RawQueue,
    queue: Queue,
    words: Object,
}

const OF_VICTIM: u64 = 9_000_000;
const EXTRA: u64 = 8_000_000;

// Words of the ring.
const TAIL: u64 = 0;
const HEAD: u64 = 8;
const RING: u64 = 16;

impl Play {
    fn word(&self, at: u64) -> Off {
        self.words.body() + at
    }

    fn put(&self, id: u64) {
        let w = arena();
        let _section = Section::QueuePut.enter();
        match self.bug {
            Bug::PublishBeforeWrite => {
                put(&Hasty::new(w), self.queue, Form::Inline, id, limit()).expect("no bound");
            }
            Bug::SecondWordOfTruth => {
                put(w, self.queue, Form::Inline, id, limit()).expect("no bound");
                w.add(self.word(0), 1);
            }
            Bug::TailFirst => {
                let n = w.add(self.word(TAIL), 1);
                w.store(self.word(RING + n * 8), id);
            }
            Bug::OwnerLater => {
                assert!(self.acquire(), "the lock is free again");
                w.store(self.word(0), 0);
            }
        }
    }

    /// What comes out, in order.
    fn drain(&self) -> Vec<u64> {
        let w = arena();
        let next = || match self.bug {
            Bug::TailFirst if w.load(self.word(HEAD)) == w.load(self.word(TAIL)) => None,
            Bug::TailFirst => {
                let cell = self.word(RING + w.add(self.word(HEAD), 1) * 8);
                // Whoever moved the tail is dead: nobody will fill it.
                assert_ne!(w.load(cell), 0, "an item never comes");
                Some(w.load(cell))
            }
            Bug::SecondWordOfTruth => {
                let id = get(w, self.queue, Some(0))?;
                w.add(self.word(0), u64::MAX);
                Some(id)
            }
            Bug::PublishBeforeWrite => get(w, self.queue, Some(0)),
            Bug::OwnerLater => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// The holder stands in the second word; a dead one's lock may be taken.
    fn acquire(&self) -> bool {
        let w = arena();
        let (word, owner) = (self.word(0), self.word(8));
        if w.cas(word, 0, 1).is_err() {
            let holder = w.load(owner);
            if holder == 0 || w.fate(Owner::from_bits(holder)) != procession::shm::Fate::Killed {
                return false;
            }
        }
        w.store(owner, w.me().to_bits());
        true
    }
}

impl Stage for Play {
    fn act(&mut self) {
        self.put(OF_VICTIM);
    }

    fn go_on(&mut self, _: End) -> bool {
        self.put(EXTRA);
        true
    }

    fn check(&mut self, _: End) {
        let got = self.drain();
        if self.bug == Bug::OwnerLater {
            return;
        }
        assert!(got == [OF_VICTIM, EXTRA] || got == [EXTRA], "a torn item");
        if self.bug == Bug::SecondWordOfTruth {
            assert_eq!(arena().load(self.word(0)), 0, "the count is off");
        }
    }
}

/// A death of which the first who hears tells nobody.
struct News {
    raw: RawQueue,
    queue: Queue,
    /// Where nothing ever comes.
    other: (RawQueue, Queue),
    deaf: Option<Child>,
    witness: &'static Witness,
}

impl News {
    fn make() -> Make {
        Box::new(|witness| {
            let (raw, queue) = make_queue(0);
            Box::new(News {
                raw,
                queue,
                other: make_queue(0),
                deaf: None,
                witness,
            })
        })
    }
}

impl Stage for News {
    fn curtain(&mut self) {
        let queue = self.other.1;
        let deaf = fork(|| {
            get(&Deaf(arena()), queue, None);
        });
        until("the deaf one sleeps", PROMISED, || is_asleep(deaf.pid));
        self.deaf = Some(deaf);
        let place = self.raw.object().word(object::BODY_BLOCK);
        self.witness.begin(Order::Get, place, 0);
    }

    fn act(&mut self) {
        put(arena(), self.queue, Form::Inline, OF_VICTIM, limit()).expect("no bound");
    }

    fn go_on(&mut self, _: End) -> bool {
        if self.queue.is_empty(arena()) && !self.witness.is_done() {
            put(arena(), self.queue, Form::Inline, EXTRA, limit()).expect("no bound");
        }
        self.witness.answer();
        true
    }

    fn check(&mut self, _: End) {
        let deaf = self.deaf.take().expect("it sleeps");
        deaf.signal(libc::SIGKILL);
        assert_eq!(deaf.ended(0), Some(End::Killed));
        while get(arena(), self.queue, Some(0)).is_some() {}
    }
}

/// Each with what it is found by.
pub fn cases() -> Vec<(&'static str, Make, &'static str)> {
    let play = |bug| -> Make {
        Box::new(move |_| {
            let (raw, queue) = make_queue(0);
            let words = Object::create(Kind::Event, |_, _, _| Ok(())).expect("room");
            Box::new(Play {
                bug,
                _raw: raw,
                queue,
                words,
            })
        })
    };
    vec![
        (
            "publish_before_write",
            play(Bug::PublishBeforeWrite),
            "a torn item",
        ),
        (
            "second_word_of_truth",
            play(Bug::SecondWordOfTruth),
            "the count is off",
        ),
        ("tail_first", play(Bug::TailFirst), "an item never comes"),
        (
            "owner_later",
            play(Bug::OwnerLater),
            "the lock is free again",
        ),
        ("news_not_passed_on", News::make(), "the witness goes on"),
    ]
}
