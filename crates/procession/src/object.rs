//! References to shared objects: each is a lease of this process, given back when it is dropped.

use crate::arena::Arena;
use crate::carrier;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::parcel;
use crate::program;
use procession_shm::object::{self, Handle, Kind};
use procession_shm::{Off, OutOfMemory, World};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names an object of one program, in bytes that may travel anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Name {
    /// The program, so that another one's is an error.
    pub program: (u64, u64),
    /// Where it is.
    pub id: u64,
    /// How often the place had been used.
    pub generation: u64,
}

/// A reference to a live object of a known kind.
#[derive(Debug)]
pub struct Object {
    handle: Handle,
    kind: Kind,
    body: Off,
}

impl Object {
    /// Makes an object; `init` writes its body, given the offsets of entry and body.
    pub fn create(
        kind: Kind,
        init: impl FnOnce(&Arena, Off, Off) -> Result<(), OutOfMemory>,
    ) -> Result<Self> {
        let arena = Arena::get()?;
        let handle = object::create(arena, kind, |entry, body| init(arena, entry, body))?;
        Self::of(arena, handle, kind)
    }

    /// Adopts what `make` has made: this process has a lease on it.
    pub(crate) fn make(
        kind: Kind,
        make: impl FnOnce(&Arena) -> Result<Handle, OutOfMemory>,
    ) -> Result<Self> {
        let arena = Arena::get()?;
        Self::of(arena, make(arena)?, kind)
    }

    fn of(arena: &Arena, handle: Handle, kind: Kind) -> Result<Self> {
        let body = object::body(arena, handle, kind)?;
        Ok(Self { handle, kind, body })
    }

    /// Adopts a handle on which this process has a lease for the caller already.
    pub(crate) fn adopt(handle: Handle, kind: Kind) -> Result<Self> {
        Self::of(Arena::get()?, handle, kind)
    }

    /// The object that a name names, with a new lease.
    pub fn from_name(name: Name, kind: Kind) -> Result<Self> {
        let foreign = || {
            Error::new(
                ErrorKind::Gone,
                "the handle belongs to another program; hand it over as an argument of a process or through a queue of this program",
            )
        };
        let arena = Arena::existing().ok_or_else(foreign)?;
        if arena.program() != name.program {
            return Err(foreign());
        }
        let handle = Handle {
            id: name.id,
            generation: name.generation,
        };
        object::lease(arena, handle, arena.my_process())?;
        Self::of(arena, handle, kind)
            .inspect_err(|_| object::unlease(arena, handle, arena.my_process()))
    }

    /// A name for the object that the current carrier takes along: see [`carrier`].
    pub fn name(&self) -> Result<Name> {
        carrier::carry(self.arena(), self.handle)?;
        Ok(self.name_alone())
    }

    /// A name for one who finds the object as long as others keep it alive: no carrier takes it along.
    pub fn name_alone(&self) -> Name {
        let Handle { id, generation } = self.handle;
        Name {
            program: self.arena().program(),
            id,
            generation,
        }
    }

    /// The arena that it is in.
    #[inline]
    pub fn arena(&self) -> &'static Arena {
        Arena::existing().expect("an object exists only where its arena does")
    }

    /// Where its body is.
    #[inline]
    pub fn body(&self) -> Off {
        self.body
    }

    /// The handle, for those who list it in a message.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// A word of the body.
    pub fn word(&self, at: u64) -> u64 {
        self.arena().load(self.body + at)
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        let arena = self.arena();
        object::lease(arena, self.handle, arena.my_process())
            .expect("the reference that is cloned keeps the object alive");
        Self {
            handle: self.handle,
            kind: self.kind,
            body: self.body,
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let arena = self.arena();
        object::unlease(arena, self.handle, arena.my_process());
        program::may_be_all_that_keeps(arena, self.handle);
        if [Kind::Queue, Kind::Pool, Kind::Job].contains(&self.kind) {
            parcel::close_unread(arena);
        }
    }
}

/// Serialises as a name; outside of a carrier of ours the object is kept until the program ends.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name()
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// Deserialises an object of a kind.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
    kind: Kind,
) -> Result<Object, D::Error> {
    let name = Name::deserialize(deserializer)?;
    Object::from_name(name, kind).map_err(serde::de::Error::custom)
}

/// Serialises and deserialises a type that is nothing but an object.
macro_rules! travels {
    ($type:ident, $kind:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::object::deserialize(deserializer, $kind).map(|object| Self { object })
            }
        }
    };
}
pub(crate) use travels;
