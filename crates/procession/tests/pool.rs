//! Pools, from Rust: what they do, and what deaths cost.

mod support;

use procession::{
    Error, Event, Kind, Lock, Pool, Process, Queue, Semaphore, current_process, parent_process,
    start_method,
};
use serde::{Deserialize, Serialize, Serializer};
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    Body, METHOD, Outcome, PROMISED, follow_environment, is_gone_by, method_name,
    run_under_each_method, until,
};

/// Set in a program that the tests start as a root of its own.
const MODE: &str = "POOL_MODE";

/// A time that is never over unless something is wrong.
const LONG: Duration = Duration::from_secs(20);
/// A time that is over at once.
const SHORT: Duration = Duration::from_millis(20);

fn main() {
    procession::init();
    if std::env::var(MODE).as_deref() == Ok("root") {
        follow_environment();
        return busy_root();
    }
    let rows: [(&str, Body); 33] = [
        ("map_keeps_the_order", map_keeps_the_order),
        ("workers_and_tasks", workers_and_tasks),
        ("apply", apply),
        ("tasks_can_be_waited_for", tasks_can_be_waited_for),
        ("callbacks_in_order", callbacks_in_order),
        ("callbacks_that_panic", callbacks_that_panic),
        ("callbacks_of_a_terminated_pool", callbacks_of_a_terminated),
        ("imap_reads_as_needed", imap_reads_as_needed),
        ("imap_keeps_the_order", imap_keeps_the_order),
        ("imap_unordered_as_they_come", imap_unordered_as_they_come),
        ("imap_outlives_close", imap_outlives_close),
        ("panics", panics),
        ("backtrace_if_asked_for", backtrace_if_asked_for),
        ("what_cannot_be_written", what_cannot_be_written),
        ("handles_travel", handles_travel),
        ("large_values", large_values),
        ("names", names),
        ("initializer", initializer),
        ("initializer_that_fails", initializer_that_fails),
        ("initializer_that_dies", initializer_that_dies),
        ("max_tasks_per_worker", max_tasks_per_worker),
        ("killed_worker_costs_its_task", killed_worker_costs_its_task),
        ("worker_that_exits", worker_that_exits),
        ("idle_worker_killed", idle_worker_killed),
        ("stopped_worker", stopped_worker),
        ("keeper_killed", keeper_killed),
        ("keeper_killed_under_load", keeper_killed_under_load),
        ("terminate_is_bounded", terminate_is_bounded),
        ("drop_without_close", drop_without_close),
        ("closed_pool", closed_pool),
        ("task_that_forks", task_that_forks),
        ("pools_in_a_pool", pools_in_a_pool),
        ("root_takes_the_pool_along", root_takes_the_pool_along),
    ];
    run_under_each_method(2 * LONG, &rows);
}

