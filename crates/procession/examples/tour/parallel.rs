//! The tour's processes: a crew of named workers around two queues, a lock and an event.

use std::fmt;
use std::time::Duration;

use procession::{Event, Joined, Kind, Lock, Process, Queue, cpu_count, current_process};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::report;
use crate::work::{Finding, Task};

/// How the processes come to be.
pub const START_METHOD: &str = "spawn";

/// Who waits at an empty queue looks up after this time.
const LOOK_UP: Duration = Duration::from_millis(10);

/// A worker without work that has not ended after this time is stuck.
pub const LAST_CALL: Duration = Duration::from_secs(5);

/// What all workers share.
#[derive(Clone, Serialize, Deserialize)]
struct Desk {
    root: String,
    report: String,
    tasks: Queue<Task>,
    findings: Queue<Finding>,
    no_more: Event,
    lock: Lock,
}

/// A worker's life: take a task, do it, hand in what was found; until no more will come.
fn work(desk: Desk) {
    let name = current_process().name;
    loop {
        // Asked first: what was put before the event is still found.
        let last = desk.no_more.is_set();
        let Some(task) = look_up(&desk.tasks).unwrap_or_else(give_up) else {
            if last {
                return;
            }
            continue;
        };
        let finding = task.carry_out(&desk.root, &name).unwrap_or_else(give_up);
        if !finding.found.pairs.is_empty() {
            let _held = desk.lock.acquire().unwrap_or_else(give_up);
            report::append(&desk.report, &finding.found.pairs).unwrap_or_else(give_up);
        }
        desk.findings.put(&finding).unwrap_or_else(give_up);
    }
}

/// The next item, if one comes before it is time to look up.
fn look_up<T: serde::de::DeserializeOwned>(queue: &Queue<T>) -> procession::Result<Option<T>> {
    match queue.get_timeout(LOOK_UP) {
        Ok(item) => Ok(Some(item)),
        Err(error) if error.kind() == Kind::Empty => Ok(None),
        Err(error) => Err(error),
    }
}

/// A worker that cannot go on ends; the one who leads the crew sees its exit code.
fn give_up<T>(error: impl fmt::Display) -> T {
    panic!("cannot go on: {error}")
}

/// So many workers; none of them outlives this.
pub struct Crew {
    desk: Desk,
    pub workers: Vec<Process<()>>,
}

impl Crew {
    /// Start all workers. They find nothing to do yet.
    pub fn start(root: &str, report: &str, workers: usize) -> Result<Self, Failure> {
        let desk = Desk {
            root: root.to_owned(),
            report: report.to_owned(),
            tasks: Queue::new()?,
            findings: Queue::new()?,
            no_more: Event::new()?,
            lock: Lock::new()?,
        };
        let mut crew = Self {
            desk,
            workers: Vec::new(),
        };
        for number in 1..=workers {
            let builder = Process::builder().name(format!("tour-{number}"));
            crew.workers.push(builder.spawn(work, crew.desk.clone())?);
        }
        Ok(crew)
    }

    /// Have these tasks done; this process is the one that gets what is found.
    pub fn complete(&mut self, tasks: &[Task]) -> impl Iterator<Item = Result<Finding, Failure>> {
        let put = tasks.iter().try_for_each(|task| self.desk.tasks.put(task));
        let mut failure = put.err().map(Failure::from);
        tasks
            .iter()
            .map(move |_| failure.take().map_or_else(|| self.next(), Err))
    }

    fn next(&mut self) -> Result<Finding, Failure> {
        loop {
            if let Some(finding) = look_up(&self.desk.findings)? {
                return Ok(finding);
            }
            self.check(|exitcode| exitcode.is_some())?;
        }
    }

    /// Say that no more will come, and see every worker off.
    pub fn dismiss(&mut self) -> Result<(), Failure> {
        self.desk.no_more.set();
        for worker in &mut self.workers {
            worker.join_timeout(LAST_CALL)?;
        }
        self.check(|exitcode| exitcode != Some(0))
    }

    fn check(&mut self, fallen: impl Fn(Option<i32>) -> bool) -> Result<(), Failure> {
        let mut causes = Vec::new();
        for worker in &mut self.workers {
            let exitcode = look_at(worker, Duration::ZERO)?;
            if fallen(exitcode) {
                causes.push(format!("{} {}", worker.name(), ending(exitcode)));
            }
        }
        if causes.is_empty() {
            Ok(())
        } else {
            Err(Failure::Worker(causes.join(", ")))
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.kill().ok();
        }
    }
}

/// Join a worker for so long at most: its exit code, if it has ended.
pub fn look_at(worker: &mut Process<()>, timeout: Duration) -> Result<Option<i32>, Failure> {
    Ok(match worker.join_timeout(timeout)? {
        Joined::Ended(status) => status.raw(),
        Joined::Running => None,
    })
}

/// As many as can run truly at the same time.
pub fn cores() -> usize {
    cpu_count()
}

/// What an exit code says, in words.
pub fn ending(exitcode: Option<i32>) -> String {
    match exitcode {
        None => "is still running".to_owned(),
        Some(code @ ..0) => format!("ended with exit code {code} (killed by signal {})", -code),
        Some(code) => format!("ended with exit code {code}"),
    }
}
