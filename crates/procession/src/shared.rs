//! Shared values and arrays without a lock: atomic numbers that every process reads and writes in place.

use crate::error::{Error, Kind, Result};
use crate::memory::Memory;
use crate::mutex::check_alignment;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};

/// Data that processes may access at the same time without a lock: atomic numbers, and arrays of them.
///
/// # Safety
/// Any bytes are a valid value, its meaning does not depend on the process, and all that can be done through a
/// shared reference is atomic.
pub unsafe trait Lockless: Send + Sync + 'static {}

macro_rules! lockless {
    ($($type:ty)*) => {$(
        // SAFETY: a number is valid in any bits, and this one is accessed atomically.
        unsafe impl Lockless for $type {}
    )*};
}
lockless!(AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize);

// SAFETY: an array is accessed by its elements.
unsafe impl<T: Lockless, const N: usize> Lockless for [T; N] {}

/// An atomic number, or a row of them, in memory that processes share. For more than single numbers there are
/// [`crate::Mutex`] and [`crate::Array`], which have a lock.
///
/// It travels as every object does: as an argument of a process, through queues. A process that dies leaves it as it
/// had written it so far; the memory goes with the last reference.
///
/// ```
/// use procession::Shared;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let hits = Shared::new(AtomicU64::new(40))?;
/// hits.fetch_add(2, Ordering::Relaxed);
/// assert_eq!(hits.load(Ordering::Relaxed), 42);
///
/// let bins = Shared::<[AtomicU64]>::zeroed(256)?;
/// bins[7].store(1, Ordering::Relaxed);
/// assert_eq!(bins.len(), 256);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Shared<T: ?Sized> {
    memory: Memory,
    data: PhantomData<T>,
}

impl<T: ?Sized> Shared<T> {
    fn over(memory: Memory) -> Self {
        Self {
            memory,
            data: PhantomData,
        }
    }
}

impl<T: Lockless> Shared<T> {
    /// Shares `value`.
    pub fn new(value: T) -> Result<Self> {
        const { check_alignment::<T>() };
        let memory = Memory::new(size_of::<T>() as u64)?;
        // SAFETY: nobody else has this memory yet; it is long enough, and aligned to 64 bytes.
        unsafe { memory.as_ptr().0.cast::<T>().write(value) };
        Ok(Self::over(memory))
    }
}

impl<T: Lockless> Shared<[T]> {
    /// Shares `len` numbers, all zero.
    pub fn zeroed(len: usize) -> Result<Self> {
        const {
            check_alignment::<T>();
            assert!(size_of::<T>() > 0, "elements have a size");
        }
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(|| {
            Error::new(
                Kind::OutOfMemory,
                format!("{len} elements of {} bytes are too many", size_of::<T>()),
            )
        })?;
        Ok(Self::over(Memory::new(bytes as u64)?))
    }
}

impl<T: Lockless> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the memory is as long as T, or this were not; others access it atomically, if at all.
        unsafe { &*self.memory.as_ptr().0.cast() }
    }
}

impl<T: Lockless> Deref for Shared<[T]> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let (at, len) = self.memory.as_ptr();
        // SAFETY: so many elements fit into the memory; others access them atomically, if at all.
        unsafe { std::slice::from_raw_parts(at.cast(), len / size_of::<T>()) }
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self::over(self.memory.clone())
    }
}

impl<T: ?Sized> fmt::Debug for Shared<T>
where
    Self: Deref<Target: fmt::Debug>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&&**self).finish()
    }
}

impl<T: ?Sized> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

fn deserialize<'de, D: Deserializer<'de>, T: ?Sized>(
    deserializer: D,
    fits: impl FnOnce(usize) -> bool,
) -> Result<Shared<T>, D::Error> {
    let memory = Memory::deserialize(deserializer)?;
    if fits(memory.as_ptr().1) {
        return Ok(Shared::over(memory));
    }
    Err(serde::de::Error::custom(
        "the memory holds data of another type",
    ))
}

impl<'de, T: Lockless> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        self::deserialize(deserializer, |len| len == size_of::<T>())
    }
}

impl<'de, T: Lockless> Deserialize<'de> for Shared<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        self::deserialize(deserializer, |len| len.is_multiple_of(size_of::<T>()))
    }
}
