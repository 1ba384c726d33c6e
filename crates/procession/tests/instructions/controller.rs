//! The cases as tests: each is played by a controller of its own, under each signal.

use crate::run::{self, Make, Share};
use crate::support::{Outcome, trial};
use crate::table::Report;
use crate::{
    crowd, heap, items, joinable, memory, page, planted, pool, process, queue, recovery, revoked,
    step, sync,
};
use libtest_mimic::{Arguments, Trial};
use std::ffi::c_int;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// What a controller shall play: the signal and the name of a case.
const CASE: &str = "INSTRUCTIONS_CASE";
/// How many points are left out: every so-manieth is played.
const EVERY: &str = "INSTRUCTIONS_EVERY";
/// Which of them comes first; another one each time, unless it is set.
const OFFSET: &str = "INSTRUCTIONS_OFFSET";
/// A file to write the table to.
const TABLE: &str = "INSTRUCTIONS_TABLE";
/// The runtime's own variable: how long a sleep lasts before it looks again.
const SLICE: &str = "PROCESSION_SLICE_MS";

/// A case's time, where every point is played.
const LIMIT: Duration = Duration::from_secs(300);
/// What CI's share is, unless it is told.
const SHARE: u64 = 16;

static ALL: Mutex<Option<Report>> = Mutex::new(None);

pub fn main() {
    procession::init();
    if let Ok(case) = std::env::var(CASE) {
        return control(&case);
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let every = number(EVERY).unwrap_or(SHARE).max(1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let offset = number(OFFSET).unwrap_or_else(|| now.map_or(0, |now| now.as_secs())) % every;
    let since = Instant::now();
    println!("every point in {every} is played, from {offset} on");
    let trials = cases().into_iter().flat_map(|(name, _)| {
        [("kill", libc::SIGKILL), ("stop", libc::SIGSTOP)].map(|(what, signal)| {
            let case = format!("{signal} {offset} {every} {name}");
            let run = move || start(&case, signal);
            trial(format!("{what}_{name}"), LIMIT, run)
        })
    });
    let trials: Vec<Trial> = trials.chain(planted_trials()).collect();
    let mut arguments = Arguments::from_args();
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    // One at a time: how soon the others go on is measured.
    arguments.test_threads = Some(1);
    let mut failed = libtest_mimic::run(&arguments, trials).has_failed();
    if let Some(mut report) = ALL.lock().expect("no trial panics with it").take() {
        let table = report.markdown();
        let summary = report.summary(since.elapsed());
        println!("{table}\n{summary}");
        let unreached = report.unreached();
        if whole && !unreached.is_empty() {
            println!("no point was played in: {}", unreached.join(", "));
            failed = true;
        }
        if let Ok(path) = std::env::var(TABLE) {
            let text = format!("{table}\n{summary}");
            std::fs::write(path, text).expect("the table's file can be written");
        }
    }
    std::process::exit(if failed { 101 } else { 0 });
}

fn cases() -> Vec<(&'static str, Make)> {
    [
        queue::cases(),
        joinable::cases(),
        sync::cases(),
        memory::cases(),
        crowd::cases(),
        heap::cases(),
        revoked::cases(),
        pool::cases(),
        process::cases(),
        recovery::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Plays a case in this process, and prints what it came to.
fn control(case: &str) {
    let words: Vec<&str> = case.split(' ').collect();
    let [signal, offset, every, name] = words[..] else {
        panic!("not a case: {case}");
    };
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let planted = planted::cases()
        .into_iter()
        .map(|(name, make, _)| (name, make));
    let mut cases = cases().into_iter().chain(planted);
    let (_, make) = cases.find(|(known, _)| *known == name).expect("a case");
    let share = Share {
        every: number(every),
        offset: number(offset),
    };
    page::make();
    step::install();
    // How many steps an operation has shall not depend on when another process gets a core.
    items::arena().set_spinning(false);
    let report = run::run(name, &make, number(signal) as c_int, share);
    print!("{}", report.to_lines());
}

fn play(case: &str, signal: c_int) -> Outcome<(Report, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(CASE, case).stdin(Stdio::null());
    if signal == libc::SIGKILL {
        // The news of a death needs no slices; those of a stop do.
        command.env(SLICE, "60000");
    }
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut report = Report::default();
    let read = report.add_lines(&String::from_utf8(output.stdout)?);
    if !output.status.success() || read.is_none() {
        return Err(format!("the controller ended with {}: {errors}", output.status).into());
    }
    Ok((report, errors))
}

fn start(case: &str, signal: c_int) -> Outcome {
    let (report, errors) = play(case, signal)?;
    let mut all = ALL.lock().expect("no trial panics with it");
    all.get_or_insert_default()
        .add_lines(&report.to_lines())
        .ok_or("lines that were just written")?;
    if report.violations() != 0 || errors.contains("arena damaged") {
        return Err(errors.into());
    }
    Ok(())
}

/// Each planted bug is found when every point is played.
fn planted_trials() -> Vec<Trial> {
    let trials = planted::cases().into_iter().map(|(name, _, found_by)| {
        let run = move || -> Outcome {
            let case = format!("{} 0 1 {name}", libc::SIGKILL);
            let (report, errors) = play(&case, libc::SIGKILL)?;
            if report.violations() == 0 || !errors.contains(found_by) {
                return Err(format!("not found: {errors}").into());
            }
            Ok(())
        };
        trial(format!("finds_{name}"), LIMIT, run)
    });
    trials.collect()
}
