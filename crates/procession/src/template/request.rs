//! The requester's side: a process is asked for until it has shown up.

use super::{DOORS, Ends, MESSAGE_BYTES, door, is_alive, name_of};
use crate::arena::{self, Arena};
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::program;
use crate::sys::{message, process as sys};
use procession_shm::process::{self as record, State, word};
use procession_shm::{Wake, World};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::ffi::{CStr, CString};

/// How many templates one request starts before it takes it that none can live here.
const MOST_STARTS: u32 = 12;
/// After so long without an answer a request is sent again: a spare that reads it may be stopped.
const AGAIN_AFTER: u64 = 1_000_000_000;
/// How long a full socket is waited for at a time.
const FULL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// OFFER once a spare has refused the request.
pub(super) const REFUSED: u64 = 1 << 62;
const TAKEN: u64 = 1 << 63;

/// The name of a spare, as OFFER holds it.
pub(super) fn taken_by(arena: &Arena, spare: u32) -> u64 {
    TAKEN | name_of(arena, spare) & !(3 << 62)
}

/// Whether the spare of this name lives.
fn taker_lives(arena: &Arena, offer: u64) -> bool {
    // The index is far below the bits that the mark covers.
    is_alive(arena, offer & !TAKEN)
}

/// What became of a request, so far.
pub enum Answer {
    /// The process runs, with this pid.
    Started(u32),
    /// No template serves here, and why. `first`: nobody has been told before.
    Unfit {
        /// What stands against a template.
        why: String,
        /// Whether the caller is the first to learn of it.
        first: bool,
    },
    /// The caller is to start a template, with this record: see [`start`].
    Start(u32),
}

/// A process that showed up under its record, as its requester finds it.
pub enum Started {
    /// It runs.
    Runs(OwnedFd),
    /// It has ended: in place of its pidfd a descriptor that is readable, and how it ended, if anybody knows.
    Ended(OwnedFd, Option<i32>),
}

/// The process of a record of which [`Request::wait`] said that it has started.
pub fn open_started(arena: &Arena, record: u32) -> Result<Started> {
    let generation = program::generation(arena, record);
    let failed = |e| Error::system("opening a process", e);
    if let Some(pidfd) = program::identity(arena, record).open().map_err(failed)? {
        return Ok(Started::Runs(pidfd));
    }
    let code = program::exit_code(arena, record, generation);
    program::let_go(arena, record);
    Ok(Started::Ended(sys::ended().map_err(failed)?, code))
}

/// A process that is asked for.
pub struct Request {
    record: u32,
    number: u64,
    standing: u64,
    descriptors: Vec<RawFd>,
    sent: Option<Sent>,
    again_after: u64,
    starts: u32,
}

struct Sent {
    template: u64,
    lost: u64,
    at: u64,
}

impl Request {
    /// A request for the process of a reserved record, with descriptors that stay open until it is answered.
    pub fn new(arena: &Arena, record: u32, descriptors: Vec<RawFd>) -> Result<Self> {
        if descriptors.len() > message::MOST_DESCRIPTORS {
            return Err(Error::new(
                Kind::InvalidInput,
                format!(
                    "{} descriptors go to the new process, the kernel takes {} at once",
                    descriptors.len(),
                    message::MOST_DESCRIPTORS
                ),
            ));
        }
        let mut request = Self {
            record,
            number: 0,
            standing: sys::standing(),
            descriptors,
            sent: None,
            again_after: AGAIN_AFTER,
            starts: 0,
        };
        request.renew(arena);
        arena.store(request.at() + word::OFFER, request.number);
        Ok(request)
    }

    fn renew(&mut self, arena: &Arena) {
        self.number = arena.add(arena::word::REQUESTS, 1) + 1;
        self.sent = None;
    }

    fn at(&self) -> u64 {
        // The arena is there: the record was reserved in it.
        Arena::existing().map_or(0, |arena| arena.layout().process(self.record))
    }

