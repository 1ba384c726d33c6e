//! Functions as bytes: the address of a function relative to a static of the same binary.
//!
//! *Idea*: a function item or a closure without captures has no size, so its type is all there is to it; the code that calls it
//! is an ordinary function, at the same distance from `ANCHOR` in every process that runs the same binary. A child
//! is the same binary: it is started from the open file of this one.

use crate::carrier;
use crate::error::{Error, Kind, Result};
use procession_shm::object::Handle;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// Reads the arguments, says so, calls the function, and writes its result.
pub(crate) type Run = fn(&[u8], &dyn Fn()) -> Result<Vec<u8>>;

// A static, not a function: it alone has one address, however the crates that use it are compiled.
static ANCHOR: u8 = 0;

fn anchor() -> i64 {
    &raw const ANCHOR as usize as i64
}

/// Takes the bytes of a result, and the objects that it names.
pub(crate) type Settle<'a> = dyn FnMut(&[u8], &[Handle]) -> Result<()> + 'a;

/// Runs one element of a pool's job: reads its argument, calls the function, and hands its result over.
pub(crate) type RunElement = fn(&[u8], &mut Settle<'_>) -> Result<()>;

/// Reads the arguments of a pool's initializer, and calls it.
pub(crate) type RunInitializer = fn(&[u8]) -> Result<()>;

/// What an initializer of a pool's workers may return: nothing, or a `Result` whose error says why it failed.
pub trait Initialized {
    /// The error in words, if it failed.
    fn failure(self) -> Option<String>;
}

impl Initialized for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Initialized for std::result::Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

fn call<F: Fn(A) -> R + Copy, A: DeserializeOwned, R>(
    bytes: &[u8],
    arguments_read: &dyn Fn(),
) -> Result<R> {
    let arguments = postcard::from_bytes(bytes);
    arguments_read();
    let arguments = arguments.map_err(|e| {
        Error::new(
            Kind::Serialization,
            format!(
                "the arguments are not a {}: {e}",
                std::any::type_name::<A>()
            ),
        )
    })?;
    const { assert!(size_of::<F>() == 0) };
    #[expect(clippy::uninit_assumed_init, reason = "F has no size")]
    // SAFETY: F has no size, so there are no bytes to make up; the caller of `token` had a value of it, so it has values.
    let function = unsafe { std::mem::MaybeUninit::<F>::uninit().assume_init() };
    Ok(function(arguments))
}

fn written<R: Serialize>(result: &R) -> Result<Vec<u8>> {
    postcard::to_stdvec(result).map_err(|e| {
        Error::new(
            Kind::Serialization,
            format!("the result can't be turned into bytes: {e}"),
        )
    })
}

fn run<F: Fn(A) -> R + Copy, A: DeserializeOwned, R: Serialize>(
    bytes: &[u8],
    arguments_read: &dyn Fn(),
) -> Result<Vec<u8>> {
    written(&call::<F, A, R>(bytes, arguments_read)?)
}

fn run_element<F: Fn(A) -> R + Copy, A: DeserializeOwned, R: Serialize>(
    bytes: &[u8],
    settle: &mut Settle<'_>,
) -> Result<()> {
    let result = call::<F, A, R>(bytes, &|| ())?;
    let (bytes, handles) = carrier::into_message(|| written(&result));
    // The result lives until what it names has another who keeps it.
    settle(&bytes?, &handles)
}

fn run_initializer<F: Fn(A) -> R + Copy, A: DeserializeOwned, R: Initialized>(
    bytes: &[u8],
) -> Result<()> {
    match call::<F, A, R>(bytes, &|| ())?.failure() {
        Some(failure) => Err(Error::new(Kind::PoolBroken, failure)),
        None => Ok(()),
    }
}

/// The token of a function that a process runs.
pub(crate) fn token<F, A, R>(_: F) -> i64
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    const { assert_captures_nothing::<F>() };
    let run: Run = run::<F, A, R>;
    run as usize as i64 - anchor()
}

/// The token of a function that a pool's workers run for each element.
pub(crate) fn element_token<F, A, R>(_: F) -> i64
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    const { assert_captures_nothing::<F>() };
    let run: RunElement = run_element::<F, A, R>;
    run as usize as i64 - anchor()
}

/// The token of a function that prepares a pool's workers.
pub(crate) fn initializer_token<F, A, R>(_: F) -> i64
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Initialized,
{
    const { assert_captures_nothing::<F>() };
    let run: RunInitializer = run_initializer::<F, A, R>;
    run as usize as i64 - anchor()
}

const fn assert_captures_nothing<F>() {
    assert!(
        size_of::<F>() == 0,
        "another process runs a function or a closure that captures nothing: hand what it needs over as its argument"
    );
}

/// The function that a token of [`token`] names.
pub(crate) fn function(token: i64) -> Run {
    let address = (anchor() + token) as usize;
    // SAFETY: made by `token` only, in a process that runs the same binary, from a `Run`.
    unsafe { std::mem::transmute::<usize, Run>(address) }
}

/// The function that a token of [`element_token`] names.
pub(crate) fn element_function(token: i64) -> RunElement {
    let address = (anchor() + token) as usize;
    // SAFETY: made by `element_token` only, in a process that runs the same binary, from a `RunElement`.
    unsafe { std::mem::transmute::<usize, RunElement>(address) }
}

/// The function that a token of [`initializer_token`] names.
pub(crate) fn initializer(token: i64) -> RunInitializer {
    let address = (anchor() + token) as usize;
    // SAFETY: made by `initializer_token` only, in a process that runs the same binary, from a `RunInitializer`.
    unsafe { std::mem::transmute::<usize, RunInitializer>(address) }
}
