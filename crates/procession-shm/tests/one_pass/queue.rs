//! Queues: puts and gets of each form, of what is there and of what is not.

use crate::machine::Thread;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::{make, make_queue};
use procession_shm::message::Message;
use procession_shm::object::{Handle, Kind};
use procession_shm::queue::{Got, INLINE, Item, NotGot, NotPut, Queue};
use procession_shm::tag::Holds;
use procession_shm::{Off, OutOfMemory, World, heap};

/// What an item is.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// Bytes in the cell.
    Inline,
    /// More bytes than a cell has room for.
    Long,
    /// A message with a part and an edge.
    Parts,
    /// The same with a part of whole spans.
    LargeParts,
}

/// How many words an item of this form has, all alike.
fn words(form: Form) -> u64 {
    match form {
        Form::Long => INLINE as u64 / 8 + 1,
        _ => 3,
    }
}

fn bytes(form: Form, id: u64) -> Vec<u8> {
    id.to_le_bytes().repeat(words(form) as usize)
}

/// The number of which some bytes are made.
fn whole(bytes: &[u8]) -> u64 {
    let mut words = bytes
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("whole words")));
    let id = words.next().expect("it is not empty");
    assert!(words.all(|word| word == id), "a torn item");
    id
}

fn read(w: &Thread, at: Off, len: u64) -> u64 {
    let mut bytes = vec![0; len as usize];
    w.read(at, &mut bytes);
    whole(&bytes)
}

fn message(
    w: &Thread,
    form: Form,
    id: u64,
    edge: Handle,
) -> Result<Message<'_, Thread>, OutOfMemory> {
    let bytes = bytes(form, id);
    let message = Message::new(w, 3, bytes.len() as u64, 2)?;
    w.write(message.bytes().0, &bytes);
    let len = if form == Form::LargeParts {
        100_000
    } else {
        24
    };
    let part = heap::alloc_len(w, len)?;
    w.write(part, &bytes);
    message.add_part(0, part, bytes.len() as u64, Holds::Bytes);
    message.add_edge(1, edge)?;
    Ok(message)
}

pub fn put(w: &Thread, queue: Queue, form: Form, id: u64, edge: Handle, until: Option<u64>) -> Out {
    let done = match form {
        Form::Inline | Form::Long => queue.put(w, Item::Inline(1, &bytes(form, id)), until),
        Form::Parts | Form::LargeParts => match message(w, form, id, edge) {
            Ok(message) => queue.put(w, Item::Message(&mut Some(message)), until),
            Err(error) => Err(error.into()),
        },
    };
    match done {
        Ok(()) => Out("put", 0),
        Err(NotPut::Interrupted) => ASLEEP,
        Err(NotPut::Full) => Out("full", 0),
        Err(NotPut::OutOfMemory(_)) => Out("no room", 0),
    }
}

pub fn get(w: &Thread, queue: Queue, until: Option<u64>) -> Out {
    match queue.get(w, until, |_| Ok::<(), ()>(())) {
        Ok((Got::Inline { bytes, len, .. }, ())) => Out("got", whole(&bytes[..len as usize])),
        Ok((Got::Message(message), ())) => {
            let (at, len) = message.bytes();
            let id = read(w, at, len);
            if message.summary().parts > 0 {
                let (part, len) = message.take_part(0).expect("its part");
                assert_eq!(read(w, part, len), id, "a torn item");
                heap::free(w, part);
            }
            Out("got", id)
        }
        Err(NotGot::Interrupted) => ASLEEP,
        Err(_) => Out("empty", 0),
    }
}

/// How a stage begins.
#[derive(Clone, Copy)]
pub struct Begin {
    pub form: Form,
    pub bound: u64,
    /// So many items were put, and the first ones taken.
    pub fill: u64,
    pub taken: u64,
    pub sleepers: &'static [Op],
}

pub const EMPTY: Begin = Begin {
    form: Form::Inline,
    bound: 0,
    fill: 0,
    taken: 0,
    sleepers: &[],
};

pub struct Queues {
    begin: Begin,
    queue: Queue,
    /// Where nothing ever comes.
    other: Queue,
    edge: Handle,
}

impl Queues {
    pub fn new(w: &Thread, begin: Begin) -> Self {
        let (_, queue) = make_queue(w, begin.bound);
        let (_, other) = make_queue(w, 0);
        let (edge, _) = make(w, Kind::Lock);
        for id in 1..=begin.fill {
            assert_eq!(put(w, queue, begin.form, id, edge, None), Out("put", 0));
        }
        for id in 1..=begin.taken {
            assert_eq!(get(w, queue, None), Out("got", id));
        }
        Self {
            begin,
            queue,
            other,
            edge,
        }
    }

    fn id(w: &Thread) -> u64 {
        let begun = w.machine.scene.borrow().begun_by(w.slot());
        (w.slot() as u64 + 1) * 1000 + begun
    }