fn square(n: u64) -> u64 {
    n * n
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, Error>) -> Kind {
    result.expect_err("it fails").kind()
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal to a process of ours.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// The workers, once all are there.
fn all_workers(pool: &Pool) -> Vec<u32> {
    until("all workers run", LONG, || {
        pool.workers().len() == pool.size()
    });
    pool.workers()
}

fn find_keeper(name: &str) -> Option<u32> {
    let keeper = format!("{name}-keeper");
    let children = procession::active_children();
    let found = children.iter().find(|child| child.name == keeper);
    found.map(|child| child.pid)
}

fn keeper_of(name: &str) -> u32 {
    find_keeper(name).expect("the pool has a keeper")
}

// Results.

fn map_keeps_the_order() -> Outcome {
    let pool = Pool::new(2)?;
    let squares: Vec<u64> = (0..10_000).map(square).collect();
    assert_eq!(pool.map(square, 0..10_000)?, squares);
    assert_eq!(pool.map(|n: u64| n * n, 0..10_000)?, squares);
    assert_eq!(pool.map(square, [])?, []);
    let names = pool.map(|n: u32| format!("number {n} has a long name"), [7, 8])?;
    assert_eq!(names[1], "number 8 has a long name");
    pool.join()?;
    Ok(())
}

fn workers_and_tasks() -> Outcome {
    for (workers, tasks) in [(1, 10), (4, 2), (3, 3), (2, 1)] {
        let pool = Pool::new(workers)?;
        assert_eq!(pool.size(), workers);
        let expected: Vec<u64> = (0..tasks).map(square).collect();
        assert_eq!(pool.map(square, 0..tasks)?, expected);
        assert_eq!(all_workers(&pool).len(), workers);
        pool.join()?;
    }
    assert_eq!(kind_of(Pool::new(0)), Kind::InvalidInput);
    let usable = thread::available_parallelism()?.get();
    assert_eq!(Pool::builder().build()?.size(), usable);
    Ok(())
}

fn apply() -> Outcome {
    let pool = Pool::new(2)?;
    assert_eq!(pool.apply(square, 12)?, 144);
    let tasks: Result<Vec<_>, _> = (0..100).map(|n| pool.apply_async(square, n)).collect();
    for (n, task) in tasks?.into_iter().enumerate() {
        assert_eq!(task.get()?, square(n as u64));
    }
    // From several threads at once.
    thread::scope(|scope| {
        for start in [0, 1000, 2000] {
            let pool = &pool;
            scope.spawn(move || {
                for n in start..start + 100 {
                    assert_eq!(pool.apply(square, n).expect("it is done"), n * n);
                }
            });
        }
    });
    Ok(())
}

fn tasks_can_be_waited_for() -> Outcome {
    let pool = Pool::new(1)?;
    let go = Event::new()?;
    let wait = |go: Event| {
        go.wait();
        5
    };
    let task = pool.apply_async(wait, go.clone())?;
    assert!(!task.is_ready());
    assert!(!task.wait_timeout(SHORT)?);
    assert!(!task.wait_timeout(Duration::ZERO)?);
    assert_eq!(kind_of(task.get_timeout(SHORT)), Kind::TimedOut);
    go.set();
    task.wait()?;
    assert!(task.is_ready());
    assert!(task.wait_timeout(Duration::ZERO)?);
    assert_eq!(task.get_timeout(Duration::ZERO)?, 5);
    // As often as one likes, and after the pool's end.
    pool.join()?;
    assert_eq!((task.get()?, task.get()?), (5, 5));
    Ok(())
}

// Callbacks.

fn callbacks_in_order() -> Outcome {
    let pool = Pool::new(3)?;
    let (tell, told) = mpsc::channel();
    let gates = [Event::new()?, Event::new()?, Event::new()?];
    let wait = |(n, gate): (usize, Event)| {
        gate.wait();
        n
    };
    for (n, gate) in gates.iter().enumerate() {
        let tell = tell.clone();
        pool.apply_then(wait, (n, gate.clone()), move |result| {
            tell.send((result, thread::current().id())).expect("heard");
        })?;
    }
    let mut threads = HashSet::new();
    for n in [2, 0, 1] {
        gates[n].set();
        let (result, thread) = told.recv_timeout(LONG)?;
        assert_eq!(result?, n);
        threads.insert(thread);
    }
    assert_eq!(threads.len(), 1);
    assert!(!threads.contains(&thread::current().id()));
    // Those that are done meanwhile come in the order in which they were done: with one worker, as handed over.
    let pool = Pool::new(1)?;
    let order = Arc::new(Mutex::new(Vec::new()));
    for n in 0..500 {
        let order = order.clone();
        pool.apply_then(square, n, move |result| {
            order
                .lock()
                .expect("no panic")
                .push(result.map_err(|e| e.kind()));
        })?;
    }
    let sum = Arc::new(Mutex::new(None));
    let theirs = sum.clone();
    pool.map_then(square, 0..10, move |result| {
        *theirs.lock().expect("no panic") = result.ok().map(|n| n.iter().sum::<u64>());
    })?;
    pool.join()?;
    let expected: Vec<_> = (0..500).map(|n| Ok(square(n))).collect();
    assert_eq!(*order.lock().expect("no panic"), expected);
    assert_eq!(*sum.lock().expect("no panic"), Some(285));
    Ok(())
}

fn callbacks_that_panic() -> Outcome {
    let pool = Pool::new(1)?;
    let (tell, told) = mpsc::channel();
    pool.apply_then(square, 1, |_| panic!("as planned, in a callback"))?;
    pool.apply_then(
        |_: u64| -> u64 { panic!("as planned") },
        2,
        move |result| {
            tell.send(kind_of(result)).expect("heard");
        },
    )?;
    assert_eq!(told.recv_timeout(LONG)?, Kind::Panicked);
    pool.join()?;
    Ok(())
}

fn callbacks_of_a_terminated() -> Outcome {
    let pool = Pool::new(1)?;
    let (tell, told) = mpsc::channel();
    let never = Event::new()?;
    for _ in 0..3 {
        let tell = tell.clone();
        pool.apply_then(
            |never: Event| never.wait(),
            never.clone(),
            move |result| {
                tell.send(result.map_err(|e| e.kind())).expect("heard");
            },
        )?;
    }
    drop(pool);
    for _ in 0..3 {
        assert_eq!(told.recv_timeout(LONG)?, Err(Kind::Terminated));
    }
    Ok(())
}

// Iterators.

fn imap_reads_as_needed() -> Outcome {
    let pool = Pool::new(2)?;
    let read = Cell::new(0);
    let counted = || {
        (0_u64..).inspect(|_| {
            read.set(read.get() + 1);
        })
    };
    let mut results = pool.imap(square, counted());
    assert_eq!(read.get(), 0);
    for n in 0..100 {
        assert_eq!(results.next().expect("endless")?, square(n));
        assert!(read.get() <= n + 1 + 16 * 2, "{} read for {n}", read.get());
    }
    drop(results);
    read.set(0);
    let mut results = pool.imap(square, counted()).ahead(1);
    for n in 0..10 {
        assert_eq!(results.next().expect("endless")?, square(n));
        assert_eq!(read.get(), n + 1);
    }
    drop(results);
    read.set(0);
    // The first one is not done: two for each worker are unsettled at most, and the other worker goes on.
    let go = Event::new()?;
    let first_waits = |(n, go): (u64, Event)| {
        if n == 0 {
            go.wait();
        }
        n
    };
    let opener = {
        let go = go.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            go.set();
        })
    };
    let mut results = pool.imap(first_waits, counted().map(|n| (n, go.clone())));
    assert_eq!(results.next().expect("endless")?, 0);
    assert!((4..=33).contains(&read.get()), "{} read", read.get());
    assert_eq!(results.next().expect("endless")?, 1);
    opener.join().expect("no panic");
    drop(results);
    pool.join()?;
    Ok(())
}

