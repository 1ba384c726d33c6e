//! `Memory`: bytes of the arena that Python, and ctypes, read and write in place.

use crate::rebuild::{self, delivered_or};
use procession::memory as runtime;
use pyo3::exceptions::{PyBufferError, PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::c_int;

/// Shows memory that lives as long as `owner` does as a writable buffer.
///
/// # Safety
/// `view` is the Py_buffer that Python gave to `__getbuffer__` of `owner`, which keeps the memory.
pub unsafe fn fill_buffer(
    owner: &Bound<'_, PyAny>,
    (at, len): (*mut u8, usize),
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    let len = len as ffi::Py_ssize_t;
    // SAFETY: as the caller says; the Py_buffer holds a reference to the owner.
    let failed = unsafe { ffi::PyBuffer_FillInfo(view, owner.as_ptr(), at.cast(), len, 0, flags) };
    if failed == 0 {
        return Ok(());
    }
    Err(PyErr::take(owner.py())
        .unwrap_or_else(|| PyBufferError::new_err("the buffer can't be shown")))
}

/// `size` bytes of memory, zero at first, which all processes that have it read and write in place.
///
/// It stays the same memory through forks, and travels through queues and as an argument. A process that dies leaves it
/// as it had written it; it is gone with the last reference of any process. There is no lock: see
/// `procession.sharedctypes`.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Memory {
    memory: runtime::Memory,
}

#[pymethods]
impl Memory {
    #[new]
    #[pyo3(signature = (size = 0))]
    fn new(py: Python<'_>, size: isize) -> PyResult<Self> {
        let len = u64::try_from(size)
            .map_err(|_| PyValueError::new_err(format!("size must be 0 or more, not {size}")))?;
        if len > isize::MAX as u64 / 2 {
            return Err(PyOverflowError::new_err(format!(
                "Size {size} too large: no memory is as large"
            )));
        }
        let memory = delivered_or(py, runtime::Memory::from_object, || {
            runtime::Memory::new(len)
        })?;
        Ok(Self { memory })
    }

    fn __len__(&self) -> usize {
        self.memory.as_ptr().1
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: the memory is there as long as this object.
        unsafe { fill_buffer(slf.as_any(), slf.get().memory.as_ptr(), view, flags) }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        rebuild::describe(slf.as_any(), &format!("{} bytes", slf.get().__len__()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        rebuild::reduce(
            slf.as_any(),
            "Memory",
            slf.get().memory.object(),
            PyTuple::empty(slf.py()),
        )
    }
}
