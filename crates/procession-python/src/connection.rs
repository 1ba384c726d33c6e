//! Messages over descriptors, in the format of multiprocessing's connections: the length, then the bytes.

use crate::blocking::{deadline, released};
use procession::{Error, Kind, descriptor};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyEOFError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io::IoSlice;

fn system(error: Errno) -> Error {
    match error {
        Errno::INTR => Error::new(Kind::Interrupted, "a signal came"),
        error => Error::new(Kind::System, std::io::Error::from(error).to_string()),
    }
}

fn os_error(error: Errno) -> PyErr {
    let error = std::io::Error::from(error);
    PyErr::from(error)
}

fn borrowed<'a>(fd: i32) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyOSError::new_err("handle is closed"));
    }
    // SAFETY: the caller, a Connection, keeps the descriptor open during the call.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether there is something to read within `timeout` seconds.
#[pyfunction]
pub fn poll(py: Python<'_>, fd: i32, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
    let fd = borrowed(fd)?;
    let until = deadline(timeout.as_ref())?;
    ready(py, fd, PollFlags::IN, until)
}

/// Waits, with the interpreter released and signals looked at, until one of `wants` holds.
fn ready(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    wants: PollFlags,
    until: Option<u64>,
) -> PyResult<bool> {
    released(py, || descriptor::wait(fd, wants, until).map_err(system))
}

/// Calls a function of a descriptor that does not wait, until it is done; waits in between.
fn call<T: Send>(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    wants: PollFlags,
    mut call: impl FnMut() -> rustix::io::Result<T> + Send,
) -> PyResult<T> {
    loop {
        match py.detach(&mut call) {
            Err(Errno::INTR) => py.check_signals()?,
            Err(Errno::AGAIN) => {
                ready(py, fd, wants, None)?;
            }
            done => return done.map_err(os_error),
        }
    }
}

/// Writes a message: all of it.
#[pyfunction]
pub fn write_message(py: Python<'_>, fd: i32, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let fd = borrowed(fd)?;
    let data = PyBuffer::<u8>::get(data)?;
    let len = data.len_bytes();
    let mut header = Vec::with_capacity(12);
    match i32::try_from(len) {
        Ok(len) => header.extend(len.to_be_bytes()),
        Err(_) => {
            header.extend((-1_i32).to_be_bytes());
            header.extend((len as u64).to_be_bytes());
        }
    }
    // SAFETY: the buffer is held until the end of the call and is as long; the connection has asked for a contiguous one.
    let bytes = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), len) };
    let mut done = 0;
    while done < header.len() + len {
        let head = &header[done.min(header.len())..];
        let body = &bytes[done.saturating_sub(header.len())..];
        done += call(py, fd, PollFlags::OUT, || {
            descriptor::write_now(fd, &[IoSlice::new(head), IoSlice::new(body)])
        })?;
    }
    Ok(())
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
    let mut header = [0; 4];
    read_exact(py, fd, &mut header, true)?;
    let len = match i32::from_be_bytes(header) {
        -1 => {
            let mut long = [0; 8];
            read_exact(py, fd, &mut long, false)?;
            u64::from_be_bytes(long)
        }
        len => u64::try_from(len)
            .map_err(|_| PyOSError::new_err(format!("bad message length {len}")))?,
    };
    if maxlength.is_some_and(|max| len > max) {
        return Ok(None);
    }
    if len > isize::MAX as u64 {
        return Err(PyOSError::new_err(format!("bad message length {len}")));
    }
    // Grows with what has come: a length that lies costs no memory.
    let mut bytes = vec![0; (len as usize).min(64 << 10)];
    let mut have = 0;
    loop {
        let end = bytes.len();
        read_exact(py, fd, &mut bytes[have..end], false)?;
        have = end;
        if have == len as usize {
            return Ok(Some(PyBytes::new(py, &bytes)));
        }
        bytes.resize((have * 2).min(len as usize), 0);
    }
}

fn read_exact(py: Python<'_>, fd: BorrowedFd<'_>, into: &mut [u8], at_start: bool) -> PyResult<()> {
    let mut have = 0;
    while have < into.len() {
        let rest = &mut into[have..];
        match call(py, fd, PollFlags::IN, || descriptor::read_now(fd, rest))? {
            0 if at_start && have == 0 => return Err(PyEOFError::new_err(())),
            0 => return Err(PyOSError::new_err("got end of file during message")),
            n => have += n,
        }
    }
    Ok(())
}
