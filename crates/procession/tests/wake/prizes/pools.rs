//! What a pool's workers and its callers wait for.

use procession::pool::{Outcome, RawJob, RawPool, Worker};
use procession::queue::Draft;
use procession::shm::job::{Job, Waited};
use procession::shm::object::Handle;

use super::{Prize, Victim, retry};
use crate::support::shared::{Words, arena};

fn submit(pool: &RawPool) -> RawJob {
    let call = Draft::new(arena(), 1, 4, &[], 0).expect("room");
    call.write(b"call");
    pool.submit(call, 1, false).expect("it is open")
}

/// An element of a job, for workers.
pub struct Element {
    pool: RawPool,
    jobs: Vec<RawJob>,
    worker: Option<Worker>,
}

impl Element {
    pub fn new() -> Self {
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
pub struct Answer {
    pool: RawPool,
    job: Option<RawJob>,
    worker: Option<Worker>,
    words: Words,
}

// Words by which callers are told which job.
const ID: u64 = 0;
const GENERATION: u64 = 1;

impl Answer {
    pub fn new() -> Self {
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
