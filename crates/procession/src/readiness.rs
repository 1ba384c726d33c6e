//! A descriptor that is readable while a queue has items: for those who wait by `poll` or an event loop.
//!
//! A queue has no descriptor, so a thread of the process that asks for one waits in the arena and writes it. The descriptor stays
//! in this process. *Invariant*: while there are items it is readable, or the thread is on its way to make it so; it may be
//! readable still when another process, or another reference, has taken the last item.
//! *On a death*: the thread waits as every consumer does, so what a killed producer has put is seen.

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::queue::RawQueue;
use crate::sys::process::without_signals;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};

/// Watches a queue for one reference of one process.
#[derive(Debug)]
pub struct Readiness {
    watched: Arc<Watched>,
    watcher: Thread,
}

#[derive(Debug)]
struct Watched {
    queue: RawQueue,
    descriptor: OwnedFd,
    /// The process that the thread is in: a forked child has a copy of this and no thread.
    process: u64,
    /// Whether the descriptor was written and not read since.
    ready: Mutex<bool>,
    over: AtomicBool,
}

impl Readiness {
    /// Makes a descriptor for a queue, and starts the thread that writes it. An error of kind
    /// [`System`](crate::Kind::System) if the process can have no more of either.
    pub fn new(queue: RawQueue) -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let descriptor = eventfd(0, flags).map_err(|e| Error::system("making an eventfd", e))?;
        let watched = Arc::new(Watched {
            process: queue.arena().token(),
            queue,
            descriptor,
            ready: Mutex::new(false),
            over: AtomicBool::new(false),
        });
        let theirs = watched.clone();
        // Signals are the program's own threads' business.
        let thread = without_signals(|| {
            thread::Builder::new()
                .name("readiness".into())
                .spawn(move || theirs.watch())
        });
        let thread = thread.map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            let errno = errno.unwrap_or(rustix::io::Errno::AGAIN);
            Error::system("starting a thread", errno)
        })?;
        let watcher = thread.thread().clone();
        Ok(Self { watched, watcher })
    }

    /// Whether it was made in this process, and not in one that this was forked from. Where it was not, nothing of it is to be used.
    pub fn is_of_this_process(&self) -> bool {
        Arena::existing().is_some_and(|arena| arena.token() == self.watched.process)
    }

    /// The descriptor. To be polled, not to be read.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.watched.descriptor.as_fd()
    }

    /// To be called when something was taken, or was looked for in vain: makes the descriptor unreadable if the queue is empty.
    pub fn look(&self) {
        let mut ready = self.watched.ready();
        if *ready && self.watched.queue.is_empty() {
            let _ = rustix::io::read(&self.watched.descriptor, &mut [0; 8]);
            *ready = false;
            self.watcher.unpark();
        }
    }
}

impl Watched {
    fn ready(&self) -> std::sync::MutexGuard<'_, bool> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn watch(&self) {
        while !self.is_over() {
            match self.queue.await_item(None, || self.is_over()) {
                Ok(true) => {
                    let mut ready = self.ready();
                    let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
                    *ready = true;
                }
                // A signal that can't be blocked, or the end.
                _ => continue,
            }
            while *self.ready() && !self.is_over() {
                thread::park();
            }
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            self.watched.over.store(true, Ordering::Release);
            self.watcher.unpark();
            let queue = &self.watched.queue;
            queue.shm().wake_consumers(queue.arena());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;
    use crate::queue::RawQueue;
    use crate::time;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::time::Duration;

    fn is_readable(readiness: &Readiness, within: Duration) -> bool {
        let descriptor = readiness.descriptor();
        let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        let within = time::timespec(within.as_nanos() as u64);
        poll(&mut polled, Some(&within)).expect("no signal comes") == 1
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(30);

    #[test]
    fn readable_while_there_are_items() {
        let queue = RawQueue::new(0).expect("room");
        let readiness = Readiness::new(queue.clone()).expect("a thread");
        assert!(!is_readable(&readiness, SHORT));
        for _ in 0..100 {
            queue.put_inline(1, b"a", None).expect("room");
            queue.put_inline(1, b"b", None).expect("room");
            assert!(is_readable(&readiness, LONG));
            drop(queue.get(None, || false).expect("an item"));
            readiness.look();
            assert!(is_readable(&readiness, SHORT));
            drop(queue.get(None, || false).expect("an item"));
            readiness.look();
            assert!(!is_readable(&readiness, Duration::ZERO));
        }
    }

    #[test]
    fn its_thread_takes_no_wake_from_a_consumer() {
        let queue = RawQueue::new(0).expect("room");
        let readiness = Readiness::new(queue.clone()).expect("a thread");
        for _ in 0..200 {
            std::thread::scope(|scope| {
                let consumer = scope.spawn(|| drop(queue.get(None, || false).expect("an item")));
                queue.put_inline(1, b"a", None).expect("room");
                consumer.join().expect("it gets its item");
            });
            readiness.look();
        }
    }
}
