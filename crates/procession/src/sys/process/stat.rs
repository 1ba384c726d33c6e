//! What /proc tells of a process.

use std::io::Read;

/// A file of /proc, which tells all it has in one read.
pub(super) fn read_proc(path: &str) -> Option<String> {
    let mut bytes = [0; 4096];
    let len = std::fs::File::open(path).ok()?.read(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// What the kernel tells of a task (proc_pid_stat(5)).
pub(super) struct Stat {
    pub start: u64,
    /// It runs its last kernel code, or is a zombie by now.
    pub ending: bool,
    /// It has become another program by `exec`, and has not been forked since. False where the kernel does not tell.
    pub replaced: bool,
    /// What waitid(2) would tell of it, once it is ending.
    pub status: i32,
}

pub(super) fn stat(path: &str) -> Option<Stat> {
    // PF_EXITING: set before the kernel marks the life words.
    const EXITING: u64 = 4;
    // PF_FORKNOEXEC: set by each fork, cleared by `exec`, once the old memory is gone.
    const FORKED: u64 = 0x40;
    // PF_RANDOMIZE: set by `exec` after that. Without it nothing is known: it may be that no flags are told.
    const RANDOMIZED: u64 = 0x40_0000;
    let stat = read_proc(&format!("{path}/stat"))?;
    // The name, second field, may hold anything but ends at the last parenthesis.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(Stat {
        start: fields.nth(12)?.parse().ok()?,
        ending: matches!(state, "Z" | "X") || flags & EXITING != 0,
        replaced: flags & (FORKED | RANDOMIZED) == RANDOMIZED,
        status: fields.last()?.parse().ok()?,
    })
}

/// Whether a task comes back from the kernel no more: it ends, or SIGKILL is on its way to it.
pub(super) fn is_ending(path: &str) -> bool {
    let killed = || {
        let status = read_proc(&format!("{path}/status"))?;
        let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
        let pending = u64::from_str_radix(pending?.trim(), 16).ok()?;
        Some(pending & 1 << (libc::SIGKILL - 1) != 0)
    };
    stat(path).is_none_or(|stat| stat.ending) || killed().unwrap_or(true)
}
