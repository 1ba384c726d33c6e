//! What the rounds of a run are like, and what came of them, as text between the processes.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Duration;

use crate::prizes::ALL;
use crate::support::Outcome;

/// Tells a program that the tests start what to do.
pub const PLAN: &str = "WAKE_PLAN";
/// The runtime's own variable: how long a sleep lasts before it looks again.
pub const SLICE: &str = "PROCESSION_SLICE_MS";

/// The slice that ships, and one that never ends.
pub const SHIPPED: u64 = 20;
pub const NEVER: u64 = 60_000;
/// What the other may take beside the slice.
pub const BESIDE: u64 = 50;

#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The place in [`ALL`].
    pub prize: usize,
    /// Whether the victims are killed; else they are stopped.
    pub kills: bool,
    pub rounds: u64,
    /// The error of futex_waitv, if it is refused.
    pub refusal: Option<i32>,
    pub slice: u64,
    pub deaf_bystander: bool,
    /// Whether it ends with the first round in which the other was late.
    pub until_late: bool,
    /// Whether all share one core.
    pub one_core: bool,
    pub seed: u64,
}

impl Plan {
    /// Nobody has waited in vain for longer.
    pub fn limit(&self) -> Duration {
        // A slice that never ends gives nobody more time.
        Duration::from_millis(self.slice.min(SHIPPED) + BESIDE)
    }

    pub fn refused(&self) -> Option<Errno> {
        self.refusal.map(Errno::from_raw_os_error)
    }

    /// Runs the plan in a program of its own.
    pub fn run(&self) -> Outcome<Report> {
        let output = Command::new(std::env::current_exe()?)
            .env(PLAN, serde_json::to_string(self)?)
            .env(SLICE, self.slice.to_string())
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let (name, seed) = (ALL[self.prize].0, self.seed);
        if !output.status.success() {
            return Err(format!("{name}, WAKE_SEED={seed}: {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// What came of the rounds of a plan.
#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    /// How long the other waited for what was there for it.
    pub waits: Vec<Duration>,
    /// Rounds in which it slept for too long.
    pub late: u64,
    /// Rounds in which it slept no longer, but those who ran had no core for so long.
    pub queued: u64,
    /// Rounds in which a slice's end found work.
    pub rescued: u64,
    /// Rounds in which the victim had taken what came first.
    pub taken: u64,
}

impl Report {
    /// More rounds.
    pub fn add(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.late += other.late;
        self.queued += other.queued;
        self.rescued += other.rescued;
        self.taken += other.taken;
    }

    pub fn print(&self, what: &str) {
        let rounds = self.waits.len();
        let [half, most, worst] = [50, 99, 100].map(|share| percentile(&self.waits, share));
        let Self {
            late,
            queued,
            rescued,
            taken,
            ..
        } = self;
        println!(
            "{what}: {rounds} rounds, the other waited {half:.1?} (p50), {most:.1?} (p99), {worst:.1?} (worst); \
             rescued by a slice {rescued}, taken by the victim {taken}, \
             without a core {queued}, late {late}"
        );
    }
}

/// The time that this share of a hundred does not exceed.
pub fn percentile(times: &[Duration], share: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * share).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}
