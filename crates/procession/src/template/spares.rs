//! The template's side, and that of its spares. Who forks is the binding's business: Python through `os.fork`.

use super::request::{REFUSED, taken_by};
use super::{DOOR_BYTES, Ends, MESSAGE_BYTES, door, name_of};
use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::process::{block_signals, forget_signals};
use crate::program;
use crate::sys::{message, process as sys};
use procession_shm::World;
use procession_shm::layout::header;
use procession_shm::process::{self as record, word};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::sync::{Mutex, PoisonError};

/// How many spares are kept.
const SPARES: usize = 2;

/// This process as the template of its ends.
pub struct Template {
    ends: Ends,
    door: u64,
    name: u64,
    /// On which spares say that they have taken a request: their pids.
    notices: (OwnedFd, OwnedFd),
    /// Becomes readable when a child ends.
    ends_of_children: OwnedFd,
    spares: Mutex<Vec<Spare>>,
}

/// A child that has taken no request as far as the template knows: its pid, and the use of the record it was given.
struct Spare {
    pid: u32,
    record: Option<(u32, u64)>,
}

/// A request that a spare has taken: it is the process that was asked for now.
pub struct Taken {
    /// What the requester sent.
    pub descriptors: Vec<OwnedFd>,
}

impl Template {
    /// In a process that was started as the template, by [`super::start`], and has adopted the ends. Blocks all signals.
    pub fn open(arena: &Arena) -> Result<Self> {
        let gone = |what: &str| Error::new(Kind::Gone, what.to_string());
        let ends = *Ends::existing().ok_or_else(|| gone("the template got no ends"))?;
        let door = ends
            .door(arena)
            .ok_or_else(|| gone("the template has no door"))?;
        let name = name_of(arena, arena.my_process());
        if arena.load(door + door::TEMPLATE) != name {
            return Err(gone("another template has taken this one's place"));
        }
        block_signals();
        let failed = |e| Error::system("setting up the template", e);
        Ok(Self {
            ends,
            door,
            name,
            notices: pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?,
            ends_of_children: child_signals().map_err(failed)?,
            spares: Mutex::new(Vec::new()),
        })
    }

    /// The template serves from now on.
    pub fn ready(&self, arena: &Arena) {
        arena.store(self.door + door::READY, self.name);
        arena.wake(self.door + door::READY, u32::MAX);
    }

    /// No template can serve here, and why: whoever asks is told so.
    pub fn unfit(&self, arena: &Arena, why: &str) {
        let mut end = why.len().min((DOOR_BYTES - door::TEXT) as usize);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        arena.write(self.door + door::TEXT, &why.as_bytes()[..end]);
        arena.store(self.door + door::UNFIT, end as u64);
        self.ready(arena);
    }

    /// Waits until a spare is wanted; false if another template has taken this one's place.
    pub fn wait(&self, arena: &Arena) -> Result<bool> {
        loop {
            if arena.load(self.door + door::TEMPLATE) != self.name {
                return Ok(false);
            }
            self.bury(arena);
            self.hear_notices();
            if self.spares().len() < SPARES {
                return Ok(true);
            }
            let mut fds = [
                PollFd::new(&self.notices.0, PollFlags::IN),
                PollFd::new(&self.ends_of_children, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::system("waiting for spares", error)),
            }
        }
    }

    /// A spare was forked, with this record. It notes its pid there itself: it may have become another process by now.
    pub fn forked(&self, arena: &Arena, pid: u32, record: Option<u32>) {
        let record = record.map(|index| (index, program::generation(arena, index)));
        self.spares().push(Spare { pid, record });
    }

