//! Wakes that are lost with the one who got them; pids that are used again; how soon others go on after a death.
//!
//! `WAKE_ROUNDS=10000 cargo test -p procession --test wake -- --nocapture window` plays 10,000 rounds of each primitive as
//! it ships, as many with futex_waitv refused, and as many without slices. Without it, a share that takes less than a minute.
//! `cargo test -p procession --test wake -- --nocapture recovery` prints how soon others go on.

mod child;
mod deaf;
mod director;
mod double;
#[path = "../support/items.rs"]
mod items;
#[path = "../deaths/killing.rs"]
mod killing;
mod once;
mod plan;
mod player;
mod prizes;
mod recovery;
mod refuse;
mod reuse;
#[path = "../deaths/stage.rs"]
#[allow(dead_code, unused_imports, reason = "its witness is for the deaths")]
mod stage;
mod stranger;
#[path = "../support/mod.rs"]
mod support;
mod window;

use libtest_mimic::Arguments;
use plan::{PLAN, Plan};

fn main() {
    procession::init();
    if let Ok(plan) = std::env::var(PLAN) {
        let plan: Plan = serde_json::from_str(&plan).expect("a plan of ours");
        let report = director::run(plan);
        println!("{}", serde_json::to_string(&report).expect("plain numbers"));
        return;
    }
    if let Ok(role) = std::env::var(reuse::ROLE) {
        return reuse::play(&role);
    }
    if std::env::var_os(double::ROLE).is_some() {
        return double::play();
    }
    if std::env::var_os(once::ROLE).is_some() {
        return once::play();
    }
    if let Ok(role) = std::env::var(recovery::ROLE) {
        let times = recovery::play(&role);
        println!("{}", serde_json::to_string(&times).expect("plain numbers"));
        return;
    }
    let arguments = Arguments::from_args();
    let trials = [
        window::trials(),
        double::trials(),
        once::trials(),
        reuse::trials(),
        recovery::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
