//! A job of a pool, as those see it who wait for its results.

use super::RawPool;
use crate::arena::Arena;
use crate::error::Result;
use crate::object::Object;
use crate::queue::Draft;
use procession_shm::job::{self, Job, Lent, Outcome, Waited};
use procession_shm::object::Kind;
use procession_shm::pool::NotSubmitted;

/// What a wait for elements found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// They are done, or lost.
    Settled,
    /// The time is over.
    TimedOut,
    /// They are not, and the pool's end came first: see [`RawPool::state`].
    Over,
    /// They are not, and nobody keeps the pool's workers any more: see [`super::Keeper`].
    Abandoned,
}

/// A job that was submitted, with a lease on it and on its pool.
#[derive(Debug)]
pub struct RawJob {
    object: Object,
    pool: RawPool,
    job: Job,
}

impl RawJob {
    pub(super) fn submit(pool: &RawPool, call: Draft, count: u64, asks: bool) -> Result<Self> {
        let arena = pool.arena();
        let handle = Job::create(arena, count, asks, call.into_inner())?;
        let object = Object::adopt(handle, Kind::Job)?;
        let job = Job::of(arena, handle)?;
        if count > 0 {
            pool.shm().submit(arena, handle).map_err(|why| match why {
                NotSubmitted::NotOpen(state) => super::not_open(state),
                NotSubmitted::OutOfMemory(error) => error.into(),
            })?;
        }
        Ok(Self {
            object,
            pool: pool.clone(),
            job,
        })
    }

    fn arena(&self) -> &'static Arena {
        self.object.arena()
    }

    /// How many elements it has.
    pub fn count(&self) -> u64 {
        self.job.count(self.arena())
    }

    /// The pool that it is of.
    pub fn pool(&self) -> &RawPool {
        &self.pool
    }

    /// Whether an element is done or lost.
    pub fn is_settled(&self, index: u64) -> bool {
        self.job.is_settled(self.arena(), index)
    }

    /// Whether every element is done or lost.
    pub fn is_done(&self) -> bool {
        self.job
            .last_unsettled(self.arena(), self.count())
            .is_none()
    }

    /// When an element was settled last, in nanoseconds of the monotonic clock, if the job asks for it.
    pub fn settled_at(&self) -> u64 {
        self.job.settled_at(self.arena())
    }

    /// What is known of an element.
    pub fn outcome(&self, index: u64) -> Outcome {
        self.job.outcome(self.arena(), index)
    }

    /// The message of an element that is done with one: see [`Outcome::Block`].
    pub fn message(&self, block: u64) -> Lent<'static, Arena> {
        self.job.result(self.arena(), block)
    }

    /// Waits for an element until `until`.
    pub fn wait_one(&self, index: u64, until: Option<u64>) -> Result<Found> {
        let over = || self.pool.is_over();
        let waited = self.job.wait(self.arena(), index, until, over)?;
        Ok(match waited {
            Waited::Settled => Found::Settled,
            Waited::TimedOut => Found::TimedOut,
            Waited::Over if self.pool.state() >= super::State::Ended => Found::Over,
            Waited::Over => Found::Abandoned,
        })
    }

    /// Waits for all elements until `until`. It sleeps on the last one that is not settled, so it is woken a few times at most.
    pub fn wait_all(&self, until: Option<u64>) -> Result<Found> {
        let mut end = self.count();
        while let Some(last) = self.job.last_unsettled(self.arena(), end) {
            match self.wait_one(last, until)? {
                Found::Settled => end = last,
                other => return Ok(other),
            }
        }
        Ok(Found::Settled)
    }
}

/// Results of up to so many bytes stand in the element's cell.
pub const INLINE: usize = job::INLINE;
