//! How processes are started.

use std::sync::atomic::{AtomicU8, Ordering};

/// How a process is started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StartMethod {
    /// By running this program again.
    #[default]
    Spawn,
    /// From the template: this program, run again once, which stays in [`init`](super::init) and forks a process
    /// for each that is asked for. It has one thread, so a fork of it is safe whatever the threads of this process do.
    /// It gets this process's environment, directory, standard streams, limits and signals as they are now;
    /// of its other descriptors none.
    ///
    /// Where the program has threads before `main` is entered there is no template: processes are started by running it
    /// again, and one warning is logged ([`log`](https://docs.rs/log)).
    Forkserver,
}

static METHOD: AtomicU8 = AtomicU8::new(StartMethod::Spawn as u8);

/// Sets how processes of this process are started from now on, and those that keep pools.
///
/// ```
/// use procession::{StartMethod, set_start_method, start_method};
///
/// set_start_method(StartMethod::Forkserver);
/// assert_eq!(start_method(), StartMethod::Forkserver);
/// ```
pub fn set_start_method(method: StartMethod) {
    METHOD.store(method as u8, Ordering::Relaxed);
}

/// How processes are started unless it is said for one: by [`StartMethod::Spawn`] if nothing was set.
pub fn start_method() -> StartMethod {
    if METHOD.load(Ordering::Relaxed) == StartMethod::Forkserver as u8 {
        StartMethod::Forkserver
    } else {
        StartMethod::Spawn
    }
}
