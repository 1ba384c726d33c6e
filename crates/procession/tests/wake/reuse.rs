//! A dead one's pid is a stranger's before anybody notices: nobody is fooled, and the stranger is never signalled.

use libtest_mimic::Trial;
use procession::pool::{Found, Outcome as Done, RawPool, Round, Worker};
use procession::queue::Draft;
use procession::sys::process::{self as sys, Identity};
use procession::{
    Event, Kind, Lock, Pool, Process, StartMethod, active_children, set_start_method,
};
use rustix::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use crate::child::Child;
use crate::killing::Killing;
use crate::stage::{Form, get, make_queue, promised, put};
use crate::stranger::{Stranger, replace, until_told_apart};
use crate::support::shared::{Words, arena, is_asleep};
use crate::support::{Outcome, PROMISED, trial, until};

/// Tells a program that the tests start which of these it plays.
pub const ROLE: &str = "WAKE_REUSE";
/// Set if the kernel shall number no processes, as before Linux 6.9: they are told apart by their start times.
const BY_TIME: &str = "WAKE_REUSE_BY_TIME";
const LIMIT: Duration = Duration::from_secs(30);

const ALL: [(&str, fn()); 8] = [
    ("lock_holder", lock_holder),
    ("consumer", consumer),
    ("worker", worker),
    ("worker_of_a_pool_that_ends", worker_of_a_pool_that_ends),
    ("worker_without_keeper", worker_without_keeper),
    ("template_and_spares", template_and_spares),
    ("process_from_the_template", process_from_the_template),
    ("exit_code", exit_code),
];

pub fn trials() -> Vec<Trial> {
    let possible = Stranger::is_possible();
    if !possible {
        println!("reuse: ignored, since this process may not choose pids (clone3 with set_tid)");
    }
    let one = |name: &'static str, by_time: bool| {
        let run = move || -> Outcome {
            let mut program = Command::new(std::env::current_exe()?);
            let program = program.env(ROLE, name);
            if by_time {
                program.env(BY_TIME, "");
            }
            let status = program.status()?;
            match status.success() {
                true => Ok(()),
                false => Err(format!("{status}").into()),
            }
        };
        let name = if by_time {
            format!("{name}_by_time")
        } else {
            name.to_string()
        };
        trial(format!("reuse::{name}"), LIMIT, run).with_ignored_flag(!possible)
    };
    ALL.into_iter()
        .flat_map(|(name, _)| [one(name, false), one(name, true)])
        .collect()
}

/// Plays one, in a program of its own.
pub fn play(role: &str) {
    let (_, play) = ALL
        .into_iter()
        .find(|(name, _)| *name == role)
        .expect("one of ours");
    if std::env::var_os(BY_TIME).is_some() {
        crate::refuse::numbers();
        assert!(!Identity::of(sys::pid()).is_numbered());
    }
    play();
}

/// Until a child has said that it is where it shall die.
fn until_said(words: Words) {
    until("the child is there", PROMISED, || words.get(0) == 1);
    until_told_apart();
}

fn say_and_stay(words: Words) -> ! {
    words.set(0, 1);
    stay()
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

fn lock_holder() {
    let (lock, words) = (Lock::new().expect("room"), Words::new());
    let holder = Child::start(|| {
        std::mem::forget(lock.acquire().expect("it is free"));
        say_and_stay(words);
    });
    until_said(words);
    let stranger = replace(holder.pid());
    let error = lock.acquire_timeout(PROMISED).expect_err("its holder died");
    assert_eq!(
        (error.kind(), error.pid()),
        (Kind::BrokenLock, Some(holder.pid()))
    );
    assert!(lock.reset());
    drop(lock.acquire().expect("it is whole"));
    stranger.assert_left_alone();
}

/// A consumer dies at each step of `get` in turn.
fn consumer() {
    for form in [Form::Inline, Form::Message] {
        let mut lost = 0;
        for step in 1.. {
            let (_raw, queue) = make_queue(0);
            for id in 0..3 {
                put(arena(), queue, form, id, Some(0)).expect("room");
            }
            let before = arena().recoveries();
            let consumer = Child::start(|| {
                until_told_apart();
                let world = Killing::before(arena(), step, libc::SIGKILL);
                get(&world, queue, Some(0));
            });
            let pid = consumer.pid();
            let killed = consumer.until_reaped();
            let stranger = Stranger::in_place_of(pid);
            let got: Vec<_> = std::iter::from_fn(|| get(arena(), queue, Some(0))).collect();
            assert!(matches!(*got, [0, 1, 2] | [1, 2]), "{got:?}");
            stranger.assert_left_alone();
            stranger.end();
            if !killed {
                assert!(
                    step > 3 && lost > 0,
                    "it died before and after it had taken an item"
                );
                break;
            }
            lost += u32::from(got.len() == 2);
            until("the dead one is recovered", PROMISED, || {
                // Who would wait for an item looks who has died.
                assert_eq!(get(arena(), queue, promised().map(|_| 1)), None);
                arena().recoveries() > before
            });
        }
    }
}

fn submit(pool: &RawPool) -> procession::pool::RawJob {
    let call = Draft::new(arena(), 1, 4, &[], 0).expect("room");
    call.write(b"call");
    pool.submit(call, 1, false).expect("it is open")
}

/// A worker amid a task, and its pool.
fn busy_worker() -> (RawPool, procession::pool::RawJob, Child) {
    let (pool, words) = (RawPool::new(1).expect("room"), Words::new());
    let job = submit(&pool);
    let child = Child::start(|| {
        let mut worker = Worker::new(pool.clone()).expect("it is open");
        assert!(worker.next(None).expect("an element is there"));
        say_and_stay(words);
    });
    until_said(words);
    (pool, job, child)
}

fn worker() {
    let (_pool, job, child) = busy_worker();
    let stranger = replace(child.pid());
    until("the element is lost", PROMISED, || {
        job.wait(None, promised(), Round::looked()) == Ok(Found::Settled)
    });
    let Done::Lost { pid, exit } = job.outcome(0) else {
        panic!("its worker died: {:?}", job.outcome(0));
    };
    assert_eq!(pid, child.pid());
    assert!(matches!(exit, None | Some(-9)), "a stranger's? {exit:?}");
    stranger.assert_left_alone();
}

fn worker_of_a_pool_that_ends() {
    let (pool, _job, child) = busy_worker();
    let stranger = replace(child.pid());
    pool.terminate(Duration::from_millis(200))
        .expect("nobody is left");
    assert!(pool.workers().is_empty());
    stranger.assert_left_alone();
}

/// What is orphaned from now on becomes this process's child.
fn adopt_orphans() {
    // SAFETY: takes numbers.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(done, 0);
}

fn own_pid((): ()) -> u32 {
    sys::pid()
}

/// The parent of a process.
fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let rest = stat.rsplit(')').next().expect("fields follow its name");
    let parent = rest.split_whitespace().nth(1).expect("it has a parent");
    parent.parse().expect("a pid")
}

