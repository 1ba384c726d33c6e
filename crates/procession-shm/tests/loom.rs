//! Models of the memory orders: all schedules with few preemptions, and all values that a load may see.
//!
//! `LOOM_MAX_PREEMPTIONS` bounds the schedules (3 if it is not set).
#![cfg(loom)]

mod sync {
    pub use loom::sync::atomic::{AtomicU64, fence};
    pub use loom::sync::{Condvar, Mutex};
    pub use loom::thread::{spawn, yield_now};

    /// Words that are made at a time.
    pub const CHUNK: usize = 2;

    /// A load of what is known to be the newest value.
    pub fn peek(word: &AtomicU64) -> u64 {
        // SAFETY: the threads that wrote have been joined.
        unsafe { word.unsync_load() }
    }

    /// Runs a model under all schedules.
    pub fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(3);
        builder.max_branches = 100_000;
        builder.check(model);
    }
}
#[path = "support/broken.rs"]
mod broken;
#[path = "support/structures.rs"]
mod structures;
#[path = "support/world.rs"]
mod world;

use broken::{Broken, Fault};
use procession_shm::event::Event;
use procession_shm::gate::Gate;
use procession_shm::lock::{Acquired, Lock, OnEnd};
use procession_shm::name::{self, File};
use procession_shm::object::Kind;
use procession_shm::semaphore::Semaphore;
use procession_shm::{World, heap};
use std::sync::Arc;
use structures::{get, make, make_condition, make_queue, put, put_block};
use sync::{check, spawn};
use world::{Handle, Shared};

const SIZE: u64 = 1 << 20;

/// Plain data: read and written without any order of its own.
fn read(w: &impl World, at: u64) -> u64 {
    let mut bytes = [0; 8];
    w.read(at, &mut bytes);
    u64::from_le_bytes(bytes)
}

fn write(w: &impl World, at: u64, value: u64) {
    w.write(at, &value.to_le_bytes());
}

/// An arena with an object of eight words; no others will be written.
fn setup(kind: Kind, threads: u32, weak: bool) -> (Arc<Shared>, Vec<Handle>, u64) {
    let shared = Shared::new(SIZE, false);
    let handles: Vec<_> = (0..threads).map(|t| shared.thread(t)).collect();
    let (_, body) = make(&handles[0], kind);
    shared.touch(body, 8);
    shared.touch(procession_shm::layout::header::EPOCH, 1);
    shared.seal();
    if weak {
        shared.weaken();
    }
    (shared, handles, body)
}

// ---- lock ----

fn lock_model(weak: bool) {
    let (_shared, handles, body) = setup(Kind::Lock, 2, weak);
    let (lock, sum) = (Lock(body), body + 32);
    let threads: Vec<_> = handles
        .into_iter()
        .map(|w| {
            spawn(move || {
                assert_eq!(lock.acquire(&w, None, OnEnd::Stays), Acquired::Yes);
                let seen = read(&w, sum);
                write(&w, sum, seen + 1);
                lock.release(&w, true).expect("it is held");
                (w, seen)
            })
        })
        .collect();
    let mut seen: Vec<_> = threads
        .into_iter()
        .map(|t| t.join().expect("no assertion failed").1)
        .collect();
    seen.sort();
    assert_eq!(seen, [0, 1]);
}

#[test]
fn what_a_lock_protects_is_seen_by_the_next_holder() {
    check(|| lock_model(false));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn planted_lock_without_orders() {
    check(|| lock_model(true));
}

// ---- event ----

fn event_model(weak: bool) {
    let (_shared, mut handles, body) = setup(Kind::Event, 2, weak);
    let (event, data) = (Event(body), body + 32);
    let (sets, w) = (event.sets(&handles[0]), handles.pop().expect("two"));
    let waits = spawn(move || {
        assert_eq!(event.wait(&w, sets, None), Ok(true));
        read(&w, data)
    });
    write(&handles[0], data, 7);
    event.set(&handles[0]);
    event.clear(&handles[0]);
    assert_eq!(waits.join().expect("no assertion failed"), 7);
}

#[test]
fn what_came_before_a_set_is_seen_after_the_wait() {
    check(|| event_model(false));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn planted_event_without_orders() {
    check(|| event_model(true));
}

// ---- semaphore ----

fn semaphore_model(weak: bool) {
    let (_shared, mut handles, body) = setup(Kind::Semaphore, 3, weak);
    let (semaphore, data) = (Semaphore(body), body + 32);
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let w = handles.pop().expect("three");
            spawn(move || {
                assert_eq!(semaphore.acquire(&w, None), Ok(true));
                read(&w, data)
            })
        })
        .collect();
    write(&handles[0], data, 7);
    (0..2).for_each(|_| semaphore.release(&handles[0]).expect("no bound"));
    for taker in takers {
        assert_eq!(taker.join().expect("no assertion failed"), 7);
    }
}

