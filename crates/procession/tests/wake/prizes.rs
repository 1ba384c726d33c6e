//! What two processes wait for: each primitive that wakes.

use procession::object::Object;
use procession::pool::{Outcome, RawJob, RawPool, Worker};
use procession::queue::{Draft, RawQueue};
use procession::shm::barrier::{Arrival, Passed};
use procession::shm::job::{Job, Waited};
use procession::shm::lock::{Acquired, OnEnd, Status};
use procession::shm::object::Handle;
use procession::shm::{Owner, barrier, condition, event, lock, semaphore};
use procession::{Barrier, Condition, Event, Kind, Lock, ReentrantLock, Semaphore, time};

use crate::support::PROMISED;
use crate::support::shared::{Words, arena};

/// What became of the process that is killed or stopped.
pub struct Victim {
    pub owner: Owner,
    pub is_stopped: bool,
    /// It was killed, and what it left was settled.
    pub is_recovered: bool,
}

/// What two processes wait for, until a third one gives it.
pub trait Prize {
    /// Makes sure that whoever asks has to wait.
    fn withhold(&mut self);
    /// Waits for it: calls `begins` before it may sleep, and `had` as soon as it has it.
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn());
    /// Gives it to one, or to all: the wake. False if there was nothing to give.
    fn give(&mut self) -> bool;
    /// Whether there is something for the other to have.
    fn is_there(&self, victim: &Victim) -> bool;
    /// The lock that comes with it, which a stopped process keeps as any holder does.
    fn lock(&self) -> Option<lock::Lock> {
        None
    }
}

