//! Starting a process, and what its starter may do with it.

use super::mail::{Mail, Request};
use super::method::{StartMethod, start_method};
use super::status::{ExitStatus, Joined};
use super::{Surroundings, child, forkserver, token};
use crate::arena::Arena;
use crate::carrier;
use crate::error::{Error, Kind, Result};
use crate::program;
use crate::sys::process as sys;
use crate::template::{self, Started};
use crate::time;
use procession_shm::process::{State, state, word};
use procession_shm::{World, layout};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// What a process is started with beside its function.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<String>,
    affinity: Option<Vec<usize>>,
    method: Option<StartMethod>,
}

impl Builder {
    /// Its name; `Process-1` and so on if none is given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The processors that it may run on.
    pub fn affinity(mut self, cpus: &[usize]) -> Self {
        self.affinity = Some(cpus.to_vec());
        self
    }

    /// How it is started; as [`set_start_method`](super::set_start_method) says if no method is given.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Starts it: see [`Process::spawn`].
    pub fn spawn<F, A, R>(self, function: F, arguments: A) -> Result<Process<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        child::check_initialized()?;
        let arena = Arena::get()?;
        let token = token::token(function);
        let name = self
            .name
            .unwrap_or_else(|| format!("Process-{}", COUNT.fetch_add(1, Ordering::Relaxed) + 1));
        let method = self.method.unwrap_or_else(start_method);
        start(arena, method, name, self.affinity, token, &arguments)
    }
}

fn start<A: Serialize, R>(
    arena: &Arena,
    method: StartMethod,
    name: String,
    affinity: Option<Vec<usize>>,
    token: i64,
    arguments: &A,
) -> Result<Process<R>> {
    let (surroundings, descriptors) = match method {
        StartMethod::Spawn => (None, None),
        StartMethod::Forkserver => {
            let (surroundings, descriptors) = Surroundings::capture()?;
            (Some(surroundings), Some(descriptors))
        }
    };
    let record = program::reserve(arena)?;
    let (written, handles) = carrier::to_child(record, || postcard::to_stdvec(arguments));
    let written = written.map_err(|e| {
        Error::new(
            Kind::Serialization,
            format!("the arguments can't be turned into bytes: {e}; nothing was started"),
        )
    });
    let mail = written.and_then(|arguments| {
        Mail::send(&Request {
            name: name.clone(),
            affinity,
            token,
            arguments,
            handles: handles
                .iter()
                .map(|handle| (handle.id, handle.generation))
                .collect(),
            parent: (
                program::identity(arena, arena.my_process()),
                child::current_process().name,
            ),
            surroundings,
            ends: template::ends(),
        })
    });
    let mail = mail.inspect_err(|_| program::unreserve(arena, record))?;
    let generation = program::generation(arena, record);
    write_name(arena, record, &name);
    let asked = match descriptors {
        Some(descriptors) => forkserver::ask(arena, record, &mail, &descriptors)?,
        None => None,
    };
    let keeper = asked.is_some().then(sys::pid);
    let (pid, started) = match asked {
        Some(asked) => asked,
        None => {
            let (pid, pidfd) =
                exec(arena, record, &mail).inspect_err(|_| program::unreserve(arena, record))?;
            (pid, Started::Runs(pidfd))
        }
    };
    let (pidfd, status) = match started {
        Started::Runs(pidfd) => (pidfd, None),
        Started::Ended(pidfd, code) => (
            pidfd,
            Some(code.map_or(ExitStatus::unknown(), ExitStatus::from_raw)),
        ),
    };
    Ok(Process {
        name,
        pid,
        pidfd,
        record,
        generation,
        keeper,
        mail,
        status,
        result: PhantomData,
    })
}

fn exec(arena: &Arena, record: u32, mail: &Mail) -> Result<(u32, OwnedFd)> {
    let pid = child::exec(arena, record, mail)?;
    let pidfd = sys::pidfd(pid).map_err(|e| {
        sys::discard(pid);
        Error::system("opening the process", e)
    })?;
    program::set_pid(arena, record, pid);
    Ok((pid, pidfd))
}

pub(crate) fn write_name(arena: &Arena, record: u32, name: &str) {
    let at = arena.layout().process(record) + word::RUNTIME;
    let mut end = name
        .len()
        .min((layout::PROCESS_BYTES - word::RUNTIME - 8) as usize);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    arena.write(at + 8, &name.as_bytes()[..end]);
    arena.store(at, end as u64);
}

