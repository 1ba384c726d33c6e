//! The keeper: a process that starts a pool's workers, and replaces those that end while the pool has need of them.
//!
//! It is single-threaded and does nothing else, so it may fork. It waits for nobody but its workers: whatever ends a
//! pool ends workers. Its own death costs no task; who waits for results finds it gone and starts another.

use super::{RawPool, State};
use crate::error::{Error, Kind, Result};
use crate::life;
use crate::program;
use crate::sys::process as sys;
use procession_shm::World;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

/// After so many starts in a row that raised an error the pool is broken.
const RAISED: u64 = 3;
/// After so many starts in a row, beyond the number of workers, of which none got ready, the pool is broken.
const DIED: u64 = 10;

struct Kept {
    pidfd: OwnedFd,
    pid: u32,
    record: Option<u32>,
}

/// The calling process as a pool's keeper.
pub struct Keeper {
    pool: RawPool,
    workers: Vec<Kept>,
    ready: u64,
    /// Starts that failed since one got ready: all, and those that ended by themselves.
    failed: u64,
    left: u64,
    /// Those to be started in any case, of the first ones.
    first: u64,
}

impl Keeper {
    /// Makes the calling process the pool's keeper; `None` if it has one that lives. Workers that run are kept.
    /// `all`: as many workers as the pool shall have are started even if it is closed before: they prepare themselves, which
    /// others may see.
    pub fn new(pool: RawPool, all: bool) -> Result<Option<Self>> {
        let arena = pool.arena();
        let seen = pool.shm().keeper(arena);
        let mine = super::owner_word(arena.me());
        if seen != 0 && !super::is_gone(arena, seen) || !pool.shm().change_keeper(arena, seen, mine)
        {
            return Ok(None);
        }
        // One that is stopped before it has said so itself ends with the pool too.
        program::children_work_for(pool.object().handle());
        let workers = pool
            .running()
            .into_iter()
            .filter_map(|(process, record)| {
                // Who has ended meanwhile is not kept; his pid may be another's by now.
                let pidfd = process.open().ok()??;
                let (pid, record) = (process.pid, Some(record));
                Some(Kept { pidfd, pid, record })
            })
            .collect();
        let ready = pool.shm().ready(arena);
        let first = if seen == 0 && all { pool.size() } else { 0 };
        Ok(Some(Self {
            pool,
            workers,
            ready,
            failed: 0,
            left: 0,
            first,
        }))
    }

    /// Waits until a worker is to be started; `false` when the pool has ended, and no worker is left.
    /// An error of kind [`Kind::Interrupted`] if a signal came.
    pub fn wait(&mut self) -> Result<bool> {
        loop {
            self.reap();
            let wanted = self.pool.shm().workers(self.pool.arena()) as usize;
            let missing = self.workers.len() < wanted;
            match self.pool.state() {
                State::Open if self.keeps_failing(wanted as u64) => {
                    self.pool.advance(State::Broken);
                    continue;
                }
                State::Open if missing => return Ok(true),
                State::Open => {}
                State::Closed if missing && (self.first > 0 || !self.is_idle()) => {
                    if self.keeps_failing(wanted as u64) {
                        self.pool.advance(State::Broken);
                        continue;
                    }
                    return Ok(true);
                }
                State::Closed if self.workers.is_empty() => {
                    self.pool.advance(State::Ended);
                    return Ok(false);
                }
                State::Closed => {}
                State::Ended | State::Terminated | State::Broken if self.workers.is_empty() => {
                    return Ok(false);
                }
                State::Ended | State::Terminated | State::Broken => {}
            }
            let mut fds: Vec<PollFd<'_>> = self
                .workers
                .iter()
                .map(|kept| PollFd::new(&kept.pidfd, PollFlags::IN))
                .collect();
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => return Err(Error::new(Kind::Interrupted, "a signal came")),
                Err(error) => return Err(Error::system("waiting for workers", error)),
            }
        }
    }

    fn keeps_failing(&self, wanted: u64) -> bool {
        // Who is killed has not raised it, whatever was raised earlier.
        let raised = self.left >= RAISED && self.pool.shm().error(self.pool.arena()).is_some();
        raised || self.failed >= DIED + wanted
    }

    fn is_idle(&self) -> bool {
        self.pool.shm().is_idle(self.pool.arena())
    }

    /// A worker was started.
    pub fn started(&mut self, pid: u32, record: Option<u32>) -> Result<()> {
        let pidfd = sys::pidfd(pid).map_err(|error| {
            sys::discard(pid);
            Error::system("opening a worker", error)
        })?;
        if let Some(record) = record {
            program::set_pid(self.pool.arena(), record, pid);
        }
        self.workers.push(Kept { pidfd, pid, record });
        self.first = self.first.saturating_sub(1);
        Ok(())
    }

    /// The number of workers that run.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether no worker runs.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    fn reap(&mut self) {
        let arena = self.pool.arena();
        let none = crate::time::timespec(0);
        let before = self.workers.len();
        let (mut failed, mut left) = (0, 0);
        self.workers.retain(|kept| {
            if !sys::wait_ended(kept.pidfd.as_fd(), Some(none)).unwrap_or(false) {
                return true;
            }
            // An adopted one is reaped elsewhere; what it did is known all the same.
            let code = sys::peek(kept.pidfd.as_fd()).ok().flatten();
            // Before it is reaped: who finds its record then, and it no more, knows how it ended.
            if let (Some(record), Some(code)) = (kept.record, code) {
                program::note_exit_code(arena, record, kept.pid, code);
            }
            let _ = sys::reap(kept.pidfd.as_fd());
            if code != Some(0) {
                failed += 1;
            }
            if code.is_some_and(|code| code > 0) {
                left += 1;
            }
            if let Some(record) = kept.record {
                program::recover_if_gone(arena, record);
            }
            false
        });
        if self.workers.len() == before {
            return;
        }
        // What the dead left half-done is settled before anybody is told that the pool has ended.
        life::look_round(arena);
        let ready = self.pool.shm().ready(arena);
        if ready == self.ready {
            self.failed += failed;
            self.left += left;
        } else {
            (self.ready, self.failed, self.left) = (ready, 0, 0);
        }
    }
}
