//! Wakes that are lost with the one who got them.
//!
//! `WAKE_ROUNDS=10000 cargo test -p procession --test wake -- --nocapture window` plays 10,000 rounds of each primitive as
//! it ships, as many with futex_waitv refused, and as many without slices. Without it, a share that takes less than a minute.

mod child;
mod deaf;
mod director;
mod plan;
mod prizes;
mod refuse;
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
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, window::trials()).exit();
}
