//! The janitor: a process of ours that unlinks tracked names when the program is over.
//!
//! A SIGKILL of the root takes all our children along, so what is left to do then is done by somebody who is none of
//! them: a small process in a session of its own, started by exec at the first tracked name. It waits until the root's pipe has no writer and the program's
//! processes are gone, unlinks what is [tracked](procession_shm::name), and ends.
//!
//! *Deaths.* What is to be unlinked stands in the arena, so a janitor knows nothing that another does not. There are two, the
//! *first* and its fork, the *second*: each hears of the other's end and makes up for it. Should both be killed at
//! once, whoever makes the next tracked name starts another. The first one's name is a word of the arena's header, which a new
//! one takes over by compare-and-swap from the dead one's.

use crate::arena::{Arena, word};
use crate::error::{Error, Result};
use crate::process::{command_line, received};
use crate::program;
use crate::sys::{named_file, process as sys};
use procession_shm::World;
use procession_shm::layout::header;
use procession_shm::name::{self, File};
use procession_shm::process::{self as record, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The argument that marks a janitor of a Rust program, followed by three numbers.
pub(crate) const MARK: &str = "--procession-janitor";

/// What to run as the janitor: a program and its arguments, given the numbers that [`serve`] wants.
pub type CommandLine<'a> = dyn Fn([u64; 3]) -> (CString, Vec<CString>) + 'a;

/// Bits of a janitor's name that are its pid; above is what fits of its birth.
const PID_BITS: u32 = 22;
/// Processes that are killed with the root are waited for at most so long: one of them may have become another program.
const PATIENCE: Duration = Duration::from_secs(5);

/// The janitor that this process has started: it may not have taken its post yet.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Sees to it that the program has a janitor.
pub(crate) fn ensure(arena: &Arena, command: &CommandLine<'_>) -> Result<()> {
    let seen = arena.load(word::JANITOR);
    if lives(seen) || lives(STARTED.load(Ordering::Relaxed)) {
        return Ok(());
    }
    let keep = [arena.file()?.as_raw_fd(), arena.root.read_end()];
    let [file, root] = keep.map(|fd| fd as u64);
    let (path, words) = command([file, root, seen]);
    let pid = sys::run_detached(&path, &words, &keep, true)
        .map_err(|e| Error::system("starting the janitor of shared memory", e))?;
    STARTED.store(name_of(pid), Ordering::Relaxed);
    Ok(())
}

/// This program, run again as the janitor.
pub(crate) fn this_program(numbers: [u64; 3]) -> (CString, Vec<CString>) {
    (c"/proc/self/exe".into(), command_line(MARK, &numbers))
}

fn name_of(pid: u32) -> u64 {
    named(pid, sys::Identity::of(pid).birth)
}

fn named(pid: u32, birth: u64) -> u64 {
    birth << PID_BITS | pid as u64
}

fn lives(name: u64) -> bool {
    let pid = (name & ((1 << PID_BITS) - 1)) as u32;
    if pid == 0 {
        return false;
    }
    let now = sys::Identity::of(pid);
    named(pid, now.birth) == name && !now.is_gone()
}

/// Serves as the janitor until the program is over. The numbers: the arena's file, the read end of the root's pipe, and
/// whom this one follows. Says the exit code; `None` if the numbers are not what a starter gives.
pub fn serve(numbers: &[u64]) -> Option<i32> {
    let &[file, root, seen] = numbers else {
        return None;
    };
    let [file, root] = [file, root].map(received);
    let served = sys::settle_apart()
        .map_err(|e| Error::system("setting up the janitor", e))
        .and_then(|()| Arena::look(file))
        .and_then(|arena| stay(&arena, root.as_fd(), seen));
    Some(i32::from(served.is_err()))
}

/// What a janitor has waited for.
enum News {
    /// The program is over.
    Over,
    /// The other janitor is gone.
    Alone,
}

fn stay(arena: &Arena, root: BorrowedFd<'_>, follows: u64) -> Result<()> {
    let mut follows = follows;
    // Each round is one pair's time.
    while arena
        .cas(word::JANITOR, follows, name_of(sys::pid()))
        .is_ok()
    {
        let me = name_of(sys::pid());
        let first = sys::pidfd(sys::pid()).map_err(|e| Error::system("opening myself", e))?;
        let forked = match sys::threads() {
            // SAFETY: just counted, and none was started since.
            1 => unsafe { sys::fork() },
            // Somebody started one before main: then there is no second.
            _ => Err(Errno::AGAIN),
        };
        match forked {
            // The second.
            Ok(0) => {
                if let News::Over = wait(root, Some(first.as_fd())) {
                    let _ = sys::wait_ended(first.as_fd(), None);
                    unlink_all(arena);
                    return Ok(());
                }
            }
            Ok(second) => {
                let pidfd = sys::pidfd(second).ok();
                if let News::Over = wait(root, pidfd.as_ref().map(AsFd::as_fd)) {
                    wait_for_processes(arena);
                    unlink_all(arena);
                    return Ok(());
                }
                sys::take_away(second);
            }
            Err(_) => {
                if let News::Over = wait(root, None) {
                    wait_for_processes(arena);
                    unlink_all(arena);
                    return Ok(());
                }
            }
        }
        follows = me;
    }
    // Another has taken this post.
    Ok(())
}

/// Waits for the end of the program or of the other one; without another for a second at most.
fn wait(root: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>) -> News {
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    loop {
        let mut fds =
            [root, other.unwrap_or(root)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let woken = poll(&mut fds, other.is_none().then_some(&second));
        if fds[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::NVAL)
        {
            return News::Over;
        }
        if other.is_none() || woken.is_ok() && !fds[1].revents().is_empty() {
            return News::Alone;
        }
    }
}

/// Waits until the processes of the program are gone, which have got SIGKILL: one of them may be amid making a name.
fn wait_for_processes(arena: &Arena) {
    let until = Instant::now() + PATIENCE;
    let high = arena
        .load(header::PROCESSES_HIGH)
        .min(arena.layout().process_count) as u32;
    for index in 0..high {
        let process = program::identity(arena, index);
        let live = matches!(record::state(arena, index), State::Live(_));
        if live
            && process.pid != 0
            && let Ok(Some(pidfd)) = process.open()
        {
            let left = until.saturating_duration_since(Instant::now());
            let _ = sys::wait_ended(pidfd.as_fd(), Timespec::try_from(left).ok());
        }
    }
}

/// Unlinks each tracked name that still leads to the file that was tracked, and says so: the program has forgotten it.
fn unlink_all(arena: &Arena) {
    let mut unlinked = Vec::new();
    name::visit(arena, |_, File { device, inode }, bytes| {
        let name = OsStr::from_bytes(bytes);
        if named_file::identity_of(name) == Ok((device, inode)) && named_file::unlink(name).is_ok()
        {
            unlinked.push(name.to_os_string());
        }
        true
    });
    if !unlinked.is_empty() {
        // By these words programs and tests look for the message.
        eprintln!(
            "procession: resource_tracker: There appear to be {} leaked shared_memory objects to clean up at shutdown: {unlinked:?}",
            unlinked.len()
        );
    }
}