fn imap_keeps_the_order() -> Outcome {
    let pool = Pool::new(3)?;
    let odd_fails = |n: u64| {
        assert!(n.is_multiple_of(2), "{n} is odd");
        n
    };
    for (n, result) in pool.imap(odd_fails, 0..50).enumerate() {
        match result {
            Ok(found) => assert_eq!(found, n as u64),
            Err(error) => assert!(error.to_string().contains(&format!("{n} is odd"))),
        }
    }
    assert_eq!(pool.imap(square, []).count(), 0);
    assert_eq!(pool.imap_unordered(square, []).count(), 0);
    Ok(())
}

fn imap_unordered_as_they_come() -> Outcome {
    let pool = Pool::new(2)?;
    let go = Event::new()?;
    let first_waits = |(n, go): (u64, Event)| {
        if n == 0 {
            go.wait();
        }
        n
    };
    let items = (0..50).map(|n| (n, go.clone()));
    let mut results = pool.imap_unordered(first_waits, items);
    let mut found = Vec::new();
    for _ in 0..49 {
        found.push(results.next().expect("one of 50")?);
    }
    assert_eq!(found, (1..50).collect::<Vec<_>>());
    go.set();
    assert_eq!(results.next().expect("the last")?, 0);
    assert!(results.next().is_none());
    Ok(())
}

