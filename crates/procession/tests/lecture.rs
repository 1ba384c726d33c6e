//! The rows of the lecture, each a test, from Rust.

mod support;

use procession::condition::Guarding;
use procession::{
    Barrier, BoundedSemaphore, Condition, Event, ExitStatus, Joined, Kind, Lock, Mutex, Process,
    Queue, Receiver, ReentrantLock, Semaphore, Sender, active_children, cpu, cpu_count,
    current_process, parent_process, pipe,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::{Body, Outcome, PROMISED, run_under_each_method};

/// Set in a program whose `main` forgets `init`.
const FORGETS: &str = "LECTURE_FORGETS_INIT";

/// A time that is never over unless something is wrong.
const LONG: Duration = Duration::from_secs(15);
/// A time that is over at once.
const SHORT: Duration = Duration::from_millis(5);

fn main() {
    if std::env::var_os(FORGETS).is_some() {
        forgets_init();
        return;
    }
    procession::init();
    let rows: [(&str, Body); 21] = [
        ("cpu_count", cpu_count_is_the_machines),
        ("process_name_args", process_name_args),
        ("process_from_thread", process_from_thread),
        ("affinity", affinity),
        ("join_timeout", join_timeout),
        ("pid_and_names", pid_and_names),
        ("exit_codes", exit_codes),
        ("init_is_the_guard", init_is_the_guard),
        ("separate_memory", separate_memory),
        ("data_as_bytes", data_as_bytes),
        ("pipes", pipes),
        ("event", event),
        ("lock", lock),
        ("rlock", rlock),
        ("semaphore", semaphore),
        ("condition", condition),
        ("barrier", barrier),
        ("mutex", mutex),
        ("queue", queue),
        ("queue_between_processes", queue_between_processes),
        ("cpu_bound", cpu_bound),
    ];
    run_under_each_method(2 * LONG, &rows);
}

// How many cores.

fn cpu_count_is_the_machines() -> Outcome {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let online = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    assert_eq!(cpu_count(), online);
    Ok(())
}

// Process with target, args, name; start.

fn introduce((greeting, number): (String, u64)) -> (String, u64, u32) {
    let me = current_process();
    (format!("{greeting} from {}", me.name), number * 2, me.pid)
}

fn process_name_args() -> Outcome {
    let process = Process::builder()
        .name("worker")
        .spawn(introduce, ("hello".to_string(), 21))?;
    assert_eq!(process.name(), "worker");
    let pid = process.pid();
    assert_eq!(process.join()?, ("hello from worker".to_string(), 42, pid));
    // A closure that captures nothing will do, and a name is made up.
    let process = Process::spawn(|()| current_process().name, ())?;
    assert!(process.name().starts_with("Process-"));
    let name = process.name().to_string();
    assert_eq!(process.join()?, name);
    Ok(())
}

// A process from a thread.

fn process_from_thread() -> Outcome {
    let go = Event::new()?;
    let theirs = go.clone();
    let starter = thread::spawn(move || {
        Process::spawn(
            |go: Event| {
                go.wait();
                7
            },
            theirs,
        )
    });
    let mut process = starter.join().expect("the starter does not panic")?;
    // The thread that started it is gone; it is not.
    assert_eq!(process.join_timeout(SHORT)?, Joined::Running);
    go.set();
    assert_eq!(process.join()?, 7);
    Ok(())
}

// Asking for a specific processor.

fn affinity() -> Outcome {
    let allowed = cpu::affinity(0)?;
    let one = [*allowed.last().expect("one processor at least")];
    let ask = |()| cpu::affinity(0).expect("asking is allowed");
    let process = Process::builder().affinity(&one).spawn(ask, ())?;
    assert_eq!(process.join()?, one);
    let for_oneself = |cpus: Vec<usize>| {
        cpu::set_affinity(0, &cpus).expect("a processor that there is");
        cpu::affinity(0).expect("asking is allowed")
    };
    assert_eq!(Process::spawn(for_oneself, one.to_vec())?.join()?, one);
    assert_eq!(cpu::affinity(0)?, allowed);

    let error = cpu::set_affinity(0, &[]).expect_err("no processor at all");
    assert_eq!(error.kind(), Kind::InvalidInput);
    let process = Process::builder().affinity(&[1023]).spawn(ask, ())?;
    let error = process.join().expect_err("there is no such processor");
    assert_eq!(error.kind(), Kind::System);
    assert!(error.to_string().contains("[1023]"), "{error}");
    Ok(())
}

// Join, join with a timer, is_alive.

fn join_timeout() -> Outcome {
    let go = Event::new()?;
    let mut process = Process::spawn(|go: Event| go.wait(), go.clone())?;
    assert_eq!(process.join_timeout(SHORT)?, Joined::Running);
    assert_eq!(process.exit_status()?, None);
    assert!(process.is_alive()?);
    go.set();
    let ended = Joined::Ended(ExitStatus::from_raw(0));
    assert_eq!(process.join_timeout(LONG)?, ended);
    assert_eq!(process.join_timeout(SHORT)?, ended);
    assert!(!process.is_alive()?);
    process.join()?;
    Ok(())
}

// Pid, names.

fn pid_and_names() -> Outcome {
    assert_eq!(current_process().name, "MainProcess");
    assert_eq!(current_process().pid, std::process::id());
    assert_eq!(parent_process(), None);
    let go = Event::new()?;
    let process = Process::builder().name("somebody").spawn(
        |go: Event| {
            go.wait();
            let (me, parent) = (current_process(), parent_process().expect("a parent"));
            assert_eq!(me.pid, std::process::id());
            assert!(parent.is_alive());
            (me.name, me.pid, parent.name, parent.pid)
        },
        go.clone(),
    )?;
    let pid = process.pid();
    let is_listed = || active_children().iter().any(|child| child.pid == pid);
    assert!(
        active_children()
            .iter()
            .any(|child| child.pid == pid && child.name == "somebody")
    );
    go.set();
    let expected = (
        "somebody".to_string(),
        pid,
        "MainProcess".to_string(),
        std::process::id(),
    );
    assert_eq!(process.join()?, expected);
    assert!(!is_listed());
    Ok(())
}

// Exit codes.

fn exit_codes() -> Outcome {
    let status = |process: &mut Process<()>| match process.join_timeout(LONG) {
        Ok(Joined::Ended(status)) => status,
        other => panic!("it ends, but: {other:?}"),
    };
    let mut fine = Process::spawn(|()| (), ())?;
    assert!(status(&mut fine).success());
    assert_eq!(status(&mut fine).raw(), Some(0));
    fine.join()?;

    let mut exits = Process::spawn(|code: i32| std::process::exit(code), 3)?;
    assert_eq!(status(&mut exits).code(), Some(3));
    let error = exits.join().expect_err("it had no result");
    assert_eq!(error.kind(), Kind::ProcessDied);
    assert!(error.to_string().contains("exit code 3"), "{error}");

    let never = Event::new()?;
    let mut killed = Process::spawn(|never: Event| never.wait(), never.clone())?;
    let pid = killed.pid();
    killed.kill()?;
    assert_eq!(status(&mut killed).raw(), Some(-libc::SIGKILL));
    assert_eq!(status(&mut killed).signal(), Some(libc::SIGKILL));
    let error = killed.join().expect_err("it was killed");
    assert_eq!((error.kind(), error.pid()), (Kind::ProcessDied, Some(pid)));

    let mut asked = Process::spawn(|never: Event| never.wait(), never)?;
    asked.terminate()?;
    assert_eq!(status(&mut asked).signal(), Some(libc::SIGTERM));

    let mut panics = Process::spawn(|n: u32| assert_eq!(n, 4, "two and two"), 5)?;
    let line = line!() - 1;
    assert_eq!(status(&mut panics).code(), Some(101));
    let error = panics.join().expect_err("it panicked");
    assert_eq!(error.kind(), Kind::Panicked);
    let text = error.to_string();
    assert!(text.contains("two and two"), "the message: {text}");
    assert!(
        text.contains(&format!("lecture.rs:{line}")),
        "the place: {text}"
    );
    Ok(())
}

// Fork, spawn, the main guard.

fn forgets_init() {
    let error = Process::spawn(|()| (), ()).expect_err("a main without init() starts no process");
    assert_eq!(error.kind(), Kind::NotInitialized);
    println!("{error}");
}

fn init_is_the_guard() -> Outcome {
    let output = Command::new(std::env::current_exe()?)
        .env(FORGETS, "1")
        .output()?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text.lines().count(), 1, "main runs once: {text}");
    assert!(
        text.contains("call procession::init() first thing in main()"),
        "{text}"
    );
    Ok(())
}

