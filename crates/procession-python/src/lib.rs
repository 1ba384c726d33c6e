//! The extension module `procession._procession`: translates between Python and the runtime, decides nothing.

mod barrier;
mod blocking;
mod buffer;
mod calls;
mod child;
mod condition;
mod connection;
mod errors;
mod event;
mod item;
mod lock;
mod made;
mod memory;
mod parcel;
mod pickling;
mod pool;
mod queue;
mod rebuild;
mod reference;
mod semaphore;
mod shared_memory;
mod template;
mod worker;

use pyo3::prelude::*;

/// The runtime of the package `procession`.
#[pymodule(name = "_procession", gil_used = true)]
mod module {
    #[pymodule_export]
    use super::barrier::Barrier;
    #[pymodule_export]
    use super::child::{
        Child, arrived, attach, child_started, end_process, fork, generation, request, reserve,
        spawn_descriptors, unreserve,
    };
    #[pymodule_export]
    use super::condition::Condition;
    #[pymodule_export]
    use super::connection::{
        Acceptor, answer, challenge, connect, poll, read_message, split, verify, wait,
        write_message,
    };
    #[pymodule_export]
    use super::errors::BrokenLockError;
    #[pymodule_export]
    use super::event::Event;
    #[pymodule_export]
    use super::lock::{Lock, RLock};
    #[pymodule_export]
    use super::memory::Memory;
    #[pymodule_export]
    use super::parcel::{hand_on, receive_parcel, send_parcel};
    #[pymodule_export]
    use super::pickling::set_pickler;
    #[pymodule_export]
    use super::pool::{PoolCore, PoolJob, Settled};
    #[pymodule_export]
    use super::queue::{JoinableQueue, Queue, QueueEnd, SimpleQueue};
    #[pymodule_export]
    use super::rebuild::rebuild;
    #[pymodule_export]
    use super::reference::Reference;
    #[pymodule_export]
    use super::semaphore::{BoundedSemaphore, Semaphore};
    #[pymodule_export]
    use super::shared_memory::{NamedMemory, serve_as_janitor};
    #[pymodule_export]
    use super::template::{
        Request, Surroundings, Taken, Template, adopt_ends, start_template, surroundings,
        template_ends,
    };
    #[pymodule_export]
    use super::worker::{Keeper, usable_cpus, work};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // The runtime's state is the process's; a second interpreter in it would share locks of one thread.
        let interpreters = module
            .py()
            .import("_xxsubinterpreters")
            .or_else(|_| module.py().import("_interpreters"));
        if let Ok(interpreters) = interpreters
            && let (Ok(current), Ok(main)) = (
                interpreters.call_method0("get_current"),
                interpreters.call_method0("get_main"),
            )
            && !current.eq(main)?
        {
            return Err(pyo3::exceptions::PyImportError::new_err(
                "procession runs in the main interpreter only, not in a sub-interpreter",
            ));
        }
        Ok(())
    }
}
