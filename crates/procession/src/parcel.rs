//! Descriptors on their way to another process of the program, through whatever carries handles.
//!
//! A queue of the arena carries bytes, and a descriptor is none. So it waits in the kernel: in a socket that holds it as a
//! message, until whoever got the bytes takes it out. It needs neither its sender nor a thread meanwhile.
//!
//! *The chest* is a pair of sockets that every process of the program has. Whoever first sends a parcel lays one message
//! into it, with the sockets of all *slots*, and nobody ever takes that out: all look (`MSG_PEEK`), which gives each a
//! copy. If two lay one at a time, all use the first.
//!
//! *A slot* is one direction of a pair of sockets, and a word of the arena. The word names the *token* of the parcel in it: an object that nobody
//! uses, which lives until a message names it, while one does, and while a receiver has it.
//!
//! | the word | who leaves it | if he dies |
//! |---|---|---|
//! | 0, free | whoever has a parcel, by compare-and-swap to its token; then he empties the slot, and sends | the token goes with him |
//! | a token's | its receiver, by compare-and-swap to *taken* | another may receive |
//! | a token's, which is gone | as free; or whoever closes what nobody will ask for, by compare-and-swap to himself | |
//! | a thread's | that thread, which empties the slot; then it is free | as free |
//! | taken | who took it: he takes the descriptor out, then it is free | the token goes with him |
//!
//! So nobody waits for anybody, and whoever dies or stops takes his own parcel along, no other. What nobody has received is
//! closed when the queue or the job that it was in goes, when what a dead process had is given back, and before the next parcel
//! is sent. What somebody took out of a queue and did not unpickle stays open until one of these.
//!
//! *Why there are no more slots.* The kernel counts descriptors that are in messages, for each user, all his programs together:
//! no more than one process of his may have open, often 1024. The chest's are counted from the first parcel on. So
//! they are few, and who finds no slot goes another way: Python by a thread of the sender, as the standard library does; Rust says so.

use crate::arena::{self, Arena};
use crate::error::{Error, Kind, Result};
use crate::object::{Name, Object};
use crate::sys::message;
use procession_shm::object::{self, Handle, Kind as ObjectKind};
use procession_shm::process as record;
use procession_shm::section::Section;
use procession_shm::{Fate, Owner, World};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicI32, Ordering};

/// How many parcels may be on their way at a time. All slots' sockets count against the user's RLIMIT_NOFILE while
/// they are in the chest, from the first parcel on.
const SLOTS: u64 = arena::word::SLOT_COUNT;

// A slot's word, if it is not the thread's that empties it: 34 bits for the place of the token, 28 for how often that was used, and these.
const PLACE_BITS: u32 = 34;
const GENERATION_BITS: u32 = 28;
const USED: u64 = 1 << 63;
const TAKEN: u64 = 1 << 62;

/// The chest as this process knows it.
pub(crate) struct Chest {
    send: AtomicI32,
    receive: AtomicI32,
}

impl Chest {
    pub(crate) const fn none() -> Self {
        Self {
            send: AtomicI32::new(-1),
            receive: AtomicI32::new(-1),
        }
    }

    fn descriptors(&self) -> [RawFd; 2] {
        [&self.send, &self.receive].map(|fd| fd.load(Ordering::Relaxed))
    }

    fn set(&self, descriptors: [RawFd; 2]) {
        self.send.store(descriptors[0], Ordering::Relaxed);
        self.receive.store(descriptors[1], Ordering::Relaxed);
    }

    /// In the root: makes the chest of a new program.
    pub(crate) fn make(&self, arena: &Arena) -> Result<()> {
        let failed = |error| Error::system("making the sockets for descriptors", error);
        let (send, receive) = message::pair().map_err(failed)?;
        // Kept open for the life of the process.
        let descriptors = [send.into_raw_fd(), receive.into_raw_fd()];
        for (index, &fd) in descriptors.iter().enumerate() {
            let cookie = message::cookie(fd).unwrap_or(0);
            arena.store(arena::word::CHEST + index as u64 * 8, cookie);
        }
        self.set(descriptors);
        Ok(())
    }

