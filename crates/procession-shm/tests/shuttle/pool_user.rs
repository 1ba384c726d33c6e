//! A thread that ends, or stops, at each step of its work in a pool: it costs the one element that it had begun.

use crate::broken::Fault;
use crate::pool::{Counts, Log, assert_each_once, make_jobs, read_all, runs, work, work_up_to};
use crate::structures::{assert_all_is_free, make_job, make_pool};
use crate::sync::{check_each_step, spawn, yield_now};
use crate::world::{Handle, Shared, Stop};
use crate::{SIZE, aim, dies_at, handles, handles_that_spin, with_fault};
use procession_shm::job::{Job, Outcome};
use procession_shm::pool::{Pool, State};
use procession_shm::{World, object, process, slot};
use shuttle::rand::Rng;

/// The process id of who dies.
const PID: u32 = 4242;

fn name_the_process(w: &Handle, index: u32) {
    let record = w.layout().process(index);
    w.store(record + process::word::PID, PID as u64);
    w.store(record + process::word::EXIT, process::exit_word(-9));
}

/// The elements of a call that are lost, once all are settled.
fn lost(w: &Handle, job: object::Handle, call: u64) -> Vec<u64> {
    let results = (0..).zip(read_all(w, job, call));
    let lost = results.filter(|(_, result)| result.is_none());
    let job = Job::of(w, job).expect("it lives");
    lost.map(|(index, _)| {
        let (pid, exit) = (PID, Some(-9));
        assert_eq!(job.outcome(w, index), Outcome::Lost { pid, exit });
        call << 32 | index
    })
    .collect()
}

/// How long a doomed worker works.
#[derive(Clone, Copy)]
enum Work {
    /// Two elements at most, without waiting.
    Two,
    /// Until it is over.
    All,
    /// Until it is over, looking once more before it sleeps.
    Search,
}

impl Work {
    fn spins(self) -> u32 {
        u32::from(matches!(self, Work::Search))
    }
}

fn do_work<W: World>(w: &W, pool: Pool, log: &Log, how: Work) {
    match how {
        Work::Two => {
            // Others may have been faster.
            let _ = work_up_to(w, pool, log, 2, Some(0));
        }
        Work::All | Work::Search => work(w, pool, log),
    }
}

/// A worker (slot 1) dies at step n beside another one, one who waits for each result, and one at the gate; who buries
/// it dies at step m of that, if at all. Says whether who was to die last did.
fn worker_death(how: Work, counts: Counts, n: u64, m: Option<u64>, fault: Option<Fault>) -> bool {
    let (shared, [w, mut doomed, other, undertaker, last]) = handles_that_spin(how.spins());
    let gone = doomed.leave_home();
    name_the_process(&w, gone);
    let (handle, pool) = make_pool(&w);
    let jobs = make_jobs(&w, counts);
    let submit = || {
        for &job in &jobs {
            pool.submit(&w, job).expect("it is open");
        }
    };
    let fault = aim(fault, runs(&w, 1));
    if let Work::Two = how {
        submit();
    }
    let log = Log::default();
    let works = {
        let log = log.clone();
        spawn(move || work(&other, pool, &log))
    };
    let life = {
        let log = log.clone();
        spawn(move || {
            let dead = doomed.owner();
            let died = doomed.ends_at(n, |w| {
                with_fault!(*w, &fault, |w| do_work(w, pool, &log, how))
            });
            if died.is_some() {
                return (false, false);
            }
            let Some(m) = m else {
                undertaker.bury(dead);
                object::drop_leases(&undertaker, gone);
                return (true, true);
            };
            let died = undertaker.ends_at(m, |u| u.bury(dead)).is_none();
            // In either order.
            let mut both = [dead, undertaker.owner()];
            if m % 2 == 0 {
                both.reverse();
            }
            both.into_iter()
                .filter(|&dead| died && last.is_unburied(dead))
                .for_each(|dead| last.bury(dead));
            object::drop_leases(&last, gone);
            (true, died)
        })
    };
    let reads = {
        let (w, jobs) = (shared.thread(5), jobs.clone());
        spawn(move || {
            let all = (0..).zip(jobs);
            all.flat_map(|(call, job)| lost(&w, job, call))
                .collect::<Vec<u64>>()
        })
    };
    let waits = {
        let (w, jobs) = (shared.thread(6), jobs.clone());
        spawn(move || {
            let is_done = |&job| {
                let job = Job::of(&w, job).expect("it lives");
                job.last_unsettled(&w, job.count(&w)).is_none()
            };
            let done = pool.wait_settled(&w, None, || jobs.iter().all(is_done));
            assert_eq!(done, Ok(true));
        })
    };
    if !matches!(how, Work::Two) {
        submit();
    }
    let lost = reads.join().expect("no assertion failed");
    waits.join().expect("no assertion failed");
    assert!(pool.advance(&w, State::Closed));
    let (died, ended) = life.join().expect("no assertion failed");
    works.join().expect("no assertion failed");
    assert!(lost.len() <= died as usize);
    // It may have begun an element and not come to say so.
    let unsaid = lost
        .first()
        .filter(|&lost| !log.lock().expect("no panic").contains(lost));
    log.lock().expect("no panic").extend(unsaid);
    assert_each_once(&log, counts);
    assert!(pool.is_idle(&w));
    for handle in jobs.into_iter().chain([handle]) {
        object::unlease(&w, handle, 0);
    }
    assert_all_is_free(&shared.spectator());
    ended
}

