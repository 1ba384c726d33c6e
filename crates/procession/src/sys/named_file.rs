//! Files in /dev/shm: memory with a name, as shm_open(3) knows it.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::mm::{self, MapFlags, ProtFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

const FOLDER: &str = "/dev/shm";
const LONGEST: usize = 255;

/// Where the file of a name is, if a file can have that name.
fn path(name: &OsStr) -> io::Result<PathBuf> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    if bytes.len() > LONGEST {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(Path::new(FOLDER).join(name))
}

fn mode() -> Mode {
    Mode::RUSR | Mode::WUSR
}

/// Makes a file of `len` bytes without a name, which is gone when it is closed unless it gets one.
pub fn make_unnamed(len: u64) -> io::Result<OwnedFd> {
    let file = fs::open(
        FOLDER,
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        mode(),
    )?;
    fs::ftruncate(&file, len)?;
    Ok(file)
}

/// Gives an unnamed file its name, unless another has it: [`Errno::EXIST`].
pub fn give_name(file: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::linkat(CWD, unnamed, CWD, path(name)?, AtFlags::SYMLINK_FOLLOW)
}

/// Makes a file of `len` bytes by its name: where an unnamed one can't be made, or get its name.
pub fn make_named(name: &OsStr, len: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = fs::open(path(name)?, flags, mode())?;
    fs::ftruncate(&file, len).inspect_err(|_| {
        let _ = unlink(name);
    })?;
    Ok(file)
}

/// Opens the file that has this name.
pub fn open(name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::open(path(name)?, flags, Mode::empty())
}

/// Takes the name away; the file lives as long as somebody has it mapped.
pub fn unlink(name: &OsStr) -> io::Result<()> {
    fs::unlink(path(name)?)
}

/// Device and inode of the file that has this name.
pub fn identity_of(name: &OsStr) -> io::Result<(u64, u64)> {
    fs::lstat(path(name)?).map(|stat| (stat.st_dev, stat.st_ino))
}

/// All bytes of a file, mapped until this is dropped.
pub struct Mapping {
    at: *mut u8,
    len: usize,
}

// SAFETY: the mapping is this value's, and of memory that is shared by design.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes, more than none, of a file that has them.
    pub fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nobody's memory.
        let at = unsafe {
            mm::mmap(
                ptr::null_mut(),
                len,
                access,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )?
        };
        Ok(Self { at: at.cast(), len })
    }

    /// Its first byte, aligned to a page, and its length.
    pub fn as_ptr(&self) -> (*mut u8, usize) {
        (self.at, self.len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that was made for this value, which nobody uses any more.
        let _ = unsafe { mm::munmap(self.at.cast(), self.len) };
    }
}
