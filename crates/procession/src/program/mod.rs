//! The program: its forks, and its end with its root. `records` has its processes' records, `exits` how they ended,
//! `foreign` the forks that are none of ours.
//!
//! *The end.* The root holds the write end of one pipe; every child of ours asks the kernel for
//! SIGKILL when the last writer is gone. No thread and no supervisor is needed. A foreign fork (by
//! a library, a daemonizer) keeps the write end: the program lives as long as its root or such a fork.
//!
//! *A fork.* Before it, the child's record is reserved and given a copy of the leases, and buffers
//! that are read in place become copies on write; the child takes the record over.

mod exits;
mod foreign;
mod records;

pub use exits::{exit_code, exit_of, let_go};
pub(crate) use exits::{exit_code_of, note_exit, note_exit_code};
pub(crate) use foreign::{leave_earlier_records, may_be_all_that_keeps};
pub use records::{
    become_asked_for, generation, identity, recover_if_gone, reserve, set_pid, sweep, unreserve,
};
pub(crate) use records::{
    children_work_for, my_record, note_myself, parent_is_gone, parent_word, pool_word,
    processes_of_pool, show_up, unreserve_if_unused,
};

use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::life;
use crate::sys::process;
use crate::view;
use procession_shm::World;
use procession_shm::object;
use procession_shm::process as record;
use procession_shm::section::Section;
use rustix::fd::{AsRawFd, IntoRawFd, RawFd};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};

/// The descriptors by which a program ends with its root.
pub struct RootPipe {
    /// What this process's own end hangs on, or, in the root, the read end to hand on.
    read: AtomicI32,
    /// The root's write end; -1 in its children.
    write: AtomicI32,
}

impl RootPipe {
    pub(crate) fn make() -> Result<Self> {
        let (read, write) =
            process::root_pipe().map_err(|e| Error::system("making the root's pipe", e))?;
        Ok(Self {
            read: AtomicI32::new(read.into_raw_fd()),
            write: AtomicI32::new(write.into_raw_fd()),
        })
    }

    pub(crate) const fn none() -> Self {
        Self {
            read: AtomicI32::new(-1),
            write: AtomicI32::new(-1),
        }
    }

    /// The descriptor to hand to a child: it opens the pipe anew through it.
    pub fn read_end(&self) -> RawFd {
        self.read.load(Ordering::Relaxed)
    }

    /// This process dies with the root from now on.
    pub(crate) fn arm(&self, read_end: RawFd) -> Result<()> {
        let write = self.write.swap(-1, Ordering::Relaxed);
        if write >= 0 {
            process::close(write);
        }
        let armed = process::die_with_root(read_end)
            .map_err(|e| Error::system("arming the end with the root", e))?;
        self.read.store(armed.as_raw_fd(), Ordering::Relaxed);
        // Kept open for the life of the process.
        std::mem::forget(armed);
        process::close(read_end);
        Ok(())
    }
}

thread_local! {
    /// The record reserved for the child of the fork under way, plus one, and which use of it.
    static CHILD: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    /// Whether the fork under way is ours.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Puts the hooks of this process in place.
pub(crate) fn install(_: &'static Arena) -> Result<()> {
    process::at_fork(before_fork, after_fork_in_parent, after_fork_in_child)
        .map_err(|e| Error::system("installing fork handlers", e))?;
    process::at_exit(at_exit);
    Ok(())
}

extern "C" fn at_exit() {
    if let Some(arena) = Arena::existing() {
        life::end_process(arena);
    }
}

/// The process is about to end by `_exit` with this code, of which the kernel keeps eight bits: its threads end, they are
/// not killed.
pub fn end_process(code: i32) {
    let _section = Section::SlotEnd.enter();
    let Some(arena) = Arena::existing() else {
        return;
    };
    if arena.has_token() {
        let at = arena.layout().process(arena.my_process());
        arena.store(at + record::word::EXIT, record::exit_word(code & 0xff));
        life::end_process(arena);
    }
}

/// Runs `fork` as the fork of a child of ours: the child dies with the root.
pub fn forking<T>(fork: impl FnOnce() -> T) -> T {
    OURS.with(|ours| ours.set(true));
    let result = fork();
    OURS.with(|ours| ours.set(false));
    result
}

/// The record that the last fork of this thread reserved for its child.
pub fn take_child_record() -> Option<u32> {
    take_child_use().map(|(index, _)| index)
}

fn take_child_use() -> Option<(u32, u64)> {
    let (record, generation) = CHILD.with(|child| child.replace((0, 0)));
    Some((record.checked_sub(1)?, generation))
}

extern "C" fn before_fork() {
    let _section = Section::RecordReserve.enter();
    let Some(arena) = Arena::existing() else {
        return;
    };
    CHILD.with(|child| child.set((0, 0)));
    foreign::look(arena);
    // A child without a record takes one at its first use, and leases with it.
    if let Ok(index) = reserve(arena) {
        let _ = object::inherit_leases(arena, arena.my_process(), index);
        CHILD.with(|child| child.set((index + 1, generation(arena, index))));
    }
    view::make_private(arena);
}

extern "C" fn after_fork_in_parent() {
    let _section = Section::RecordReserve.enter();
    let foreign = !OURS.with(Cell::get);
    if let Some(arena) = Arena::existing()
        && foreign
        && let Some(index) = take_child_record()
    {
        foreign::note(arena, index);
    }
}

extern "C" fn after_fork_in_child() {
    let _section = Section::RecordShowUp.enter();
    let Some(arena) = Arena::existing() else {
        return;
    };
    arena.record.store(0, Ordering::Relaxed);
    records::forget_pool();
    foreign::forget();
    arena.give_token();
    let showed_up = take_child_use()
        .is_some_and(|(index, generation)| show_up(arena, index, Some(generation)).is_ok());
    if !showed_up {
        my_record(arena);
    }
    if OURS.with(|ours| ours.replace(false)) {
        // If it can't be armed the child runs on unarmed, as a foreign fork does.
        let _ = arena.root.arm_after_fork();
    }
}

impl RootPipe {
    fn arm_after_fork(&self) -> Result<()> {
        let read = self.read_end();
        if read < 0 {
            return Err(Error::new(Kind::System, "the root's pipe is not open here"));
        }
        self.arm(read)
    }
}

/// The descriptor to hand to a child, by which it ends with the program.
pub fn root_read_end(arena: &Arena) -> RawFd {
    arena.root.read_end()
}
