//! How handles are pickled: the name of the object, and a function that finds it again.

use crate::calls::{call, call_with};
use crate::errors::to_python;
use procession::object::{Name, Object};
use procession::shm::object::Kind;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::cell::RefCell;

thread_local! {
    /// The object that the `__new__` called next will hold: what a class takes in its constructor is its own
    /// business, and unpickling has none of it.
    static DELIVERED: RefCell<Option<Object>> = const { RefCell::new(None) };
}

/// For a class's `__new__`: the object it was called for, if it was called to find one again.
pub fn delivered() -> Option<Object> {
    DELIVERED.take()
}

/// The same, or a new one.
pub fn delivered_or<T>(
    py: Python<'_>,
    found: impl FnOnce(Object) -> T,
    new: impl FnOnce() -> procession::Result<T>,
) -> PyResult<T> {
    match delivered() {
        Some(object) => Ok(found(object)),
        None => new().map_err(|error| to_python(py, &error)),
    }
}

/// As `reduce`, and the state for `__setstate__`, if a subclass has any.
pub fn reduce_with_state<'py>(
    instance: &Bound<'py, PyAny>,
    kind: &str,
    object: &Object,
    arguments: Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let reduced = reduce(instance, kind, object, arguments)?;
    let state = call(&instance.getattr("__getstate__")?, &[])?;
    if !state.is_truthy()? {
        return Ok(reduced);
    }
    (reduced.get_item(0)?, reduced.get_item(1)?, state).into_pyobject(instance.py())
}

/// What `__reduce__` returns: the kind, the name, and arguments for `__new__`.
pub fn reduce<'py>(
    instance: &Bound<'py, PyAny>,
    kind: &str,
    object: &Object,
    arguments: Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = instance.py();
    let Name {
        program: (high, low),
        id,
        generation,
    } = object.name().map_err(|error| to_python(py, &error))?;
    let rebuild = py.import("procession._procession")?.getattr("rebuild")?;
    (
        rebuild,
        (
            instance.get_type(),
            kind,
            (high, low, id, generation),
            arguments,
        ),
    )
        .into_pyobject(py)
}

/// Finds the object again that was pickled: for unpickling only.
#[pyfunction]
pub fn rebuild<'py>(
    class: &Bound<'py, PyAny>,
    kind: &str,
    name: (u64, u64, u64, u64),
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let (high, low, id, generation) = name;
    let kind = match kind {
        "Lock" => Kind::Lock,
        "RLock" => Kind::ReentrantLock,
        "Semaphore" => Kind::Semaphore,
        "Event" => Kind::Event,
        "Condition" => Kind::Condition,
        "Barrier" => Kind::Barrier,
        "Queue" => Kind::Queue,
        "Pool" => Kind::Pool,
        "Memory" => Kind::Memory,
        other => {
            return Err(PyValueError::new_err(format!(
                "there is no shared object of the kind {other:?}"
            )));
        }
    };
    let object = Object::from_name(
        Name {
            program: (high, low),
            id,
            generation,
        },
        kind,
    )
    .map_err(|error| to_python(class.py(), &error))?;
    let mut given = vec![class.clone()];
    given.extend(arguments.iter());
    DELIVERED.set(Some(object));
    let instance = class
        .getattr("__new__")
        .and_then(|new| call_with(&new, &PyTuple::new(class.py(), given)?, None));
    DELIVERED.take();
    instance
}

/// `<Class(what)>`, as multiprocessing shows its objects.
pub fn describe(instance: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    Ok(format!("<{}({what})>", instance.get_type().name()?))
}

/// The name of the current process, as Python knows it, and of the thread if it is not the main one.
pub fn own_name(py: Python<'_>) -> PyResult<String> {
    let process = py
        .import("multiprocessing.process")?
        .call_method0("current_process")?;
    let name: String = process.getattr("name")?.extract()?;
    let threading = py.import("threading")?;
    let thread = threading.call_method0("current_thread")?;
    if thread.is(&threading.call_method0("main_thread")?) {
        return Ok(name);
    }
    Ok(format!("{name}|{}", thread.getattr("name")?))
}
