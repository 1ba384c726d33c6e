//! Memory with a name, for programs that know each other by nothing else.
//!
//! *Making one*: the file is made without a name and with its full length, its name is
//! [tracked](procession_shm::name), and then it gets the name, in one step. So nobody ever opens one that is too short, and
//! whoever dies in between leaves no file. *Its end*: who unlinks it, or the [janitor] when the program is over.

use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::janitor::{self, CommandLine};
use crate::shared::Lockless;
use crate::sys::memory::{identity, size};
use crate::sys::named_file::{self as sys, Mapping};
use procession_shm::name::{self, File};
use procession_shm::object::Handle;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicU8;

/// The name of a file of shared memory, and which file had it then.
#[derive(Clone, Debug)]
pub struct Name {
    name: OsString,
    file: File,
    /// What this process has tracked; of what others have made it looks for it.
    tracked: Option<Handle>,
}

impl Name {
    /// The name, without a slash.
    pub fn as_os_str(&self) -> &OsStr {
        &self.name
    }

    /// Takes the name away. Who has the memory open keeps it; an error if nothing has the name any more.
    pub fn unlink(&self) -> Result<()> {
        let unlinked = sys::unlink(&self.name);
        // Gone is gone, whoever unlinked it.
        if matches!(unlinked, Ok(()) | Err(Errno::NOENT)) {
            self.untrack();
        }
        unlinked.map_err(|e| failed("unlinking", &self.name, e))
    }

    /// The end of the program leaves the file there.
    pub fn untrack(&self) {
        let Some(arena) = Arena::existing() else {
            return;
        };
        if let Some(tracked) = self.tracked {
            return name::forget(arena, tracked);
        }
        name::visit(arena, |tracked, file, bytes| {
            if file == self.file && bytes == self.name.as_bytes() {
                name::forget(arena, tracked);
            }
            true
        });
    }
}

fn failed(doing: &str, name: &OsStr, error: Errno) -> Error {
    Error::system(
        &format!("{doing} the shared memory {}", name.display()),
        error,
    )
}

fn file_of(file: &OwnedFd) -> rustix::io::Result<File> {
    let (device, inode) = identity(file.as_fd())?;
    Ok(File { device, inode })
}

/// Makes shared memory of this name, tracked if there is a command line for a janitor: its name, and the memory.
pub fn create(
    name: &OsStr,
    len: usize,
    janitor: Option<&CommandLine<'_>>,
) -> Result<(Name, Mapping)> {
    if len == 0 {
        return Err(Error::new(
            Kind::InvalidInput,
            "shared memory has a length greater than 0; 0 was given",
        ));
    }
    let fail = |e| failed("making", name, e);
    let arena = match janitor {
        Some(command) => {
            let arena = Arena::get()?;
            janitor::ensure(arena, command)?;
            Some(arena)
        }
        None => None,
    };
    let track = |file: File| {
        arena
            .map(|arena| name::track(arena, name.as_bytes(), file))
            .transpose()
    };
    // What is wrong with the name shows before anything is tracked.
    match sys::identity_of(name) {
        Ok(_) => return Err(fail(Errno::EXIST)),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(fail(error)),
    }
    let mut named = None;
    if let Ok(file) = sys::make_unnamed(len as u64) {
        let tracked = track(file_of(&file).map_err(fail)?)?;
        let linked = sys::give_name(file.as_fd(), name);
        if linked.is_err()
            && let (Some(arena), Some(tracked)) = (arena, tracked)
        {
            name::forget(arena, tracked);
        }
        match linked {
            Ok(()) => named = Some((file, tracked)),
            Err(Errno::EXIST) => return Err(fail(Errno::EXIST)),
            // Without /proc, or on an odd file system.
            Err(_) => {}
        }
    }
    let (file, tracked) = match named {
        Some(named) => named,
        None => {
            let file = sys::make_named(name, len as u64).map_err(fail)?;
            let tracked = file_of(&file)
                .map_err(fail)
                .and_then(|file| Ok(track(file)?));
            let tracked = tracked.inspect_err(|_| {
                let _ = sys::unlink(name);
            })?;
            (file, tracked)
        }
    };
    let name = Name {
        name: name.to_os_string(),
        file: file_of(&file).map_err(fail)?,
        tracked,
    };
    let mapping = Mapping::new(file.as_fd(), len)
        .map_err(fail)
        .inspect_err(|_| drop(name.unlink()))?;
    Ok((name, mapping))
}

