//! The allocator: blocks have one owner, and none is lost.

use crate::broken::Fault;
use crate::structures::{assert_all_is_free, in_use};
use crate::sync::{check, check_each_step, spawn};
use crate::{dies_at, handles, join_all, with_fault};
use procession_shm::{Off, World, heap, layout};
use std::collections::HashSet;

/// Threads take blocks of two classes, write their name on them and give some back.
fn heap_model(torn: bool) {
    let (shared, [w]) = handles();
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
    let held: Vec<Off> = join_all(threads).concat();
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
        let (shared, [w, doomed, doomed_too, undertaker]) = handles();
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
        let died = dies_at(&doomed, &undertaker, n, |w| {
            let small = heap::alloc_len(w, 100).expect("room");
            let large = heap::alloc_len(w, 65_536).expect("room");
            heap::free(w, small);
            heap::free(w, large);
        });
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
        let (_, [w, doomed, undertaker]) = handles();
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