fn imap_outlives_close() -> Outcome {
    let pool = Pool::new(2)?;
    let mut results = pool.imap(square, 0..100);
    assert_eq!(results.next().expect("one of 100")?, 0);
    pool.close();
    assert_eq!(kind_of(pool.apply(square, 1)), Kind::NotOpen);
    assert_eq!(results.by_ref().map_while(Result::ok).count(), 99);
    drop(results);
    let kinds: Vec<_> = pool.imap(square, 0..9).map(kind_of).collect();
    assert_eq!(kinds, [Kind::NotOpen]);
    pool.join()?;
    let pool = Pool::new(1)?;
    let never = Event::new()?;
    let mut results = pool.imap(|never: Event| never.wait(), std::iter::repeat(never));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            pool.terminate().expect("it ends");
        });
        let first = results.next().expect("it was begun");
        assert_eq!(first.expect_err("terminated").kind(), Kind::Terminated);
    });
    assert!(results.all(|result| matches!(kind_of(result), Kind::Terminated | Kind::NotOpen)));
    Ok(())
}

// Failures of one task.

fn panics() -> Outcome {
    let pool = Pool::new(1)?;
    let worker = pool.apply(|()| std::process::id(), ())?;
    let error = pool
        .apply(
            |n: u64| -> u64 { panic!("{n} is not a number that I like") },
            13,
        )
        .expect_err("it panics");
    assert_eq!(error.kind(), Kind::Panicked);
    let text = error.to_string();
    assert!(text.contains("13 is not a number that I like"), "{text}");
    assert!(text.contains("tests/pool.rs:"), "{text}");
    // The first that fails tells; the others are done, by the same worker.
    let done = Queue::new()?;
    let some_fail = |(n, done): (u64, Queue<u64>)| {
        assert!(n % 10 != 3, "{n} ends with 3");
        done.put(&n).expect("room");
    };
    let error = pool
        .map(some_fail, (0..20).map(|n| (n, done.clone())))
        .expect_err("3 and 13 fail");
    assert!(error.to_string().contains("\n3 ends with 3"), "{error}");
    assert_eq!(done.len(), 18);
    assert_eq!(pool.apply(|()| std::process::id(), ())?, worker);
    // A payload that is not text.
    let error = pool.apply(|()| -> u32 { std::panic::panic_any(5_u8) }, ());
    assert_eq!(kind_of(error), Kind::Panicked);
    Ok(())
}

fn backtrace_if_asked_for() -> Outcome {
    // The environment of the pool's processes is this one's, in which RUST_BACKTRACE may be anything.
    let asked = std::env::var("RUST_BACKTRACE").is_ok_and(|asked| asked != "0");
    let pool = Pool::new(1)?;
    let error = pool.apply(|()| -> u32 { panic!("as planned") }, ());
    let text = error.expect_err("it panics").to_string();
    assert_eq!(text.contains("stack backtrace:"), asked, "{text}");
    Ok(())
}

/// Serialises unless it is 13, and deserialises unless it is 14.
#[derive(Debug, PartialEq)]
struct Superstitious(u32);

impl Serialize for Superstitious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("never 13"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Superstitious {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            14 => Err(serde::de::Error::custom("never 14")),
            n => Ok(Self(n)),
        }
    }
}

fn what_cannot_be_written() -> Outcome {
    let pool = Pool::new(2)?;
    let add_one = |n: Superstitious| Superstitious(n.0 + 1);
    for (n, fails) in [(11, false), (12, true), (13, true), (14, true), (15, false)] {
        match pool.apply(add_one, Superstitious(n)) {
            Ok(found) => assert_eq!((found, fails), (Superstitious(n + 1), false)),
            Err(error) => assert_eq!((error.kind(), fails), (Kind::Serialization, true)),
        }
    }
    let results: Vec<_> = pool
        .imap(add_one, (10..20).map(Superstitious))
        .map(|result| result.is_ok())
        .collect();
    assert_eq!(results.iter().filter(|ok| !**ok).count(), 3);
    assert_eq!(
        kind_of(pool.map(add_one, (10..20).map(Superstitious))),
        Kind::Serialization
    );
    Ok(())
}

