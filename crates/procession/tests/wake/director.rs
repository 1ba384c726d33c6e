//! Rounds of one prize: two processes sleep, one is let go, and is killed or stopped about the time of its wake. The
//! other must not sleep on while there is something for it.

use procession::Event;
use procession::shm::World;
use procession::shm::lock::Status;
use procession::sys::process as sys;
use rustix::process::Signal;
use std::time::Duration;

use crate::child::{Child, stolen};
use crate::deaf::Deaf;
use crate::plan::{Plan, Report};
use crate::player::{AT, ORDER, PATIENCE, Player};
use crate::prizes::{ALL, Prize, Victim};
use crate::support::shared::{Words, arena, is_asleep};
use crate::support::until;

/// The signal follows the wake, or the wake the signal, within so many nanoseconds.
const WINDOW: u64 = 200_000;
/// Who was given something is given no more for as long.
const GRACE: u64 = 5_000_000;

/// Who looks again and again, and finds that so many nanoseconds have passed, had no core.
const STALL: u64 = 5_000_000;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Director {
    plan: Plan,
    prize: Box<dyn Prize>,
    victim: Player,
    other: Player,
    /// Sleeps before the other does, so the kernel tells it of the victim's death, and it has to pass that on.
    bystander: Child,
    random: Random,
    report: Report,
}

/// Plays all rounds, in a program of its own, and says what came of them.
pub fn run(plan: Plan) -> Report {
    if let Some(error) = plan.refused() {
        crate::refuse::waitv(error);
    }
    if plan.one_core {
        let cores = sys::affinity(0).expect("we are there");
        sys::set_affinity(0, &[cores[plan.seed as usize % cores.len()]]).expect("one of ours");
    }
    let (_, make) = ALL[plan.prize];
    let mut prize = make();
    let never = Event::new().expect("room");
    let deaf = plan.deaf_bystander;
    let bystander = Child::start(|| {
        if deaf {
            let event = procession::shm::event::Event(never.object().body());
            let _ = event.wait(&Deaf(arena()), 0, None);
        }
        never.wait();
    });
    let mut player = || Player::start(&mut *prize, Words::new());
    let (victim, other) = (player(), player());
    let seed = plan.seed | 1;
    let mut director = Director {
        plan,
        prize,
        victim,
        other,
        bystander,
        random: Random(seed),
        report: Report::default(),
    };
    for round in 1..=director.plan.rounds {
        director.play(round);
        if director.plan.until_late && director.report.late > 0 {
            break;
        }
    }
    for child in [
        director.victim.child,
        director.other.child,
        director.bystander,
    ] {
        child.signal(Signal::KILL);
        child.reap();
    }
    director.report
}

impl Director {
    fn play(&mut self, round: u64) {
        self.prize.withhold();
        self.victim.begin(round);
        until("the bystander sleeps", PATIENCE, || {
            is_asleep(self.bystander.pid())
        });
        self.other.begin(round);
        let recovered = arena().recoveries();
        let rescued = arena().slices_that_found_work();
        let queued = self.queued();
        let kills = self.plan.kills;
        let signal = if kills { Signal::KILL } else { Signal::STOP };
        // Each order of magnitude as often: a process that is awake needs a few microseconds.
        let wakes_first = self.random.next() & 1 == 0;
        let delay = self.random.next() % (WINDOW >> (self.random.next() % 16));
        if wakes_first {
            self.prize.give();
        } else {
            self.victim.child.signal(signal);
        }
        let from = arena().now();
        while arena().now() < from + delay {
            std::hint::spin_loop();
        }
        if wakes_first {
            self.victim.child.signal(signal);
        } else {
            self.prize.give();
        }
        let due = arena().now();
        if kills {
            self.victim.child.until_dead();
        } else {
            self.victim.child.until_stopped();
        }
        self.until_had(round, due, recovered, queued);
        self.report.rescued += u64::from(arena().slices_that_found_work() > rescued);
        if kills {
            self.bury(round, recovered);
        } else {
            self.resume(round);
        }
    }

