//! The event: no pulse is missed.

use crate::broken::Fault;
use crate::structures::make;
use crate::sync::{check, spawn};
use crate::{handles, with_fault};
use procession_shm::event::Event;
use procession_shm::object::Kind;

/// Waiters that counted before a pulse are all let go by it.
fn event_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
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