/// The children of a process with one thread.
fn children_of(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.expect("it runs");
    listed
        .split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

fn until_adopted(pid: u32) {
    until("an orphan is ours", PROMISED, || {
        parent_of(pid) == sys::pid()
    });
}

fn kill_and_reap(pid: u32) {
    replace(pid).end();
}

fn worker_without_keeper() {
    adopt_orphans();
    let pool = Pool::new(1).expect("room");
    let (begun, never) = (Event::new().expect("room"), Event::new().expect("room"));
    let worker = pool.apply(own_pid, ()).expect("it works");
    let stay = |(begun, never): (Event, Event)| {
        begun.set();
        never.wait();
    };
    let task = pool.apply_async(stay, (begun.clone(), never.clone()));
    let task = task.expect("it is open");
    begun.wait();
    until_told_apart();
    kill_and_reap(parent_of(worker));
    until_adopted(worker);
    let stranger = replace(worker);
    let error = task.get().expect_err("its worker died");
    assert_eq!(
        (error.kind(), error.pid()),
        (Kind::WorkerDied, Some(worker))
    );
    let next = pool
        .apply(own_pid, ())
        .expect("another keeper starts another worker");
    assert_ne!(next, worker);
    stranger.assert_left_alone();
    pool.terminate().expect("it ends");
    stranger.assert_left_alone();
}

fn template_and_spares() {
    adopt_orphans();
    set_start_method(StartMethod::Forkserver);
    let start = || Process::spawn(own_pid, ()).and_then(Process::join);
    start().expect("the template serves");
    let parent = |()| parent_of(sys::pid());
    let template = Process::spawn(parent, ()).and_then(Process::join);
    let template = template.expect("the template serves");
    let mut spares = Vec::new();
    until(
        "two spares sleep, and nobody else is there",
        PROMISED,
        || {
            spares = children_of(template);
            spares.len() == 2 && spares.iter().all(|&spare| is_asleep(spare))
        },
    );
    until_told_apart();
    let mut strangers = vec![replace(template)];
    for spare in spares {
        until_adopted(spare);
        strangers.push(replace(spare));
    }
    start().expect("another template serves");
    strangers.iter().for_each(Stranger::assert_left_alone);
}

fn process_from_the_template() {
    set_start_method(StartMethod::Forkserver);
    let said = Event::new().expect("room");
    let process = Process::spawn(
        |said: Event| {
            said.set();
            stay();
        },
        said.clone(),
    );
    let mut process: Process<()> = process.expect("the template serves");
    said.wait();
    until_told_apart();
    process.kill().expect("it runs");
    // Its parent, the template, reaps it; we do not look.
    let stranger = Stranger::in_place_of(process.pid());
    process.terminate().expect("it has ended");
    process.kill().expect("it has ended");
    assert!(
        active_children()
            .iter()
            .all(|child| child.pid != process.pid())
    );
    let status = process.exit_status().expect("it can be asked");
    assert_eq!(
        status.and_then(|status| status.signal()),
        Some(libc::SIGKILL)
    );
    stranger.assert_left_alone();
}

/// Who asks for the exit code of a process that somebody else has reaped is not told that of a stranger.
fn exit_code() {
    for refuses in [false, true] {
        if refuses {
            // Before Linux 6.15 a pidfd does not tell it.
            crate::refuse::pidfd_info();
        }
        let child = Child::start(|| ());
        let pid = child.pid();
        let pidfd = sys::pidfd(pid).expect("it is not reaped");
        assert!(!child.until_reaped());
        let stranger = Stranger::in_place_of(pid);
        // Killed, and not reaped.
        stranger.kill();
        let exit = sys::exit_of(pidfd.as_fd(), pid);
        assert_eq!(exit, if refuses { None } else { Some(0) });
        stranger.end();
    }
}