#[test]
fn a_death_at_each_step_of_a_worker() {
    check_each_step(10, |n| worker_death(Work::Two, &[2, 2], n, None, None));
    check_each_step(10, |n| worker_death(Work::Two, &[1, 1, 1], n, None, None));
}

#[test]
fn a_death_at_each_step_of_a_waiting_worker() {
    check_each_step(8, |n| worker_death(Work::All, &[1, 2], n, None, None));
    check_each_step(8, |n| worker_death(Work::Search, &[1, 2], n, None, None));
    check_each_step(8, |n| worker_death(Work::Search, &[1, 1], n, None, None));
}

/// One works beside another on jobs that nobody waits for, and dies at step n.
#[test]
fn a_death_at_each_step_of_a_worker_that_frees_jobs() {
    const COUNTS: Counts = &[1, 2, 1];
    check_each_step(10, |n| {
        let (shared, [w, mut doomed, other, undertaker]) = handles();
        let gone = doomed.leave_home();
        let (handle, pool) = make_pool(&w);
        for &job in &make_jobs(&w, COUNTS) {
            pool.submit(&w, job).expect("it is open");
            object::unlease(&w, job, 0);
        }
        assert!(pool.advance(&w, State::Closed));
        let log = Log::default();
        let works = {
            let log = log.clone();
            spawn(move || work(&other, pool, &log))
        };
        let died = {
            let log = log.clone();
            let died = dies_at(&doomed, &undertaker, n, |w| work(w, pool, &log));
            object::drop_leases(&undertaker, gone);
            died
        };
        works.join().expect("no assertion failed");
        let missing = 4 - log.lock().expect("no panic").len();
        assert!(missing <= died as usize);
        if missing == 0 {
            assert_each_once(&log, COUNTS);
        }
        object::unlease(&w, handle, 0);
        assert_all_is_free(&shared.spectator());
        died
    });
}

/// The recoverer of a worker that died somewhere dies at step m, and both are recovered.
#[test]
fn a_death_at_each_step_of_a_workers_recovery() {
    check_each_step(20, |m| {
        let n = shuttle::rand::thread_rng().gen_range(1..120);
        worker_death(Work::Two, &[2, 2], n, Some(m), None)
    });
}

#[test]
#[should_panic]
fn planted_worker_that_does_not_say_what_it_runs() {
    let fault = Some(Fault::LostStore(0..0));
    check_each_step(20, move |n| {
        worker_death(Work::Two, &[2], n, None, fault.clone())
    });
}

