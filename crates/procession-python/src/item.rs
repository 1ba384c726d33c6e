//! Items as bytes: what is put into a queue, and the arguments and results of tasks.

use crate::buffer::Buffer;
use crate::errors::to_python;
use crate::pickling::{self, Pickled};
use procession::Error;
use procession::arena::Arena;
use procession::queue::Draft;
use procession::shm::message::{Message, Summary};
use procession::shm::object::Handle;
use procession::shm::queue::{Got, INLINE};
use procession::shm::tag::Holds;
use procession::view::{Outgoing, Reserved};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString};

// Kinds of message. What is exactly of one of these types needs no pickle.
pub const PICKLE: u8 = 0;
const NONE: u8 = 1;
const TRUE: u8 = 2;
const FALSE: u8 = 3;
const INT: u8 = 4;
const FLOAT: u8 = 5;
const STR: u8 = 6;
const BYTES: u8 = 7;

/// Copies longer than this are made with the interpreter released.
const LONG_COPY: usize = 1 << 20;

/// An item as bytes that need no pickle.
pub enum Plain<'a> {
    Number(u8, [u8; 8]),
    Text(u8, &'a [u8]),
}

impl Plain<'_> {
    pub fn kind(&self) -> u8 {
        match self {
            Plain::Number(kind, _) | Plain::Text(kind, _) => *kind,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Plain::Number(_, bytes) => bytes,
            Plain::Text(_, bytes) => bytes,
        }
    }
}

/// The item as bytes, if it is exactly of a type that needs no pickle.
pub fn plain<'a>(item: &'a Bound<'_, PyAny>) -> Option<Plain<'a>> {
    if item.is_none() {
        return Some(Plain::Text(NONE, &[]));
    }
    if let Ok(int) = item.cast_exact::<PyInt>() {
        let int = int.extract::<i64>().ok()?;
        return Some(Plain::Number(INT, int.to_le_bytes()));
    }
    if let Ok(string) = item.cast_exact::<PyString>() {
        // Lone surrogates have no UTF-8: those are pickled.
        return Some(Plain::Text(STR, string.to_str().ok()?.as_bytes()));
    }
    if let Ok(bytes) = item.cast_exact::<PyBytes>() {
        return Some(Plain::Text(BYTES, bytes.as_bytes()));
    }
    if let Ok(float) = item.cast_exact::<PyFloat>() {
        return Some(Plain::Number(FLOAT, float.value().to_le_bytes()));
    }
    let truth = item.cast_exact::<PyBool>().ok()?.is_true();
    Some(Plain::Text(if truth { TRUE } else { FALSE }, &[]))
}

/// A message of these bytes, objects and buffers.
pub fn message(
    py: Python<'_>,
    arena: &'static Arena,
    kind: u8,
    bytes: &[u8],
    handles: &[Handle],
    buffers: &[Py<PyAny>],
) -> PyResult<Draft> {
    let draft = Draft::new(
        arena,
        kind,
        bytes.len() as u64,
        handles,
        buffers.len() as u64,
    )
    .map_err(|error| to_python(py, &error))?;
    if bytes.len() > LONG_COPY {
        py.detach(|| draft.write(bytes));
    } else {
        draft.write(bytes);
    }
    send_buffers(py, arena, draft.message(), handles.len() as u64, buffers)?;
    Ok(draft)
}

/// Copies buffers into blocks that travel with the message, listed from part `first` on.
pub fn send_buffers(
    py: Python<'_>,
    arena: &'static Arena,
    message: &Message<'static, Arena>,
    first: u64,
    buffers: &[Py<PyAny>],
) -> PyResult<()> {
    let fail = |error: Error| to_python(py, &error);
    for (index, buffer) in (first..).zip(buffers) {
        let raw = pickling::raw_bytes(buffer.bind(py))?;
        let outgoing = Outgoing::new(arena, raw.len_bytes() as u64).map_err(fail)?;
        let (from, into, len) = (
            raw.buf_ptr() as usize,
            outgoing.as_ptr().0 as usize,
            raw.len_bytes(),
        );
        // SAFETY: `raw` holds its `len` bytes; the block of `outgoing` is ours and as long. The bytes may
        // change while they are copied only if the program changes what it puts at that moment.
        py.detach(|| unsafe {
            std::ptr::copy_nonoverlapping(from as *const u8, into as *mut u8, len)
        });
        outgoing.send(message, index);
    }
    Ok(())
}

/// A message of a pickled item.
pub fn pickled_message(
    py: Python<'_>,
    arena: &'static Arena,
    kind: u8,
    item: &Pickled,
) -> PyResult<Draft> {
    message(py, arena, kind, &item.bytes, &item.handles, &item.buffers)
}

/// What is made before an item is taken, so that nothing fails after that but its own unpickling.
#[derive(Default)]
pub struct Ready {
    bytes: Option<Py<PyBytes>>,
    len: usize,
    buffers: Vec<Reserved>,
}

impl Ready {
    fn needs_bytes(summary: Summary) -> bool {
        summary.kind == BYTES && summary.len > INLINE as u64
    }

    pub fn fits(&self, summary: Summary) -> bool {
        (!Self::needs_bytes(summary) || self.bytes.is_some() && self.len as u64 == summary.len)
            && self.buffers.len() as u64 >= summary.parts
    }

