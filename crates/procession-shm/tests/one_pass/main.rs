//! One pass through each operation of each structure: at each state that it brings about the arena is copied, and on
//! the copies its thread is dead, or stopped, and others go on; and who repairs dies as well.
//!
//! `cargo test` plays a share, `ONE_PASS_EVERY=1` all. `ONE_PASS_OFFSET` says which share, `ONE_PASS_TABLE` names a
//! file to write the table to.

#[cfg(not(loom))]
mod condition;
#[cfg(not(loom))]
mod death;
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod lock;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
mod object;
#[cfg(not(loom))]
mod play;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod scene;
#[cfg(not(loom))]
mod stage;
#[cfg(not(loom))]
#[path = "../support/structures.rs"]
mod structures;
#[cfg(not(loom))]
mod sync;
#[cfg(not(loom))]
mod table;
#[cfg(not(loom))]
mod violation;

#[cfg(not(loom))]
fn main() {
    table::main();
}

#[cfg(loom)]
fn main() {}
