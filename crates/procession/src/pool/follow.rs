//! Jobs that are followed until they are settled, in order of completion.

use super::{Outcome, RawJob};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Followed {
    key: u64,
    job: Arc<RawJob>,
}

/// Jobs of one pool that are followed until they are settled. Each was submitted so that it asks.
#[derive(Default)]
pub struct Followers {
    jobs: Mutex<VecDeque<Followed>>,
}

impl Followers {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Followed>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a job under this key.
    pub fn add(&self, key: u64, job: Arc<RawJob>) {
        self.jobs().push_back(Followed { key, job });
    }

    /// Whether one is settled.
    pub fn has_settled(&self) -> bool {
        !settled(&self.jobs()).is_empty()
    }

    /// Takes out those that are settled, in order of completion.
    pub fn take_settled(&self) -> Vec<u64> {
        let mut jobs = self.jobs();
        let Some(latest) = settled(&jobs).iter().map(|found| found.0).max() else {
            return Vec::new();
        };
        // Looked through once more: what was settled before the latest of these is in it.
        let mut found = settled(&jobs);
        found.retain(|&(at, _, _)| at <= latest);
        for &(_, _, place) in found.iter().rev() {
            jobs.remove(place);
        }
        in_order(found)
    }

    /// Takes out those that are settled, and lets go of the others.
    pub fn take_last(&self) -> Vec<u64> {
        let mut jobs = self.jobs();
        let found = settled(&jobs);
        jobs.clear();
        in_order(found)
    }

    /// How many are not settled.
    pub fn unsettled(&self) -> u64 {
        let jobs = self.jobs();
        jobs.iter()
            .filter(|followed| !followed.job.is_done())
            .count() as u64
    }

    /// Lets go of those that are settled.
    pub fn forget_settled(&self) {
        self.jobs().retain(|followed| !followed.job.is_done());
    }
}

fn in_order(mut found: Vec<(u64, u64, usize)>) -> Vec<u64> {
    found.sort_unstable();
    found.into_iter().map(|(_, key, _)| key).collect()
}

/// Those that are settled: when, which, and their places.
fn settled(jobs: &VecDeque<Followed>) -> Vec<(u64, u64, usize)> {
    let mut found = Vec::new();
    for (place, Followed { key, job }) in jobs.iter().enumerate() {
        if job.is_done() {
            found.push((job.settled_at(), *key, place));
        } else if job.outcome(0) == Outcome::Free {
            // Jobs are begun in the order in which they were handed over.
            break;
        }
    }
    found
}
