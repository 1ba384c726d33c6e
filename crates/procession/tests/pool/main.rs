//! Pools, from Rust: what they return, what a death costs, and how they end.

mod common;
mod deaths;
mod ends;
mod failures;
mod iterators;
mod results;
#[path = "../support/mod.rs"]
mod support;
mod workers;

use common::{LONG, MODE};
use support::{Body, follow_environment, run_under_each_method};

fn main() {
    procession::init();
    if std::env::var(MODE).as_deref() == Ok("root") {
        follow_environment();
        return ends::busy_root();
    }
    let rows: [(&str, Body); 33] = [
        ("map_keeps_the_order", results::map_keeps_the_order),
        ("workers_and_tasks", results::workers_and_tasks),
        ("apply", results::apply),
        ("tasks_can_be_waited_for", results::tasks_can_be_waited_for),
        ("callbacks_in_order", results::callbacks_in_order),
        ("callbacks_that_panic", results::callbacks_that_panic),
        (
            "callbacks_of_a_terminated_pool",
            results::callbacks_of_a_terminated,
        ),
        ("imap_reads_as_needed", iterators::imap_reads_as_needed),
        ("imap_keeps_the_order", iterators::imap_keeps_the_order),
        (
            "imap_unordered_as_they_come",
            iterators::imap_unordered_as_they_come,
        ),
        ("imap_outlives_close", iterators::imap_outlives_close),
        ("panics", failures::panics),
        ("backtrace_if_asked_for", failures::backtrace_if_asked_for),
        ("what_cannot_be_written", failures::what_cannot_be_written),
        ("handles_travel", failures::handles_travel),
        ("large_values", failures::large_values),
        ("names", workers::names),
        ("initializer", workers::initializer),
        ("initializer_that_fails", workers::initializer_that_fails),
        ("initializer_that_dies", workers::initializer_that_dies),
        ("max_tasks_per_worker", workers::max_tasks_per_worker),
        (
            "killed_worker_costs_its_task",
            deaths::killed_worker_costs_its_task,
        ),
        ("worker_that_exits", deaths::worker_that_exits),
        ("idle_worker_killed", deaths::idle_worker_killed),
        ("stopped_worker", deaths::stopped_worker),
        ("keeper_killed", deaths::keeper_killed),
        ("keeper_killed_under_load", deaths::keeper_killed_under_load),
        ("terminate_is_bounded", ends::terminate_is_bounded),
        ("drop_without_close", ends::drop_without_close),
        ("closed_pool", ends::closed_pool),
        ("task_that_forks", ends::task_that_forks),
        ("pools_in_a_pool", ends::pools_in_a_pool),
        ("root_takes_the_pool_along", ends::root_takes_the_pool_along),
    ];
    run_under_each_method(2 * LONG, &rows);
}