    /// Until the other has what is there for it. If the victim has taken it, there is more.
    fn until_had(&mut self, round: u64, mut due: u64, recovered: u64, queued: Duration) {
        let begun = due;
        let mut taken = false;
        let mut told = due;
        let mut resumed = false;
        let (mut looked, mut stalled) = (begun, 0);
        while !self.other.is_done(round) {
            let victim = Victim {
                owner: self.victim.owner(),
                is_stopped: !self.plan.kills,
                is_recovered: arena().recoveries() > recovered,
            };
            let there = self.prize.is_there(&victim);
            let now = arena().now();
            if now - looked > STALL {
                stalled += now - looked;
            }
            looked = now;
            assert!(
                now - begun < PATIENCE.as_nanos() as u64,
                "round {round}: the other has nothing, or sleeps on"
            );
            if !there && now > due + GRACE && !resumed {
                // Looked at after the prize: if it was the other who took it, it has said so by now.
                if self.other.is_done(round) {
                    break;
                }
                taken = true;
                due = now;
                told = now;
                if self.is_kept() {
                    resumed = true;
                    self.victim.child.signal(Signal::CONT);
                } else if !self.prize.give() {
                    continue;
                }
            } else if there && now - told > 2 * self.plan.limit().as_nanos() as u64 {
                // Too late beyond doubt: it is told in each way that wakes.
                told = now;
                arena().tell_death();
                self.prize.give();
            }
            std::thread::yield_now();
        }
        let had = self.other.words.get(AT);
        // It may have had it before we gave more.
        let due = if had < due { begun } else { due };
        let waited = Duration::from_nanos(had.saturating_sub(due));
        self.report.taken += u64::from(taken);
        self.report.waits.push(waited);
        if waited > self.plan.limit() {
            // Who is ready and has no core sleeps no more; that the core itself stood still, the clock tells.
            let excused = self.queued() - queued + Duration::from_nanos(stalled);
            let late = waited.saturating_sub(excused) > self.plan.limit();
            self.report.late += u64::from(late);
            self.report.queued += u64::from(!late);
        }
    }

    /// How long those had no core, though they were ready, on whom the other's wait depends.
    fn queued(&self) -> Duration {
        let children = [&self.victim.child, &self.other.child, &self.bystander];
        children.map(Child::queued).iter().sum::<Duration>() + stolen()
    }

    /// Whether the stopped one holds the lock that comes with the prize.
    fn is_kept(&self) -> bool {
        let held = Status::Held(self.victim.owner());
        self.prize
            .lock()
            .is_some_and(|lock| lock.status(arena()) == held)
    }

    /// After a death: what the dead one left is settled, and another one takes its part.
    fn bury(&mut self, round: u64, recovered: u64) {
        until("the dead one is recovered", PATIENCE, || {
            // Who would sleep looks who has died.
            arena().wait(self.victim.words.at(ORDER), round as u32, Some(1));
            arena().recoveries() > recovered
        });
        let words = self.victim.words;
        let next = Player::start(&mut *self.prize, words);
        std::mem::replace(&mut self.victim, next).child.reap();
    }

    /// After a stop: the victim goes on, and gets what it waits for.
    fn resume(&mut self, round: u64) {
        self.victim.child.signal(Signal::CONT);
        let mut given = arena().now();
        let victim = Victim {
            owner: self.victim.owner(),
            is_stopped: false,
            is_recovered: true,
        };
        until("the victim goes on", PATIENCE, || {
            let now = arena().now();
            if now > given + GRACE && !self.prize.is_there(&victim) {
                given = now;
                self.prize.give();
            }
            self.victim.is_done(round)
        });
        if let Some(lock) = self.prize.lock() {
            until("the lock is free", PATIENCE, || {
                lock.status(arena()) == Status::Free
            });
        }
    }
}