/// Opens shared memory by its name: its name, and the memory.
pub fn open(name: &OsStr) -> Result<(Name, Mapping)> {
    let fail = |e| failed("opening", name, e);
    let file = sys::open(name).map_err(fail)?;
    let len = size(file.as_fd()).map_err(fail)? as usize;
    if len == 0 {
        return Err(Error::new(
            Kind::InvalidInput,
            format!(
                "the shared memory {} is empty: who makes it has not given it a length yet",
                name.display()
            ),
        ));
    }
    let mapping = Mapping::new(file.as_fd(), len).map_err(fail)?;
    let file = file_of(&file).map_err(fail)?;
    let name = Name {
        name: name.to_os_string(),
        file,
        tracked: None,
    };
    Ok((name, mapping))
}

/// Memory that any process of the machine's same user opens by its name, a file in /dev/shm: also those of
/// other programs, and Python's `SharedMemory`.
///
/// The memory lives as long as somebody has it open. Its *name* lives until somebody calls [`unlink`](Self::unlink), or until
/// the program that made it is over, however it ends; who only opened it never takes the name along. Needs
/// [`crate::init`], since who looks after that is this program, run again. A SIGKILL of that process together with
/// all others of the program leaves the name there.
///
/// ```standalone_crate
/// use procession::SharedMemory;
/// use std::sync::atomic::Ordering::Relaxed;
///
/// fn main() -> procession::Result<()> {
///     procession::init();
///     let memory = SharedMemory::create("results", 4096)?;
///     let same = SharedMemory::open("results")?;
///     memory.bytes()[7].store(42, Relaxed);
///     assert_eq!(same.bytes()[7].load(Relaxed), 42);
///     memory.unlink()
/// }
/// ```
pub struct SharedMemory {
    name: Name,
    mapping: Mapping,
}

impl SharedMemory {
    fn of((name, mapping): (Name, Mapping)) -> Self {
        Self { name, mapping }
    }

    /// Makes memory of `len` bytes, all zero, under a name that no other has: up to 255 bytes without a slash. It goes
    /// with the program.
    pub fn create(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        crate::process::check_initialized()?;
        create(name.as_ref(), len, Some(&janitor::this_program)).map(Self::of)
    }

    /// The same under a name of its own choice.
    pub fn new(len: usize) -> Result<Self> {
        loop {
            let mut random = [0; 8];
            let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
            let name = format!("psn_{:016x}", u64::from_le_bytes(random));
            match Self::create(name, len) {
                Err(error) if error.os_error() == Some(Errno::EXIST.raw_os_error()) => {}
                made => return made,
            }
        }
    }

    /// Makes memory whose name stays when the program is over, until somebody unlinks it.
    pub fn create_untracked(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        create(name.as_ref(), len, None).map(Self::of)
    }

    /// Opens memory that somebody has made.
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        open(name.as_ref()).map(Self::of)
    }

    /// Its name.
    pub fn name(&self) -> &OsStr {
        self.name.as_os_str()
    }

    /// Its length in bytes, when it was opened.
    pub fn len(&self) -> usize {
        self.mapping.as_ptr().1
    }

    /// Never: such memory can't be made.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Its bytes, which others may access at the same time.
    pub fn bytes(&self) -> &[AtomicU8] {
        self.numbers()
    }

    /// As many numbers as it holds.
    ///
    /// If another process makes the file shorter, access to what is gone ends this one with SIGBUS.
    pub fn numbers<T: Lockless>(&self) -> &[T] {
        const {
            assert!(
                size_of::<T>() > 0 && align_of::<T>() <= 4096,
                "numbers fit into a page"
            );
        }
        let (at, len) = self.mapping.as_ptr();
        // SAFETY: so many are there, aligned, as long as this value; others access them as they please, and what is
        // read is valid in any bits.
        unsafe { std::slice::from_raw_parts(at.cast(), len / size_of::<T>()) }
    }

    /// Its first byte, for other access than by atomic numbers.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.as_ptr().0
    }

    /// Takes the name away; who has the memory open keeps it. An error of the system if nothing has the name any more.
    pub fn unlink(&self) -> Result<()> {
        self.name.unlink()
    }

    /// The name stays when the program is over, until somebody unlinks it.
    pub fn untrack(&self) {
        self.name.untrack();
    }
}

/// Serialises as its name: who reads that opens it.
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().as_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Vec::<u8>::deserialize(deserializer)?;
        Self::open(OsStr::from_bytes(&name)).map_err(serde::de::Error::custom)
    }
}
