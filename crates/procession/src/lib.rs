#![doc = include_str!("../README.md")]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "procession runs on Linux only: its arena, its futexes and its news of deaths are Linux's"
);

pub mod arena;
pub mod array;
pub mod barrier;
pub mod carrier;
pub mod condition;
pub mod connection;
pub mod cpu;
pub mod descriptor;
pub mod error;
pub mod event;
pub mod janitor;
pub mod joinable_queue;
pub mod life;
pub mod lock;
pub mod memory;
pub mod mutex;
pub mod object;
pub mod parcel;
pub mod pipe;
pub mod pool;
pub mod process;
pub mod program;
pub mod queue;
pub mod readiness;
pub mod semaphore;
pub mod shared;
pub mod shared_memory;
pub mod sys;
pub mod template;
pub mod time;
pub mod view;

pub use array::{Array, ArrayGuard};
pub use barrier::{Barrier, BarrierWaitResult};
pub use condition::Condition;
pub use cpu::cpu_count;
pub use error::{Error, Kind, Result};
pub use event::Event;
pub use joinable_queue::JoinableQueue;
pub use lock::{Lock, LockGuard, ReentrantLock};
pub use mutex::{Mutex, MutexGuard, PlainData};
pub use pipe::{Receiver, Sender, pipe};
pub use pool::{Pool, Task};
pub use process::{
    ExitStatus, Joined, Process, StartMethod, active_children, current_process, init,
    parent_process, set_start_method, start_method,
};
pub use queue::Queue;
pub use semaphore::{BoundedSemaphore, Semaphore};
pub use shared::{Lockless, Shared};
pub use shared_memory::SharedMemory;

pub use procession_shm as shm;