// Each process has its own memory.

static COUNTER: AtomicU64 = AtomicU64::new(1);

fn separate_memory() -> Outcome {
    COUNTER.store(2, Ordering::SeqCst);
    let process = Process::spawn(|()| COUNTER.fetch_add(10, Ordering::SeqCst), ())?;
    assert_eq!(process.join()?, 1, "a child starts afresh");
    assert_eq!(COUNTER.load(Ordering::SeqCst), 2);
    Ok(())
}

// Data crosses as bytes.

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Shape {
    Point,
    Polygon { corners: Vec<(f64, f64)> },
    Named(String, Option<Box<Shape>>),
}

/// Refuses to be turned into bytes, if told so.
#[derive(Debug, Deserialize)]
struct Stubborn(bool);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("it does not want to"));
        }
        serializer.serialize_newtype_struct("Stubborn", &self.0)
    }
}

fn data_as_bytes() -> Outcome {
    type Data = (Vec<Shape>, BTreeMap<String, i64>, Vec<u8>);
    let data: Data = (
        vec![
            Shape::Point,
            Shape::Polygon {
                corners: vec![(0.5, -1.0), (f64::MAX, 0.0)],
            },
            Shape::Named("ü".to_string(), Some(Box::new(Shape::Point))),
        ],
        BTreeMap::from([("a".to_string(), i64::MIN)]),
        (0..1_000_000).map(|n| n as u8).collect(),
    );
    let add = |(mut shapes, map, bytes): Data| {
        shapes.push(Shape::Point);
        (shapes, map, bytes)
    };
    let back = Process::spawn(add, data.clone())?.join()?;
    assert_eq!((&back.1, &back.2), (&data.1, &data.2));
    assert_eq!(back.0[..3], data.0, "what crossed is a copy");
    assert_eq!((back.0.len(), data.0.len()), (4, 3));

    // What can't be turned into bytes is an error at that call, and everything goes on.
    let queue = Queue::new()?;
    let error = queue.put(&Stubborn(true)).expect_err("an item");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(queue.is_empty());
    queue.put(&Stubborn(false))?;
    assert!(!queue.get()?.0);

    let say = |stubborn: Stubborn| stubborn.0;
    let stubborn = || Process::builder().name("never started");
    let error = stubborn()
        .spawn(say, Stubborn(true))
        .expect_err("an argument");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(
        active_children()
            .iter()
            .all(|child| child.name != "never started")
    );
    assert!(!Process::spawn(say, Stubborn(false))?.join()?);

    let error = Process::spawn(Stubborn, true)?
        .join()
        .expect_err("a result");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(!Process::spawn(Stubborn, false)?.join()?.0);
    Ok(())
}

