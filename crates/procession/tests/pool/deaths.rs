//! Deaths of workers and keepers.

use crate::common::{LONG, all_workers, find_keeper, keeper_of, kill, kind_of, square};
use crate::support::{Outcome, PROMISED, is_gone_by, until};
use crate::workers::die;
use procession::{Error, Event, Kind, Pool, Queue};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A task that says who runs it, and waits.
pub fn tell_and_wait((pids, go): (Queue<u32>, Event)) -> u32 {
    pids.put(&std::process::id()).expect("room");
    go.wait();
    std::process::id()
}

pub fn killed_worker_costs_its_task() -> Outcome {
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

pub fn worker_that_exits() -> Outcome {
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

pub fn idle_worker_killed() -> Outcome {
    let pool = Pool::new(2)?;
    pool.apply(square, 1)?;
    for _ in 0..5 {
        let worker = all_workers(&pool)[0];
        kill(worker, libc::SIGKILL);
        assert_eq!(pool.map(square, 0..20)?.len(), 20);
        until("it is gone", LONG, || !pool.workers().contains(&worker));
    }
    pool.join()?;
    Ok(())
}

pub fn stopped_worker() -> Outcome {
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
    // It may be about to stop still.
    until("it goes on", LONG, || {
        kill(stopped, libc::SIGCONT);
        task.is_ready()
    });
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
    until("it goes on", LONG, || {
        workers.iter().for_each(|&pid| kill(pid, libc::SIGCONT));
        tasks[10].is_ready()
    });
    assert_eq!(tasks[10].get_timeout(LONG)?, 10);
    pool.join()?;
    Ok(())
}

pub fn keeper_killed() -> Outcome {
    // Before it has shown up.
    let pool = Pool::builder().workers(2).name("early").build()?;
    kill(keeper_of("early"), libc::SIGKILL);
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    // All that the pool has, at once: workers of the first keeper may have done without another, which who waits starts.
    until("all workers run", LONG, || {
        pool.apply(square, 1).is_ok_and(|one| one == 1) && pool.workers().len() == 2
    });
    let workers = pool.workers();
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

pub fn keeper_killed_under_load() -> Outcome {
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