    pub fn new(py: Python<'_>, summary: Summary) -> PyResult<Self> {
        let mut ready = Self::default();
        if Self::needs_bytes(summary) {
            let len = ffi::Py_ssize_t::try_from(summary.len)?;
            // SAFETY: a bytes object of this length with any content, or null and an exception; it is filled
            // before anybody else sees it.
            let bytes = unsafe {
                Bound::from_owned_ptr_or_err(
                    py,
                    ffi::PyBytes_FromStringAndSize(std::ptr::null(), len),
                )?
            };
            ready.bytes = Some(bytes.cast_into::<PyBytes>()?.unbind());
            ready.len = len as usize;
        }
        if summary.parts > 0 {
            let arena = Arena::get().map_err(|error| to_python(py, &error))?;
            for _ in 0..summary.parts {
                ready
                    .buffers
                    .push(Reserved::new(arena).map_err(|error| to_python(py, &error.into()))?);
            }
        }
        Ok(ready)
    }

    pub fn object<'py>(
        self,
        py: Python<'py>,
        got: Got<'static, Arena>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match got {
            Got::Inline { kind, bytes, len } => object_of(py, kind, &bytes[..len as usize]),
            Got::Message(message) => self.object_in(py, &message),
        }
    }

    /// The item in a message that nobody changes meanwhile: the caller's own, or one of a job on which he has a lease.
    pub fn object_in<'py>(
        self,
        py: Python<'py>,
        message: &Message<'static, Arena>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Summary { kind, parts, .. } = message.summary();
        let arena = Arena::get().map_err(|error| to_python(py, &error))?;
        let (at, len) = message.bytes();
        // SAFETY: nobody writes into the message, and it outlives this call.
        let bytes = unsafe { std::slice::from_raw_parts(arena.bytes(at, len), len as usize) };
        if let (BYTES, Some(object)) = (kind, self.bytes) {
            let into = object.as_bytes(py).as_ptr() as usize;
            // SAFETY: the object was made for this length, and only we have it.
            py.detach(|| unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), into as *mut u8, bytes.len())
            });
            return Ok(object.into_bound(py).into_any());
        }
        if kind != PICKLE {
            return object_of(py, kind, bytes);
        }
        let parts =
            (0..parts).filter(|&index| !matches!(message.part(index), Some((_, _, Holds::Edge))));
        let buffers = views(py, message, parts.zip(self.buffers))?;
        loads(py, bytes, buffers)
    }
}

/// The bytes of a message.
pub fn bytes_of<'py>(
    py: Python<'py>,
    message: &Message<'static, Arena>,
) -> PyResult<Bound<'py, PyBytes>> {
    let arena = Arena::get().map_err(|error| to_python(py, &error))?;
    let (at, len) = message.bytes();
    // SAFETY: nobody writes into the message, and it outlives this call.
    let bytes = unsafe { std::slice::from_raw_parts(arena.bytes(at, len), len as usize) };
    Ok(PyBytes::new(py, bytes))
}

/// Views of these parts of a message, this process's own from now on.
fn views<'py>(
    py: Python<'py>,
    message: &Message<'static, Arena>,
    parts: impl Iterator<Item = (u64, Reserved)>,
) -> PyResult<Bound<'py, PyList>> {
    let buffers = PyList::empty(py);
    for (index, reserved) in parts {
        if let Some(view) = reserved.fill(message, index) {
            buffers.append(Bound::new(py, Buffer::new(view))?)?;
        }
    }
    Ok(buffers)
}

fn loads<'py>(
    py: Python<'py>,
    bytes: &[u8],
    buffers: Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the memory outlives the view: `loads` keeps no reference to what it reads from.
    let view = unsafe {
        let start = bytes.as_ptr().cast_mut().cast();
        let len = bytes.len() as ffi::Py_ssize_t;
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyMemoryView_FromMemory(start, len, ffi::PyBUF_READ),
        )?
    };
    pickling::loads(&view, (!buffers.is_empty()).then_some(buffers))
}

/// The item of these bytes, with these parts of a message as its buffers.
pub fn object_with<'py>(
    py: Python<'py>,
    kind: u8,
    bytes: &[u8],
    message: &Message<'static, Arena>,
    parts: std::ops::Range<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    if kind != PICKLE {
        return object_of(py, kind, bytes);
    }
    let arena = Arena::get().map_err(|error| to_python(py, &error))?;
    let reserved: Vec<Reserved> = parts
        .clone()
        .map(|_| Reserved::new(arena))
        .collect::<Result<_, _>>()
        .map_err(|error| to_python(py, &error.into()))?;
    let buffers = views(py, message, parts.zip(reserved))?;
    loads(py, bytes, buffers)
}

/// The item that these bytes are.
pub fn object_of<'py>(py: Python<'py>, kind: u8, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let eight =
        || <[u8; 8]>::try_from(bytes).map_err(|_| PyValueError::new_err("the item is damaged"));
    Ok(match kind {
        NONE => py.None().into_bound(py),
        TRUE | FALSE => PyBool::new(py, kind == TRUE).to_owned().into_any(),
        INT => i64::from_le_bytes(eight()?).into_pyobject(py)?.into_any(),
        FLOAT => PyFloat::new(py, f64::from_le_bytes(eight()?)).into_any(),
        STR => PyString::from_bytes(py, bytes)?.into_any(),
        BYTES => PyBytes::new(py, bytes).into_any(),
        PICKLE => pickling::loads(PyBytes::new(py, bytes).as_any(), None)?,
        other => {
            return Err(PyValueError::new_err(format!(
                "the item was put by a program in another language (kind {other}); get it there"
            )));
        }
    })
}
