//! Accepting: many newcomers prove their key side by side, in the thread that accepts.
//!
//! Nobody waits for one newcomer: whoever accepts polls over the listening socket and all of them at
//! once. Those that are half-way when somebody else is accepted stay for the next one who accepts.

use super::frame::failed;
use super::handshake::Handshake;
use crate::descriptor;
use crate::error::{Error, Kind, Result};
use crate::life;
use crate::sys::process;
use crate::time;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long a newcomer may take to prove its key, while somebody accepts: it is a few messages, which a peer on a
/// slow line or a loaded machine has answered within seconds.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// So many may be half-way; then a new one takes the place of the oldest. Well below the 1024 descriptors that a process
/// may have as a rule, and more than prove a key at the same time, which takes a millisecond.
const MOST_NEWCOMERS: usize = 256;

/// How long a thread that accepts waits at a time: another one may have left newcomers to it.
const LOOK_AGAIN: u64 = 20_000_000;

/// For so long a newcomer is waited for before the next one is taken: as a rule it has proved its key by then. So who polls the
/// listening socket, and then accepts, hears of each: those who wait to be taken keep the socket readable.
const FRESH: u64 = 20_000_000;

#[derive(Debug)]
struct Newcomer {
    stream: OwnedFd,
    handshake: Handshake,
    wants: PollFlags,
    came: u64,
    until: u64,
}

/// The newcomers of one process.
#[derive(Debug)]
struct Lobby {
    process: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newcomers: VecDeque<Newcomer>,
    /// How many threads accept now.
    accepting: usize,
    /// When the last one left: time in which nobody accepts does not count.
    left_at: u64,
}

/// What accepts on a listening socket, which somebody else keeps.
///
/// In a forked child it begins anew, without those that are half-way in its parent.
#[derive(Debug, Default)]
pub struct Acceptor {
    lobby: AtomicPtr<Lobby>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let lobby = *self.lobby.get_mut();
        if !lobby.is_null() {
            // SAFETY: it was leaked from a box, and nobody else has this acceptor any more.
            let lobby = unsafe { Box::from_raw(lobby) };
            if lobby.process != process::pid() {
                // Its parent's: a thread that is not here may have been amid a change.
                std::mem::forget(lobby);
            }
        }
    }
}

/// Somebody who accepts; time counts while there is one.
struct Accepting<'a>(&'a Lobby);