fn read_name(arena: &Arena, record: u32) -> String {
    let at = arena.layout().process(record) + word::RUNTIME;
    let mut bytes = vec![
        0;
        arena
            .load(at)
            .min(layout::PROCESS_BYTES - word::RUNTIME - 8) as usize
    ];
    arena.read(at + 8, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that was started, and the result of type `R` that its function will return.
///
/// Dropping it neither ends nor waits for the process; the program's end does end it.
#[derive(Debug)]
pub struct Process<R> {
    name: String,
    pid: u32,
    pidfd: OwnedFd,
    record: u32,
    generation: u64,
    /// If it was asked of the template, who asked: the record is kept until he knows how it ended.
    keeper: Option<u32>,
    mail: Mail,
    status: Option<ExitStatus>,
    result: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Starts a process that calls `function` with `arguments`: a function, or a closure that captures nothing. Needs
    /// [`init`](super::init) first thing in `main`.
    ///
    /// ```standalone_crate
    /// fn main() -> procession::Result<()> {
    ///     procession::init();
    ///     let square = procession::Process::spawn(|n: u64| n * n, 12)?;
    ///     assert_eq!(square.join()?, 144);
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn<F, A>(function: F, arguments: A) -> Result<Self>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
    {
        Builder::default().spawn(function, arguments)
    }

    /// Waits for the end, and returns what the function returned. A panic is an error of kind [`Kind::Panicked`] with
    /// its message and place; a process that died otherwise one of kind [`Kind::ProcessDied`].
    pub fn join(mut self) -> Result<R> {
        let status = self
            .wait(None)?
            .expect("without a limit of time it has ended");
        if let Some(bytes) = self.mail.answer()? {
            let bytes = bytes?;
            return postcard::from_bytes(&bytes).map_err(|e| {
                Error::new(
                    Kind::Serialization,
                    format!("the result is not a {}: {e}", std::any::type_name::<R>()),
                )
            });
        }
        let (name, pid) = (&self.name, self.pid);
        let sentence =
            format!("process {name} ({pid}) ended before its function returned: {status}");
        Err(Error::of_death(Kind::ProcessDied, sentence, pid))
    }
}

impl Process<()> {
    /// A process with a name, or with processors of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<R> Process<R> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor that becomes readable when it ends: for `poll`.
    pub fn sentinel(&self) -> impl AsFd + '_ {
        self.pidfd.as_fd()
    }

    /// Waits for the end, for `timeout` at most, and says what it found.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Joined> {
        Ok(self
            .wait(time::deadline(Some(timeout)))?
            .map_or(Joined::Running, Joined::Ended))
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.wait(Some(0))
    }

    /// Whether it runs still.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.exit_status()?.is_none())
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it, by SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            // It has ended: what was wanted.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::system("sending a signal", error)),
        }
    }

    fn wait(&mut self, until: Option<u64>) -> Result<Option<ExitStatus>> {
        while self.status.is_none() {
            let left = time::left(until).map(|left| time::timespec(left.as_nanos() as u64));
            match sys::wait_ended(self.pidfd.as_fd(), left) {
                Ok(true) => self.status = Some(self.reap()),
                Ok(false) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::system("waiting for a process", error)),
            }
        }
        Ok(self.status)
    }

    fn reap(&self) -> ExitStatus {
        let arena = Arena::existing().expect("a process was started through the arena");
        let pidfd = self.pidfd.as_fd();
        let status = program::exit_of(Some(arena), pidfd, self.pid, self.record, self.generation)
            .map_or(ExitStatus::unknown(), ExitStatus::from_raw);
        self.let_go(arena);
        status
    }

    /// How it ended is known, or nobody wants to know it.
    fn let_go(&self, arena: &Arena) {
        match self.keeper {
            None => program::recover_if_gone(arena, self.record),
            Some(keeper) if keeper == sys::pid() => program::let_go(arena, self.record),
            // A fork, whose copy this is.
            Some(_) => {}
        }
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        // What has ended already is not left behind as a zombie.
        let ended = matches!(self.wait(Some(0)), Ok(Some(_)));
        if let Some(arena) = Arena::existing().filter(|_| !ended) {
            self.let_go(arena);
        }
    }
}

/// A child of this process that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The children that this process started and that have not ended.
pub fn active_children() -> Vec<Child> {
    let Some(arena) = Arena::existing() else {
        return Vec::new();
    };
    let me = program::parent_word(arena, arena.my_process());
    let high = arena
        .load(layout::header::PROCESSES_HIGH)
        .min(arena.layout().process_count) as u32;
    let mut children = Vec::new();
    for index in 0..high {
        let at = arena.layout().process(index);
        let process = program::identity(arena, index);
        let mine = state(arena, index) != State::Vacant
            && arena.load(at + word::PARENT) == me
            && !template::is_template(arena, index);
        if mine && process.pid != 0 && !process.is_gone() {
            children.push(Child {
                pid: process.pid,
                name: read_name(arena, index),
            });
        }
    }
    children
}
