//! Tests that start processes. A started process runs this same binary from its `main`, and `init()`
//! is where it finds its function; the `main` that `#[test]` makes knows nothing of that, so this
//! file has one of its own (`harness = false` in Cargo.toml) and lists its tests.

use libtest_mimic::{Arguments, Failed, Trial};
use own_tests::count_words;
use procession::{Event, Kind, Process};

fn main() {
    procession::init();
    let tests = vec![
        Trial::test("words_are_counted", words_are_counted),
        Trial::test("a_killed_child_is_an_error", a_killed_child_is_an_error),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

fn words_are_counted() -> Result<(), Failed> {
    assert_eq!(count_words(&["to be or not", "", "to be"])?, [4, 0, 2]);
    Ok(())
}

fn a_killed_child_is_an_error() -> Result<(), Failed> {
    let child = Process::spawn(|never: Event| never.wait(), Event::new()?)?;
    child.kill()?;
    let error = child.join().expect_err("it had no result");
    assert_eq!(error.kind(), Kind::ProcessDied);
    Ok(())
}
