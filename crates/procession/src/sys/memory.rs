//! The memory of an arena: one sealed, unnamed file, mapped once and never unmapped.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::{self, Errno};
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};
use std::ptr;

/// What an arena is by default: address space, not memory.
const DEFAULT_SIZE: u64 = 1 << 40;

/// The largest arena that the process's limits allow.
pub fn choose_size() -> u64 {
    // A file beyond RLIMIT_FSIZE would be SIGXFSZ, a mapping beyond RLIMIT_AS ENOMEM.
    let file = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let space = getrlimit(Resource::As)
        .current
        .map_or(u64::MAX, |limit| limit / 4);
    // `mlockall(MCL_FUTURE)` would touch all of it; a limit on locked memory is no sign of it, so the
    // process is asked.
    let locked = if sees_future_locked() {
        256 << 20
    } else {
        u64::MAX
    };
    let size = DEFAULT_SIZE.min(file).min(space).min(locked);
    size & !((1 << 20) - 1)
}

fn sees_future_locked() -> bool {
    let locked = std::fs::read_to_string("/proc/self/status").ok();
    let locked = locked
        .as_deref()
        .and_then(|status| status.lines().find(|line| line.starts_with("VmLck:")));
    locked.is_some_and(|line| line.split_whitespace().nth(1) != Some("0"))
}

/// Makes the file: sparse, sealed against shrinking, growing and more seals, not executable.
pub fn create(size: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match fs::memfd_create(c"procession", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => fs::memfd_create(c"procession", flags)?,
        made => made?,
    };
    fs::ftruncate(&file, size)?;
    fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Maps the file for the life of the process, kept out of core dumps.
pub fn map(file: BorrowedFd<'_>, size: u64) -> io::Result<*mut u8> {
    // SAFETY: a new mapping at an address of the kernel's choice touches nobody's memory.
    let base = unsafe {
        mm::mmap(
            ptr::null_mut(),
            size as usize,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE,
            file,
            0,
        )?
    };
    // SAFETY: the range is the mapping made above; DontDump changes no content.
    let _ = unsafe { mm::madvise(base, size as usize, Advice::LinuxDontDump) };
    Ok(base.cast())
}

/// Bytes of the file.
pub fn size(file: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fs::fstat(file)?.st_size as u64)
}

/// What tells this file from every other: device and inode.
pub fn identity(file: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Gives the pages of a range back to the system; it reads as zeros afterwards.
pub fn punch(file: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<()> {
    fs::fallocate(
        file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        at,
        len,
    )
}

/// Maps a range of the file over itself: `private` for a copy on write, else shared again.
///
/// # Safety
/// `base + at .. + len` lies in the mapping of this file that starts at `base`, and both are
/// multiples of the page size. If a private range becomes shared, nobody reads it any more.
pub unsafe fn remap(
    file: BorrowedFd<'_>,
    base: *mut u8,
    at: u64,
    len: u64,
    private: bool,
) -> io::Result<()> {
    let flags = if private {
        MapFlags::PRIVATE
    } else {
        MapFlags::SHARED
    };
    // SAFETY: the caller's promise; the mapping that is replaced is ours.
    unsafe {
        mm::mmap(
            base.add(at as usize).cast(),
            len as usize,
            ProtFlags::READ | ProtFlags::WRITE,
            flags | MapFlags::FIXED | MapFlags::NORESERVE,
            file.as_fd(),
            at,
        )?;
        let _ = mm::madvise(
            base.add(at as usize).cast(),
            len as usize,
            Advice::LinuxDontDump,
        );
    }
    Ok(())
}

/// A page that reads as zeros in every process forked from this one, by whatever call.
pub fn wiped_on_fork() -> io::Result<*const std::sync::atomic::AtomicU64> {
    let len = rustix::param::page_size();
    // SAFETY: a new private mapping touches nobody's memory.
    unsafe {
        let page = mm::mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?;
        mm::madvise(page, len, Advice::LinuxWipeOnFork)?;
        Ok(page.cast_const().cast())
    }
}

/// What the arena may hold: the least of memory and the control group's limit, less a fifth.
pub fn budget() -> u64 {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let group = read("/sys/fs/cgroup/memory.max")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
        .unwrap_or(u64::MAX);
    let info = rustix::system::sysinfo();
    let memory = info.totalram as u64 * info.mem_unit as u64;
    memory.min(group) / 5 * 4
}
