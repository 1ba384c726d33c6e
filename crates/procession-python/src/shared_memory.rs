//! Memory with a name, as the package's `shared_memory` needs it; and its janitor.

use crate::memory::fill_buffer;
use procession::shared_memory::{self as runtime, Name};
use procession::sys::named_file::Mapping;
use procession::{Error, janitor};
use pyo3::exceptions::{PyBufferError, PyOSError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CString, OsStr, OsString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory with a name: its bytes, mapped until `close()`, or until the last view of them is gone.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct NamedMemory {
    name: Name,
    mapping: Mutex<Option<Mapping>>,
    /// How many buffers show it.
    shown: AtomicUsize,
}

impl NamedMemory {
    fn of((name, mapping): (Name, Mapping)) -> Self {
        Self {
            name,
            mapping: Mutex::new(Some(mapping)),
            shown: AtomicUsize::new(0),
        }
    }

    fn mapping(&self) -> MutexGuard<'_, Option<Mapping>> {
        self.mapping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exception for an error about this name, as the system's own calls raise it.
fn raised(py: Python<'_>, name: &OsStr, error: &Error) -> PyErr {
    match error.os_error() {
        Some(number) => {
            let text = std::io::Error::from_raw_os_error(number).to_string();
            // Without the number that Rust adds.
            let text = text
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_string();
            let mut shown = OsString::from("/");
            shown.push(name);
            PyOSError::new_err((number, text, shown))
        }
        None => crate::errors::to_python(py, error),
    }
}

fn checked(name: &OsStr) -> PyResult<()> {
    if name.as_bytes().contains(&0) {
        return Err(PyValueError::new_err(
            "embedded null character in the name of shared memory",
        ));
    }
    Ok(())
}

fn c(bytes: Vec<u8>) -> PyResult<CString> {
    CString::new(bytes)
        .map_err(|_| PyValueError::new_err("embedded null byte in the janitor's command line"))
}

#[pymethods]
impl NamedMemory {
    /// Makes memory of this name and size. With a command line for a janitor, a program and its first arguments, the name
    /// goes with the program at the latest.
    #[staticmethod]
    fn create(
        py: Python<'_>,
        name: OsString,
        size: usize,
        janitor: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    ) -> PyResult<Self> {
        checked(&name)?;
        let janitor = match janitor {
            Some((path, words)) => {
                let words = words.into_iter().map(c).collect::<PyResult<Vec<_>>>()?;
                Some((c(path)?, words))
            }
            None => None,
        };
        let made = match &janitor {
            Some((path, words)) => {
                let command = |numbers: [u64; 3]| {
                    let numbers = numbers.map(|number| {
                        CString::new(number.to_string()).expect("a number has no NUL")
                    });
                    (path.clone(), words.iter().cloned().chain(numbers).collect())
                };
                runtime::create(&name, size, Some(&command))
            }
            None => runtime::create(&name, size, None),
        };
        made.map(Self::of)
            .map_err(|error| raised(py, &name, &error))
    }

    /// Opens memory of this name.
    #[staticmethod]
    fn open(py: Python<'_>, name: OsString) -> PyResult<Self> {
        checked(&name)?;
        let opened = runtime::open(&name);
        opened
            .map(Self::of)
            .map_err(|error| raised(py, &name, &error))
    }

    fn __len__(&self) -> usize {
        self.mapping()
            .as_ref()
            .map_or(0, |mapping| mapping.as_ptr().1)
    }

    /// Gives the memory back to the system. BufferError if it is shown by a buffer still.
    fn close(&self) -> PyResult<()> {
        let mut mapping = self.mapping();
        if self.shown.load(Ordering::Relaxed) > 0 {
            return Err(PyBufferError::new_err(
                "cannot close exported pointers exist",
            ));
        }
        *mapping = None;
        Ok(())
    }

    /// Takes the name away. FileNotFoundError if nothing has it any more.
    fn unlink(&self, py: Python<'_>) -> PyResult<()> {
        let unlinked = self.name.unlink();
        unlinked.map_err(|error| raised(py, self.name.as_os_str(), &error))
    }

    /// The end of the program leaves the name there.
    fn untrack(&self) {
        self.name.untrack();
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let at = this.mapping().as_ref().map(Mapping::as_ptr);
        let at = at.ok_or_else(|| PyValueError::new_err("the shared memory was closed"))?;
        // SAFETY: the memory is mapped until no buffer shows it any more.
        unsafe { fill_buffer(slf.as_any(), at, view, flags) }?;
        this.shown.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.shown.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves as the janitor until the program is over, and ends the process.
#[pyfunction]
pub fn serve_as_janitor(numbers: Vec<u64>) {
    let code = janitor::serve(&numbers).unwrap_or(2);
    procession::sys::process::exit_now(code);
}
