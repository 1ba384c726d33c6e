//! A thread that ends at each step of its work on a queue: nothing else is lost with it.

use crate::broken::{Broken, Fault};
use crate::queue::{assert_in_order, drain, item};
use crate::structures::{assert_all_is_free, get, make_queue, put, put_block};
use crate::sync::{AtomicU64, check_each_step, spawn, yield_now};
use crate::world::{Handle, Shared};
use crate::{SIZE, aim};
use procession_shm::object;
use procession_shm::queue::{NotGot, NotPut, Queue};
use shuttle::rand::Rng;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as Plain};

/// What a doomed thread did before its end.
#[derive(Default)]
struct Diary {
    /// Begun, last one perhaps not finished.
    puts: Vec<u64>,
    put: usize,
    /// Its last get may have taken one more.
    got: Vec<u64>,
    gets: bool,
}

impl Diary {
    fn put(log: &Plain<Self>, value: u64, put: impl FnOnce(u64) -> Result<(), NotPut>) {
        log.lock().expect("no panic").puts.push(value);
        put(value).expect("put");
        log.lock().expect("no panic").put += 1;
    }

    fn get(log: &Plain<Self>, get: impl FnOnce() -> Result<u64, NotGot<()>>) {
        log.lock().expect("no panic").gets = true;
        if let Ok(value) = get() {
            log.lock().expect("no panic").got.push(value);
        }
    }
}

/// What a doomed thread does to a queue. Five items of producer 0 stand in an unbounded one.
type Work = fn(&Handle, Queue, &Plain<Diary>);

fn puts_two(w: &Handle, q: Queue, log: &Plain<Diary>) {
    (0..2).for_each(|n| Diary::put(log, item(1, n), |v| put(w, q, v)));
}

fn puts_a_block(w: &Handle, q: Queue, log: &Plain<Diary>) {
    Diary::put(log, item(1, 0), |v| put_block(w, q, v));
}

fn puts_four_into_new_segments(w: &Handle, q: Queue, log: &Plain<Diary>) {
    (0..4).for_each(|n| Diary::put(log, item(1, n), |v| put(w, q, v)));
}

fn gets_two(w: &Handle, q: Queue, log: &Plain<Diary>) {
    (0..2).for_each(|_| Diary::get(log, || get(w, q, Some(0))));
}

fn waits_for_one(w: &Handle, q: Queue, log: &Plain<Diary>) {
    Diary::get(log, || get(w, q, None));
}

/// How the doomed thread comes to its end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It is killed and buried.
    Killed,
    /// It is killed, and so is who buries it, at this step; somebody buries both.
    Twice(u64),
    /// It never goes on.
    Stopped,
}

