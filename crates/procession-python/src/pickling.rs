//! Pickling: one kept native pickler a thread, large buffers out of band.

use crate::calls::{call, call_with};
use procession::shm::object::Handle;
use procession::view::MIN_LEN;
use procession::{carrier, parcel};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple};
use std::cell::{Cell, RefCell};

/// What a pickle is written to: bytes, and the buffers that are left out of them.
#[pyclass]
pub struct Sink {
    bytes: Vec<u8>,
    buffers: Vec<Py<PyAny>>,
    /// Whether all buffers are kept in the pickle.
    whole: bool,
}

#[pymethods]
impl Sink {
    fn write(&mut self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            self.bytes.extend_from_slice(bytes.as_bytes());
            return Ok(bytes.as_bytes().len());
        }
        let buffer = PyBuffer::<u8>::get(data)?;
        self.bytes.extend(buffer.to_vec(data.py())?);
        Ok(buffer.len_bytes())
    }

    /// Called for each buffer that may travel by itself; true keeps it in the pickle.
    fn keep(&mut self, buffer: Bound<'_, PyAny>) -> PyResult<bool> {
        if self.whole {
            return Ok(true);
        }
        let raw = raw_bytes(&buffer);
        let alone = raw.is_ok_and(|raw| raw.len_bytes() as u64 >= MIN_LEN);
        if alone {
            self.buffers.push(buffer.unbind());
        }
        Ok(!alone)
    }
}

/// The bytes of a PickleBuffer, if they are contiguous.
pub fn raw_bytes(buffer: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    PyBuffer::get(&buffer.call_method0("raw")?)
}

struct Pickler {
    sink: Py<Sink>,
    dump: Py<PyAny>,
    clear: Py<PyAny>,
}

thread_local! {
    /// Whether several will unpickle what is being pickled.
    static WHOLE: Cell<bool> = const { Cell::new(false) };
    // Taken out while it is in use: who re-enters makes a fresh one.
    static KEPT: RefCell<Option<Pickler>> = const { RefCell::new(None) };
}

static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Tells which pickler class to use: a subclass of the standard library's ForkingPickler.
#[pyfunction]
pub fn set_pickler(py: Python<'_>, class: Py<PyAny>) {
    let _ = CLASS.set(py, class);
}

impl Pickler {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let class = CLASS.get(py).ok_or_else(|| {
            PyRuntimeError::new_err("import procession, not its extension module")
        })?;
        let sink = Bound::new(
            py,
            Sink {
                bytes: Vec::new(),
                buffers: Vec::new(),
                whole: false,
            },
        )?;
        let arguments = (&sink, 5, true, sink.getattr("keep")?).into_pyobject(py)?;
        let pickler = call_with(class.bind(py), &arguments, None)?;
        Ok(Self {
            sink: sink.unbind(),
            dump: pickler.getattr("dump")?.unbind(),
            clear: pickler.getattr("clear_memo")?.unbind(),
        })
    }
}

/// A pickled object.
pub struct Pickled {
    pub bytes: Vec<u8>,
    pub buffers: Vec<Py<PyAny>>,
    pub handles: Vec<Handle>,
}

/// Pickles an object for a message: with its large buffers left out, and the shared objects that it names.
pub fn dumps(object: &Bound<'_, PyAny>) -> PyResult<Pickled> {
    pickle(object, false)
}

/// Pickles an object that several will unpickle: with all its buffers, since a buffer that travels by itself is one
/// receiver's own.
pub fn dumps_whole(object: &Bound<'_, PyAny>) -> PyResult<Pickled> {
    pickle(object, true)
}

/// Whether what is being pickled will be unpickled by several.
pub fn is_whole() -> bool {
    WHOLE.get()
}

fn pickle(object: &Bound<'_, PyAny>, whole: bool) -> PyResult<Pickled> {
    let py = object.py();
    let pickler = match KEPT.with_borrow_mut(Option::take) {
        Some(pickler) => pickler,
        None => Pickler::new(py)?,
    };
    pickler.sink.borrow_mut(py).whole = whole;
    let outer = WHOLE.replace(whole);
    let parcels = parcel::count();
    let (dumped, handles) = carrier::into_message(|| call(pickler.dump.bind(py), &[object]));
    WHOLE.set(outer);
    if dumped.is_err() {
        parcel::give_up(parcels);
    }
    // After an error pickler and sink hold half of something: neither is kept.
    dumped?;
    let mut sink = pickler.sink.borrow_mut(py);
    let (bytes, buffers) = (
        std::mem::take(&mut sink.bytes),
        std::mem::take(&mut sink.buffers),
    );
    drop(sink);
    pickler.clear.call0(py)?;
    KEPT.with_borrow_mut(|kept| *kept = Some(pickler));
    Ok(Pickled {
        bytes,
        buffers,
        handles,
    })
}

/// Unpickles from an object that has the bytes, and the buffers that were left out.
pub fn loads<'py>(
    bytes: &Bound<'py, PyAny>,
    buffers: Option<Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = bytes.py();
    let loads = LOADS.get_or_try_init(py, || -> PyResult<_> {
        Ok(py.import("_pickle")?.getattr("loads")?.unbind())
    })?;
    match buffers {
        None => call(loads.bind(py), &[bytes]),
        Some(buffers) => {
            let keywords = pyo3::types::PyDict::new(py);
            keywords.set_item("buffers", buffers)?;
            call_with(loads.bind(py), &PyTuple::new(py, [bytes])?, Some(&keywords))
        }
    }
}
