//! How a pool ends.

use crate::common::{LONG, MODE, all_workers, keeper_of, kill, kind_of, square};
use crate::deaths::tell_and_wait;
use crate::support::{METHOD, Outcome, PROMISED, assert_gone_with_root, is_gone_by, method_name};
use procession::{Event, Kind, Pool, Process, Queue, start_method};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn busy(pids: Queue<u32>) -> u32 {
    pids.put(&std::process::id()).expect("room");
    loop {
        std::hint::spin_loop();
    }
}

pub fn terminate_is_bounded() -> Outcome {
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

pub fn drop_without_close() -> Outcome {
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

pub fn closed_pool() -> Outcome {
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

pub fn task_that_forks() -> Outcome {
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

pub fn pools_in_a_pool() -> Outcome {
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
pub fn busy_root() {
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

pub fn root_takes_the_pool_along() -> Outcome {
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
    assert_gone_with_root(&pids, killed + PROMISED);
    Ok(())
}
