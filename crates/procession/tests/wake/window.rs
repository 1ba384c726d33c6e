//! The wake window of each primitive, as it ships and with one mechanism less; and bugs that must be found in it.

use libtest_mimic::Trial;
use procession::time;
use rustix::io::Errno;
use std::time::Duration;

use crate::plan::{NEVER, Plan, Report, SHIPPED};
use crate::prizes::ALL;
use crate::support::{Outcome, trial};

/// How many rounds are played for each primitive in each of its rows.
const ROUNDS: &str = "WAKE_ROUNDS";
const FEW: u64 = 300;
/// Chooses the delays, as printed by a run that failed.
const SEED: &str = "WAKE_SEED";
/// Rounds in which a planted bug must show. It shows in one of five or so.
const PLANTED: u64 = 1000;

fn rounds() -> u64 {
    let rounds = std::env::var(ROUNDS).ok();
    rounds.map_or(FEW, |rounds| rounds.parse().expect("a number"))
}

fn seed() -> u64 {
    let seed = std::env::var(SEED).ok();
    seed.map_or_else(time::now, |seed| seed.parse().expect("a number"))
}

fn plan(prize: usize, kills: bool) -> Plan {
    Plan {
        prize,
        kills,
        rounds: rounds(),
        refusal: None,
        slice: SHIPPED,
        deaf_bystander: false,
        until_late: false,
        one_core: false,
        seed: seed(),
    }
}

pub fn trials() -> Vec<Trial> {
    // A second at most for a few rounds, and time for a busy machine.
    let limit = Duration::from_secs(60) + Duration::from_millis(200) * rounds() as u32;
    let mut trials = Vec::new();
    for (prize, (name, _)) in ALL.into_iter().enumerate() {
        trials.extend([
            trial(format!("window::{name}"), limit, move || {
                nobody_is_late("", &[plan(prize, true), plan(prize, false)])
            }),
            trial(format!("window::{name}_waitv_refused"), limit, move || {
                // A container's filter says EPERM, an old kernel ENOSYS.
                let with = |kills, error: Errno| Plan {
                    refusal: Some(error.raw_os_error()),
                    ..plan(prize, kills)
                };
                nobody_is_late(
                    ", futex_waitv refused",
                    &[with(true, Errno::PERM), with(false, Errno::NOSYS)],
                )
            }),
            // The news of a death needs no slice. That of a stop does: nothing else tells of it.
            trial(format!("window::{name}_without_slices"), limit, move || {
                let plan = Plan {
                    slice: NEVER,
                    ..plan(prize, true)
                };
                nobody_is_late(", without slices", &[plan])
            }),
        ]);
    }
    trials.extend(planted());
    trials
}

fn nobody_is_late(how: &str, plans: &[Plan]) -> Outcome {
    for plan in plans {
        let mut report = Report::default();
        // On one core who is woken runs after who woke it, or in its place.
        for one_core in [false, true] {
            let plan = Plan {
                rounds: plan.rounds.div_ceil(2 * plans.len() as u64),
                one_core,
                ..plan.clone()
            };
            report.add(plan.run()?);
        }
        let what = if plan.kills { "killed" } else { "stopped" };
        report.print(&format!("{}, {what}{how}", ALL[plan.prize].0));
        if report.late > 0 {
            return Err(format!("late in {} rounds, WAKE_SEED={}", report.late, plan.seed).into());
        }
    }
    Ok(())
}

/// What is missing, for which prizes it is tried, and how it is planted.
type Bug = (&'static str, &'static [&'static str], fn(Plan) -> Plan);

/// Worlds that do one thing less than the one that ships.
fn planted() -> Vec<Trial> {
    let limit = Duration::from_secs(60);
    let rows: [Bug; 3] = [
        // Each life word wakes one sleeper, who keeps the news to himself.
        ("no_pass_on", &["semaphore", "queue_get"], |plan| Plan {
            slice: NEVER,
            deaf_bystander: true,
            ..plan
        }),
        // Who sleeps looks at his own word alone.
        ("no_life_words", &["semaphore", "queue_get"], |plan| Plan {
            slice: NEVER,
            refusal: Some(Errno::PERM.raw_os_error()),
            ..plan
        }),
        ("no_slice", &["lock", "semaphore", "queue_get"], |plan| {
            Plan {
                slice: NEVER,
                kills: false,
                ..plan
            }
        }),
    ];
    let mut trials = Vec::new();
    for (bug, prizes, plant) in rows {
        for (prize, (name, _)) in ALL.into_iter().enumerate() {
            if !prizes.contains(&name) {
                continue;
            }
            trials.push(trial(format!("planted::{bug}_{name}"), limit, move || {
                let plan = plant(Plan {
                    rounds: PLANTED,
                    until_late: true,
                    ..plan(prize, true)
                });
                let report = plan.run()?;
                report.print(&format!("{name}, planted {bug}"));
                match report.late {
                    0 => Err(format!("not found, WAKE_SEED={}", plan.seed).into()),
                    _ => Ok(()),
                }
            }));
        }
    }
    trials
}
