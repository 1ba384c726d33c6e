//! The template, as the package's `popen_forkserver` and `template` need it.

use crate::blocking::released;
use crate::child::Child;
use crate::errors::to_python;
use procession::arena::Arena;
use procession::sys::process as sys;
use procession::template::{self, Answer};
use procession::{Error, Kind, process, program};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

fn arena(py: Python<'_>) -> PyResult<&'static Arena> {
    Arena::get().map_err(|error| to_python(py, &error))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a child inherits beside memory, with the descriptors that go with it.
#[pyclass(frozen, module = "procession")]
pub struct Surroundings {
    surroundings: process::Surroundings,
    descriptors: process::Descriptors,
}

#[pymethods]
impl Surroundings {
    /// As bytes, for a request.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.surroundings.to_bytes();
        bytes
            .map(|bytes| PyBytes::new(py, &bytes))
            .map_err(|error| to_python(py, &error))
    }
}

/// What a child of the calling thread would inherit.
#[pyfunction]
pub fn surroundings(py: Python<'_>) -> PyResult<Surroundings> {
    let (surroundings, descriptors) =
        process::Surroundings::capture().map_err(|error| to_python(py, &error))?;
    Ok(Surroundings {
        surroundings,
        descriptors,
    })
}

/// A process that the template is asked for.
#[pyclass(frozen, module = "procession")]
pub struct Request {
    record: u32,
    request: Mutex<template::Request>,
    // Open until the process has them.
    _surroundings: Py<Surroundings>,
    _kept: [OwnedFd; 2],
}

#[pymethods]
impl Request {
    /// For the process of a reserved record: `mail` is the file of what it is to do, `descriptors` are those that it
    /// gets beside the standard streams.
    #[new]
    fn new(
        py: Python<'_>,
        record: u32,
        mail: i32,
        surroundings: Py<Surroundings>,
        descriptors: Vec<i32>,
    ) -> PyResult<Self> {
        let failed = |error: &Error| to_python(py, error);
        let me = sys::pidfd(sys::pid()).map_err(|e| {
            failed(&Error::new(
                Kind::System,
                format!("opening this process: {e}"),
            ))
        })?;
        // SAFETY: the caller has it open.
        let mail = unsafe { BorrowedFd::borrow_raw(mail) }.try_clone_to_owned()?;
        let mut all = vec![mail.as_raw_fd(), me.as_raw_fd()];
        all.extend(surroundings.get().descriptors.list());
        all.extend(descriptors);
        let request =
            template::Request::new(arena(py)?, record, all).map_err(|error| failed(&error))?;
        Ok(Self {
            record,
            request: Mutex::new(request),
            _surroundings: surroundings,
            _kept: [mail, me],
        })
    }

    /// Waits for the process: a Child. An int: the caller is to start a template with this record, and to call again. A
    /// pair (text, first): no template serves here, and why; whether nobody has been told before.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let arena = arena(py)?;
        let answer = released(py, || locked(&self.request).wait(arena))?;
        match answer {
            Answer::Started(pid) => {
                let child = Child::of_template(arena, pid, self.record)
                    .map_err(|error| to_python(py, &error))?;
                Ok(Bound::new(py, child)?.into_any())
            }
            Answer::Start(record) => Ok(record.into_pyobject(py)?.into_any()),
            Answer::Unfit { why, first } => Ok((why, first).into_pyobject(py)?.into_any()),
        }
    }

    /// Takes the request back; a process that has it already is killed.
    fn withdraw(&self, py: Python<'_>) -> PyResult<()> {
        let arena = arena(py)?;
        py.detach(|| locked(&self.request).cancel(arena));
        Ok(())
    }
}

/// Runs a program as the template of a record that `Request.wait` gave. Of the caller's descriptors it gets these.
#[pyfunction]
pub fn start_template(
    py: Python<'_>,
    record: u32,
    path: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    descriptors: Vec<i32>,
) -> PyResult<u32> {
    let c = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| {
            pyo3::exceptions::PyValueError::new_err("embedded null byte in the command line")
        })
    };
    let path = c(path)?;
    let arguments = arguments.into_iter().map(c).collect::<PyResult<Vec<_>>>()?;
    template::start(arena(py)?, record, &path, &arguments, &descriptors)
        .map_err(|error| to_python(py, &error))
}

