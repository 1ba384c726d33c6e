//! `Condition`.

use crate::blocking::{deadline, released};
use crate::errors::to_python;
use crate::lock::{Lock, RLock};
use crate::rebuild::{self, delivered_or};
use procession as runtime;
use procession::condition::Guarding;
use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Waiters that are let go one by one, oldest first, or all at once.
#[pyclass(subclass, weakref, dict, frozen, module = "procession")]
pub struct Condition {
    condition: runtime::Condition,
    lock: Py<PyAny>,
}

impl Condition {
    fn held(&self, sentence: &'static str) -> PyResult<()> {
        if self.condition.guarding().is_held() {
            Ok(())
        } else {
            Err(PyAssertionError::new_err(sentence))
        }
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (lock = None, *, ctx = None))]
    fn new(
        py: Python<'_>,
        lock: Option<Bound<'_, PyAny>>,
        ctx: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        drop(ctx);
        let lock = match lock.filter(|lock| !lock.is_none()) {
            Some(lock) => lock,
            None => py.get_type::<RLock>().call0()?,
        };
        let guarding = if let Ok(plain) = lock.cast::<Lock>() {
            Guarding::Lock(plain.get().runtime().clone())
        } else if let Ok(reentrant) = lock.cast::<RLock>() {
            Guarding::Reentrant(reentrant.get().runtime().clone())
        } else {
            let kind = lock.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "a condition needs a Lock or RLock of procession, not {kind}"
            )));
        };
        let found = guarding.clone();
        let condition = delivered_or(
            py,
            |object| runtime::Condition::from_parts(object, found),
            || runtime::Condition::with_lock(guarding),
        )?;
        Ok(Self {
            condition,
            lock: lock.unbind(),
        })
    }

    /// Acquires the condition's lock.
    #[pyo3(signature = (*args, **kwargs))]
    fn acquire<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, pyo3::types::PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.lock.bind(py).call_method("acquire", args, kwargs)
    }

    /// Releases the condition's lock.
    fn release<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.lock.bind(py).call_method0("release")
    }

    /// Releases the lock, waits to be notified for `timeout` seconds at most, acquires it again. True if notified.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        self.held("must acquire() condition before using wait()")?;
        let until = deadline(timeout.as_ref())?;
        let mut waiting = self
            .condition
            .enter()
            .map_err(|error| to_python(py, &error))?;
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
            let result = predicate.call0()?;
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
        self.held("lock is not owned")?;
        let count = u64::try_from(n).unwrap_or(0);
        self.condition
            .notify(count)
            .map(drop)
            .map_err(|error| to_python(py, &error))
    }

    /// Lets all waiters go.
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.held("lock is not owned")?;
        self.condition
            .notify_all()
            .map(drop)
            .map_err(|error| to_python(py, &error))
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.lock.bind(py).call_method0("__enter__")
    }

    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        kind: Bound<'py, PyAny>,
        error: Bound<'py, PyAny>,
        trace: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.lock
            .bind(py)
            .call_method1("__exit__", (kind, error, trace))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = slf.get().lock.bind(slf.py()).repr()?;
        rebuild::describe(slf.as_any(), &lock.to_string())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let this = slf.get();
        let arguments = PyTuple::new(slf.py(), [this.lock.bind(slf.py())])?;
        rebuild::reduce(
            slf.as_any(),
            "Condition",
            this.condition.object(),
            arguments,
        )
    }
}
