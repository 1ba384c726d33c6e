//! The gate: each that is notified goes.

use crate::broken::Fault;
use crate::structures::make;
use crate::sync::{check, spawn};
use crate::{handles, join_all, with_fault};
use procession_shm::World;
use procession_shm::gate::Gate;
use procession_shm::object::Kind;

/// Two wait for as many things as two others bring.
fn gate_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
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
    join_all(takers);
    join_all(bringers);
    assert_eq!(w.load(things), 0);
}

#[test]
fn a_gate_lets_each_notified_go() {
    check(1000, || gate_model(None));
}

#[test]
#[should_panic]
fn planted_gate_that_clears_the_bit_and_wakes_nobody() {
    check(150_000, || gate_model(Some(Fault::LostWakeAll)));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_gate() {
    check(3000, || gate_model(Some(Fault::LostWakeOne)));
}
