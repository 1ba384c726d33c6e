//! What carries a handle to another process, and keeps its object alive on the way.
//!
//! While a value is turned into bytes, the carrier of the calling thread says where the bytes go:
//! into a message of the arena (it lists the object), to a child that is started (its record gets
//! the lease), or somewhere that we can't see (the object is kept until the program ends).

use crate::arena::Arena;
use crate::error::Result;
use procession_shm::World;
use procession_shm::object::{self, Handle};
use std::cell::RefCell;

enum Carrier {
    Message(Vec<Handle>),
    Child(u32, Vec<Handle>),
}

thread_local! {
    static CARRIERS: RefCell<Vec<Carrier>> = const { RefCell::new(Vec::new()) };
}

/// Notes that the object is named by what is being written.
pub(crate) fn carry(arena: &Arena, handle: Handle) -> Result<()> {
    CARRIERS.with_borrow_mut(|carriers| match carriers.last_mut() {
        Some(Carrier::Message(handles)) => {
            if !handles.contains(&handle) {
                handles.push(handle);
            }
            Ok(())
        }
        Some(Carrier::Child(record, handles)) => {
            object::lease(arena, handle, *record)?;
            handles.push(handle);
            Ok(())
        }
        None => {
            object::pin(arena, handle);
            Ok(())
        }
    })
}

/// Whether what the calling thread writes goes to a place that we can see: a message, or a child.
pub fn is_known() -> bool {
    CARRIERS.with_borrow(|carriers| !carriers.is_empty())
}

struct Pop;

impl Drop for Pop {
    fn drop(&mut self) {
        CARRIERS.with_borrow_mut(Vec::pop);
    }
}

/// Writes something that goes into a message; says which objects it names.
pub fn into_message<T>(write: impl FnOnce() -> T) -> (T, Vec<Handle>) {
    carried(Carrier::Message(Vec::new()), write)
}

/// Writes something that goes to the child that will have this record; says which objects it
/// names. The record has a lease on each, which the child gives back once it has read all:
/// [`arrived`].
pub fn to_child<T>(record: u32, write: impl FnOnce() -> T) -> (T, Vec<Handle>) {
    carried(Carrier::Child(record, Vec::new()), write)
}

/// The child has read what [`to_child`] wrote, and has leases of its own.
pub fn arrived(handles: &[Handle]) {
    if let Some(arena) = Arena::existing() {
        for &handle in handles {
            object::unlease(arena, handle, arena.my_process());
        }
    }
}

fn carried<T>(carrier: Carrier, write: impl FnOnce() -> T) -> (T, Vec<Handle>) {
    CARRIERS.with_borrow_mut(|carriers| carriers.push(carrier));
    let pop = Pop;
    let written = write();
    let handles = CARRIERS.with_borrow_mut(|carriers| match carriers.last_mut() {
        Some(Carrier::Message(handles) | Carrier::Child(_, handles)) => std::mem::take(handles),
        None => Vec::new(),
    });
    drop(pop);
    (written, handles)
}
