//! The queue that counts its work, and waiting for an item that another takes.

use crate::broken::Fault;
use crate::queue::drain;
use crate::structures::{assert_all_is_free, get, make_joinable, make_queue, put, put_block};
use crate::sync::{AtomicU64, check, check_each_step, spawn};
use crate::world::Handle;
use crate::{aim, dies_at, handles, join_all, with_fault};
use procession_shm::object::{self, Kind};
use procession_shm::queue::{AllDone, Queue};
use procession_shm::{World, layout::GRANULE};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Says that items are done until all are; how many that were.
fn finish(w: &Handle, q: Queue) -> u64 {
    let mut count = 0;
    while q.task_done(w) != Err(AllDone) {
        count += 1;
    }
    count
}

/// Two workers do four items, over several segments; a producer and another wait for all.
fn work_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (handle, q) = make_joinable(&w, 0);
    let body = object::body(&w, handle, Kind::Queue).expect("it lives");
    let block = w.load(body + object::BODY_BLOCK);
    let fault = aim(fault, block + 5 * GRANULE..block + 6 * GRANULE);
    let done: Arc<[AtomicU64; 4]> = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
    put(&w, q, 0).expect("put");
    put_block(&w, q, 1).expect("put");
    let workers: Vec<_> = (1..3)
        .map(|t| {
            let (w, fault, done) = (shared.thread(t), fault.clone(), done.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| for _ in 0..2 {
                    let item = get(w, q, None).expect("get");
                    done[item as usize].store(1, SeqCst);
                    q.task_done(w).expect("it was put");
                })
            })
        })
        .collect();
    let waits = {
        let (w, fault, done) = (shared.thread(3), fault.clone(), done.clone());
        spawn(move || {
            with_fault!(w, &fault, |w| {
                put(w, q, 2).expect("put");
                put(w, q, 3).expect("put");
                assert_eq!(q.join(w, None), Ok(true));
            });
            assert!(done.iter().all(|done| done.load(SeqCst) == 1));
        })
    };
    with_fault!(w, &fault, |w| assert_eq!(q.join(w, None), Ok(true)));
    assert!(done[..2].iter().all(|done| done.load(SeqCst) == 1));
    join_all(workers);
    waits.join().expect("no assertion failed");
    assert_eq!(q.unfinished(&w), 0);
    assert_eq!(q.task_done(&w), Err(AllDone));
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
}

#[test]
fn who_waits_for_all_work_waits_for_it() {
    check(600, || work_model(None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_what_is_done() {
    check(3000, || work_model(Some(Fault::TornCas(0..0))));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_join() {
    check(3000, || work_model(Some(Fault::LostWakeAll)));
}

/// What a doomed thread does: how many it puts, gets, and says are done.
type Work = (fn(&Handle, Queue), u64, u64, u64);

const PUTS: Work = (|w, q| put(w, q, 10).expect("put"), 1, 0, 0);
const PUTS_MANY: Work = (
    |w, q| (0..4).for_each(|n| put_block(w, q, 10 + n).expect("put")),
    4,
    0,
    0,
);
const WORKS: Work = (
    |w, q| {
        get(w, q, None).expect("get");
        q.task_done(w).expect("it was put");
    },
    0,
    1,
    1,
);
const SAYS_DONE: Work = (
    |w, q| (0..2).for_each(|_| q.task_done(w).expect("it was put")),
    0,
    0,
    2,
);
const WAITS: Work = (
    |w, q| {
        let _ = q.join(w, Some(9));
    },
    0,
    0,
    0,
);

/// Beside one who dies at step n another works; a third waits for all, and goes on when all is done.
fn death(n: u64, (work, puts, gets, dones): Work) -> bool {
    let (shared, [w, doomed, undertaker]) = handles();
    let (handle, q) = make_joinable(&w, 0);
    (0..3).for_each(|n| put(&w, q, n).expect("put"));
    let (other, waiting) = (shared.thread(3), shared.thread(4));
    let life = spawn(move || dies_at(&doomed, &undertaker, n, |w| work(w, q)));
    let works = spawn(move || {
        get(&other, q, None).expect("get");
        q.task_done(&other).expect("it was put");
    });
    let waits = spawn(move || assert_eq!(q.join(&waiting, None), Ok(true)));
    works.join().expect("no assertion failed");
    let died = life.join().expect("no assertion failed");
    let seen = drain(&w, q).len() as u64 + 1;
    let unfinished = q.unfinished(&w);
    assert!(seen + gets >= 3 && seen <= 3 + puts, "{seen} seen");
    // Of what was put each counts: whatever was not seen is in the hands of the dead.
    let put = if gets == 0 { seen..=seen } else { 3..=3 };
    let (least, most) = (put.start() - 1 - dones, put.end() - 1);
    assert!(
        (least..=most).contains(&unfinished),
        "{unfinished} of {put:?}"
    );
    assert!(died || unfinished == least, "{unfinished} of {put:?}");
    assert_eq!(finish(&w, q), unfinished);
    waits.join().expect("no assertion failed");
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
    died
}

/// A test for each work.
macro_rules! deaths {
    ($($name:ident: $work:expr;)*) => {
        $(#[test]
        fn $name() {
            check_each_step(10, |n| death(n, $work));
        })*
    };
}

deaths! {
    a_death_at_each_step_of_a_put_that_counts: PUTS;
    a_death_at_each_step_of_puts_that_count_into_new_segments: PUTS_MANY;
    a_death_at_each_step_of_work: WORKS;
    a_death_at_each_step_of_task_done: SAYS_DONE;
    a_death_at_each_step_of_a_join: WAITS;
}

/// Two who wait for an item and leave it there keep no wake from the one who takes it.
fn awaited_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (_handle, q) = make_queue(&w, 0);
    let watchers: Vec<_> = (1..3)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                let awaited = with_fault!(w, &fault, |w| q.await_item(w, Some(9), || false));
                assert!(awaited.is_ok());
            })
        })
        .collect();
    let takers: Vec<_> = (3..5)
        .map(|t| {
            let w = shared.thread(t);
            spawn(move || get(&w, q, None).expect("get"))
        })
        .collect();
    put(&w, q, 1).expect("put");
    put(&w, q, 2).expect("put");
    join_all(takers);
    join_all(watchers);
}

#[test]
fn who_awaits_an_item_passes_his_wake_on() {
    check(1000, || awaited_model(None));
}

#[test]
#[should_panic = "deadlock"]
fn planted_wake_that_who_awaits_keeps() {
    check(3000, || awaited_model(Some(Fault::LostWakeOne)));
}

/// One dies at each step of awaiting an item, with the wake that was meant for another.
#[test]
fn a_death_at_each_step_of_awaiting_an_item() {
    check_each_step(20, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let (_handle, q) = make_queue(&w, 0);
        let taker = shared.thread(3);
        let life = spawn(move || {
            dies_at(&doomed, &undertaker, n, |w| {
                let _ = q.await_item(w, Some(9), || false);
            })
        });
        let takes = spawn(move || assert_eq!(get(&taker, q, None), Ok(7)));
        put(&w, q, 7).expect("put");
        takes.join().expect("no assertion failed");
        life.join().expect("no assertion failed")
    });
}
