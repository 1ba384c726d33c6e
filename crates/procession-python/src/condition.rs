//! `Condition`.

use crate::blocking::{deadline, released};
use crate::calls::call;
use crate::errors::to_python;
use crate::lock::{Lock, RLock};
use crate::made::Made;
use crate::rebuild;
use procession as runtime;
use procession::condition::Guarding;
use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Waiters that are let go one by one, oldest first, or all at once.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Condition {
    parts: Made<Parts>,
}

struct Parts {
    condition: runtime::Condition,
    lock: Py<PyAny>,
}

impl Condition {
    /// The condition, if its lock is held; else an error that says this sentence.
    fn held(&self, sentence: &'static str) -> PyResult<&runtime::Condition> {
        let condition = &self.parts.get()?.condition;
        if condition.guarding().is_held() {
            Ok(condition)
        } else {
            Err(PyAssertionError::new_err(sentence))
        }
    }

    fn lock<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        Ok(self.parts.get()?.lock.bind(py))
    }
}

fn guarding(lock: &Bound<'_, PyAny>) -> PyResult<Guarding> {
    if let Ok(plain) = lock.cast::<Lock>() {
        Ok(Guarding::Lock(plain.get().runtime().clone()))
    } else if let Ok(reentrant) = lock.cast::<RLock>() {
        Ok(Guarding::Reentrant(reentrant.get().runtime().clone()))
    } else {
        let kind = lock.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "a condition needs a Lock or RLock of procession, not {kind}"
        )))
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(lock=None, *, ctx=None)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // They are for `__init__`, which a subclass may have given another signature; or from `__reduce__`.
        let _ = kwargs;
        let parts = Made::delivered(|object| {
            let lock = args.get_item(0)?;
            Ok(Parts {
                condition: runtime::Condition::from_parts(object, guarding(&lock)?),
                lock: lock.unbind(),
            })
        })?;
        Ok(Self { parts })
    }

    #[pyo3(signature = (lock = None, *, ctx = None))]
    fn __init__(
        &self,
        py: Python<'_>,
        lock: Option<Bound<'_, PyAny>>,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        drop(ctx);
        let lock = match lock {
            Some(lock) => lock,
            None => py.get_type::<RLock>().call0()?,
        };
        let guarding = guarding(&lock)?;
        self.parts.init(py, || {
            Ok(Parts {
                condition: runtime::Condition::with_lock(guarding)?,
                lock: lock.unbind(),
            })
        })
    }

    /// Acquires the condition's lock.
    #[pyo3(signature = (*args, **kwargs), text_signature = "($self, block=True, timeout=None)")]
    fn acquire<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.lock(py)?.call_method("acquire", args, kwargs)
    }

    /// Releases the condition's lock.
    fn release<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.lock(py)?.call_method0("release")
    }

    /// Releases the lock, waits to be notified for `timeout` seconds at most, acquires it again. True if notified.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        let condition = self.held("must acquire() condition before using wait()")?;
        let until = deadline(timeout.as_ref())?;
        let mut waiting = condition.enter().map_err(|error| to_python(py, &error))?;
        let notified = released(py, || waiting.wait(until));
        // The lock is acquired again whatever happened, as `with` expects it.
        py.detach(|| waiting.leave())
            .map_err(|error| to_python(py, &error))?;
        notified
    }

    /// Waits until `predicate()` is true, for `timeout` seconds at most; returns its last value.
    #[pyo3(signature = (predicate, timeout = None))]
    fn wait_for<'py>(
        slf: &Bound<'py, Self>,
        predicate: Bound<'py, PyAny>,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let until = deadline(timeout.as_ref())?;
        loop {
            let result = call(&predicate, &[])?;
            if result.is_truthy()? {
                return Ok(result);
            }
            let left = runtime::time::left(until).map(|left| left.as_secs_f64());
            if left.is_some_and(|left| left <= 0.0) {
                return Ok(result);
            }
            slf.call_method1("wait", (left,))?;
        }
    }

    /// Lets the `n` oldest waiters go.
    #[pyo3(signature = (n = 1))]
    fn notify(&self, py: Python<'_>, n: i64) -> PyResult<()> {
        let condition = self.held("lock is not owned")?;
        let count = u64::try_from(n).unwrap_or(0);
        condition
            .notify(count)
            .map(drop)
            .map_err(|error| to_python(py, &error))
    }

    /// Lets all waiters go.
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        let condition = self.held("lock is not owned")?;
        condition
            .notify_all()
            .map(drop)
            .map_err(|error| to_python(py, &error))
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.lock(py)?.call_method0("__enter__")
    }

    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        kind: Bound<'py, PyAny>,
        error: Bound<'py, PyAny>,
        trace: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.lock(py)?
            .call_method1("__exit__", (kind, error, trace))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let Parts { condition, lock } = slf.get().parts.get()?;
        let lock = lock.bind(slf.py()).repr()?;
        rebuild::describe(slf.as_any(), &format!("{lock}, {}", condition.waiters()))
    }

    /// What travels beside what is shared: nothing, unless a subclass has something.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyTuple> {
        PyTuple::empty(slf.py())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) {
        let _ = state;
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let Parts { condition, lock } = slf.get().parts.get()?;
        let arguments = PyTuple::new(slf.py(), [lock.bind(slf.py())])?;
        rebuild::reduce_with_state(slf.as_any(), "Condition", condition.object(), arguments)
    }
}
