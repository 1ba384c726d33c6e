//! Deadlines on the monotonic clock.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The moment so long from now; `None`, for ever, if it is beyond all clocks. No time at all is
/// moment 0, which the structures know without looking at the clock.
pub fn deadline(timeout: Option<Duration>) -> Option<u64> {
    let timeout = timeout?;
    if timeout.is_zero() {
        return Some(0);
    }
    u64::try_from(timeout.as_nanos())
        .ok()
        .and_then(|nanos| now().checked_add(nanos))
}

/// What is left until a deadline.
pub fn left(until: Option<u64>) -> Option<Duration> {
    until.map(|until| Duration::from_nanos(until.saturating_sub(now())))
}

pub(crate) fn timespec(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    }
}
