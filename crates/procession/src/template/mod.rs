//! The template: a small process with one thread, from which others are forked.
//!
//! It keeps *spares*: children forked ahead that wait for a request. A request is one message on a
//! pair of sockets, the *ends*; both ends are kept by every process that has them and handed on to
//! every child, so a template that follows a dead one reads from the same socket, and what stands in
//! it is not lost. A *door* is the pair's row in the arena's header: which process is its template now.
//!
//! *Exactly once.* The record of the process that is asked for names the request by a number, OFFER. A
//! spare takes the request by a compare-and-swap of that number to its own name, then shows up under the
//! record. So a request may be sent again whenever its first message may be lost; a second spare
//! that reads it finds the number gone.
//!
//! *Deaths.* A spare that dies before it takes a request: the template says so in LOST, or dies itself, and
//! the requester sends again. One that dies between taking and showing up: the requester finds that who is
//! named is gone, and offers again. The template: whoever needs it finds its record's process gone, and one
//! of them, by compare-and-swap of the door's word, starts another. Its spares serve on.

mod request;
mod spares;

pub use request::{Answer, Request, Started, open_started, start};
pub use spares::{Taken, Template};

use crate::arena::{self, Arena};
use crate::error::{Error, Kind, Result};
use crate::program;
use crate::sys::message;
use procession_shm::World;
use procession_shm::process::{self as record, State};
use rustix::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Words of a door, as byte offsets into it.
mod door {
    /// The cookie of the end that is read; 0: the door is free.
    pub const KEY: u64 = 0;
    /// Which process is the template, as [`super::name_of`] makes it; 0: none yet.
    pub const TEMPLATE: u64 = 8;
    /// The template that has said whether it serves.
    pub const READY: u64 = 16;
    /// How many spares died before they took a request.
    pub const LOST: u64 = 24;
    /// Not 0 once somebody has logged that no template serves here.
    pub const LOGGED: u64 = 32;
    /// Length of the text that says why no template serves here; 0: one does.
    pub const UNFIT: u64 = 40;
    /// The text.
    pub const TEXT: u64 = 48;
}

const DOOR_BYTES: u64 = 256;
const DOORS: u64 = (arena::word::SLOTS - arena::word::DOORS) / DOOR_BYTES;

/// What a message holds: number of the request, record, generation, standing, number of descriptors.
const MESSAGE_BYTES: usize = 40;

/// The ends of this process.
#[derive(Clone, Copy)]
struct Ends {
    send: RawFd,
    receive: RawFd,
    /// What the kernel lets the processes do that these ends lead to.
    standing: u64,
    cookies: (u64, u64),
}

// Never freed: a thread may be reading it, and there is more than one only if somebody closes descriptors or
// changes his user.
static ENDS: AtomicPtr<Ends> = AtomicPtr::new(std::ptr::null_mut());

