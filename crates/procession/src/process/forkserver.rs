//! The template of a Rust program: this program, run again, which stays in `init` and forks what it is asked for.

use super::child::{self, perform, received};
use super::mail::Mail;
use super::surroundings::Descriptors;
use crate::arena::Arena;
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::program;
use crate::sys::process as sys;
use crate::template::{self, Answer, Started, Taken, Template};
use rustix::fd::{OwnedFd, RawFd};

/// The argument that marks the template, followed by seven numbers.
pub(super) const MARK: &str = "--procession-template";

/// Asks the template for the process of a record, and waits until it has started: its pid, and the process. `None` if
/// no template can serve here. On an error the record is given back.
pub(super) fn ask(
    arena: &Arena,
    record: u32,
    mail: &Mail,
    descriptors: &Descriptors,
) -> Result<Option<(u32, Started)>> {
    let mut all = vec![mail.descriptor()];
    all.extend(descriptors.list());
    let request = template::Request::new(arena, record, all);
    let mut request = request.inspect_err(|_| program::unreserve(arena, record))?;
    loop {
        let answered = retry(|| request.wait(arena)).and_then(|answer| match answer {
            Answer::Started(pid) => {
                Ok(Some(Some((pid, template::open_started(arena, record)?))))
            }
            Answer::Unfit { why, first } => {
                if first {
                    log::warn!(
                        "processes are started by running the program again, not from a template: {why}"
                    );
                }
                Ok(Some(None))
            }
            Answer::Start(record) => start_template(arena, record).map(|()| None),
        });
        match answered {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => {
                request.cancel(arena);
                return Err(error);
            }
        }
    }
}

/// Starts the template, under a record that was reserved for it.
fn start_template(arena: &Arena, record: u32) -> Result<()> {
    let start = || {
        let gone = || Error::new(Kind::Gone, "the template's sockets were closed");
        let inherited = child::inherited(arena, record)?;
        let (send, receive, standing) = inherited.ends.ok_or_else(gone)?;
        let numbers = [
            inherited.file,
            inherited.root,
            record as u64,
            program::generation(arena, record),
            send as u64,
            receive as u64,
            standing,
        ];
        let words = child::command_line(MARK, &numbers);
        template::start(arena, record, c"/proc/self/exe", &words, &inherited.all)
    };
    start()
        .map(drop)
        .inspect_err(|_| program::unreserve(arena, record))
}

/// Serves as the template until another has taken its place; in what is forked from it, does what that was asked for.
/// Says the exit code; `None` if the numbers are not what a starter gives.
pub(super) fn serve(numbers: &[u64]) -> Option<i32> {
    let &[arena, root, record, generation, send, receive, standing] = numbers else {
        return None;
    };
    let served = Arena::attach(
        received(arena),
        root as RawFd,
        record as u32,
        Some(generation),
    )
    .and_then(|arena| {
        template::adopt(send as RawFd, receive as RawFd, standing);
        let template = Template::open(arena)?;
        if sys::threads() != 1 {
            template.unfit(
                arena,
                "the program has more than one thread before main is entered",
            );
            return Ok(None);
        }
        sys::leave_streams_and_directory()
            .map_err(|e| Error::system("setting up the template", e))?;
        template.ready(arena);
        fork_spares(arena, template)
    });
    // Whoever needs a template where this one has failed starts another.
    Some(match served {
        Ok(Some(taken)) => finish(taken),
        Ok(None) => {
            program::end_process(0);
            0
        }
        Err(_) => 1,
    })
}

/// Forks a spare whenever one is wanted. In what was a spare, the request that it has taken.
fn fork_spares(arena: &Arena, template: Template) -> Result<Option<Taken>> {
    while template.wait(arena)? {
        // SAFETY: the process has one thread: it has counted them, and has started none since.
        let forked = program::forking(|| unsafe { sys::fork() });
        let record = program::take_child_record();
        match forked {
            Ok(0) => return template.take(arena).map(Some),
            Ok(pid) => template.forked(arena, pid, record),
            Err(error) => return Err(Error::system("forking a spare", error)),
        }
    }
    Ok(None)
}

/// What was a spare does what was asked for.
fn finish(taken: Taken) -> i32 {
    let mut descriptors = taken.descriptors;
    if descriptors.is_empty() {
        return 1;
    }
    let mail = Mail::from(descriptors.remove(0));
    let request = mail.receive().and_then(|mut request| {
        let rest: Vec<OwnedFd> = match request.surroundings.take() {
            Some(surroundings) => surroundings.apply(descriptors)?,
            None => descriptors,
        };
        drop(rest);
        Ok(request)
    });
    perform(&mail, request)
}
