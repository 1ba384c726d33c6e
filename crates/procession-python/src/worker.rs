//! The processes of a pool: its keeper, and its workers.

use crate::blocking::released;
use crate::child::Child;
use crate::errors::to_python;
use crate::item::{self, PICKLE};
use crate::pickling;
use crate::pool::{PoolCore, RAISED};
use procession::pool::call::Reader;
use procession::pool::{self as runtime, RawPool, Worker};
use procession::queue::Draft;
use procession::shm::object::Handle;
use procession::{Error, Kind};
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::sync::Mutex;

/// The calling process as a pool's keeper.
#[pyclass(frozen, module = "procession")]
pub struct Keeper {
    keeper: Mutex<runtime::Keeper>,
}

impl Keeper {
    pub fn new(py: Python<'_>, pool: RawPool, all: bool) -> PyResult<Option<Self>> {
        let keeper = runtime::Keeper::new(pool, all).map_err(|error| to_python(py, &error))?;
        Ok(keeper.map(|keeper| Self {
            keeper: Mutex::new(keeper),
        }))
    }

    fn with<T>(&self, call: impl FnOnce(&mut runtime::Keeper) -> T) -> T {
        let mut keeper = self
            .keeper
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        call(&mut keeper)
    }
}

#[pymethods]
impl Keeper {
    /// Waits until a worker is to be started; False when the pool has ended and no worker is left.
    fn wait(&self, py: Python<'_>) -> PyResult<bool> {
        released(py, || self.with(runtime::Keeper::wait))
    }

    /// A worker was started.
    fn started(&self, py: Python<'_>, worker: &Child) -> PyResult<()> {
        let record = (worker.record != u32::MAX).then_some(worker.record);
        self.with(|keeper| keeper.started(worker.pid, record))
            .map_err(|error| to_python(py, &error))
    }
}

/// The number of processors that this process may use: by its affinity, and by its container's quota.
#[pyfunction]
pub fn usable_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The function of a job, unpickled once for all elements that this worker does of it.
struct Function {
    job: Handle,
    function: PyResult<Py<PyAny>>,
}

/// Makes the calling process a worker: calls `prepare`, then does the pool's tasks until there are none, or `limit` were done.
#[pyfunction]
#[pyo3(signature = (core, prepare, limit = None))]
pub fn work(
    py: Python<'_>,
    core: &PoolCore,
    prepare: &Bound<'_, PyAny>,
    limit: Option<u64>,
) -> PyResult<()> {
    let mut worker = match Worker::new(core.pool.clone()) {
        Ok(worker) => worker,
        // The pool ended while this worker was started.
        Err(error) if error.kind() == Kind::NotOpen => return Ok(()),
        Err(error) => return Err(to_python(py, &error)),
    };
    prepare.call0()?;
    worker.ready();
    let mut function: Option<Function> = None;
    let (mut tasks, mut elements) = (0, 0);
    while limit.is_none_or(|limit| tasks < limit) {
        let more = match worker.next(Some(0)) {
            Err(error) if error.kind() == Kind::Empty => released(py, || worker.next(None))?,
            done => done.map_err(|error| to_python(py, &error))?,
        };
        if !more {
            break;
        }
        let Some(chunk) = run(py, &mut worker, &mut function)? else {
            break;
        };
        elements += 1;
        if elements >= chunk {
            (tasks, elements) = (tasks + 1, 0);
        }
    }
    Ok(())
}

/// Runs the element that the worker has claimed, and settles it. Says how many elements of its job are one task; `None`
/// in a process that the task forked.
fn run(py: Python<'_>, worker: &mut Worker, kept: &mut Option<Function>) -> PyResult<Option<u64>> {
    let (Some(call), Some((index, count)), Some(job)) =
        (worker.call(), worker.element(), worker.job())
    else {
        return Ok(None);
    };
    let call = Reader::new(worker.pool().arena(), &call, count);
    if kept.as_ref().is_none_or(|kept| kept.job != job) {
        // The one before is let go first: it may be large.
        *kept = None;
        let function = item::object_of(py, PICKLE, call.function()).map(Bound::unbind);
        *kept = Some(Function { job, function });
    }
    let result = match kept.as_ref().map(|kept| &kept.function) {
        Some(Ok(function)) => invoke(py, function.bind(py), &call, index),
        Some(Err(error)) => Err(error.clone_ref(py)),
        None => Err(PyValueError::new_err("a job without a function")),
    };
    let chunk = call.chunk();
    if !worker.is_mine() {
        // The task forked, and this is the child: the task is its parent's.
        return Ok(None);
    }
    match result {
        Ok(result) => match settle(py, worker, &result) {
            Ok(()) => {}
            Err(error) => {
                let encoding = remote(py, "encoding_error", (error.into_value(py), result))?;
                settle_raised(py, worker, encoding)?;
            }
        },
        // Ctrl-C is the program's, not the task's.
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => return Err(error),
        Err(error) => {
            let raised = error.into_value(py).into_bound(py).into_any();
            settle_raised(py, worker, remote(py, "pack", (raised,))?)?;
        }
    }
    Ok(Some(chunk))
}

fn remote<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyBytes>> {
    let packed = py
        .import("procession.remote")?
        .getattr(name)?
        .call1(arguments)?;
    Ok(packed.cast_into::<PyBytes>()?)
}

/// Calls the function with the argument of an element.
fn invoke<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    call: &Reader<'_>,
    index: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let argument = call.argument(index);
    let parts = argument.first_buffer..argument.first_buffer + argument.buffers;
    let argument = item::object_with(py, argument.kind, argument.bytes, call.message(), parts)?;
    match call.kind() {
        0 => function.call1((argument,)),
        1 => {
            let positional: Vec<_> = argument.try_iter()?.collect::<PyResult<_>>()?;
            function.call1(PyTuple::new(py, positional)?)
        }
        _ => {
            let (positional, named): (Bound<'py, PyTuple>, Bound<'py, PyDict>) =
                argument.extract()?;
            function.call(positional, Some(&named))
        }
    }
}

/// Settles the element with its result.
fn settle(py: Python<'_>, worker: &mut Worker, result: &Bound<'_, PyAny>) -> PyResult<()> {
    let fail = |error: Error| to_python(py, &error);
    if let Some(plain) = item::plain(result) {
        return worker.settle(plain.kind(), plain.bytes()).map_err(fail);
    }
    let pickled = pickling::dumps(result)?;
    if pickled.handles.is_empty() && pickled.buffers.is_empty() {
        return worker.settle(PICKLE, &pickled.bytes).map_err(fail);
    }
    let message = item::pickled_message(py, worker.pool().arena(), PICKLE, &pickled)?;
    worker.settle_message(message);
    Ok(())
}

/// Settles the element with an exception, as `remote.pack` made it.
fn settle_raised(py: Python<'_>, worker: &mut Worker, packed: Bound<'_, PyBytes>) -> PyResult<()> {
    let bytes = packed.as_bytes();
    let draft = Draft::new(worker.pool().arena(), RAISED, bytes.len() as u64, &[], 0)
        .map_err(|error| to_python(py, &error))?;
    draft.write(bytes);
    worker.settle_message(draft);
    Ok(())
}
