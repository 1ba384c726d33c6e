//! Models of the structures under many random schedules, with deaths and stops at each step.
//!
//! `PROCESSION_MODEL_ITERATIONS=10` runs ten times as many schedules as the default.
#![cfg(not(loom))]

mod sync {
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, FailurePersistence, Runner};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub use shuttle::sync::atomic::{AtomicU64, fence};
    pub use shuttle::sync::{Condvar, Mutex};
    pub use shuttle::thread::{spawn, yield_now};

    /// Words that are made at a time.
    pub const CHUNK: usize = 8;

    /// A load that is no step.
    pub fn peek(word: &AtomicU64) -> u64 {
        // SAFETY: all threads of a model are one thread, which does nothing else now.
        unsafe { word.raw_load() }
    }

    fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::new();
        config.stack_size = 1 << 18;
        config.silence_warnings = true;
        config.failure_persistence = FailurePersistence::Print;
        Runner::new(scheduler, config).run(model);
    }

    /// Runs a model under `schedules` schedules, times the factor asked for: random ones, and ones with few
    /// switches.
    pub fn check(schedules: usize, model: impl Fn() + Send + Sync + 'static) {
        let factor = std::env::var("PROCESSION_MODEL_ITERATIONS")
            .map_or(1, |factor| factor.parse().expect("a factor"));
        let (model, half) = (Arc::new(model), (schedules * factor).div_ceil(2));
        let again = model.clone();
        run(RandomScheduler::new(half), move || model());
        run(PctScheduler::new(3, half), move || again());
    }

    /// Runs a model for n = 1, 2, 3, ... until it says for none of its schedules that somebody
    /// came to his end at step n.
    pub fn check_each_step(schedules: usize, model: impl Fn(u64) -> bool + Send + Sync + 'static) {
        let model = Arc::new(model);
        for n in 1.. {
            let (model, ended) = (model.clone(), Arc::new(AtomicBool::new(false)));
            let again = ended.clone();
            check(schedules, move || {
                if model(n) {
                    again.store(true, Ordering::Relaxed);
                }
            });
            if !ended.load(Ordering::Relaxed) {
                assert!(n > 2, "nobody came to an end");
                return;
            }
        }
    }
}
#[path = "support/broken.rs"]
mod broken;
#[path = "support/structures.rs"]
mod structures;
#[path = "support/world.rs"]
mod world;

use broken::{Broken, Fault};
use procession_shm::barrier::{Arrival, Barrier, Passed};
use procession_shm::condition::Condition;
use procession_shm::event::Event;
use procession_shm::gate::Gate;
use procession_shm::lock::{Acquired, Lock, NotReleased, OnEnd, Status};
use procession_shm::message::Message;
use procession_shm::object::{self, Kind};
use procession_shm::queue::{Got, Item, NotGot, NotPut, Queue};
use procession_shm::semaphore::Semaphore;
use procession_shm::{Off, World, class, heap, layout};
use shuttle::rand::Rng;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as Plain};
use structures::{
    assert_all_is_free, get, in_use, make, make_condition, make_queue, put, put_block,
};
use sync::{AtomicU64, check, check_each_step, spawn, yield_now};
use world::{Handle, Shared};

const SIZE: u64 = 1 << 20;

/// The world of a handle, with a fault if one is planted.
macro_rules! with_fault {
    ($handle:expr, $fault:expr, |$w:ident| $body:expr) => {
        match $fault {
            None => {
                let $w = &$handle;
                $body
            }
            Some(fault) => {
                let $w = &Broken {
                    world: &$handle,
                    fault: fault.clone(),
                };
                $body
            }
        }
    };
}

// ---- allocator ----

/// Threads take blocks of two classes, write their name on them and give some back.
fn heap_model(torn: bool) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let fault = torn.then(|| Fault::TornCas(w.layout().tags..w.layout().heap));
    let threads: Vec<_> = (1..4)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    let mut held = Vec::new();
                    for len in [10, 16_000, 10, 10] {
                        if held.len() == 2 {
                            heap::free(w, held.remove(0));
                        }
                        let block = heap::alloc_len(w, len).expect("room");
                        w.store(block, t as u64);
                        held.push(block);
                        held.iter().for_each(|&b| assert_eq!(w.load(b), t as u64));
                    }
                    held
                })
            })
        })
        .collect();
    let held: Vec<Off> = threads
        .into_iter()
        .flat_map(|t| t.join().expect("no assertion failed"))
        .collect();
    assert_eq!(held.iter().collect::<HashSet<_>>().len(), held.len());
    let spectator = shared.spectator();
    assert_eq!(in_use(&spectator), held.len());
    held.into_iter().for_each(|block| heap::free(&w, block));
    assert_all_is_free(&spectator);
}