    /// What came out, and what is left, is what was put in: once each, but for what died with its taker.
    pub fn check_items(&self, w: &Thread, story: &Story) {
        let len = self.queue.len(w);
        assert!(self.begin.bound == 0 || len <= self.begin.bound, "too full");
        let before: Vec<u64> = (self.begin.taken + 1..=self.begin.fill).collect();
        let all = || story.events.iter();
        let got = all().filter(|event| event.out.0 == "got");
        let mut got: Vec<u64> = got.map(|event| event.out.1).collect();
        let mut rest = Vec::new();
        while let Out("got", id) = get(w, self.queue, Some(0)) {
            rest.push(id);
        }
        assert_eq!(rest.len() as u64, len, "the length is off");
        let old = rest.iter().filter(|id| before.contains(id));
        assert!(old.clone().is_sorted(), "out of order");
        assert!(
            rest.starts_with(&old.copied().collect::<Vec<_>>()),
            "out of order"
        );
        got.extend(rest);
        let mut puts = before;
        let mut unsure = Vec::new();
        let mut numbers = std::collections::HashMap::<u32, u64>::new();
        for event in all() {
            let number = numbers.entry(event.who).or_default();
            *number += 1;
            let id = (event.who as u64 + 1) * 1000 + *number;
            if event.op.starts_with("put") {
                match event.out.0 {
                    "put" => puts.push(id),
                    "begun" => unsure.push(id),
                    _ => {}
                }
            }
        }
        for (index, id) in got.iter().enumerate() {
            assert!(!got[..index].contains(id), "{id} came twice");
            assert!(
                puts.contains(id) || unsure.contains(id),
                "{id} came from nowhere"
            );
        }
        let lost = puts.iter().filter(|id| !got.contains(id)).count() as u64;
        let takers = story.unknown("get") + story.unknown("get late");
        assert!(lost <= takers, "{lost} lost, {takers} died taking");
    }

    /// It is as good as a new one.
    pub fn check_use(&self, w: &Thread) {
        let room = if self.begin.bound == 0 {
            5
        } else {
            self.begin.bound
        };
        for id in 1..=room {
            let put = put(w, self.queue, Form::Inline, id, self.edge, Some(0));
            assert_eq!(put, Out("put", 0));
        }
        if self.begin.bound > 0 {
            let put = put(w, self.queue, Form::Inline, 9, self.edge, Some(0));
            assert_eq!(put, Out("full", 0));
        }
        for id in 1..=room {
            assert_eq!(get(w, self.queue, Some(0)), Out("got", id));
        }
    }
}

impl Stage for Queues {
    fn operations(&self) -> Vec<Op> {
        vec![
            "put", "put late", "get", "get late", "refuse", "len", "wake all",
        ]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.begin.sleepers.to_vec()
    }

    fn relief(&self, op: Op) -> Option<Op> {
        Some(if op == "put" { "get late" } else { "put" })
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let until = op.ends_with("late").then_some(1);
        match op {
            "put" | "put late" => put(
                w,
                self.queue,
                self.begin.form,
                Self::id(w),
                self.edge,
                until,
            ),
            "get" | "get late" => get(w, self.queue, until),
            "get of another" => get(w, self.other, None),
            "refuse" => match self.queue.get(w, Some(0), |_| Err::<(), ()>(())) {
                Err(NotGot::NotPrepared(())) => Out("refused", 0),
                _ => Out("empty", 0),
            },
            "len" => Out("len", self.queue.len(w)),
            "wake all" => {
                self.queue.wake_consumers(w);
                Out("woken", 0)
            }
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        self.check_items(w, story);
        self.check_use(w);
    }
}

pub fn cases() -> Vec<Case> {
    let play = |name, begin: Begin| Case::new(name, move |w| Queues::new(w, begin));
    let of = |form| Begin {
        form,
        fill: 2,
        ..EMPTY
    };
    vec![
        play("empty queue", EMPTY),
        play("queue", of(Form::Inline)),
        play("queue of long items", of(Form::Long)),
        play("queue of messages", of(Form::Parts)),
        play("queue of large messages", of(Form::LargeParts)),
        play("full segment", Begin { fill: 3, ..EMPTY }),
        play(
            "left segment",
            Begin {
                fill: 5,
                taken: 3,
                ..EMPTY
            },
        ),
        play(
            "full queue",
            Begin {
                fill: 2,
                bound: 2,
                ..EMPTY
            },
        ),
        play(
            "bounded queue",
            Begin {
                fill: 4,
                taken: 3,
                bound: 4,
                ..EMPTY
            },
        ),
        play(
            "queue waited for",
            Begin {
                sleepers: &["get", "get"],
                ..EMPTY
            },
        ),
        play(
            "two queues waited for",
            Begin {
                sleepers: &["get of another", "get"],
                ..EMPTY
            },
        ),
        play("queue looked at twice", of(Form::Inline)).spinning(2),
        play(
            "messages waited for",
            Begin {
                form: Form::Parts,
                sleepers: &["get"],
                ..EMPTY
            },
        ),
        play(
            "room waited for",
            Begin {
                fill: 1,
                bound: 1,
                sleepers: &["put", "put"],
                ..EMPTY
            },
        ),
    ]
}
