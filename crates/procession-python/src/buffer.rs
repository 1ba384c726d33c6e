//! A received buffer: memory that Python reads and writes in place.

use procession::view::View;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;

/// A large buffer that came through a queue. It is this process's own, as a copy would be.
#[pyclass(frozen, module = "procession")]
pub struct Buffer {
    view: View,
}

impl Buffer {
    pub fn new(view: View) -> Self {
        Self { view }
    }
}

#[pymethods]
impl Buffer {
    fn __len__(&self) -> usize {
        self.view.as_ptr().1
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (at, len) = slf.get().view.as_ptr();
        // SAFETY: Python gives a valid Py_buffer; the memory is the view's until it is dropped, and the
        // Py_buffer holds a reference to this object, which owns the view.
        let failed = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                at.cast(),
                len as ffi::Py_ssize_t,
                0,
                flags,
            )
        };
        if failed != 0 {
            return Err(PyErr::take(slf.py())
                .unwrap_or_else(|| PyBufferError::new_err("the buffer can't be shown")));
        }
        Ok(())
    }
}
