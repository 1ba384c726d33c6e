//! Processes: a function in a process of its own, started by running this program again.

mod child;
mod start;
mod status;
mod surroundings;
mod token;

pub use child::{Current, Parent, current_process, init, parent_process};
pub use start::{Builder, Child, Process, active_children};
pub use status::{ExitStatus, Joined};
pub(crate) use surroundings::block_signals;
pub use surroundings::{Descriptors, Surroundings};