/// A worker (slot 1) stops at step n; others do all but the element that it has begun. Objects that nobody needs any
/// more are made anew meanwhile; then it goes on. It may have a process to itself.
fn worker_stop(apart: bool, counts: Counts, n: u64, fault: Option<Fault>) -> bool {
    let shared = Shared::new(SIZE, true);
    let [w, mut stops, other] = [0, 1, 2].map(|slot| shared.thread(slot));
    if apart {
        stops.leave_home();
    }
    let (handle, pool) = make_pool(&w);
    let jobs = make_jobs(&w, counts);
    for &job in &jobs {
        pool.submit(&w, job).expect("it is open");
    }
    let log = Log::default();
    let stop = Stop::new();
    stops.stops_at(n, &stop);
    let job = w.layout().thread(1) + slot::word::JOB;
    let fault = aim(fault, job..job + 8);
    let works: Vec<_> = [stops, other]
        .map(|w| {
            let (log, fault) = (log.clone(), fault.clone());
            spawn(move || with_fault!(w, &fault, |w| work(w, pool, &log)))
        })
        .into();
    // A job of which nothing is left to do.
    let is_done = |&job: &object::Handle| {
        let job = Job::of(&w, job).expect("it lives");
        let begun = (0..job.count(&w)).filter(|&index| !job.is_settled(&w, index));
        begun
            .into_iter()
            .all(|index| stop.has_stopped() && job.outcome(&w, index) == Outcome::Begun { slot: 1 })
    };
    while !jobs.iter().all(is_done) {
        yield_now();
    }
    let settled = |job: Job| job.last_unsettled(&w, job.count(&w)).is_none();
    let left = jobs
        .iter()
        .filter(|&&job| !settled(Job::of(&w, job).expect("it lives")));
    assert!(left.count() <= 1);
    for &job in &jobs {
        object::unlease(&w, job, 0);
    }
    let stopped = stop.has_stopped();
    // In the entries of the old ones, if these are free.
    let mut new = make_jobs(&w, counts);
    stop.go_on();
    for job in &mut new {
        object::unlease(&w, *job, 0);
        *job = make_job(&w, 9, 1);
    }
    pool.advance(&w, State::Closed);
    crate::join_all(works);
    assert_each_once(&log, counts);
    for job in new {
        assert!(Job::of(&w, job).is_ok(), "it has a lease");
        object::unlease(&w, job, 0);
        assert!(Job::of(&w, job).is_err(), "nobody has a lease");
    }
    assert!(pool.is_idle(&w));
    object::unlease(&w, handle, 0);
    assert_all_is_free(&shared.spectator());
    stopped
}

#[test]
fn a_stop_at_each_step_of_a_worker() {
    check_each_step(20, |n| worker_stop(true, &[2, 2], n, None));
    check_each_step(20, |n| worker_stop(true, &[1, 1], n, None));
    check_each_step(20, |n| worker_stop(false, &[1, 1], n, None));
}

#[test]
#[should_panic]
fn planted_look_that_protects_nothing() {
    let fault = Some(Fault::LostStore(0..0));
    check_each_step(60, move |n| worker_stop(true, &[1, 1], n, fault.clone()));
}

/// One dies at each step of making a job and handing it in, beside workers and another who does so.
#[test]
fn a_death_at_each_step_of_a_submit() {
    check_each_step(8, |n| {
        let (shared, [w, doomed, undertaker, worker]) = handles();
        let (handle, pool) = make_pool(&w);
        let log = Log::default();
        let works = {
            let log = log.clone();
            spawn(move || work(&worker, pool, &log))
        };
        let submits = spawn(move || {
            dies_at(&doomed, &undertaker, n, |w| {
                let job = make_job(w, 2, 2);
                pool.submit(w, job).expect("it is open");
                object::unlease(w, job, 0);
            })
        });
        for &job in &make_jobs(&w, &[1, 2]) {
            pool.submit(&w, job).expect("it is open");
            object::unlease(&w, job, 0);
        }
        let died = submits.join().expect("no assertion failed");
        assert!(pool.advance(&w, State::Closed));
        works.join().expect("no assertion failed");
        let whole = log.lock().expect("no panic").len() == 5;
        assert!(whole || died);
        assert_each_once(&log, if whole { &[1, 2, 2] } else { &[1, 2] });
        object::unlease(&w, handle, 0);
        if died {
            object::drop_leases(&w, 0);
        }
        assert_all_is_free(&shared.spectator());
        died
    });
}
