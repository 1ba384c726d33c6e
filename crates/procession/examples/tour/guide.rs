//! Leads through the tour: the same job in one process, then in several, then by a pool, and what comes of it.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::failure::Failure;
use crate::files::{File, text_files};
use crate::parallel::{Crew, LAST_CALL, START_METHOD, cores, ending, look_at};
use crate::pooled::Team;
use crate::progress::{Figures, Progress, View, print};
use crate::report::{Report, line};
use crate::similarity::{ALIKE, Pair, SHINGLE};
use crate::work::near_duplicates;

/// The first look at a worker, which cannot be done yet.
const GLANCE: Duration = Duration::from_millis(1);

/// So many of the pairs are shown.
const SHOWN: usize = 10;

/// What the tour found.
#[derive(Serialize)]
pub struct Tour {
    directory: String,
    start_method: &'static str,
    workers: usize,
    files: usize,
    bytes: u64,
    serial_seconds: f64,
    parallel_seconds: f64,
    pool_seconds: f64,
    pub speedup: f64,
    pub equal: bool,
    pairs: Vec<Pair>,
    per_worker: Vec<Figures>,
}

/// The one who leads, what was asked for, and how things are shown.
pub struct Guide {
    pub directory: String,
    pub workers: usize,
    pub report: Option<String>,
    pub view: View,
}

impl Guide {
    /// The whole way. A report without a place of its own is only looked at.
    pub fn lead(&self) -> Result<Tour, Failure> {
        let Self {
            directory, workers, ..
        } = self;
        let files = text_files(directory).map_err(|error| Failure::input(directory, &error))?;
        if files.is_empty() {
            return Err(Failure::Input(format!("no text files under {directory:?}")));
        }
        let (found, percent) = (files.len(), 100.0 * ALIKE);
        self.say(format!(
            "Which of the {found} text files under {directory} are nearly the same?"
        ));
        self.say(format!(
            "Near duplicates share at least {percent}% of their runs of {SHINGLE} words."
        ));

        self.say("\n1. One process does all the work.");
        let (serial, serial_seconds) = self.in_one_process(&files)?;
        self.say(format!("  {} pairs in {serial_seconds:.2} s", serial.len()));

        self.say(format!(
            "\n2. {workers} processes do the same work (start method {START_METHOD})."
        ));
        self.say(format!(
            "  cpu_count: {} can run truly at the same time here.",
            cores()
        ));
        let report = Report::begin(self.report.as_deref())?;
        let mut progress = Progress::new(self.view);
        let start = Instant::now();
        let pairs = self.in_processes(&files, &report, &mut progress)?;
        let parallel_seconds = start.elapsed().as_secs_f64();
        for figures in &progress.figures {
            self.say(format!("  {figures}"));
        }
        self.say(format!(
            "  {} pairs in {parallel_seconds:.2} s",
            pairs.len()
        ));

        self.say(format!(
            "\n3. A pool of {workers} workers does the same work once more."
        ));
        let (pooled, pool_seconds) = self.in_pool(&files)?;
        self.say(format!("  {} pairs in {pool_seconds:.2} s", pooled.len()));

        self.show(&pairs);
        Ok(Tour {
            directory: directory.clone(),
            start_method: START_METHOD,
            workers: *workers,
            files: files.len(),
            bytes: files.iter().map(|file| file.size).sum(),
            serial_seconds,
            parallel_seconds,
            pool_seconds,
            speedup: serial_seconds / parallel_seconds,
            equal: serial == pairs && serial == pooled && report.holds(&pairs)?,
            pairs,
            per_worker: progress.figures,
        })
    }

    /// Do the job here, one task after the other.
    fn in_one_process(&self, files: &[File]) -> Result<(Vec<Pair>, f64), Failure> {
        let mut progress = Progress::new(self.view);
        progress.expect("serial", std::process::id());
        let start = Instant::now();
        let pairs = near_duplicates(files, |tasks| {
            let findings = tasks
                .iter()
                .map(|task| task.carry_out(&self.directory, "serial"));
            Ok(progress.watch(&tasks, findings)?)
        })?;
        Ok((pairs, start.elapsed().as_secs_f64()))
    }

    /// Have the job done by a crew, from its start to its end.
    fn in_processes(
        &self,
        files: &[File],
        report: &Report,
        progress: &mut Progress,
    ) -> Result<Vec<Pair>, Failure> {
        let mut crew = Crew::start(&self.directory, &report.path, self.workers)?;
        self.say("  Process: its own memory, its own pid; the system finds a core for each.");
        for worker in &crew.workers {
            progress.expect(worker.name(), worker.pid());
            self.say(format!("    {} has pid {}", worker.name(), worker.pid()));
        }
        self.say("  Queue: batches of files go out by one, findings come back by another to this");
        self.say(
            "    process, the only one that collects. Only bytes cross: names there, hashes back.",
        );
        self.say(
            "  Lock: whoever finds near duplicates holds it while writing to the shared report.",
        );
        let first = &mut crew.workers[0];
        let (state, name) = (ending(look_at(first, GLANCE)?), first.name());
        self.say(format!(
            "  join({GLANCE:?}): waits so long at most; {name} {state}."
        ));
        let pairs = near_duplicates(files, |tasks| progress.watch(&tasks, crew.complete(&tasks)))?;
        self.say("  Event: set now, it tells all workers that no more will come.");
        crew.dismiss()?;
        for worker in &mut crew.workers {
            let state = ending(look_at(worker, LAST_CALL)?);
            self.say(format!(
                "    join({LAST_CALL:?}): {} {state}",
                worker.name()
            ));
        }
        Ok(pairs)
    }

    /// Have the job done by a pool. What is timed includes its start, but not its end.
    fn in_pool(&self, files: &[File]) -> Result<(Vec<Pair>, f64), Failure> {
        let mut progress = Progress::new(self.view);
        let start = Instant::now();
        let team = Team::start(&self.directory, self.workers)?;
        self.say("  Pool: workers that call a function; the initializer told each where to look.");
        self.say(
            "  map: hands the runs out and waits; the results stand in the order of the tasks.",
        );
        self.say("  imap: the results come one after the other while others are still worked on.");
        let pairs = near_duplicates(files, |tasks| {
            progress.watch(&tasks, team.complete(&tasks)?)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        self.say(
            "  apply_then: does not wait; a callback says each result as soon as it is there:",
        );
        let view = self.view;
        team.ask(files, &pairs, move |fact| say(view, format!("    {fact}")))?;
        team.dismiss()?;
        self.say("  join: no more tasks; all workers and callbacks are done.");
        Ok((pairs, seconds))
    }

    fn show(&self, pairs: &[Pair]) {
        self.say("\n4. The near duplicates.");
        for pair in pairs.iter().take(SHOWN) {
            self.say(line(pair));
        }
        if pairs.len() > SHOWN {
            let more = pairs.len() - SHOWN;
            let place = self.report.as_deref().map_or_else(
                || "are kept with --report FILE".to_owned(),
                |place| format!("are in {place}"),
            );
            self.say(format!("  and {more} more; all {place}"));
        }
    }

    fn say(&self, line: impl AsRef<str>) {
        say(self.view, line);
    }
}

fn say(view: View, line: impl AsRef<str>) {
    if view != View::Nothing {
        print(line.as_ref());
    }
}
