//! One case: an operation, stepped; its victim dies, or stops, at each instruction of it in turn.

use crate::page::{INSTRUCTIONS, get, page, set};
use crate::stage::{Census, End, Stage, census, settle};
use crate::step::Shot;
use crate::table::{Report, Row};
use crate::victim::Child;
use crate::witness::Witness;
use procession::shm::section::Section;
use procession::time;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;

/// Makes the stage of a case, with a witness to have on it.
pub type Make = Box<dyn Fn(&'static Witness) -> Box<dyn Stage>>;

/// Up to so many instructions are each a point.
const EACH: u64 = 500;
/// After a stop others go on within this many nanoseconds, as a rule: the machine may be busy.
const SOON: u64 = 100_000_000;
/// Seconds after which a point hangs.
const HANGS: u32 = 20;

/// Which points are shot at: every so-manieth of each section, and at least one.
#[derive(Clone, Copy)]
pub struct Share {
    pub every: u64,
    pub offset: u64,
}

struct Run<'a> {
    make: &'a Make,
    witness: &'static Witness,
    before: Census,
    report: Report,
}

/// Plays a case with this signal. A violation ends it.
pub fn run(name: &str, make: &Make, signal: c_int, share: Share) -> Report {
    let witness: &Witness = Box::leak(Box::new(Witness::start()));
    let mut run = Run {
        make,
        witness,
        before: census(),
        report: Report::default(),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run.play(signal, share)));
    if outcome.is_err() {
        let section = get(&page().section).checked_sub(1);
        let section = section.map(|index| Section::ALL[index as usize]);
        let at = get(&page().steps);
        eprintln!("{name}: violated at instruction {at}, {section:?}");
        run.report
            .row(section.unwrap_or(Section::ALL[0]))
            .violations += 1;
    }
    run.report
}

/// The share of these points, which the pass before has looked at.
fn chosen(points: &[u64], share: Share) -> Vec<u64> {
    let mut chosen = Vec::new();
    let section_of = |at: u64| page().within[at as usize].load(SeqCst);
    for &section in Section::ALL {
        let within = |&&at: &&u64| section_of(at) == section as u8;
        let within: Vec<u64> = points.iter().filter(within).copied().collect();
        let every = share.every.min(within.len() as u64).max(1);
        let first = (share.offset % every) as usize;
        chosen.extend(within.iter().skip(first).step_by(every as usize));
    }
    chosen
}

impl Run<'_> {
    fn play(&mut self, signal: c_int, share: Share) {
        // Memory that is touched for the first time is another case than memory that is used again.
        self.once(Shot::None);
        self.once(Shot::None);
        if (self.make)(self.witness).is_long() {
            return self.play_stores(signal, share);
        }
        self.once(Shot::Look);
        let total = get(&page().steps);
        assert!(total > 0, "the operation has a section");
        assert!((total as usize) < INSTRUCTIONS, "all are looked at");
        let points = self.points(total);
        if signal == libc::SIGKILL {
            self.note_pass();
        }
        for at in chosen(&points, share) {
            self.once(Shot::At { at, signal });
        }
        if (self.make)(self.witness).sleeps() {
            self.once(Shot::Asleep { signal });
        }
        let (slow, stopped) = (self.report.slow, self.report.stopped());
        assert!(
            slow * 20 <= stopped,
            "after {slow} of {stopped} stops nobody went on soon"
        );
    }

    /// Before each store, and right after it.
    fn play_stores(&mut self, signal: c_int, share: Share) {
        self.once(Shot::Count);
        let stores: Vec<u64> = (1..=get(&page().steps)).collect();
        assert!(!stores.is_empty(), "the operation has a section");
        for at in chosen(&stores, share) {
            for after in [false, true] {
                self.once(Shot::AtStore { at, after, signal });
            }
        }
    }

    /// Each instruction; of a longer operation those at which the arena changes, and one to either side, and the first
    /// in each section.
    fn points(&self, total: u64) -> Vec<u64> {
        if total <= EACH {
            return (1..=total).collect();
        }
        let page = page();
        let changed = &page.changes[..get(&page.changed) as usize];
        assert!(changed.len() < page.changes.len(), "all changes are noted");
        let near = |at: u64| at.saturating_sub(1).max(1)..=at + 1;
        let mut points: Vec<u64> = changed.iter().flat_map(|at| near(get(at))).collect();
        let within = |at: u64| page.within[at as usize].load(SeqCst);
        points.extend((1..=total).filter(|&at| at == 1 || within(at) != within(at - 1)));
        points.sort_unstable();
        points.dedup();
        points.retain(|&at| at <= total);
        points
    }

    fn note_pass(&mut self) {
        for &section in Section::ALL {
            let row = self.report.row(section);
            row.instructions += get(&page().instructions[section as usize]);
            row.states += get(&page().states[section as usize]);
        }
    }

    fn once(&mut self, shot: Shot) {
        // SAFETY: has a signal sent that ends this process if the point hangs.
        unsafe { libc::alarm(HANGS) };
        let mut stage = (self.make)(self.witness);
        let child = Child::play(&mut *stage, shot);
        let end = child.perform(&mut *stage, shot);
        set(&page().early, 0);
        let went_on = stage.go_on(end);
        let took = time::now() - get(&page().sent);
        stage.check(end);
        if end == End::Stopped {
            child.resume(&mut *stage);
            stage.resumed();
        }
        drop(stage);
        settle(self.before);
        self.note(shot, end, went_on.then_some(took));
    }

    fn note(&mut self, shot: Shot, end: End, took: Option<u64>) {
        if end == End::Survived {
            return;
        }
        let asleep = matches!(shot, Shot::Asleep { .. });
        let Some(section) = get(&page().section).checked_sub(1) else {
            assert!(asleep, "who was shot at an instruction was in a section");
            self.report.asleep += 1;
            return;
        };
        let row: &mut Row = self.report.row(Section::ALL[section as usize]);
        match (end, took) {
            (End::Killed, took) => {
                row.killed += 1;
                row.times.extend(took);
            }
            (_, took) => {
                row.stopped += 1;
                self.report.slow += u64::from(took.is_some_and(|took| took > SOON));
            }
        }
    }
}
