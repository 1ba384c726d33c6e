//! Conditions between processes.

use crate::error::{Error, Kind, Result};
use crate::lock::{Lock, ReentrantGuard, ReentrantLock, retry};
use crate::object::{Object, deserialize};
use crate::time;
use procession_shm::condition as shm;
use procession_shm::object;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// The lock that belongs to a condition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Guarding {
    /// A plain lock.
    Lock(Lock),
    /// A reentrant lock.
    Reentrant(ReentrantLock),
}

impl Guarding {
    fn release_all(&self) -> Result<u64> {
        match self {
            Guarding::Lock(lock) => lock.release().map(|()| 1),
            Guarding::Reentrant(lock) => lock.release_all(),
        }
    }

    fn acquire_again(&self, depth: u64) -> Result<()> {
        match self {
            Guarding::Lock(lock) => retry(|| lock.acquire_until(None)).map(|_| ()),
            Guarding::Reentrant(lock) => {
                retry(|| lock.acquire_until(None))?;
                lock.set_depth(depth);
                Ok(())
            }
        }
    }

    /// Whether the calling thread holds it.
    pub fn is_held(&self) -> bool {
        match self {
            Guarding::Lock(lock) => lock.is_mine(),
            Guarding::Reentrant(lock) => lock.depth() > 0,
        }
    }
}

/// A condition: waiters let go one by one, oldest first, or all at once.
///
/// `notify(n)` lets exactly n go, and never those that were killed; the turn of one that is killed before it used it
/// passes to the next.
///
/// ```
/// use std::time::Duration;
/// let changed = procession::Condition::new()?;
/// let mut guard = changed.lock()?;
/// assert!(!changed.wait_timeout(&mut guard, Duration::from_millis(1))?);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Condition {
    object: Object,
    guarding: Guarding,
}

impl Condition {
    /// A new condition with a reentrant lock of its own.
    pub fn new() -> Result<Self> {
        Self::with_lock(Guarding::Reentrant(ReentrantLock::new()?))
    }

    /// A new condition that goes with this lock.
    pub fn with_lock(guarding: Guarding) -> Result<Self> {
        let object = Object::create(object::Kind::Condition, |arena, entry, body| {
            shm::Condition(body).init(arena, entry)
        })?;
        Ok(Self { object, guarding })
    }

    /// The condition that an object and a lock are.
    pub fn from_parts(object: Object, guarding: Guarding) -> Self {
        Self { object, guarding }
    }

    /// The object that it is, without the lock.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The lock that goes with it.
    pub fn guarding(&self) -> &Guarding {
        &self.guarding
    }

    fn shm(&self) -> shm::Condition {
        shm::Condition(self.object.body())
    }

    /// How many wait now, and are not notified yet.
    pub fn waiters(&self) -> u64 {
        self.shm().waiters(self.object.arena())
    }

    /// Acquires the condition's lock. An error if it was made with a plain lock: acquire that one.
    pub fn lock(&self) -> Result<ReentrantGuard<'_>> {
        match &self.guarding {
            Guarding::Reentrant(lock) => lock.acquire(),
            Guarding::Lock(_) => Err(Error::new(
                Kind::InvalidInput,
                "the condition was made with a plain lock; acquire that lock",
            )),
        }
    }

    /// Releases the lock, waits to be notified, acquires the lock again.
    pub fn wait(&self, guard: &mut ReentrantGuard<'_>) -> Result<()> {
        let _ = guard;
        self.waiting(None).map(|_| ())
    }

    /// As [`wait`](Self::wait), for `timeout` at most; says whether it was notified.
    pub fn wait_timeout(&self, guard: &mut ReentrantGuard<'_>, timeout: Duration) -> Result<bool> {
        let _ = guard;
        self.waiting(time::deadline(Some(timeout)))
    }

    fn waiting(&self, until: Option<u64>) -> Result<bool> {
        let mut waiting = self.enter()?;
        let notified = retry(|| waiting.wait(until));
        waiting.leave()?;
        notified
    }

    /// Enters as a waiter and releases the lock: for bindings, which look at signals between waits.
    pub fn enter(&self) -> Result<Waiting<'_>> {
        if !self.guarding.is_held() {
            return Err(Error::new(
                Kind::NotHeld,
                "wait() needs the condition's lock; acquire it first",
            ));
        }
        let arena = self.object.arena();
        let record = self.shm().enter(arena)?;
        match self.guarding.release_all() {
            Ok(depth) => Ok(Waiting {
                condition: self,
                record: Some(record),
                depth: Some(depth),
            }),
            Err(error) => {
                self.shm().leave(arena, record);
                Err(error)
            }
        }
    }

    /// Lets the `count` oldest waiters go; the lock must be held.
    pub fn notify(&self, count: u64) -> Result<u64> {
        if !self.guarding.is_held() {
            return Err(Error::new(
                Kind::NotHeld,
                "notify() needs the condition's lock; acquire it first",
            ));
        }
        Ok(self.shm().notify(self.object.arena(), count))
    }

    /// Lets all waiters go; the lock must be held.
    pub fn notify_all(&self) -> Result<u64> {
        self.notify(u64::MAX)
    }
}

/// A waiter of a [`Condition`] that has given up the lock. Dropped, it acquires it again.
pub struct Waiting<'a> {
    condition: &'a Condition,
    record: Option<shm::Record>,
    depth: Option<u64>,
}

impl Waiting<'_> {
    /// Waits until a deadline; `Interrupted` on a signal, after which it may be called again.
    pub fn wait(&mut self, until: Option<u64>) -> Result<bool> {
        let Some(record) = self.record else {
            return Ok(false);
        };
        let notified = self
            .condition
            .shm()
            .wait(self.condition.object.arena(), record, until)?;
        self.record = None;
        Ok(notified)
    }

    /// Acquires the lock again.
    pub fn leave(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(record) = self.record.take() {
            self.condition
                .shm()
                .leave(self.condition.object.arena(), record);
        }
        match self.depth.take() {
            Some(depth) => self.condition.guarding.acquire_again(depth),
            None => Ok(()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.object, &self.guarding).serialize(serializer)
    }
}

struct ConditionObject(Object);

impl<'de> Deserialize<'de> for ConditionObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, object::Kind::Condition).map(Self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (ConditionObject(object), guarding) = Deserialize::deserialize(deserializer)?;
        Ok(Self { object, guarding })
    }
}