// Pipes.

type Line = (u32, String);

fn pipes() -> Outcome {
    let (sender, receiver) = pipe::pipe::<Line>()?;
    let child = Process::spawn(
        |sender: Sender<Line>| {
            for n in 0..3 {
                sender.send(&(n, "tick".to_string())).expect("received");
            }
        },
        sender,
    )?;
    for n in 0..3 {
        assert_eq!(receiver.recv_timeout(LONG)?, (n, "tick".to_string()));
    }
    let error = receiver
        .recv()
        .expect_err("its only end went with the child");
    assert_eq!(error.kind(), Kind::Disconnected);
    child.join()?;

    // Both ways, and the end of a live process that is dropped there.
    let (here, there) = pipe::duplex::<u64, String>()?;
    let (dropped, go) = (Event::new()?, Event::new()?);
    let child = Process::spawn(
        |(there, dropped, go): (pipe::Connection<String, u64>, Event, Event)| {
            let n = there.recv().expect("a number comes");
            there.send(&n.to_string()).expect("somebody reads");
            drop(there);
            dropped.set();
            go.wait();
        },
        (there, dropped.clone(), go.clone()),
    )?;
    here.send(&12)?;
    assert_eq!(here.recv_timeout(LONG)?, "12");
    dropped.wait();
    assert_eq!(
        here.recv_timeout(SHORT).map_err(|e| e.kind()),
        Err(Kind::Disconnected)
    );
    assert_eq!(
        here.send(&13).map_err(|e| e.kind()),
        Err(Kind::Disconnected)
    );
    go.set();
    child.join()?;

    // A killed process is as gone as one that dropped its end.
    let (sender, receiver) = pipe::pipe::<Line>()?;
    let (answers, asked) = pipe::pipe::<Line>()?;
    let child = Process::spawn(
        |(sender, asked): (Sender<Line>, Receiver<Line>)| {
            sender.send(&(0, "alive".to_string())).expect("received");
            asked.recv().map_or((), |_| ())
        },
        (sender, asked),
    )?;
    assert_eq!(receiver.recv_timeout(LONG)?.0, 0);
    answers_are_refused_after(&child, &receiver, &answers)
}

fn answers_are_refused_after(
    child: &Process<()>,
    receiver: &Receiver<Line>,
    answers: &Sender<Line>,
) -> Outcome {
    child.kill()?;
    let error = receiver.recv_timeout(PROMISED).expect_err("nobody sends");
    assert_eq!(error.kind(), Kind::Disconnected);
    let line = (1, "too late".to_string());
    let error = answers.send(&line).expect_err("nobody receives");
    assert_eq!(error.kind(), Kind::Disconnected);
    Ok(())
}

// Event.

