//! The queue: each item comes out once, in order.

use crate::broken::Fault;
use crate::structures::{assert_all_is_free, get, make_queue, put, put_block};
use crate::sync::{check, spawn};
use crate::world::Handle;
use crate::{aim, handles, join_all, with_fault};
use procession_shm::queue::{Item, NotGot, NotPut, Queue};
use procession_shm::{World, class, heap, layout, object};
use std::collections::HashSet;

/// Producer in the high half, number in the low one.
pub fn item(producer: u64, n: u64) -> u64 {
    producer << 32 | n
}

/// Nothing twice, and in the order in which each producer put it.
pub fn assert_in_order(got: &[u64]) {
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

pub fn drain(w: &Handle, q: Queue) -> Vec<u64> {
    std::iter::from_fn(|| get(w, q, Some(0)).ok()).collect()
}

/// Two producers, two consumers, inline and in blocks, over several segments.
fn queue_model(max: u64, fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (handle, q) = make_queue(&w, max);
    let fault = aim(fault, w.layout().heap..w.layout().size);
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
    for got in join_all(consumers) {
        assert_in_order(&got);
        all.extend(got);
    }
    join_all(producers);
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
        let (shared, [w]) = handles();
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
        let (shared, [w]) = handles();
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
        let done: usize = join_all(producers).into_iter().sum();
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
        let (shared, [w]) = handles();
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
        let (shared, [w]) = handles();
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
        join_all(producers);
    });
}

#[test]
#[should_panic]
fn planted_item_that_is_published_before_it_is_written() {
    check(3000, || queue_model(0, Some(Fault::LateWrite)));
}