impl<'a> Accepting<'a> {
    fn enter(lobby: &'a Lobby) -> Self {
        let mut state = lobby.lock();
        if state.accepting == 0 {
            let nobody = time::now().saturating_sub(state.left_at);
            for newcomer in &mut state.newcomers {
                newcomer.until = newcomer.until.saturating_add(nobody);
            }
        }
        state.accepting += 1;
        Self(lobby)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.accepting -= 1;
        state.left_at = time::now();
    }
}

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Acceptor {
    /// Nobody is half-way yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This process's own: a lock in it is never one that was locked when the process was forked.
    fn lobby(&self) -> &Lobby {
        loop {
            let found = self.lobby.load(Ordering::Acquire);
            // SAFETY: leaked from a box, and freed only with the acceptor.
            if let Some(lobby) = unsafe { found.as_ref() }
                && lobby.process == process::pid()
            {
                return lobby;
            }
            let new = Box::into_raw(Box::new(Lobby {
                process: process::pid(),
                state: Mutex::default(),
            }));
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            let mine = self.lobby.compare_exchange(found, new, success, failure);
            if mine.is_err() {
                // SAFETY: just leaked, and nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }

    /// Waits for the next who connects to `listening`, until a deadline of [`time::deadline`]: [`Kind::TimedOut`]. With a key:
    /// for the next who proves that it has it, in at most `limit`.
    ///
    /// One who has another key is [`Kind::AuthenticationFailed`]. One who is silent for `limit`, hangs up, or talks something
    /// else is dropped without a word. [`Kind::Interrupted`]: a signal came; call again to go on.
    pub fn accept(
        &self,
        listening: BorrowedFd<'_>,
        key: Option<&[u8]>,
        limit: Duration,
        until: Option<u64>,
    ) -> Result<OwnedFd> {
        // Else one who is gone before he is accepted, or whom another process accepts, would keep this thread.
        rustix::io::ioctl_fionbio(listening, true).map_err(|error| failed("accepting", error))?;
        let lobby = self.lobby();
        let _accepting = Accepting::enter(lobby);
        loop {
            let mut state = lobby.lock();
            if let Some(stream) = state.next(listening, key, limit)? {
                return Ok(stream);
            }
            let fresh = state.are_fresh();
            let mut fds = Vec::with_capacity(1 + state.newcomers.len());
            if !fresh {
                fds.push(PollFd::from_borrowed_fd(listening, PollFlags::IN));
            }
            let each = state.newcomers.iter().map(|newcomer| {
                // SAFETY: only waited for. If another thread closes it meanwhile, the wait ends sooner or later than
                // it might, and looks again.
                let fd = unsafe {
                    BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(&newcomer.stream))
                };
                PollFd::from_borrowed_fd(fd, newcomer.wants)
            });
            fds.extend(each);
            drop(state);
            let look_again = time::now().saturating_add(LOOK_AGAIN);
            let end = match until {
                Some(until) if !fresh => until.min(look_again),
                _ => look_again,
            };
            let ready = descriptor::wait_any(&mut fds, Some(end))
                .map_err(|error| failed("waiting for who connects", error))?;
            if ready {
                continue;
            }
            if !fresh && until.is_some_and(|until| until <= time::now()) {
                return Err(Error::new(
                    Kind::TimedOut,
                    "nobody connected before the time was over",
                ));
            }
            if life::attends_to_signals() {
                return Err(Error::new(Kind::Interrupted, "a signal may have come"));
            }
        }
    }
}

impl State {
    /// Whether somebody came, and all who did came just now.
    fn are_fresh(&self) -> bool {
        let now = time::now();
        let is_fresh = |newcomer: &Newcomer| {
            !newcomer.wants.is_empty() && now < newcomer.came.saturating_add(FRESH)
        };
        !self.newcomers.is_empty() && self.newcomers.iter().all(is_fresh)
    }

    /// Does all that can be done without waiting; a stream once its end has proved its key.
    fn next(
        &mut self,
        listening: BorrowedFd<'_>,
        key: Option<&[u8]>,
        limit: Duration,
    ) -> Result<Option<OwnedFd>> {
        for index in 0..self.newcomers.len() {
            if let Some(done) = self.step(index) {
                return done.map(Some);
            }
        }
        let now = time::now();
        // Those with no wants left are gone.
        self.newcomers
            .retain(|newcomer| !newcomer.wants.is_empty() && newcomer.until > now);
        while !self.are_fresh() {
            let stream = match accept_with(listening, SocketFlags::CLOEXEC) {
                Ok(stream) => stream,
                Err(Errno::AGAIN) => return Ok(None),
                // They were gone again before they were accepted.
                Err(Errno::CONNABORTED | Errno::PROTO) => continue,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
                    if self.newcomers.pop_front().is_some() =>
                {
                    continue;
                }
                Err(error) => return Err(failed("accepting", error)),
            };
            let Some(key) = key else {
                return Ok(Some(stream));
            };
            if self.newcomers.len() == MOST_NEWCOMERS {
                self.newcomers.pop_front();
            }
            self.newcomers.push_back(Newcomer {
                stream,
                handshake: Handshake::of_listener(key)?,
                wants: PollFlags::IN,
                came: time::now(),
                until: time::deadline(Some(limit)).map_or(u64::MAX, |until| until.max(1)),
            });
            if let Some(done) = self.step(self.newcomers.len() - 1) {
                return done.map(Some);
            }
        }
        Ok(None)
    }

    /// One newcomer goes on: its stream once it has proved its key, an error if it has another.
    fn step(&mut self, index: usize) -> Option<Result<OwnedFd>> {
        let newcomer = &mut self.newcomers[index];
        match newcomer.handshake.step(newcomer.stream.as_fd()) {
            Ok(Some(wants)) => newcomer.wants = wants,
            Ok(None) => {
                let newcomer = self.newcomers.remove(index)?;
                return Some(Ok(newcomer.stream));
            }
            Err(error) if error.kind() == Kind::AuthenticationFailed => {
                self.newcomers.remove(index);
                return Some(Err(error));
            }
            // It goes on at the next look.
            Err(error) if error.kind() == Kind::Interrupted => {}
            Err(error) => {
                log::debug!("dropped one who connected, and did not prove its key: {error}");
                newcomer.wants = PollFlags::empty();
            }
        }
        None
    }
}
