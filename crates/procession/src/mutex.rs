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

/// Data that means the same in every process: no pointers, no padding that matters, valid in any bits.
///
/// # Safety
/// Any bytes that another process, or a half-finished write of a killed one, left there are a valid
/// value of the type, and its meaning does not depend on the process.
pub unsafe trait PlainData: Copy + Send + 'static {}

macro_rules! plain {
    ($($type:ty)*) => {$(
        // SAFETY: numbers are valid in any bits and mean the same everywhere.
        unsafe impl PlainData for $type {}
    )*};
}
plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

// SAFETY: an array is as plain as its elements.
unsafe impl<T: PlainData, const N: usize> PlainData for [T; N] {}

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
    object: Object,
    data: PhantomData<T>,
}

impl<T: PlainData> Mutex<T> {
    /// A mutex over `value`.
    pub fn new(value: T) -> Result<Self> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "data aligned to more than 64 bytes can't be shared"
            )
        };
        let object = Object::create(object::Kind::Mutex, |arena, entry, body| {
            let block = heap::alloc_len(arena, (size_of::<T>() as u64).max(1))?;
            let at = arena.bytes(block, size_of::<T>() as u64);
            // SAFETY: the block is ours, large enough, and aligned to 64 bytes.
            unsafe { at.cast::<T>().write(value) };
            arena.store(body + object::BODY_BLOCK, block);
            heap::set_tag(arena, block, Tag::Shared(entry, Holds::Bytes));
            Ok(())
        })?;
        Ok(Self {
            object,
            data: PhantomData,
        })
    }

    fn lock_word(&self) -> Lock {
        Lock(self.object.body())
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
        let arena = self.object.arena();
        let locked = retry(|| settle(self.lock_word().acquire(arena, until, OnEnd::Breaks)))?;
        Ok(locked.then(|| MutexGuard { mutex: self }))
    }

    /// Makes a broken mutex usable again, with the data as the dead holder left it.
    pub fn reset(&self) -> bool {
        self.lock_word().reset(self.object.arena())
    }

    fn data(&self) -> *mut T {
        self.object
            .arena()
            .bytes(self.object.word(object::BODY_BLOCK), size_of::<T>() as u64)
            .cast()
    }
}

impl<T: PlainData> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            data: PhantomData,
        }
    }
}

impl<T: PlainData> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: PlainData> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = deserialize(deserializer, object::Kind::Mutex)?;
        let block = object.word(object::BODY_BLOCK);
        if heap::capacity(object.arena(), block) < size_of::<T>() as u64 {
            return Err(serde::de::Error::custom(
                "the mutex holds data of another type",
            ));
        }
        Ok(Self {
            object,
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
        let _ = self
            .mutex
            .lock_word()
            .release(self.mutex.object.arena(), true);
    }
}