#[test]
fn a_block_has_one_owner_and_none_is_lost() {
    check(300, || heap_model(false));
}

#[test]
#[should_panic]
fn planted_torn_claim_of_a_block() {
    check(3000, || heap_model(true));
}

#[test]
fn a_death_in_the_allocator_loses_no_block() {
    check_each_step(20, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed) = (shared.thread(0), shared.thread(1));
        let (doomed_too, undertaker) = (shared.thread(2), shared.thread(3));
        let worker = spawn(move || {
            for _ in 0..2 {
                let block = heap::alloc_len(&w, 100).expect("room");
                heap::free(&w, block);
            }
            // A large one, of which the watermark keeps nothing.
            w.store(layout::header::WATERMARK, 0);
            let block = heap::alloc_len(&w, 65_536).expect("room");
            heap::free(&w, block);
        });
        let died = doomed
            .ends_at(n, |w| {
                let small = heap::alloc_len(w, 100).expect("room");
                let large = heap::alloc_len(w, 65_536).expect("room");
                heap::free(w, small);
                heap::free(w, large);
            })
            .is_none();
        if died {
            undertaker.bury(doomed.owner());
        }
        worker.join().expect("no assertion failed");
        assert_all_is_free(&shared.spectator());
        drop(doomed_too);
        died
    });
}

/// The budget's counters come right after a recovery that ran beside allocations.
#[test]
fn a_recovery_beside_allocations_does_not_spoil_the_budget() {
    check(400, || {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        w.store(layout::header::WATERMARK, 0);
        w.store(layout::header::BUDGET, 2 * layout::SPAN);
        let block = heap::alloc_len(&w, layout::SPAN).expect("room");
        heap::free(&w, block);
        doomed.ends_at(1, |w| heap::alloc_len(w, 10));
        let burial = spawn(move || undertaker.bury(doomed.owner()));
        let block = heap::alloc_len(&w, layout::SPAN).expect("room");
        burial.join().expect("no assertion failed");
        heap::free(&w, block);
        let other = heap::alloc_len(&w, 2 * layout::SPAN).expect("the budget allows two spans");
        heap::free(&w, other);
    });
}

// ---- lock ----

/// Threads add to a plain word under the lock.
fn lock_model(fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_, body) = make(&w, Kind::Lock);
    let (lock, sum) = (Lock(body), body + 32);
    let fault = fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(body..body + 8),
        fault => fault,
    });
    let threads: Vec<_> = (1..4)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    for _ in 0..2 {
                        if t == 1 {
                            // One may give up.
                            match lock.acquire(w, Some(9), OnEnd::Stays) {
                                Acquired::Yes => {}
                                Acquired::TimedOut => continue,
                                other => panic!("{other:?}"),
                            }
                        } else {
                            assert_eq!(lock.acquire(w, None, OnEnd::Stays), Acquired::Yes);
                        }
                        let seen = w.load(sum);
                        w.store(sum, seen + 1);
                        assert_eq!(w.load(sum), seen + 1);
                        lock.release(w, true).expect("it is held");
                    }
                })
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|t| t.join().expect("no assertion failed"));
    assert!((4..=6).contains(&w.load(sum)));
    assert_eq!(lock.status(&w), Status::Free);
}

