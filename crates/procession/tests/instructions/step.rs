//! A process that steps itself: with the trap flag set each instruction ends in SIGTRAP, whose handler counts those
//! that fall within a section, and has the process die or stop at one of them.

use crate::items::arena;
use crate::page::{CHANGES, Page, get, page, set};
use procession::shm::section::{self, Section};
use procession::shm::{Off, World};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// What happens to a victim.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shot {
    /// Nothing.
    None,
    /// It is stepped, and each change of the arena noted.
    Look,
    /// Its stores are counted.
    Count,
    /// It gets a signal at an instruction.
    At { at: u64, signal: c_int },
    /// It gets a signal right before its n-th store, or a few instructions later, after it.
    AtStore { at: u64, after: bool, signal: c_int },
    /// It gets a signal from outside once it sleeps.
    Asleep { signal: c_int },
}

const NONE: u64 = 0;
const LOOK: u64 = 1;
const SHOOT: u64 = 2;
const COUNT: u64 = 3;
const SHOOT_BEFORE: u64 = 4;
const SHOOT_AFTER: u64 = 5;

/// So many instructions after it is announced a store is done.
const STORE_TAKES: u64 = 16;

/// The flag in the processor's word of flags.
const TRAP: i64 = 1 << 8;

impl Shot {
    /// Loads it, before the victim is forked.
    /// With `early`, the next process that is forked steps as soon as it is there.
    pub fn load(self, early: bool) {
        let page = page();
        set(&page.early, u64::from(early));
        for word in [
            &page.steps,
            &page.sent,
            &page.section,
            &page.changed,
            &page.watched,
        ] {
            set(word, 0);
        }
        let (mode, at, signal) = match self {
            Shot::None | Shot::Asleep { .. } => (NONE, 0, 0),
            Shot::Look => (LOOK, 0, 0),
            Shot::Count => (COUNT, 0, 0),
            Shot::At { at, signal } => (SHOOT, at, signal),
            Shot::AtStore { at, after, signal } => {
                let mode = if after { SHOOT_AFTER } else { SHOOT_BEFORE };
                (mode, at, signal)
            }
        };
        set(&page.at, at);
        set(&page.signal, signal as u64);
        set(&page.mode, mode);
    }
}

/// Puts the handlers in place, for the life of the process and of its forks; before the arena's handlers of forks.
pub fn install() {
    extern "C" fn in_child() {
        if get(&page().early) != 0 {
            section::demand(Some(before_store));
            begin();
        }
    }
    // SAFETY: a function that is there as long as the process; it does what a handler of forks may.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    // SAFETY: the handler does what a handler of signals may: it reads and writes memory that is there for good, and
    // makes system calls that are async-signal-safe. The struct is plain data, zero where not set.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_trap;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()),
            0
        );
    }
}

/// Steps from here on, if the shot that is loaded needs it.
#[inline(always)]
pub fn begin() {
    if matches!(get(&page().mode), LOOK | SHOOT) {
        set_trap();
    }
}

#[inline(always)]
fn set_trap() {
    // SAFETY: sets a flag of this thread that has no effect but SIGTRAP, which has a handler.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

/// Called before each store of a victim's act.
pub fn before_store(at: Off, section: Section) {
    let page = page();
    let mode = get(&page.mode);
    if mode == LOOK {
        // The handler sees when it changes.
        set(&page.was, arena().load(at));
        set(&page.watched, at);
    }
    if !matches!(mode, COUNT | SHOOT_BEFORE | SHOOT_AFTER) {
        return;
    }
    let n = get(&page.steps) + 1;
    set(&page.steps, n);
    if mode == COUNT {
        note_section(page, n, section);
    } else if n == get(&page.at) {
        if mode == SHOOT_AFTER {
            // The handler counts to the end of the store.
            set(&page.mode, SHOOT);
            set(&page.at, n + STORE_TAKES);
            set_trap();
        } else {
            shoot(page, section);
        }
    }
}

fn note_section(page: &Page, n: u64, section: Section) {
    if let Some(within) = page.within.get(n as usize) {
        within.store(section as u8, SeqCst);
    }
}

fn shoot(page: &Page, section: Section) {
    set(&page.section, section as u64 + 1);
    set(&page.sent, procession::time::now());
    // SAFETY: a signal to oneself.
    unsafe { libc::kill(libc::getpid(), get(&page.signal) as c_int) };
}

/// Steps no more.
#[inline(always)]
pub fn end() {
    // SAFETY: as above.
    unsafe { std::arch::asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq") };
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(section) = section::now() else {
        return;
    };
    let page = page();
    let n = get(&page.steps) + 1;
    set(&page.steps, n);
    if get(&page.mode) == LOOK {
        look(page, n, section);
    } else if n == get(&page.at) {
        // SAFETY: the kernel passed the context of the thread that it interrupted, ours until we return; cleared in
        // its flags the trap flag is off from then on.
        unsafe {
            let context = &mut *context.cast::<libc::ucontext_t>();
            context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP;
        }
        shoot(page, section);
    }
}

fn look(page: &Page, n: u64, section: Section) {
    let add = |word: &AtomicU64| set(word, get(word) + 1);
    add(&page.instructions[section as usize]);
    note_section(page, n, section);
    let watched = get(&page.watched);
    if watched != 0 && arena().load(watched) != get(&page.was) {
        set(&page.watched, 0);
        add(&page.states[section as usize]);
        let changed = get(&page.changed) as usize;
        if changed < CHANGES {
            set(&page.changes[changed], n);
            set(&page.changed, changed as u64 + 1);
        }
    }
}
