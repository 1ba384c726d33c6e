//! Pools: jobs submitted, their elements claimed and settled, results waited for, and the end.

use crate::machine::Thread;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::{make_job, make_pool, number, result, run_one};
use procession_shm::job::{Job, Outcome, Waited};
use procession_shm::object::{self, Handle};
use procession_shm::pool::{NoElement, Pool, State};

/// The director's jobs, by how many elements each has; the results of the second one are messages.
const JOBS: [u64; 2] = [2, 1];

struct Pools {
    pool: Pool,
    /// Those of the director, if there are any.
    jobs: Vec<Handle>,
    sleepers: &'static [Op],
}

impl Pools {
    fn new(w: &Thread, jobs: usize, sleepers: &'static [Op]) -> Self {
        let (_, pool) = make_pool(w);
        let jobs = (0..)
            .zip(JOBS)
            .take(jobs)
            .map(|(call, count)| {
                let job = make_job(w, call, count);
                pool.submit(w, job).expect("it is open");
                job
            })
            .collect();
        Self {
            pool,
            jobs,
            sleepers,
        }
    }

    fn job(&self, w: &Thread, index: usize) -> Job {
        Job::of(w, self.jobs[index]).expect("the director has a lease on it")
    }

    fn submit(&self, w: &Thread) -> Out {
        // Who waits for it would be its submitter; nobody does.
        let begun = w.machine.scene.borrow().begun_by(w.slot());
        let job = make_job(w, 10 + (u64::from(w.slot()) * 8 + begun) * 2, 1);
        w.rest();
        let submitted = self.pool.submit(w, job);
        w.rest();
        object::unlease(w, job, w.process);
        Out("submitted", u64::from(submitted.is_ok()))
    }

    fn run(&self, w: &Thread, until: Option<u64>) -> Out {
        let (mut current, mut ran) = (None, 0);
        match run_one(w, self.pool, &mut current, until, |value| {
            ran = value;
            w.rest();
        }) {
            Ok(()) => Out("ran", ran),
            Err(NoElement::Interrupted) => ASLEEP,
            Err(NoElement::Over) => Out("over", 0),
            Err(_) => Out("nothing", 0),
        }
    }

    /// Begins an element, and never settles it.
    fn hold(&self, w: &Thread, local: &mut Local) -> Out {
        let mut current = None;
        match self.pool.next(w, &mut current, Some(1)) {
            Ok(_) => {
                std::mem::forget(current);
                *local = Local::Busy;
                Out("holds", 0)
            }
            Err(NoElement::Over) => Out("over", 0),
            Err(_) => Out("nothing", 0),
        }
    }

    fn wait(&self, w: &Thread, until: Option<u64>) -> Out {
        let job = self.job(w, 0);
        loop {
            let Some(last) = job.last_unsettled(w, JOBS[0]) else {
                return Out("settled", 0);
            };
            match job.wait(w, last, until, || self.pool.state(w) >= State::Ended) {
                Ok(Waited::Settled) => {}
                Ok(Waited::Over) => return Out("over", 0),
                Ok(Waited::TimedOut) => return Out("late", 0),
                Err(_) => return ASLEEP,
            }
        }
    }

    fn fail(&self, w: &Thread) -> Out {
        let message = number(w, 5).expect("room");
        self.pool.set_error(w, message);
        Out("done", 0)
    }
}

impl Stage for Pools {
    fn operations(&self) -> Vec<Op> {
        let mut operations = vec![
            "submit",
            "run",
            "run late",
            "hold",
            "close",
            "terminate",
            "note",
            "fail",
        ];
        if !self.jobs.is_empty() {
            operations.extend(["wait", "wait late", "wait at the gate"]);
        }
        operations
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, op: Op) -> Option<Op> {
        Some(if op == "run" { "submit" } else { "run late" })
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "submit" => self.submit(w),
            "run" => self.run(w, None),
            "run late" => self.run(w, Some(1)),
            "hold" => self.hold(w, local),
            "close" => Out("closed", u64::from(self.pool.advance(w, State::Closed))),
            "terminate" => Out(
                "terminated",
                u64::from(self.pool.advance(w, State::Terminated)),
            ),
            "note" => {
                self.pool.add_ready(w);
                let keeper = self.pool.keeper(w);
                self.pool.change_keeper(w, keeper, w.me.to_bits());
                self.pool.wake_settled(w);
                Out("done", 0)
            }
            "fail" => self.fail(w),
            "wait" => self.wait(w, None),
            "wait late" => self.wait(w, Some(1)),
            "wait at the gate" => {
                let job = self.job(w, 0);
                let ended = || self.pool.state(w) >= State::Ended;
                let look = || job.is_settled(w, 0) || ended();
                match self.pool.wait_settled(w, None, look) {
                    Ok(_) => Out("looked", 0),
                    Err(_) => ASLEEP,
                }
            }
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        let ran = story.events.iter().filter(|event| event.out.0 == "ran");
        let mut ran: Vec<u64> = ran.map(|event| event.out.1).collect();
        let over = self.pool.state(w) >= State::Ended;
        let mut current = None;
        while run_one(w, self.pool, &mut current, Some(0), |value| ran.push(value)).is_ok() {}
        drop(current);
        for (index, value) in ran.iter().enumerate() {
            assert!(!ran[..index].contains(value), "{value:#x} ran twice");
        }
        let mut lost = 0;
        for (index, count) in (0..self.jobs.len()).zip(JOBS) {
            let job = self.job(w, index);
            for element in 0..count {
                let value = (index as u64) << 32 | element;
                match job.outcome(w, element) {
                    Outcome::Free => assert!(over, "nobody runs {value:#x}"),
                    Outcome::Begun { slot } => panic!("slot {slot} runs {value:#x} for ever"),
                    Outcome::Lost { pid, .. } => {
                        assert!(!ran.contains(&value), "{value:#x} is done, and lost");
                        let slot = pid - 1000;
                        assert!(story.dead.contains(&slot), "lost by one who lives");
                        lost += 1;
                    }
                    _ => assert_eq!(result(w, job, element), Some(value)),
                }
            }
        }
        let died = story.unknown("run") + story.unknown("run late") + story.unknown("hold");
        let held = story.count("hold", Out("holds", 0));
        assert!(lost <= died + held, "{lost} lost, {died} died amid one");
        if !over {
            assert!(self.pool.is_idle(w), "a ticket is left");
        }
        let error = self.pool.error(w).map(|error| error.summary().kind);
        let failed = story.done("fail").count() > 0;
        assert!(
            error == Some(3) || error.is_none() && !failed,
            "the error is lost"
        );
    }
}

pub fn cases() -> Vec<Case> {
    let play = |name, jobs, sleepers| Case::new(name, move |w| Pools::new(w, jobs, sleepers));
    vec![
        play("idle pool", 0, &[]),
        play("pool", 2, &[]),
        play("pool with idle workers", 0, &["run", "run"]).spinning(1),
        play("pool with readers", 1, &["wait", "wait at the gate"]),
    ]
}