/// A prize's name, and how it is made.
type Row = (&'static str, fn() -> Box<dyn Prize>);

/// All of them.
pub const ALL: [Row; 11] = [
    ("lock", || Box::new(Plain(Lock::new().expect("room")))),
    ("reentrant_lock", || {
        Box::new(Reentrant(ReentrantLock::new().expect("room")))
    }),
    ("semaphore", || {
        Box::new(Permit(Semaphore::new(0).expect("room")))
    }),
    ("event", || Box::new(Set(Event::new().expect("room")))),
    ("notify", || Box::new(Notified::by(1))),
    ("notify_all", || Box::new(Notified::by(u64::MAX))),
    ("barrier", || {
        Box::new(Passage(Barrier::new(3).expect("room")))
    }),
    ("queue_get", || {
        Box::new(Item(RawQueue::new(0).expect("room")))
    }),
    ("queue_put", || {
        Box::new(Room(RawQueue::new(1).expect("room")))
    }),
    ("pool_worker", || Box::new(Element::new())),
    ("pool_caller", || Box::new(Answer::new())),
];

/// Calls until no signal came in between.
fn retry<T>(mut call: impl FnMut() -> procession::Result<T>) -> T {
    loop {
        match call() {
            Err(error) if error.kind() == Kind::Interrupted => {}
            done => return done.expect("what is waited for comes"),
        }
    }
}

fn kept_by(lock: lock::Lock, victim: &Victim) -> bool {
    victim.is_stopped && lock.status(arena()) == Status::Held(victim.owner)
}

fn have_lock(acquire: impl Fn() -> Acquired, release: impl Fn(), had: &dyn Fn()) {
    let acquired = loop {
        match acquire() {
            Acquired::Interrupted => {}
            acquired => break acquired,
        }
    };
    had();
    match acquired {
        Acquired::Yes => release(),
        Acquired::Broken(_) => {}
        other => panic!("no limit of time is over: {other:?}"),
    }
}

fn of(object: &Object) -> lock::Lock {
    lock::Lock(object.body())
}

fn have(lock: lock::Lock, had: &dyn Fn()) {
    let release = || lock.release(arena(), true).expect("it is held");
    have_lock(|| lock.acquire(arena(), None, OnEnd::Stays), release, had);
}

struct Plain(Lock);

impl Prize for Plain {
    fn withhold(&mut self) {
        let lock = of(self.0.object());
        lock.reset(arena());
        let acquired = lock.acquire(arena(), time::deadline(Some(PROMISED)), OnEnd::Stays);
        assert_eq!(acquired, Acquired::Yes);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        have(of(self.0.object()), had);
    }
    fn give(&mut self) -> bool {
        self.0.is_mine() && of(self.0.object()).release(arena(), true).is_ok()
    }
    fn is_there(&self, victim: &Victim) -> bool {
        !kept_by(of(self.0.object()), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(of(self.0.object()))
    }
}

struct Reentrant(ReentrantLock);

impl Reentrant {
    fn shm(&self) -> lock::ReentrantLock {
        lock::ReentrantLock(self.0.object().body())
    }
}

impl Prize for Reentrant {
    fn withhold(&mut self) {
        self.shm().lock().reset(arena());
        let acquired = self.shm().acquire(arena(), time::deadline(Some(PROMISED)));
        assert_eq!(acquired, Acquired::Yes);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        let lock = self.shm();
        let release = || lock.release(arena()).expect("it is held");
        have_lock(|| lock.acquire(arena(), None), release, had);
    }
    fn give(&mut self) -> bool {
        self.shm().depth(arena()) == 1 && self.shm().release(arena()).is_ok()
    }
    fn is_there(&self, victim: &Victim) -> bool {
        !kept_by(self.shm().lock(), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(self.shm().lock())
    }
}

struct Permit(Semaphore);

impl Prize for Permit {
    fn withhold(&mut self) {
        while self.0.try_acquire() {}
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.acquire_until(None));
        had();
    }
    fn give(&mut self) -> bool {
        semaphore::Semaphore(self.0.object().body())
            .release(arena())
            .is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        self.0.value() > 0
    }
}

struct Set(Event);

impl Prize for Set {
    fn withhold(&mut self) {
        self.0.clear();
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let sets = self.0.sets();
        begins();
        retry(|| self.0.wait_until(sets, None));
        had();
    }
    fn give(&mut self) -> bool {
        event::Event(self.0.object().body()).set(arena());
        true
    }
    fn is_there(&self, _: &Victim) -> bool {
        true
    }
}

/// The end of a wait for a condition, with its lock.
struct Notified {
    condition: Condition,
    lock: Lock,
    count: u64,
}

impl Notified {
    fn by(count: u64) -> Self {
        Self {
            condition: Condition::new().expect("room"),
            lock: Lock::new().expect("room"),
            count,
        }
    }
    fn shm(&self) -> condition::Condition {
        condition::Condition(self.condition.object().body())
    }
}

impl Prize for Notified {
    fn withhold(&mut self) {
        of(self.lock.object()).reset(arena());
        assert!(!self.shm().has_waiters(arena()) && !self.lock.is_locked());
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let lock = of(self.lock.object());
        assert_eq!(lock.acquire(arena(), None, OnEnd::Stays), Acquired::Yes);
        let record = self.shm().enter(arena()).expect("room");
        lock.release(arena(), true).expect("it is held");
        begins();
        while self.shm().wait(arena(), record, None) != Ok(true) {}
        have(lock, had);
    }
    fn give(&mut self) -> bool {
        self.shm().notify(arena(), self.count) > 0
    }
    fn is_there(&self, victim: &Victim) -> bool {
        // A dead one's turn passes on when it is recovered, unless it was used.
        let passes = !victim.is_stopped && !victim.is_recovered;
        let marked = passes || !self.shm().has_waiters(arena());
        marked && !kept_by(of(self.lock.object()), victim)
    }
    fn lock(&self) -> Option<lock::Lock> {
        Some(of(self.lock.object()))
    }
}

struct Passage(Barrier);

impl Passage {
    fn shm(&self) -> barrier::Barrier {
        barrier::Barrier(self.0.object().body())
    }
}

impl Prize for Passage {
    fn withhold(&mut self) {
        assert!(!self.0.is_broken() && self.0.waiting() == 0);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let Ok(Some(Arrival::Wait { ticket, .. })) = self.shm().arrive(arena(), None) else {
            panic!("the third one is to come");
        };
        begins();
        let passed = loop {
            if let Ok(passed) = self.shm().wait(arena(), ticket, None) {
                break passed;
            }
        };
        assert_eq!(passed, Passed::Yes);
        had();
    }
    fn give(&mut self) -> bool {
        let arrival = self.shm().arrive(arena(), Some(0));
        let last = matches!(arrival, Ok(Some(Arrival::Last { .. })));
        last && self.shm().open(arena()) == Passed::Yes
    }
    fn is_there(&self, _: &Victim) -> bool {
        true
    }
}

struct Item(RawQueue);

fn drain(queue: &RawQueue) {
    while queue.get(Some(0), || false).is_ok() {}
}

impl Prize for Item {
    fn withhold(&mut self) {
        drain(&self.0);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.get(None, || false));
        had();
    }
    fn give(&mut self) -> bool {
        self.0.put_inline(1, b"item", Some(0)).is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        !self.0.is_empty()
    }
}

/// Room in a bounded queue.
struct Room(RawQueue);

impl Prize for Room {
    fn withhold(&mut self) {
        drain(&self.0);
        let filled = self.0.put_inline(1, b"item", Some(0));
        filled.expect("it was drained");
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.put_inline(1, b"item", None));
        had();
    }
    fn give(&mut self) -> bool {
        self.0.get(Some(0), || false).is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        !self.0.is_full()
    }
}

