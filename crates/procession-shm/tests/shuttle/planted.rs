//! Planted bugs that are no faults of a world: structures that are wrong in one way each, and deaths of which nobody is
//! told. A model that does not notice is no model.

use crate::structures::{get, make, make_queue, put};
use crate::sync::{check_each_step, spawn};
use crate::world::Handle;
use crate::{dies_at, handles};
use procession_shm::object::Kind;
use procession_shm::queue::Queue;
use procession_shm::{Off, World};

/// Beside a consumer that dies at each step of its get another sleeps; whoever lives gets the item.
fn consumer_dies(n: u64, deaf: bool) -> bool {
    let (shared, [w, doomed, undertaker]) = handles();
    if deaf {
        shared.deafen();
    }
    let (_handle, q) = make_queue(&w, 0);
    let other = shared.thread(3);
    let life = spawn(move || dies_at(&doomed, &undertaker, n, |w| get(w, q, None)));
    let lives = spawn(move || get(&other, q, None).expect("get"));
    // One for each of them, but the dead one needs none, or has taken his.
    put(&w, q, 1).expect("put");
    put(&w, q, 2).expect("put");
    lives.join().expect("no assertion failed");
    life.join().expect("no assertion failed")
}

#[test]
fn who_lives_gets_what_the_dead_was_woken_for() {
    check_each_step(60, |n| consumer_dies(n, false));
}

#[test]
#[should_panic]
fn planted_news_that_nobody_passes_on() {
    check_each_step(600, |n| consumer_dies(n, true));
}

/// A queue, and beside it the number of its items.
fn counted_put(w: &Handle, q: Queue, count: Off) {
    put(w, q, 1).expect("put");
    w.add(count, 1);
}

#[test]
#[should_panic = "the count is off"]
fn planted_second_word_of_truth() {
    check_each_step(10, |n| {
        let (_, [w, doomed, undertaker]) = handles();
        let (_handle, q) = make_queue(&w, 0);
        let (_, count) = make(&w, Kind::Event);
        let died = dies_at(&doomed, &undertaker, n, |w| counted_put(w, q, count));
        assert_eq!(w.load(count), q.len(&w), "the count is off");
        died
    });
}

/// A ring in which the tail moves before the item is there.
fn hasty_put(w: &Handle, tail: Off, value: u64) {
    let n = w.add(tail, 1);
    w.store(tail + 8 + n * 8, value);
}

#[test]
#[should_panic = "an item never comes"]
fn planted_tail_that_moves_first() {
    check_each_step(10, |n| {
        let (_, [w, doomed, undertaker]) = handles();
        let (_, tail) = make(&w, Kind::Event);
        let died = dies_at(&doomed, &undertaker, n, |w| hasty_put(w, tail, 7));
        for n in 0..w.load(tail) {
            assert_ne!(w.load(tail + 8 + n * 8), 0, "an item never comes");
        }
        died
    });
}
