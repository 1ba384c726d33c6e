//! Queues that count their work, and waiting for an item that another takes.

use crate::machine::Thread;
use crate::queue::get;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::make_joinable;
use procession_shm::queue::{Item, Queue};

struct Joinable {
    queue: Queue,
    /// So many were put; of the first ones it was said that they are done.
    fill: u64,
    done: u64,
    sleepers: &'static [Op],
}

impl Joinable {
    fn new(w: &Thread, fill: u64, done: u64, sleepers: &'static [Op]) -> Self {
        let (_, queue) = make_joinable(w, 0);
        let stage = Self {
            queue,
            fill,
            done,
            sleepers,
        };
        (0..fill).for_each(|_| assert_eq!(stage.put(w), Out("put", 0)));
        for _ in 0..done {
            assert!(matches!(get(w, queue, None), Out("got", _)));
            queue.task_done(w).expect("it was put");
        }
        stage
    }

    fn put(&self, w: &Thread) -> Out {
        let put = self
            .queue
            .put(w, Item::Inline(1, &7_u64.to_le_bytes()), None);
        assert!(put.is_ok(), "it has no bound");
        Out("put", 0)
    }
}

impl Stage for Joinable {
    fn operations(&self) -> Vec<Op> {
        vec![
            "put",
            "get late",
            "done",
            "join",
            "join late",
            "unfinished",
            "await",
            "await late",
        ]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, op: Op) -> Option<Op> {
        Some(if op == "join" { "done" } else { "put" })
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let until = op.ends_with("late").then_some(1);
        let waited = |waited, what| match waited {
            Ok(found) => Out(what, u64::from(found)),
            Err(procession_shm::Interrupted) => ASLEEP,
        };
        match op {
            "put" => self.put(w),
            "get" | "get late" => get(w, self.queue, until),
            "done" => Out("done", u64::from(self.queue.task_done(w).is_ok())),
            "join" | "join late" => waited(self.queue.join(w, until), "joined"),
            "unfinished" => Out("unfinished", self.queue.unfinished(w)),
            "await" | "await late" => waited(self.queue.await_item(w, until, || false), "there is"),
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        let puts = self.fill + story.done("put").count() as u64;
        let done = self.done + story.count("done", Out("done", 1));
        let got = story.events.iter().filter(|event| event.out.0 == "got");
        let got = self.done + got.count() as u64;
        let unfinished = self.queue.unfinished(w);
        let least = puts.saturating_sub(done + story.unknown("done"));
        let most = (puts + story.unknown("put")).saturating_sub(done);
        assert!((least..=most).contains(&unfinished), "the work is off");
        let mut left = 0;
        while let Out("got", _) = get(w, self.queue, Some(0)) {
            left += 1;
        }
        let seen = got + left;
        let (least, most) = (
            puts.saturating_sub(story.unknown("get late")),
            puts + story.unknown("put"),
        );
        assert!((least..=most).contains(&seen), "{seen} of {puts} came out");
        while self.queue.unfinished(w) > 0 {
            self.queue.task_done(w).expect("it was put");
        }
        assert!(self.queue.task_done(w).is_err());
        assert_eq!(self.queue.join(w, Some(0)), Ok(true));
    }
}

pub fn cases() -> Vec<Case> {
    let play = |name, fill, done, sleepers| {
        Case::new(name, move |w| Joinable::new(w, fill, done, sleepers))
    };
    vec![
        play("queue that counts", 2, 1, &[]),
        play("full segment that counts", 3, 2, &[]),
        play("work waited for", 1, 0, &["join", "join"]),
        play("items awaited", 0, 0, &["await", "get"]),
    ]
}
