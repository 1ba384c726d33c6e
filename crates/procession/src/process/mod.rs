//! Processes: a function in a process of its own, started by running this program again or from the template.

mod child;
mod forkserver;
mod mail;
mod method;
pub(crate) mod panics;
mod start;
mod status;
mod surroundings;
pub(crate) mod token;

pub use child::{Current, Parent, current_process, init, parent_process};
pub(crate) use child::{check_initialized, command_line, received, set_worker_name};
pub use method::{StartMethod, set_start_method, start_method};
pub(crate) use start::write_name;
pub use start::{Builder, Child, Process, active_children};
pub use status::{ExitStatus, Joined};
pub use surroundings::{Descriptors, Surroundings};
pub(crate) use surroundings::{block_signals, forget_signals};
pub use token::Initialized;
