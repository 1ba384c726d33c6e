//! Stands in for the crate's `Process`, `Queue`, `Lock` and `Event`: the same words, on threads.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

#[derive(Clone)]
pub struct Queue<T>(Arc<(Mutex<VecDeque<T>>, Condvar)>);

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn put(&self, item: T) {
        self.0.0.lock().unwrap().push_back(item);
        self.0.1.notify_one();
    }

    pub fn get(&self, timeout: Duration) -> Option<T> {
        let items = self.0.0.lock().unwrap();
        let mut items = self
            .0
            .1
            .wait_timeout_while(items, timeout, |it| it.is_empty())
            .unwrap()
            .0;
        items.pop_front()
    }
}

#[derive(Clone)]
pub struct Event(Arc<Mutex<bool>>);

impl Event {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn set(&self) {
        *self.0.lock().unwrap() = true;
    }

    pub fn is_set(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

#[derive(Clone)]
pub struct Lock(Arc<Mutex<()>>);

impl Lock {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn acquire(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap()
    }
}

pub struct Process {
    name: String,
    code: Mutex<Option<i32>>,
    end: Mutex<Receiver<()>>,
}

impl Process {
    pub fn start<A: Send + 'static>(name: &str, target: fn(A), args: A) -> io::Result<Self> {
        let (alive, end) = mpsc::channel::<()>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                target(args);
                alive.send(()).ok();
            })?;
        Ok(Self {
            name: name.to_owned(),
            code: Mutex::new(None),
            end: Mutex::new(end),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    pub fn join(&self, timeout: Duration) -> Option<i32> {
        let mut code = self.code.lock().unwrap();
        if code.is_none() {
            *code = match self.end.lock().unwrap().recv_timeout(timeout) {
                Ok(()) => Some(0),
                Err(RecvTimeoutError::Disconnected) => Some(101),
                Err(RecvTimeoutError::Timeout) => None,
            };
        }
        *code
    }

    pub fn is_alive(&self) -> bool {
        self.exitcode().is_none()
    }

    pub fn exitcode(&self) -> Option<i32> {
        self.join(Duration::ZERO)
    }

    pub fn kill(&self) {}
}

pub struct Current(thread::Thread);

impl Current {
    pub fn name(&self) -> &str {
        self.0.name().unwrap_or("main")
    }
}

pub fn current_process() -> Current {
    Current(thread::current())
}

pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
