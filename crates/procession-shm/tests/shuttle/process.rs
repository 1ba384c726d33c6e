//! Process records: each use of one is one process's.

use crate::sync::{check, check_each_step, spawn};
use crate::world::Handle;
use crate::{dies_at, handles};
use procession_shm::process::{self, State};
use procession_shm::{Owner, recover};

/// A starter died; its child shows up late, while another takes the record for a child of his own.
#[test]
fn a_record_used_anew_is_not_the_late_childs() {
    check(4000, || {
        let (_, [starter, late, other]) = handles();
        let index = process::reserve(&starter, starter.owner()).expect("room");
        let reserved_in = process::generation(&starter, index);
        let show_up = |w: &Handle, index, reserved_in, pid| {
            process::show_up(w, index, Some(reserved_in), Owner::of_process(pid))
        };
        let child = spawn(move || show_up(&late, index, reserved_in, 1));
        let reserved = State::Reserved(starter.owner());
        let mine = recover::recover_process(&other, index, reserved).then(|| {
            let mine = process::reserve(&other, other.owner()).expect("room");
            let reserved_in = process::generation(&other, mine);
            assert_eq!(mine, index, "the first that is free");
            show_up(&other, mine, reserved_in, 2)
        });
        let late = child.join().expect("no assertion failed");
        match mine {
            None => assert!(late, "one of them has it"),
            Some(mine) => assert!(!late && mine, "the record is the other's"),
        }
    });
}

/// Whenever who takes a record dies, it is given back, and no other is lost or taken twice.
#[test]
fn a_death_at_each_step_of_taking_a_record() {
    check_each_step(20, |n| {
        let (_, [doomed, undertaker, other]) = handles();
        let take = |w: &Handle| process::reserve(w, w.owner()).expect("room");
        let others = spawn(move || take(&other));
        let died = dies_at(&doomed, &undertaker, n, take);
        let others = others.join().expect("no assertion failed");
        // The first record is everybody's; these are the next.
        for index in [1, 2] {
            let seen = process::state(&undertaker, index);
            let recovered = recover::recover_process(&undertaker, index, seen);
            assert_eq!(recovered, seen != State::Vacant);
            assert!(recovered || index != others);
        }
        assert_eq!([(); 2].map(|()| take(&undertaker)), [1, 2]);
        died
    });
}
