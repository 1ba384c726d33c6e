//! SIGKILL at random instants, from outside, of loops that do nothing but one thing.

use procession::object::Name;
use procession::shm::lock::{Acquired, OnEnd};
use procession::shm::queue::Queue;
use procession::{Lock, Process, time};
use std::time::{Duration, Instant};

use crate::stage::{
    Form, Words, arena, get, in_use, lock_of, make_queue, name_of, promised, put, queue_of,
};
use crate::support::{Outcome, PROMISED, is_gone_by, until};

/// How many die, of each kind: 1,000 in all.
const DEATHS: u64 = 334;
/// The longest that a victim lives after its first operation began, in nanoseconds.
const LIFE: u64 = 300_000;
const ROOM: u64 = 64;
const SEQUENCE: u32 = 32;
const MARKER: u64 = u32::MAX as u64;
const LAST: u64 = u64::MAX;

// Words that victim, rival and parent share.
/// Which victim has begun.
const BEGUN: u64 = 0;
/// Set while the victim is in its operation.
const INSIDE: u64 = 1;
/// How many of its operations have returned; for consumers, the number that must come next.
const RETURNED: u64 = 2;
/// Up to which victim the rival has counted, and how many items of its there were.
const SEEN: u64 = 3;
const COUNTED: u64 = 4;
/// How often the rival has been through.
const PASSED: u64 = 5;
const STOP: u64 = 6;
/// How often the rival found the lock broken.
const BROKEN: u64 = 7;

struct Run {
    words: Words,
    seed: u64,
    inside: u64,
    worst: Duration,
}

impl Run {
    fn new(name: &str) -> Self {
        let seed = std::env::var("DEATHS_SEED").ok();
        let seed = seed.map_or_else(time::now, |seed| seed.parse().expect("a number"));
        println!("{name}: DEATHS_SEED={seed}");
        Self {
            words: Words::new(),
            seed: seed | 1,
            inside: 0,
            worst: Duration::ZERO,
        }
    }

    /// Marsaglia's xorshift64.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    /// Starts a victim and kills it at some instant; says whether that was in its operation. Nobody has waited for it.
    fn kill_one(
        &mut self,
        who: u64,
        run: impl Fn((Name, Words, u64)) + Copy + 'static,
        name: Name,
    ) -> (Process<()>, bool) {
        let words = self.words;
        words.set(INSIDE, 0);
        let process = Process::spawn(run, (name, words, who)).expect("a process");
        until("the victim begins", PROMISED, || words.get(BEGUN) == who);
        let life = Duration::from_nanos(self.random() % LIFE);
        let begun = Instant::now();
        while begun.elapsed() < life {
            std::hint::spin_loop();
        }
        process.kill().expect("it is our child");
        assert!(is_gone_by(process.pid(), Instant::now() + PROMISED));
        let inside = words.get(INSIDE) == 1;
        self.inside += u64::from(inside);
        (process, inside)
    }

    /// Until the others have gone on.
    fn others_go_on(&mut self, holds: impl FnMut() -> bool) {
        let since = Instant::now();
        until("the others go on", PROMISED, holds);
        self.worst = since.elapsed().max(self.worst);
    }

    fn report(&self, name: &str) {
        let (share, worst) = (100 * self.inside / DEATHS, self.worst);
        println!(
            "{name}: {DEATHS} deaths, {share} % inside an operation, the others went on within {worst:?}"
        );
    }
}

fn begin(words: Words, who: u64) {
    words.set(INSIDE, 1);
    words.set(BEGUN, who);
}

// Producers: what was put is there, and in order.

fn produce((name, words, who): (Name, Words, u64)) {
    let (_lease, queue) = queue_of(name);
    begin(words, who);
    for n in 0.. {
        words.set(INSIDE, 1);
        put(arena(), queue, form(n), who << SEQUENCE | n, None).expect("room comes");
        words.set(RETURNED, n + 1);
        words.set(INSIDE, 0);
    }
}

fn form(n: u64) -> Form {
    if n % 4 == 3 {
        Form::Message
    } else {
        Form::Inline
    }
}

fn count((name, words, _): (Name, Words, u64)) {
    let (_lease, queue) = queue_of(name);
    let mut next = 0;
    // No limit of time: one that is over would look again, and hide a wake that was lost.
    while let Some(item) = get(arena(), queue, None).filter(|&item| item != LAST) {
        let (who, n) = (item >> SEQUENCE, item & MARKER);
        if n == MARKER {
            words.set(COUNTED, next);
            words.set(SEEN, who);
            next = 0;
        } else {
            assert_eq!(n, next, "in order, each once");
            next += 1;
        }
    }
}