    /// Sends, sends again and waits, until there is something to tell. `Interrupted`: a signal came; call again.
    pub fn wait(&mut self, arena: &Arena) -> Result<Answer> {
        loop {
            let offer = arena.load(self.at() + word::OFFER);
            let pid = arena.load(self.at() + word::PID);
            if pid != 0 {
                return Ok(Answer::Started(pid as u32));
            }
            if offer == REFUSED {
                return Err(Error::new(
                    Kind::System,
                    "the template refused to start a process: its user or groups are not those of the one who asked, or descriptors were lost on the way (RLIMIT_NOFILE)",
                ));
            }
            if offer & TAKEN != 0 {
                if taker_lives(arena, offer) || !self.offer_again(arena, offer) {
                    self.sleep(arena, word::PID + self.at(), 0, None)?;
                }
                continue;
            }
            let ends = Ends::get(self.standing)?;
            let Some(door) = ends.door(arena) else {
                let why = format!("the program has {DOORS} templates already");
                match self.unfit(arena, why, false) {
                    Some(answer) => return Ok(answer),
                    None => continue,
                }
            };
            let template = arena.load(door + door::TEMPLATE);
            if let Some(why) = read_unfit(arena, door) {
                let first = arena.swap(door + door::LOGGED, 1) == 0;
                match self.unfit(arena, why, first) {
                    Some(answer) => return Ok(answer),
                    None => continue,
                }
            }
            if !is_alive(arena, template) {
                if self.starts == MOST_STARTS {
                    let why = format!("it died {MOST_STARTS} times before it could serve");
                    match self.unfit(arena, why, true) {
                        Some(answer) => return Ok(answer),
                        None => continue,
                    }
                }
                let record = program::reserve(arena)?;
                let mine = name_of(arena, record);
                if arena.cas(door + door::TEMPLATE, template, mine).is_ok() {
                    self.starts += 1;
                    return Ok(Answer::Start(record));
                }
                program::unreserve(arena, record);
                continue;
            }
            let ready = arena.load(door + door::READY);
            if ready != template {
                self.sleep(arena, door + door::READY, ready as u32, None)?;
                continue;
            }
            let lost = arena.load(door + door::LOST);
            let until = match &self.sent {
                Some(sent) if sent.template == template && sent.lost == lost => {
                    sent.at.saturating_add(self.again_after)
                }
                _ => 0,
            };
            if until > arena.now() {
                self.sleep(arena, self.at() + word::PID, 0, Some(until))?;
                continue;
            }
            match message::send_now(ends.send, &self.message(arena), &self.descriptors) {
                Ok(()) => {
                    if self.sent.is_some() {
                        self.again_after = self.again_after.saturating_mul(2);
                    }
                    self.sent = Some(Sent {
                        template,
                        lost,
                        at: arena.now(),
                    });
                }
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => wait_for_room(ends.send)?,
                // The ends were closed meanwhile: others are made.
                Err(_) if !ends.are_whole() => {}
                Err(error) => {
                    return Err(Error::system("asking the template for a process", error));
                }
            }
        }
    }

    fn sleep(&self, arena: &Arena, at: u64, expected: u32, until: Option<u64>) -> Result<()> {
        match arena.wait(at, expected, until) {
            Wake::Interrupted => Err(Error::new(Kind::Interrupted, "a signal came")),
            Wake::Look | Wake::TimedOut => Ok(()),
        }
    }

    /// Offers again what one took who died before he showed up. Says whether it is offered.
    fn offer_again(&mut self, arena: &Arena, offer: u64) -> bool {
        let seen = record::state(arena, self.record);
        if arena.load(self.at() + word::PID) != 0 {
            return false;
        }
        if seen.has_shown_up() {
            // He left no pid and writes no more, so nobody was told of him.
            record::change(arena, self.record, seen, State::Reserved(arena.me()));
        }
        self.renew(arena);
        arena
            .cas(self.at() + word::OFFER, offer, self.number)
            .is_ok()
    }

    /// No template serves: unless a spare has the request already, it is taken back.
    fn unfit(&mut self, arena: &Arena, why: String, first: bool) -> Option<Answer> {
        self.withdraw(arena).then_some(Answer::Unfit { why, first })
    }

    /// Takes the request back; false if a spare was faster.
    pub fn withdraw(&mut self, arena: &Arena) -> bool {
        arena.cas(self.at() + word::OFFER, self.number, 0).is_ok()
    }

    /// Takes the request back and gives the record up; a process that has it already is killed.
    pub fn cancel(&mut self, arena: &Arena) {
        loop {
            if self.withdraw(arena) {
                return program::unreserve(arena, self.record);
            }
            match retry(|| self.wait(arena)) {
                Ok(Answer::Started(_)) => {
                    if let Ok(Started::Runs(pidfd)) = open_started(arena, self.record) {
                        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                        program::let_go(arena, self.record);
                    }
                    return;
                }
                Ok(Answer::Start(template)) => program::unreserve(arena, template),
                // Refused or taken back, so nobody has the record; or nobody knows who has it.
                Ok(Answer::Unfit { .. }) | Err(_) => return program::unreserve(arena, self.record),
            }
        }
    }

    fn message(&self, arena: &Arena) -> [u8; MESSAGE_BYTES] {
        let words = [
            self.number,
            self.record as u64,
            program::generation(arena, self.record),
            self.standing,
            self.descriptors.len() as u64,
        ];
        let mut message = [0; MESSAGE_BYTES];
        for (into, word) in message.chunks_exact_mut(8).zip(words) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        message
    }
}

fn wait_for_room(socket: RawFd) -> Result<()> {
    // SAFETY: the descriptor stays open through the call; if somebody closes it, it is an error.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    match poll(&mut fds, Some(&FULL)) {
        Err(Errno::INTR) => Err(Error::new(Kind::Interrupted, "a signal came")),
        _ => Ok(()),
    }
}

fn read_unfit(arena: &Arena, door: u64) -> Option<String> {
    let len = arena.load(door + door::UNFIT);
    if len == 0 {
        return None;
    }
    let mut text = vec![0; len.min(super::DOOR_BYTES - door::TEXT) as usize];
    arena.read(door + door::TEXT, &mut text);
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Starts a template under the record that [`Answer::Start`] named, nobody's child, by running a program with these
/// arguments; of the caller's descriptors it gets those of `keep`.
pub fn start(
    arena: &Arena,
    record: u32,
    path: &CStr,
    argv: &[CString],
    keep: &[RawFd],
) -> Result<u32> {
    let pid = sys::run_detached(path, argv, keep, false)
        .map_err(|e| Error::system("starting the template", e))?;
    program::set_pid(arena, record, pid);
    Ok(pid)
}
