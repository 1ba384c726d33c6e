//! The typed pool.

use super::shared::Shared;
use super::{Builder, Imap, ImapUnordered, Task};
use crate::error::Result;
use crate::process::token;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::fmt;
use std::sync::Arc;

/// Worker processes that call functions for this one.
///
/// ```standalone_crate
/// use procession::Pool;
///
/// fn main() -> procession::Result<()> {
///     procession::init(); // first thing in main: here workers find what they run
///     let pool = Pool::new(4)?;
///     let squares = pool.map(|n: u64| n * n, 0..1000)?;
///     assert_eq!(squares[12], 144);
///     let task = pool.apply_async(|n: u64| n + 1, 41)?;
///     assert_eq!(task.get()?, 42);
///     pool.join()
/// }
/// ```
///
/// What workers call is a function item, or a closure that captures nothing; arguments and results travel as bytes
/// ([`serde`], in postcard's format), and handles of this crate, a [`Queue`](crate::Queue) or a [`Lock`](crate::Lock), may be
/// among them. Workers are forked from a process that has done nothing but [`init`](crate::init): they share no memory with this one.
///
/// *Deaths.* A worker that is killed, or exits, costs the one task that it ran, which is an error of kind
/// [`Kind::WorkerDied`](crate::Kind::WorkerDied); another takes its place. A worker that is stopped costs nobody but who waits for its
/// task. All processes of the pool end with the program's root, busy or not. A panic ends no worker.
///
/// *Sharing.* Tasks may be handed over, and waited for, by any thread. Each worker takes the next element that nobody has begun, of
/// the oldest list first; so nothing has to be cut into chunks. What one element costs beside the function itself is a few
/// microseconds: put what takes less than that into groups.
///
/// Dropped, the pool is terminated: see [`terminate`](Self::terminate). To have all tasks done, [`join`](Self::join) it.
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool of so many workers, 1 at least. Does not wait until they are started.
    ///
    /// # Errors
    /// See [`Builder::build`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// A pool with as many workers as this process may use processors; or with a number, a name, an initializer.
    ///
    /// ```standalone_crate
    /// fn main() -> procession::Result<()> {
    ///     procession::init();
    ///     let lock = procession::Lock::new()?;
    ///     let pool = procession::Pool::builder()
    ///         .workers(2)
    ///         .initializer(|_: procession::Lock| std::env::set_current_dir("/tmp"), lock)
    ///         .max_tasks_per_worker(100)
    ///         .build()?;
    ///     pool.join()
    /// }
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Calls `function` with each of `items`, in the workers; the results, in the order of the items. Waits until all are done.
    ///
    /// # Errors
    /// That of the first item that has one, as [`Task::get`] tells it; the others are done all the same.
    /// [`Kind::NotOpen`](crate::Kind::NotOpen) when the pool was closed or terminated.
    pub fn map<F, A, R>(&self, function: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map_async(function, items)?.get()
    }

    /// As [`map`](Self::map), without waiting.
    pub fn map_async<F, A, R>(
        &self,
        function: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Task<Vec<R>>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.shared.check_open()?;
        let job = self
            .shared
            .submit(token::element_token(function), items, false)?;
        Ok(Task::all(&self.shared, job, type_name::<F>()))
    }

    /// As [`map_async`](Self::map_async); `done` is called with the results, or the first error: see
    /// [`apply_then`](Self::apply_then).
    pub fn map_then<F, A, R>(
        &self,
        function: F,
        items: impl IntoIterator<Item = A>,
        done: impl FnOnce(Result<Vec<R>>) + Send + 'static,
    ) -> Result<Task<Vec<R>>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.shared.check_open()?;
        let job = self
            .shared
            .submit(token::element_token(function), items, true)?;
        let task = Task::all(&self.shared, job, type_name::<F>());
        task.then(done)?;
        Ok(task)
    }

    /// Calls `function` with `argument` in a worker, and waits for the result.
    ///
    /// # Errors
    /// As [`Task::get`]; [`Kind::NotOpen`](crate::Kind::NotOpen) when the pool was closed or terminated.
    pub fn apply<F, A, R>(&self, function: F, argument: A) -> Result<R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.apply_async(function, argument)?.get()
    }

    /// As [`apply`](Self::apply), without waiting.
    pub fn apply_async<F, A, R>(&self, function: F, argument: A) -> Result<Task<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.shared.check_open()?;
        self.hand_over(
            token::element_token(function),
            type_name::<F>(),
            argument,
            false,
        )
    }

    /// As [`apply_async`](Self::apply_async); when the task is done or failed, `done` is called with its result, exactly once.
    ///
    /// It is called by a thread of this process, which is started at the first such call and ends with the pool: one after
    /// the other, in the order in which tasks are done. So it should return soon. [`join`](Self::join) waits for it,
    /// [`Task::get`] does not. When the pool is terminated it is called with an error of kind
    /// [`Kind::Terminated`](crate::Kind::Terminated). If it panics, the others are called all the same.
    pub fn apply_then<F, A, R>(
        &self,
        function: F,
        argument: A,
        done: impl FnOnce(Result<R>) + Send + 'static,
    ) -> Result<Task<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.shared.check_open()?;
        let task: Task<R> = self.hand_over(
            token::element_token(function),
            type_name::<F>(),
            argument,
            true,
        )?;
        task.then(done)?;
        Ok(task)
    }

    pub(super) fn hand_over<A: Serialize, R: DeserializeOwned>(
        &self,
        token: i64,
        function: &'static str,
        argument: A,
        asks: bool,
    ) -> Result<Task<R>> {
        let job = self.shared.submit(token, [argument], asks)?;
        Ok(Task::one(&self.shared, job, function))
    }

    /// An iterator over the results of `function` for each of `items`, in the order of the items; one that failed is an
    /// error, and the next one follows.
    ///
    /// The input is read as the results are taken: so far ahead that no worker waits, see [`Imap::ahead`]. So it may be long,
    /// or endless. Nothing is read before the first `next`; each reads on, and waits for its result.
    ///
    /// A pool that is closed meanwhile takes the rest of the input still.
    ///
    /// ```standalone_crate
    /// fn main() -> procession::Result<()> {
    ///     procession::init();
    ///     let pool = procession::Pool::new(2)?;
    ///     for square in pool.imap(|n: u64| n * n, 0..).take(10) {
    ///         println!("{}", square?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn imap<F, A, R, I>(&self, function: F, items: I) -> Imap<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        let token = token::element_token(function);
        Imap::new(self, token, type_name::<F>(), items.into_iter())
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    pub fn imap_unordered<F, A, R, I>(
        &self,
        function: F,
        items: I,
    ) -> ImapUnordered<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        ImapUnordered::new(self.imap(function, items))
    }

    /// The number of workers that it is to have.
    pub fn size(&self) -> usize {
        self.shared.pool().size() as usize
    }

    /// The process ids of the workers that run now. Fewer than [`size`](Self::size) while they are started, or replaced.
    pub fn workers(&self) -> Vec<u32> {
        let workers = self.shared.pool().workers();
        workers.into_iter().map(|(pid, _)| pid).collect()
    }

    /// Takes no more tasks; the workers end when all that were taken are done. Returns at once.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Closes the pool, and waits until all tasks are done, all `done` of [`apply_then`](Self::apply_then) were called and the
    /// workers have ended, as long as it takes. After [`terminate`](Self::terminate) nothing is left to wait for.
    ///
    /// # Errors
    /// [`Kind::PoolBroken`](crate::Kind::PoolBroken) if workers can't be started.
    pub fn join(self) -> Result<()> {
        self.shared.close();
        self.shared.join()
    }

    /// Ends the pool at once: what is not done will not be, and is an error of kind
    /// [`Kind::Terminated`](crate::Kind::Terminated). Workers that run a task get SIGTERM, and SIGKILL if they run still after
    /// half a second. Returns when all have ended, after 2 seconds at most.
    pub fn terminate(&self) -> Result<()> {
        self.shared.terminate()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A process that was forked since drops a copy: the pool is its parent's.
        if self.shared.is_owner() {
            let _ = self.shared.terminate();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name())
            .field("size", &self.size())
            .field("state", &self.shared.pool().state())
            .finish_non_exhaustive()
    }
}
