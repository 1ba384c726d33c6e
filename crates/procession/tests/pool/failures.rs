//! What costs one task alone.

use crate::common::{LONG, kind_of};
use crate::support::Outcome;
use procession::{Event, Kind, Lock, Pool, Queue};
use serde::{Deserialize, Serialize, Serializer};

pub fn panics() -> Outcome {
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
    assert!(text.contains("tests/pool/failures.rs:"), "{text}");
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

pub fn backtrace_if_asked_for() -> Outcome {
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

pub fn what_cannot_be_written() -> Outcome {
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

pub fn handles_travel() -> Outcome {
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

pub fn large_values() -> Outcome {
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