/// A doomed thread works beside a producer of three items (slot 2) and a consumer of as many
/// (slot 3). Says whether it came to its end at step n (or its undertaker did).
fn queue_end(work: Work, max: u64, n: u64, end: End, fault: Option<Fault>) -> bool {
    let shared = Shared::new(SIZE, end == End::Stopped);
    let w = shared.thread(0);
    let (handle, q) = make_queue(&w, max);
    let before: Vec<_> = (0..if max == 0 { 5 } else { max })
        .map(|n| item(0, n))
        .collect();
    for &value in &before {
        if value % 2 == 0 {
            put_block(&w, q, value)
        } else {
            put(&w, q, value)
        }
        .expect("put");
    }
    let doomed = shared.thread(1);
    let (producer, consumer) = (shared.thread(2), shared.thread(3));
    let (undertaker, last) = (shared.thread(4), shared.thread(5));
    let fault = aim(fault, shared.frames_of(1));
    let log = Arc::new(Plain::new(Diary::default()));
    let working = Arc::new(AtomicU64::new(2));
    let life = {
        let (log, working) = (log.clone(), working.clone());
        spawn(move || {
            let dead = doomed.owner();
            let ended = doomed
                .ends_at(n, |w| with_doom(w, &fault, q, work, &log))
                .is_none();
            working.fetch_sub(1, Ordering::SeqCst);
            match end {
                _ if !ended => false,
                End::Stopped => true,
                End::Killed => {
                    undertaker.bury(dead);
                    true
                }
                End::Twice(m) => {
                    let died = undertaker.ends_at(m, |u| u.bury(dead)).is_none();
                    if died {
                        // In either order.
                        let mut both = [dead, undertaker.owner()];
                        if m % 2 == 0 {
                            both.reverse();
                        }
                        both.into_iter()
                            .filter(|&dead| last.is_unburied(dead))
                            .for_each(|dead| last.bury(dead));
                    }
                    died
                }
            }
        })
    };
    let puts = {
        let working = working.clone();
        spawn(move || {
            put(&producer, q, item(2, 0)).expect("put");
            put_block(&producer, q, item(2, 1)).expect("put");
            put(&producer, q, item(2, 2)).expect("put");
            working.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let gets = spawn(move || {
        (0..3)
            .map(|_| get(&consumer, q, None).expect("get"))
            .collect::<Vec<_>>()
    });
    let mut got = gets.join().expect("no assertion failed");
    let mut rest = Vec::new();
    while max != 0 && working.load(Ordering::SeqCst) > 0 {
        // There must be room for all that is put.
        rest.extend(drain(&w, q));
        yield_now();
    }
    puts.join().expect("no assertion failed");
    let ended = match life.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    rest.extend(drain(&w, q));
    assert!(q.is_empty(&w));
    got.extend(rest);
    assert_in_order(&got);

    let log = log.lock().expect("no panic");
    let mut all = got.clone();
    all.extend(&log.got);
    let unique: HashSet<u64> = all.iter().copied().collect();
    assert_eq!(unique.len(), all.len(), "nothing twice: {all:x?}");
    let sure: HashSet<u64> = before
        .into_iter()
        .chain((0..3).map(|n| item(2, n)))
        .chain(log.puts[..log.put].iter().copied())
        .collect();
    let lost = sure.difference(&unique).count();
    assert!(
        lost <= log.gets as usize,
        "lost {lost} of {sure:x?}: {all:x?}"
    );
    assert!(
        unique
            .iter()
            .all(|v| sure.contains(v) || log.puts.contains(v))
    );
    if end != End::Stopped || !ended {
        object::unlease(&w, handle, 0);
        assert_all_is_free(&shared.spectator());
    }
    ended
}

fn with_doom(w: &Handle, fault: &Option<Fault>, q: Queue, work: Work, log: &Plain<Diary>) {
    match fault {
        None => work(w, q, log),
        Some(fault) => {
            let w = &Broken::new(w, fault.clone());
            Diary::put(log, item(1, 0), |v| put_block(w, q, v));
            Diary::get(log, || get(w, q, Some(0)));
        }
    }
}

/// The recoverer of a thread that died somewhere in its work dies at step m, and both are recovered.
#[test]
fn a_death_at_each_step_of_a_recovery() {
    check_each_step(30, |m| {
        let works: [(Work, u64); 5] = [
            (puts_two, 0),
            (puts_a_block, 0),
            (puts_four_into_new_segments, 0),
            (gets_two, 0),
            (puts_two, 2),
        ];
        let mut random = shuttle::rand::thread_rng();
        let (work, max) = works[random.gen_range(0..works.len())];
        queue_end(work, max, random.gen_range(1..60), End::Twice(m), None)
    });
}

#[test]
#[should_panic]
fn planted_queue_that_announces_nothing() {
    check_each_step(20, |n| {
        queue_end(puts_two, 0, n, End::Killed, Some(Fault::LostStore(0..0)))
    });
}

/// A test for each work and each way to end.
macro_rules! ends {
    ($($name:ident: $schedules:expr, $work:expr, $max:expr, $end:expr;)*) => {
        $(#[test]
        fn $name() {
            check_each_step($schedules, |n| queue_end($work, $max, n, $end, None));
        })*
    };
}

ends! {
    a_death_at_each_step_of_put: 10, puts_two, 0, End::Killed;
    a_death_at_each_step_of_put_of_a_block: 10, puts_a_block, 0, End::Killed;
    a_death_at_each_step_of_put_into_new_segments: 10, puts_four_into_new_segments, 0, End::Killed;
    a_death_at_each_step_of_a_bounded_put: 10, puts_two, 2, End::Killed;
    a_death_at_each_step_of_get: 10, gets_two, 0, End::Killed;
    a_death_at_each_step_of_a_bounded_get: 10, gets_two, 2, End::Killed;
    a_death_at_each_step_of_a_waiting_get: 10, waits_for_one, 0, End::Killed;
    a_stop_at_each_step_of_put: 6, puts_two, 0, End::Stopped;
    a_stop_at_each_step_of_put_of_a_block: 6, puts_a_block, 0, End::Stopped;
    a_stop_at_each_step_of_put_into_new_segments: 6, puts_four_into_new_segments, 0, End::Stopped;
    a_stop_at_each_step_of_a_bounded_put: 6, puts_two, 2, End::Stopped;
    a_stop_at_each_step_of_get: 6, gets_two, 0, End::Stopped;
    a_stop_at_each_step_of_a_bounded_get: 6, gets_two, 2, End::Stopped;
}
