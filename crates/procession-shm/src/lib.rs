#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, feature = "sections")), no_std)]

#[cfg(not(target_endian = "little"))]
compile_error!(
    "procession's futexes look at the low half of a 64-bit word: little-endian machines only"
);

pub mod barrier;
pub mod class;
pub mod condition;
pub mod event;
pub mod gate;
pub mod heap;
pub mod job;
pub mod layout;
pub mod lock;
pub mod memory;
pub mod message;
pub mod name;
pub mod object;
pub mod pool;
pub mod process;
pub mod queue;
pub mod recover;
pub mod section;
pub mod semaphore;
pub mod slot;
pub mod tag;
pub mod world;

pub use heap::OutOfMemory;
pub use world::{Fate, Interrupted, Off, Owner, Wake, World};