impl Ends {
    fn existing() -> Option<&'static Self> {
        // SAFETY: the pointer was leaked from a box and is never freed.
        let ends: Option<&'static Self> = unsafe { ENDS.load(Ordering::Acquire).as_ref() };
        ends.filter(|ends| ends.are_whole())
    }

    /// Whether the descriptors are still what they were: somebody may have closed them.
    fn are_whole(&self) -> bool {
        let found = (message::cookie(self.send), message::cookie(self.receive));
        found == (Some(self.cookies.0), Some(self.cookies.1))
    }

    fn new(send: RawFd, receive: RawFd, standing: u64) -> Option<Self> {
        Some(Self {
            send,
            receive,
            standing,
            cookies: (message::cookie(send)?, message::cookie(receive)?),
        })
    }

    fn publish(self, before: *mut Self) -> bool {
        let new = Box::into_raw(Box::new(self));
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let mine = ENDS.compare_exchange(before, new, success, failure);
        if mine.is_err() {
            // SAFETY: just leaked, and nobody has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
        mine.is_ok()
    }

    /// The ends for a process of this standing; made if there are none, or none that lead to its equals.
    fn get(standing: u64) -> Result<&'static Self> {
        let failed = |e| Error::system("making the template's sockets", e);
        loop {
            let before = ENDS.load(Ordering::Acquire);
            let old = Self::existing();
            if let Some(ends) = old.filter(|ends| ends.standing == standing) {
                return Ok(ends);
            }
            let (send, receive) = message::pair().map_err(failed)?;
            let mut kept: Option<(OwnedFd, OwnedFd)> = None;
            let (send, receive) = match old {
                // In their place: they lead to processes that may do other things than this one.
                Some(old) => {
                    // SAFETY: all are sockets of ours.
                    unsafe {
                        libc::dup3(send.as_raw_fd(), old.send, libc::O_CLOEXEC);
                        libc::dup3(receive.as_raw_fd(), old.receive, libc::O_CLOEXEC);
                    }
                    (old.send, old.receive)
                }
                None => {
                    let numbers = (send.as_raw_fd(), receive.as_raw_fd());
                    kept = Some((send, receive));
                    numbers
                }
            };
            let ends = Self::new(send, receive, standing).ok_or_else(|| {
                Error::new(Kind::System, "the template's sockets were closed at once")
            })?;
            if ends.publish(before)
                && let Some((send, receive)) = kept
            {
                // Kept open for the life of the process.
                let _ = (send.into_raw_fd(), receive.into_raw_fd());
            }
        }
    }

    /// The door of these ends; one is taken for them if they have none.
    fn door(&self, arena: &Arena) -> Option<u64> {
        let key = self.cookies.1;
        let all = || (0..DOORS).map(|index| arena::word::DOORS + index * DOOR_BYTES);
        loop {
            if let Some(found) = all().find(|at| arena.load(at + door::KEY) == key) {
                return Some(found);
            }
            // One whose template is gone and may be followed may be taken: who comes back to it takes another.
            let (free, seen) =
                all()
                    .map(|at| (at, arena.load(at + door::KEY)))
                    .find(|&(at, seen)| {
                        let template = arena.load(at + door::TEMPLATE);
                        seen == 0 || arena.load(at + door::UNFIT) == 0 && !is_alive(arena, template)
                    })?;
            // If another was faster, perhaps it was for the same ends.
            let _ = arena.cas(free + door::KEY, seen, key);
        }
    }
}

/// The ends of this process, to hand on to a child: to send, to receive, and for whom they are.
pub fn ends() -> Option<(RawFd, RawFd, u64)> {
    Ends::existing().map(|ends| (ends.send, ends.receive, ends.standing))
}

/// In a child: it was handed these ends, and owns them.
pub fn adopt(send: RawFd, receive: RawFd, standing: u64) {
    for fd in [send, receive] {
        // SAFETY: a plain fcntl call.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    if let Some(ends) = Ends::new(send, receive, standing) {
        ends.publish(std::ptr::null_mut());
    }
}

/// A use of a record, as a word: the generation below, for waits look at the low half; above the index plus one.
fn name_of(arena: &Arena, index: u32) -> u64 {
    program::generation(arena, index) & 0xffff_ffff | (index as u64 + 1) << 32
}

/// Whether the process of a record is a template: it is a child of who needed it first, but nobody knows it as one.
pub(crate) fn is_template(arena: &Arena, index: u32) -> bool {
    let name = name_of(arena, index);
    let mut doors = (0..DOORS).map(|index| arena::word::DOORS + index * DOOR_BYTES);
    doors.any(|at| arena.load(at + door::TEMPLATE) == name)
}

/// Whether the process of such a word lives, or is being started by one who does.
fn is_alive(arena: &Arena, name: u64) -> bool {
    let Some(index) = ((name >> 32) as u32).checked_sub(1) else {
        return false;
    };
    if index as u64 >= arena.layout().process_count || name_of(arena, index) != name {
        return false;
    }
    let process = program::identity(arena, index);
    match record::state(arena, index) {
        State::Live(_) if process.pid != 0 => !process.is_gone(),
        State::Live(_) | State::Reserved(_) => !program::parent_is_gone(arena, index),
        _ => false,
    }
}
