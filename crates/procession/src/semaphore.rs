//! Semaphores between processes.

use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::object::{Object, travels};
use crate::time;
use procession_shm::object;
use procession_shm::semaphore as shm;
use std::time::Duration;

/// A counter that is never below zero. A permit that a killed process took is not given back: a
/// semaphore has no holders.
///
/// ```
/// let slots = procession::Semaphore::new(1)?;
/// assert!(slots.try_acquire());
/// assert!(!slots.try_acquire());
/// slots.release()?;
/// assert_eq!(slots.value(), 1);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    object: Object,
}

travels!(Semaphore, object::Kind::Semaphore);

impl Semaphore {
    /// A new semaphore with `value` permits.
    pub fn new(value: u64) -> Result<Self> {
        Self::with_bound(value, None)
    }

    fn with_bound(value: u64, bound: Option<u64>) -> Result<Self> {
        if value > shm::MAX_VALUE {
            let max = shm::MAX_VALUE;
            return Err(Error::new(
                Kind::InvalidInput,
                format!("a semaphore's value is at most {max}; got {value}"),
            ));
        }
        let object = Object::create(object::Kind::Semaphore, |arena, _, body| {
            shm::Semaphore(body).init(arena, value, bound);
            Ok(())
        })?;
        Ok(Self { object })
    }

    /// The semaphore that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    fn shm(&self) -> shm::Semaphore {
        shm::Semaphore(self.object.body())
    }

    /// The number of permits.
    pub fn value(&self) -> u64 {
        self.shm().value(self.object.arena())
    }

    /// What the number of permits never passes, if it is bounded.
    pub fn bound(&self) -> Option<u64> {
        self.shm().bound(self.object.arena())
    }

    /// Takes a permit; waits as long as it takes.
    pub fn acquire(&self) {
        let _ = retry(|| self.acquire_until(None));
    }

    /// Takes a permit if there is one within `timeout`.
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        let until = time::deadline(Some(timeout));
        retry(|| self.acquire_until(until)) == Ok(true)
    }

    /// Takes a permit if there is one now.
    pub fn try_acquire(&self) -> bool {
        self.shm().try_acquire(self.object.arena())
    }

    /// As [`crate::Lock::acquire_until`].
    #[inline]
    pub fn acquire_until(&self, until: Option<u64>) -> Result<bool> {
        Ok(self.shm().acquire(self.object.arena(), until)?)
    }

    /// Gives a permit back, or adds one. An error if the value would pass its bound.
    #[inline]
    pub fn release(&self) -> Result<()> {
        self.shm()
            .release(self.object.arena())
            .map_err(|shm::AboveBound| {
                Error::new(Kind::NotHeld, "semaphore or lock released too many times")
            })
    }
}

/// A semaphore whose value never passes what it was made with.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct BoundedSemaphore(Semaphore);

impl BoundedSemaphore {
    /// A new semaphore with `value` permits, and never more.
    pub fn new(value: u64) -> Result<Self> {
        Semaphore::with_bound(value, Some(value)).map(Self)
    }
}

impl std::ops::Deref for BoundedSemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        &self.0
    }
}
