//! What a pool is made with beside its number of workers.

use super::plan::{Initializer, Plan};
use super::shared::Shared;
use super::{Initialized, Pool, RawPool};
use crate::error::{Error, Kind, Result};
use crate::process;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::thread;

/// How a [`Pool`] is to be; made by [`Pool::builder`].
pub struct Builder {
    workers: Option<usize>,
    name: Option<String>,
    limit: Option<u64>,
    initializer: Option<Result<Initializer>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            name: None,
            limit: None,
            initializer: None,
        }
    }

    /// The number of workers, 1 at least; as many as [`std::thread::available_parallelism`] says if none is given: the
    /// processors that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The name of its processes: workers are called `name-1`, `name-2` and so on, and so says
    /// [`current_process`](crate::current_process) in them. `PoolWorker` if none is given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What each worker calls before its first task: a function, or a closure that captures nothing, and its arguments,
    /// which may hold handles. It returns nothing, or a `Result` whose error can be displayed.
    ///
    /// A worker whose initializer panics or returns an error ends, and another is started. When that has happened 3 times in a
    /// row the pool is broken: tasks fail with [`Kind::PoolBroken`] and what the first initializer said. Workers that
    /// die before they are ready break the pool after 10 times and one more for each worker.
    pub fn initializer<F, A, R>(mut self, function: F, arguments: A) -> Self
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Initialized,
    {
        self.initializer = Some(Initializer::of(function, &arguments));
        self
    }

    /// After so many tasks, 1 at least, a worker ends and another takes its place; each element of a `map` is a task. Without
    /// it workers live as long as the pool.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.limit = Some(tasks);
        self
    }

    /// Makes the pool, and has its workers started; does not wait until they are.
    ///
    /// # Errors
    /// [`Kind::NotInitialized`] without [`init`](crate::init) first thing in `main`; [`Kind::InvalidInput`] for 0
    /// workers or tasks; [`Kind::Serialization`] if the initializer's arguments can't be turned into bytes.
    pub fn build(self) -> Result<Pool> {
        process::check_initialized()?;
        if self.limit == Some(0) {
            return Err(Error::new(
                Kind::InvalidInput,
                "a worker does 1 task at least; got a limit of 0",
            ));
        }
        let usable = || thread::available_parallelism().map_or(1, usize::from);
        let plan = Plan {
            pool: RawPool::new(self.workers.unwrap_or_else(usable) as u64)?,
            name: self.name.unwrap_or_else(|| "PoolWorker".to_string()),
            initializer: self.initializer.transpose()?,
            limit: self.limit,
        };
        Shared::start(plan).map(Pool::of)
    }
}
