//! Deaths and stops at each instruction of each operation that stores to the arena.
//!
//! For each case a *controller* is started, a program of its own with one thread. It forks a *victim*, which steps
//! itself through one operation and dies, or stops, at the n-th instruction of it; then the controller, and where the
//! case has one a *witness* that sleeps meanwhile, go on with the same object.

#[cfg(target_arch = "x86_64")]
mod controller;
#[cfg(target_arch = "x86_64")]
mod crowd;
#[cfg(target_arch = "x86_64")]
#[path = "../wake/deaf.rs"]
mod deaf;
#[cfg(target_arch = "x86_64")]
mod hasty;
#[cfg(target_arch = "x86_64")]
mod heap;
#[cfg(target_arch = "x86_64")]
#[path = "../support/items.rs"]
mod items;
#[cfg(target_arch = "x86_64")]
mod joinable;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod page;
#[cfg(target_arch = "x86_64")]
mod planted;
#[cfg(target_arch = "x86_64")]
mod pool;
#[cfg(target_arch = "x86_64")]
mod process;
#[cfg(target_arch = "x86_64")]
mod queue;
#[cfg(target_arch = "x86_64")]
mod recovery;
#[cfg(target_arch = "x86_64")]
mod revoked;
#[cfg(target_arch = "x86_64")]
mod run;
#[cfg(target_arch = "x86_64")]
mod stage;
#[cfg(target_arch = "x86_64")]
mod step;
#[cfg(target_arch = "x86_64")]
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_arch = "x86_64")]
mod sync;
#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(target_arch = "x86_64")]
mod victim;
#[cfg(target_arch = "x86_64")]
mod witness;

#[cfg(target_arch = "x86_64")]
fn main() {
    controller::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: a process steps itself by the trap flag of x86-64");
}