fn handles_travel() -> Outcome {
    let pool = Pool::new(2)?;
    let queue = pool.apply(
        |n: u64| {
            let queue = Queue::new().expect("room");
            queue.put(&n).expect("room");
            queue
        },
        7,
    )?;
    assert_eq!(queue.get_timeout(LONG)?, 7);
    let lock = Lock::new()?;
    let sums = Queue::<u64>::new()?;
    sums.put(&0)?;
    let add = |(n, lock, sums): (u64, Lock, Queue<u64>)| {
        let _held = lock.acquire().expect("nobody dies");
        let sum = sums.try_get().expect("the sum so far");
        sums.put(&(sum + n)).expect("room");
    };
    pool.map(add, (1..=100).map(|n| (n, lock.clone(), sums.clone())))?;
    assert_eq!(sums.get()?, 5050);
    // What only the task names lives until it was got.
    let task = {
        let event = Event::new()?;
        event.set();
        pool.apply_async(|event: Event| event, event)?
    };
    task.wait()?;
    assert!(task.get()?.is_set());
    Ok(())
}

fn large_values() -> Outcome {
    let pool = Pool::new(2)?;
    for len in [0, 15, 16, 17, 1000, 70_000, 5_000_000] {
        let reversed = |mut bytes: Vec<u8>| {
            bytes.reverse();
            bytes
        };
        let bytes: Vec<u8> = (0..len).map(|n: u32| n as u8).collect();
        let mut expected = bytes.clone();
        expected.reverse();
        assert!(pool.apply(reversed, bytes)? == expected);
    }
    Ok(())
}

// Workers.

fn names() -> Outcome {
    let pool = Pool::builder().workers(2).name("baker").build()?;
    let names = pool.map(
        |_: u64| {
            let parent = parent_process().expect("a worker has a parent");
            assert!(parent.is_alive());
            (current_process().name, parent.pid)
        },
        0..20,
    )?;
    for (name, parent) in names {
        assert!(["baker-1", "baker-2"].contains(&name.as_str()), "{name}");
        assert_eq!(parent, std::process::id());
    }
    let pool = Pool::new(1)?;
    assert_eq!(pool.apply(|()| current_process().name, ())?, "PoolWorker-1");
    Ok(())
}

thread_local! {
    static OVEN: Cell<u64> = const { Cell::new(0) };
}

fn initializer() -> Outcome {
    let calls = Semaphore::new(0)?;
    let heat = |(degrees, calls): (u64, Semaphore)| {
        OVEN.set(degrees);
        calls.release().expect("no bound");
    };
    let pool = Pool::builder()
        .workers(2)
        // The handle among the arguments is dropped here; the pool keeps it.
        .initializer(heat, (180, calls.clone()))
        .build()?;
    assert_eq!(pool.map(|n: u64| OVEN.get() + n, 0..3)?, [180, 181, 182]);
    all_workers(&pool);
    until("each worker called it", LONG, || calls.try_acquire());
    until("each worker called it", LONG, || calls.try_acquire());
    drop(calls);
    kill(all_workers(&pool)[0], libc::SIGKILL);
    for n in 0..20 {
        assert_eq!(pool.apply(|n: u64| OVEN.get() + n, n)?, 180 + n);
    }
    pool.join()?;
    Ok(())
}

fn burn((): ()) {
    panic!("the oven is on fire");
}

fn die((): ()) {
    std::process::abort();
}

fn initializer_that_fails() -> Outcome {
    let failing = Pool::builder()
        .workers(2)
        .initializer(|n: u32| Err::<(), _>(format!("no oven {n}")), 5)
        .build()?;
    let error = failing.map(square, 0..5).expect_err("no worker gets ready");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("no oven 5"), "{error}");
    assert_eq!(kind_of(failing.apply(square, 1)), Kind::PoolBroken);
    assert_eq!(kind_of(failing.join()), Kind::PoolBroken);
    let panicking = Pool::builder().workers(1).initializer(burn, ()).build()?;
    let (tell, told) = mpsc::channel();
    let task = panicking.apply_then(square, 2, move |result| {
        tell.send(kind_of(result)).expect("heard");
    });
    let error = task.and_then(|task| task.get()).expect_err("no worker");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("the oven is on fire"), "{error}");
    assert_eq!(told.recv_timeout(LONG)?, Kind::PoolBroken);
    Ok(())
}

fn initializer_that_dies() -> Outcome {
    let pool = Pool::builder().workers(2).initializer(die, ()).build()?;
    let error = pool.apply(square, 1).expect_err("no worker gets ready");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("again and again"), "{error}");
    Ok(())
}