/// The ends on which templates are asked: (to send, to receive, for whom), if this process has any.
#[pyfunction]
pub fn template_ends() -> Option<(i32, i32, u64)> {
    template::ends()
}

/// In a child: these ends were handed on to it.
#[pyfunction]
pub fn adopt_ends(send: i32, receive: i32, standing: u64) {
    template::adopt(send, receive, standing);
}

/// This process as the template.
#[pyclass(frozen, module = "procession")]
pub struct Template(template::Template);

#[pymethods]
impl Template {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        template::Template::open(arena(py)?)
            .map(Self)
            .map_err(|error| to_python(py, &error))
    }

    /// It serves from now on.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        self.0.ready(arena(py)?);
        Ok(())
    }

    /// It can't serve, and why: its end.
    fn unfit(&self, py: Python<'_>, why: &str) -> PyResult<()> {
        self.0.unfit(arena(py)?, why);
        Ok(())
    }

    /// Waits until a spare is wanted; False if this is the template no more.
    fn wait(&self, py: Python<'_>) -> PyResult<bool> {
        let arena = arena(py)?;
        py.detach(|| self.0.wait(arena))
            .map_err(|error| to_python(py, &error))
    }

    /// Forks a spare, through `os.fork`. In the spare, waits for a request, and then is the process that was asked for.
    fn fork(&self, py: Python<'_>) -> PyResult<Option<Taken>> {
        let arena = arena(py)?;
        let os = py.import("os")?;
        let forked: PyResult<u32> = program::forking(|| os.call_method0("fork")?.extract());
        let record = program::take_child_record();
        match forked {
            Ok(0) => {
                let taken = py.detach(|| self.0.take(arena));
                taken
                    .map(|taken| Some(Taken(Mutex::new(Some(taken.descriptors)))))
                    .map_err(|error| to_python(py, &error))
            }
            Ok(pid) => {
                self.0.forked(arena, pid, record);
                Ok(None)
            }
            Err(error) => {
                if let Some(record) = record {
                    program::unreserve(arena, record);
                }
                Err(error)
            }
        }
    }

    /// The descriptors that a child of the template has no use for.
    fn descriptors(&self) -> [i32; 3] {
        self.0.descriptors()
    }
}

/// A request, in the process that was a spare and is now what was asked for.
#[pyclass(frozen, module = "procession")]
pub struct Taken(Mutex<Option<Vec<OwnedFd>>>);

#[pymethods]
impl Taken {
    /// Its file, and a descriptor that becomes readable when the requester ends. To be called first, and once.
    fn mail(&self) -> PyResult<(i32, i32)> {
        let mut descriptors = locked(&self.0);
        match descriptors.as_mut() {
            Some(all) if all.len() >= 2 => {
                let rest = all.split_off(2);
                let first: Vec<i32> = std::mem::replace(all, rest)
                    .into_iter()
                    .map(IntoRawFd::into_raw_fd)
                    .collect();
                Ok((first[0], first[1]))
            }
            _ => Err(pyo3::exceptions::PyOSError::new_err(
                "the request came without its descriptors",
            )),
        }
    }

    /// Puts the requester's surroundings in place: (environment, ignored signals, the descriptors handed on).
    #[expect(clippy::type_complexity, reason = "read at one place")]
    fn enter<'py>(
        &self,
        py: Python<'py>,
        surroundings: &[u8],
    ) -> PyResult<(
        Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>,
        Vec<i32>,
        Vec<i32>,
    )> {
        let descriptors = locked(&self.0).take().unwrap_or_default();
        let entered = process::Surroundings::from_bytes(surroundings)
            .and_then(|around| around.apply(descriptors).map(|rest| (around, rest)));
        let (around, rest) = entered.map_err(|error| to_python(py, &error))?;
        let environ = around
            .environ()
            .iter()
            .map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)))
            .collect();
        let rest = rest.into_iter().map(IntoRawFd::into_raw_fd).collect();
        Ok((environ, around.ignored(), rest))
    }
}
