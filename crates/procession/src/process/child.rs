//! The child's side: `init`, and what a process does that was started with a request.

use super::mail::{Answer, Mail, Request};
use super::{forkserver, panics, token};
use crate::arena::Arena;
use crate::carrier;
use crate::cpu;
use crate::error::{Error, Kind, Result};
use crate::janitor;
use crate::parcel;
use crate::program;
use crate::sys::process::{self as sys, Identity};
use crate::template;
use procession_shm::object::Handle;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The argument that marks a child, followed by four numbers.
const MARK: &str = "--procession-child";

static INITIALIZED: AtomicBool = AtomicBool::new(false);
static CURRENT: OnceLock<(String, Option<Parent>)> = OnceLock::new();
/// The name of a pool's worker, which was forked from a process with a name of its own.
static WORKER: OnceLock<String> = OnceLock::new();

/// The process that started this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    process: Identity,
}

impl Parent {
    /// Whether it runs still.
    pub fn is_alive(&self) -> bool {
        !self.process.is_gone()
    }
}

/// The calling process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Current {
    /// Its name: `MainProcess` in the root.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// The calling process.
///
/// ```
/// assert_eq!(procession::current_process().name, "MainProcess");
/// ```
pub fn current_process() -> Current {
    let own = WORKER.get().or_else(|| CURRENT.get().map(|(name, _)| name));
    let name = own.map_or_else(|| "MainProcess".to_string(), String::clone);
    Current {
        name,
        pid: sys::pid(),
    }
}

/// The process that started this one; `None` in the root.
pub fn parent_process() -> Option<Parent> {
    CURRENT.get().and_then(|(_, parent)| parent.clone())
}

/// The calling process is a worker of this name.
pub(crate) fn set_worker_name(name: String) {
    let _ = WORKER.set(name);
}

/// An error if `main` did not call [`init`].
pub(crate) fn check_initialized() -> Result<()> {
    if INITIALIZED.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(
        Kind::NotInitialized,
        "a process is started by running this program again; call procession::init() first thing in main()",
    ))
}

/// To be called first thing in `main`, the twin of `if __name__ == "__main__"`: in a process that was started with a
/// function it runs that function and exits; in the program itself it returns at once.
///
/// Tests that start processes need a `main` of their own that calls it: `harness = false`, see the README.
pub fn init() {
    INITIALIZED.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os().skip(1);
    let mark = arguments.next();
    let numbers = || {
        let numbers = arguments.filter_map(|number| number.to_str()?.parse().ok());
        numbers.collect::<Vec<u64>>()
    };
    let code = match mark.as_deref().and_then(OsStr::to_str) {
        Some(MARK) => run(&numbers()),
        Some(forkserver::MARK) => forkserver::serve(&numbers()),
        Some(janitor::MARK) => janitor::serve(&numbers()),
        _ => return,
    };
    std::process::exit(code.unwrap_or_else(|| {
        let mark = mark.unwrap_or_default();
        let mark = mark.display();
        eprintln!(
            "procession: {mark} is for processes that procession starts; run the program without it"
        );
        2
    }));
}

/// A descriptor that the starter handed to this process for this use only.
pub(crate) fn received(number: u64) -> OwnedFd {
    // SAFETY: it was opened for this process, which knows it by this number alone.
    let fd = unsafe { OwnedFd::from_raw_fd(number as RawFd) };
    let _ = rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::CLOEXEC);
    fd
}

/// Does what this process was started for. Says its exit code; `None` if the numbers are not what a starter gives.
fn run(numbers: &[u64]) -> Option<i32> {
    let &[arena, root, record, mail] = numbers else {
        return None;
    };
    let mail = Mail::from(received(mail));
    let request = mail.receive().and_then(|request| {
        Arena::attach(received(arena), root as RawFd, record as u32, None)?;
        if let Some((send, receive, standing)) = request.ends {
            template::adopt(send, receive, standing);
        }
        Ok(request)
    });
    Some(perform(&mail, request))
}

