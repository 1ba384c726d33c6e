//! The pool: each element of each job is run once, and who waits for it returns.

use crate::broken::Fault;
use crate::structures::{assert_all_is_free, make_job, make_pool, result, run_one};
use crate::sync::{check, spawn};
use crate::world::Handle;
use crate::{aim, handles_that_spin, join_all, with_fault};
use procession_shm::job::{Job, Waited};
use procession_shm::pool::{NoElement, Pool, State};
use procession_shm::{Off, World, object, slot};
use std::ops::Range;
use std::sync::{Arc, Mutex as Plain};

/// The elements that were begun, in whatever order.
pub type Log = Arc<Plain<Vec<u64>>>;

/// A number of calls and of their elements.
pub type Counts = &'static [u64];

/// Works until there is nothing more.
pub fn work<W: World>(w: &W, pool: Pool, log: &Log) {
    assert_eq!(
        work_up_to(w, pool, log, u64::MAX, None),
        Err(NoElement::Over)
    );
}

/// Runs so many elements, waiting until `until` for each.
pub fn work_up_to<W: World>(
    w: &W,
    pool: Pool,
    log: &Log,
    count: u64,
    until: Option<u64>,
) -> Result<(), NoElement> {
    let mut current = None;
    let note = |value| log.lock().expect("no panic").push(value);
    (0..count).try_for_each(|_| run_one(w, pool, &mut current, until, note))
}

/// A job for each of the counts.
pub fn make_jobs(w: &Handle, counts: Counts) -> Vec<object::Handle> {
    (0..)
        .zip(counts)
        .map(|(call, &count)| make_job(w, call, count))
        .collect()
}

/// The results of all elements of a call, once all are settled.
pub fn read_all<W: World>(w: &W, job: object::Handle, call: u64) -> Vec<Option<u64>> {
    let job = Job::of(w, job).expect("it lives");
    let count = job.count(w);
    while let Some(last) = job.last_unsettled(w, count) {
        assert_eq!(job.wait(w, last, None, || false), Ok(Waited::Settled));
    }
    let results: Vec<_> = (0..count).map(|index| result(w, job, index)).collect();
    for (index, result) in results.iter().enumerate() {
        assert!(result.is_none_or(|value| value == call << 32 | index as u64));
    }
    results
}

/// Each of the elements of these calls was begun, and none twice.
pub fn assert_each_once(log: &Log, counts: Counts) {
    let mut begun = log.lock().expect("no panic").clone();
    begun.sort_unstable();
    let all = (0..).zip(counts);
    let all: Vec<u64> = all
        .flat_map(|(call, &count)| (0..count).map(move |index| call << 32 | index))
        .collect();
    assert_eq!(begun, all);
}

/// The block of a job: its words, and the cells of its elements.
pub fn block_of(w: &Handle, job: object::Handle) -> Range<Off> {
    let body = object::body(w, job, object::Kind::Job).expect("it lives");
    let block = w.load(body + object::BODY_BLOCK);
    block..block + 64 + 32 * Job::of(w, job).expect("it lives").count(w)
}

/// The word in which a thread notes what it runs.
pub fn runs(w: &Handle, slot: u32) -> Range<Off> {
    let at = w.layout().thread(slot) + slot::word::RUNS;
    at..at + 8
}

/// Three workers, a thread that submits half of the jobs, and two that read all results.
fn pool_model(counts: Counts, spins: u32, fault: Option<(Fault, Range<u64>)>) {
    let (shared, [w]) = handles_that_spin(spins);
    let (handle, pool) = make_pool(&w);
    let jobs = make_jobs(&w, counts);
    let fault = fault.and_then(|(fault, words)| {
        let block = if words == SEARCHER {
            object::body(&w, handle, object::Kind::Pool).expect("it lives")
        } else {
            block_of(&w, jobs[0]).start
        };
        aim(Some(fault), block + words.start..block + words.end)
    });
    let log = Log::default();
    let workers: Vec<_> = (1..4)
        .map(|t| {
            let (w, fault, log) = (shared.thread(t), fault.clone(), log.clone());
            spawn(move || with_fault!(w, &fault, |w| work(w, pool, &log)))
        })
        .collect();
    let readers: Vec<_> = (4..6)
        .map(|t| {
            let (w, fault, jobs) = (shared.thread(t), fault.clone(), jobs.clone());
            spawn(move || {
                with_fault!(w, &fault, |w| {
                    for (call, &job) in (0..).zip(&jobs) {
                        assert!(read_all(w, job, call).iter().all(Option::is_some));
                    }
                })
            })
        })
        .collect();
    let submits = {
        let (w, fault, jobs) = (shared.thread(6), fault.clone(), jobs.clone());
        spawn(move || {
            with_fault!(w, &fault, |w| {
                for &job in jobs.iter().skip(1).step_by(2) {
                    pool.submit(w, job).expect("it is open");
                }
            })
        })
    };
    with_fault!(w, &fault, |w| {
        for &job in jobs.iter().step_by(2) {
            pool.submit(w, job).expect("it is open");
        }
    });
    submits.join().expect("no assertion failed");
    join_all(readers);
    assert!(pool.advance(&w, State::Closed));
    join_all(workers);
    assert_each_once(&log, counts);
    assert!(pool.is_idle(&w));
    for job in jobs {
        object::unlease(&w, job, 0);
    }
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
}

#[test]
fn a_pool_runs_each_element_once() {
    check(300, || pool_model(&[3, 3], 0, None));
    check(300, || pool_model(&[1, 1, 3, 1], 0, None));
}

/// Workers that look for tickets a while before they sleep.
#[test]
fn a_pool_with_a_searcher_runs_each_element_once() {
    for spins in [1, 3] {
        check(300, move || pool_model(&[3, 3], spins, None));
        check(600, move || pool_model(&[1, 1, 1, 1], spins, None));
    }
}

/// Where the cells of a job's block begin.
const CELLS: u64 = 64;

#[test]
#[should_panic]
fn planted_torn_cas_of_a_cell() {
    let fault = (Fault::TornCas(0..0), CELLS..CELLS + 96);
    check(3000, move || pool_model(&[3], 0, Some(fault.clone())));
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_settling() {
    check(3000, || {
        pool_model(&[3], 0, Some((Fault::LostWakeAll, 0..0)))
    });
}

#[test]
#[should_panic]
fn planted_lost_wake_of_a_submit() {
    check(3000, || {
        pool_model(&[3], 0, Some((Fault::LostWakeOne, 0..0)))
    });
}

#[test]
#[should_panic]
fn planted_blind_sleep_in_a_pool() {
    check(3000, || pool_model(&[3], 0, Some((Fault::BlindWait, 0..0))));
}

/// Where the word in a pool's body is that names the searcher.
const SEARCHER: Range<u64> = 56..64;

#[test]
#[should_panic]
fn planted_searcher_that_stays() {
    check(3000, || {
        pool_model(&[1, 1, 1, 1], 1, Some((Fault::LostStore(0..0), SEARCHER)))
    });
}

/// The word behind the number of elements is the cursor.
#[test]
#[should_panic]
fn planted_cursor_that_is_raised_too_far() {
    let fault = (Fault::OneMore(0..0), 8..16);
    check(3000, move || pool_model(&[3], 0, Some(fault.clone())));
}
