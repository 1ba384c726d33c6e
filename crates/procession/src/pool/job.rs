//! A job of a pool, as those see it who wait for its results.

use super::RawPool;
use crate::arena::Arena;
use crate::error::Result;
use crate::object::Object;
use crate::queue::Draft;
use crate::time;
use procession_shm::job::{self, Job, Lent, Outcome, Waited};
use procession_shm::object::Kind;
use procession_shm::pool::NotSubmitted;

/// A round of waiting: who waits for long looks after the pool between two.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    looked: bool,
    end: Option<u64>,
}

impl Round {
    /// The first round of a wait, in which nobody has looked after the pool yet.
    pub fn first() -> Self {
        Self {
            looked: false,
            end: time::deadline(Some(super::LOOK_AFTER)),
        }
    }

    /// A round after the caller has looked after the pool.
    pub fn looked() -> Self {
        Self {
            looked: true,
            ..Self::first()
        }
    }
}

/// What a wait for elements found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// They are done, or lost.
    Settled,
    /// The time is over.
    TimedOut,
    /// They are not, and the pool's end came first: see [`RawPool::state`].
    Over,
    /// They are not, and nobody keeps the pool's workers any more, or yet: see [`super::Keeper`].
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

    /// Waits for an element, or for all if `index` is `None`, until `until`. Waiting for all it sleeps on the last one that
    /// is not settled, so it is woken a few times at most.
    ///
    /// [`Found::Abandoned`] tells the caller to look after the pool, and to wait again with a `round` begun anew; it is
    /// told again after 50 ms if the pool has no keeper still.
    pub fn wait(&self, index: Option<u64>, until: Option<u64>, round: Round) -> Result<Found> {
        let found = self.wait_while_kept(index, until, round)?;
        Ok(match found {
            Waited::Settled => Found::Settled,
            Waited::Over if self.pool.state() >= super::State::Ended => Found::Over,
            Waited::TimedOut if until.is_some_and(|until| until <= time::now()) => Found::TimedOut,
            Waited::Over | Waited::TimedOut => Found::Abandoned,
        })
    }

    fn wait_while_kept(
        &self,
        index: Option<u64>,
        until: Option<u64>,
        round: Round,
    ) -> Result<Waited> {
        let gone = self.pool.is_abandoned();
        if self.pool.has_keeper() && !(gone && round.looked) {
            return self.wait_unless(index, until, &|| self.pool.is_over());
        }
        let end = [until, round.end].into_iter().flatten().min();
        self.wait_unless(index, end, &|| self.pool.state() >= super::State::Ended)
    }

    fn wait_unless(
        &self,
        index: Option<u64>,
        until: Option<u64>,
        over: &dyn Fn() -> bool,
    ) -> Result<Waited> {
        let arena = self.arena();
        if let Some(index) = index {
            return Ok(self.job.wait(arena, index, until, over)?);
        }
        let mut end = self.count();
        while let Some(last) = self.job.last_unsettled(arena, end) {
            match self.job.wait(arena, last, until, over)? {
                Waited::Settled => end = last,
                other => return Ok(other),
            }
        }
        Ok(Waited::Settled)
    }
}

/// Results of up to so many bytes stand in the element's cell.
pub const INLINE: usize = job::INLINE;
