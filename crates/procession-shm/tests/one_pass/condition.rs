//! Conditions, without their locks: who waits, who is notified, who gives up.

use crate::machine::Thread;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::make_condition;
use procession_shm::condition::Condition;

/// Records that a chunk has room for.
const CHUNK: u64 = 15;

struct Conditions {
    condition: Condition,
    waiters: u64,
    sleepers: &'static [Op],
}

impl Conditions {
    fn new(w: &Thread, waiters: u64, sleepers: &'static [Op]) -> Self {
        let (_, condition) = make_condition(w);
        // They give up once a chunk is added for others: the place of the first ones is free again.
        let records: Vec<_> = (0..waiters)
            .map(|_| condition.enter(w).expect("room"))
            .collect();
        for record in records {
            if waiters > CHUNK {
                condition.leave(w, record);
            }
        }
        Self {
            condition,
            waiters,
            sleepers,
        }
    }

    fn wait(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        let record = match *local {
            Local::Record(record) => record,
            _ => match self.condition.enter(w) {
                Ok(record) => record,
                Err(_) => return Out("no room", 0),
            },
        };
        *local = Local::Record(record);
        w.rest();
        if op == "leave" {
            self.condition.leave(w, record);
            return Out("left", 0);
        }
        let until = (op == "wait late").then_some(1);
        match self.condition.wait(w, record, until) {
            Ok(true) => Out("notified", 0),
            Ok(false) => Out("timed out", 0),
            Err(procession_shm::Interrupted) => ASLEEP,
        }
    }
}

impl Stage for Conditions {
    fn operations(&self) -> Vec<Op> {
        vec![
            "wait",
            "wait late",
            "leave",
            "notify",
            "notify all",
            "has waiters",
        ]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, _: Op) -> Option<Op> {
        Some("notify all")
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "notify" => Out("let go", self.condition.notify(w, 1)),
            "notify all" => Out("let go", self.condition.notify(w, u64::MAX)),
            "has waiters" => Out("has", u64::from(self.condition.has_waiters(w))),
            _ => self.wait(w, op, local),
        }
    }

    /// Each is let go by itself.
    fn may_find(&self, act: Op, _: Op, found: Out) -> bool {
        act == "notify all" && found.0 == "let go"
    }

    fn check(&self, w: &Thread, story: &Story) {
        let let_go =
            ["notify", "notify all"].map(|op| story.done(op).map(|e| e.out.1).sum::<u64>());
        let let_go: u64 = let_go.iter().sum();
        let notified = ["wait", "wait late"].map(|op| story.count(op, Out("notified", 0)));
        let notified: u64 = notified.iter().sum();
        let passed_on = !story.killed.is_empty() || story.done("leave").count() > 0;
        // The director's own waiters say nothing of how they were let go.
        if !passed_on && self.waiters != CHUNK {
            assert!(notified <= let_go, "a wait ended though nobody notified");
            let on = story.slept("wait") == 0;
            assert!(on || notified == let_go, "a mark let nobody go");
        }
        while self.condition.notify(w, 1) > 0 {}
        assert!(!self.condition.has_waiters(w));
        let record = self.condition.enter(w).expect("room");
        assert_eq!(self.condition.notify(w, 2), 1, "all others are gone");
        assert_eq!(self.condition.wait(w, record, Some(0)), Ok(true));
    }
}

pub fn cases() -> Vec<Case> {
    let play =
        |name, waiters, sleepers| Case::new(name, move |w| Conditions::new(w, waiters, sleepers));
    vec![
        play("condition", 0, &[]),
        play("condition waited for", 0, &["wait", "wait"]),
        play("condition with a full chunk", CHUNK, &[]),
        play("condition with two chunks", CHUNK + 1, &["wait"]),
    ]
}
