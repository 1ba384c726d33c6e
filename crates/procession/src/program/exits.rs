//! How processes ended, as their records tell: noted by themselves, by who waited for them, or by who asked the kernel in time.

use super::records::{identity, recover_if_gone};
use crate::arena::Arena;
use crate::sys::process;
use procession_shm::World;
use procession_shm::process::{self as record, keep};
use procession_shm::section::Section;
use rustix::fd::BorrowedFd;

/// The exit code that a process wrote before it ended, if it did.
pub fn exit_code(arena: &Arena, index: u32, generation: u64) -> Option<i32> {
    let at = arena.layout().process(index);
    let code = record::exit_code(arena.load(at + record::word::EXIT));
    if arena.load(at + record::word::GENERATION) == generation {
        code
    } else {
        None
    }
}

/// The exit code that stands in a record, if one does.
pub(crate) fn exit_code_of(arena: &Arena, index: u32) -> Option<i32> {
    record::exit_code(arena.load(arena.layout().process(index) + record::word::EXIT))
}

/// Notes how a process ended that is gone and left no word, as long as the kernel can be asked.
pub(crate) fn note_exit(arena: &Arena, index: u32) {
    if index as u64 >= arena.layout().process_count {
        return;
    }
    let process = identity(arena, index);
    if let Some(code) = process.ending_code() {
        note_exit_code(arena, index, process.pid, code);
    }
}

/// Notes how the process of a record ended, unless it left a word itself.
pub(crate) fn note_exit_code(arena: &Arena, index: u32, pid: u32, code: i32) {
    let _section = Section::RecordVacate.enter();
    let at = arena.layout().process(index);
    if arena.load(at + record::word::PID) == pid as u64 {
        let _ = arena.cas(at + record::word::EXIT, 0, record::exit_word(code));
    }
}

/// How a process ended whose pidfd says that it has: minus the signal that ended it. It is waited for
/// if it is the caller's child; else it is what it said itself, what its own parent noted, or what the
/// kernel still tells. `None` if nobody knows.
pub fn exit_of(
    arena: Option<&Arena>,
    pidfd: BorrowedFd<'_>,
    pid: u32,
    index: u32,
    generation: u64,
) -> Option<i32> {
    if let Ok(Some(code)) = process::reap(pidfd) {
        return Some(code);
    }
    let noted = || arena.and_then(|arena| exit_code(arena, index, generation));
    // Once more at the end: its parent may have noted it, and waited, just now.
    noted()
        .or_else(|| process::exit_of(pidfd, pid))
        .or_else(noted)
}

/// Who asked the template for a process has learned how it ended, or does not care: its record may be given back, which
/// nobody did before. To be called once.
pub fn let_go(arena: &Arena, index: u32) {
    let _section = Section::RecordVacate.enter();
    arena.store(
        arena.layout().process(index) + record::word::NOTED,
        keep::NOTED,
    );
    recover_if_gone(arena, index);
}
