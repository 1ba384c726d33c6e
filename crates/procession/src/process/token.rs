//! Functions as bytes: the address of a function relative to a static of the same binary.
//!
//! *Idea*: a function item or a closure without captures has no size, so its type is all there is to it; the code that calls it
//! is an ordinary function, at the same distance from `ANCHOR` in every process that runs the same binary. A child
//! is the same binary: it is started from the open file of this one.

use crate::error::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the arguments, says so, calls the function, and writes its result.
pub(crate) type Run = fn(&[u8], &dyn Fn()) -> Result<Vec<u8>>;

// A static, not a function: it alone has one address, however the crates that use it are compiled.
static ANCHOR: u8 = 0;

fn anchor() -> i64 {
    &raw const ANCHOR as usize as i64
}

fn run<F: Fn(A) -> R + Copy, A: DeserializeOwned, R: Serialize>(
    bytes: &[u8],
    arguments_read: &dyn Fn(),
) -> Result<Vec<u8>> {
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
    let result = function(arguments);
    postcard::to_stdvec(&result).map_err(|e| {
        Error::new(
            Kind::Serialization,
            format!("the result can't be turned into bytes: {e}"),
        )
    })
}

/// The token of a function.
pub(crate) fn token<F, A, R>(_: F) -> i64
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    const {
        assert!(
            size_of::<F>() == 0,
            "a process runs a function or a closure that captures nothing: hand what it needs over as its argument"
        );
    }
    let run: Run = run::<F, A, R>;
    run as usize as i64 - anchor()
}

/// The function that a token of this binary names.
pub(crate) fn function(token: i64) -> Run {
    let address = (anchor() + token) as usize;
    // SAFETY: tokens are made by `token` only, in a process that runs the same binary, from a `Run`.
    unsafe { std::mem::transmute::<usize, Run>(address) }
}
