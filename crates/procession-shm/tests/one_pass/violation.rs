//! What a panic said: a violation is one, on a copy that is thrown away.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes what panics say from now on, instead of printing it.
pub fn note_all() {
    panic::set_hook(Box::new(|said| {
        let payload = said.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let what = text.or(payload.downcast_ref::<&str>().copied());
        let at = said.location().map(ToString::to_string);
        LAST.set(format!(
            "{} ({})",
            what.unwrap_or("a panic"),
            at.unwrap_or_default()
        ));
    }));
}

/// What the last panic of this thread said.
pub fn last() -> String {
    LAST.take()
}
