//! The job of finding near duplicates, cut into tasks that anybody can do on their own.
//!
//! A task carries names, not contents: who does it reads the files and works on data of its own.
//! [`near_duplicates`] is the whole job; where its tasks are done is its caller's choice.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::files::{File, read};
use crate::similarity::{ALIKE, Pair, Sketch, candidates, families, keys, shingles, similarity};

/// A task sketches files of about this size together.
const BATCH_BYTES: u64 = 128 << 10;

/// A task compares this many pairs at most.
const BATCH_PAIRS: usize = 10_000;

/// What one worker can do on its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Read these files and sketch each.
    Sketch { files: Vec<File> },
    /// Read these files and compare those that are paired.
    Compare {
        files: Vec<File>,
        pairs: Vec<(String, String)>,
    },
}

/// What a task brings to light.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    pub sketches: Vec<Sketch>,
    pub pairs: Vec<Pair>,
    pub compared: usize,
}

/// What came of one task, and who did it, in how many seconds, from how many bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub worker: String,
    pub pid: u32,
    pub seconds: f64,
    pub size: u64,
    pub found: Found,
}

impl Task {
    /// What has been done to the files when this is done.
    pub fn done(&self) -> &'static str {
        match self {
            Task::Sketch { .. } => "sketched",
            Task::Compare { .. } => "compared",
        }
    }

    /// The files together, in bytes.
    pub fn size(&self) -> u64 {
        let (Task::Sketch { files } | Task::Compare { files, .. }) = self;
        files.iter().map(|file| file.size).sum()
    }

    /// Do this, in whatever process this is.
    pub fn carry_out(&self, root: &str, worker: &str) -> io::Result<Finding> {
        let start = Instant::now();
        let found = match self {
            Task::Sketch { files } => sketch(root, files)?,
            Task::Compare { files, pairs } => compare(root, files, pairs)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        let worker = worker.to_owned();
        Ok(Finding {
            worker,
            pid: std::process::id(),
            seconds,
            size: self.size(),
            found,
        })
    }
}

fn sketch(root: &str, files: &[File]) -> io::Result<Found> {
    let mut sketches = Vec::new();
    for File { path, .. } in files {
        let keys = keys(&shingles(&read(root, path)?));
        sketches.push(Sketch {
            path: path.clone(),
            keys,
        });
    }
    Ok(Found {
        sketches,
        ..Found::default()
    })
}

fn compare(root: &str, files: &[File], pairs: &[(String, String)]) -> io::Result<Found> {
    let mut texts = HashMap::new();
    for File { path, .. } in files {
        texts.insert(path, shingles(&read(root, path)?));
    }
    let mut found = Found {
        compared: pairs.len(),
        ..Found::default()
    };
    for (first, second) in pairs {
        let similarity = similarity(&texts[first], &texts[second]);
        if similarity >= ALIKE {
            let (first, second) = (first.clone(), second.clone());
            found.pairs.push(Pair {
                first,
                second,
                similarity,
            });
        }
    }
    Ok(found)
}

/// All near duplicates among `files`, the most alike first.
///
/// `complete` has the tasks of a list done, in any order, and returns what came of each.
pub fn near_duplicates(
    files: &[File],
    mut complete: impl FnMut(Vec<Task>) -> Result<Vec<Finding>, Failure>,
) -> Result<Vec<Pair>, Failure> {
    let findings = complete(sketching(files))?;
    let sketches: Vec<_> = findings
        .into_iter()
        .flat_map(|it| it.found.sketches)
        .collect();
    let findings = complete(comparing(files, &candidates(&sketches)))?;
    let mut pairs: Vec<_> = findings.into_iter().flat_map(|it| it.found.pairs).collect();
    pairs.sort_by(|one, other| {
        let by_path = (&one.first, &one.second).cmp(&(&other.first, &other.second));
        other.similarity.total_cmp(&one.similarity).then(by_path)
    });
    Ok(pairs)
}

/// Tasks that sketch all files; the large files come first, so that the last task is short.
fn sketching(files: &[File]) -> Vec<Task> {
    let mut files = files.to_vec();
    files.sort_by_key(|file| Reverse(file.size));
    let mut tasks = Vec::new();
    let (mut batch, mut size) = (Vec::new(), 0);
    for file in files {
        if !batch.is_empty() && size + file.size > BATCH_BYTES {
            tasks.push(Task::Sketch {
                files: std::mem::take(&mut batch),
            });
            size = 0;
        }
        size += file.size;
        batch.push(file);
    }
    if !batch.is_empty() {
        tasks.push(Task::Sketch { files: batch });
    }
    tasks
}

/// Tasks that compare all pairs: one for each family, or several for a very large one.
fn comparing(files: &[File], pairs: &BTreeSet<(String, String)>) -> Vec<Task> {
    let known: HashMap<&str, &File> = files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut tasks = Vec::new();
    for family in families(pairs) {
        for pairs in family.chunks(BATCH_PAIRS) {
            let paths: BTreeSet<&str> = pairs
                .iter()
                .flat_map(|(first, second)| [first.as_str(), second])
                .collect();
            let files = paths.into_iter().map(|path| known[path].clone()).collect();
            tasks.push(Task::Compare {
                files,
                pairs: pairs.to_vec(),
            });
        }
    }
    tasks.sort_by_key(|task| Reverse(task.size()));
    tasks
}