#[test]
fn a_lock_excludes_and_loses_no_wake() {
    check(1000, || lock_model(None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_lock() {
    check(3000, || lock_model(Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_lock() {
    check(3000, || lock_model(Some(Fault::LostWakeOne)));
}

#[test]
#[should_panic]
fn planted_blind_sleep_at_a_lock() {
    check(3000, || lock_model(Some(Fault::BlindWait)));
}

/// A thread dies in acquire or release; those who wait are told, or hold the lock.
fn lock_death(n: u64) -> bool {
    let shared = Shared::new(SIZE, false);
    let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
    let (_, body) = make(&w, Kind::Lock);
    let lock = Lock(body);
    let others: Vec<_> = (3..5)
        .map(|t| {
            let w = shared.thread(t);
            spawn(move || match lock.acquire(&w, None, OnEnd::Stays) {
                Acquired::Yes => lock.release(&w, true).map_err(|error| match error {
                    NotReleased::Broken(dead) => dead,
                    other => panic!("{other:?}"),
                }),
                Acquired::Broken(dead) => Err(dead),
                other => panic!("{other:?}"),
            })
        })
        .collect();
    let dead = doomed.owner();
    let died = doomed
        .ends_at(n, |w| {
            // Others only hold it for a moment, and do not die.
            assert_eq!(lock.acquire(w, None, OnEnd::Stays), Acquired::Yes);
            lock.release(w, true).expect("it is held");
        })
        .is_none();
    if died {
        undertaker.bury(dead);
    }
    let mut broken = false;
    for other in others {
        if let Err(who) = other.join().expect("no assertion failed") {
            assert_eq!(who, dead);
            broken = true;
        }
    }
    match lock.status(&w) {
        Status::Free => assert!(!broken, "nobody has reset it"),
        Status::Broken(who) => {
            assert!(who == dead && died);
            assert_eq!(lock.acquire(&w, None, OnEnd::Stays), Acquired::Broken(who));
            assert!(lock.reset(&w));
        }
        Status::Held(who) => panic!("held by {who:?}"),
    }
    assert_eq!(lock.acquire(&w, None, OnEnd::Stays), Acquired::Yes);
    died
}

#[test]
fn a_death_at_each_step_of_a_lock() {
    check_each_step(300, lock_death);
}

// ---- event ----

/// Waiters that counted before a pulse are all let go by it.
fn event_model(fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_, body) = make(&w, Kind::Event);
    let event = Event(body);
    let sets = event.sets(&w);
    let waiters: Vec<_> = (1..4)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || with_fault!(w, &fault, |w| event.wait(w, sets, None)))
        })
        .collect();
    with_fault!(w, &fault, |w| {
        event.set(w);
        event.clear(w);
    });
    for waiter in waiters {
        assert_eq!(waiter.join().expect("no assertion failed"), Ok(true));
    }
    assert!(!event.is_set(&w) && event.sets(&w) == sets + 1);
    // What came before the wait began is no reason to end it.
    assert_eq!(event.wait(&w, sets + 1, Some(9)), Ok(false));
}

#[test]
fn an_event_never_misses_a_pulse() {
    check(1000, || event_model(None));
}

#[test]
#[should_panic]
fn planted_blind_sleep_at_an_event() {
    check(3000, || event_model(Some(Fault::BlindWait)));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_an_event() {
    check(3000, || event_model(Some(Fault::LostWakeAll)));
}

// ---- semaphore ----

/// Fewer permits than threads, one of which may give up.
fn semaphore_model(permits: u64, fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_, body) = make(&w, Kind::Semaphore);
    let (semaphore, inside) = (Semaphore(body), body + 32);
    semaphore.init(&w, permits, Some(permits));
    let fault = fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(body..body + 8),
        fault => fault,
    });
    let threads: Vec<_> = (1..5)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    for _ in 0..2 {
                        let until = (t == 1).then_some(9);
                        if semaphore.acquire(w, until) == Ok(true) {
                            assert!(w.add(inside, 1) < permits);
                            w.add(inside, 1_u64.wrapping_neg());
                            semaphore.release(w).expect("below the bound");
                        } else {
                            assert_eq!(t, 1);
                        }
                    }
                })
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|t| t.join().expect("no assertion failed"));
    assert_eq!(semaphore.value(&w), permits);
    assert!(semaphore.release(&w).is_err());
}

