//! Locks between processes that notice their holder's death.

use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::object::{Object, travels};
use crate::sys::process;
use crate::time;
use procession_shm::lock::{self as shm, Acquired, NotReleased, OnEnd, Status};
use procession_shm::object;
use procession_shm::slot::{self, Ids};
use std::time::Duration;

/// A lock between processes. Not reentrant; any thread of any process may release it.
///
/// If the holder is *killed*, the lock is broken: every acquire returns an error of kind [`Kind::BrokenLock`] that
/// names it, until [`reset`](Lock::reset). If the holder's process *returned* without a release, the lock stays
/// locked, as it does while the holder is stopped.
///
/// ```
/// let lock = procession::Lock::new()?;
/// {
///     let _guard = lock.acquire()?;
///     assert!(lock.try_acquire()?.is_none());
/// }
/// assert!(lock.try_acquire()?.is_some());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    object: Object,
}

travels!(Lock, object::Kind::Lock);

impl Lock {
    /// A new lock, free.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(object::Kind::Lock, |_, _, _| Ok(()))?,
        })
    }

    /// The lock that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    fn shm(&self) -> shm::Lock {
        shm::Lock(self.object.body())
    }

    /// Acquires the lock; waits as long as it takes.
    pub fn acquire(&self) -> Result<LockGuard<'_>> {
        guard(self, None)
            .map(|guard| guard.expect("without a limit of time it is acquired, or an error"))
    }

    /// Acquires the lock if it gets free within `timeout`.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>> {
        guard(self, time::deadline(Some(timeout)))
    }

    /// Acquires the lock if it is free now.
    pub fn try_acquire(&self) -> Result<Option<LockGuard<'_>>> {
        guard(self, Some(0))
    }

    /// Whether somebody holds it.
    pub fn is_locked(&self) -> bool {
        self.shm().status(self.object.arena()) != Status::Free
    }

    /// Whether the calling thread holds it.
    pub fn is_mine(&self) -> bool {
        let arena = self.object.arena();
        self.shm().status(arena) == Status::Held(procession_shm::World::me(arena))
    }

    /// Whether a thread of the calling process holds it.
    pub fn is_held_here(&self) -> bool {
        is_held_here(self.object.arena(), self.shm())
    }

    /// Makes a broken lock free again, once what it protects has been looked at. Says whether it was broken.
    pub fn reset(&self) -> bool {
        self.shm().reset(self.object.arena())
    }

    /// Acquires without a guard if it is free now: for bindings.
    #[inline]
    pub fn acquire_now(&self) -> bool {
        self.shm().try_acquire(self.object.arena())
    }

    /// Releases without a guard if it is held and nobody waits for it.
    #[inline]
    pub fn release_now(&self) -> bool {
        self.shm().try_release(self.object.arena())
    }

    /// Acquires without a guard, until a deadline of [`crate::time::deadline`]: for bindings.
    /// An error of kind [`Kind::Interrupted`] says that a signal came.
    #[inline]
    pub fn acquire_until(&self, until: Option<u64>) -> Result<bool> {
        let arena = self.object.arena();
        settle(self.shm().acquire(arena, until, OnEnd::Stays))
    }

    /// Releases without a guard, whoever holds it.
    #[inline]
    pub fn release(&self) -> Result<()> {
        let arena = self.object.arena();
        self.shm().release(arena, false).map_err(not_released)
    }
}

fn is_held_here(arena: &Arena, lock: shm::Lock) -> bool {
    match lock.status(arena) {
        Status::Held(owner) => slot::ids(arena, owner).pid == process::pid(),
        _ => false,
    }
}

fn guard(lock: &Lock, until: Option<u64>) -> Result<Option<LockGuard<'_>>> {
    retry(|| lock.acquire_until(until)).map(|acquired| acquired.then(|| LockGuard { lock }))
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == Kind::Interrupted => {}
            done => return done,
        }
    }
}

