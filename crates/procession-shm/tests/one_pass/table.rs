//! The acts as tests, and what was found as a table.

use crate::play::{Play, Row, Share};
use crate::stage::Case;
use crate::{
    condition, heap, joinable, lock, memory, object, planted, pool, process, queue, sync, violation,
};
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
const SHARE: u64 = 4;

/// Operations that store nothing themselves: each store is in the section of what they call.
const STORE_NOTHING: [Section; 1] = [Section::NameForget];

/// By the stage and its place among them.
static ROWS: Mutex<Vec<((usize, &str), Row)>> = Mutex::new(Vec::new());

fn cases() -> Vec<Case> {
    [
        queue::cases(),
        joinable::cases(),
        lock::cases(),
        sync::cases(),
        condition::cases(),
        heap::cases(),
        object::cases(),
        memory::cases(),
        pool::cases(),
        process::cases(),
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

/// A planted bug is found by what it does, where every point is played.
fn find(index: usize) -> Result<(), String> {
    let (case, found_by) = &planted::cases()[index];
    let (every, offset) = (1, 0);
    let mut violations = Vec::new();
    for act in case.operations() {
        violations.extend(play(case, act, Share { every, offset }).0.violations);
    }
    match violations.iter().any(|found| found.contains(found_by)) {
        true => Ok(()),
        false => Err(format!("not found; what was: {violations:?}")),
    }
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
                let mut rows = ROWS.lock().expect("no trial panics with it");
                rows.push(((index, case.name), row));
                done.map_err(Into::into)
            };
            trials.push(Trial::test(name, run));
        }
    }
    for (index, (case, _)) in planted::cases().iter().enumerate() {
        let name = format!("finds {}", case.name);
        trials.push(Trial::test(name, move || Ok(find(index)?)));
    }
    let arguments = Arguments::from_args();
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    violation::note_all();
    let mut failed = libtest_mimic::run(&arguments, trials).has_failed();
    let mut rows = ROWS.lock().expect("all trials are done");
    rows.sort_by_key(|&(stage, _)| stage);
    let table = markdown(&rows);
    let seconds = since.elapsed().as_secs();
    println!("{table}\n{seconds} s");
    let met = |section: Section| {
        let mut rows = rows.iter();
        STORE_NOTHING.contains(&section)
            || rows.any(|(_, row)| row.sections.contains_key(&(section as u8)))
    };
    for section in Section::ALL
        .iter()
        .filter(|&&section| whole && !met(section))
    {
        println!("no act has the section {}", section.name());
        failed = true;
    }
    if let Ok(path) = std::env::var(TABLE) {
        let text = format!("{table}\nIt took {seconds} s.\n");
        std::fs::write(path, text).expect("the table's file can be written");
    }
    std::process::exit(if failed { 101 } else { 0 });
}

/// Rows of the acts of one stage are one line.
fn markdown(rows: &[((usize, &str), Row)]) -> String {
    let mut text = String::from(
        "| stage | acts | steps | states | pairs | nested recoveries | violations |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    for acts in rows.chunk_by(|(one, _), (other, _)| one == other) {
        line(&mut text, acts[0].0.1, acts);
    }
    line(&mut text, "all", rows);
    text
}

fn line(text: &mut String, name: &str, acts: &[((usize, &str), Row)]) {
    let sum = |of: fn(&Row) -> u64| acts.iter().map(|(_, row)| of(row)).sum::<u64>();
    writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} |",
        acts.len(),
        sum(|row| row.steps),
        sum(|row| row.states),
        sum(|row| row.pairs),
        sum(|row| row.nested),
        sum(|row| row.violations.len() as u64)
    )
    .expect("a string takes all");
}
