//! A process that waits for the prize when it is told to.

use procession::shm::{Owner, World};
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::prizes::Prize;
use crate::support::shared::{Words, arena, is_asleep};
use crate::support::until;

/// What the rounds themselves need, however busy the machine is, takes no longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

// Words of a player.
pub const ORDER: u64 = 0;
const BEGUN: u64 = 1;
const DONE: u64 = 2;
pub const AT: u64 = 3;
const OWNER: u64 = 4;

/// A process that waits for the prize once a round.
pub struct Player {
    pub child: Child,
    pub words: Words,
}

impl Player {
    pub fn start(prize: &mut dyn Prize, words: Words) -> Self {
        words.set(OWNER, 0);
        let child = Child::start(|| play(prize, words));
        until("a player is there", PATIENCE, || words.get(OWNER) != 0);
        Self { child, words }
    }

    pub fn owner(&self) -> Owner {
        Owner::from_bits(self.words.get(OWNER))
    }

    /// Has it wait for the prize; comes back when it sleeps.
    pub fn begin(&self, round: u64) {
        self.words.set(ORDER, round);
        arena().wake(self.words.at(ORDER), 1);
        let asleep = || self.words.get(BEGUN) == round && is_asleep(self.child.pid());
        let since = Instant::now();
        while !asleep() {
            assert!(
                since.elapsed() < PATIENCE,
                "round {round}, begun {}, done {}: a player does not sleep: {}",
                self.words.get(BEGUN),
                self.words.get(DONE),
                self.child.stat()
            );
            std::thread::yield_now();
        }
    }

    pub fn is_done(&self, round: u64) -> bool {
        self.words.get(DONE) == round
    }
}

fn play(prize: &mut dyn Prize, words: Words) {
    let arena = arena();
    let mut last = words.get(ORDER);
    words.set(OWNER, arena.me().to_bits());
    loop {
        let order = words.get(ORDER);
        if order == last {
            arena.wait(words.at(ORDER), order as u32, None);
            continue;
        }
        last = order;
        let begins = || words.set(BEGUN, order);
        let had = || {
            words.set(AT, arena.now());
            words.set(DONE, order);
        };
        prize.have(&begins, &had);
    }
}
