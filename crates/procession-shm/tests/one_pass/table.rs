//! The acts as tests, and what was found as a table.

use crate::play::{Play, Row, Share};
use crate::stage::Case;
use crate::{condition, heap, lock, object, queue, sync, violation};
use libtest_mimic::{Arguments, Trial};
use procession_shm::section::Section;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

/// Every so-manieth point is played.
const EVERY: &str = "ONE_PASS_EVERY";
/// Which of them comes first; another one each time, unless it is set.
const OFFSET: &str = "ONE_PASS_OFFSET";
/// A file to write the table to.
const TABLE: &str = "ONE_PASS_TABLE";
/// What is played unless it is told.
const SHARE: u64 = 1;

static ROWS: Mutex<Vec<(String, Row)>> = Mutex::new(Vec::new());

fn cases() -> Vec<Case> {
    [
        queue::cases(),
        lock::cases(),
        sync::cases(),
        condition::cases(),
        heap::cases(),
        object::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn play(case: &Case, act: &'static str, share: Share) -> (Row, Result<(), String>) {
    let play = Play::new(case, act, share);
    play.run();
    let row = play.row();
    let done = match &row.violations[..] {
        [] if row.states == 0 => Err("it has no state".into()),
        [] => Ok(()),
        [first, ..] => Err(format!("{} violations: {first}", row.violations.len())),
    };
    (row, done)
}

pub fn main() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let every = number(EVERY).unwrap_or(SHARE).max(1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let offset = number(OFFSET).unwrap_or_else(|| now.map_or(0, |now| now.as_secs())) % every;
    let share = Share { every, offset };
    println!("every point in {every} is played, from {offset} on");
    let since = Instant::now();
    let mut trials = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        for act in case.operations() {
            let name = format!("{}: {act}", case.name);
            let run = move || {
                let case = &cases()[index];
                let (row, done) = play(case, act, share);
                let name = format!("{}: {act}", case.name);
                let mut rows = ROWS.lock().expect("no trial panics with it");
                rows.push((name, row));
                done.map_err(Into::into)
            };
            trials.push(Trial::test(name, run));
        }
    }
    let arguments = Arguments::from_args();
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    violation::note_all();
    let mut failed = libtest_mimic::run(&arguments, trials).has_failed();
    let mut rows = ROWS.lock().expect("all trials are done");
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let table = markdown(&rows);
    println!("{table}\n{} s", since.elapsed().as_secs());
    let met = |section: Section| {
        let mut rows = rows.iter();
        rows.any(|(_, row)| row.sections.contains_key(&(section as u8)))
    };
    for section in Section::ALL.iter().filter(|&&section| whole && !met(section)) {
        println!("no act has the section {}", section.name());
        failed = true;
    }
    if let Ok(path) = std::env::var(TABLE) {
        std::fs::write(path, table).expect("the table's file can be written");
    }
    std::process::exit(if failed { 101 } else { 0 });
}

fn markdown(rows: &[(String, Row)]) -> String {
    let mut text = String::from(
        "| act | steps | states | pairs | nested recoveries | violations |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let mut all = Row::default();
    let mut line = |name: &str, row: &Row| {
        let Row {
            steps,
            states,
            pairs,
            nested,
            ..
        } = row;
        let violations = row.violations.len();
        writeln!(
            text,
            "| {name} | {steps} | {states} | {pairs} | {nested} | {violations} |"
        )
        .expect("a string takes all");
    };
    for (name, row) in rows {
        line(name, row);
        all.steps += row.steps;
        all.states += row.states;
        all.pairs += row.pairs;
        all.nested += row.nested;
        all.violations.extend_from_slice(&row.violations);
    }
    line("all", &all);
    text
}
