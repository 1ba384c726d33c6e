//! What is called with results as they come: in order of completion, in one thread, which starts at the first.

use super::shared::{Shared, lock};
use super::{Followers, LOOK_AFTER, RawJob};
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

type Call = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Callbacks {
    followers: Followers,
    due: Mutex<Due>,
}

#[derive(Default)]
struct Due {
    calls: HashMap<u64, Call>,
    next: u64,
    runs: bool,
    thread: Option<JoinHandle<()>>,
}

impl Callbacks {
    /// Calls this when the job, which asks, is settled, or the pool over.
    pub fn add(shared: &Arc<Shared>, job: Arc<RawJob>, call: Call) -> std::io::Result<()> {
        let this = &shared.callbacks;
        let mut due = lock(&this.due);
        if !due.runs {
            let theirs = shared.clone();
            let thread = thread::Builder::new().name(format!("{}-callbacks", shared.name()));
            due.thread = Some(thread.spawn(move || run(&theirs))?);
            due.runs = true;
        }
        let key = due.next;
        due.next += 1;
        due.calls.insert(key, call);
        this.followers.add(key, job);
        drop(due);
        shared.pool().wake_settled();
        Ok(())
    }

    /// Waits until all calls were made; not in the thread that makes them.
    pub fn join(&self) {
        let thread = lock(&self.due).thread.take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    let Callbacks { followers, due } = &shared.callbacks;
    loop {
        if shared.wait_settled(|| followers.has_settled()).is_err() {
            // No keeper can be started now: who waits for a task is told why.
            thread::sleep(LOOK_AFTER);
        }
        if shared.is_over() {
            // Those that were settled first; the others never will be.
            for key in followers.take_last() {
                call(due, key);
            }
            let mut left: Vec<u64> = lock(due).calls.keys().copied().collect();
            left.sort_unstable();
            for key in left {
                call(due, key);
            }
            let mut due = lock(due);
            if due.calls.is_empty() {
                due.runs = false;
                return;
            }
            continue;
        }
        for key in followers.take_settled() {
            call(due, key);
        }
    }
}

fn call(due: &Mutex<Due>, key: u64) {
    let call = lock(due).calls.remove(&key);
    if let Some(call) = call {
        // What it panics with was printed; the next ones are called all the same.
        let _ = panic::catch_unwind(AssertUnwindSafe(call));
    }
}
