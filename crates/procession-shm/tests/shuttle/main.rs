//! Models of the structures under many random schedules, with deaths and stops at each step.
//!
//! `PROCESSION_MODEL_ITERATIONS=10` runs ten times as many schedules as the default.
#![cfg(not(loom))]

mod sync {
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, FailurePersistence, Runner};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub use shuttle::sync::atomic::{AtomicU64, fence};
    pub use shuttle::sync::{Condvar, Mutex};
    pub use shuttle::thread::{spawn, yield_now};

    /// Words that are made at a time.
    pub const CHUNK: usize = 8;

    /// A load that is no step.
    pub fn peek(word: &AtomicU64) -> u64 {
        // SAFETY: all threads of a model are one thread, which does nothing else now.
        unsafe { word.raw_load() }
    }

    fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::new();
        config.stack_size = 1 << 18;
        config.silence_warnings = true;
        config.failure_persistence = FailurePersistence::Print;
        Runner::new(scheduler, config).run(model);
    }

    /// Runs a model under `schedules` schedules, times the factor asked for: random ones, and ones with few
    /// switches.
    pub fn check(schedules: usize, model: impl Fn() + Send + Sync + 'static) {
        let factor = std::env::var("PROCESSION_MODEL_ITERATIONS")
            .map_or(1, |factor| factor.parse().expect("a factor"));
        let (model, half) = (Arc::new(model), (schedules * factor).div_ceil(2));
        let again = model.clone();
        run(RandomScheduler::new(half), move || model());
        run(PctScheduler::new(3, half), move || again());
    }

    /// Runs a model for n = 1, 2, 3, ... until it says for none of its schedules that somebody
    /// came to his end at step n.
    pub fn check_each_step(schedules: usize, model: impl Fn(u64) -> bool + Send + Sync + 'static) {
        let model = Arc::new(model);
        for n in 1.. {
            let (model, ended) = (model.clone(), Arc::new(AtomicBool::new(false)));
            let again = ended.clone();
            check(schedules, move || {
                if model(n) {
                    again.store(true, Ordering::Relaxed);
                }
            });
            if !ended.load(Ordering::Relaxed) {
                assert!(n > 2, "nobody came to an end");
                return;
            }
        }
    }
}

#[path = "../support/broken.rs"]
mod broken;
#[path = "../support/structures.rs"]
mod structures;
#[path = "../support/world.rs"]
mod world;

mod barrier;
mod condition;
mod event;
mod gate;
mod heap;
mod job;
mod joinable;
mod lock;
mod memory;
mod name;
mod object;
mod planted;
mod pool;
mod pool_state;
mod pool_user;
mod process;
mod queue;
mod queue_life;
mod queue_user;
mod semaphore;

use broken::Fault;
use procession_shm::Off;
use shuttle::thread::JoinHandle;
use std::ops::Range;
use std::sync::Arc;
use world::{Handle, Shared};

const SIZE: u64 = 1 << 20;

/// The world of a handle, with a fault if one is planted.
macro_rules! with_fault {
    ($handle:expr, $fault:expr, |$w:ident| $body:expr) => {
        match $fault {
            None => {
                let $w = &$handle;
                $body
            }
            Some(fault) => {
                let $w = &$crate::broken::Broken::new(&$handle, fault.clone());
                $body
            }
        }
    };
}
use with_fault;

/// A world, and handles for the threads of its first slots.
fn handles<const N: usize>() -> (Arc<Shared>, [Handle; N]) {
    handles_that_spin(0)
}

/// The same, where a thread looks once more so many times before it sleeps.
fn handles_that_spin<const N: usize>(spins: u32) -> (Arc<Shared>, [Handle; N]) {
    let shared = Shared::spinning(SIZE, false, spins);
    let handles = std::array::from_fn(|slot| shared.thread(slot as u32));
    (shared, handles)
}

/// The fault, if it is one of certain words, at these.
fn aim(fault: Option<Fault>, words: Range<Off>) -> Option<Fault> {
    fault.map(|fault| match fault {
        Fault::TornCas(_) => Fault::TornCas(words),
        Fault::LostStore(_) => Fault::LostStore(words),
        Fault::OneMore(_) => Fault::OneMore(words),
        fault => fault,
    })
}

/// What each of the threads returned.
fn join_all<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    threads
        .into_iter()
        .map(|thread| thread.join().expect("no assertion failed"))
        .collect()
}

/// Runs `work`, which ends at the n-th step; then the dead one is buried. Says whether it ended so.
fn dies_at<T>(
    doomed: &Handle,
    undertaker: &Handle,
    n: u64,
    work: impl FnOnce(&Handle) -> T,
) -> bool {
    let died = doomed.ends_at(n, work).is_none();
    if died {
        undertaker.bury(doomed.owner());
    }
    died
}
