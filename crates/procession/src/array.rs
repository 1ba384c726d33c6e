//! A lock over a row of plain data that processes share.

use crate::error::Result;
use crate::mutex::{Guarded, PlainData, check_alignment};
use crate::time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// Elements of plain data in shared memory, behind one lock: what [`crate::Mutex`] is, of a length that the program
/// chooses. A holder that is killed leaves it broken: see [`crate::Lock`].
///
/// ```
/// let squares = procession::Array::new(&[0_u64; 5])?;
/// for (n, square) in (0_u64..).zip(squares.lock()?.iter_mut()) {
///     *square = n * n;
/// }
/// assert_eq!(*squares.lock()?, [0, 1, 4, 9, 16]);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct Array<T: PlainData> {
    guarded: Guarded,
    data: PhantomData<T>,
}

impl<T: PlainData> Array<T> {
    /// An array of these elements.
    pub fn new(elements: &[T]) -> Result<Self> {
        const {
            check_alignment::<T>();
            assert!(size_of::<T>() > 0, "elements have a size");
        }
        Ok(Self {
            guarded: Guarded::new(bytemuck::cast_slice(elements))?,
            data: PhantomData,
        })
    }

    /// The number of elements, which never changes.
    pub fn len(&self) -> usize {
        self.guarded.bytes().1 / size_of::<T>()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks all of it; waits as long as it takes.
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>> {
        self.guard(None)
            .map(|guard| guard.expect("without a limit of time it is locked, or an error"))
    }

    /// Locks all of it if that is possible within `timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ArrayGuard<'_, T>>> {
        self.guard(time::deadline(Some(timeout)))
    }

    fn guard(&self, until: Option<u64>) -> Result<Option<ArrayGuard<'_, T>>> {
        let locked = self.guarded.lock(until)?;
        Ok(locked.then(|| ArrayGuard { array: self }))
    }

    /// Makes a broken array usable again, with the elements as the dead holder left them.
    pub fn reset(&self) -> bool {
        self.guarded.reset()
    }
}

impl<T: PlainData> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
            data: PhantomData,
        }
    }
}

impl<T: PlainData> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.guarded.serialize(serializer)
    }
}

impl<'de, T: PlainData> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fits = |len: usize| len.is_multiple_of(size_of::<T>());
        Ok(Self {
            guarded: Guarded::deserialize(deserializer, fits)?,
            data: PhantomData,
        })
    }
}

/// The elements of an [`Array`], locked until this is dropped.
#[must_use = "the array is unlocked when the guard is dropped"]
pub struct ArrayGuard<'a, T: PlainData> {
    array: &'a Array<T>,
}

impl<T: PlainData> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let at = self.array.guarded.bytes().0.cast();
        // SAFETY: the lock is held, so nobody writes; so many elements are there, valid in any bytes.
        unsafe { std::slice::from_raw_parts(at, self.array.len()) }
    }
}

impl<T: PlainData> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let at = self.array.guarded.bytes().0.cast();
        // SAFETY: the lock is held, so nobody else reads or writes; the rest as above.
        unsafe { std::slice::from_raw_parts_mut(at, self.array.len()) }
    }
}

impl<T: PlainData> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        self.array.guarded.unlock();
    }
}
