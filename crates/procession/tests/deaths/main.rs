//! Deaths and stops that really happen: at each step of an operation, at random instants, and of the root.

#[path = "../support/items.rs"]
mod items;
mod killing;
mod points;
mod random;
mod root;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use libtest_mimic::{Arguments, Trial};
use points::{Plan, each_step};
use stage::Form;
use std::process::Command;
use std::time::Duration;
use support::{Outcome, trial};

/// What a program that the tests start as a root of its own shall do.
pub const MODE: &str = "DEATHS_MODE";
/// The runtime's own variable: how long a sleep lasts before it looks again.
pub const SLICE: &str = "PROCESSION_SLICE_MS";

const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    procession::init();
    match std::env::var(MODE).as_deref() {
        Ok("root") => return root::run(),
        Ok("calm") => return root::calm(),
        _ => {}
    }
    use Form::{Inline, Message};
    let put = |form, bound, fill| Plan::Put { form, bound, fill };
    let get = |form, bound, fill, taken| Plan::Get {
        form,
        bound,
        fill,
        taken,
    };
    let plans = [
        ("put_inline", put(Inline, 0, 1)),
        ("put_message", put(Message, 0, 1)),
        ("put_bounded", put(Inline, 2, 1)),
        ("put_into_a_new_segment", put(Inline, 0, 127)),
        ("put_that_wakes", put(Inline, 0, 0)),
        ("put_message_that_wakes", put(Message, 0, 0)),
        ("put_asleep", Plan::PutAsleep),
        ("get_inline", get(Inline, 0, 3, 0)),
        ("get_message", get(Message, 0, 3, 0)),
        ("get_that_wakes", get(Inline, 3, 3, 0)),
        ("get_from_the_next_segment", get(Inline, 0, 130, 127)),
        ("get_asleep", Plan::GetAsleep),
        ("lock", Plan::Lock),
        ("lock_asleep", Plan::LockAsleep),
    ];
    let mut trials = Vec::new();
    for (what, signal) in [("kill", libc::SIGKILL), ("stop", libc::SIGSTOP)] {
        for (name, plan) in plans {
            let name = format!("{what}_{name}");
            trials.push(trial(name.clone(), LIMIT, move || {
                each_step(&name, plan, signal)
            }));
        }
    }
    trials.extend([
        trial("kill_producers_at_random", LIMIT, random::producers),
        trial("kill_consumers_at_random", LIMIT, random::consumers),
        trial("kill_holders_at_random", LIMIT, random::holders),
        trial("the_root_takes_all_along", LIMIT, root::takes_all_along),
        trial(
            "no_slice_finds_work_in_a_calm_run",
            LIMIT,
            root::no_slice_finds_work,
        ),
    ]);
    if std::env::var_os(SLICE).is_none() {
        trials.push(without_slices());
    }
    let mut arguments = Arguments::from_args();
    // One at a time: each counts the blocks of the arena.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

/// All that kills, once more with slices that never end: the news of a death needs none.
fn without_slices() -> Trial {
    let run = || -> Outcome {
        let status = Command::new(std::env::current_exe()?)
            .env(SLICE, "60000")
            .arg("kill_")
            .status()?;
        assert!(status.success());
        Ok(())
    };
    trial("without_slices", 3 * LIMIT, run)
}