fn max_tasks_per_worker() -> Outcome {
    let pool = Pool::builder().workers(2).max_tasks_per_worker(5).build()?;
    let mut pids = pool.map(|_: u64| std::process::id(), 0..40)?;
    pids.sort_unstable();
    assert!(pids.chunk_by(|a, b| a == b).all(|same| same.len() <= 5));
    pool.join()?;
    let none = Pool::builder().max_tasks_per_worker(0).build();
    assert_eq!(kind_of(none), Kind::InvalidInput);
    Ok(())
}

// Deaths.

/// A task that says who runs it, and waits.
fn tell_and_wait((pids, go): (Queue<u32>, Event)) -> u32 {
    pids.put(&std::process::id()).expect("room");
    go.wait();
    std::process::id()
}

fn killed_worker_costs_its_task() -> Outcome {
    let pool = Pool::new(2)?;
    let (pids, go) = (Queue::new()?, Event::new()?);
    let tasks: Result<Vec<_>, _> = (0..4)
        .map(|_| pool.apply_async(tell_and_wait, (pids.clone(), go.clone())))
        .collect();
    let (first, second) = (pids.get_timeout(LONG)?, pids.get_timeout(LONG)?);
    kill(first, libc::SIGKILL);
    let killed = Instant::now();
    let third = pids.get_timeout(LONG)?;
    assert!(killed.elapsed() < PROMISED, "{:?}", killed.elapsed());
    assert!(third != first && third != second);
    go.set();
    let (mut done, mut died) = (0, 0);
    for task in tasks? {
        match task.get() {
            Ok(_) => done += 1,
            Err(error) => {
                died += 1;
                assert_eq!(error.kind(), Kind::WorkerDied);
                assert_eq!(error.pid(), Some(first));
                let text = error.to_string();
                assert!(text.contains(&format!("worker {first} died")), "{text}");
                assert!(text.contains("killed by signal 9"), "{text}");
            }
        }
    }
    assert_eq!((done, died), (3, 1));
    pool.join()?;
    Ok(())
}

fn worker_that_exits() -> Outcome {
    let pool = Pool::new(2)?;
    let maybe_exit = |n: u64| {
        if n == 3 {
            std::process::exit(42);
        }
        n
    };
    let error = pool.map(maybe_exit, 0..100).expect_err("one exits");
    assert_eq!(error.kind(), Kind::WorkerDied);
    let text = error.to_string();
    assert!(text.contains("element 3 of 100"), "{text}");
    assert!(text.contains("exit code 42"), "{text}");
    assert!(error.pid().is_some());
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    // Whoever comes next may want its place among the threads before anybody has seen that it ended.
    for code in 1..20 {
        let task = pool.apply_async(|code: i32| -> u32 { std::process::exit(code) }, code)?;
        let error = task.get_timeout(LONG).expect_err("it exits");
        let ending = format!("exit code {code}");
        assert!(error.to_string().ends_with(&ending), "{error}");
    }
    let error = pool.apply(die, ());
    let error: Error = error.expect_err("it aborts");
    assert!(error.to_string().contains("signal 6"), "{error}");
    pool.join()?;
    Ok(())
}

fn idle_worker_killed() -> Outcome {
    let pool = Pool::new(2)?;
    pool.apply(square, 1)?;
    for _ in 0..5 {
        kill(all_workers(&pool)[0], libc::SIGKILL);
        assert_eq!(pool.map(square, 0..20)?.len(), 20);
    }
    pool.join()?;
    Ok(())
}

