//! Items of a queue, and room in it.

use procession::queue::RawQueue;

use super::{Prize, Victim, retry};

pub struct Item(pub RawQueue);

fn drain(queue: &RawQueue) {
    while queue.get(Some(0), || false).is_ok() {}
}

impl Prize for Item {
    fn withhold(&mut self) {
        drain(&self.0);
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.get(None, || false));
        had();
    }
    fn give(&mut self) -> bool {
        self.0.put_inline(1, b"item", Some(0)).is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        !self.0.is_empty()
    }
}

/// Room in a bounded queue.
pub struct Room(pub RawQueue);

impl Prize for Room {
    fn withhold(&mut self) {
        drain(&self.0);
        let filled = self.0.put_inline(1, b"item", Some(0));
        filled.expect("it was drained");
    }
    fn have(&mut self, begins: &dyn Fn(), had: &dyn Fn()) {
        begins();
        retry(|| self.0.put_inline(1, b"item", None));
        had();
    }
    fn give(&mut self) -> bool {
        self.0.get(Some(0), || false).is_ok()
    }
    fn is_there(&self, _: &Victim) -> bool {
        !self.0.is_full()
    }
}