fn submit(pool: &RawPool) -> RawJob {
    let call = Draft::new(arena(), 1, 4, &[], 0).expect("room");
    call.write(b"call");
    pool.submit(call, 1, false).expect("it is open")
}

/// An element of a job, for workers.
struct Element {
    pool: RawPool,
    jobs: Vec<RawJob>,
    worker: Option<Worker>,
}

impl Element {
    fn new() -> Self {
        Self {
            pool: RawPool::new(2).expect("room"),
            jobs: Vec::new(),
            worker: None,
        }
    }

    fn worker(&mut self) -> &mut Worker {
        let pool = &self.pool;
        self.worker
            .get_or_insert_with(|| Worker::new(pool.clone()).expect("it is open"))
    }
}

impl Prize for Element {
    fn withhold(&mut self) {
        let worker = self.worker();
        while worker.next(Some(0)).is_ok() {
            worker.settle(1, b"done").expect("it fits");
        }
        self.jobs.clear();
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        if self.worker.as_ref().is_some_and(|worker| !worker.is_mine()) {
            // Its parent's, as all that was forked along.
            self.worker = None;
        }
        let worker = self.worker();
        begins();
        assert!(retry(|| worker.next(None)), "the pool is open");
        had();
        worker.settle(1, b"done").expect("it fits");
    }
    fn give(&mut self) -> bool {
        self.jobs.push(submit(&self.pool));
        true
    }
    fn is_there(&self, _: &Victim) -> bool {
        let newest = self.jobs.last();
        newest.is_some_and(|job| job.outcome(0) == Outcome::Free)
    }
}

/// The result of a task, for those who called.
struct Answer {
    pool: RawPool,
    job: Option<RawJob>,
    worker: Option<Worker>,
    words: Words,
}

// Words by which callers are told which job.
const ID: u64 = 0;
const GENERATION: u64 = 1;

impl Answer {
    fn new() -> Self {
        Self {
            pool: RawPool::new(1).expect("room"),
            job: None,
            worker: None,
            words: Words::new(),
        }
    }
}

impl Prize for Answer {
    fn withhold(&mut self) {
        self.job = Some(submit(&self.pool));
        let pool = &self.pool;
        let worker = self
            .worker
            .get_or_insert_with(|| Worker::new(pool.clone()).expect("it is open"));
        assert!(worker.next(Some(0)).is_ok_and(|taken| taken));
        let Handle { id, generation } = worker.job().expect("just taken");
        self.words.set(ID, id);
        self.words.set(GENERATION, generation);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        let (id, generation) = (self.words.get(ID), self.words.get(GENERATION));
        let job = Job::of(arena(), Handle { id, generation }).expect("its owner keeps it");
        begins();
        while job.wait(arena(), 0, None, || false) != Ok(Waited::Settled) {}
        had();
    }
    fn give(&mut self) -> bool {
        let worker = self.worker.as_mut().expect("it has taken the element");
        worker.settle(1, b"done").is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        true
    }
}
