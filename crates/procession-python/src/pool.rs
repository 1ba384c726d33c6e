//! Pools, as the package's `Pool` needs them: handing jobs to workers, and reading results.

use crate::blocking::{deadline, released};
use crate::calls::{call, next};
use crate::errors::to_python;
use crate::item::{self, PICKLE, Ready};
use crate::pickling;
use crate::rebuild::{self, delivered_or};
use crate::worker::Keeper;
use procession::Error;
use procession::pool::call::Writer;
use procession::pool::{Followers, Found, Outcome, RawJob, RawPool, Round, State};
use procession::shm::object::Handle;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The kind of a result that is an exception, as `remote.pack` makes it.
pub const RAISED: u8 = 64;

/// What is shared of a pool.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct PoolCore {
    pub pool: RawPool,
}

#[pymethods]
impl PoolCore {
    #[new]
    fn new(py: Python<'_>, workers: u64) -> PyResult<Self> {
        let pool = delivered_or(py, RawPool::from_object, || Ok(RawPool::new(workers)))?;
        let pool = pool.map_err(|error| to_python(py, &error))?;
        Ok(Self { pool })
    }

    /// What may still happen in it: "open", "closed", "ended", "terminated" or "broken".
    #[getter]
    fn state(&self) -> &'static str {
        match self.pool.state() {
            State::Open => "open",
            State::Closed => "closed",
            State::Ended => "ended",
            State::Terminated => "terminated",
            State::Broken => "broken",
        }
    }

    /// The number of workers that it is to have.
    #[getter]
    fn size(&self) -> u64 {
        self.pool.size()
    }

    /// Hands a job to the workers: `function` for each of `arguments`. `mode`: 0 it takes the argument, 1 the argument
    /// has its positional ones, 2 a pair of positional and keyword ones. `chunk` elements count as one task.
    #[pyo3(signature = (function, mode, arguments, chunk = 1, asks = false))]
    fn submit(
        &self,
        function: &Bound<'_, PyAny>,
        mode: u8,
        arguments: &Bound<'_, PyAny>,
        chunk: u64,
        asks: bool,
    ) -> PyResult<PoolJob> {
        let py = function.py();
        let function = pickling::dumps_whole(function)?;
        let mut handles: Vec<Handle> = function.handles;
        let (mut writer, mut buffers) = (Writer::default(), Vec::new());
        // What only an argument names must live until the message names it.
        let mut kept = Vec::new();
        let arguments = arguments.try_iter()?;
        while let Some(argument) = next(&arguments)? {
            if let Some(plain) = item::plain(&argument) {
                writer.add(plain.kind(), plain.bytes(), 0);
                continue;
            }
            let pickled = pickling::dumps(&argument)?;
            if !pickled.handles.is_empty() {
                kept.push(argument.clone());
            }
            for handle in pickled.handles {
                if !handles.contains(&handle) {
                    handles.push(handle);
                }
            }
            writer.add(PICKLE, &pickled.bytes, pickled.buffers.len() as u64);
            buffers.extend(pickled.buffers);
        }
        let (arena, count) = (self.pool.arena(), writer.len());
        let fail = |error: Error| to_python(py, &error);
        let called = py
            .detach(|| writer.message(arena, mode, chunk, &function.bytes, &handles))
            .map_err(fail)?;
        item::send_buffers(py, arena, called.message(), handles.len() as u64, &buffers)?;
        let job = self.pool.submit(called, count, asks).map_err(fail)?;
        Ok(PoolJob { job: Arc::new(job) })
    }

    /// Takes no more jobs. Workers end when all that were taken are done.
    fn close(&self) {
        self.pool.advance(State::Closed);
    }

    /// Workers can't be started: `error`, an exception as `remote.pack` makes it, says why.
    fn set_error(&self, py: Python<'_>, error: &Bound<'_, PyBytes>) -> PyResult<()> {
        let draft = item::message(py, self.pool.arena(), RAISED, error.as_bytes(), &[], &[])?;
        self.pool.set_error(draft);
        Ok(())
    }

    /// The exception that says why workers can't be started, if one does.
    fn error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let error = self.pool.error();
        error.map(|message| unpack(py, &message)).transpose()
    }

    /// Nothing more is done, because workers can't be started.
    fn give_up(&self) {
        self.pool.advance(State::Broken);
    }

    /// Ends it at once: see `Pool.terminate`. Returns within twice `grace` seconds.
    fn terminate(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|_| PyValueError::new_err(format!("a time of {grace} seconds")))?;
        py.detach(|| self.pool.terminate(grace))
            .map_err(|error| to_python(py, &error))
    }

    /// Process ids of the workers that run. Waits until all are there that are to be, for `timeout` seconds at most.
    #[pyo3(signature = (timeout = None))]
    fn workers(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Vec<u32>> {
        let mut found = Vec::new();
        let mut all = || {
            // Kept: one of them may be gone when it is looked again.
            found = self.pool.workers();
            self.pool.state() != State::Open || found.len() as u64 >= self.pool.size()
        };
        match deadline(timeout.as_ref())? {
            Some(until) => released(py, || self.pool.wait_settled(Some(until), &mut all))?,
            None => all(),
        };
        Ok(found.into_iter().map(|(pid, _)| pid).collect())
    }

    /// Whether a keeper keeps its workers, or kept them till the pool's end.
    fn has_keeper(&self) -> bool {
        self.pool.has_keeper()
    }

    /// Whether its keeper is gone though the pool has need of one.
    fn is_abandoned(&self) -> bool {
        self.pool.is_abandoned()
    }

    /// Makes the calling process its keeper; None if it has one. `all`: all its workers are started, however soon it is closed.
    fn keep(&self, py: Python<'_>, all: bool) -> PyResult<Option<Keeper>> {
        Keeper::new(py, self.pool.clone(), all)
    }

    /// Follows jobs of this pool: which are settled, in order of completion. `forgets`: nobody takes those that are.
    #[pyo3(signature = (forgets = false))]
    fn follow(&self, forgets: bool) -> Settled {
        Settled {
            pool: self.pool.clone(),
            jobs: Followers::default(),
            yielded: AtomicU64::new(0),
            added: AtomicU64::new(0),
            nudged: AtomicBool::new(false),
            forgets,
            stopped: AtomicBool::new(false),
        }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let workers = PyTuple::new(slf.py(), [slf.get().pool.size()])?;
        rebuild::reduce(slf.as_any(), "Pool", slf.get().pool.object(), workers)
    }
}

