//! Events between processes.

use crate::error::Result;
use crate::lock::retry;
use crate::object::{Object, travels};
use crate::time;
use procession_shm::event as shm;
use procession_shm::object::Kind;
use std::time::Duration;

/// Set or not; one process sets it, others wait for it. `set` never waits for a sleeper, and the
/// death or stop of any process that waits disturbs nobody.
///
/// ```
/// let ready = procession::Event::new()?;
/// assert!(!ready.is_set());
/// ready.set();
/// ready.wait();
/// ready.clear();
/// assert!(!ready.wait_timeout(std::time::Duration::from_millis(1)));
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    object: Object,
}

travels!(Event, Kind::Event);

impl Event {
    /// A new event, not set.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(Kind::Event, |_, _, _| Ok(()))?,
        })
    }

    /// The event that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    fn shm(&self) -> shm::Event {
        shm::Event(self.object.body())
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.shm().is_set(self.object.arena())
    }

    /// Sets it and wakes all who wait.
    #[inline]
    pub fn set(&self) {
        self.shm().set(self.object.arena());
    }

    /// Clears it.
    #[inline]
    pub fn clear(&self) {
        self.shm().clear(self.object.arena());
    }

    /// Waits until it is set. An event that is set and cleared at once lets go all who waited.
    pub fn wait(&self) {
        let sets = self.sets();
        let _ = retry(|| self.wait_until(sets, None));
    }

    /// Waits until it is set, for `timeout` at most; says whether it was.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let (sets, until) = (self.sets(), time::deadline(Some(timeout)));
        retry(|| self.wait_until(sets, until)) == Ok(true)
    }

    /// How often it was set so far: for [`wait_until`](Self::wait_until).
    pub fn sets(&self) -> u64 {
        self.shm().sets(self.object.arena())
    }

    /// Waits until it is set, or was set since `sets` was asked for: for bindings.
    pub fn wait_until(&self, sets: u64, until: Option<u64>) -> Result<bool> {
        Ok(self.shm().wait(self.object.arena(), sets, until)?)
    }
}
