//! Processes, as the package's `Popen` classes need them.

use crate::blocking::{deadline, released};
use crate::calls::call;
use crate::errors::to_python;
use procession::arena::Arena;
use procession::shm::object::Handle;
use procession::sys::process as sys;
use procession::template::{self, Started};
use procession::{Error, Kind, Result, carrier, descriptor, program};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Mutex;

/// The exit code of a child that somebody else waited for and that left no word of its own.
const UNKNOWN: i32 = 255;

/// Shared objects as Python carries them: the id and the generation of each.
type Handles = Vec<(u64, u64)>;

/// A child of this process.
#[pyclass(frozen, module = "procession")]
pub struct Child {
    #[pyo3(get)]
    pub pid: u32,
    /// Readable once it has ended: its pidfd, or, if it had ended before that could be opened, a pipe without writer.
    pidfd: OwnedFd,
    /// If it was asked of the template, who asked: the record is kept until he knows how it ended.
    keeper: Option<u32>,
    pub record: u32,
    generation: u64,
    returncode: Mutex<Option<i32>>,
}

impl Child {
    fn new(arena: &Arena, pid: u32, record: Option<u32>) -> Result<Self> {
        let pidfd = sys::pidfd(pid).map_err(|error| {
            sys::discard(pid);
            Error::new(
                Kind::System,
                format!("opening process {pid}: {}", std::io::Error::from(error)),
            )
        })?;
        let record = record.unwrap_or(u32::MAX);
        if record != u32::MAX {
            program::set_pid(arena, record, pid);
        }
        let generation = if record == u32::MAX {
            0
        } else {
            program::generation(arena, record)
        };
        Ok(Self {
            pid,
            pidfd,
            keeper: None,
            record,
            generation,
            returncode: Mutex::new(None),
        })
    }

    /// A child that showed up under this record, and whose parent is the template.
    pub fn of_template(arena: &Arena, pid: u32, record: u32) -> Result<Self> {
        let generation = program::generation(arena, record);
        let (pidfd, returncode) = match template::open_started(arena, record)? {
            Started::Runs(pidfd) => (pidfd, None),
            Started::Ended(pidfd, code) => (pidfd, Some(code.unwrap_or(UNKNOWN))),
        };
        Ok(Self {
            pid,
            pidfd,
            keeper: Some(sys::pid()),
            record,
            generation,
            returncode: Mutex::new(returncode),
        })
    }

    fn send(&self, number: i32) -> std::io::Result<()> {
        // SAFETY: the descriptor is open and no memory is passed. rustix names the common signals only; any number
        // goes to the kernel.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                number,
                std::ptr::null::<u8>(),
                0,
            )
        };
        let error = std::io::Error::last_os_error();
        if sent != 0 && error.raw_os_error() != Some(libc::ESRCH) {
            return Err(error);
        }
        Ok(())
    }

    /// Ends a child that its starter does not want any more.
    pub fn kill(&self) {
        let _ = self.send(libc::SIGKILL);
    }

    /// The exit code is known, or nobody wants to know it. To be called once.
    fn let_go(&self, arena: &Arena) {
        match self.keeper {
            None => program::recover_if_gone(arena, self.record),
            Some(keeper) if keeper == sys::pid() => program::let_go(arena, self.record),
            // A fork, whose copy this is.
            Some(_) => {}
        }
    }

    fn known(&self) -> Option<i32> {
        *self
            .returncode
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether it ended by the deadline; its exit code is known then.
    fn wait_until(&self, until: Option<u64>) -> Result<Option<i32>> {
        if let Some(code) = self.known() {
            return Ok(Some(code));
        }
        match descriptor::wait(self.pidfd.as_fd(), PollFlags::IN, until) {
            Ok(true) => Ok(Some(self.reap())),
            Ok(false) => Ok(None),
            Err(Errno::INTR) => Err(Error::new(Kind::Interrupted, "a signal came")),
            Err(error) => Err(Error::new(
                Kind::System,
                std::io::Error::from(error).to_string(),
            )),
        }
    }

    fn reap(&self) -> i32 {
        let mut returncode = self
            .returncode
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(code) = *returncode {
            return code;
        }
        let arena = Arena::existing().filter(|_| self.record != u32::MAX);
        let pidfd = self.pidfd.as_fd();
        let code = program::exit_of(arena, pidfd, self.pid, self.record, self.generation)
            .unwrap_or(UNKNOWN);
        *returncode = Some(code);
        if let Some(arena) = arena {
            self.let_go(arena);
        }
        code
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(arena) = Arena::existing()
            && self.known().is_none()
        {
            self.let_go(arena);
        }
    }
}

