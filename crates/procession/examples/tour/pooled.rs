//! The tour's pool: the same tasks, handed to workers by a call instead of by queues.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::OnceLock;

use procession::{Pool, current_process};

use crate::failure::Failure;
use crate::files::File;
use crate::similarity::Pair;
use crate::work::{Finding, Task};

type Sizes = HashMap<String, u64>;

/// Where to look: what a worker learns before its first task.
static ROOT: OnceLock<String> = OnceLock::new();

fn learn(root: String) -> Result<(), String> {
    ROOT.set(root)
}

/// One run: a worker does one task. An error goes back as a sentence.
fn do_one(task: Task) -> Result<Finding, String> {
    let root = ROOT.get().ok_or("nobody said where to look")?;
    task.carry_out(root, &current_process().name)
        .map_err(|error| error.to_string())
}

/// A pool that does the tour's tasks; no worker outlives this.
pub struct Team {
    pool: Pool,
}

impl Team {
    /// Have so many workers started.
    pub fn start(root: &str, workers: usize) -> Result<Self, Failure> {
        let pool = Pool::builder().workers(workers).name("pool");
        Ok(Self {
            pool: pool.initializer(learn, root.to_owned()).build()?,
        })
    }

    /// Have these tasks done: those that sketch by `map`, which waits for all; the others by `imap`,
    /// which gives each result as soon as it and those before it are there.
    pub fn complete(
        &self,
        tasks: &[Task],
    ) -> Result<Box<dyn Iterator<Item = Result<Finding, Failure>> + '_>, Failure> {
        let tasks = tasks.to_vec();
        if let Some(Task::Sketch { .. }) = tasks.first() {
            let findings = self.pool.map(do_one, tasks)?;
            return Ok(Box::new(findings.into_iter().map(done)));
        }
        let findings = self.pool.imap(do_one, tasks);
        Ok(Box::new(findings.map(|finding| done(finding?))))
    }

    /// Have each fact found out by a call of its own; whichever is done first is said first.
    pub fn ask(
        &self,
        files: &[File],
        pairs: &[Pair],
        say: impl Fn(String) + Copy + Send + 'static,
    ) -> Result<(), Failure> {
        let sizes: Sizes = files
            .iter()
            .map(|file| (file.path.clone(), file.size))
            .collect();
        let say = move |fact: procession::Result<String>| {
            say(fact.unwrap_or_else(|error| error.to_string()));
        };
        let known = (pairs.to_vec(), sizes);
        self.pool.apply_then(copies, known.clone(), say)?;
        self.pool.apply_then(most_often, known.clone(), say)?;
        self.pool.apply_then(largest, known, say)?;
        Ok(())
    }

    /// No more tasks: wait for the workers, and for the callbacks.
    pub fn dismiss(self) -> Result<(), Failure> {
        Ok(self.pool.join()?)
    }
}

fn done(finding: Result<Finding, String>) -> Result<Finding, Failure> {
    finding.map_err(Failure::Worker)
}

/// How many are exactly the same.
fn copies((pairs, _): (Vec<Pair>, Sizes)) -> String {
    let copies = pairs.iter().filter(|pair| pair.similarity == 1.0).count();
    format!("{copies} pairs share all their runs of words")
}

/// Which file has the most near duplicates.
fn most_often((pairs, _): (Vec<Pair>, Sizes)) -> String {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for path in pairs.iter().flat_map(|pair| [&pair.first, &pair.second]) {
        *times.entry(path).or_default() += 1;
    }
    let most = times
        .iter()
        .min_by_key(|(path, count)| (Reverse(**count), **path));
    most.map_or_else(
        || "no file has a near duplicate".to_owned(),
        |(path, count)| format!("{path} is like {count} others, more than any other file"),
    )
}

/// Which pair has the most bytes.
fn largest((pairs, sizes): (Vec<Pair>, Sizes)) -> String {
    let size = |pair: &&Pair| sizes[&pair.first] + sizes[&pair.second];
    let by_name = |pair: &&Pair| (pair.first.clone(), pair.second.clone());
    let pair = pairs.iter().max_by_key(|pair| (size(pair), by_name(pair)));
    pair.map_or_else(
        || "no two files are alike".to_owned(),
        |pair| format!("{} and {} are the largest pair", pair.first, pair.second),
    )
}
