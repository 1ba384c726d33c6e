//! What a pool's processes are started with.

use super::RawPool;
use crate::arena::Arena;
use crate::carrier;
use crate::error::{Error, Kind, Result};
use crate::object::Name;
use crate::process::token;
use procession_shm::World;
use procession_shm::object::{self, Handle};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub pool: RawPool,
    /// Workers have this name, with a number.
    pub name: String,
    pub initializer: Option<Initializer>,
    /// How many tasks a worker does before another takes its place.
    pub limit: Option<u64>,
}

/// What each worker calls before its first task.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Initializer {
    token: i64,
    arguments: Vec<u8>,
    /// What the arguments name lives as long as this does.
    handles: Vec<Kept>,
}

impl Initializer {
    pub fn new<A: Serialize>(token: i64, arguments: &A) -> Result<Self> {
        let (written, handles) = carrier::into_message(|| postcard::to_stdvec(arguments));
        let arguments = written.map_err(|e| {
            Error::new(
                Kind::Serialization,
                format!("the initializer's arguments can't be turned into bytes: {e}"),
            )
        })?;
        let handles: Result<_> = handles.into_iter().map(Kept::new).collect();
        Ok(Self {
            token,
            arguments,
            handles: handles?,
        })
    }

    pub fn of<F, A, R>(function: F, arguments: &A) -> Result<Self>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: token::Initialized,
    {
        Self::new(token::initializer_token(function), arguments)
    }

    pub fn call(&self) -> Result<()> {
        token::initializer(self.token)(&self.arguments)
    }
}

/// A lease on an object of whatever kind.
struct Kept(Handle);

impl Kept {
    fn new(handle: Handle) -> Result<Self> {
        let arena = Arena::get()?;
        object::lease(arena, handle, arena.my_process())?;
        Ok(Self(handle))
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::new(self.0).expect("the lease that is cloned keeps the object alive")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(arena) = Arena::existing() {
            object::unlease(arena, self.0, arena.my_process());
        }
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let arena = Arena::get().map_err(serde::ser::Error::custom)?;
        carrier::carry(arena, self.0).map_err(serde::ser::Error::custom)?;
        let Handle { id, generation } = self.0;
        let program = arena.program();
        Name {
            program,
            id,
            generation,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Name { id, generation, .. } = Name::deserialize(deserializer)?;
        Self::new(Handle { id, generation }).map_err(D::Error::custom)
    }
}
