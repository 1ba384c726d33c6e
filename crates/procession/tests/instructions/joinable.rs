//! Queues that count, and waiting for an item that another takes.

use crate::items::{self, Form, arena};
use crate::run::Make;
use crate::stage::{End, Stage, limit, patience, result, set_result};
use crate::witness::{Order, Witness};
use procession::queue::RawQueue;
use procession::shm::object;
use procession::shm::queue::{AllDone, Queue};

/// What the victim does.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Puts an item beside one that is not done.
    Put,
    /// Says that one of two items is done.
    TaskDone,
    /// Says that the last one is done, for which a witness waits.
    LastDone,
    /// Waits until all is done, which it is.
    Join,
    /// Waits for one that is not done.
    JoinAsleep,
    /// Waits for an item, while a witness waits to take it.
    Await,
}

struct Play {
    does: Does,
    raw: RawQueue,
    queue: Queue,
    witness: &'static Witness,
}

fn play(does: Does) -> Make {
    Box::new(move |witness| {
        let raw = RawQueue::new_joinable(0).expect("room");
        let queue = Queue::at(raw.object().word(object::BODY_BLOCK));
        let items = match does {
            Does::Await | Does::Join => 0,
            Does::Put | Does::LastDone | Does::JoinAsleep => 1,
            Does::TaskDone => 2,
        };
        for id in 0..items {
            items::put(arena(), queue, Form::Message, id, Some(0)).expect("room");
            assert_eq!(items::get(arena(), queue, Some(0)), Some(id));
        }
        Box::new(Play {
            does,
            raw,
            queue,
            witness,
        })
    })
}

impl Play {
    fn block(&self) -> u64 {
        self.raw.object().word(object::BODY_BLOCK)
    }

    /// Says that all is done; how many were not.
    fn finish(&self) -> u64 {
        let mut count = 0;
        while self.queue.task_done(arena()) != Err(AllDone) {
            count += 1;
        }
        count
    }

    fn put(&self) {
        items::put(arena(), self.queue, Form::Message, 7, limit()).expect("room");
    }
}

impl Stage for Play {
    fn curtain(&mut self) {
        match self.does {
            Does::LastDone => self.witness.begin(Order::Join, self.block(), 0),
            Does::Await => self.witness.begin(Order::Get, self.block(), 0),
            _ => {}
        }
    }

    fn act(&mut self) {
        let (w, queue) = (arena(), self.queue);
        match self.does {
            Does::Put => items::put(w, queue, Form::Message, 8, patience()).expect("room"),
            Does::TaskDone | Does::LastDone => {
                // If it was stopped, all may be done when it goes on.
                set_result(1 + u64::from(queue.task_done(w).is_err()));
                return;
            }
            Does::Join | Does::JoinAsleep => assert_eq!(queue.join(w, patience()), Ok(true)),
            Does::Await => {
                let awaited = queue.await_item(w, patience(), || false);
                // The witness may have taken it before the victim looks again.
                assert!(awaited.is_ok());
            }
        }
        set_result(1);
    }

    fn sleeps(&self) -> bool {
        matches!(self.does, Does::JoinAsleep | Does::Await)
    }

    fn relieve(&mut self) {
        match self.does {
            Does::JoinAsleep => self.queue.task_done(arena()).expect("it was put"),
            _ => {
                // One for the witness, one that stays.
                self.put();
                self.put();
            }
        }
    }

    fn help(&mut self) {
        if self.does == Does::Await && self.queue.is_empty(arena()) {
            self.put();
        }
    }

    fn go_on(&mut self, end: End) -> bool {
        let queue = self.queue;
        match self.does {
            Does::Put => {
                let found = items::get(arena(), queue, Some(0));
                assert!(matches!(found, None | Some(8)));
                let put = u64::from(found.is_some());
                assert!(put == 1 || end != End::Survived);
                assert_eq!(self.finish(), 1 + put, "what is there is counted");
            }
            Does::TaskDone => {
                let left = self.finish();
                assert!(left == 1 || left == 2 && end != End::Survived);
            }
            Does::LastDone => {
                // If it is done, nothing else shall wake the witness.
                let left = self.finish();
                assert!(left == 0 || end != End::Survived);
                assert_eq!(self.witness.answer(), 1);
            }
            Does::Join | Does::JoinAsleep => {
                self.finish();
                assert_eq!(queue.join(arena(), limit()), Ok(true));
            }
            Does::Await => {
                if !self.witness.is_done() {
                    self.put();
                }
                assert_eq!(self.witness.answer(), 7, "its wake was not kept");
            }
        }
        true
    }

    fn check(&mut self, end: End) {
        assert!(end != End::Survived || result() == 1);
    }

    fn resumed(&mut self) {
        let left = self.finish();
        assert!(
            left <= 2 || self.does == Does::Await,
            "nothing comes from nowhere"
        );
        while items::get(arena(), self.queue, Some(0)).is_some() {}
        assert_eq!(self.queue.join(arena(), limit()), Ok(true));
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![
        ("put_that_counts", play(Does::Put)),
        ("task_done", play(Does::TaskDone)),
        ("task_done_that_wakes", play(Does::LastDone)),
        ("join", play(Does::Join)),
        ("join_asleep", play(Does::JoinAsleep)),
        ("await_asleep", play(Does::Await)),
    ]
}