#[pymethods]
impl Child {
    /// Waits for the end, for `timeout` seconds at most; the exit code, or None while it runs.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Option<i32>> {
        let until = deadline(timeout.as_ref())?;
        released(py, || self.wait_until(until))
    }

    /// The exit code, or None while it runs.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        loop {
            match self.wait_until(Some(0)) {
                Err(error) if error.kind() == Kind::Interrupted => {}
                done => return done.map_err(|error| to_python(py, &error)),
            }
        }
    }

    /// Sends a signal; does nothing if the process has ended.
    fn signal(&self, number: i32) -> PyResult<()> {
        if self.known().is_some() {
            return Ok(());
        }
        self.send(number)
            .map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// A descriptor that becomes readable when the process ends.
    fn fileno(&self) -> i32 {
        self.pidfd.as_raw_fd()
    }
}

/// Forks through `os.fork` a child that ends with the program: (0, None) in the child, (pid, Child) in the parent.
#[pyfunction]
pub fn fork(py: Python<'_>) -> PyResult<(u32, Option<Child>)> {
    let arena = Arena::get().map_err(|error| to_python(py, &error))?;
    let os = py.import("os")?;
    let forked: PyResult<u32> = program::forking(|| os.call_method0("fork")?.extract());
    let record = program::take_child_record();
    match forked {
        Ok(0) => Ok((0, None)),
        Ok(pid) => Ok((
            pid,
            Some(Child::new(arena, pid, record).map_err(|error| to_python(py, &error))?),
        )),
        Err(error) => {
            if let Some(record) = record {
                program::unreserve(arena, record);
            }
            Err(error)
        }
    }
}

/// Reserves the record of a child that is to be started.
#[pyfunction]
pub fn reserve(py: Python<'_>) -> PyResult<u32> {
    Arena::get()
        .and_then(program::reserve)
        .map_err(|error| to_python(py, &error))
}

/// Which use of a reserved record this is: a child that shows up later is told.
#[pyfunction]
pub fn generation(py: Python<'_>, record: u32) -> PyResult<u64> {
    Arena::get()
        .map(|arena| program::generation(arena, record))
        .map_err(|error| to_python(py, &error))
}

/// Gives a record up whose child was not started.
#[pyfunction]
pub fn unreserve(record: u32) {
    if let Some(arena) = Arena::existing() {
        program::unreserve(arena, record);
    }
}

/// Calls `write()`, which pickles something for the child of this record: (what it returned, the shared objects named).
#[pyfunction]
pub fn request<'py>(
    record: u32,
    write: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Handles)> {
    let (written, handles) = carrier::to_child(record, || call(write, &[]));
    Ok((
        written?,
        handles
            .iter()
            .map(|handle| (handle.id, handle.generation))
            .collect(),
    ))
}

/// The descriptors that a child needs: the arena's, and the one by which it ends with the program.
#[pyfunction]
pub fn spawn_descriptors(py: Python<'_>) -> PyResult<(i32, i32)> {
    let arena = Arena::get().map_err(|error| to_python(py, &error))?;
    let file = arena.file().map_err(|error| to_python(py, &error))?;
    Ok((file.as_raw_fd(), program::root_read_end(arena)))
}

/// The child of this record, once it was started.
#[pyfunction]
pub fn child_started(py: Python<'_>, pid: u32, record: u32) -> PyResult<Child> {
    let child = Arena::get().and_then(|arena| Child::new(arena, pid, Some(record)));
    child.map_err(|error| to_python(py, &error))
}

/// In a child that ran the program again: joins the program that started it.
#[pyfunction]
pub fn attach(py: Python<'_>, arena: i32, root: i32, record: u32, generation: u64) -> PyResult<()> {
    // SAFETY: the starter passed this descriptor to this process, for this use only.
    let file = unsafe { OwnedFd::from_raw_fd(arena) };
    let _ = rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC);
    Arena::attach(file, root, record, Some(generation))
        .map(drop)
        .map_err(|error| to_python(py, &error))
}

/// The child has unpickled all that `request` wrote.
#[pyfunction]
pub fn arrived(handles: Handles) {
    let handles: Vec<Handle> = handles
        .into_iter()
        .map(|(id, generation)| Handle { id, generation })
        .collect();
    carrier::arrived(&handles);
}

/// The process is about to end by `os._exit(code)`, as it was meant to.
#[pyfunction]
pub fn end_process(code: i32) {
    program::end_process(code);
}
