//! How many processors there are, and asking for particular ones.

use crate::error::{Error, Kind, Result};
use crate::sys::process;

/// The number of processors of the machine, as `multiprocessing.cpu_count()` counts them.
///
/// ```
/// assert!(procession::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    // SAFETY: sysconf reads a number.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// The processors that a process may run on; 0 is the calling thread.
pub fn affinity(pid: u32) -> Result<Vec<usize>> {
    process::affinity(pid).map_err(|e| Error::system("asking for the affinity", e))
}

/// Asks for the processors that a process runs on; 0 is the calling thread.
///
/// ```
/// let before = procession::cpu::affinity(0)?;
/// procession::cpu::set_affinity(0, &before[..1])?;
/// assert_eq!(procession::cpu::affinity(0)?, before[..1]);
/// procession::cpu::set_affinity(0, &before)?;
/// # Ok::<(), procession::Error>(())
/// ```
pub fn set_affinity(pid: u32, cpus: &[usize]) -> Result<()> {
    if cpus.is_empty() {
        return Err(Error::new(
            Kind::InvalidInput,
            "affinity needs one processor at least; got none",
        ));
    }
    process::set_affinity(pid, cpus)
        .map_err(|e| Error::system(&format!("asking for processors {cpus:?}"), e))
}
