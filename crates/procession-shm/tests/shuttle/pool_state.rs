//! The states of a pool, its error, its gate and its end: who waits gets to know, whoever dies telling.

use crate::broken::Fault;
use crate::pool::{Counts, Log, assert_each_once, make_jobs, read_all, work};
use crate::structures::{
    assert_all_is_free, make_job, make_pool, number, number_in, result, run_one,
};
use crate::sync::{check, check_each_step, spawn};
use crate::world::{Handle, Shared};
use crate::{SIZE, dies_at, handles, join_all, with_fault};
use procession_shm::job::{Job, Waited};
use procession_shm::object;
use procession_shm::pool::{NoElement, NotSubmitted, Pool, State};

/// A pool is closed while workers sleep, after a job was handed in and while another is.
fn close_model(fault: Option<Fault>) {
    let (shared, [w, submitter]) = handles();
    let (handle, pool) = make_pool(&w);
    let jobs = make_jobs(&w, &[2, 1]);
    let log = Log::default();
    let workers: Vec<_> = (2..4)
        .map(|t| {
            let (w, log) = (shared.thread(t), log.clone());
            spawn(move || work(&w, pool, &log))
        })
        .collect();
    let late = jobs[1];
    let submits = spawn(move || pool.submit(&submitter, late));
    pool.submit(&w, jobs[0]).expect("it is open");
    with_fault!(w, &fault, |w| assert!(pool.advance(w, State::Closed)));
    assert!(!pool.advance(&w, State::Closed));
    join_all(workers);
    // What was taken and not done stands in the queue.
    let done = match submits.join().expect("no assertion failed") {
        Ok(()) => pool.is_idle(&w),
        Err(NotSubmitted::NotOpen(State::Closed)) => {
            assert!(pool.is_idle(&w));
            false
        }
        other => panic!("{other:?}"),
    };
    assert_each_once(&log, if done { &[2, 1] } else { &[2] });
    assert!(read_all(&w, jobs[0], 0).iter().all(Option::is_some));
    for handle in jobs.into_iter().chain([handle]) {
        object::unlease(&w, handle, 0);
    }
    assert_all_is_free(&shared.spectator());
}

#[test]
fn a_closed_pool_lets_its_workers_go_when_all_is_done() {
    check(600, || close_model(None));
}

#[test]
#[should_panic]
fn planted_advance_that_tells_nobody() {
    check(3000, || {
        let (shared, [w, worker]) = handles();
        let (_handle, pool) = make_pool(&w);
        let works = spawn(move || work(&worker, pool, &Log::default()));
        // It stops for ever after the change of the state.
        shared
            .thread(2)
            .ends_at(2, |w| pool.advance(w, State::Closed));
        works.join().expect("no assertion failed");
    });
}

/// One who takes a pool to an end dies at step n. Two workers, one who waits for what nobody will do, and one at the
/// gate get to know.
fn advance_death(to: State, n: u64) -> bool {
    let (shared, [w, doomed, undertaker]) = handles();
    let (handle, pool) = make_pool(&w);
    let job = make_job(&w, 0, 2);
    let over = move |w: &Handle| pool.state(w) == to;
    let workers: Vec<_> = (3..5)
        .map(|t| {
            let w = shared.thread(t);
            spawn(move || {
                let got = pool.next(&w, &mut None, None);
                assert_eq!(got, Err(NoElement::Over));
            })
        })
        .collect();
    let reads = {
        let w = shared.thread(5);
        spawn(move || {
            let job = Job::of(&w, job).expect("it lives");
            let waited = job.wait(&w, 1, None, || over(&w));
            assert_eq!(waited, Ok(Waited::Over));
        })
    };
    let waits = {
        let w = shared.thread(6);
        spawn(move || {
            let waited = pool.wait_settled(&w, None, || over(&w));
            assert_eq!(waited, Ok(true));
        })
    };
    let died = dies_at(&doomed, &undertaker, n, |w| pool.advance(w, to));
    // If he did not come to do it.
    pool.advance(&w, to);
    join_all(workers);
    reads.join().expect("no assertion failed");
    waits.join().expect("no assertion failed");
    assert!(!pool.advance(&w, State::Broken));
    assert_eq!(
        pool.submit(&w, job),
        Err(NotSubmitted::NotOpen(to)),
        "it is over"
    );
    for handle in [job, handle] {
        object::unlease(&w, handle, 0);
    }
    assert_all_is_free(&shared.spectator());
    died
}

#[test]
fn a_death_at_each_step_of_an_advance() {
    check_each_step(300, |n| advance_death(State::Terminated, n));
    check_each_step(100, |n| advance_death(State::Broken, n));
}

/// Workers that are at it when the pool is terminated end; who reads gets what was done, and that the rest is over.
#[test]
fn a_terminated_pool_does_no_more() {
    check(600, || {
        let (shared, [w]) = handles();
        let (handle, pool) = make_pool(&w);
        let jobs = make_jobs(&w, &[2, 2]);
        for &job in &jobs {
            pool.submit(&w, job).expect("it is open");
        }
        let log = Log::default();
        let workers: Vec<_> = (1..3)
            .map(|t| {
                let (w, log) = (shared.thread(t), log.clone());
                spawn(move || work(&w, pool, &log))
            })
            .collect();
        let reads = {
            let (w, jobs) = (shared.thread(3), jobs.clone());
            spawn(move || {
                for &job in &jobs {
                    let job = Job::of(&w, job).expect("it lives");
                    let over = || pool.state(&w) >= State::Ended;
                    for index in 0..2 {
                        match job.wait(&w, index, None, over) {
                            Ok(Waited::Settled) => assert!(result(&w, job, index).is_some()),
                            Ok(Waited::Over) => assert_eq!(pool.state(&w), State::Terminated),
                            other => panic!("{other:?}"),
                        }
                    }
                }
            })
        };
        assert!(pool.advance(&w, State::Terminated));
        join_all(workers);
        reads.join().expect("no assertion failed");
        // Whatever was begun was settled.
        let settled = |&job: &object::Handle| {
            let job = Job::of(&w, job).expect("it lives");
            (0..2).filter(|&index| job.is_settled(&w, index)).count()
        };
        let settled: usize = jobs.iter().map(settled).sum();
        assert_eq!(log.lock().expect("no panic").len(), settled);
        for handle in jobs.into_iter().chain([handle]) {
            object::unlease(&w, handle, 0);
        }
        assert_all_is_free(&shared.spectator());
    });
}