#[test]
fn a_semaphore_lets_in_as_many_as_it_has_permits() {
    check(500, || semaphore_model(1, None));
    check(500, || semaphore_model(2, None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_semaphore() {
    check(3000, || semaphore_model(1, Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_semaphore() {
    check(3000, || semaphore_model(1, Some(Fault::LostWakeOne)));
}

#[test]
#[should_panic]
fn planted_semaphore_that_clears_the_bit_and_wakes_nobody() {
    check(20_000, || semaphore_model(1, Some(Fault::LostWakeAll)));
}

// ---- condition ----

/// `notify(1)` twice, for three waiters of which one gives up when it pleases.
fn condition_model(fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, condition) = make_condition(&w);
    let fault = fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(w.layout().heap..w.layout().size),
        fault => fault,
    });
    let handles: Vec<_> = (1..5).map(|t| shared.thread(t)).collect();
    let mut waiters = Vec::new();
    for (t, w) in handles.into_iter().enumerate() {
        // In order, as under the lock that goes with a condition.
        let record = condition.enter(&w).expect("room");
        let fault = fault.clone();
        let until = (t == 1).then_some(9);
        waiters.push(spawn(move || {
            with_fault!(w, &fault, |w| condition.wait(w, record, until))
        }));
    }
    let notifier = shared.thread(5);
    let again = fault.clone();
    let other = spawn(move || with_fault!(notifier, &again, |w| condition.notify(w, 1)));
    let mine = with_fault!(w, &fault, |w| condition.notify(w, 1));
    assert_eq!((mine, other.join().expect("no assertion failed")), (1, 1));
    // Whether the second one used a mark says who must have got the other.
    let second = waiters.remove(1).join().expect("no assertion failed");
    let first = waiters.remove(0).join().expect("no assertion failed");
    assert_eq!(first, Ok(true), "the oldest is let go");
    if second == Ok(true) {
        assert_eq!(with_fault!(w, &fault, |w| condition.notify(w, 1)), 1);
    }
    assert_eq!(
        waiters.remove(0).join().expect("no assertion failed"),
        Ok(true)
    );
    // The youngest had none of these.
    assert!(condition.has_waiters(&w));
    assert_eq!(with_fault!(w, &fault, |w| condition.notify(w, 9)), 1);
    assert_eq!(
        waiters.remove(0).join().expect("no assertion failed"),
        Ok(true)
    );
    assert!(!condition.has_waiters(&w));
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
}

#[test]
fn a_condition_lets_the_oldest_go_one_for_each_notify() {
    check(600, || condition_model(None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_condition() {
    check(3000, || condition_model(Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_condition() {
    check(3000, || condition_model(Some(Fault::LostWakeOne)));
}

/// Nobody waits, and no record is lost: as many as a chunk holds can be entered without another.
fn assert_all_records_are_free<W: World>(w: &W, condition: Condition) {
    assert!(!condition.has_waiters(w));
    let before = in_use(w);
    let records: Vec<_> = (0..15).map(|_| condition.enter(w).expect("room")).collect();
    assert_eq!(in_use(w), before);
    records.into_iter().for_each(|r| condition.leave(w, r));
}

/// Two wait, and the older one dies at step n: one notify reaches the other all the same.
fn death_of_the_oldest_waiter(n: u64) -> bool {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, condition) = make_condition(&w);
    let (doomed, undertaker, survivor) = (shared.thread(1), shared.thread(2), shared.thread(3));
    let dead = doomed.owner();
    let older = condition.enter(&doomed).expect("room");
    let younger = condition.enter(&survivor).expect("room");
    let first = spawn(move || doomed.ends_at(n, |w| condition.wait(w, older, None)));
    let second = spawn(move || condition.wait(&survivor, younger, None));
    let burial = spawn(move || match first.join().expect("no assertion failed") {
        Some(notified) => {
            assert_eq!(notified, Ok(true));
            condition.notify(&undertaker, 1);
            false
        }
        None => {
            undertaker.bury(dead);
            true
        }
    });
    assert_eq!(condition.notify(&w, 1), 1);
    let died = burial.join().expect("no assertion failed");
    assert_eq!(second.join().expect("no assertion failed"), Ok(true));
    assert_all_records_are_free(&w, condition);
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
    died
}

#[test]
fn a_death_at_each_step_of_the_oldest_waiter() {
    check_each_step(300, death_of_the_oldest_waiter);
}

/// A notify that saw the oldest alive marks it while it is recovered: the mark passes on.
#[test]
fn a_mark_that_comes_during_a_recovery_passes_on() {
    check(1500, || {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, condition) = make_condition(&w);
        let (doomed, undertaker, survivor) = (shared.thread(1), shared.thread(2), shared.thread(3));
        let dead = doomed.owner();
        let older = condition.enter(&doomed).expect("room");
        let younger = condition.enter(&survivor).expect("room");
        doomed.ends_at(1, |w| condition.wait(w, older, None));
        let burial = spawn(move || {
            undertaker.mark_killed(dead);
            // This model looks at no other part of the recovery.
            condition.recover(&undertaker, dead.slot);
            undertaker.make_vacant(dead);
        });
        assert_eq!(condition.notify(&w, 1), 1);
        burial.join().expect("no assertion failed");
        assert_eq!(condition.wait(&survivor, younger, Some(0)), Ok(true));
        assert_all_records_are_free(&w, condition);
    });
}

/// One dies on its way in, waiting, or out; the one before it is let go, and no record is lost.
fn death_of_the_youngest_waiter(n: u64) -> bool {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, condition) = make_condition(&w);
    let (doomed, undertaker, survivor) = (shared.thread(1), shared.thread(2), shared.thread(3));
    let dead = doomed.owner();
    let older = condition.enter(&survivor).expect("room");
    // More than a chunk's: entering takes another.
    let more: Vec<_> = (0..14)
        .map(|_| condition.enter(&survivor).expect("room"))
        .collect();
    let first = spawn(move || condition.wait(&survivor, older, None));
    let ended = Arc::new(Plain::new(None));
    let second = {
        let ended = ended.clone();
        spawn(move || {
            let died = doomed
                .ends_at(n, |w| {
                    let record = condition.enter(w).expect("room");
                    condition.wait(w, record, None)
                })
                .is_none();
            if died {
                undertaker.bury(dead);
            }
            *ended.lock().expect("no panic") = Some(died);
        })
    };
    assert_eq!(condition.notify(&w, 1), 1);
    assert_eq!(first.join().expect("no assertion failed"), Ok(true));
    more.into_iter().for_each(|r| condition.leave(&w, r));
    let died = loop {
        if let Some(died) = *ended.lock().expect("no panic") {
            break died;
        }
        condition.notify(&w, 1);
        yield_now();
    };
    second.join().expect("no assertion failed");
    assert_all_records_are_free(&w, condition);
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
    died
}

#[test]
fn a_death_at_each_step_of_the_youngest_waiter() {
    check_each_step(20, death_of_the_youngest_waiter);
}

/// A condition is taken apart by one who dies at step n; its memory is others' at once.
#[test]
fn a_death_at_each_step_of_a_conditions_end() {
    check_each_step(40, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (handle, condition) = make_condition(&w);
        let records: Vec<_> = (0..40)
            .map(|_| condition.enter(&w).expect("room"))
            .collect();
        records.into_iter().for_each(|r| condition.leave(&w, r));
        let user = spawn(move || {
            let held: Vec<_> = (0..3)
                .map(|_| heap::alloc_len(&w, 256).expect("room"))
                .collect();
            let bytes = [0x3f; 256];
            held.iter().for_each(|&block| w.write(block, &bytes));
            yield_now();
            for block in held {
                let mut seen = [0; 256];
                w.read(block, &mut seen);
                assert_eq!(seen, bytes);
                heap::free(&w, block);
            }
        });
        let died = doomed
            .ends_at(n, |w| object::unlease(w, handle, 0))
            .is_none();
        if died {
            undertaker.bury(doomed.owner());
        }
        user.join().expect("no assertion failed");
        // Died before the lease was gone.
        object::unlease(&undertaker, handle, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// A recovery looks at a condition that is taken apart at the same time, its memory used anew.
#[test]
fn a_recovery_beside_a_conditions_end_touches_nothing_else() {
    check(1000, || {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (handle, condition) = make_condition(&w);
        let records: Vec<_> = (0..16)
            .map(|_| condition.enter(&w).expect("room"))
            .collect();
        records.into_iter().for_each(|r| condition.leave(&w, r));
        let dead = doomed.owner();
        let burial = spawn(move || undertaker.bury(dead));
        object::unlease(&w, handle, 0);
        let block = heap::alloc_len(&w, 256).expect("room");
        let bytes = [0x3f; 256];
        w.write(block, &bytes);
        burial.join().expect("no assertion failed");
        let mut seen = [0; 256];
        w.read(block, &mut seen);
        assert_eq!(seen, bytes);
    });
}

// ---- objects ----

/// An edge that named an object once, and is now made to name another, does not keep the first.
#[test]
fn an_edge_used_anew_keeps_only_what_it_names_now() {
    check(1000, || {
        let shared = Shared::new(SIZE, false);
        let (w, other) = (shared.thread(0), shared.thread(1));
        let (first, _) = make(&w, Kind::Lock);
        let (second, _) = make(&w, Kind::Lock);
        let travel = |w: &Handle, what| {
            let message = Message::new(w, 3, 8, 1).expect("room");
            message.add_edge(0, what).expect("room");
        };
        travel(&w, first);
        let sends = spawn(move || travel(&other, second));
        object::unlease(&w, first, 0);
        sends.join().expect("no assertion failed");
        assert_eq!(object::kind_of(&w, first), Err(object::Gone));
        assert_eq!(object::kind_of(&w, second), Ok(Kind::Lock));
    });
}

/// One frees an object, a recovery finishes it for him, and the entry is used anew: the new object lives.
#[test]
fn an_entry_used_anew_is_not_taken_for_the_dead_object() {
    check(2500, || {
        let shared = Shared::new(SIZE, false);
        let (w, other) = (shared.thread(0), shared.thread(1));
        let (old, _) = make(&w, Kind::Lock);
        let recovers = spawn(move || {
            object::sweep(&other);
            let (new, body) = make(&other, Kind::Lock);
            assert!(Lock(body).try_acquire(&other));
            (new, body)
        });
        object::unlease(&w, old, 0);
        let (new, body) = recovers.join().expect("no assertion failed");
        assert_eq!(object::kind_of(&w, old), Err(object::Gone));
        assert_eq!(object::kind_of(&w, new), Ok(Kind::Lock));
        assert!(!Lock(body).try_acquire(&w));
    });
}

// ---- barrier ----

/// Three threads meet twice; the last one of each runs the action alone.
fn barrier_model(fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_, body) = make(&w, Kind::Barrier);
    let (barrier, came, actions) = (Barrier(body), body + 32, body + 40);
    barrier.init(&w, 3);
    let fault = fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(body..body + 8),
        fault => fault,
    });
    let threads: Vec<_> = (1..4)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    for round in 1..=2 {
                        w.add(came, 1);
                        let passed = match barrier.arrive(w, None).expect("no signal") {
                            Some(Arrival::Wait { ticket, .. }) => {
                                barrier.wait(w, ticket, None).expect("no signal")
                            }
                            Some(Arrival::Last { index: 2 }) => {
                                assert_eq!(w.load(came), round * 3);
                                assert_eq!(w.add(actions, 1), round - 1);
                                barrier.open(w)
                            }
                            other => panic!("{other:?}"),
                        };
                        assert_eq!(passed, Passed::Yes);
                        assert!(w.load(came) >= round * 3 && w.load(actions) >= round);
                    }
                })
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|t| t.join().expect("no assertion failed"));
    assert_eq!((w.load(actions), barrier.waiting(&w)), (2, 0));
}

#[test]
fn a_barrier_lets_all_go_when_all_have_come() {
    check(1000, || barrier_model(None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_barrier() {
    check(3000, || barrier_model(Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_blind_sleep_at_a_barrier() {
    check(3000, || barrier_model(Some(Fault::BlindWait)));
}

/// One of two dies at step n, coming, waiting, or running the action: the other does not wait for ever.
#[test]
fn a_death_at_each_step_of_a_barrier() {
    check_each_step(200, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let survivor = shared.thread(3);
        let (_, body) = make(&w, Kind::Barrier);
        let barrier = Barrier(body);
        barrier.init(&w, 2);
        let meet = move |w: &Handle, came: &mut bool| {
            let arrival = barrier.arrive(w, None).expect("no signal").expect("no end");
            *came = true;
            match arrival {
                Arrival::Wait { ticket, .. } => barrier.wait(w, ticket, None).expect("no signal"),
                Arrival::Last { .. } => {
                    w.store(body + 32, 1);
                    barrier.open(w)
                }
                Arrival::Broken => Passed::Broken,
            }
        };
        let mine = spawn(move || meet(&survivor, &mut false));
        let mut came = false;
        let ended = doomed.ends_at(n, |w| meet(w, &mut came));
        match ended {
            Some(passed) => assert_eq!(passed, Passed::Yes),
            None => undertaker.bury(doomed.owner()),
        }
        if !came {
            assert_eq!(meet(&w, &mut came), Passed::Yes);
        }
        let passed = mine.join().expect("no assertion failed");
        assert_eq!(passed == Passed::Broken, barrier.is_broken(&w));
        barrier.reset(&w);
        assert!(!barrier.is_broken(&w) && barrier.waiting(&w) == 0);
        ended.is_none()
    });
}

// ---- gate ----

/// Two wait for as many things as two others bring.
fn gate_model(fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (_, body) = make(&w, Kind::Semaphore);
    let (gate, things) = (Gate(body), body + 32);
    let take = move |w: &dyn Fn() -> u64, cas: &dyn Fn(u64) -> bool| loop {
        let seen = w();
        if seen == 0 {
            return false;
        }
        if cas(seen) {
            return true;
        }
    };
    let takers: Vec<_> = (1..3)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    let take = || {
                        take(&|| w.load(things), &|seen| {
                            w.cas(things, seen, seen - 1).is_ok()
                        })
                    };
                    for _ in 0..2 {
                        while !take() {
                            let ticket = gate.announce(w);
                            if take() {
                                break;
                            }
                            w.wait(body, ticket, None);
                        }
                    }
                })
            })
        })
        .collect();
    let bringers: Vec<_> = (3..5)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| for _ in 0..2 {
                    w.add(things, 1);
                    gate.notify(w);
                })
            })
        })
        .collect();
    takers
        .into_iter()
        .chain(bringers)
        .for_each(|t| t.join().expect("no assertion failed"));
    assert_eq!(w.load(things), 0);
}

