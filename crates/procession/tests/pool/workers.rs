//! Names, initializers and lives of workers.

use crate::common::{LONG, all_workers, kill, kind_of, square};
use crate::support::{Outcome, until};
use procession::{Event, Kind, Pool, Semaphore, current_process, parent_process};
use std::cell::Cell;
use std::sync::mpsc;

pub fn names() -> Outcome {
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

pub fn initializer() -> Outcome {
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

pub fn burn(go: Event) {
    go.wait();
    panic!("the oven is on fire");
}

pub fn die((): ()) {
    std::process::abort();
}

pub fn initializer_that_fails() -> Outcome {
    let failing = Pool::builder()
        .workers(2)
        .initializer(|n: u32| Err::<(), _>(format!("no oven {n}")), 5)
        .build()?;
    let error = failing.map(square, 0..5).expect_err("no worker gets ready");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("no oven 5"), "{error}");
    assert_eq!(kind_of(failing.apply(square, 1)), Kind::PoolBroken);
    assert_eq!(kind_of(failing.join()), Kind::PoolBroken);
    let go = Event::new()?;
    let panicking = Pool::builder().workers(1);
    let panicking = panicking.initializer(burn, go.clone()).build()?;
    let (tell, told) = mpsc::channel();
    let task = panicking.apply_then(square, 2, move |result| {
        tell.send(kind_of(result)).expect("heard");
    });
    go.set();
    let error = task.and_then(|task| task.get()).expect_err("no worker");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("the oven is on fire"), "{error}");
    assert_eq!(told.recv_timeout(LONG)?, Kind::PoolBroken);
    Ok(())
}

pub fn initializer_that_dies() -> Outcome {
    let pool = Pool::builder().workers(2).initializer(die, ()).build()?;
    let error = pool.apply(square, 1).expect_err("no worker gets ready");
    assert_eq!(error.kind(), Kind::PoolBroken);
    assert!(error.to_string().contains("again and again"), "{error}");
    Ok(())
}

pub fn max_tasks_per_worker() -> Outcome {
    let pool = Pool::builder().workers(2).max_tasks_per_worker(5).build()?;
    let mut pids = pool.map(|_: u64| std::process::id(), 0..40)?;
    pids.sort_unstable();
    assert!(pids.chunk_by(|a, b| a == b).all(|same| same.len() <= 5));
    pool.join()?;
    let none = Pool::builder().max_tasks_per_worker(0).build();
    assert_eq!(kind_of(none), Kind::InvalidInput);
    Ok(())
}
