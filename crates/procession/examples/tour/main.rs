//! The tour: near-duplicate files, found by processes that share nothing but queues.
//!
//! `cargo run --release --example tour -- DIRECTORY` does the same work three times, first
//! in one process, then in several, then by a pool, and says what each noun is for as it comes to it. It is the twin of
//! `python -m procession tour` and finds the same pairs.

mod crc32;
mod failure;
mod files;
mod guide;
mod parallel;
mod pooled;
mod progress;
mod report;
mod similarity;
mod work;

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;

use crate::guide::Guide;
use crate::progress::{View, print};

/// Finds near-duplicate files, with one process, with several, and with a pool.
#[derive(Parser)]
#[command(name = "tour")]
struct Options {
    /// Where to look.
    directory: String,
    /// How many processes (one for each core, if not given).
    #[arg(long, value_name = "N")]
    workers: Option<NonZero<usize>>,
    /// Keep the list of near duplicates here.
    #[arg(long, value_name = "FILE")]
    report: Option<String>,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    procession::init();
    let options = Options::parse();
    let guide = Guide {
        directory: options.directory,
        workers: options.workers.map_or_else(parallel::cores, NonZero::get),
        report: options.report,
        view: if options.json {
            View::Nothing
        } else {
            View::for_terminal()
        },
    };
    let tour = match guide.lead() {
        Ok(tour) => tour,
        Err(failure) => {
            eprintln!("tour: {failure}");
            return ExitCode::from(failure.code());
        }
    };
    if options.json {
        print(serde_json::json!(tour));
    } else {
        let outcome = if tour.equal { "equal" } else { "differ" };
        print(format_args!(
            "\nspeed-up {:.2}\nresults {outcome}",
            tour.speedup
        ));
    }
    if tour.equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
