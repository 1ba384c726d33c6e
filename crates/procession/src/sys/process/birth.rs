//! Which process a pid means: the kernel gives the pid of one that is gone to another.

use super::stat::{is_ending, stat};
use rustix::io::Errno;
use rustix::process::Pid;

/// When the kernel started this process, in its own unit; 0 where /proc can't be read.
pub fn start_time(pid: u32) -> u64 {
    stat(&format!("/proc/{pid}")).map_or(0, |stat| stat.start)
}

/// Whether the process that had this pid and start time is no more, or all its threads are about to end.
pub fn is_gone(pid: u32, start: u64) -> bool {
    let Some(known) = Pid::from_raw(pid as i32) else {
        return false;
    };
    match stat(&format!("/proc/{pid}")) {
        Some(now) if start != 0 && now.start != start => true,
        // The first thread may have ended alone.
        Some(now) => {
            now.ending
                && std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| {
                    tasks
                        .flatten()
                        .all(|task| is_ending(&task.path().to_string_lossy()))
                })
        }
        None => rustix::process::test_kill_process(known) == Err(Errno::SRCH),
    }
}
