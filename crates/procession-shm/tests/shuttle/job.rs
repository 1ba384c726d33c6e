//! The job: who reads it holds nobody up, whose element it is settles it, and its end frees what is its own.

use crate::pool::{Log, read_all, work};
use crate::structures::{assert_all_is_free, make_job, make_pool, result, run_one};
use crate::sync::{check, check_each_step, spawn};
use crate::world::{Handle, Shared, Stop};
use crate::{SIZE, dies_at, handles};
use procession_shm::job::{Job, Outcome, Waited};
use procession_shm::object;
use procession_shm::pool::{Pool, State};
use shuttle::rand::Rng;

/// Waits for each element, with or without a time; says how many it saw settled.
fn read(w: &Handle, job: Job, until: Option<u64>) -> usize {
    let waits = (0..job.count(w)).rev().map(|index| {
        match job.wait(w, index, until, || false).expect("no signal came") {
            Waited::Settled => result(w, job, index).map_or(0, |_| 1),
            Waited::TimedOut => 0,
            Waited::Over => panic!("it is not over"),
        }
    });
    waits.sum()
}

/// A reader (slot 1) dies at step n beside a worker and another reader.
fn reader_death(until: Option<u64>, n: u64) -> bool {
    let (shared, [w, doomed, undertaker, other, worker]) = handles();
    let (handle, pool) = make_pool(&w);
    let handles = [0, 1].map(|call| make_job(&w, call, 2));
    let jobs = handles.map(|handle| Job::of(&w, handle).expect("it lives"));
    let dies = spawn(move || {
        dies_at(&doomed, &undertaker, n, |w| {
            let seen: usize = jobs.iter().map(|&job| read(w, job, until)).sum();
            assert!(until.is_some() || seen == 4);
        })
    });
    let reads = spawn(move || {
        for (call, handle) in (0..).zip(handles) {
            assert!(read_all(&other, handle, call).iter().all(Option::is_some));
        }
    });
    let works = spawn(move || work(&worker, pool, &Log::default()));
    for handle in handles {
        pool.submit(&w, handle).expect("it is open");
    }
    reads.join().expect("no assertion failed");
    let died = dies.join().expect("no assertion failed");
    assert!(pool.advance(&w, State::Closed));
    works.join().expect("no assertion failed");
    for handle in handles.into_iter().chain([handle]) {
        object::unlease(&w, handle, 0);
    }
    assert_all_is_free(&shared.spectator());
    died
}

#[test]
fn a_death_at_each_step_of_a_reader() {
    check_each_step(200, |n| reader_death(None, n));
    check_each_step(200, |n| reader_death(Some(9), n));
}

/// A reader stops at step n, all is done, and it goes on.
#[test]
fn a_stop_at_each_step_of_a_reader() {
    check_each_step(60, |n| {
        let shared = Shared::new(SIZE, true);
        let [w, stops, worker] = [0, 1, 2].map(|slot| shared.thread(slot));
        let (_handle, pool) = make_pool(&w);
        let handle = make_job(&w, 1, 2);
        let job = Job::of(&w, handle).expect("it lives");
        let stop = Stop::new();
        stops.stops_at(n, &stop);
        let reads = spawn(move || read(&stops, job, None));
        let works = spawn(move || work(&worker, pool, &Log::default()));
        pool.submit(&w, handle).expect("it is open");
        assert!(read_all(&w, handle, 1).iter().all(Option::is_some));
        assert!(pool.advance(&w, State::Closed));
        works.join().expect("no assertion failed");
        let stopped = stop.has_stopped();
        stop.go_on();
        assert_eq!(reads.join().expect("no assertion failed"), 2);
        stopped
    });
}

/// Who has not claimed an element changes nothing of it: a process forked amid the element, which is its parent's.
#[test]
fn only_who_has_claimed_an_element_settles_it() {
    check(600, || {
        let (shared, [w, parent, child]) = handles();
        let (pool_handle, pool) = make_pool(&w);
        let handle = make_job(&w, 0, 2);
        pool.submit(&w, handle).expect("it is open");
        let job = Job::of(&w, handle).expect("it lives");
        let mut current = None;
        assert_eq!(pool.next(&w, &mut current, Some(0)), Ok(0));
        let begun = Outcome::Begun { slot: 0 };
        pool.settle_inline(&child, job, 0, 1, b"child");
        assert_eq!(job.outcome(&w, 0), begun);
        let message = crate::structures::number(&child, 1).expect("room");
        pool.settle_message(&child, job, 0, message);
        assert_eq!(job.outcome(&w, 0), begun);
        pool.settle_lost(&child, job, 0, 1, None);
        assert_eq!(job.outcome(&w, 0), begun);
        // Beside the one who has.
        let settles = spawn(move || {
            let mut current = None;
            run_one(&parent, pool, &mut current, Some(0), |_| {}).expect("an element");
        });
        let disturbs = spawn(move || match shuttle::rand::thread_rng().r#gen() {
            true => pool.settle_inline(&child, job, 1, 1, b"child"),
            false => pool.settle_lost(&child, job, 1, 1, None),
        });
        assert_eq!(job.wait(&w, 1, None, || false), Ok(Waited::Settled));
        assert_eq!(result(&w, job, 1), Some(1));
        disturbs.join().expect("no assertion failed");
        assert_eq!(result(&w, job, 1), Some(1));
        settles.join().expect("no assertion failed");
        pool.settle_inline(&w, job, 0, 7, &0u64.to_le_bytes());
        assert_eq!(result(&w, job, 0), Some(0));
        drop(current);
        for handle in [handle, pool_handle] {
            object::unlease(&w, handle, 0);
        }
        assert_all_is_free(&shared.spectator());
    });
}

/// A job that is done, with results of both kinds, and one that is not.
fn done_jobs(w: &Handle, pool: Pool) -> [object::Handle; 2] {
    let done = make_job(w, 1, 2);
    pool.submit(w, done).expect("it is open");
    let mut current = None;
    while run_one(w, pool, &mut current, Some(0), |_| {}).is_ok() {}
    [done, make_job(w, 0, 2)]
}

/// Jobs are freed by one who dies at step n, and is buried when their memory is other jobs'.
#[test]
fn a_death_at_each_step_of_a_jobs_end() {
    check_each_step(8, |n| {
        let (shared, [w, doomed, undertaker]) = handles();
        let (handle, pool) = make_pool(&w);
        let old = done_jobs(&w, pool);
        let dead = doomed.owner();
        let life = spawn(move || {
            let frees = |w: &Handle| old.map(|job| object::unlease(w, job, 0));
            doomed.ends_at(n, frees).is_none()
        });
        let mut jobs = vec![done_jobs(&w, pool)];
        let died = life.join().expect("no assertion failed");
        jobs.push(done_jobs(&w, pool));
        let burial = spawn(move || {
            if died {
                undertaker.bury(dead);
            }
            undertaker
        });
        jobs.push(done_jobs(&w, pool));
        let undertaker = burial.join().expect("no assertion failed");
        for [done, free] in jobs {
            assert_eq!(read_all(&w, done, 1), [Some(1 << 32), Some(1 << 32 | 1)]);
            let job = Job::of(&w, free).expect("it lives");
            assert!((0..2).all(|index| job.outcome(&w, index) == Outcome::Free));
            object::unlease(&w, done, 0);
            object::unlease(&w, free, 0);
        }
        object::unlease(&w, handle, 0);
        // The end of the process, if a lease is still there.
        object::drop_leases(&undertaker, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}