/// A job that was handed to the workers.
#[pyclass(frozen, weakref, module = "procession")]
pub struct PoolJob {
    job: Arc<RawJob>,
}

#[pymethods]
impl PoolJob {
    fn __len__(&self) -> usize {
        self.job.count() as usize
    }

    /// Whether an element is done or lost; all of them if `index` is None.
    #[pyo3(signature = (index = None))]
    fn is_settled(&self, index: Option<u64>) -> bool {
        match index {
            Some(index) => self.job.is_settled(index),
            None => self.job.is_done(),
        }
    }

    /// Waits for an element, for all if `index` is None, for `timeout` seconds at most; False if the time is over.
    /// True as well if the pool ended first. `look_after` is called when the pool's workers may have nobody who
    /// keeps them.
    fn wait(
        &self,
        py: Python<'_>,
        index: Option<u64>,
        timeout: Option<Bound<'_, PyAny>>,
        look_after: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let until = deadline(timeout.as_ref())?;
        // Begun here, not in the call that is made anew after each signal.
        let mut round = Round::first();
        loop {
            // Nothing to wait for needs no release of the interpreter.
            let found = if self.is_settled(index) {
                Found::Settled
            } else {
                released(py, || self.job.wait(index, until, round))?
            };
            match found {
                Found::Settled | Found::Over => return Ok(true),
                Found::TimedOut => return Ok(false),
                Found::Abandoned => {
                    call(look_after, &[])?;
                    round = Round::looked();
                }
            }
        }
    }