#[test]
fn a_gate_lets_each_notified_go() {
    check(1000, || gate_model(None));
}

#[test]
#[should_panic]
fn planted_gate_that_clears_the_bit_and_wakes_nobody() {
    check(60_000, || gate_model(Some(Fault::LostWakeAll)));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_gate() {
    check(3000, || gate_model(Some(Fault::LostWakeOne)));
}

// ---- queue ----

/// Producer in the high half, number in the low one.
fn item(producer: u64, n: u64) -> u64 {
    producer << 32 | n
}

/// Nothing twice, and in the order in which each producer put it.
fn assert_in_order(got: &[u64]) {
    assert_eq!(
        got.iter().collect::<HashSet<_>>().len(),
        got.len(),
        "{got:x?}"
    );
    for producer in 0..8 {
        let mine: Vec<_> = got.iter().filter(|&&v| v >> 32 == producer).collect();
        assert!(mine.is_sorted(), "{got:x?}");
    }
}

fn drain(w: &Handle, q: Queue) -> Vec<u64> {
    std::iter::from_fn(|| get(w, q, Some(0)).ok()).collect()
}

/// Two producers, two consumers, inline and in blocks, over several segments.
fn queue_model(max: u64, fault: Option<Fault>) {
    let shared = Shared::new(SIZE, false);
    let w = shared.thread(0);
    let (handle, q) = make_queue(&w, max);
    let fault = fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(w.layout().heap..w.layout().size),
        fault => fault,
    });
    let producers: Vec<_> = (1..3)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| for n in 0..4 {
                    let value = item(t as u64, n);
                    if n == 2 {
                        put_block(w, q, value)
                    } else {
                        put(w, q, value)
                    }
                    .expect("put");
                })
            })
        })
        .collect();
    let consumers: Vec<_> = (3..5)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| (0..4)
                    .map(|_| get(w, q, None).expect("get"))
                    .collect::<Vec<_>>())
            })
        })
        .collect();
    let mut all = Vec::new();
    for consumer in consumers {
        let got = consumer.join().expect("no assertion failed");
        assert_in_order(&got);
        all.extend(got);
    }
    producers
        .into_iter()
        .for_each(|p| p.join().expect("no assertion failed"));
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 8);
    assert!(q.is_empty(&w));
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
}

