//! Objects: made, leased, sent, received, and gone when nobody needs them.

use crate::machine::Thread;
use crate::play::LAST;
use crate::scene::{Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::{make, make_condition, make_queue};
use procession_shm::layout::header;
use procession_shm::message::Message;
use procession_shm::object::{self, Handle, Kind};
use procession_shm::queue::{Got, Item, Queue};
use procession_shm::tag::Holds;
use procession_shm::{OutOfMemory, World};

/// A process whose leases stand in the extension; it is there for good.
const FAR: u32 = 40;

struct Objects {
    queue: Queue,
    /// Each process has a lease on it, the director's none.
    thing: Handle,
    /// The processes of all actors have leases on it.
    leased: bool,
    /// An edge names it from the beginning.
    sent: bool,
}

impl Objects {
    fn new(w: &Thread, far: bool, sent: bool, leased: bool) -> Self {
        let (_, queue) = make_queue(w, 0);
        let (thing, _) = make_condition(w);
        let stage = Self {
            queue,
            thing,
            leased,
            sent,
        };
        if far {
            object::lease(w, thing, FAR).expect("room");
        }
        if leased {
            (1..=LAST).for_each(|process| object::lease(w, thing, process).expect("room"));
        }
        if sent {
            stage.send(w).expect("room");
        }
        if leased || sent {
            object::unlease(w, thing, w.process);
        }
        stage
    }

    fn send(&self, w: &Thread) -> Result<(), OutOfMemory> {
        let message = Message::new(w, 3, 8, 1)?;
        message.add_edge(0, self.thing)?;
        let put = self.queue.put(w, Item::Message(&mut Some(message)), None);
        assert!(put.is_ok(), "the queue has no bound");
        Ok(())
    }

    /// As a handle arrives: the message, its edge, and a lease of the receiver's.
    fn receive(&self, w: &Thread) -> Out {
        let Ok((Got::Message(message), ())) = self.queue.get(w, Some(0), |_| Ok::<_, ()>(()))
        else {
            return Out("nothing", 0);
        };
        assert!(matches!(message.part(0), Some((_, _, Holds::Edge))));
        let leased = object::lease(w, self.thing, w.process);
        drop(message);
        assert_eq!(object::kind_of(w, self.thing), Ok(Kind::Condition));
        assert!(leased.is_ok(), "the edge keeps it");
        Out("received", 0)
    }

    fn lease(&self, w: &Thread, process: u32) -> Out {
        match object::lease(w, self.thing, process) {
            Ok(()) => Out("leased", 0),
            Err(object::NoLease::Gone) => Out("gone", 0),
            Err(object::NoLease::OutOfMemory(_)) => Out("no room", 0),
        }
    }
}

impl Stage for Objects {
    fn operations(&self) -> Vec<Op> {
        if self.sent && !self.leased {
            // Nobody has a reference but the message.
            return vec!["make a lock", "make a queue", "receive"];
        }
        vec![
            "make a lock",
            "make a queue",
            "lease",
            "lease far",
            "unlease",
            "unlease far",
            "inherit",
            "send",
            "receive",
            "pin",
        ]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        match op {
            "make a lock" => {
                let (lock, _) = make(w, Kind::Lock);
                object::unlease(w, lock, w.process);
            }
            "make a queue" => {
                let (queue, made) = make_queue(w, 0);
                made.put(w, Item::Inline(1, &[7]), None).expect("no bound");
                object::unlease(w, queue, w.process);
            }
            "lease" => return self.lease(w, w.process),
            "lease far" => return self.lease(w, FAR),
            "unlease" => object::unlease(w, self.thing, w.process),
            "unlease far" => object::unlease(w, self.thing, FAR),
            "inherit" => {
                let inherited = object::inherit_leases(w, w.process, FAR + 1);
                assert!(inherited.is_ok(), "there is room");
            }
            "send" => self.send(w).expect("room"),
            "receive" => return self.receive(w),
            "pin" => {
                object::pin(w, self.thing);
            }
            _ => unreachable!("no such operation"),
        }
        Out("done", 0)
    }

    fn check(&self, w: &Thread, story: &Story) {
        let lives = object::kind_of(w, self.thing).is_ok();
        let kept = self.leased || !self.sent;
        assert!(
            lives || !kept,
            "the last one's process, or the director's, has a lease on it"
        );
        while let Out("received", _) = self.receive(w) {}
        if story.events.iter().any(|event| event.op == "pin") {
            object::unpin(w, self.thing);
        }
        assert!(w.load(header::PROCESSES_HIGH) > FAR as u64 + 1);
    }
}

pub fn cases() -> Vec<Case> {
    let play =
        |name, far, sent, leased| Case::new(name, move |w| Objects::new(w, far, sent, leased));
    vec![
        play("object", false, false, false),
        play("object leased by all", false, false, true),
        play("object of many processes", true, false, true),
        play("object on its way", false, true, false),
        play("object of many, on its way", true, true, true),
    ]
}
