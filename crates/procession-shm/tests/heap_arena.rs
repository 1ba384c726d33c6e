//! The structures on a heap arena with real threads. Also run under AddressSanitizer.

mod sync {
    pub use std::sync::atomic::{AtomicU64, fence};
    pub use std::sync::{Condvar, Mutex};
    pub use std::thread::yield_now;
    /// Words that are made at a time.
    pub const CHUNK: usize = 64;
    pub fn peek(word: &AtomicU64) -> u64 {
        word.load(std::sync::atomic::Ordering::Acquire)
    }
}
#[path = "support/structures.rs"]
mod structures;
#[path = "support/world.rs"]
mod world;

use procession_shm::condition::Condition;
use procession_shm::job::{Job, Waited};
use procession_shm::lock::{Acquired, Lock, OnEnd};
use procession_shm::message::Message;
use procession_shm::object::{self, Kind};
use procession_shm::pool::{NoElement, State};
use procession_shm::queue::{Got, Item, NotGot, NotPut, Queue};
use procession_shm::tag::Holds;
use procession_shm::{World, heap, layout};
use std::collections::HashSet;
use structures::{get, in_use, make_job, make_pool, make_queue, put, result, run_one};
use world::{Handle, Shared};

const SIZE: u64 = 256 << 20;

#[test]
fn queue_is_fifo_and_leaves_nothing() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let before = in_use(&w);
    let (handle, q) = make_queue(&w, 0);
    for round in 0..50 {
        for n in 0..round {
            put(&w, q, n).expect("put");
        }
        assert_eq!(q.len(&w), round);
        for n in 0..round {
            assert_eq!(get(&w, q, Some(0)), Ok(n));
        }
        assert_eq!(get(&w, q, Some(0)), Err(NotGot::Empty));
    }
    put(&w, q, 7).expect("put");
    object::unlease(&w, handle, 0);
    assert_eq!(in_use(&w), before);
}

#[test]
fn bounded_queue_is_full_exactly_at_its_bound() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_handle, q) = make_queue(&w, 5);
    for n in 0..5 {
        q.try_put(&w, &mut Item::Inline(0, &[n])).expect("room");
    }
    assert_eq!(q.try_put(&w, &mut Item::Inline(0, &[9])), Err(NotPut::Full));
    assert!(get_byte(&w, q) == 0);
    q.try_put(&w, &mut Item::Inline(0, &[5]))
        .expect("room again");
    assert_eq!(q.try_put(&w, &mut Item::Inline(0, &[9])), Err(NotPut::Full));
}

fn get_byte(w: &Handle, q: Queue) -> u8 {
    match q.get(w, Some(0), |_| Ok::<_, ()>(())).map(|(got, ())| got) {
        Ok(Got::Inline { bytes, .. }) => bytes[0],
        _ => panic!("an inline item"),
    }
}

#[test]
fn messages_carry_blocks_and_edges_and_free_them() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, q) = make_queue(&w, 0);
    let (travels, _) = make_queue(&w, 0);
    let before = in_use(&w);
    for take in [true, false] {
        let message = Message::new(&w, 3, 1000, 2).expect("room");
        let part = heap::alloc_len(&w, 100_000).expect("room");
        message.add_part(0, part, 100_000, Holds::Bytes);
        message.add_edge(1, travels).expect("room");
        q.put(&w, Item::Message(&mut Some(message)), None)
            .expect("put");
        let Ok((got, summary)) = q.get(&w, Some(0), Ok::<_, ()>) else {
            panic!("an item")
        };
        assert_eq!((summary.kind, summary.len, summary.parts), (3, 1000, 2));
        let Got::Message(got) = got else {
            panic!("a message")
        };
        if take {
            let (block, len) = got.take_part(0).expect("the part");
            assert_eq!((block, len), (part, 100_000));
            heap::free(&w, block);
        }
        drop(got);
        assert_eq!(in_use(&w), before);
    }
    // The edge alone keeps an object alive; with it the object goes.
    let message = Message::new(&w, 3, 8, 1).expect("room");
    message.add_edge(0, travels).expect("room");
    q.put(&w, Item::Message(&mut Some(message)), None)
        .expect("put");
    object::unlease(&w, travels, 0);
    assert_eq!(object::kind_of(&w, travels), Ok(Kind::Queue));
    object::unlease(&w, handle, 0);
    assert_eq!(object::kind_of(&w, travels), Err(object::Gone));
    assert_eq!(in_use(&w), 0);
}

