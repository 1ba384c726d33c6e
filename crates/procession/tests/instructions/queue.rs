//! Queues: puts and gets of each form, with and without a witness who sleeps at the other end.

use crate::items::{Form, OF_WITNESS, arena, get, make_queue, put};
use crate::run::Make;
use crate::stage::{End, Stage, limit, patience, result, set_result};
use crate::witness::{Order, Witness};
use procession::queue::RawQueue;
use procession::shm::object;
use procession::shm::queue::Queue;

/// Items of the victim, and of the one who goes on.
const OF_VICTIM: u64 = 9_000_000;
const EXTRA: u64 = 8_000_000;

/// What the queue had before the act.
#[derive(Clone, Copy, Default)]
struct Scene {
    bound: u64,
    /// So many items were put, and the first ones taken.
    fill: u64,
    taken: u64,
    /// A witness sleeps at the other end.
    witness: bool,
    /// The victim will sleep, until somebody does what it waits for.
    asleep: bool,
}

struct Play {
    puts: bool,
    form: Form,
    scene: Scene,
    raw: RawQueue,
    queue: Queue,
    witness: &'static Witness,
    /// What is got is in this order.
    expected: Vec<u64>,
    got: Vec<u64>,
    /// The item that the victim put, or took.
    due: Option<u64>,
}

fn play(puts: bool, form: Form, scene: Scene) -> Make {
    Box::new(move |witness| {
        let (raw, queue) = make_queue(scene.bound);
        for id in 0..scene.fill {
            put(arena(), queue, form, id, Some(0)).expect("room");
        }
        for id in 0..scene.taken {
            assert_eq!(get(arena(), queue, Some(0)), Some(id));
        }
        Box::new(Play {
            puts,
            form,
            scene,
            raw,
            queue,
            witness,
            expected: (scene.taken..scene.fill).collect(),
            got: Vec::new(),
            due: None,
        })
    })
}

impl Stage for Play {
    fn curtain(&mut self) {
        if self.scene.witness {
            let order = if self.puts { Order::Get } else { Order::Put };
            self.witness
                .begin(order, self.raw.object().word(object::BODY_BLOCK), 0);
        }
    }

    fn act(&mut self) {
        if self.puts {
            put(arena(), self.queue, self.form, OF_VICTIM, patience()).expect("room comes");
        } else {
            let got = get(arena(), self.queue, patience()).expect("an item comes");
            set_result(got + 1);
        }
    }

    fn sleeps(&self) -> bool {
        self.scene.asleep
    }

    fn relieve(&mut self) {
        if self.puts {
            self.got.extend(get(arena(), self.queue, limit()));
        } else {
            self.put_extra();
        }
    }

    fn go_on(&mut self, _: End) -> bool {
        let witness = self.scene.witness;
        if self.puts && witness {
            // If the item is there, nothing else shall wake the witness.
            if self.queue.is_empty(arena()) && !self.witness.is_done() {
                self.put_extra();
            }
            self.got.push(self.witness.answer());
            return true;
        }
        if witness {
            if self.raw.is_full() {
                self.got.extend(get(arena(), self.queue, limit()));
            }
            self.witness.answer();
            self.expected.push(OF_WITNESS);
        }
        while self.raw.is_full() {
            self.got.extend(get(arena(), self.queue, limit()));
        }
        self.put_extra();
        if !self.puts {
            self.got.extend(get(arena(), self.queue, limit()));
        }
        true
    }

    fn check(&mut self, end: End) {
        self.drain();
        let arrived = self.got.iter().position(|&id| id == OF_VICTIM);
        if let Some(at) = arrived {
            let before = self.expected.iter().filter(|&&id| id != EXTRA).count();
            assert_eq!(at, before, "in its place");
            self.got.remove(at);
        }
        if !self.puts && self.got.len() < self.expected.len() {
            self.due = Some(self.expected.remove(0));
        }
        assert_eq!(self.got, self.expected);
        if end == End::Survived {
            let done = if self.puts {
                arrived.is_some()
            } else {
                result() == self.due.map_or(0, |id| id + 1)
            };
            assert!(
                done,
                "what the victim put is there, or what it got was taken"
            );
        }
        if end == End::Stopped && !self.puts && self.due.is_none() {
            // The others took all: it waits still.
            put(arena(), self.queue, self.form, EXTRA, limit()).expect("room");
            self.due = Some(EXTRA);
        }
        if arrived.is_some() {
            self.due = Some(OF_VICTIM);
        }
    }

    fn resumed(&mut self) {
        self.got.clear();
        self.drain();
        if self.puts {
            self.got.extend(self.due);
            assert_eq!(self.got, [OF_VICTIM], "put once");
        } else {
            assert!(self.got.is_empty());
            assert_eq!(self.due.map_or(0, |id| id + 1), result(), "got once");
        }
    }
}

impl Play {
    fn put_extra(&mut self) {
        put(arena(), self.queue, self.form, EXTRA, limit()).expect("room comes");
        self.expected.push(EXTRA);
    }

    fn drain(&mut self) {
        while let Some(id) = get(arena(), self.queue, Some(0)) {
            self.got.push(id);
        }
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    use Form::{Inline, Message};
    let scene = |bound, fill, taken| Scene {
        bound,
        fill,
        taken,
        ..Scene::default()
    };
    let woken = |scene| Scene {
        witness: true,
        ..scene
    };
    let asleep = |scene| Scene {
        asleep: true,
        ..scene
    };
    vec![
        ("put_inline", play(true, Inline, scene(0, 1, 0))),
        ("put_message", play(true, Message, scene(0, 1, 0))),
        ("put_into_an_empty_one", play(true, Inline, scene(0, 0, 0))),
        ("put_bounded", play(true, Inline, scene(2, 1, 0))),
        (
            "put_into_a_new_segment",
            play(true, Inline, scene(0, 127, 0)),
        ),
        ("put_that_wakes", play(true, Inline, woken(scene(0, 0, 0)))),
        (
            "put_message_that_wakes",
            play(true, Message, woken(scene(0, 0, 0))),
        ),
        ("put_asleep", play(true, Inline, asleep(scene(1, 1, 0)))),
        ("get_inline", play(false, Inline, scene(0, 3, 0))),
        ("get_message", play(false, Message, scene(0, 3, 0))),
        ("get_that_wakes", play(false, Inline, woken(scene(3, 3, 0)))),
        (
            "get_from_the_next_segment",
            play(false, Inline, scene(0, 130, 127)),
        ),
        ("get_asleep", play(false, Inline, asleep(scene(0, 0, 0)))),
    ]
}
