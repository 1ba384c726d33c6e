//! Barriers between processes.

use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::object::{Object, travels};
use crate::time;
use procession_shm::barrier::{self as shm, Arrival, Passed};
use procession_shm::object;
use std::time::Duration;

/// A point that a fixed number of threads pass together.
///
/// A wait that times out breaks it for all, as does the death of the process that runs the action;
/// then every wait is an error of kind [`Kind::BrokenBarrier`] until [`reset`](Barrier::reset).
///
/// ```
/// let alone = procession::Barrier::new(1)?;
/// assert!(alone.wait()?.is_leader());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    object: Object,
}

travels!(Barrier, object::Kind::Barrier);

/// What a wait returns: which arrival it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierWaitResult {
    /// 0 to parties - 1, each once.
    pub index: u64,
    leader: bool,
}

impl BarrierWaitResult {
    /// True for one of those who passed together: the last to arrive.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

impl Barrier {
    /// A barrier for this many parties.
    pub fn new(parties: u64) -> Result<Self> {
        if parties == 0 || parties > shm::MAX_PARTIES {
            let max = shm::MAX_PARTIES;
            return Err(Error::new(
                Kind::InvalidInput,
                format!("a barrier has 1 to {max} parties; got {parties}"),
            ));
        }
        let object = Object::create(object::Kind::Barrier, |arena, _, body| {
            shm::Barrier(body).init(arena, parties);
            Ok(())
        })?;
        Ok(Self { object })
    }

    /// The barrier that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    fn shm(&self) -> shm::Barrier {
        shm::Barrier(self.object.body())
    }

    /// How many pass together.
    pub fn parties(&self) -> u64 {
        self.shm().parties(self.object.arena())
    }

    /// How many wait now.
    pub fn waiting(&self) -> u64 {
        self.shm().waiting(self.object.arena())
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.shm().is_broken(self.object.arena())
    }

    /// Breaks it for all.
    pub fn abort(&self) {
        self.shm().abort(self.object.arena());
    }

    /// Makes it whole and empty; those who wait are told that it broke.
    pub fn reset(&self) {
        self.shm().reset(self.object.arena());
    }

    /// Waits until all have arrived.
    pub fn wait(&self) -> Result<BarrierWaitResult> {
        self.wait_with(None, || Ok(()))
    }

    /// As [`wait`](Self::wait), for `timeout` at most.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult> {
        self.wait_with(time::deadline(Some(timeout)), || Ok(()))
    }

    /// As [`wait`](Self::wait); the last to arrive runs `action` before anybody passes. An error of it breaks the barrier.
    pub fn wait_with(
        &self,
        until: Option<u64>,
        action: impl FnOnce() -> Result<()>,
    ) -> Result<BarrierWaitResult> {
        match retry(|| self.arrive(until))? {
            Arrival::Broken => Err(broken()),
            Arrival::Wait { ticket, index } => {
                match retry(|| Ok(self.shm().wait(self.object.arena(), ticket, until)?))? {
                    Passed::Yes => Ok(BarrierWaitResult {
                        index,
                        leader: false,
                    }),
                    Passed::Broken => Err(broken()),
                }
            }
            Arrival::Last { index } => {
                action().inspect_err(|_| self.abort())?;
                self.open()?;
                Ok(BarrierWaitResult {
                    index,
                    leader: true,
                })
            }
        }
    }

    /// Arrives: the first half of a wait, for bindings.
    pub fn arrive(&self, until: Option<u64>) -> Result<Arrival> {
        match self.shm().arrive(self.object.arena(), until)? {
            Some(arrival) => Ok(arrival),
            None => {
                self.abort();
                Ok(Arrival::Broken)
            }
        }
    }

    /// Waits for the others: the second half of a wait, for bindings.
    pub fn wait_until(&self, ticket: u64, until: Option<u64>) -> Result<()> {
        match self.shm().wait(self.object.arena(), ticket, until)? {
            Passed::Yes => Ok(()),
            Passed::Broken => Err(broken()),
        }
    }

    /// Opens it: what the last to arrive does after its action, for bindings.
    pub fn open(&self) -> Result<()> {
        match self.shm().open(self.object.arena()) {
            Passed::Yes => Ok(()),
            Passed::Broken => Err(broken()),
        }
    }
}

/// The error of a broken barrier.
pub fn broken() -> Error {
    Error::new(
        Kind::BrokenBarrier,
        "the barrier is broken: a wait timed out, it was aborted or reset, or the process that ran its action died; reset() makes it whole",
    )
}