fn event() -> Outcome {
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

fn lock() -> Outcome {
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

fn rlock() -> Outcome {
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

fn semaphore() -> Outcome {
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

fn condition() -> Outcome {
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

fn barrier() -> Outcome {
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

fn mutex() -> Outcome {
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

// Queue.

fn queue() -> Outcome {
    let queue = Queue::new()?;
    let put = |queue: Queue<u64>| (0..300).for_each(|n| queue.put(&n).expect("room"));
    Process::spawn(put, queue.clone())?.join()?;
    assert_eq!(queue.len(), 300, "what was put outlives its producer");
    for n in 0..300 {
        assert_eq!(queue.get()?, n, "first in, first out");
    }
    assert!(queue.is_empty());
    assert_eq!(queue.try_get().map_err(|e| e.kind()), Err(Kind::Empty));
    assert_eq!(
        queue.get_timeout(SHORT).map_err(|e| e.kind()),
        Err(Kind::Empty)
    );
    assert_eq!(queue.put_many(&[1, 2, 3]).map_err(|(_, e)| e), Ok(3));
    assert_eq!(queue.get_many(2)?, [1, 2]);
    assert_eq!(queue.get_many(2)?, [3]);

    // Bounded: a put waits for room.
    let bounded = Queue::bounded(2)?;
    bounded.put(&"a".to_string())?;
    bounded.put(&"b".to_string())?;
    assert!(bounded.is_full());
    let c = "c".to_string();
    assert_eq!(bounded.try_put(&c).map_err(|e| e.kind()), Err(Kind::Full));
    assert_eq!(
        bounded.put_timeout(&c, SHORT).map_err(|e| e.kind()),
        Err(Kind::Full)
    );
    let waits = |(bounded, c): (Queue<String>, String)| bounded.put(&c).expect("room comes");
    let child = Process::spawn(waits, (bounded.clone(), c))?;
    for expected in ["a", "b", "c"] {
        assert_eq!(bounded.get_timeout(LONG)?, expected);
    }
    child.join()?;

    // A queue, and others of our nouns, travel through a queue and live on the way.
    let post = Queue::new()?;
    let answers = Queue::<u64>::new()?;
    post.put(&(answers.clone(), Event::new()?))?;
    let reads = |post: Queue<(Queue<u64>, Event)>| {
        let (answers, event) = post.get().expect("an item");
        assert!(!event.is_set());
        answers.put(&99).expect("room");
    };
    Process::spawn(reads, post)?.join()?;
    assert_eq!(answers.get_timeout(LONG)?, 99);
    Ok(())
}

fn queue_between_processes() -> Outcome {
    const EACH: u64 = 2_000;
    for queue in [Queue::new()?, Queue::bounded(8)?] {
        let puts = |(queue, who): (Queue<(u64, u64)>, u64)| {
            (0..EACH).for_each(|n| queue.put(&(who, n)).expect("room"));
        };
        let gets = |queue: Queue<(u64, u64)>| {
            (0..EACH)
                .map(|_| queue.get().expect("items come"))
                .collect::<Vec<_>>()
        };
        let consumers = [(); 3].map(|()| Process::spawn(gets, queue.clone()));
        let producers = [0, 1, 2].map(|who| Process::spawn(puts, (queue.clone(), who)));
        let mut all = HashSet::new();
        for consumer in consumers {
            let got = consumer?.join()?;
            for who in 0..3 {
                assert!(got.iter().filter(|item| item.0 == who).is_sorted());
            }
            all.extend(got);
        }
        for producer in producers {
            producer?.join()?;
        }
        assert_eq!(all.len() as u64, 3 * EACH, "each item once");
        assert!(queue.is_empty());
    }
    Ok(())
}

// CPU-bound work on all cores.

fn primes_below(end: u64, step: u64) -> u64 {
    let prime = |n: u64| {
        n > 1
            && (2..)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d))
    };
    (end.saturating_sub(step)..end)
        .filter(|&n| prime(n))
        .count() as u64
}

fn cpu_bound() -> Outcome {
    const END: u64 = 60_000;
    const STEP: u64 = 2_000;
    let (tasks, results) = (Queue::<Option<u64>>::new()?, Queue::<u64>::new()?);
    let work = |(tasks, results): (Queue<Option<u64>>, Queue<u64>)| {
        while let Some(end) = tasks.get().expect("a task comes") {
            results.put(&primes_below(end, STEP)).expect("room");
        }
        // The next one shall see it too.
        tasks.put(&None).expect("room");
    };
    let mut workers = Vec::new();
    for _ in 0..cpu_count() {
        workers.push(Process::spawn(work, (tasks.clone(), results.clone()))?);
    }
    for end in (STEP..=END).step_by(STEP as usize) {
        tasks.put(&Some(end))?;
    }
    tasks.put(&None)?;
    let mut found = 0;
    for _ in 0..END / STEP {
        found += results.get_timeout(LONG)?;
    }
    assert_eq!(found, primes_below(END, END));
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}
