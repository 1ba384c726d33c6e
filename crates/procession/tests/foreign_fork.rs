//! Forks that are none of ours: what they had is free once they need it no more.

mod support;

use libtest_mimic::{Arguments, Trial};
use procession::Array;
use procession::arena::Arena;
use procession::shm::World;
use procession::shm::layout::header;
use std::time::Duration;
use support::{Body, Outcome, trial};

const LONG: Duration = Duration::from_secs(15);
/// A size for each test: what one leaves is not used by the other.
const LENS: [usize; 2] = [1 << 20, 3 << 20];

fn main() {
    procession::init();
    let rows: [(&str, Body); 2] = [
        ("found_when_an_object_is_given_up", found_when_given_up),
        ("found_when_no_room_is_left", found_when_no_room_is_left),
    ];
    let trials = rows.map(|(name, body)| -> Trial { trial(name, LONG, body) });
    let mut arguments = Arguments::from_args();
    // They look at the memory that is in use.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn array(len: usize) -> Outcome<Array<u8>> {
    Ok(Array::new(&vec![1; len])?)
}

/// Forks a process that does `body` and ends, and waits for its end.
fn fork(body: fn()) -> Outcome {
    let mut status = 0;
    // SAFETY: the child makes system calls and forks; the status lives through the call.
    unsafe {
        match libc::fork() {
            -1 => return Err("no process".into()),
            0 => {
                body();
                libc::_exit(0);
            }
            pid => assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid),
        }
    }
    assert_eq!(status, 0);
    Ok(())
}

/// Forks a process whose parent ends at once: nobody looks after it.
fn fork_an_orphan() -> Outcome {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors, which are this function's.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        fork(|| {
            libc::fork();
        })?;
        libc::close(ends[1]);
        // Over when all who had the other end are gone.
        assert_eq!(libc::read(ends[0], ends.as_mut_ptr().cast(), 1), 0);
        libc::close(ends[0]);
    }
    Ok(())
}

fn found_when_given_up() -> Outcome {
    let arena = Arena::get()?;
    let kept = || arena.load(header::FREE_LARGE);
    let array = array(LENS[0])?;
    fork(|| {})?;
    let before = kept();
    drop(array);
    assert!(kept() >= before + LENS[0] as u64, "its memory is free");
    Ok(())
}

fn found_when_no_room_is_left() -> Outcome {
    let arena = Arena::get()?;
    let first = array(LENS[1])?;
    fork_an_orphan()?;
    drop(first);
    let budget = arena.load(header::BUDGET);
    arena.store(
        header::BUDGET,
        arena.load(header::TOUCHED) - arena.load(header::FREE_LARGE),
    );
    let second = array(LENS[1]);
    arena.store(header::BUDGET, budget);
    second.map(drop)
}
