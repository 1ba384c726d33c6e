//! The processes of a pool: the keeper, which forks the workers from itself, and the workers.

use super::call::Reader;
use super::plan::Plan;
use super::{INLINE, Keeper, State, Worker};
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::process::{self, panics, token};
use crate::program;
use crate::queue::{Draft, POSTCARD};
use crate::sys::process as sys;
use procession_shm::object::Handle;
use std::io::Write;
use std::thread;
use std::time::Duration;

/// The kind of a result that is an error, and of an argument that could not be turned into bytes: see [`pack`].
pub(super) const FAILED: u8 = 254;

/// The kind of the calls of this module's jobs.
pub(super) const CALL: u8 = 254;

/// After so many forks in a row that the system refused the pool is broken.
const FORKS_TRIED: u32 = 20;
const FORK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// An error as bytes: its kind, and its sentence.
pub(super) fn pack(kind: Kind, text: &str) -> Vec<u8> {
    let code = match kind {
        Kind::Panicked => 0,
        Kind::Serialization => 1,
        Kind::OutOfMemory => 2,
        _ => 3,
    };
    [&[code], text.as_bytes()].concat()
}

/// The error that [`pack`] turned into bytes.
pub(super) fn unpack(bytes: &[u8]) -> Error {
    let (code, text) = bytes.split_first().unwrap_or((&3, &[]));
    let kind = match code {
        0 => Kind::Panicked,
        1 => Kind::Serialization,
        2 => Kind::OutOfMemory,
        _ => Kind::System,
    };
    if text.is_empty() {
        return Error::new(kind, "the arena has no room for what the task came to");
    }
    Error::new(kind, String::from_utf8_lossy(text))
}

/// What the keeper does. Its process has one thread; it ends with the pool.
pub(super) fn keep(plan: Plan) {
    let kept =
        Keeper::new(plan.pool.clone(), plan.initializer.is_some()).and_then(
            |keeper| match keeper {
                Some(mut keeper) => start_workers(&mut keeper, &plan),
                None => Ok(()),
            },
        );
    if let Err(error) = kept {
        panic!("the workers of {} are kept no more: {error}", plan.name);
    }
}

fn start_workers(keeper: &mut Keeper, plan: &Plan) -> Result<()> {
    // Ctrl-C is for those who work.
    let mask = sys::hold_interrupts();
    let arena = plan.pool.arena();
    let mut number = plan.pool.shm().ready(arena);
    let mut refused = 0;
    while retry(|| keeper.wait())? {
        number += 1;
        let name = format!("{}-{number}", plan.name);
        // SAFETY: a keeper has no second thread: `init` ran it first thing in main.
        let forked = program::forking(|| unsafe { sys::fork() });
        let record = program::take_child_record();
        match forked {
            Ok(0) => {
                sys::restore(&mask);
                let name = name.clone();
                let code = panics::catch(|| work(plan, name)).unwrap_or(101);
                exit(code);
            }
            Ok(pid) => {
                if let Some(record) = record {
                    process::write_name(arena, record, &name);
                }
                keeper.started(pid, record)?;
                refused = 0;
            }
            Err(error) => {
                if let Some(record) = record {
                    program::unreserve(arena, record);
                }
                refused += 1;
                if refused == FORKS_TRIED {
                    let error = Error::system("forking a worker", error);
                    give_up(plan, error.kind(), &error.to_string());
                }
                thread::sleep(FORK_AGAIN_AFTER);
            }
        }
    }
    Ok(())
}

/// The pool has no workers, and will have none.
pub(super) fn give_up(plan: &Plan, kind: Kind, why: &str) {
    set_error(plan, kind, why);
    plan.pool.advance(State::Broken);
}

fn set_error(plan: &Plan, kind: Kind, why: &str) {
    let bytes = pack(kind, why);
    if let Ok(draft) = Draft::new(plan.pool.arena(), FAILED, bytes.len() as u64, &[], 0) {
        draft.write(&bytes);
        plan.pool.set_error(draft);
    }
}

fn exit(code: i32) -> ! {
    let _ = std::io::stdout().flush();
    program::end_process(code);
    sys::exit_now(code);
}

/// What a worker does; says its exit code.
fn work(plan: &Plan, name: String) -> i32 {
    process::set_worker_name(name);
    let mut worker = match Worker::new(plan.pool.clone()) {
        Ok(worker) => worker,
        // The pool ended while this worker was started.
        Err(error) if error.kind() == Kind::NotOpen => return 0,
        Err(error) => panic!("{error}"),
    };
    if let Some(initializer) = &plan.initializer {
        let failure = match panics::catch(|| initializer.call()) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((error.kind(), error.to_string())),
            Err(panic) => Some((Kind::Panicked, panic)),
        };
        if let Some((kind, why)) = failure {
            set_error(plan, kind, &format!("the initializer failed: {why}"));
            return 1;
        }
    }
    worker.ready();
    let mut done = 0;
    while plan.limit.is_none_or(|limit| done < limit) {
        match retry(|| worker.next(None)) {
            Ok(true) => run(&mut worker),
            Ok(false) => break,
            Err(error) => panic!("{error}"),
        }
        if !worker.is_mine() {
            // The task forked, and this is the child: the task is its parent's.
            exit(0);
        }
        done += 1;
    }
    0
}

/// Runs the element that the worker has claimed, and settles it.
fn run(worker: &mut Worker) {
    let (Some(call), Some((index, count))) = (worker.call(), worker.element()) else {
        return;
    };
    let call = Reader::new(worker.pool().arena(), &call, count);
    let argument = call.argument(index);
    let done = match (call.function().try_into(), argument.kind) {
        (_, FAILED) => Err(argument.bytes.to_vec()),
        (Ok(token), POSTCARD) if call.kind() == CALL => {
            let function = token::element_function(i64::from_le_bytes(token));
            let mut settle =
                |bytes: &[u8], handles: &[Handle]| settle(worker, POSTCARD, bytes, handles);
            match panics::catch(|| function(argument.bytes, &mut settle)) {
                Ok(done) => done.map_err(|e| pack(e.kind(), &e.to_string())),
                Err(panic) => Err(pack(Kind::Panicked, &panic)),
            }
        }
        _ => Err(pack(Kind::Serialization, "the job is not one of Rust's")),
    };
    if let Err(error) = done
        && settle(worker, FAILED, &error, &[]).is_err()
    {
        // There is always room for the kind alone.
        let _ = worker.settle(FAILED, &pack(Kind::OutOfMemory, ""));
    }
}

/// Settles the element of the worker; in a process that the task forked it does nothing: the task is its parent's.
fn settle(worker: &mut Worker, kind: u8, bytes: &[u8], handles: &[Handle]) -> Result<()> {
    if !worker.is_mine() {
        return Ok(());
    }
    if bytes.len() <= INLINE && handles.is_empty() {
        return worker.settle(kind, bytes);
    }
    let arena = worker.pool().arena();
    let draft = Draft::new(arena, kind, bytes.len() as u64, handles, 0)?;
    draft.write(bytes);
    worker.settle_message(draft);
    Ok(())
}
