//! Futexes on the words of the arena. The one place that chooses their flags: shared, 32 bits.

use rustix::io::Errno;
use rustix::thread::ClockId;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::Timespec;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// One word to sleep on, and the value that it must have.
pub type Word = futex::Wait;

/// The most words that one sleep takes.
pub const MAX_WORDS: usize = 128;

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// By a wake of the word of this index, or a word did not have its value.
    Word(Option<usize>),
    /// The time is over.
    TimedOut,
    /// A signal.
    Interrupted,
}

// Whether the kernel has futex_waitv: 0 not asked yet, 1 yes, 2 no.
static HAS_WAITV: AtomicU8 = AtomicU8::new(0);

/// A word to sleep on.
pub fn word(at: &AtomicU32, expected: u32) -> Word {
    let mut word = Word::new();
    word.val = expected as u64;
    word.uaddr = WaitPtr::new(ptr_of(at));
    word.flags = WaitFlags::SIZE_U32;
    word
}

fn ptr_of(at: &AtomicU32) -> *mut core::ffi::c_void {
    core::ptr::from_ref(at).cast_mut().cast()
}

/// Sleeps while each word has its value, until `until` (CLOCK_MONOTONIC) at most. Where the
/// kernel, or a container's filter, has no futex_waitv, only the first word wakes; where
/// futex_waitv fails otherwise, only the first word wakes this time.
pub fn wait(words: &[Word], first: &AtomicU32, until: Timespec) -> Woken {
    if HAS_WAITV.load(Ordering::Relaxed) != 2 {
        match futex::waitv(words, WaitvFlags::empty(), Some(&until), ClockId::Monotonic) {
            Ok(index) => return Woken::Word(Some(index)),
            Err(Errno::AGAIN) => return Woken::Word(None),
            Err(Errno::TIMEDOUT) => return Woken::TimedOut,
            Err(Errno::INTR) => return Woken::Interrupted,
            // Before Linux 5.16; and what filters of system calls answer, as some containers have them.
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
                HAS_WAITV.store(2, Ordering::Relaxed);
            }
            // This time only, as when the kernel is short of memory.
            Err(_) => {}
        }
    }
    let expected = words[0].val as u32;
    let all = core::num::NonZeroU32::MAX;
    match futex::wait_bitset(first, Flags::empty(), expected, Some(&until), all) {
        Ok(()) => Woken::Word(Some(0)),
        Err(Errno::TIMEDOUT) => Woken::TimedOut,
        Err(Errno::INTR) => Woken::Interrupted,
        Err(_) => Woken::Word(None),
    }
}

/// Wakes up to `count` sleepers; says how many.
pub fn wake(at: &AtomicU32, count: u32) -> u32 {
    // The kernel reads the count as signed.
    futex::wake(at, Flags::empty(), count.min(i32::MAX as u32)).map_or(0, |woken| woken as u32)
}

/// Behaves from now on as if the kernel had no futex_waitv. For tests.
pub fn refuse_waitv() {
    HAS_WAITV.store(2, Ordering::Relaxed);
}
