//! Calls that wait: timeouts as Python gives them, the interpreter left alone meanwhile, signals looked at.

use crate::errors::to_python;
use procession::{Kind, Result, time};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::time::Duration;

/// The moment until which a call may wait: `None` is for ever, a negative time is no time.
pub fn deadline(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
        return Ok(None);
    };
    let seconds: f64 = timeout.extract().map_err(|_| {
        let kind = timeout
            .get_type()
            .name()
            .map(|name| name.to_string())
            .unwrap_or_default();
        PyTypeError::new_err(format!(
            "timeout must be a number of seconds or None, not {kind}"
        ))
    })?;
    if seconds.is_nan() {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "timeout must be a number of seconds, not NaN",
        ));
    }
    // What no clock can count waits for ever.
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    Ok(duration.and_then(|duration| time::deadline(Some(duration))))
}

/// What `block` says: any object may stand for yes or no, as with later Pythons on each.
pub fn truth(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_truthy()
}

/// The same as `deadline` for a pair (block, timeout).
pub fn block_until(block: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    // Looked at in any case: a wrong timeout is an error also where it would not matter.
    let until = deadline(timeout)?;
    Ok(if block { until } else { Some(0) })
}

/// Calls with the interpreter released, again and again until no signal interrupts; a handler that raises ends it.
pub fn released<T: Send>(
    py: Python<'_>,
    mut call: impl FnMut() -> Result<T> + Send,
) -> PyResult<T> {
    procession::life::attend_to_signals();
    loop {
        match py.detach(&mut call) {
            Err(error) if error.kind() == Kind::Interrupted => py.check_signals()?,
            done => return done.map_err(|error| to_python(py, &error)),
        }
    }
}
