//! The worker's side: taking elements, and settling them.

use super::{RawPool, State, not_open};
use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::program;
use crate::queue::Draft;
use crate::sys::process;
use procession_shm::job::{Held, INLINE, Job, Lent};
use procession_shm::object::Handle;
use procession_shm::pool::NoElement;
use procession_shm::process as record;
use procession_shm::{Owner, World};

/// A thread that works for a pool.
pub struct Worker {
    pool: RawPool,
    current: Option<Held<'static, Arena>>,
    running: Option<u64>,
    me: Owner,
}

impl Worker {
    /// Makes the calling thread a worker of the pool, and its process one of those that end with it.
    pub fn new(pool: RawPool) -> Result<Self> {
        let arena = pool.arena();
        let mine = arena.layout().process(arena.my_process());
        let word = program::pool_word(pool.object().handle());
        match arena.cas(mine + record::word::POOL, 0, word) {
            Ok(()) => {}
            Err(seen) if seen == word => {}
            Err(_) => {
                return Err(Error::new(
                    Kind::InvalidInput,
                    "this process works for another pool already",
                ));
            }
        }
        let worker = Self {
            pool,
            current: None,
            running: None,
            me: arena.me(),
        };
        // Who ends the pool looks for its workers after he said so: one of us sees the other.
        arena.fence();
        worker.pool.wake_settled();
        match worker.pool.state() {
            State::Open | State::Closed => Ok(worker),
            state => Err(not_open(state)),
        }
    }

    /// Says that the worker is ready: what had to be done before its first task is done.
    pub fn ready(&self) {
        self.pool.shm().add_ready(self.pool.arena());
    }

    /// The pool that it works for.
    pub fn pool(&self) -> &RawPool {
        &self.pool
    }

    /// Takes the next element; waits until `until` at most. `false`: there will be none. Whether the element before was
    /// settled or not, it is this worker's no more.
    pub fn next(&mut self, until: Option<u64>) -> Result<bool> {
        self.give_up();
        match self
            .pool
            .shm()
            .next(self.pool.arena(), &mut self.current, until)
        {
            Ok(index) => {
                self.running = Some(index);
                Ok(true)
            }
            Err(NoElement::Over) => Ok(false),
            Err(NoElement::TimedOut) => Err(Error::new(Kind::Empty, "there was no task")),
            Err(NoElement::Interrupted) => Err(procession_shm::Interrupted.into()),
            Err(NoElement::Nested) => Err(Error::new(
                Kind::InvalidInput,
                "this thread runs a task already; let another thread or process be the worker",
            )),
        }
    }

    fn run(&self) -> Option<(Job, u64)> {
        Some((self.current.as_ref()?.job(), self.running?))
    }

    /// Whether the calling thread is the worker: not so in a process forked amid a task.
    pub fn is_mine(&self) -> bool {
        self.pool.arena().me() == self.me
    }

    /// The job that the element is of.
    pub fn job(&self) -> Option<Handle> {
        self.current.as_ref().map(Held::handle)
    }

    /// The number of the element, and how many its job has.
    pub fn element(&self) -> Option<(u64, u64)> {
        let (job, index) = self.run()?;
        Some((index, job.count(self.pool.arena())))
    }

    /// The call of the job that the element is of.
    pub fn call(&self) -> Option<Lent<'static, Arena>> {
        Some(self.run()?.0.call(self.pool.arena()))
    }

    /// Settles the element with its result: a kind and bytes.
    pub fn settle(&mut self, kind: u8, bytes: &[u8]) -> Result<()> {
        if bytes.len() > INLINE {
            let draft = Draft::new(self.pool.arena(), kind, bytes.len() as u64, &[], 0)?;
            draft.write(bytes);
            self.settle_message(draft);
            return Ok(());
        }
        if let Some((job, index)) = self.run() {
            let arena = self.pool.arena();
            self.pool
                .shm()
                .settle_inline(arena, job, index, kind, bytes);
            self.running = None;
        }
        Ok(())
    }

    /// Settles the element with its result: a message.
    pub fn settle_message(&mut self, result: Draft) {
        if let Some((job, index)) = self.run() {
            let arena = self.pool.arena();
            self.pool
                .shm()
                .settle_message(arena, job, index, result.into_inner());
            self.running = None;
        }
    }

    /// Gives up an element that was not settled: its worker counts as dead for it.
    pub fn give_up(&mut self) {
        if let Some((job, index)) = self.run() {
            let arena = self.pool.arena();
            let pid = process::pid();
            let exit = program::exit_code_of(arena, arena.my_process());
            self.pool.shm().settle_lost(arena, job, index, pid, exit);
            self.running = None;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.give_up();
        if self.is_mine() {
            let arena = self.pool.arena();
            let mine = arena.layout().process(arena.my_process());
            arena.store(mine + record::word::POOL, 0);
        }
    }
}
