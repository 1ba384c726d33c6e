//! A queue is made, grows by a segment and is taken apart, by one who dies at each step of it.

use crate::queue::drain;
use crate::structures::{assert_all_is_free, get, make_queue, put, put_block};
use crate::sync::{check_each_step, spawn};
use crate::world::Handle;
use crate::{dies_at, handles};
use procession_shm::object;

/// A queue is taken apart by one who dies at step n, and is buried when its memory is other queues'.
#[test]
fn a_death_at_each_step_of_a_queues_end() {
    check_each_step(8, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let (handle, q) = make_queue(&w, 0);
        (0..4).for_each(|n| put_block(&w, q, n).expect("put"));
        let dead = doomed.owner();
        let life = spawn(move || {
            doomed
                .ends_at(n, |w| object::unlease(w, handle, 0))
                .is_none()
        });
        let fill = |w: &Handle| {
            let (handle, q) = make_queue(w, 0);
            (0..4).for_each(|n| put(w, q, n).expect("put"));
            (handle, q)
        };
        let mut queues = vec![fill(&w)];
        let died = life.join().expect("no assertion failed");
        queues.push(fill(&w));
        let burial = spawn(move || {
            if died {
                undertaker.bury(dead);
            }
            undertaker
        });
        queues.push(fill(&w));
        let undertaker = burial.join().expect("no assertion failed");
        for (handle, q) in queues {
            assert_eq!(drain(&w, q), [0, 1, 2, 3]);
            object::unlease(&w, handle, 0);
        }
        // The end of the process, if the lease is still there.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// A queue is made by one who dies at step n, while another makes one.
#[test]
fn a_death_at_each_step_of_a_queues_making() {
    check_each_step(10, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let makes = spawn(move || {
            let (handle, _) = make_queue(&w, 0);
            object::unlease(&w, handle, 0);
        });
        let died = dies_at(&doomed, &undertaker, n, |w| make_queue(w, 0));
        makes.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// One dies as it links a segment, and is buried when others have long moved on and the segments
/// before are used anew: what is in use is not freed with the dead one.
#[test]
fn a_late_burial_at_each_step_of_linking_a_segment() {
    check_each_step(20, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let (handle, q) = make_queue(&w, 0);
        (0..3).for_each(|n| put(&w, q, n).expect("put"));
        let dead = doomed.owner();
        let life = spawn(move || doomed.ends_at(n, |w| put(w, q, 100)).is_none());
        let mut got = Vec::new();
        for n in 3..6 {
            got.extend(get(&w, q, Some(0)));
            put(&w, q, n).expect("put");
        }
        let died = life.join().expect("no assertion failed");
        // The segment that was left stands behind the one that was linked, which is still in use.
        got.extend(get(&w, q, Some(0)));
        put(&w, q, 6).expect("put");
        if died {
            undertaker.bury(dead);
        }
        (7..12).for_each(|n| put(&w, q, n).expect("put"));
        got.extend(drain(&w, q));
        got.retain(|&value| value != 100);
        assert_eq!(got, (0..12).collect::<Vec<_>>());
        object::unlease(&w, handle, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}
