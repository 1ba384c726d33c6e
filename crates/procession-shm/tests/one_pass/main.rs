//! One pass through each operation of each structure: at each state that it brings about the arena is copied, and on
//! the copies its thread is dead, or stopped, and others go on; and who repairs dies as well.
//!
//! `cargo test` plays a share, `ONE_PASS_EVERY=1` all. `ONE_PASS_OFFSET` says which share, `ONE_PASS_TABLE` names a
//! file to write the table to.

mod condition;
mod death;
mod heap;
mod joinable;
mod lock;
mod machine;
mod memory;
mod object;
mod planted;
mod play;
mod pool;
mod process;
mod queue;
mod scene;
mod stage;
#[path = "../support/structures.rs"]
mod structures;
mod sync;
mod table;
mod violation;

fn main() {
    table::main();
}
