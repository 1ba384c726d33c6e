//! The rows of the lecture, each a test, from Rust.

mod data;
mod processes;
#[path = "../support/mod.rs"]
mod support;
mod synchronization;

use crate::support::{Body, run_under_each_method};
use std::time::Duration;

/// Set in a program whose `main` forgets `init`.
pub const FORGETS: &str = "LECTURE_FORGETS_INIT";

/// A time that is never over unless something is wrong.
pub const LONG: Duration = Duration::from_secs(15);
/// A time that is over at once.
pub const SHORT: Duration = Duration::from_millis(5);

fn main() {
    if std::env::var_os(FORGETS).is_some() {
        processes::forgets_init();
        return;
    }
    procession::init();
    let rows: [(&str, Body); 22] = [
        ("cpu_count", processes::cpu_count_is_the_machines),
        ("process_name_args", processes::process_name_args),
        ("process_from_thread", processes::process_from_thread),
        ("affinity", processes::affinity),
        ("join_timeout", processes::join_timeout),
        ("pid_and_names", processes::pid_and_names),
        ("exit_codes", processes::exit_codes),
        ("init_is_the_guard", processes::init_is_the_guard),
        ("separate_memory", processes::separate_memory),
        ("data_as_bytes", data::data_as_bytes),
        ("pipes", data::pipes),
        ("event", synchronization::event),
        ("lock", synchronization::lock),
        ("rlock", synchronization::rlock),
        ("semaphore", synchronization::semaphore),
        ("condition", synchronization::condition),
        ("barrier", synchronization::barrier),
        ("mutex", synchronization::mutex),
        ("queue", data::queue),
        ("queue_between_processes", data::queue_between_processes),
        ("joinable_queue", data::joinable_queue),
        ("cpu_bound", processes::cpu_bound),
    ];
    run_under_each_method(2 * LONG, &rows);
}
