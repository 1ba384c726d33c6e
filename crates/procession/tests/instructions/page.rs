//! What controller, victim and witness share beside the arena: one page of words of their own.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering::SeqCst};

/// Changes of the arena that one pass can note.
pub const CHANGES: usize = 4096;
/// Instructions of the longest operation.
pub const INSTRUCTIONS: usize = 1 << 20;
/// No fewer than there are sections.
pub const SECTIONS: usize = 64;

#[repr(C)]
pub struct Page {
    /// What the handler does at each instruction: see [`crate::step::Shot`].
    pub mode: AtomicU64,
    /// The instruction at which it does so.
    pub at: AtomicU64,
    pub signal: AtomicU64,
    /// The victim is stepped from its fork on.
    pub early: AtomicU64,
    /// Instructions within sections so far.
    pub steps: AtomicU64,
    /// When the signal was sent, and the section in which it was, plus one.
    pub sent: AtomicU64,
    pub section: AtomicU64,
    /// The victim is known to all; it may begin; it is done.
    pub ready: AtomicU64,
    pub go: AtomicU64,
    pub done: AtomicU64,
    /// What the victim came to, as its stage likes.
    pub result: AtomicU64,
    /// The witness's orders: see [`crate::witness`].
    pub witness: [AtomicU64; 8],
    /// The word that is stored to next, and what stood there.
    pub watched: AtomicU64,
    pub was: AtomicU64,
    /// Instructions and new states of the arena within each section.
    pub instructions: [AtomicU64; SECTIONS],
    pub states: [AtomicU64; SECTIONS],
    /// In which section each instruction was.
    pub within: [AtomicU8; INSTRUCTIONS],
    /// At which instructions the arena was found changed, the first `changed` of these.
    pub changed: AtomicU64,
    pub changes: [AtomicU64; CHANGES],
}

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the page; before the first fork.
pub fn make() {
    // SAFETY: a new anonymous mapping, which is kept for good.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<Page>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED, "room for a page");
    PAGE.store(at.cast(), SeqCst);
}

pub fn page() -> &'static Page {
    // SAFETY: `make` came first; the mapping is large enough, zeroed, which is a valid value of each of its
    // atomic words, and never unmapped.
    unsafe { &*PAGE.load(SeqCst) }
}

pub fn get(word: &AtomicU64) -> u64 {
    word.load(SeqCst)
}

pub fn set(word: &AtomicU64, value: u64) {
    word.store(value, SeqCst);
}
