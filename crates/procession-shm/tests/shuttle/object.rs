//! Objects: they live as long as a lease or an edge names them.

use crate::structures::{assert_all_is_free, make, make_queue};
use crate::sync::{check, check_each_step, spawn};
use crate::world::Handle;
use crate::{dies_at, handles};
use procession_shm::World;
use procession_shm::lock::Lock;
use procession_shm::message::Message;
use procession_shm::object::{self, Kind};
use procession_shm::queue::{Got, Item};

/// An edge that named an object once, and is now made to name another, does not keep the first.
#[test]
fn an_edge_used_anew_keeps_only_what_it_names_now() {
    check(1000, || {
        let (_, [w, other]) = handles();
        let (first, _) = make(&w, Kind::Lock);
        let (second, _) = make(&w, Kind::Lock);
        let travel = |w: &Handle, what| {
            let message = Message::new(w, 3, 8, 1).expect("room");
            message.add_edge(0, what).expect("room");
        };
        travel(&w, first);
        let sends = spawn(move || travel(&other, second));
        object::unlease(&w, first, 0);
        sends.join().expect("no assertion failed");
        assert_eq!(object::kind_of(&w, first), Err(object::Gone));
        assert_eq!(object::kind_of(&w, second), Ok(Kind::Lock));
    });
}

/// One frees an object, a recovery finishes it for him, and the entry is used anew: the new object lives.
#[test]
fn an_entry_used_anew_is_not_taken_for_the_dead_object() {
    check(2500, || {
        let (_, [w, other]) = handles();
        let (old, _) = make(&w, Kind::Lock);
        let recovers = spawn(move || {
            object::sweep(&other);
            let (new, body) = make(&other, Kind::Lock);
            assert!(Lock(body).try_acquire(&other));
            (new, body)
        });
        object::unlease(&w, old, 0);
        let (new, body) = recovers.join().expect("no assertion failed");
        assert_eq!(object::kind_of(&w, old), Err(object::Gone));
        assert_eq!(object::kind_of(&w, new), Ok(Kind::Lock));
        assert!(!Lock(body).try_acquire(&w));
    });
}

/// An object whose last lease goes while it travels in a message lives as long as the message,
/// whenever its sender dies.
#[test]
fn a_death_at_each_step_of_sending_an_object() {
    check_each_step(10, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let (_handle, q) = make_queue(&w, 0);
        let receives = spawn(move || {
            let got = q.get(&w, Some(9), |_| Ok::<_, ()>(()));
            if let Ok((Got::Message(message), ())) = got {
                let (edge, ..) = message.part(0).expect("the edge");
                let handle = object::Handle {
                    id: w.load(edge),
                    generation: w.load(edge + 8),
                };
                assert_eq!(object::kind_of(&w, handle), Ok(Kind::Queue));
                object::lease(&w, handle, 0).expect("it lives");
                drop(message);
                assert_eq!(object::kind_of(&w, handle), Ok(Kind::Queue));
                object::unlease(&w, handle, 0);
            }
        });
        let died = dies_at(&doomed, &undertaker, n, |w| {
            let (travels, _) = make_queue(w, 0);
            let message = Message::new(w, 3, 8, 1).expect("room");
            message.add_edge(0, travels).expect("room");
            q.put(w, Item::Message(&mut Some(message)), None)
                .expect("put");
            object::unlease(w, travels, 0);
        });
        receives.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}
