//! Death of the repairer: somebody died amid an operation, and the victim recovers what he left; or a first repairer
//! died of it, too, and the victim recovers both.

use crate::items::{Form, arena, get, make_queue, put};
use crate::run::Make;
use crate::stage::{End, Stage, limit, notice_deaths};
use crate::step::{self, Shot};
use crate::victim::{Child, fork};
use procession::object::Object;
use procession::queue::RawQueue;
use procession::shm::World;
use procession::shm::lock::{Acquired, Lock, OnEnd};
use procession::shm::object::Kind;
use procession::shm::queue::Queue;
use procession::shm::section;
use std::cell::Cell;
use std::io::{PipeWriter, Read, Write};
use std::rc::Rc;

/// What the first of the dead put.
const OF_THE_DEAD: u64 = 9_000_000;
const EXTRA: u64 = 8_000_000;

/// Amid what he died, and how far he got.
#[derive(Clone, Copy)]
struct Death {
    does: Does,
    percent: u64,
    /// How far a first repairer got, if there was one.
    repaired: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Does {
    Put(Form),
    Get,
    /// Makes a queue, puts into it, and drops it.
    Destroy,
}

/// How many stores operation and repair have: counted when nobody dies of them yet.
#[derive(Default)]
struct Lengths {
    operation: Cell<u64>,
    repair: Cell<u64>,
}

struct Play {
    death: Death,
    lengths: Rc<Lengths>,
    raw: RawQueue,
    queue: Queue,
    lock: Object,
}

fn play(does: Does, percent: u64, repaired: Option<u64>) -> Make {
    let lengths = Rc::new(Lengths::default());
    Box::new(move |_| {
        let (raw, queue) = make_queue(0);
        put(arena(), queue, Form::Message, 1, limit()).expect("no bound");
        let lock = Object::create(Kind::Lock, |_, _, _| Ok(())).expect("room");
        Box::new(Play {
            death: Death {
                does,
                percent,
                repaired,
            },
            lengths: lengths.clone(),
            raw,
            queue,
            lock,
        })
    })
}

/// A process that acts when the bell rings, as far as it gets.
fn waiting(act: impl FnOnce()) -> (Child, PipeWriter) {
    let (mut heard, bell) = std::io::pipe().expect("a pipe");
    let child = fork(|| {
        arena().me();
        heard.read_exact(&mut [0]).expect("the controller lives");
        section::demand(Some(step::before_store));
        act();
        step::end();
    });
    (child, bell)
}

/// Has it die as far on its way as told; or counts how long the way is.
fn die((child, mut bell): (Child, PipeWriter), length: &Cell<u64>, percent: u64) {
    let at = match length.get() {
        0 => u64::MAX,
        length => (length * percent / 100).max(1),
    };
    let signal = libc::SIGKILL;
    let after = false;
    Shot::AtStore { at, after, signal }.load(false);
    bell.write_all(&[0]).expect("it lives");
    let end = child.ended(0);
    if end == Some(End::Survived) {
        length.set(crate::page::get(&crate::page::page().steps));
    }
}

impl Play {
    fn lock(&self) -> Lock {
        Lock(self.lock.body())
    }

    fn operate(&self) {
        let w = arena();
        assert!(self.lock().try_acquire(w));
        match self.death.does {
            Does::Put(form) => put(w, self.queue, form, OF_THE_DEAD, limit()).expect("no bound"),
            Does::Get => assert_eq!(get(w, self.queue, Some(0)), Some(1)),
            Does::Destroy => {
                let (raw, queue) = make_queue(0);
                put(w, queue, Form::Message, 2, limit()).expect("no bound");
                drop(raw);
            }
        }
        self.lock().release(w, false).expect("it is held");
    }

    fn drain(&self) -> Vec<u64> {
        std::iter::from_fn(|| get(arena(), self.queue, Some(0))).collect()
    }
}

impl Stage for Play {
    fn is_long(&self) -> bool {
        true
    }

    fn curtain(&mut self) {
        // All have their slots before anybody dies: who takes one would recover the dead.
        let repairer = self.death.repaired.map(|percent| {
            let repairer = waiting(|| (0..3).for_each(|_| notice_deaths()));
            (repairer, percent)
        });
        let first = waiting(|| self.operate());
        die(first, &self.lengths.operation, self.death.percent);
        if let Some((repairer, percent)) = repairer {
            die(repairer, &self.lengths.repair, percent);
        }
    }

    fn act(&mut self) {
        (0..3).for_each(|_| notice_deaths());
    }

    fn go_on(&mut self, _: End) -> bool {
        let w = arena();
        let acquired = self.lock().acquire(w, limit(), OnEnd::Stays);
        if let Acquired::Broken(_) = acquired {
            assert!(self.lock().reset(w));
        } else {
            assert_eq!(acquired, Acquired::Yes);
            self.lock().release(w, false).expect("it is held");
        }
        put(w, self.queue, Form::Message, EXTRA, limit()).expect("no bound");
        true
    }

    fn check(&mut self, _: End) {
        let mut got = self.drain();
        if got.first() == Some(&1) {
            got.remove(0);
        } else {
            assert!(self.death.does == Does::Get, "an item is lost");
        }
        if got.first() == Some(&OF_THE_DEAD) {
            got.remove(0);
        }
        assert_eq!(got, [EXTRA]);
    }

    fn resumed(&mut self) {
        assert!(self.drain().is_empty(), "what was got comes no more");
        let _ = &self.raw;
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    let message = Does::Put(Form::Message);
    vec![
        ("recovery_of_a_put", play(Does::Put(Form::Inline), 50, None)),
        ("recovery_of_a_message", play(message, 30, None)),
        ("recovery_of_a_message_put", play(message, 70, None)),
        ("recovery_of_a_get", play(Does::Get, 50, None)),
        ("recovery_of_an_object", play(Does::Destroy, 50, None)),
        ("recovery_of_an_end", play(Does::Destroy, 90, None)),
        ("recovery_of_a_recovery", play(message, 70, Some(30))),
        (
            "recovery_of_an_old_recovery",
            play(Does::Destroy, 90, Some(70)),
        ),
    ]
}