pub fn producers() -> Outcome {
    let mut run = Run::new("producers");
    let words = run.words;
    let before = in_use();
    let (raw, queue) = make_queue(ROOM);
    let rival = Process::spawn(count, (name_of(raw.object()), words, 0))?;
    for who in 1..=DEATHS {
        words.set(RETURNED, 0);
        let (process, inside) = run.kill_one(who, produce, name_of(raw.object()));
        let marker = who << SEQUENCE | MARKER;
        put(arena(), queue, Form::Inline, marker, promised()).expect("room comes");
        run.others_go_on(|| words.get(SEEN) == who);
        let (returned, counted) = (words.get(RETURNED), words.get(COUNTED));
        let most = returned + u64::from(inside);
        assert!(
            (returned..=most).contains(&counted),
            "{counted} of {returned} were got"
        );
        drop(process);
    }
    put(arena(), queue, Form::Inline, LAST, promised()).expect("room comes");
    rival.join()?;
    drop(raw);
    until("nothing is leaked", PROMISED, || in_use() == before);
    run.report("producers");
    Ok(())
}

// Consumers: at most one item goes with each.

fn consume((name, words, who): (Name, Words, u64)) {
    let (_lease, queue) = queue_of(name);
    begin(words, who);
    loop {
        words.set(INSIDE, 1);
        let item = get(arena(), queue, None).expect("one comes");
        assert!(item >= words.get(RETURNED), "each once");
        words.set(RETURNED, item + 1);
        words.set(INSIDE, 0);
    }
}

fn feed((name, words, _): (Name, Words, u64)) {
    let (_lease, queue) = queue_of(name);
    let mut n = 0;
    while words.get(STOP) == 0 {
        put(arena(), queue, form(n), n, None).expect("room comes");
        n += 1;
    }
}

fn next(queue: Queue) -> u64 {
    get(arena(), queue, promised()).expect("one comes within the promised time")
}

pub fn consumers() -> Outcome {
    let mut run = Run::new("consumers");
    let words = run.words;
    let before = in_use();
    let (raw, queue) = make_queue(ROOM);
    let mut rival = Process::spawn(feed, (name_of(raw.object()), words, 0))?;
    let mut lost = 0;
    for who in 1..=DEATHS {
        let (process, inside) = run.kill_one(who, consume, name_of(raw.object()));
        let mut item = 0;
        run.others_go_on(|| {
            item = next(queue);
            true
        });
        let expected = words.get(RETURNED);
        let most = expected + u64::from(inside);
        assert!(
            (expected..=most).contains(&item),
            "{item} came, {expected} was to come"
        );
        lost += item - expected;
        words.set(RETURNED, item + 1);
        drop(process);
    }
    words.set(STOP, 1);
    while rival.is_alive()? {
        get(arena(), queue, Some(0));
    }
    rival.join()?;
    drop(raw);
    until("nothing is leaked", PROMISED, || in_use() == before);
    run.report("consumers");
    println!("consumers: {lost} items were in the hands of the {DEATHS} dead");
    Ok(())
}

// Holders: the lock is free or broken, and can be made whole.

fn hold((name, words, who): (Name, Words, u64)) {
    let (_lease, lock) = lock_of(name);
    begin(words, who);
    loop {
        words.set(INSIDE, 1);
        if lock.acquire(arena(), None, OnEnd::Stays) == Acquired::Yes {
            lock.release(arena(), false).expect("it is held");
        }
        words.set(INSIDE, 0);
    }
}

fn hold_too((name, words, _): (Name, Words, u64)) {
    let (_lease, lock) = lock_of(name);
    while words.get(STOP) == 0 {
        match lock.acquire(arena(), None, OnEnd::Stays) {
            Acquired::Yes => lock.release(arena(), true).expect("it is ours"),
            Acquired::Broken(_) => {
                words.set(BROKEN, words.get(BROKEN) + u64::from(lock.reset(arena())));
            }
            other => panic!("no limit of time is over: {other:?}"),
        }
        words.set(PASSED, words.get(PASSED) + 1);
    }
}

pub fn holders() -> Outcome {
    let mut run = Run::new("holders");
    let words = run.words;
    let before = in_use();
    let lock = Lock::new()?;
    let rival = Process::spawn(hold_too, (name_of(lock.object()), words, 0))?;
    for who in 1..=DEATHS {
        let (process, _) = run.kill_one(who, hold, name_of(lock.object()));
        let passed = words.get(PASSED);
        run.others_go_on(|| words.get(PASSED) >= passed + 3);
        drop(process);
    }
    words.set(STOP, 1);
    rival.join()?;
    let broken = words.get(BROKEN);
    drop(lock.acquire()?);
    drop(lock);
    until("nothing is leaked", PROMISED, || in_use() == before);
    run.report("holders");
    println!("holders: {broken} of the {DEATHS} died holding the lock");
    Ok(())
}