#[test]
fn what_came_before_a_release_is_seen_after_the_acquire() {
    check(|| semaphore_model(false));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn planted_semaphore_without_orders() {
    check(|| semaphore_model(true));
}

// ---- gate ----

fn gate_model(fault: Fault) {
    let (_shared, mut handles, body) = setup(Kind::Semaphore, 2, false);
    let (gate, thing) = (Gate(body), body + 32);
    let (w, again) = (handles.pop().expect("two"), fault.clone());
    let waits = spawn(move || {
        let w = &Broken::new(&w, again);
        while w.load(thing) == 0 {
            let ticket = gate.announce(w);
            if w.load(thing) != 0 {
                break;
            }
            w.wait(body, ticket, None);
        }
    });
    let w = &Broken::new(&handles[0], fault);
    w.store(thing, 1);
    gate.notify(w);
    waits.join().expect("no assertion failed");
}

#[test]
fn a_gate_loses_no_wake() {
    check(|| gate_model(Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn planted_gate_without_fences() {
    check(|| gate_model(Fault::NoFence));
}

#[test]
#[should_panic(expected = "deadlock")]
fn planted_blind_sleep_at_a_gate() {
    check(|| gate_model(Fault::BlindWait));
}

// ---- heap ----

fn heap_model(weak: bool) {
    let shared = Shared::new(SIZE, false);
    let (w, other) = (shared.thread(0), shared.thread(1));
    // Two blocks, both free, both hinted at.
    let blocks = [(); 2].map(|()| heap::alloc_len(&w, 10).expect("room"));
    blocks.into_iter().for_each(|block| {
        shared.touch(block, 1);
        heap::free(&w, block);
    });
    let class = procession_shm::class::for_len(10).expect("there is one");
    shared.touch(w.layout().class(class), 64);
    shared.touch(w.layout().tag(blocks[0]), 3);
    shared.seal();
    if weak {
        shared.weaken();
    }
    let work = |w: &Handle, name: u64| {
        let block = heap::alloc_len(w, 10).expect("room");
        write(w, block, name);
        assert_eq!(read(w, block), name);
        heap::free(w, block);
    };
    let thread = spawn(move || work(&other, 1));
    work(&w, 2);
    thread.join().expect("no assertion failed");
}

#[test]
fn a_block_is_its_owners_alone() {
    check(|| heap_model(false));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn planted_heap_without_orders() {
    check(|| heap_model(true));
}

// ---- condition ----

/// A notify that saw a waiter alive marks it while it is recovered: the mark passes on.
#[test]
fn a_mark_that_comes_during_a_recovery_passes_on() {
    check(|| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (_, condition) = make_condition(&w);
        let survivor = shared.thread(3);
        condition.enter(&doomed).expect("room");
        let younger = condition.enter(&survivor).expect("room");
        doomed.kill();
        shared.touch(procession_shm::layout::header::EPOCH, 1);
        shared.seal();
        let burial = spawn(move || {
            undertaker.mark_killed(doomed.owner());
            condition.recover(&undertaker, doomed.owner().slot);
        });
        assert_eq!(condition.notify(&w, 1), 1);
        burial.join().expect("no assertion failed");
        assert_eq!(condition.wait(&survivor, younger, Some(0)), Ok(true));
    });
}

// ---- queue ----

/// One puts, one gets.
fn queue_model(block: bool, weak: bool, fault: Fault) {
    let shared = Shared::new(SIZE, false);
    let (w, other) = (shared.thread(0), shared.thread(1));
    let (_, q) = make_queue(&w, 0);
    // A first turn makes the blocks, frames and hints that the second one uses.
    for w in [&w, &other] {
        if block {
            put_block(w, q, 1)
        } else {
            put(w, q, 1)
        }
        .expect("put");
        assert_eq!(get(w, q, Some(0)), Ok(1));
    }
    // The cells that come next are like those that were used.
    shared.touch_behind(3);
    shared.seal();
    if weak {
        shared.weaken();
    }
    let again = fault.clone();
    let gets = spawn(move || {
        let w = &Broken::new(&other, again);
        get(w, q, None)
    });
    let w = &Broken::new(&w, fault);
    if block {
        put_block(w, q, 7)
    } else {
        put(w, q, 7)
    }
    .expect("put");
    assert_eq!(gets.join().expect("no assertion failed"), Ok(7));
}

#[test]
fn an_item_is_seen_whole_by_who_gets_it() {
    check(|| queue_model(false, false, Fault::None));
}

#[test]
fn a_message_is_seen_whole_by_who_gets_it() {
    check(|| queue_model(true, false, Fault::None));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn planted_queue_without_orders() {
    check(|| queue_model(false, true, Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn planted_queue_without_fences() {
    check(|| queue_model(false, false, Fault::NoFence));
}

// ---- tracked names ----

const NAMES: [(File, &[u8]); 2] = [
    (
        File {
            device: 3,
            inode: 17,
        },
        b"first",
    ),
    (
        File {
            device: 4,
            inode: 18,
        },
        b"second",
    ),
];

fn track(w: &Handle, n: usize) -> procession_shm::object::Handle {
    let (file, text) = NAMES[n];
    name::track(w, text, file).expect("room")
}

/// A name is forgotten, and its entry and block become another's, while a third looks.
fn name_model(weak: bool) {
    let shared = Shared::new(SIZE, false);
    let (w, other) = (shared.thread(0), shared.thread(1));
    // A first turn makes the entry, the block and the frames.
    name::forget(&w, track(&w, 1));
    let first = track(&w, 0);
    shared.seal();
    if weak {
        shared.weaken();
    }
    let again = spawn(move || {
        name::forget(&w, first);
        track(&w, 1);
    });
    name::visit(&other, |_, file, text| {
        assert!(NAMES.contains(&(file, text)), "{file:?} of {text:?}");
        true
    });
    again.join().expect("no assertion failed");
}

#[test]
fn a_name_is_read_whole_though_another_takes_its_place() {
    check(|| name_model(false));
}

#[test]
#[should_panic(expected = "File {")]
fn planted_name_without_orders() {
    check(|| name_model(true));
}
