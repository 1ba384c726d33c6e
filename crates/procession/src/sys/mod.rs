//! All that is particular to Linux: the memory of the arena, futexes, life words, processes.
//!
//! A port to another system is another set of these modules.

pub mod futex;
pub mod life_word;
pub mod memory;
pub mod message;
pub mod named_file;
pub mod process;
