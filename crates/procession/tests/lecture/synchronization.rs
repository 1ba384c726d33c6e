//! Events, locks and their kin.

use crate::support::Outcome;
use crate::{LONG, SHORT};
use procession::condition::Guarding;
use procession::{
    Barrier, BoundedSemaphore, Condition, Event, Kind, Lock, Mutex, Process, Queue, ReentrantLock,
    Semaphore,
};
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

// Event.

pub fn event() -> Outcome {
    let (go, done) = (Event::new()?, Event::new()?);
    let waits = |(go, done): (Event, Event)| {
        go.wait();
        done.set();
        go.is_set()
    };
    let child = Process::spawn(waits, (go.clone(), done.clone()))?;
    assert!(!go.is_set() && !done.wait_timeout(SHORT));
    go.set();
    assert!(done.wait_timeout(LONG));
    assert!(child.join()?);
    go.clear();
    assert!(!go.is_set() && !go.wait_timeout(Duration::ZERO));
    Ok(())
}

// Lock: `with` is a guard.

pub fn lock() -> Outcome {
    const ROUNDS: u32 = 200;
    let (lock, inside) = (Lock::new()?, Event::new()?);
    let alone = |(lock, inside): (Lock, Event)| {
        for _ in 0..ROUNDS {
            let _guard = lock.acquire().expect("nobody dies");
            assert!(!inside.is_set(), "two hold the lock");
            inside.set();
            thread::yield_now();
            inside.clear();
        }
    };
    let children = [(); 3].map(|()| Process::spawn(alone, (lock.clone(), inside.clone())));
    for child in children {
        child?.join()?;
    }
    let guard = lock.acquire()?;
    assert!(lock.is_locked());
    let try_it = |lock: Lock| {
        let now = lock.try_acquire().expect("nobody dies").is_some();
        now || lock.acquire_timeout(SHORT).expect("nobody dies").is_some()
    };
    assert!(!Process::spawn(try_it, lock.clone())?.join()?);
    drop(guard);
    assert!(Process::spawn(try_it, lock.clone())?.join()?);
    assert_eq!(lock.release().map_err(|e| e.kind()), Err(Kind::NotHeld));

    // Its holder is killed: the next one is told, with who it was.
    let held = Event::new()?;
    let holder = Process::spawn(
        |(lock, held): (Lock, Event)| {
            let _guard = lock.acquire().expect("it is free");
            held.set();
            Event::new().expect("room").wait();
        },
        (lock.clone(), held.clone()),
    )?;
    held.wait();
    holder.kill()?;
    let error = lock.acquire().expect_err("its holder died");
    assert_eq!(error.kind(), Kind::BrokenLock);
    assert_eq!(error.pid(), Some(holder.pid()));
    assert!(lock.reset() && !lock.reset());
    drop(lock.acquire()?);
    Ok(())
}

pub fn rlock() -> Outcome {
    let lock = ReentrantLock::new()?;
    let is_free = |lock: ReentrantLock| {
        let got = lock.acquire_timeout(SHORT).expect("nobody dies");
        got.is_some() && lock.depth() == 1
    };
    let outer = lock.acquire()?;
    let inner = lock.acquire()?;
    assert_eq!(lock.depth(), 2);
    drop(inner);
    assert!(!Process::spawn(is_free, lock.clone())?.join()?);
    drop(outer);
    assert!(Process::spawn(is_free, lock.clone())?.join()?);
    assert_eq!(lock.release().map_err(|e| e.kind()), Err(Kind::NotHeld));
    // A holder that ended can't release it any more.
    let ends = |lock: ReentrantLock| std::mem::forget(lock.acquire().expect("it is free"));
    Process::spawn(ends, lock.clone())?.join()?;
    let error = lock.acquire().expect_err("its holder ended");
    assert_eq!(error.kind(), Kind::BrokenLock);
    assert!(lock.reset());
    drop(lock.acquire()?);
    Ok(())
}

pub fn semaphore() -> Outcome {
    const PERMITS: u64 = 2;
    let (permits, inside) = (Semaphore::new(PERMITS)?, Mutex::new([0_u64; 2])?);
    let few = |(permits, inside): (Semaphore, Mutex<[u64; 2]>)| {
        for _ in 0..100 {
            permits.acquire();
            {
                let mut now = inside.lock().expect("nobody dies");
                now[0] += 1;
                now[1] = now[1].max(now[0]);
            }
            thread::yield_now();
            inside.lock().expect("nobody dies")[0] -= 1;
            permits.release().expect("no bound");
        }
    };
    let children = [(); 4].map(|()| Process::spawn(few, (permits.clone(), inside.clone())));
    for child in children {
        child?.join()?;
    }
    let [left, most] = *inside.lock()?;
    assert_eq!((left, permits.value()), (0, PERMITS));
    assert!(
        (1..=PERMITS).contains(&most),
        "{most} held {PERMITS} permits"
    );
    assert!(permits.try_acquire() && permits.try_acquire() && !permits.try_acquire());
    assert!(!permits.acquire_timeout(SHORT));

    let bounded = BoundedSemaphore::new(1)?;
    assert!(bounded.release().is_err(), "it has all its permits");
    bounded.acquire();
    let gives = |bounded: BoundedSemaphore| bounded.release().is_ok();
    assert!(
        Process::spawn(gives, bounded.clone())?.join()?,
        "anybody may release"
    );
    assert_eq!(bounded.value(), 1);
    Ok(())
}

