//! The semaphore: as many are inside as there are permits.

use crate::broken::Fault;
use crate::structures::make;
use crate::sync::{check, spawn};
use crate::{aim, handles, join_all, with_fault};
use procession_shm::World;
use procession_shm::object::Kind;
use procession_shm::semaphore::Semaphore;

/// Fewer permits than threads, one of which may give up.
fn semaphore_model(permits: u64, fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (_, body) = make(&w, Kind::Semaphore);
    let (semaphore, inside) = (Semaphore(body), body + 32);
    semaphore.init(&w, permits, Some(permits));
    let fault = aim(fault, body..body + 8);
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
    join_all(threads);
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
    check(150_000, || semaphore_model(1, Some(Fault::LostWakeAll)));
}