/// Does what was asked for, and answers. Says the exit code.
pub(super) fn perform(mail: &Mail, request: Result<Request>) -> i32 {
    let ready = request.and_then(|request| {
        if let Some(cpus) = &request.affinity {
            cpu::set_affinity(0, cpus)?;
        }
        Ok(request)
    });
    let request = match ready {
        Ok(request) => request,
        Err(error) => {
            eprintln!("procession: this process could not be started: {error}");
            let _ = mail.reply(&Answer::Failed(error_parts(&error)));
            return 1;
        }
    };
    let (process, name) = request.parent;
    let parent = Parent {
        pid: process.pid,
        name,
        process,
    };
    let _ = CURRENT.set((request.name, Some(parent)));
    let function = token::function(request.token);
    let handles: Vec<Handle> = request
        .handles
        .iter()
        .map(|&(id, generation)| Handle { id, generation })
        .collect();
    // As soon as they are read: an end that the function drops is then closed, though the process lives.
    let arrived = || carrier::arrived(&handles);
    let answer = catch(|| function(&request.arguments, &arrived));
    let code = match &answer {
        Answer::Returned(_) => 0,
        Answer::Panicked(_) => 101,
        Answer::Failed(_) => 1,
    };
    if mail.reply(&answer).is_err() {
        eprintln!("procession: the result could not be handed over");
    }
    program::end_process(code);
    code
}

fn error_parts(error: &Error) -> (bool, String) {
    (error.kind() == Kind::Serialization, error.to_string())
}

fn catch(call: impl FnOnce() -> Result<Vec<u8>>) -> Answer {
    match panics::catch(call) {
        Ok(Ok(bytes)) => Answer::Returned(bytes),
        Ok(Err(error)) => Answer::Failed(error_parts(&error)),
        Err(panic) => Answer::Panicked(panic),
    }
}

/// The command line by which this program runs again: its name, a mark, and numbers.
pub(crate) fn command_line(mark: &str, numbers: &[u64]) -> Vec<CString> {
    let program = std::env::args_os().next().unwrap_or_default().into_vec();
    let numbers = numbers.iter().map(u64::to_string);
    let words = std::iter::once(mark.to_string()).chain(numbers);
    let c = |text: String| CString::new(text).expect("a mark and numbers have no NUL");
    std::iter::once(CString::new(program).unwrap_or_default())
        .chain(words.map(c))
        .collect()
}

/// The descriptors that whoever runs this program again for a record hands on, by the same numbers.
pub(super) struct Inherited {
    /// The arena's file.
    pub file: u64,
    /// By which the process ends with the root.
    pub root: u64,
    /// The template's, if this process has any: see [`template::ends`].
    pub ends: Option<(RawFd, RawFd, u64)>,
    /// All of these, and those by which others travel.
    pub all: Vec<RawFd>,
}

pub(super) fn inherited(arena: &Arena, record: u32) -> Result<Inherited> {
    let (file, root) = (arena.file()?.as_raw_fd(), arena.root.read_end());
    let (mut all, ends) = (vec![file, root], template::ends());
    if let Some((send, receive, _)) = ends {
        all.extend([send, receive]);
    }
    all.extend(parcel::hand_on(arena, record));
    let [file, root] = [file, root].map(|fd| fd as u64);
    Ok(Inherited {
        file,
        root,
        ends,
        all,
    })
}

/// Runs this program again as a child; says its pid. By posix_spawn, which runs no fork handlers and copies nothing.
pub(super) fn exec(arena: &Arena, record: u32, mail: &Mail) -> Result<u32> {
    let inherited = inherited(arena, record)?;
    let (mut fds, mail) = (inherited.all, mail.descriptor());
    fds.push(mail);
    let numbers = [inherited.file, inherited.root, record as u64, mail as u64];
    let words = command_line(MARK, &numbers);
    let mut argv: Vec<*mut libc::c_char> =
        words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let mut pid = 0;
    // SAFETY: argv is null-terminated and its strings live through the call; the actions are initialised
    // before use and destroyed after; environ is the process's own.
    let error = unsafe {
        let mut actions = std::mem::MaybeUninit::uninit();
        libc::posix_spawn_file_actions_init(actions.as_mut_ptr());
        for fd in fds {
            // To itself: this clears close-on-exec, in the child only.
            libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), fd, fd);
        }
        let error = libc::posix_spawn(
            &mut pid,
            c"/proc/self/exe".as_ptr(),
            actions.as_ptr(),
            std::ptr::null(),
            argv.as_ptr(),
            environ,
        );
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        error
    };
    if error != 0 {
        return Err(Error::system(
            "running this program again",
            rustix::io::Errno::from_raw_os_error(error),
        ));
    }
    Ok(pid as u32)
}

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}
