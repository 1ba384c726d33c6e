//! Blocks, messages, objects and their leases: what must hold is that nothing leaks, and that what is leased lives.

use crate::items::{Form, arena, get, make_queue, put};
use crate::run::Make;
use crate::stage::{End, Stage, limit};
use procession::queue::RawQueue;
use procession::shm::memory;
use procession::shm::message::Message;
use procession::shm::name::{self, File};
use procession::shm::object::{self, Kind};
use procession::shm::queue::{Item, Queue};
use procession::shm::tag::Holds;
use procession::shm::{World, heap};

#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Allocates and frees so many bytes.
    Block(u64),
    /// Fills a message with a part and drops it.
    Message,
    /// Takes a part out of a message, and frees both.
    Part,
    /// Makes a lock and drops it.
    Create,
    /// Makes a queue with two items and drops it.
    CreateQueue,
    /// Leases the controller's queue and gives the lease back.
    Lease,
    /// Sends the controller's queue through itself.
    Send,
    /// Receives a message that names a queue, and drops it.
    Receive,
    /// Makes those look again who wait for an item.
    WakeAll,
    /// Makes memory of so many bytes and drops it.
    Memory(u64),
    /// Tracks a name and forgets it.
    Name,
    /// Counts the items.
    Len,
}

const FILE: File = File {
    device: 1,
    inode: 2,
};

struct Play {
    does: Does,
    raw: RawQueue,
    queue: Queue,
}

fn play(does: Does) -> Make {
    Box::new(move |_| {
        let (raw, queue) = make_queue(0);
        let play = Play { does, raw, queue };
        if does == Does::Receive {
            play.send();
        }
        Box::new(play)
    })
}

impl Play {
    fn send(&self) {
        let w = arena();
        let message = Message::new(w, 3, 8, 1).expect("room");
        message
            .add_edge(0, self.raw.object().handle())
            .expect("room");
        let item = Item::Message(&mut Some(message));
        self.queue.put(w, item, limit()).expect("no bound");
    }

    fn receive(&self) {
        let got = self.queue.get(arena(), Some(0), |_| Ok::<_, ()>(()));
        drop(got);
    }

    fn perform(&self) {
        let w = arena();
        match self.does {
            Does::Block(len) => {
                let block = heap::alloc_len(w, len).expect("room");
                heap::free(w, block);
            }
            Does::Message | Does::Part => {
                let message = Message::new(w, 3, 100, 1).expect("room");
                let part = heap::alloc_len(w, 1000).expect("room");
                message.add_part(0, part, 1000, Holds::Bytes);
                if self.does == Does::Part {
                    let (block, _) = message.take_part(0).expect("its part");
                    heap::free(w, block);
                }
            }
            Does::Create => {
                let lock = object::create(w, Kind::Lock, |_, _| Ok(())).expect("room");
                object::unlease(w, lock, w.my_process());
            }
            Does::CreateQueue => {
                let (raw, queue) = make_queue(0);
                put(w, queue, Form::Inline, 1, limit()).expect("no bound");
                put(w, queue, Form::Message, 2, limit()).expect("no bound");
                drop(raw);
            }
            Does::Lease => {
                let handle = self.raw.object().handle();
                object::lease(w, handle, w.my_process()).expect("it lives");
                object::unlease(w, handle, w.my_process());
            }
            Does::Send => self.send(),
            Does::Receive => self.receive(),
            Does::WakeAll => self.queue.wake_consumers(w),
            Does::Memory(len) => {
                let made = memory::create(w, len).expect("room");
                let body = object::body(w, made, Kind::Memory).expect("it is leased");
                let (at, len) = memory::bytes(w, body);
                // SAFETY: nobody else has it.
                let bytes =
                    unsafe { std::slice::from_raw_parts_mut(w.bytes(at, len), len as usize) };
                assert!(bytes.iter().all(|&byte| byte == 0), "it is zero at first");
                bytes.fill(0xff);
                object::unlease(w, made, w.my_process());
            }
            Does::Name => {
                let tracked = name::track(w, b"name", FILE).expect("room");
                name::forget(w, tracked);
            }
            Does::Len => assert_eq!(self.queue.len(w), 0),
        }
    }
}

impl Stage for Play {
    fn act(&mut self) {
        self.perform();
    }

    fn go_on(&mut self, _: End) -> bool {
        self.perform();
        true
    }

    fn check(&mut self, end: End) {
        let (w, handle) = (arena(), self.raw.object().handle());
        if end == End::Killed {
            // One whose file had no name yet does no harm: it goes with the program.
            name::visit(w, |tracked, file, text| {
                assert_eq!((file, text), (FILE, &b"name"[..]), "it is whole");
                name::forget(w, tracked);
                true
            });
        }
        assert!(object::body(w, handle, Kind::Queue).is_ok(), "it is leased");
        self.receive();
        self.receive();
        put(w, self.queue, Form::Inline, 7, limit()).expect("no bound");
        assert_eq!(get(w, self.queue, Some(0)), Some(7));
    }

    fn resumed(&mut self) {
        self.receive();
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        // A queue that holds itself would never be free.
        self.receive();
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![
        ("block", play(Does::Block(100))),
        ("block_of_spans", play(Does::Block(200_000))),
        ("message", play(Does::Message)),
        ("message_taken_apart", play(Does::Part)),
        ("object", play(Does::Create)),
        ("object_of_blocks", play(Does::CreateQueue)),
        ("lease", play(Does::Lease)),
        ("send", play(Does::Send)),
        ("receive", play(Does::Receive)),
        ("wake_all", play(Does::WakeAll)),
        ("memory", play(Does::Memory(100))),
        ("name", play(Does::Name)),
        ("len", play(Does::Len)),
    ]
}