fn stopped_worker() -> Outcome {
    let pool = Pool::new(2)?;
    all_workers(&pool);
    let stops_at_ten = |n: u64| {
        if n == 10 {
            kill(std::process::id(), libc::SIGSTOP);
        }
        n
    };
    let items = Queue::<u32>::new()?;
    let told = items.clone();
    let task = pool.map_async(
        |(n, told): (u64, Queue<u32>)| {
            if n == 10 {
                told.put(&std::process::id()).expect("room");
                kill(std::process::id(), libc::SIGSTOP);
            }
            n
        },
        (0..100).map(|n| (n, told.clone())),
    )?;
    let stopped = items.get_timeout(LONG)?;
    // All others are done by the other one, and what comes after them too.
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    assert!(!task.wait_timeout(Duration::from_millis(200))?);
    kill(stopped, libc::SIGCONT);
    assert_eq!(task.get()?, (0..100).collect::<Vec<_>>());
    // One by one: which are done tells what it costs.
    let go = Instant::now();
    let tasks: Result<Vec<_>, _> = (0..100)
        .map(|n| pool.apply_async(stops_at_ten, n))
        .collect();
    let tasks = tasks?;
    for (n, task) in tasks.iter().enumerate().filter(|&(n, _)| n != 10) {
        assert_eq!(task.get_timeout(LONG)?, n as u64);
    }
    assert!(go.elapsed() < LONG);
    assert!(!tasks[10].is_ready());
    let workers = pool.workers();
    workers.iter().for_each(|&pid| kill(pid, libc::SIGCONT));
    assert_eq!(tasks[10].get_timeout(LONG)?, 10);
    pool.join()?;
    Ok(())
}

fn keeper_killed() -> Outcome {
    // Before it has shown up.
    let pool = Pool::builder().workers(2).name("early").build()?;
    kill(keeper_of("early"), libc::SIGKILL);
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    // All that the pool has, at once: workers of the first keeper may have done without another.
    let workers = all_workers(&pool);
    if let Some(keeper) = find_keeper("early") {
        kill(keeper, libc::SIGKILL);
    }
    workers.iter().for_each(|&pid| kill(pid, libc::SIGKILL));
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    // While only a callback waits.
    let (tell, told) = mpsc::channel();
    let (pids, go) = (Queue::new()?, Event::new()?);
    pool.apply_then(tell_and_wait, (pids.clone(), go.clone()), move |result| {
        tell.send(result).expect("heard");
    })?;
    pids.get_timeout(LONG)?;
    let workers = all_workers(&pool);
    kill(keeper_of("early"), libc::SIGKILL);
    workers.iter().for_each(|&pid| kill(pid, libc::SIGKILL));
    assert_eq!(kind_of(told.recv_timeout(LONG)?), Kind::WorkerDied);
    pool.join()?;
    Ok(())
}

fn keeper_killed_under_load() -> Outcome {
    let pool = Pool::builder().workers(2).name("loaded").build()?;
    let work = |n: u64| {
        thread::sleep(Duration::from_micros(100));
        n
    };
    for _ in 0..5 {
        let task = pool.map_async(work, 0..2000)?;
        let workers = all_workers(&pool);
        kill(keeper_of("loaded"), libc::SIGKILL);
        // Its workers go on: nothing is lost.
        assert_eq!(task.get()?, (0..2000).collect::<Vec<_>>());
        kill(workers[0], libc::SIGKILL);
        until("another worker comes", LONG, || {
            let _ = pool.apply(square, 1);
            pool.workers().len() == 2 && !pool.workers().contains(&workers[0])
        });
    }
    let (first, second) = (pool.workers(), keeper_of("loaded"));
    pool.join()?;
    let soon = Instant::now() + PROMISED;
    assert!(first.iter().all(|&pid| is_gone_by(pid, soon)));
    assert!(is_gone_by(second, soon));
    Ok(())
}

// Ends.

fn busy(pids: Queue<u32>) -> u32 {
    pids.put(&std::process::id()).expect("room");
    loop {
        std::hint::spin_loop();
    }
}

fn terminate_is_bounded() -> Outcome {
    let stubborn = |pids: Queue<u32>| -> u32 {
        // SAFETY: ignoring a signal.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        pids.put(&std::process::id()).expect("room");
        loop {
            std::hint::spin_loop();
        }
    };
    let pool = Pool::new(3)?;
    let pids = Queue::new()?;
    let mut tasks = vec![
        pool.apply_async(busy, pids.clone())?,
        pool.apply_async(stubborn, pids.clone())?,
    ];
    let known = [pids.get_timeout(LONG)?, pids.get_timeout(LONG)?];
    let done = pool.apply(square, 5)?;
    assert_eq!(done, 25);
    kill(known[0], libc::SIGSTOP);
    for _ in 0..10 {
        tasks.push(pool.apply_async(busy, pids.clone())?);
    }
    let start = Instant::now();
    pool.terminate()?;
    assert!(start.elapsed() < PROMISED, "{:?}", start.elapsed());
    for pid in known {
        assert!(is_gone_by(pid, Instant::now()), "{pid} lives");
    }
    assert_eq!(pool.workers(), []);
    for task in tasks {
        assert_eq!(kind_of(task.get()), Kind::Terminated);
    }
    assert_eq!(kind_of(pool.apply(square, 1)), Kind::NotOpen);
    pool.join()?;
    assert!(start.elapsed() < PROMISED, "{:?}", start.elapsed());
    Ok(())
}