    /// In a process that was started: takes over what [`hand_on`] noted in its record.
    pub(crate) fn take_over(&self, arena: &Arena, index: u32) {
        let word = arena.load(arena.layout().process(index) + record::word::CHEST);
        if word == 0 {
            return;
        }
        let descriptors = [word as u32 as RawFd - 1, (word >> 32) as RawFd - 1];
        for fd in descriptors {
            // SAFETY: a plain fcntl call.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        self.set(descriptors);
    }

    /// The descriptors, if they are still the chest's: somebody may have closed them.
    fn whole(&self, arena: &Arena) -> Option<[RawFd; 2]> {
        let descriptors = self.descriptors();
        let is_ours = |(index, &fd): (usize, &RawFd)| {
            let cookie = arena.load(arena::word::CHEST + index as u64 * 8);
            cookie != 0 && message::cookie(fd) == Some(cookie)
        };
        descriptors
            .iter()
            .enumerate()
            .all(is_ours)
            .then_some(descriptors)
    }
}

/// The descriptors that a process which is started with this record is to inherit, by the same numbers.
pub fn hand_on(arena: &Arena, index: u32) -> Vec<RawFd> {
    let whole = arena.chest.whole(arena);
    let [send, receive] = whole.unwrap_or([-1, -1]);
    let word = (send + 1) as u64 | ((receive + 1) as u64) << 32;
    let _section = Section::RecordReserve.enter();
    arena.store(arena.layout().process(index) + record::word::CHEST, word);
    whole.map_or_else(Vec::new, |descriptors| descriptors.to_vec())
}

/// Names a parcel, in bytes that may travel anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Label {
    /// Its token.
    pub token: Name,
    /// Its slot.
    pub slot: u64,
}

thread_local! {
    /// Tokens of parcels that this thread has sent: kept until a message names them, which is made after all that it
    /// holds was written.
    static SENT: RefCell<Vec<(u64, Object)>> = const { RefCell::new(Vec::new()) };
    /// How many parcels this thread has sent.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn word_at(slot: u64) -> u64 {
    arena::word::SLOTS + slot * 8
}

/// How a slot names a token; `None` if the place was used so often that it can't.
fn word_of(handle: Handle) -> Option<u64> {
    let fits = handle.id >> PLACE_BITS == 0 && handle.generation >> GENERATION_BITS == 0;
    fits.then_some(USED | handle.generation << PLACE_BITS | handle.id)
}

fn is_free(arena: &Arena, word: u64) -> bool {
    if word & USED == 0 {
        return word == 0 || arena.fate(Owner::from_bits(word)) != Fate::Alive;
    }
    let handle = Handle {
        id: word & ((1 << PLACE_BITS) - 1),
        generation: word >> PLACE_BITS & ((1 << GENERATION_BITS) - 1),
    };
    object::kind_of(arena, handle).is_err()
}

/// The sockets of a slot, (to send, to receive); `None` if this process can't have them: it is short of descriptors, or
/// has no chest.
fn open(arena: &Arena, slot: u64) -> Result<Option<(OwnedFd, OwnedFd)>, Errno> {
    let Some([_, receive]) = arena.chest.whole(arena) else {
        return Ok(None);
    };
    let mut looked = message::peek(receive, &mut [0])?.descriptors;
    if looked.len() as u64 != SLOTS {
        return Ok(None);
    }
    // The two of a pair serve two slots, one in each direction.
    let second = looked.swap_remove(slot as usize | 1);
    let first = looked.swap_remove(slot as usize & !1);
    Ok(Some(if slot & 1 == 0 {
        (first, second)
    } else {
        (second, first)
    }))
}

/// Lays the sockets of all slots into the chest, unless they are there.
fn fill(arena: &Arena) -> Result<(), Errno> {
    let Some([send, receive]) = arena.chest.whole(arena) else {
        return Ok(());
    };
    match message::peek(receive, &mut [0]) {
        Err(Errno::AGAIN) => {}
        looked => return looked.map(drop),
    }
    let mut sockets = Vec::new();
    for _ in 0..SLOTS / 2 {
        let (send, receive) = message::pair()?;
        sockets.extend([send, receive]);
    }
    let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    match message::send_now(send, &[0], &numbers) {
        // Others were faster.
        Err(Errno::AGAIN) => Ok(()),
        sent => sent,
    }
}

/// Sends a copy of a descriptor; what the label names is put where the calling thread's carrier puts handles. `None` if there
/// is no room for it.
pub fn send(descriptor: BorrowedFd<'_>) -> Result<Option<Label>> {
    let arena = Arena::get()?;
    let failed = |error| match error {
        // Short of descriptors: there is no room.
        Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM => Ok(None),
        error => Err(Error::system("sending a descriptor", error)),
    };
    // Before SENT is there: at the thread's end what it keeps goes first.
    arena.me();
    are_named(arena);
    close_unread(arena);
    if let Err(error) = fill(arena) {
        return failed(error);
    }
    let token = Object::create(ObjectKind::Event, |_, _, _| Ok(()))?;
    let Some(mine) = word_of(token.handle()) else {
        return Ok(None);
    };
    let claimed = (0..SLOTS).find(|&slot| {
        let seen = arena.load(word_at(slot));
        is_free(arena, seen) && change(arena, slot, seen, mine)
    });
    let Some(slot) = claimed else {
        return Ok(None);
    };
    let sent = put(arena, slot, descriptor);
    if !matches!(sent, Ok(true)) {
        change(arena, slot, mine, 0);
        return sent.map_or_else(failed, |_| Ok(None));
    }
    let label = Label {
        token: token.name()?,
        slot,
    };
    let number = COUNT.replace(COUNT.get() + 1);
    SENT.with_borrow_mut(|sent| sent.push((number, token)));
    Ok(Some(label))
}

