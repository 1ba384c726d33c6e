//! What the kernel lets a process do and be seen by.

use super::stat::read_proc;
use rustix::fs::Mode;

/// The umask of this process, without setting it for a moment where /proc tells it.
pub fn umask() -> u32 {
    let told = || {
        let status = read_proc("/proc/thread-self/status")?;
        let umask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(umask.trim(), 8).ok()
    };
    told().unwrap_or_else(|| {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        umask.as_raw_mode()
    })
}

/// What the kernel lets the calling thread do and be seen by, as one number: users and groups,
/// session, capabilities, filters of system calls, root directory, namespaces. A process that is forked
/// from another may stand in for its child only if these are equal.
pub fn standing() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    const LINES: [&str; 7] = [
        "Uid:",
        "Gid:",
        "Groups:",
        "NSsid:",
        "Cap",
        "NoNewPrivs:",
        "Seccomp",
    ];
    // The same for equal input in every process: its keys are constants.
    let mut hasher = DefaultHasher::new();
    // Whole: a user may be in a thousand groups.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    for line in status.lines() {
        if LINES.iter().any(|start| line.starts_with(start)) {
            line.hash(&mut hasher);
        }
    }
    let root = std::fs::metadata("/").ok();
    root.map(|root| (root.dev(), root.ino())).hash(&mut hasher);
    for name in ["mnt", "net", "user", "pid_for_children", "ipc", "uts"] {
        let space = std::fs::read_link(format!("/proc/thread-self/ns/{name}"));
        space.ok().hash(&mut hasher);
    }
    // Where /proc tells nothing.
    // SAFETY: calls that give numbers.
    unsafe { (libc::geteuid(), libc::getegid(), libc::getsid(0)) }.hash(&mut hasher);
    hasher.finish()
}

/// Whether the real ids of this process are these.
pub fn has_real_ids(user: u32, group: u32) -> bool {
    rustix::process::getuid().as_raw() == user && rustix::process::getgid().as_raw() == group
}
