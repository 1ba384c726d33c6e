//! What a class's `__init__` makes, and not its `__new__`: a subclass may have a constructor of another signature.

use crate::errors::to_python;
use crate::rebuild::delivered;
use procession::object::Object;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::OnceLock;

/// Something that is there once `__init__` has made it, or unpickling has found it again.
pub struct Made<T>(OnceLock<T>);

impl<T> From<Option<T>> for Made<T> {
    fn from(found: Option<T>) -> Self {
        Self(found.map(OnceLock::from).unwrap_or_default())
    }
}

impl<T> Made<T> {
    /// For `__new__`: what it was called to find again, or nothing yet.
    pub fn delivered(found: impl FnOnce(Object) -> PyResult<T>) -> PyResult<Self> {
        Ok(delivered().map(found).transpose()?.into())
    }

    /// For `__init__`: makes it, unless it is there.
    pub fn init(
        &self,
        py: Python<'_>,
        make: impl FnOnce() -> procession::Result<T>,
    ) -> PyResult<()> {
        if self.0.get().is_none() {
            let made = make().map_err(|error| to_python(py, &error))?;
            let _ = self.0.set(made);
        }
        Ok(())
    }

    /// What was made.
    #[inline]
    pub fn get(&self) -> PyResult<&T> {
        self.0.get().ok_or_else(|| {
            PyRuntimeError::new_err(
                "it was not made: a subclass's __init__ has to call that of its base",
            )
        })
    }
}