fn drop_without_close() -> Outcome {
    let pool = Pool::builder().workers(2).name("dropped").build()?;
    let (pids, go) = (Queue::new()?, Event::new()?);
    let task = pool.apply_async(tell_and_wait, (pids.clone(), go.clone()))?;
    let done = pool.apply_async(square, 3)?;
    let busy = pids.get_timeout(LONG)?;
    done.wait()?;
    let keeper = keeper_of("dropped");
    let workers = all_workers(&pool);
    drop(pool);
    let soon = Instant::now() + PROMISED;
    for pid in workers.into_iter().chain([busy, keeper]) {
        assert!(is_gone_by(pid, soon), "{pid} lives without its pool");
    }
    assert_eq!(kind_of(task.get()), Kind::Terminated);
    assert_eq!(done.get()?, 9);
    // One that was hardly there.
    drop(Pool::new(2)?);
    Ok(())
}

fn closed_pool() -> Outcome {
    let pool = Pool::new(2)?;
    let task = pool.map_async(square, 0..1000)?;
    pool.close();
    pool.close();
    assert_eq!(kind_of(pool.apply(square, 1)), Kind::NotOpen);
    assert_eq!(kind_of(pool.map_async(square, 0..1)), Kind::NotOpen);
    pool.join()?;
    assert_eq!(task.get()?.len(), 1000);
    Ok(())
}

fn task_that_forks() -> Outcome {
    let pool = Pool::new(1)?;
    let forks = |n: u64| {
        // SAFETY: a worker has one thread.
        let child = unsafe { libc::fork() };
        n + u64::from(child == 0) * 1000
    };
    // The child's return is not the task's.
    assert_eq!(pool.map(forks, 0..5)?, [0, 1, 2, 3, 4]);
    pool.join()?;
    Ok(())
}

fn pools_in_a_pool() -> Outcome {
    let pool = Pool::new(1)?;
    let inner = |n: u64| {
        let pool = Pool::new(2).expect("a worker may have a pool");
        let process = Process::spawn(square, n).expect("and a process");
        let squares = pool.map(square, 0..n).expect("nobody dies");
        squares.iter().sum::<u64>() + process.join().expect("nobody dies")
    };
    assert_eq!(pool.map(inner, [3, 4])?, [5 + 9, 14 + 16]);
    pool.join()?;
    Ok(())
}

/// A program whose pool is busy; it says who its processes are.
fn busy_root() {
    let pool = Pool::builder()
        .workers(2)
        .name("doomed")
        .build()
        .expect("a pool");
    let pids = Queue::new().expect("room");
    let _tasks = [0, 1].map(|_| pool.apply_async(busy, pids.clone()).expect("it is open"));
    for _ in 0..2 {
        println!("{}", pids.get().expect("a pid"));
    }
    println!("{}", keeper_of("doomed"));
    std::io::stdout().flush().expect("somebody reads");
    loop {
        std::hint::spin_loop();
    }
}

fn root_takes_the_pool_along() -> Outcome {
    let mut root = Command::new(std::env::current_exe()?)
        .env(MODE, "root")
        .env(METHOD, method_name(start_method()))
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(root.stdout.take().expect("it is piped"));
    let pids: Vec<u32> = output
        .lines()
        .take(3)
        .map(|line| Ok(line?.parse()?))
        .collect::<Outcome<_>>()?;
    assert_eq!(pids.len(), 3);
    root.kill()?;
    let killed = Instant::now();
    root.wait()?;
    for pid in pids {
        assert!(
            is_gone_by(pid, killed + PROMISED),
            "{pid} lives without its root"
        );
    }
    Ok(())
}
