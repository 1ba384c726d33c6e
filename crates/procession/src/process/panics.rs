//! Panics of functions that run for somebody else: caught, and told with message and place.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls a function; `Err` says how it panicked: message and place, and where from if `RUST_BACKTRACE` asks for it.
/// The panic is printed as usual too.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let mut text = info.to_string();
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                text += &format!("\nstack backtrace:\n{backtrace}");
            }
            let _ = PANIC.try_with(|panic| panic.replace(Some(text)));
            usual(info);
        }));
    });
    PANIC.take();
    panic::catch_unwind(AssertUnwindSafe(call))
        .map_err(|payload| PANIC.take().unwrap_or_else(|| message(payload)))
}

/// What is known of a panic that went past our hook.
fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(
        || "panicked".to_string(),
        |text| format!("panicked: {text}"),
    )
}