/// What the calling thread has sent may be named by a message now, and needs it no more.
pub(crate) fn are_named(arena: &Arena) {
    // At the thread's end there is none any more.
    let _ = SENT.try_with(|sent| {
        let mut sent = sent.borrow_mut();
        sent.retain(|(_, token)| !object::has_travelled(arena, token.handle()));
    });
}

/// Closes what nobody will receive: what stands in slots whose tokens are gone.
pub(crate) fn close_unread(arena: &Arena) {
    for slot in 0..SLOTS {
        let seen = arena.load(word_at(slot));
        if seen == 0 || !is_free(arena, seen) {
            continue;
        }
        let mine = arena.me().to_bits();
        if change(arena, slot, seen, mine) {
            let sockets = open(arena, slot).ok().flatten();
            if let Some((_, receive)) = &sockets {
                empty(receive);
            }
            // Who can't open it leaves it to others.
            change(arena, slot, mine, if sockets.is_some() { 0 } else { seen });
        }
    }
}

/// Takes out of a slot of the caller's what is in it, and closes that.
fn empty(receive: &OwnedFd) {
    while message::receive(receive.as_raw_fd(), &mut [0], true).is_ok_and(|found| found.len > 0) {}
}

/// How many parcels the calling thread has sent so far: for [`give_up`].
pub fn count() -> u64 {
    COUNT.get()
}

/// No message will name the parcels that the calling thread has sent since this count.
pub fn give_up(since: u64) {
    SENT.with_borrow_mut(|sent| sent.retain(|(number, _)| *number < since));
}

/// Changes a slot's word, unless it has changed meanwhile.
fn change(arena: &Arena, slot: u64, seen: u64, word: u64) -> bool {
    let _section = Section::ObjectSend.enter();
    arena.cas(word_at(slot), seen, word).is_ok()
}

/// Into a slot of the caller's; false if there is no chest.
fn put(arena: &Arena, slot: u64, descriptor: BorrowedFd<'_>) -> Result<bool, Errno> {
    let Some((send, receive)) = open(arena, slot)? else {
        return Ok(false);
    };
    // What was never asked for, or whose sender died.
    empty(&receive);
    message::send_now(send.as_raw_fd(), &[0], &[descriptor.as_raw_fd()])?;
    Ok(true)
}

/// Receives the descriptor of a parcel. Once, unless `leaves` it there for others, until its token is gone.
pub fn receive(label: Label, leaves: bool) -> Result<OwnedFd> {
    let gone = || {
        Error::new(
            Kind::Gone,
            "the descriptor was received already, or is no more: what is pickled once with a connection in it can be unpickled once",
        )
    };
    let token =
        Object::from_name(label.token, ObjectKind::Event).map_err(|error| match error.kind() {
            Kind::Gone if Arena::existing().is_some_and(|a| a.program() == label.token.program) => {
                gone()
            }
            _ => error,
        })?;
    let arena = token.arena();
    let failed = |error| Error::system("receiving a descriptor", error);
    let word = word_of(token.handle()).filter(|_| label.slot < SLOTS);
    let word = word.ok_or_else(gone)?;
    if arena.load(word_at(label.slot)) != word {
        return Err(gone());
    }
    let short = || failed(Errno::MFILE);
    let (_, socket) = open(arena, label.slot).map_err(failed)?.ok_or_else(short)?;
    let received = if leaves {
        message::peek(socket.as_raw_fd(), &mut [0])
    } else {
        if !change(arena, label.slot, word, word | TAKEN) {
            return Err(gone());
        }
        let received = message::receive(socket.as_raw_fd(), &mut [0], true);
        change(arena, label.slot, word | TAKEN, 0);
        object::unpin(arena, token.handle());
        received
    };
    let mut descriptors = received.map_err(failed)?.descriptors;
    descriptors.pop().ok_or_else(short)
}

/// Serialises what owns a descriptor as the label of a parcel.
pub(crate) fn serialize<S: serde::Serializer>(
    owner: &impl AsFd,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let full = || {
        let text = format!("more than {SLOTS} descriptors are on their way; receive some first");
        serde::ser::Error::custom(text)
    };
    send(owner.as_fd())
        .map_err(serde::ser::Error::custom)?
        .ok_or_else(full)?
        .serialize(serializer)
}

/// Receives what [`serialize`] sent.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<OwnedFd, D::Error> {
    receive(Label::deserialize(deserializer)?, false).map_err(serde::de::Error::custom)
}
