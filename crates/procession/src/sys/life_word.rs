//! Life words: robust mutexes that a thread takes once and never gives back. When the thread ends, in whatever way,
//! the kernel marks the word and wakes one waiter (robust-futex-ABI in the kernel's documentation).

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes that a life word takes in a slot.
pub const BYTES: usize = 64;
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= BYTES);

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;

#[cfg(target_env = "musl")]
const LOCK_WORD: usize = 1;
#[cfg(not(target_env = "musl"))]
const LOCK_WORD: usize = 0;

/// A life word in the arena.
#[derive(Clone, Copy)]
pub struct LifeWord(*mut u8);

/// What taking a life word found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It was free.
    Yes,
    /// Its owner is dead; the caller has it now.
    FromTheDead,
    /// Its owner lives.
    No,
}

impl LifeWord {
    /// The life word at `at`.
    ///
    /// # Safety
    /// `at` is the first of [`BYTES`] bytes of shared memory, aligned to 64, that were zero at
    /// first, serve nothing else, and stay mapped until the process ends.
    pub unsafe fn at(at: *mut u8) -> Self {
        Self(at)
    }

    fn words(self) -> &'static [AtomicU32; BYTES / 4] {
        // SAFETY: `at` promised aligned memory that stays; all threads access it atomically or
        // through pthread, which uses atomics on the lock word.
        unsafe { &*self.0.cast() }
    }

    /// The word that the kernel marks: what a watcher sleeps on.
    pub fn word(self) -> &'static AtomicU32 {
        &self.words()[LOCK_WORD]
    }

    /// Whether a value of the word says that the owner is dead.
    pub fn says_died(value: u32) -> bool {
        value & OWNER_DIED != 0
    }

    /// Whether a value of the word says that nobody has it: its owner is dead, or was when somebody took it and gave it back.
    pub fn is_nobodys(value: u32) -> bool {
        value & !(WAITERS | OWNER_DIED) == 0
    }

    /// Takes the word if nobody alive has it.
    pub fn try_take(self) -> Taken {
        self.prepare();
        // SAFETY: `prepare` made it a robust, process-shared mutex; the memory stays.
        let taken = unsafe {
            match libc::pthread_mutex_trylock(self.0.cast()) {
                0 => Taken::Yes,
                libc::EOWNERDEAD => {
                    libc::pthread_mutex_consistent(self.0.cast());
                    Taken::FromTheDead
                }
                _ => Taken::No,
            }
        };
        if taken != Taken::No {
            // Without this bit the kernel marks the word and wakes nobody.
            self.word().fetch_or(WAITERS, Ordering::AcqRel);
        }
        taken
    }

    /// Gives the word back: for a recoverer, of the dead one's word.
    pub fn give_back(self) {
        // SAFETY: the calling thread took it in `try_take`.
        unsafe { libc::pthread_mutex_unlock(self.0.cast()) };
    }

    /// Writes what an initialised mutex differs in from zeros. Two threads may do so at once, and
    /// one may have locked it already: they write the same words, and the lock word is none of them.
    fn prepare(self) {
        let mut template = [0_u32; BYTES / 4];
        let mut mutex = MaybeUninit::<libc::pthread_mutex_t>::zeroed();
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::zeroed();
        // SAFETY: both are initialised here, read after that, and destroyed by nobody: they hold
        // no resources on Linux.
        unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            );
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr());
            let bytes = size_of::<libc::pthread_mutex_t>();
            std::ptr::copy_nonoverlapping(
                mutex.as_ptr().cast::<u8>(),
                template.as_mut_ptr().cast(),
                bytes,
            );
        }
        for (word, value) in self.words().iter().zip(template) {
            if value != 0 && word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Relaxed);
            }
        }
    }
}
