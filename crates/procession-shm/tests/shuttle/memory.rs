//! Memory: nobody sees anything but zeros in it before it is written, and nothing of it leaks.

use crate::structures::assert_all_is_free;
use crate::sync::{check_each_step, spawn};
use crate::{dies_at, handles};
use procession_shm::memory;
use procession_shm::object::{self, Kind};
use procession_shm::{World, heap};

const LEN: u64 = 24;

/// Whenever its maker dies: blocks that were full of something are zero for who makes one at the same time, and all
/// is free in the end.
#[test]
fn a_death_at_each_step_of_making_memory() {
    check_each_step(10, |n| {
        let (shared, [other, doomed, undertaker]) = handles();
        for _ in 0..2 {
            let used = heap::alloc_len(&undertaker, LEN).expect("room");
            undertaker.write(used, &[0xff; LEN as usize]);
            heap::free(&undertaker, used);
        }
        let makes = spawn(move || {
            let handle = memory::create(&other, LEN).expect("room");
            let body = object::body(&other, handle, Kind::Memory).expect("it lives");
            let (at, len) = memory::bytes(&other, body);
            let mut found = [1; LEN as usize];
            other.read(at, &mut found);
            assert_eq!((len, found), (LEN, [0; LEN as usize]));
            other.write(at, &[0xff; LEN as usize]);
            object::unlease(&other, handle, 0);
        });
        let died = dies_at(&doomed, &undertaker, n, |w| {
            memory::create(w, LEN).map(|handle| object::unlease(w, handle, 0))
        });
        makes.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}
