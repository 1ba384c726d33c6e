//! The barrier: all go when all have come, or one has died.

use crate::broken::Fault;
use crate::structures::make;
use crate::sync::{check, check_each_step, spawn};
use crate::world::Handle;
use crate::{aim, handles, join_all, with_fault};
use procession_shm::World;
use procession_shm::barrier::{Arrival, Barrier, Passed};
use procession_shm::object::Kind;

/// Three threads meet twice; the last one of each runs the action alone.
fn barrier_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (_, body) = make(&w, Kind::Barrier);
    let (barrier, came, actions) = (Barrier(body), body + 32, body + 40);
    barrier.init(&w, 3);
    let fault = aim(fault, body..body + 8);
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
    join_all(threads);
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
        let (_, [w, doomed, undertaker, survivor]) = handles();
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
