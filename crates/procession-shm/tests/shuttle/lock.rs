//! The lock: it excludes, loses no wake, and tells of a holder's death.

use crate::broken::Fault;
use crate::structures::make;
use crate::sync::{check, check_each_step, spawn};
use crate::{aim, dies_at, handles, join_all, with_fault};
use procession_shm::World;
use procession_shm::lock::{Acquired, Lock, NotReleased, OnEnd, Status};
use procession_shm::object::Kind;

/// Threads add to a plain word under the lock.
fn lock_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (_, body) = make(&w, Kind::Lock);
    let (lock, sum) = (Lock(body), body + 32);
    let fault = aim(fault, body..body + 8);
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
    join_all(threads);
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
    let (shared, [w, doomed, undertaker]) = handles();
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
    let dead = doomed.ids();
    let died = dies_at(&doomed, &undertaker, n, |w| {
        // Others only hold it for a moment, and do not die.
        assert_eq!(lock.acquire(w, None, OnEnd::Stays), Acquired::Yes);
        lock.release(w, true).expect("it is held");
    });
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
