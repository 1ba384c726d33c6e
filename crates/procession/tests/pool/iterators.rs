//! `imap` and `imap_unordered`.

use crate::common::{kind_of, square};
use crate::support::Outcome;
use procession::{Event, Kind, Pool};
use std::cell::Cell;
use std::thread;
use std::time::Duration;

pub fn imap_reads_as_needed() -> Outcome {
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

pub fn imap_keeps_the_order() -> Outcome {
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

pub fn imap_unordered_as_they_come() -> Outcome {
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

pub fn imap_outlives_close() -> Outcome {
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
    let (begun, never) = (Event::new()?, Event::new()?);
    let stay = |(begun, never): (Event, Event)| {
        begun.set();
        never.wait();
    };
    let mut results = pool.imap(stay, std::iter::repeat((begun.clone(), never)));
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            pool.terminate().expect("it ends");
        });
        let first = results.next().expect("it was begun");
        assert_eq!(first.expect_err("terminated").kind(), Kind::Terminated);
    });
    assert!(results.all(|result| matches!(kind_of(result), Kind::Terminated | Kind::NotOpen)));
    Ok(())
}