/// One waits at the gate for each element that two workers settle.
fn gate_model(fault: Option<Fault>) {
    let (shared, [w]) = handles();
    let (_handle, pool) = make_pool(&w);
    let handle = make_job(&w, 0, 4);
    pool.submit(&w, handle).expect("it is open");
    let workers: Vec<_> = (1..3)
        .map(|t| {
            let (w, fault) = (shared.thread(t), fault.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    let mut current = None;
                    while run_one(w, pool, &mut current, Some(0), |_| {}).is_ok() {}
                })
            })
        })
        .collect();
    let job = Job::of(&w, handle).expect("it lives");
    with_fault!(w, &fault, |w| for count in 1..=4 {
        let settled = || (0..4).filter(|&index| job.is_settled(w, index)).count();
        assert_eq!(pool.wait_settled(w, None, || settled() >= count), Ok(true));
    });
    join_all(workers);
    assert_eq!(pool.wait_settled(&w, Some(9), || false), Ok(false));
}

#[test]
fn who_waits_at_the_gate_sees_each_settling() {
    check(600, || gate_model(None));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_pools_gate() {
    check(3000, || gate_model(Some(Fault::LostWakeAll)));
}

#[test]
#[should_panic]
fn planted_blind_sleep_at_a_pools_gate() {
    check(3000, || gate_model(Some(Fault::BlindWait)));
}

/// Two leave an error, and one of them dies at each step of it, beside one who reads it.
#[test]
fn a_death_at_each_step_of_an_error() {
    check_each_step(60, |n| {
        let (shared, [w, doomed, undertaker, other]) = handles();
        let (handle, pool) = make_pool(&w);
        let read = move |w: &Handle| pool.error(w).map(|error| number_in(w, &error));
        let reads = spawn(move || (read(&other), read(&other)));
        let sets = spawn(move || {
            dies_at(&doomed, &undertaker, n, |w| {
                pool.set_error(w, number(w, 1).expect("room"));
                assert!(read(w).is_some());
            })
        });
        pool.set_error(&w, number(&w, 2).expect("room"));
        let first = read(&w);
        assert!(matches!(first, Some(1 | 2)));
        let died = sets.join().expect("no assertion failed");
        let (earlier, later) = reads.join().expect("no assertion failed");
        assert!(earlier.is_none() || earlier == later);
        assert!(later.is_none() || later == first);
        assert_eq!(read(&w), first);
        object::unlease(&w, handle, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// A pool with an error, and with jobs that nobody has a lease on.
fn full_pool(w: &Handle, counts: Counts) -> (object::Handle, Pool) {
    let (handle, pool) = make_pool(w);
    pool.set_error(w, number(w, 5).expect("room"));
    for &job in &make_jobs(w, counts) {
        pool.submit(w, job).expect("it is open");
        object::unlease(w, job, 0);
    }
    (handle, pool)
}

/// A pool is taken apart by one who dies at step n, and is buried when its memory is other pools'.
fn pool_end(counts: Counts, n: u64) -> bool {
    let (shared, [w, doomed, undertaker]) = handles();
    let (handle, _) = full_pool(&w, counts);
    let dead = doomed.owner();
    let life = spawn(move || {
        let ends = |w: &Handle| object::unlease(w, handle, 0);
        doomed.ends_at(n, ends).is_none()
    });
    let mut pools = vec![full_pool(&w, counts)];
    let died = life.join().expect("no assertion failed");
    pools.push(full_pool(&w, counts));
    let burial = spawn(move || {
        if died {
            undertaker.bury(dead);
        }
        undertaker
    });
    pools.push(full_pool(&w, counts));
    let undertaker = burial.join().expect("no assertion failed");
    for (handle, pool) in pools {
        let error = pool.error(&w).expect("it was left");
        assert_eq!(number_in(&w, &error), 5);
        let log = Log::default();
        pool.advance(&w, State::Closed);
        work(&w, pool, &log);
        assert_each_once(&log, counts);
        object::unlease(&w, handle, 0);
    }
    // The end of the process, if the lease is still there.
    object::drop_leases(&undertaker, 0);
    assert_all_is_free(&shared.spectator());
    died
}

#[test]
fn a_death_at_each_step_of_a_pools_end() {
    check_each_step(8, |n| pool_end(&[], n));
    check_each_step(8, |n| pool_end(&[1, 1], n));
}

/// A pool is made by one who dies at step n, while another makes one.
#[test]
fn a_death_at_each_step_of_a_pools_making() {
    check_each_step(10, |n| {
        let shared = Shared::new(2 * SIZE, false);
        let [w, doomed, undertaker] = [0, 1, 2].map(|slot| shared.thread(slot));
        let makes = spawn(move || {
            let (handle, _) = full_pool(&w, &[1]);
            object::unlease(&w, handle, 0);
        });
        let died = dies_at(&doomed, &undertaker, n, |w| full_pool(w, &[1]));
        makes.join().expect("no assertion failed");
        // The end of the process.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}
