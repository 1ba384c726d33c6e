//! Descriptors on their way to another process of the program, for the reducers of what owns one.

use crate::errors::to_python;
use crate::pickling;
use procession::arena::Arena;
use procession::object::Name;
use procession::parcel::{self, Label};
use procession::{Error, Kind};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::fd::{BorrowedFd, IntoRawFd};

/// A label as Python carries it: the program, the token, the slot, and whether several will receive it.
type Parcel = (u64, u64, u64, u64, u64, bool);

/// Sends a copy of the descriptor, within a pickle; None if too many are on their way.
#[pyfunction]
pub fn send_parcel(py: Python<'_>, fd: i32) -> PyResult<Option<Parcel>> {
    if fd < 0 {
        return Err(PyOSError::new_err("handle is closed"));
    }
    // SAFETY: the caller, a Connection, keeps the descriptor open during the call.
    let sent = parcel::send(unsafe { BorrowedFd::borrow_raw(fd) });
    let label = sent.map_err(|error| to_python(py, &error))?;
    Ok(label.map(|Label { token, slot }| {
        let Name {
            program: (high, low),
            id,
            generation,
        } = token;
        (high, low, id, generation, slot, pickling::is_whole())
    }))
}

/// The descriptor of a parcel, now the caller's.
#[pyfunction]
pub fn receive_parcel(py: Python<'_>, parcel: Parcel) -> PyResult<i32> {
    let (high, low, id, generation, slot, whole) = parcel;
    let token = Name {
        program: (high, low),
        id,
        generation,
    };
    let received = parcel::receive(Label { token, slot }, whole);
    let failed = |error: Error| match error.kind() {
        Kind::Gone => PyOSError::new_err(error.to_string()),
        _ => to_python(py, &error),
    };
    received.map(IntoRawFd::into_raw_fd).map_err(failed)
}

/// The descriptors by which others travel, for the process that is started with this record: it inherits them.
#[pyfunction]
pub fn hand_on(py: Python<'_>, record: u32) -> PyResult<Vec<i32>> {
    let arena = Arena::get().map_err(|error| to_python(py, &error))?;
    Ok(parcel::hand_on(arena, record))
}
