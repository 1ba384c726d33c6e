//! What the tests of several files use.

use crate::support::until;
use procession::{Error, Kind, Pool};
use std::time::Duration;

/// Set in a program that the tests start as a root of its own.
pub const MODE: &str = "POOL_MODE";

/// A time that is never over unless something is wrong.
pub const LONG: Duration = Duration::from_secs(20);
/// A time that is over at once.
pub const SHORT: Duration = Duration::from_millis(20);

pub fn square(n: u64) -> u64 {
    n * n
}

pub fn kind_of<T: std::fmt::Debug>(result: Result<T, Error>) -> Kind {
    result.expect_err("it fails").kind()
}

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal to a process of ours.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// The workers, once all are there.
pub fn all_workers(pool: &Pool) -> Vec<u32> {
    until("all workers run", LONG, || {
        pool.workers().len() == pool.size()
    });
    pool.workers()
}

pub fn find_keeper(name: &str) -> Option<u32> {
    let keeper = format!("{name}-keeper");
    let children = procession::active_children();
    let found = children.iter().find(|child| child.name == keeper);
    found.map(|child| child.pid)
}

pub fn keeper_of(name: &str) -> u32 {
    find_keeper(name).expect("the pool has a keeper")
}
