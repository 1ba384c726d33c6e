//! The condition: the oldest waiter goes first, and no notify is lost with a dead one.

use crate::broken::Fault;
use crate::structures::{assert_all_is_free, in_use, make_condition};
use crate::sync::{check, check_each_step, spawn, yield_now};
use crate::{aim, dies_at, handles, with_fault};
use procession_shm::condition::Condition;
use procession_shm::{World, heap, object};
use std::sync::{Arc, Mutex as Plain};

/// `notify(1)` twice, for three waiters of which one gives up when it pleases.
fn condition_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (handle, condition) = make_condition(&w);
    let fault = aim(fault, w.layout().heap..w.layout().size);
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
    let (shared, [w]) = handles();
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
        let (shared, [w]) = handles();
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
    let (shared, [w]) = handles();
    let (handle, condition) = make_condition(&w);
    let (doomed, undertaker, survivor) = (shared.thread(1), shared.thread(2), shared.thread(3));
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
            let died = dies_at(&doomed, &undertaker, n, |w| {
                let record = condition.enter(w).expect("room");
                condition.wait(w, record, None)
            });
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
        let (shared, [w, doomed, undertaker]) = handles();
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
        let died = dies_at(&doomed, &undertaker, n, |w| object::unlease(w, handle, 0));
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
        let (_, [w, doomed, undertaker]) = handles();
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
