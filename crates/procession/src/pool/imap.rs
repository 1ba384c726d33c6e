//! Results as they come, of an input that is read as they are taken.

use super::{Pool, Task};
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;

/// So many results for each worker stand ahead of who takes them, if nobody says otherwise.
const AHEAD: usize = 16;

/// An iterator over results in the order of the input: see [`Pool::imap`].
///
/// Dropped, it reads no more of the input; what was handed over is done all the same.
#[must_use = "nothing of the input is read before the first result is asked for"]
pub struct Imap<'p, I, R> {
    pool: &'p Pool,
    token: i64,
    function: &'static str,
    /// `None` when it was read to its end.
    items: Option<I>,
    tasks: VecDeque<Result<Task<R>>>,
    ahead: usize,
}

impl<'p, I, R> Imap<'p, I, R>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    pub(super) fn new(pool: &'p Pool, token: i64, function: &'static str, items: I) -> Self {
        let begun = pool.shared().input_begins();
        Self {
            pool,
            token,
            function,
            items: begun.is_ok().then_some(items),
            tasks: begun.err().into_iter().map(Err).collect(),
            ahead: AHEAD * pool.size(),
        }
    }

    /// So many items, 1 at least, are read ahead of the result that is taken next at most; 16 for each worker if
    /// nothing is said. And never more than two for each worker that nobody has begun to work on, or works on still.
    pub fn ahead(mut self, items: usize) -> Self {
        self.ahead = items.max(1);
        self
    }

    /// Whether the workers may need more of the input.
    fn has_room(&self) -> bool {
        let pending = |task: &&Result<Task<R>>| task.as_ref().is_ok_and(|task| !task.is_ready());
        self.items.is_some()
            && self.tasks.len() < self.ahead
            && self.tasks.iter().filter(pending).count() < 2 * self.pool.size()
    }

    /// Reads as much of the input as the workers need.
    fn fill(&mut self) {
        while self.has_room() {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.end_input();
                return;
            };
            let task = self.pool.hand_over(self.token, self.function, item, true);
            let over = task.is_err() && self.pool.shared().is_over();
            self.tasks.push_back(task);
            if over {
                // The same would come of all others.
                self.end_input();
            }
        }
    }

    /// Waits until a task is ready that `which` finds among those that were handed over; takes it out.
    fn take_ready(
        &mut self,
        which: impl Fn(&VecDeque<Result<Task<R>>>) -> Option<usize>,
    ) -> Option<Result<R>> {
        loop {
            self.fill();
            if self.tasks.is_empty() {
                return None;
            }
            if let Some(place) = which(&self.tasks) {
                let task = self.tasks.remove(place)?;
                return Some(task.and_then(|task| task.get()));
            }
            let shared = self.pool.shared();
            let waited = shared.wait_settled(|| which(&self.tasks).is_some() || self.has_room());
            if let Err(error) = waited {
                return Some(Err(error));
            }
        }
    }
}

impl<I, R> Imap<'_, I, R> {
    fn end_input(&mut self) {
        if self.items.take().is_some() {
            self.pool.shared().input_ended();
        }
    }
}

impl<I, R> Iterator for Imap<'_, I, R>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        self.take_ready(|tasks| is_ready(&tasks[0]).then_some(0))
    }
}

impl<I, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        self.end_input();
    }
}

fn is_ready<R>(task: &Result<Task<R>>) -> bool {
    task.as_ref().map_or(true, Task::is_ready)
}

/// An iterator over results in the order in which they come: see [`Pool::imap_unordered`].
///
/// Dropped, it reads no more of the input; what was handed over is done all the same.
#[must_use = "nothing of the input is read before the first result is asked for"]
pub struct ImapUnordered<'p, I, R>(Imap<'p, I, R>);

impl<'p, I, R> ImapUnordered<'p, I, R>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    pub(super) fn new(imap: Imap<'p, I, R>) -> Self {
        Self(imap)
    }

    /// As [`Imap::ahead`].
    pub fn ahead(self, items: usize) -> Self {
        Self(self.0.ahead(items))
    }
}

impl<I, R> Iterator for ImapUnordered<'_, I, R>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        self.0.take_ready(|tasks| {
            // Tasks are begun in the order in which they were handed over: none is ready behind one that nobody has begun.
            let begun = tasks
                .iter()
                .enumerate()
                .take_while(|(_, task)| is_ready(task) || task.as_ref().is_ok_and(Task::is_begun));
            let ready = begun.filter(|(_, task)| is_ready(task));
            ready
                .min_by_key(|(_, task)| task.as_ref().map_or(0, Task::settled_at))
                .map(|(place, _)| place)
        })
    }
}