pub fn condition() -> Outcome {
    type Room = (Condition, Semaphore, Queue<u32>);
    const WAITERS: u32 = 3;
    let room: Room = (Condition::new()?, Semaphore::new(0)?, Queue::new()?);
    let (changed, entered, left) = room.clone();
    let waits = |((changed, entered, left), number): (Room, u32)| {
        let mut guard = changed.lock().expect("nobody dies");
        // Released while the lock is held: who holds the lock after it knows that all of us wait.
        entered.release().expect("no bound");
        changed.wait(&mut guard).expect("nobody dies");
        left.put(&number).expect("room");
    };
    let mut children = Vec::new();
    for number in 0..WAITERS {
        children.push(Process::spawn(waits, (room.clone(), number))?);
        // In turn, so that it is known who is the oldest.
        entered.acquire();
    }
    let guard = changed.lock()?;
    assert_eq!(changed.notify(1)?, 1);
    drop(guard);
    assert_eq!(left.get_timeout(LONG)?, 0, "the oldest goes first");
    assert_eq!(
        left.get_timeout(SHORT).map_err(|e| e.kind()),
        Err(Kind::Empty)
    );
    let guard = changed.lock()?;
    assert_eq!(changed.notify_all()?, 2);
    drop(guard);
    let rest = HashSet::from([left.get_timeout(LONG)?, left.get_timeout(LONG)?]);
    assert_eq!(rest, HashSet::from([1, 2]));
    for child in children {
        child.join()?;
    }
    assert_eq!(changed.notify(1).map_err(|e| e.kind()), Err(Kind::NotHeld));
    // With a lock of one's own.
    let lock = Lock::new()?;
    let changed = Condition::with_lock(Guarding::Lock(lock.clone()))?;
    let _guard = lock.acquire()?;
    assert_eq!(changed.notify_all()?, 0);
    Ok(())
}

pub fn barrier() -> Outcome {
    const PARTIES: u64 = 3;
    let (start, passed) = (Barrier::new(PARTIES)?, Mutex::new(0_u64)?);
    let meets = |(start, passed): (Barrier, Mutex<u64>)| {
        (1..=20)
            .map(|round| {
                *passed.lock().expect("nobody dies") += 1;
                let result = start.wait().expect("nobody dies");
                let arrived = *passed.lock().expect("nobody dies");
                assert!(
                    arrived >= round * PARTIES,
                    "somebody passed before all were there"
                );
                (result.index, result.is_leader())
            })
            .collect::<Vec<_>>()
    };
    let children =
        [(); PARTIES as usize].map(|()| Process::spawn(meets, (start.clone(), passed.clone())));
    let mut rounds = Vec::new();
    for child in children {
        rounds.push(child?.join()?);
    }
    for round in 0..20 {
        let mut indices: Vec<_> = rounds.iter().map(|all| all[round].0).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
        assert_eq!(rounds.iter().filter(|all| all[round].1).count(), 1);
    }
    // One who waits in vain breaks it for all.
    let late = start.wait_timeout(SHORT).map_err(|e| e.kind());
    assert_eq!(late, Err(Kind::BrokenBarrier));
    let next = |start: Barrier| start.wait().map_err(|e| e.kind()) == Err(Kind::BrokenBarrier);
    assert!(start.is_broken() && Process::spawn(next, start.clone())?.join()?);
    start.reset();
    assert!(!start.is_broken() && start.waiting() == 0);
    Ok(())
}

pub fn mutex() -> Outcome {
    let total = Mutex::new([0_u64; 2])?;
    let adds = |total: Mutex<[u64; 2]>| {
        for _ in 0..500 {
            let mut both = total.lock().expect("nobody dies");
            both[0] += 1;
            both[1] += 2;
        }
    };
    let children = [(); 3].map(|()| Process::spawn(adds, total.clone()));
    for child in children {
        child?.join()?;
    }
    assert_eq!(*total.lock()?, [1500, 3000]);

    let half = Event::new()?;
    let dies = |(total, half): (Mutex<[u64; 2]>, Event)| {
        let mut both = total.lock().expect("nobody died yet");
        both[0] += 1;
        half.set();
        Event::new().expect("room").wait();
    };
    let holder = Process::spawn(dies, (total.clone(), half.clone()))?;
    half.wait();
    assert!(total.lock_timeout(SHORT)?.is_none());
    holder.kill()?;
    let error = total.lock().err().expect("its holder died");
    assert_eq!(error.kind(), Kind::BrokenLock);
    assert!(total.reset());
    assert_eq!(
        *total.lock()?,
        [1501, 3000],
        "the data is as the dead left it"
    );
    Ok(())
}