    fn spares(&self) -> std::sync::MutexGuard<'_, Vec<Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_notices(&self) {
        let mut bytes = [0; 1024];
        while let Ok(len) = rustix::io::read(&self.notices.0, &mut bytes) {
            if len == 0 {
                break;
            }
            for pid in bytes[..len].chunks_exact(4) {
                let pid = u32::from_le_bytes(pid.try_into().expect("a chunk of four bytes"));
                self.spares().retain(|spare| spare.pid != pid);
            }
        }
    }

    /// Notes how children ended, before the kernel forgets it.
    fn bury(&self, arena: &Arena) {
        let mut bytes = [0_u8; 128];
        while rustix::io::read(&self.ends_of_children, &mut bytes).is_ok_and(|len| len > 0) {}
        while let Some((pid, code)) = sys::ended_child() {
            note_end(arena, pid, code);
            sys::take_away(pid);
            let mut spares = self.spares();
            if let Some(at) = spares.iter().position(|spare| spare.pid == pid) {
                let spare = spares.remove(at);
                if let Some((index, generation)) = spare.record {
                    program::unreserve_if_unused(arena, index, generation);
                }
                arena.add(self.door + door::LOST, 1);
            }
            drop(spares);
            // Who waits for it looks, and asks again.
            arena.tell_death();
        }
    }

    /// In a spare: waits for a request, and becomes the process that it asks for.
    pub fn take(&self, arena: &Arena) -> Result<Taken> {
        let spare = arena.my_process();
        program::note_myself(arena);
        loop {
            let mut bytes = [0; MESSAGE_BYTES];
            let received = match message::receive(self.ends.receive, &mut bytes, false) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Error::system("waiting for a request", error)),
            };
            let [number, index, generation, standing, descriptors] = words(&bytes);
            if received.len != MESSAGE_BYTES || index >= arena.layout().process_count {
                continue;
            }
            let at = arena.layout().process(index as u32);
            let known = received
                .sender
                .is_some_and(|(user, group)| sys::has_real_ids(user, group));
            let whole = received.descriptors.len() as u64 == descriptors;
            if !known || standing != self.ends.standing || !whole {
                if arena.cas(at + word::OFFER, number, REFUSED).is_ok() {
                    arena.tell_death();
                }
                continue;
            }
            let taken = taken_by(arena, spare);
            if arena.cas(at + word::OFFER, number, taken).is_err() {
                continue;
            }
            // If the template is gone nobody reads it.
            let _ = rustix::io::write(&self.notices.1, &sys::pid().to_le_bytes());
            // What came to the spare is not for the process; what comes once others know of it is.
            forget_signals();
            if program::become_asked_for(arena, index as u32, generation) {
                return Ok(Taken {
                    descriptors: received.descriptors,
                });
            }
            // The requester died: this goes on as a spare that the template counts no more.
        }
    }
}

fn words(bytes: &[u8; MESSAGE_BYTES]) -> [u64; 5] {
    let mut words = [0; 5];
    for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(from.try_into().expect("a chunk of eight bytes"));
    }
    words
}

/// A descriptor that becomes readable when a child ends. SIGCHLD is blocked.
fn child_signals() -> rustix::io::Result<OwnedFd> {
    // SAFETY: the set is initialised before it is read; the descriptor is ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        match libc::signalfd(-1, &raw const set, flags) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(Errno::MFILE),
        }
    }
}

/// A child ended: its record says how, unless it said so itself.
fn note_end(arena: &Arena, pid: u32, code: i32) {
    let high = arena
        .load(header::PROCESSES_HIGH)
        .min(arena.layout().process_count) as u32;
    for index in 0..high {
        let at = arena.layout().process(index);
        let its = record::state(arena, index).has_shown_up()
            && arena.load(at + word::PID) == pid as u64
            && program::identity(arena, index).is_there();
        if its {
            let _ = arena.cas(at + word::EXIT, 0, record::exit_word(code));
            program::recover_if_gone(arena, index);
        }
    }
}

impl Template {
    /// The descriptors that only the template needs: for its children to close.
    pub fn descriptors(&self) -> [i32; 3] {
        [
            self.notices.0.as_fd().as_raw_fd(),
            self.notices.1.as_fd().as_raw_fd(),
            self.ends_of_children.as_raw_fd(),
        ]
    }
}
