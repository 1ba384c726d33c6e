//! What tasks return, and callbacks.

use crate::common::{LONG, SHORT, all_workers, kind_of, square};
use crate::support::Outcome;
use procession::{Event, Kind, Pool};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

// Results.

pub fn map_keeps_the_order() -> Outcome {
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

pub fn workers_and_tasks() -> Outcome {
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

pub fn apply() -> Outcome {
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

pub fn tasks_can_be_waited_for() -> Outcome {
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

pub fn callbacks_in_order() -> Outcome {
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

pub fn callbacks_that_panic() -> Outcome {
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

pub fn callbacks_of_a_terminated() -> Outcome {
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
