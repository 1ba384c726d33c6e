//! Tracked names: who is tracked stays so, whoever dies, until it is forgotten; what is found is whole.

use crate::broken::Fault;
use crate::structures::assert_all_is_free;
use crate::sync::{check, check_each_step, spawn};
use crate::world::Handle;
use crate::{aim, dies_at, handles, with_fault};
use procession_shm::World;
use procession_shm::layout::GRANULE;
use procession_shm::name::{self, File};
use procession_shm::object;

const FILE: File = File {
    device: 3,
    inode: 17,
};

fn tracked<W: World>(w: &W) -> Vec<(object::Handle, File, Vec<u8>)> {
    let mut all = Vec::new();
    name::visit(w, |handle, file, name| {
        all.push((handle, file, name.to_vec()));
        true
    });
    all
}

fn track(w: &Handle, text: &[u8]) -> object::Handle {
    name::track(w, text, FILE).expect("room")
}

/// Whenever who tracks a name dies, and its process with it: the name stands there whole, or not at all; once it was
/// tracked it does. Another who looks meanwhile finds nothing else.
#[test]
fn a_death_at_each_step_of_tracking() {
    check_each_step(10, |n| {
        let (shared, [looks, doomed, undertaker]) = handles();
        let other = spawn(move || {
            let found = tracked(&looks);
            assert!(
                found
                    .iter()
                    .all(|(_, file, name)| (*file, &name[..]) == (FILE, b"one"))
            );
        });
        let died = dies_at(&doomed, &undertaker, n, |w| track(w, b"one"));
        other.join().expect("no assertion failed");
        object::drop_leases(&undertaker, 0);
        let found = tracked(&undertaker);
        assert!(found.len() == 1 || died && found.is_empty());
        for (handle, file, name) in found {
            assert_eq!((file, &name[..]), (FILE, &b"one"[..]));
            name::forget(&undertaker, handle);
        }
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// Whenever who forgets a name dies: another forgets it, and no other name is lost.
#[test]
fn a_death_at_each_step_of_forgetting() {
    check_each_step(10, |n| {
        let (shared, [doomed, undertaker, other]) = handles();
        let one = track(&undertaker, b"one");
        let tracks = spawn(move || track(&other, b"two"));
        let died = dies_at(&doomed, &undertaker, n, |w| name::forget(w, one));
        let two = tracks.join().expect("no assertion failed");
        name::forget(&undertaker, one);
        let left: Vec<_> = tracked(&undertaker)
            .into_iter()
            .map(|(handle, ..)| handle)
            .collect();
        assert_eq!(left, [two]);
        name::forget(&undertaker, two);
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// Two forget a name at the same time, and one of them tracks another then, in the same entry perhaps.
fn forgotten_twice(fault: Option<Fault>) {
    let (_, [w, other]) = handles();
    let one = track(&w, b"one");
    let state = one.id * GRANULE;
    let fault = aim(fault, state..state + 8);
    let of_other = fault.clone();
    let also = spawn(move || {
        with_fault!(other, &of_other, |w| name::forget(w, one));
        track(&other, b"two")
    });
    with_fault!(w, &fault, |w| name::forget(w, one));
    let two = also.join().expect("no assertion failed");
    let left: Vec<_> = tracked(&w).into_iter().map(|(handle, ..)| handle).collect();
    assert_eq!(left, [two]);
}

#[test]
fn a_name_forgotten_twice_takes_no_other_along() {
    check(2000, || forgotten_twice(None));
}

#[test]
#[should_panic]
fn planted_torn_cas_of_a_forgotten_names_state() {
    check(2000, || forgotten_twice(Some(Fault::TornCas(0..0))));
}
