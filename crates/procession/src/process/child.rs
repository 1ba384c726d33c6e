//! The child's side: `init`, the request it was started with, and its answer.
//!
//! Request and answer stand in an unnamed file that starter and child share: however long, neither waits for the other.

use super::{panics, token};
use crate::arena::Arena;
use crate::carrier;
use crate::cpu;
use crate::error::{Error, Kind, Result};
use crate::program;
use crate::sys::{memory, process as sys};
use procession_shm::object::Handle;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The argument that marks a child, followed by four numbers.
const MARK: &str = "--procession-child";

static INITIALIZED: AtomicBool = AtomicBool::new(false);
static CURRENT: OnceLock<(String, Option<Parent>)> = OnceLock::new();
/// The name of a pool's worker, which was forked from a process with a name of its own.
static WORKER: OnceLock<String> = OnceLock::new();

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub name: String,
    pub affinity: Option<Vec<usize>>,
    pub token: i64,
    pub arguments: Vec<u8>,
    pub handles: Vec<(u64, u64)>,
    pub parent: (u32, String),
}

/// The process that started this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    start_time: u64,
}

impl Parent {
    /// Whether it runs still.
    pub fn is_alive(&self) -> bool {
        !sys::is_gone(self.pid, self.start_time)
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
    if arguments.next().as_deref() != Some(MARK.as_ref()) {
        return;
    }
    let numbers: Vec<i32> = arguments
        .filter_map(|number| number.to_str()?.parse().ok())
        .collect();
    let &[arena, root, record, mail] = numbers.as_slice() else {
        eprintln!(
            "procession: {MARK} is for processes that procession starts; run the program without it"
        );
        std::process::exit(2);
    };
    std::process::exit(run(arena, root, record as u32, mail));
}

fn run(arena: RawFd, root: RawFd, record: u32, mail: RawFd) -> i32 {
    // SAFETY: the starter passed these descriptors to this process for this use only.
    let (arena, mail) = unsafe {
        (
            OwnedFd::from_raw_fd(arena),
            Mail(File::from(OwnedFd::from_raw_fd(mail))),
        )
    };
    for fd in [arena.as_fd(), mail.file()] {
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
    let started = mail.receive().and_then(|request| {
        Arena::attach(arena, root, record, None)?;
        if let Some(cpus) = &request.affinity {
            cpu::set_affinity(0, cpus)?;
        }
        Ok(request)
    });
    let request = match started {
        Ok(request) => request,
        Err(error) => {
            eprintln!("procession: this process could not be started: {error}");
            let _ = mail.reply(&Answer::Failed(error_parts(&error)));
            return 1;
        }
    };
    let (pid, name) = request.parent;
    let parent = Parent {
        pid,
        name,
        start_time: sys::start_time(pid),
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

#[derive(Serialize, Deserialize)]
enum Answer {
    Returned(Vec<u8>),
    Panicked(String),
    /// Serialization failed, or the process could not be set up.
    Failed((bool, String)),
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

/// The file in which a request goes to a child and its answer comes back: 16 bytes of lengths, request, answer.
#[derive(Debug)]
pub(super) struct Mail(File);

impl Mail {
    pub(super) fn send(request: &Request) -> Result<Self> {
        let file = memfd_create(c"procession-mail", MemfdFlags::CLOEXEC)
            .map_err(|e| Error::system("making a request", e))?;
        let bytes = postcard::to_stdvec(request).map_err(|e| {
            Error::new(
                Kind::Serialization,
                format!("the request can't be written: {e}"),
            )
        })?;
        let mail = Self(File::from(file));
        mail.write(16, &bytes)?;
        mail.write(0, &(bytes.len() as u64).to_le_bytes())?;
        Ok(mail)
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn receive(&self) -> Result<Request> {
        let bytes = self.read(16, self.length(0)?)?;
        postcard::from_bytes(&bytes)
            .map_err(|e| Error::new(Kind::Serialization, format!("the request is not one: {e}")))
    }

    fn reply(&self, answer: &Answer) -> Result<()> {
        let bytes = postcard::to_stdvec(answer)
            .map_err(|e| Error::new(Kind::Serialization, e.to_string()))?;
        self.write(16 + self.length(0)?, &bytes)?;
        // Written last: a child that dies before has not answered.
        self.write(8, &(bytes.len() as u64).to_le_bytes())
    }

    /// What the child answered, if it did.
    pub(super) fn answer(&self) -> Result<Option<Result<Vec<u8>>>> {
        let len = self.length(8)?;
        if len == 0 {
            return Ok(None);
        }
        let bytes = self.read(16 + self.length(0)?, len)?;
        let answer = postcard::from_bytes(&bytes)
            .map_err(|e| Error::new(Kind::Serialization, format!("the answer is not one: {e}")))?;
        Ok(Some(match answer {
            Answer::Returned(bytes) => Ok(bytes),
            Answer::Panicked(message) => Err(Error::new(Kind::Panicked, message)),
            Answer::Failed((true, message)) => Err(Error::new(Kind::Serialization, message)),
            Answer::Failed((false, message)) => Err(Error::new(Kind::System, message)),
        }))
    }

    fn length(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        match self.0.read_at(&mut bytes, at) {
            Ok(_) => Ok(u64::from_le_bytes(bytes)),
            Err(error) => Err(Error::new(
                Kind::System,
                format!("reading a request: {error}"),
            )),
        }
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let most =
            memory::size(self.0.as_fd()).map_err(|e| Error::system("reading a request", e))?;
        if len > most {
            return Err(Error::new(
                Kind::System,
                format!("a request says that it has {len} bytes, its file has {most}"),
            ));
        }
        let mut bytes = vec![0; len as usize];
        self.0
            .read_exact_at(&mut bytes, at)
            .map_err(|e| Error::new(Kind::System, format!("reading a request: {e}")))?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.0
            .write_all_at(bytes, at)
            .map_err(|e| Error::new(Kind::System, format!("writing a request: {e}")))
    }
}

/// Runs this program again as a child; says its pid. By posix_spawn, which runs no fork handlers and copies nothing.
pub(super) fn exec(arena: &Arena, record: u32, mail: &Mail) -> Result<u32> {
    let arena_fd = arena.file()?.as_raw_fd();
    let fds = [arena_fd, arena.root.read_end(), mail.descriptor()];
    let c = |text: String| CString::new(text).expect("numbers have no NUL");
    let program = std::env::args_os().next().unwrap_or_default().into_vec();
    let numbers = [
        fds[0].to_string(),
        fds[1].to_string(),
        record.to_string(),
        fds[2].to_string(),
    ];
    let mut words = vec![
        CString::new(program).unwrap_or_default(),
        c(MARK.to_string()),
    ];
    words.extend(numbers.map(c));
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
