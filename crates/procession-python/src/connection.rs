//! Messages over descriptors, in the format of multiprocessing's connections, and waiting for several.

use crate::blocking::{deadline, released};
use crate::calls::call;
use crate::errors::to_python;
use procession::connection::auth;
use procession::connection::connect::{Progress, go_on};
use procession::connection::frame::{Came, Incoming, Outgoing};
use procession::connection::{Acceptor as Accepting, wait_until};
use procession::{Error, Kind, descriptor};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyEOFError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{BorrowedFd, IntoRawFd};
use rustix::io::Errno;
use std::time::Duration;

fn system(error: Errno) -> Error {
    match error {
        Errno::INTR => Error::new(Kind::Interrupted, "a signal came"),
        error => Error::new(Kind::System, std::io::Error::from(error).to_string()),
    }
}

fn borrowed<'a>(fd: i32) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyOSError::new_err("handle is closed"));
    }
    // SAFETY: the caller, a Connection or a socket, keeps the descriptor open during the call.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether there is something to read within `timeout` seconds.
#[pyfunction]
pub fn poll(py: Python<'_>, fd: i32, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
    let fd = borrowed(fd)?;
    let until = deadline(timeout.as_ref())?;
    released(py, || {
        descriptor::wait(fd, PollFlags::IN, until).map_err(system)
    })
}

/// Which of the descriptors have something to read within `timeout` seconds, by their places.
#[pyfunction]
#[pyo3(signature = (fds, timeout = None))]
pub fn wait(
    py: Python<'_>,
    fds: Vec<i32>,
    timeout: Option<Bound<'_, PyAny>>,
) -> PyResult<Vec<usize>> {
    let until = deadline(timeout.as_ref())?;
    let mut wanted = Vec::with_capacity(fds.len());
    for fd in fds {
        if fd < 0 {
            return Err(PyValueError::new_err(format!(
                "a descriptor to wait for is 0 or more, not {fd}"
            )));
        }
        wanted.push(PollFd::from_borrowed_fd(borrowed(fd)?, PollFlags::IN));
    }
    released(py, || wait_until(&mut wanted, until))
}

/// Writes a message: all of it.
#[pyfunction]
pub fn write_message(py: Python<'_>, fd: i32, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let fd = borrowed(fd)?;
    let data = PyBuffer::<u8>::get(data)?;
    if !data.is_c_contiguous() {
        return Err(PyTypeError::new_err(
            "the bytes to send must lie side by side, and those of a view with steps do not: send bytes(view)",
        ));
    }
    let len = data.len_bytes();
    // SAFETY: the buffer is held until the end of the call, is as long, and contiguous.
    let bytes = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), len) };
    let mut outgoing = Outgoing::new(len);
    released(py, || outgoing.write(fd, bytes))
}

/// Reads a message; None if it is longer than `maxlength`. EOFError if there is none and never will be.
#[pyfunction]
#[pyo3(signature = (fd, maxlength = None))]
pub fn read_message<'py>(
    py: Python<'py>,
    fd: i32,
    maxlength: Option<u64>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let fd = borrowed(fd)?;
    let mut incoming = Incoming::new(maxlength);
    let came = released(py, || match incoming.read(fd) {
        Err(error) if error.kind() == Kind::Disconnected => Ok(None),
        came => came.map(Some),
    })?;
    match came {
        Some(Came::Message(bytes)) => Ok(Some(PyBytes::new(py, &bytes))),
        Some(Came::TooLong(_)) => Ok(None),
        None => Err(PyEOFError::new_err(())),
    }
}

/// Connects a socket that does not block. `attempt` calls its connect and returns the system's number, 0 if it is done.
#[pyfunction]
pub fn connect(py: Python<'_>, fd: i32, attempt: Py<PyAny>) -> PyResult<()> {
    let fd = borrowed(fd)?;
    let mut progress = Progress::Idle;
    let mut raised = None;
    let connected = released(py, || {
        go_on(fd, &mut progress, || {
            let code = Python::attach(|py| call(attempt.bind(py), &[])?.extract::<i32>());
            match code {
                Ok(0) => Ok(()),
                Ok(code) => Err(Errno::from_raw_os_error(code)),
                Err(error) => {
                    raised = Some(error);
                    Err(Errno::CANCELED)
                }
            }
        })
    });
    raised.map_or(connected, Err)
}

/// Accepts on a socket that somebody else keeps open.
#[pyclass(frozen, module = "procession")]
#[derive(Default)]
pub struct Acceptor {
    accepting: Accepting,
}

#[pymethods]
impl Acceptor {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The descriptor of the next one who connects and, with a key, proves within `limit` seconds that he has it.
    #[pyo3(signature = (fd, key, limit, timeout = None))]
    fn accept(
        &self,
        py: Python<'_>,
        fd: i32,
        key: Option<&[u8]>,
        limit: f64,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<i32> {
        let fd = borrowed(fd)?;
        let limit = Duration::try_from_secs_f64(limit)
            .map_err(|error| PyValueError::new_err(format!("a time limit of {limit}: {error}")))?;
        let until = deadline(timeout.as_ref())?;
        released(py, || self.accepting.accept(fd, key, limit, until)).map(IntoRawFd::into_raw_fd)
    }
}

/// A fresh challenge that names this digest, without what stands before it.
#[pyfunction]
pub fn challenge<'py>(py: Python<'py>, digest: &str) -> PyResult<Bound<'py, PyBytes>> {
    let found = auth::Digest::named(digest.as_bytes())
        .ok_or_else(|| PyValueError::new_err(format!("there is no digest {digest:?}")))?;
    let made = auth::challenge(found).map_err(|error| to_python(py, &error))?;
    Ok(PyBytes::new(py, &made))
}

/// The answer to a challenge.
#[pyfunction]
pub fn answer<'py>(py: Python<'py>, key: &[u8], challenge: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let made = auth::answer(key, challenge).map_err(|error| to_python(py, &error))?;
    Ok(PyBytes::new(py, &made))
}

/// Raises AuthenticationError unless the answer fits the challenge.
#[pyfunction]
pub fn verify(py: Python<'_>, key: &[u8], challenge: &[u8], answer: &[u8]) -> PyResult<()> {
    auth::verify(key, challenge, answer).map_err(|error| to_python(py, &error))
}

/// The name of the digest that a message names, "" if it is an old peer's, and what follows the name.
#[pyfunction]
pub fn split<'py>(
    py: Python<'py>,
    message: &[u8],
) -> PyResult<(&'static str, Bound<'py, PyBytes>)> {
    let (digest, rest) = auth::split(message).map_err(|error| to_python(py, &error))?;
    Ok((
        digest.map_or("", auth::Digest::name),
        PyBytes::new(py, rest),
    ))
}