/// Holds a [`Lock`]; releases it when dropped.
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // Somebody else may have released it: that is allowed, and no error of ours.
        let _ = self.lock.release();
    }
}

/// A lock that its holder may acquire again, to be released as often.
///
/// If the holder ends in any way, the lock is broken: nobody else could release it.
#[derive(Clone, Debug)]
pub struct ReentrantLock {
    object: Object,
}

travels!(ReentrantLock, object::Kind::ReentrantLock);

impl ReentrantLock {
    /// A new lock, free.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(object::Kind::ReentrantLock, |_, _, _| Ok(()))?,
        })
    }

    /// The lock that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    #[inline]
    fn shm(&self) -> shm::ReentrantLock {
        shm::ReentrantLock(self.object.body())
    }

    /// How often the calling thread holds it.
    pub fn depth(&self) -> u64 {
        self.shm().depth(self.object.arena())
    }

    /// Whether somebody holds it.
    pub fn is_locked(&self) -> bool {
        self.shm().lock().status(self.object.arena()) != Status::Free
    }

    /// As [`Lock::is_held_here`].
    pub fn is_held_here(&self) -> bool {
        is_held_here(self.object.arena(), self.shm().lock())
    }

    /// Acquires the lock once more; waits as long as it takes.
    pub fn acquire(&self) -> Result<ReentrantGuard<'_>> {
        retry(|| self.acquire_until(None))?;
        Ok(ReentrantGuard { lock: self })
    }

    /// Acquires the lock once more if that is possible within `timeout`.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ReentrantGuard<'_>>> {
        let until = time::deadline(Some(timeout));
        Ok(retry(|| self.acquire_until(until))?.then(|| ReentrantGuard { lock: self }))
    }

    /// As [`Lock::reset`].
    pub fn reset(&self) -> bool {
        self.shm().lock().reset(self.object.arena())
    }

    /// As [`Lock::acquire_until`].
    #[inline]
    pub fn acquire_until(&self, until: Option<u64>) -> Result<bool> {
        let arena = self.object.arena();
        settle(self.shm().acquire(arena, until))
    }

    /// Releases once; an error of kind [`Kind::NotHeld`] if the caller does not hold it.
    #[inline]
    pub fn release(&self) -> Result<()> {
        let arena = self.object.arena();
        self.shm().release(arena).map_err(not_released)
    }

    /// Releases altogether, and says how often it was held: what a condition does.
    pub(crate) fn release_all(&self) -> Result<u64> {
        let arena = self.object.arena();
        self.shm().release_all(arena).map_err(not_released)
    }

    pub(crate) fn set_depth(&self, depth: u64) {
        self.shm().set_depth(self.object.arena(), depth);
    }
}

/// Holds a [`ReentrantLock`] once; releases it once when dropped.
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct ReentrantGuard<'a> {
    lock: &'a ReentrantLock,
}

impl Drop for ReentrantGuard<'_> {
    fn drop(&mut self) {
        let _ = self.lock.release();
    }
}

pub(crate) fn settle(acquired: Acquired) -> Result<bool> {
    match acquired {
        Acquired::Yes => Ok(true),
        Acquired::TimedOut => Ok(false),
        Acquired::Interrupted => Err(procession_shm::Interrupted.into()),
        Acquired::Broken(dead) => Err(broken(dead)),
    }
}

fn broken(Ids { pid, tid }: Ids) -> Error {
    Error::of_death(
        Kind::BrokenLock,
        format!(
            "the lock's holder (process {pid}, thread {tid}) died holding it; look at what it protects, then call reset()"
        ),
        pid,
    )
}

fn not_released(why: NotReleased) -> Error {
    match why {
        NotReleased::NotHeld => Error::new(
            Kind::NotHeld,
            "release of a lock that nobody holds; acquire it first",
        ),
        NotReleased::NotOwner => Error::new(
            Kind::NotHeld,
            "release of a reentrant lock that another thread holds; only its holder may",
        ),
        NotReleased::Broken(dead) => broken(dead),
    }
}