#[test]
fn a_queue_delivers_each_item_once_in_order() {
    check(400, || queue_model(0, None));
}

#[test]
fn a_bounded_queue_delivers_each_item_once_in_order() {
    check(200, || queue_model(1, None));
    check(200, || queue_model(3, None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_queue() {
    check(3000, || queue_model(0, Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_queue() {
    check(3000, || queue_model(0, Some(Fault::LostWakeOne)));
}

/// What is put after another put has returned comes out after it, whoever the producers are.
#[test]
fn a_queue_is_fifo_across_producers() {
    check(400, || {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, q) = make_queue(&w, 0);
        let (first, second, slow) = (shared.thread(1), shared.thread(2), shared.thread(3));
        let noise = spawn(move || (0..2).for_each(|n| put(&slow, q, item(3, n)).expect("put")));
        let chain = spawn(move || {
            put(&first, q, item(1, 0)).expect("put");
            let then = spawn(move || put_block(&second, q, item(1, 1)).expect("put"));
            then.join().expect("no assertion failed");
            put(&first, q, item(1, 2)).expect("put");
        });
        let got: Vec<_> = (0..5).map(|_| get(&w, q, None).expect("get")).collect();
        assert_in_order(&got);
        noise.join().expect("no assertion failed");
        chain.join().expect("no assertion failed");
    });
}

/// However many put, there are never more items than the bound, and a full queue takes nothing.
#[test]
fn a_bounded_queue_never_holds_more() {
    check(400, || {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, q) = make_queue(&w, 2);
        let producers: Vec<_> = (1..4)
            .map(|t| {
                let w = shared.thread(t);
                spawn(move || {
                    let mut done = 0;
                    for n in 0..2 {
                        let bytes = item(t as u64, n).to_le_bytes();
                        match q.try_put(&w, &mut Item::Inline(1, &bytes)) {
                            Ok(()) => done += 1,
                            Err(NotPut::Full) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    done
                })
            })
            .collect();
        let taken = get(&w, q, Some(0)).is_ok() as usize;
        let done: usize = producers
            .into_iter()
            .map(|p| p.join().expect("no assertion failed"))
            .sum();
        let left = drain(&w, q);
        assert_in_order(&left);
        assert!(left.len() <= 2 && done == left.len() + taken);
        assert!(done >= 2);
    });
}

/// One that was woken for an item and fails to prepare for it leaves it to the next one.
#[test]
fn a_get_that_fails_after_its_wake_wakes_the_next() {
    check(400, || {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, q) = make_queue(&w, 0);
        let (picky, other) = (shared.thread(1), shared.thread(2));
        let fails = spawn(move || {
            let result = q.get(&picky, Some(9), |_| Err::<(), _>(()));
            assert!(matches!(
                result,
                Err(NotGot::NotPrepared(()) | NotGot::Empty)
            ));
        });
        let gets = spawn(move || assert_eq!(get(&other, q, None), Ok(7)));
        put(&w, q, 7).expect("put");
        fails.join().expect("no assertion failed");
        gets.join().expect("no assertion failed");
    });
}

/// One that was woken for room and finds no memory leaves the room to the next one.
#[test]
fn a_put_that_fails_after_its_wake_wakes_the_next() {
    check(400, || {
        let shared = Shared::new(SIZE, false);
        let w = shared.thread(0);
        let (_handle, q) = make_queue(&w, 3);
        (0..3).for_each(|n| put(&w, q, n).expect("put"));
        // No other segment can be had.
        w.store(layout::header::BUDGET, 0);
        while heap::alloc(&w, class::SEGMENT).is_ok() {}
        let producers: Vec<_> = (1..3)
            .map(|t| {
                let w = shared.thread(t);
                spawn(move || match put(&w, q, t as u64) {
                    Err(NotPut::OutOfMemory(_)) => {}
                    other => panic!("{other:?}"),
                })
            })
            .collect();
        assert_eq!(get(&w, q, None), Ok(0));
        producers
            .into_iter()
            .for_each(|p| p.join().expect("no assertion failed"));
    });
}

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
    let fault = fault.map(|fault| match fault {
        Fault::LostStore(_) => Fault::LostStore(shared.frames_of(1)),
        fault => fault,
    });
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
            let w = &Broken {
                world: w,
                fault: fault.clone(),
            };
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

/// An object whose last lease goes while it travels in a message lives as long as the message,
/// whenever its sender dies.
#[test]
fn a_death_at_each_step_of_sending_an_object() {
    check_each_step(10, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (_handle, q) = make_queue(&w, 0);
        let receives = spawn(move || {
            let got = q.get(&w, Some(9), |_| Ok::<_, ()>(()));
            if let Ok((Got::Message(message), ())) = got {
                let (edge, ..) = message.part(0).expect("the edge");
                let handle = object::Handle {
                    id: w.load(edge),
                    generation: w.load(edge + 8),
                };
                assert_eq!(object::kind_of(&w, handle), Ok(Kind::Queue));
                object::lease(&w, handle, 0).expect("it lives");
                drop(message);
                assert_eq!(object::kind_of(&w, handle), Ok(Kind::Queue));
                object::unlease(&w, handle, 0);
            }
        });
        let died = doomed
            .ends_at(n, |w| {
                let (travels, _) = make_queue(w, 0);
                let message = Message::new(w, 3, 8, 1).expect("room");
                message.add_edge(0, travels).expect("room");
                q.put(w, Item::Message(&mut Some(message)), None)
                    .expect("put");
                object::unlease(w, travels, 0);
            })
            .is_none();
        if died {
            undertaker.bury(doomed.owner());
        }
        receives.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// A queue is taken apart by one who dies at step n, and is buried when its memory is other queues'.
#[test]
fn a_death_at_each_step_of_a_queues_end() {
    check_each_step(8, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (handle, q) = make_queue(&w, 0);
        (0..4).for_each(|n| put_block(&w, q, n).expect("put"));
        let dead = doomed.owner();
        let life = spawn(move || {
            doomed
                .ends_at(n, |w| object::unlease(w, handle, 0))
                .is_none()
        });
        let fill = |w: &Handle| {
            let (handle, q) = make_queue(w, 0);
            (0..4).for_each(|n| put(w, q, n).expect("put"));
            (handle, q)
        };
        let mut queues = vec![fill(&w)];
        let died = life.join().expect("no assertion failed");
        queues.push(fill(&w));
        let burial = spawn(move || {
            if died {
                undertaker.bury(dead);
            }
            undertaker
        });
        queues.push(fill(&w));
        let undertaker = burial.join().expect("no assertion failed");
        for (handle, q) in queues {
            assert_eq!(drain(&w, q), [0, 1, 2, 3]);
            object::unlease(&w, handle, 0);
        }
        // The end of the process, if the lease is still there.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// A queue is made by one who dies at step n, while another makes one.
#[test]
fn a_death_at_each_step_of_a_queues_making() {
    check_each_step(10, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let makes = spawn(move || {
            let (handle, _) = make_queue(&w, 0);
            object::unlease(&w, handle, 0);
        });
        let died = doomed.ends_at(n, |w| make_queue(w, 0)).is_none();
        if died {
            undertaker.bury(doomed.owner());
        }
        makes.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// One dies as it links a segment, and is buried when others have long moved on and the segments
/// before are used anew: what is in use is not freed with the dead one.
#[test]
fn a_late_burial_at_each_step_of_linking_a_segment() {
    check_each_step(20, |n| {
        let shared = Shared::new(SIZE, false);
        let (w, doomed, undertaker) = (shared.thread(0), shared.thread(1), shared.thread(2));
        let (handle, q) = make_queue(&w, 0);
        (0..3).for_each(|n| put(&w, q, n).expect("put"));
        let dead = doomed.owner();
        let life = spawn(move || doomed.ends_at(n, |w| put(w, q, 100)).is_none());
        let mut got = Vec::new();
        for n in 3..6 {
            got.extend(get(&w, q, Some(0)));
            put(&w, q, n).expect("put");
        }
        let died = life.join().expect("no assertion failed");
        // The segment that was left stands behind the one that was linked, which is still in use.
        got.extend(get(&w, q, Some(0)));
        put(&w, q, 6).expect("put");
        if died {
            undertaker.bury(dead);
        }
        (7..12).for_each(|n| put(&w, q, n).expect("put"));
        got.extend(drain(&w, q));
        got.retain(|&value| value != 100);
        assert_eq!(got, (0..12).collect::<Vec<_>>());
        object::unlease(&w, handle, 0);
        assert_all_is_free(&shared.spectator());
        died
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
