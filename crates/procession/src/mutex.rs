//! A mutex over plain data that processes share.

use crate::error::Result;
use crate::lock::{retry, settle};
use crate::object::{Object, deserialize};
use crate::time;
use procession_shm::lock::{Lock, OnEnd};
use procession_shm::tag::{Holds, Tag};
use procession_shm::{World, heap, object};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// Data that means the same in every process: no pointers, no padding, valid in any bits, so that what a killed
/// process has half-written is a value still. Numbers, arrays of them, and what derives [`bytemuck::Pod`].
pub trait PlainData: bytemuck::Pod + Send {}

impl<T: bytemuck::Pod + Send> PlainData for T {}

/// A lock and the bytes that it guards.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    object: Object,
}

impl Guarded {
    /// Guards a copy of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let len = bytes.len() as u64;
        let object = Object::create(object::Kind::Mutex, |arena, entry, body| {
            let block = heap::alloc_len(arena, len.max(1))?;
            arena.write(block, bytes);
            arena.store(body + object::BODY_LEN, len);
            arena.store(body + object::BODY_BLOCK, block);
            heap::set_tag(arena, block, Tag::Shared(entry, Holds::Bytes));
            Ok(())
        })?;
        Ok(Self { object })
    }

    fn lock_word(&self) -> Lock {
        Lock(self.object.body())
    }

    /// Whether it could be locked before a deadline of [`crate::time::deadline`].
    pub fn lock(&self, until: Option<u64>) -> Result<bool> {
        let arena = self.object.arena();
        retry(|| settle(self.lock_word().acquire(arena, until, OnEnd::Breaks)))
    }

    /// Releases what the caller holds.
    pub fn unlock(&self) {
        let _ = self.lock_word().release(self.object.arena(), true);
    }

    pub fn reset(&self) -> bool {
        self.lock_word().reset(self.object.arena())
    }

    /// The bytes, aligned to 64, and how many.
    pub fn bytes(&self) -> (*mut u8, usize) {
        let arena = self.object.arena();
        let block = self.object.word(object::BODY_BLOCK);
        let len = self.object.word(object::BODY_LEN);
        let len = len.min(heap::capacity(arena, block));
        (arena.bytes(block, len), len as usize)
    }

    pub fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        fits: impl FnOnce(usize) -> bool,
    ) -> Result<Self, D::Error> {
        let object = deserialize(deserializer, object::Kind::Mutex)?;
        let guarded = Self { object };
        if fits(guarded.bytes().1) {
            return Ok(guarded);
        }
        Err(serde::de::Error::custom(
            "the lock guards data of another type",
        ))
    }
}

/// Fails to compile for data that the arena can't align.
pub(crate) const fn check_alignment<T>() {
    assert!(
        align_of::<T>() <= 64,
        "data aligned to more than 64 bytes can't be shared"
    );
}

/// Plain data in shared memory, behind a lock. A holder that is killed leaves it broken: see [`crate::Lock`].
///
/// ```
/// let total = procession::Mutex::new(40_u64)?;
/// *total.lock()? += 2;
/// assert_eq!(*total.lock()?, 42);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct Mutex<T: PlainData> {
    guarded: Guarded,
    data: PhantomData<T>,
}

impl<T: PlainData> Mutex<T> {
    /// A mutex over `value`.
    pub fn new(value: T) -> Result<Self> {
        const { check_alignment::<T>() };
        Ok(Self {
            guarded: Guarded::new(bytemuck::bytes_of(&value))?,
            data: PhantomData,
        })
    }

    /// Locks it; waits as long as it takes.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.guard(None)
            .map(|guard| guard.expect("without a limit of time it is locked, or an error"))
    }

    /// Locks it if that is possible within `timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<MutexGuard<'_, T>>> {
        self.guard(time::deadline(Some(timeout)))
    }

    fn guard(&self, until: Option<u64>) -> Result<Option<MutexGuard<'_, T>>> {
        let locked = self.guarded.lock(until)?;
        Ok(locked.then(|| MutexGuard { mutex: self }))
    }

    /// Makes a broken mutex usable again, with the data as the dead holder left it.
    pub fn reset(&self) -> bool {
        self.guarded.reset()
    }

    fn data(&self) -> *mut T {
        self.guarded.bytes().0.cast()
    }
}

impl<T: PlainData> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
            data: PhantomData,
        }
    }
}

impl<T: PlainData> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.guarded.serialize(serializer)
    }
}

impl<'de, T: PlainData> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            guarded: Guarded::deserialize(deserializer, |len| len == size_of::<T>())?,
            data: PhantomData,
        })
    }
}

/// The data of a [`Mutex`], locked until this is dropped.
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: PlainData> {
    mutex: &'a Mutex<T>,
}

impl<T: PlainData> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, so nobody writes; any bytes are a valid T.
        unsafe { &*self.mutex.data() }
    }
}

impl<T: PlainData> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, so nobody else reads or writes; any bytes are a valid T.
        unsafe { &mut *self.mutex.data() }
    }
}

impl<T: PlainData> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.guarded.unlock();
    }
}
