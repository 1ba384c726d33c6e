//! Pools of worker processes: what the typed pool and bindings are made of.

mod builder;
pub mod call;
mod callbacks;
mod follow;
mod imap;
mod job;
mod keeper;
mod plan;
mod serve;
mod shared;
mod task;
mod typed;
mod worker;

pub use self::builder::Builder;
pub use self::follow::Followers;
pub use self::imap::{Imap, ImapUnordered};
pub use self::job::{Found, INLINE, RawJob, Round};
pub use self::keeper::Keeper;
pub use self::task::Task;
pub use self::typed::Pool;
pub use self::worker::Worker;
pub use crate::process::Initialized;
pub use procession_shm::job::Outcome;
pub use procession_shm::pool::State;

use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::object::{Object, deserialize};
use crate::program;
use crate::queue::Draft;
use crate::sys::process::Identity;
use crate::time;
use procession_shm::job::{Lent, is_running};
use procession_shm::pool as shm;
use procession_shm::{Fate, Owner, World, object, slot};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// As long as nobody keeps a pool, who waits looks after it so often.
pub(crate) const LOOK_AFTER: Duration = Duration::from_millis(50);

/// A pool: its queue of jobs, its state, and who keeps its workers.
#[derive(Clone, Debug)]
pub struct RawPool {
    object: Object,
    pool: shm::Pool,
}

impl RawPool {
    /// A new pool that is to have so many workers. It has none before a [`Keeper`] starts them.
    pub fn new(workers: u64) -> Result<Self> {
        if workers == 0 {
            return Err(Error::new(
                Kind::InvalidInput,
                "a pool needs 1 worker at least; got 0",
            ));
        }
        let handle = shm::Pool::create(Arena::get()?, workers)?;
        Self::from_object(Object::adopt(handle, object::Kind::Pool)?)
    }

    /// The pool that an object is.
    pub fn from_object(object: Object) -> Result<Self> {
        let pool = shm::Pool::of(object.arena(), object.handle())?;
        Ok(Self { object, pool })
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The arena that it is in.
    pub fn arena(&self) -> &'static Arena {
        self.object.arena()
    }

    pub(crate) fn shm(&self) -> shm::Pool {
        self.pool
    }

    /// What may still happen in it.
    pub fn state(&self) -> State {
        self.pool.state(self.arena())
    }

    /// How many workers it is to have.
    pub fn size(&self) -> u64 {
        self.pool.workers(self.arena())
    }

    /// Takes it to a later state; false if it is there or further already.
    pub fn advance(&self, to: State) -> bool {
        self.pool.advance(self.arena(), to)
    }

    /// Hands a job to the workers: `count` runs of a call. `asks`: [`wait_settled`](Self::wait_settled) is told of each.
    pub fn submit(&self, call: Draft, count: u64, asks: bool) -> Result<RawJob> {
        RawJob::submit(self, call, count, asks)
    }

    /// Waits until `look` finds something, which it is asked after an element of a job that asks was settled; false if the time is over.
    pub fn wait_settled(&self, until: Option<u64>, look: impl FnMut() -> bool) -> Result<bool> {
        Ok(self.pool.wait_settled(self.arena(), until, look)?)
    }

    /// Makes who waits for settled elements look again.
    pub fn wake_settled(&self) {
        self.pool.wake_settled(self.arena());
    }

    /// Leaves a message that says why workers can't be started, unless there is one.
    pub fn set_error(&self, message: Draft) {
        self.pool.set_error(self.arena(), message.into_inner());
    }

    /// The message that says why workers can't be started.
    pub fn error(&self) -> Option<Lent<'static, Arena>> {
        self.pool.error(self.arena())
    }

    /// Whether a keeper was there and is gone, though the pool has need of one.
    pub fn is_abandoned(&self) -> bool {
        let keeper = self.pool.keeper(self.arena());
        keeper != 0 && is_gone(self.arena(), keeper) && self.state() < State::Ended
    }

    /// Whether a keeper keeps it, or kept it till its end.
    pub fn has_keeper(&self) -> bool {
        self.pool.keeper(self.arena()) != 0
    }

    /// Whether nothing more is settled: the pool has ended, or nobody keeps it.
    pub(crate) fn is_over(&self) -> bool {
        self.state() >= State::Ended || self.is_abandoned()
    }

    /// The workers that run: process id and record of each.
    pub fn workers(&self) -> Vec<(u32, u32)> {
        let running = self.running().into_iter();
        running
            .map(|(process, record)| (process.pid, record))
            .collect()
    }

    fn running(&self) -> Vec<(Identity, u32)> {
        program::processes_of_pool(self.arena(), self.object.handle())
    }

    /// Ends the pool at once. Workers that run a task get SIGTERM, idle ones end by themselves; who is left after
    /// `grace` gets SIGKILL. Returns when none is left, or after twice the time.
    pub fn terminate(&self, grace: Duration) -> Result<()> {
        self.advance(State::Terminated);
        let soft = time::deadline(Some(grace));
        let hard = time::deadline(Some(grace * 2));
        let mut told = Vec::new();
        loop {
            let workers = self.running();
            if workers.is_empty() {
                return Ok(());
            }
            let now = time::now();
            let kill = soft.is_some_and(|soft| soft <= now);
            if hard.is_some_and(|hard| hard <= now) {
                return Ok(());
            }
            let mut pidfds = Vec::new();
            for (process, record) in workers {
                let Ok(Some(pidfd)) = process.open() else {
                    continue;
                };
                let signal = if kill { Signal::KILL } else { Signal::TERM };
                if kill || !told.contains(&process) && self.runs_task(record) {
                    let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
                    told.push(process);
                }
                pidfds.push(pidfd);
            }
            wait_any(&pidfds, Duration::from_millis(10))?;
            for (_, record) in self.running() {
                program::recover_if_gone(self.arena(), record);
            }
        }
    }

    fn runs_task(&self, process: u32) -> bool {
        let arena = self.arena();
        let high = arena
            .load(procession_shm::layout::header::THREADS_HIGH)
            .min(arena.layout().thread_count) as u32;
        (0..high).any(|index| {
            let at = arena.layout().thread(index);
            slot::state(arena.load(at + slot::word::STATE)).1 == slot::State::Live
                && arena.load(at + slot::word::PROCESS) == process as u64
                // Who has settled his element only has to be told that there is no other.
                && is_running(arena, index)
        })
    }
}

impl Serialize for RawPool {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let object = deserialize(deserializer, object::Kind::Pool)?;
        Self::from_object(object).map_err(serde::de::Error::custom)
    }
}

fn wait_any(pidfds: &[OwnedFd], timeout: Duration) -> Result<()> {
    let mut fds: Vec<PollFd<'_>> = pidfds
        .iter()
        .map(|pidfd| PollFd::new(pidfd, PollFlags::IN))
        .collect();
    match poll(&mut fds, Some(&time::timespec(timeout.as_nanos() as u64))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::system("waiting for workers", error)),
    }
}

pub(crate) fn not_open(state: State) -> Error {
    let why = match state {
        State::Open | State::Closed => "Pool not running: it is closed",
        State::Ended => "Pool not running: it has ended",
        State::Terminated => "Pool not running: it was terminated",
        State::Broken => "Pool not running: its workers can't be started",
    };
    Error::new(Kind::NotOpen, why)
}

/// An owner as the word that names the keeper: never 0.
fn owner_word(owner: Owner) -> u64 {
    owner.to_bits() | 1 << 63
}

fn is_gone(arena: &Arena, keeper: u64) -> bool {
    arena.fate(Owner::from_bits(keeper)) != Fate::Alive
}