    /// What an element came to: (True, its result), (False, an exception), or None if it is not settled. (False, (pid, exit code)): the worker died.
    fn outcome<'py>(
        &self,
        py: Python<'py>,
        index: u64,
    ) -> PyResult<Option<(bool, Bound<'py, PyAny>)>> {
        let found = match self.job.outcome(index) {
            Outcome::Free | Outcome::Begun { .. } => return Ok(None),
            Outcome::Lost { pid, exit } => {
                return Ok(Some((false, (pid, exit).into_pyobject(py)?.into_any())));
            }
            Outcome::Inline { kind, bytes, len } => {
                item::object_of(py, kind, &bytes[..len as usize])
            }
            Outcome::Block(block) => {
                let message = self.job.message(block);
                if message.summary().kind == RAISED {
                    return unpack(py, &message).map(|raised| Some((false, raised)));
                }
                Ready::new(py, message.summary()).and_then(|ready| ready.object_in(py, &message))
            }
        };
        Ok(Some(match found {
            Ok(object) => (true, object),
            // What does not unpickle here is this element's failure.
            Err(error) => (false, error.into_value(py).into_bound(py).into_any()),
        }))
    }

    /// The results of all elements if each has one, else the number of the first that has none: for elements that are settled.
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let results = PyList::empty(py);
        for index in 0..self.job.count() {
            match self.outcome(py, index)? {
                Some((true, result)) => results.append(result)?,
                _ => return Ok(index.into_pyobject(py)?.into_any()),
            }
        }
        Ok(results.into_any())
    }
}

/// The exception in a message that `remote.pack` made.
fn unpack<'py>(
    py: Python<'py>,
    message: &procession::shm::message::Message<'static, procession::arena::Arena>,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = item::bytes_of(py, message)?;
    let unpack = py.import("procession.remote")?.getattr("unpack")?;
    call(&unpack, &[bytes.as_any()])
}

/// Jobs that are followed until they are settled.
#[pyclass(frozen, module = "procession")]
pub struct Settled {
    pool: RawPool,
    jobs: Followers,
    yielded: AtomicU64,
    added: AtomicU64,
    nudged: AtomicBool,
    stopped: AtomicBool,
    /// Nobody takes those that are settled.
    forgets: bool,
}

impl Settled {
    fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.pool.state() >= State::Ended
    }

    fn take_settled(&self) -> Vec<u64> {
        if self.is_over() {
            self.jobs.take_last()
        } else {
            self.jobs.take_settled()
        }
    }

    fn has_news(&self) -> bool {
        self.is_over() || self.nudged.swap(false, Ordering::Relaxed) || self.jobs.has_settled()
    }

    /// How many were added and are not settled.
    fn unsettled(&self) -> u64 {
        if self.forgets {
            self.jobs.forget_settled();
        }
        self.jobs.unsettled()
    }
}

#[pymethods]
impl Settled {
    /// Follows a job, which was submitted with `asks`.
    fn add(&self, key: u64, job: &PoolJob) {
        self.jobs.add(key, job.job.clone());
        self.added.fetch_add(1, Ordering::Relaxed);
        self.pool.wake_settled();
    }

    /// Waits until a job is settled, or somebody nudges, for `timeout` seconds at most; the keys of those that are settled, in
    /// order of completion, which are followed no more.
    #[pyo3(signature = (timeout = None))]
    fn take(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Vec<u64>> {
        let until = deadline(timeout.as_ref())?;
        released(py, || {
            self.pool.wait_settled(until, || self.has_news())?;
            Ok(self.take_settled())
        })
    }

    /// Makes who waits in `take` return.
    fn nudge(&self) {
        self.nudged.store(true, Ordering::Relaxed);
        self.pool.wake_settled();
    }

    /// The consumer has taken so many more results: for `wait_room`.
    fn add_yielded(&self, count: u64) {
        self.yielded.fetch_add(count, Ordering::Relaxed);
        self.pool.wake_settled();
    }

    /// Waits until fewer than `unsettled` jobs are not settled, and fewer than `ahead` were added that the consumer has
    /// not taken; False when the pool is over or following was stopped.
    fn wait_room(&self, py: Python<'_>, unsettled: u64, ahead: Option<u64>) -> PyResult<bool> {
        let has_room = || {
            let added = self.added.load(Ordering::Relaxed);
            let taken = self.yielded.load(Ordering::Relaxed);
            self.is_over()
                || self.unsettled() < unsettled
                    && ahead.is_none_or(|ahead| added.saturating_sub(taken) < ahead)
        };
        released(py, || self.pool.wait_settled(None, has_room))?;
        Ok(!self.is_over())
    }

    /// Follows no more: who waits here returns.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.pool.wake_settled();
    }
}
