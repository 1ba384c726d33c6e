//! The tour's processes: a crew of named workers around two queues, a lock and an event.

use std::io;
use std::time::Duration;

use crate::failure::Failure;
use crate::report;
use crate::stand_in::{Event, Lock, Process, Queue, cpu_count, current_process};
use crate::work::{Finding, Task};

/// How the processes come to be.
pub const START_METHOD: &str = "threads";

/// Who waits at an empty queue looks up after this time.
const LOOK_UP: Duration = Duration::from_millis(10);

/// A worker without work that has not ended after this time is stuck.
pub const LAST_CALL: Duration = Duration::from_secs(5);

/// What all workers share.
#[derive(Clone)]
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
    let name = current_process().name().to_owned();
    loop {
        // Asked first: what was put before the event is still found.
        let last = desk.no_more.is_set();
        let Some(task) = desk.tasks.get(LOOK_UP) else {
            if last {
                return;
            }
            continue;
        };
        let finding = task.carry_out(&desk.root, &name).unwrap_or_else(give_up);
        if !finding.found.pairs.is_empty() {
            let _held = desk.lock.acquire();
            report::append(&desk.report, &finding.found.pairs).unwrap_or_else(give_up);
        }
        desk.findings.put(finding);
    }
}

/// A worker that cannot read or write ends; the one who leads the crew sees its exit code.
fn give_up<T>(error: io::Error) -> T {
    panic!("cannot go on: {error}")
}

/// So many workers; none of them outlives this.
pub struct Crew {
    desk: Desk,
    pub workers: Vec<Process>,
}

impl Crew {
    /// Start all workers. They find nothing to do yet.
    pub fn start(root: &str, report: &str, workers: usize) -> Result<Self, Failure> {
        let desk = Desk {
            root: root.to_owned(),
            report: report.to_owned(),
            tasks: Queue::new(),
            findings: Queue::new(),
            no_more: Event::new(),
            lock: Lock::new(),
        };
        let mut crew = Self {
            desk,
            workers: Vec::new(),
        };
        for number in 1..=workers {
            let worker = Process::start(&format!("tour-{number}"), work, crew.desk.clone())?;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    /// Have these tasks done; this process is the one that gets what is found.
    pub fn complete(&self, tasks: &[Task]) -> impl Iterator<Item = Result<Finding, Failure>> {
        for task in tasks {
            self.desk.tasks.put(task.clone());
        }
        tasks.iter().map(|_| self.next())
    }

    fn next(&self) -> Result<Finding, Failure> {
        loop {
            if let Some(finding) = self.desk.findings.get(LOOK_UP) {
                return Ok(finding);
            }
            self.check(|worker| !worker.is_alive())?;
        }
    }

    /// Say that no more will come, and see every worker off.
    pub fn dismiss(&self) -> Result<(), Failure> {
        self.desk.no_more.set();
        for worker in &self.workers {
            worker.join(LAST_CALL);
        }
        self.check(|worker| worker.exitcode() != Some(0))
    }

    fn check(&self, fallen: impl Fn(&Process) -> bool) -> Result<(), Failure> {
        let cause = |worker: &Process| format!("{} {}", worker.name(), ending(worker.exitcode()));
        let fallen = self.workers.iter().filter(|worker| fallen(worker));
        let causes: Vec<_> = fallen.map(cause).collect();
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
            worker.kill();
        }
    }
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
