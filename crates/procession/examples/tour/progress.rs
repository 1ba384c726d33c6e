//! What is shown while tasks are done: a picture that changes, plain lines, or nothing.

use std::fmt;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::work::{Finding, Task};

const MIB: f64 = (1 << 20) as f64;

/// A picture is drawn again after this time.
const FRAME: Duration = Duration::from_millis(100);

/// A picture shows no more workers than fit on any terminal.
const ROWS: usize = 16;

/// What one worker has done so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub worker: String,
    pub pid: u32,
    pub files: usize,
    pub size: u64,
    pub compared: usize,
    pub busy: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            worker,
            pid,
            files,
            compared,
            busy,
            ..
        } = self;
        let size = self.size as f64 / MIB;
        write!(
            f,
            "{worker:<8} pid {pid:<8} {files:>6} files {size:>8.1} MiB"
        )?;
        write!(f, " {compared:>8} comparisons {busy:>7.2} s busy")
    }
}

/// Print a line. Where nobody reads on there is nobody to work for, and the program ends.
pub fn print(line: impl fmt::Display) {
    if writeln!(stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq)]
pub enum View {
    Nothing,
    Lines,
    Picture,
}

impl View {
    /// A picture where stdout is a terminal, else lines.
    pub fn for_terminal() -> Self {
        if stdout().is_terminal() {
            View::Picture
        } else {
            View::Lines
        }
    }
}

/// Counts what is done, and shows it.
pub struct Progress {
    view: View,
    what: &'static str,
    whole: u64,
    done: u64,
    drawn: Instant,
    height: usize,
    pub figures: Vec<Figures>,
}

impl Progress {
    pub fn new(view: View) -> Self {
        let (drawn, figures) = (Instant::now(), Vec::new());
        Self {
            view,
            what: "",
            whole: 0,
            done: 0,
            drawn,
            height: 0,
            figures,
        }
    }

    /// Keep figures for this worker.
    pub fn expect(&mut self, worker: &str, pid: u32) {
        let worker = worker.to_owned();
        self.figures.push(Figures {
            worker,
            pid,
            ..Figures::default()
        });
    }

    /// Pass the findings of these tasks on, and show how far they are.
    pub fn watch<E>(
        &mut self,
        tasks: &[Task],
        findings: impl Iterator<Item = Result<Finding, E>>,
    ) -> Result<Vec<Finding>, E> {
        self.what = tasks.first().map_or("nothing to do", Task::done);
        self.whole = tasks.iter().map(Task::size).sum();
        self.done = 0;
        let findings = findings.map(|finding| finding.inspect(|finding| self.add(finding)));
        let findings = findings.collect();
        if self.view == View::Picture {
            self.draw(&[]);
            self.height = 0;
        }
        findings
    }

    fn add(&mut self, finding: &Finding) {
        if self.figures.iter().all(|it| it.worker != finding.worker) {
            self.expect(&finding.worker, finding.pid);
        }
        let known = self.figures.iter_mut();
        for figures in known.filter(|it| it.worker == finding.worker) {
            figures.files += finding.found.sketches.len();
            figures.size += finding.size;
            figures.compared += finding.found.compared;
            figures.busy += finding.seconds;
        }
        let before = self.done;
        self.done += finding.size;
        let quarter = |size| 4 * size / self.whole;
        if self.view == View::Lines && quarter(self.done) > quarter(before) {
            let (percent, size) = (25 * quarter(self.done), self.whole as f64 / MIB);
            let what = self.what;
            print(format_args!("  {percent:>3} % of {size:.1} MiB {what}"));
        } else if self.view == View::Picture && self.drawn.elapsed() >= FRAME {
            let workers: Vec<_> = self
                .figures
                .iter()
                .take(ROWS)
                .map(Figures::to_string)
                .collect();
            self.draw(&workers);
        }
    }

    /// A bar, and a line for each worker, in the place of those before. Lines are not wrapped.
    fn draw(&mut self, workers: &[String]) {
        let part = if self.whole == 0 {
            1.0
        } else {
            self.done as f64 / self.whole as f64
        };
        let (full, percent) = ((40.0 * part) as usize, 100.0 * part);
        let bar = format!("[{:.<40}] {percent:3.0}% {}", "#".repeat(full), self.what);
        let back = if self.height > 0 {
            format!("\x1b[{}F", self.height)
        } else {
            String::new()
        };
        let mut text = format!("{back}\x1b[?7l  {bar}\x1b[K\n");
        for worker in workers {
            text += &format!("  {worker}\x1b[K\n");
        }
        let mut out = stdout();
        write!(out, "{text}\x1b[J\x1b[?7h")
            .and_then(|()| out.flush())
            .ok();
        self.height = 1 + workers.len();
        self.drawn = Instant::now();
    }
}
