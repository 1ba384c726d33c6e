//! A received buffer: memory that Python reads and writes in place.

use crate::memory::fill_buffer;
use procession::view::View;
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
        // SAFETY: the memory is the view's until it is dropped, and this object owns the view.
        unsafe { fill_buffer(slf.as_any(), slf.get().view.as_ptr(), view, flags) }
    }
}