#[test]
fn many_to_many_delivers_each_item_once_in_each_producers_order() {
    const EACH: u64 = 3_000;
    for max in [0, 4] {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, q) = make_queue(&w, max);
        let producers: Vec<_> = (1..4)
            .map(|p| {
                let w = shared.thread(p);
                std::thread::spawn(move || {
                    (0..EACH).for_each(|n| put(&w, q, (p as u64) << 32 | n).expect("put"))
                })
            })
            .collect();
        let consumers: Vec<_> = (4..7)
            .map(|c| {
                let w = shared.thread(c);
                std::thread::spawn(move || {
                    (0..EACH)
                        .map(|_| get(&w, q, None).expect("get"))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let got: Vec<Vec<u64>> = consumers
            .into_iter()
            .map(|c| c.join().expect("consumer"))
            .collect();
        producers
            .into_iter()
            .for_each(|p| p.join().expect("producer"));
        for seen in &got {
            for p in 1..4 {
                let mine: Vec<_> = seen.iter().filter(|&&v| v >> 32 == p).collect();
                assert!(mine.is_sorted());
            }
        }
        let all: HashSet<u64> = got.into_iter().flatten().collect();
        assert_eq!(all.len() as u64, 3 * EACH);
        assert!(q.is_empty(&w));
    }
}

#[test]
fn condition_notifies_the_oldest() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let handle = object::create(&w, Kind::Condition, |entry, body| {
        Condition(body).init(&w, entry)
    })
    .expect("room");
    let condition = Condition(object::body(&w, handle, Kind::Condition).expect("it lives"));
    let records: Vec<_> = (0..40)
        .map(|_| condition.enter(&w).expect("room"))
        .collect();
    assert_eq!(condition.notify(&w, 3), 3);
    let marked: Vec<_> = records
        .iter()
        .map(|&r| condition.wait(&w, r, Some(0)))
        .collect();
    assert!(
        marked[..3].iter().all(|m| *m == Ok(true)) && marked[3..].iter().all(|m| *m == Ok(false))
    );
    assert!(!condition.has_waiters(&w));
    object::unlease(&w, handle, 0);
    assert_eq!(in_use(&w), 0);
}

#[test]
fn lock_of_a_killed_thread_breaks_and_resets() {
    let shared = Shared::new(SIZE, false);
    let (w, doomed) = (shared.thread(0), shared.thread(1));
    let handle = object::create(&w, Kind::Lock, |_, _| Ok(())).expect("room");
    let lock = Lock(object::body(&w, handle, Kind::Lock).expect("it lives"));
    assert!(lock.try_acquire(&doomed));
    assert_eq!(lock.acquire(&w, Some(0), OnEnd::Stays), Acquired::TimedOut);
    let dead = doomed.ids();
    w.bury(doomed.owner());
    assert_eq!(lock.acquire(&w, None, OnEnd::Stays), Acquired::Broken(dead));
    assert!(lock.reset(&w));
    assert_eq!(lock.acquire(&w, None, OnEnd::Stays), Acquired::Yes);
}

#[test]
fn the_budget_is_an_error_before_memory_is_touched() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    w.store(layout::header::BUDGET, 2 << 20);
    let first = heap::alloc_len(&w, 1 << 20).expect("room");
    assert!(heap::alloc_len(&w, 1 << 20).is_ok());
    assert!(heap::alloc_len(&w, 1 << 20).is_err());
    heap::free(&w, first);
    // Free, but of another class: its pages are given back to make room.
    assert!(heap::alloc_len(&w, 512 << 10).is_ok());
}

#[test]
fn threads_allocate_and_free_without_losing_a_block() {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let threads: Vec<_> = (1..5)
        .map(|t| {
            let w = shared.thread(t);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for n in 0..4000_u64 {
                    if n % 3 == 2 && !held.is_empty() {
                        heap::free(&w, held.swap_remove((n * 7) as usize % held.len()));
                    } else {
                        let block = heap::alloc_len(&w, [10, 100, 1000, 20_000][n as usize % 4])
                            .expect("room");
                        w.store(block, w.owner().to_bits());
                        held.push(block);
                    }
                    if held.len() > 40 {
                        held.drain(..).for_each(|block| {
                            assert_eq!(w.load(block), w.owner().to_bits());
                            heap::free(&w, block);
                        });
                    }
                }
                held.into_iter().for_each(|block| heap::free(&w, block));
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|t| t.join().expect("no assertion failed"));
    assert_eq!(in_use(&w), 0);
}

#[test]
fn a_job_keeps_the_order_of_its_pool_and_frees_all() {
    let shared = Shared::new(SIZE, false);
    let (w, doomed) = (shared.thread(0), shared.thread(1));
    let (handle, pool) = make_pool(&w);
    let jobs: Vec<_> = [3, 3, 1, 0]
        .into_iter()
        .zip(0..)
        .map(|(count, call)| make_job(&w, call, count))
        .collect();
    for &job in &jobs {
        pool.submit(&w, job).expect("it is open");
    }
    let mut begun = Vec::new();
    let mut current = None;
    while run_one(&w, pool, &mut current, Some(0), |value| begun.push(value)).is_ok() {
        if begun.len() == 2 {
            // One that was killed amid its element.
            let mut current = None;
            assert_eq!(pool.next(&doomed, &mut current, Some(0)), Ok(2));
            doomed.kill();
            w.bury(doomed.owner());
        }
    }
    let first = |job: u64| job << 32;
    assert_eq!(
        begun,
        [0, 1, first(1), first(1) + 1, first(1) + 2, first(2)]
    );
    assert!(pool.is_idle(&w) && current.is_none());
    let results = |job: usize| {
        let job = Job::of(&w, jobs[job]).expect("it lives");
        assert_eq!(job.last_unsettled(&w, job.count(&w)), None);
        (0..job.count(&w))
            .map(|index| result(&w, job, index))
            .collect::<Vec<_>>()
    };
    assert_eq!(results(0), [Some(0), Some(1), None]);
    assert_eq!(results(1), [0, 1, 2].map(|index| Some(first(1) + index)));
    assert_eq!(results(2), [Some(first(2))]);
    assert_eq!(results(3), []);
    for handle in jobs.iter().copied().chain([handle]) {
        object::unlease(&w, handle, 0);
    }
    // The killed one was of our process and had a lease.
    object::drop_leases(&w, 0);
    assert_eq!(in_use(&w), 0);
}

#[test]
fn a_busy_pool_runs_each_element_once_and_leaves_nothing() {
    const EACH: u64 = 400;
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, pool) = make_pool(&w);
    let workers: Vec<_> = (1..5)
        .map(|t| {
            let w = shared.thread(t);
            std::thread::spawn(move || {
                let (mut current, mut begun) = (None, Vec::new());
                let mut run = || run_one(&w, pool, &mut current, None, |value| begun.push(value));
                let why = std::iter::repeat_with(&mut run).find_map(Result::err);
                assert_eq!(why, Some(NoElement::Over));
                begun
            })
        })
        .collect();
    let readers: Vec<_> = (5..8)
        .map(|t| {
            let w = shared.thread(t);
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let (call, count) = ((t as u64) << 16 | n, 1 + n % 5 * 7);
                    let handle = make_job(&w, call, count);
                    pool.submit(&w, handle).expect("it is open");
                    let job = Job::of(&w, handle).expect("it lives");
                    while let Some(last) = job.last_unsettled(&w, count) {
                        let waited = job.wait(&w, last, None, || false);
                        assert_eq!(waited, Ok(Waited::Settled));
                    }
                    for index in 0..count {
                        assert_eq!(result(&w, job, index), Some(call << 32 | index));
                    }
                    object::unlease(&w, handle, 0);
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|r| r.join().expect("reader"));
    assert!(pool.advance(&w, State::Closed));
    let begun = workers.into_iter().flat_map(|w| w.join().expect("worker"));
    let begun: Vec<u64> = begun.collect();
    let each: u64 = (0..EACH).map(|n| 1 + n % 5 * 7).sum();
    assert_eq!(begun.len() as u64, 3 * each);
    assert_eq!(begun.iter().collect::<HashSet<_>>().len(), begun.len());
    object::unlease(&w, handle, 0);
    assert_eq!(in_use(&w), 0);
}
