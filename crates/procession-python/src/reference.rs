//! `Reference`: by whom an object is wanted that is not in the arena, but in one process that looks after it.
//!
//! A manager's server keeps a Python object for others. A proxy of it has a `Reference`, and so leases what the reference
//! names; a proxy that travels in a message takes it along, and a dead process's is given back as any lease is. The
//! server has no lease: it looks whether anybody else has.

use crate::errors::to_python;
use crate::event::Event;
use procession as runtime;
use procession::arena::Arena;
use procession::carrier;
use procession::object::{Name, Object};
use procession::shm::object::Kind;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The program, then the places and generations of what is wanted and of the bell.
type Words = (u64, u64, u64, u64, u64, u64);

/// Says that this process wants something that another process keeps; when the last reference in any process is gone, or on
/// its way no more, `is_held` says so. `bell`, an event, is set when one is given up.
#[pyclass(frozen, module = "procession._procession")]
pub struct Reference {
    // Given back before the bell is rung.
    wanted: Option<runtime::Event>,
    bell: runtime::Event,
}

#[pymethods]
impl Reference {
    #[new]
    fn new(py: Python<'_>, bell: &Bound<'_, Event>) -> PyResult<Self> {
        let wanted = runtime::Event::new().map_err(|error| to_python(py, &error))?;
        Ok(Self {
            wanted: Some(wanted),
            bell: bell.get().inner().clone(),
        })
    }

    /// Its name, in numbers. A name keeps nothing alive.
    #[getter]
    fn name(&self) -> Words {
        let Name {
            program: (high, low),
            id,
            generation,
        } = self.wanted().object().name_alone();
        let bell = self.bell.object().name_alone();
        (high, low, id, generation, bell.id, bell.generation)
    }

    /// A further reference to what a name names; None if nobody has one any more, or in another program.
    #[staticmethod]
    fn find(py: Python<'_>, name: Words) -> PyResult<Option<Self>> {
        let Some(wanted) = found(py, name)? else {
            return Ok(None);
        };
        let (high, low, _, _, id, generation) = name;
        Ok(
            found(py, (high, low, id, generation, 0, 0))?.map(|bell| Self {
                wanted: Some(wanted),
                bell,
            }),
        )
    }

    /// Whether a process or a message has a reference of this name.
    #[staticmethod]
    fn is_held(py: Python<'_>, name: Words) -> PyResult<bool> {
        Ok(found(py, name)?.is_some())
    }

    /// Takes back what processes have that are gone, such as forks that nobody waits for.
    #[staticmethod]
    fn take_from_the_dead(py: Python<'_>) {
        if let Some(arena) = Arena::existing() {
            py.detach(|| procession::program::sweep(arena));
        }
    }

    /// The program's name: references are of one program.
    #[staticmethod]
    fn program(py: Python<'_>) -> PyResult<(u64, u64)> {
        match Arena::get() {
            Ok(arena) => Ok(arena.program()),
            Err(error) => Err(to_python(py, &error)),
        }
    }

    /// Whether what is pickled at this moment goes to processes of this program, by its own memory.
    #[staticmethod]
    fn can_travel() -> bool {
        carrier::is_known()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let this = slf.get();
        this.wanted()
            .object()
            .name()
            .map_err(|error| to_python(py, &error))?;
        (slf.get_type().getattr("find")?, (this.name(),)).into_pyobject(py)
    }
}

impl Reference {
    fn wanted(&self) -> &runtime::Event {
        self.wanted.as_ref().expect("taken by drop alone")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        drop(self.wanted.take());
        self.bell.set();
    }
}

fn found(py: Python<'_>, name: Words) -> PyResult<Option<runtime::Event>> {
    let (high, low, id, generation, _, _) = name;
    let name = Name {
        program: (high, low),
        id,
        generation,
    };
    match Object::from_name(name, Kind::Event) {
        Ok(object) => Ok(Some(runtime::Event::from_object(object))),
        Err(error) if error.kind() == runtime::Kind::Gone => Ok(None),
        Err(error) => Err(to_python(py, &error)),
    }
}
