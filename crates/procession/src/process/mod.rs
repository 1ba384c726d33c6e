//! Processes: a function in a process of its own, started by running this program again.

mod child;
mod start;
mod status;
mod token;

pub use child::{Current, Parent, current_process, init, parent_process};
pub use start::{Builder, Child, Process, active_children};
pub use status::{ExitStatus, Joined};
