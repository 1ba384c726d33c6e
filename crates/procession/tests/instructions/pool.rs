//! Pools: jobs submitted, elements taken, settled and waited for.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage, limit, notice_deaths, patience};
use crate::witness::{Order, Witness};
use procession::shm::World;
use procession::shm::job::{Job, Outcome};
use procession::shm::message::Message;
use procession::shm::object::{self, Handle};
use procession::shm::pool::{Pool, State};

/// Elements of the job.
const COUNT: u64 = 3;
/// Results of so many bytes stand in a message.
const LONG: u64 = 100;

#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Hands the job to the pool's workers.
    Submit,
    /// Takes an element and settles it, with this form of result; a witness waits for it.
    Work { long: bool },
    /// Takes the last element, and so the ticket away.
    WorkLast,
    /// Waits for an element.
    Wait,
    /// Ends the pool, and says why.
    End,
}

struct Play {
    does: Does,
    pool: Pool,
    job: Handle,
    witness: &'static Witness,
}

fn play(does: Does) -> Make {
    Box::new(move |witness| {
        let w = arena();
        let pool = Pool::of(w, Pool::create(w, 2).expect("room")).expect("it lives");
        let call = Message::new(w, 1, 8, 0).expect("room");
        let job = Job::create(w, COUNT, true, call).expect("room");
        if does != Does::Submit {
            pool.submit(w, job).expect("open");
        }
        let play = Play {
            does,
            pool,
            job,
            witness,
        };
        if does == Does::WorkLast {
            (0..COUNT - 1).for_each(|_| play.work(false));
        }
        Box::new(play)
    })
}

impl Play {
    fn job(&self) -> Job {
        Job::of(arena(), self.job).expect("it is leased")
    }

    /// Takes one element and settles it.
    fn work(&self, long: bool) {
        let (w, mut current) = (arena(), None);
        let index = self
            .pool
            .next(w, &mut current, limit())
            .expect("an element");
        let job = current.as_ref().expect("the job of the element").job();
        let bytes = (index + 100).to_le_bytes();
        if long {
            let message = Message::new(w, 7, LONG, 0).expect("room");
            w.write(message.bytes().0, &bytes);
            self.pool.settle_message(w, job, index, message);
        } else {
            self.pool.settle_inline(w, job, index, 7, &bytes);
        }
    }

    /// Takes and settles an element if there is one.
    fn work_if_any(&self) {
        let (w, mut current) = (arena(), None);
        if let Ok(index) = self.pool.next(w, &mut current, Some(0)) {
            let job = current.as_ref().expect("the job of the element").job();
            let bytes = (index + 100).to_le_bytes();
            self.pool.settle_inline(w, job, index, 7, &bytes);
        }
    }

    /// Whether an element is done, and with what is its own; false if it is lost.
    fn is_done(&self, index: u64) -> bool {
        let (w, job) = (arena(), self.job());
        let mut found = [0; 8];
        match job.outcome(w, index) {
            Outcome::Inline { kind, bytes, len } => {
                assert_eq!((kind, len), (7, 8));
                found.copy_from_slice(&bytes[..8]);
            }
            Outcome::Block(block) => w.read(job.result(w, block).bytes().0, &mut found),
            Outcome::Lost { .. } => return false,
            unsettled => panic!("element {index} is {unsettled:?}"),
        }
        assert_eq!(u64::from_le_bytes(found), index + 100, "a torn result");
        true
    }
}

impl Stage for Play {
    fn curtain(&mut self) {
        if let Does::Work { .. } = self.does {
            self.witness
                .begin(Order::Job, self.job.id, self.job.generation);
        }
    }

    fn act(&mut self) {
        let w = arena();
        match self.does {
            Does::Submit => self.pool.submit(w, self.job).expect("open"),
            Does::Work { long } => self.work(long),
            Does::WorkLast => self.work_if_any(),
            Does::Wait => {
                self.job()
                    .wait(w, 0, patience(), || false)
                    .expect("no signal");
            }
            Does::End => {
                let why = Message::new(w, 9, 8, 0).expect("room");
                self.pool.set_error(w, why);
                self.pool.add_ready(w);
                self.pool.change_keeper(w, 0, 1);
                self.pool.advance(w, State::Broken);
                self.pool.wake_settled(w);
                // What a fork of a pool's owner does about it.
                self.pool
                    .wait_settled(w, patience(), || true)
                    .expect("no signal");
            }
        }
    }

    fn sleeps(&self) -> bool {
        self.does == Does::Wait
    }

    fn relieve(&mut self) {
        self.work(false);
    }

    fn help(&mut self) {
        self.pool.wake_settled(arena());
    }

    fn go_on(&mut self, end: End) -> bool {
        let w = arena();
        match self.does {
            Does::Submit => {
                // The ticket of a dead submitter is there, or never will be.
                notice_deaths();
                notice_deaths();
                if self.pool.is_idle(w) {
                    if end == End::Stopped {
                        return false;
                    }
                    self.pool.submit(w, self.job).expect("open");
                }
                self.work(false);
            }
            Does::Work { .. } => {
                self.work(false);
                if end != End::Stopped {
                    // Element 0 is the witness's, whoever ran it.
                    assert_eq!(self.witness.answer(), 1);
                }
            }
            Does::WorkLast => {
                // Nothing is left but what the victim did not take.
                let mut current = None;
                if let Ok(index) = self.pool.next(w, &mut current, Some(0)) {
                    let job = current.as_ref().expect("the job of the element").job();
                    self.pool
                        .settle_inline(w, job, index, 7, &(index + 100).to_le_bytes());
                }
            }
            Does::Wait => {
                if !self.job().is_settled(w, 0) {
                    self.work(false);
                }
                self.job().wait(w, 0, limit(), || false).expect("no signal");
            }
            Does::End => {
                self.pool.advance(w, State::Broken);
                assert!(self.pool.next(w, &mut None, limit()).is_err());
            }
        }
        true
    }

    fn check(&mut self, end: End) {
        let w = arena();
        let done = |play: &Self| (0..COUNT).filter(|&index| play.is_done(index)).count() as u64;
        if matches!(self.does, Does::End) || end == End::Stopped {
            return;
        }
        if end == End::Killed {
            notice_deaths();
            notice_deaths();
        }
        while !self.pool.is_idle(w) && (0..COUNT).any(|i| self.job().outcome(w, i) == Outcome::Free)
        {
            self.work(false);
        }
        let lost = COUNT - done(self);
        let may = u64::from(
            end == End::Killed && matches!(self.does, Does::Work { .. } | Does::WorkLast),
        );
        assert!(lost <= may, "{lost} elements lost");
    }

    fn resumed(&mut self) {
        if self.does == Does::End {
            return;
        }
        self.check(End::Survived);
        if let Does::Work { .. } = self.does {
            assert_eq!(self.witness.answer(), 1);
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let w = arena();
        object::unlease(w, self.job, w.my_process());
        object::unlease(w, self.pool.handle(), w.my_process());
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![
        ("submit", play(Does::Submit)),
        ("work_inline", play(Does::Work { long: false })),
        ("work_message", play(Does::Work { long: true })),
        ("work_last", play(Does::WorkLast)),
        ("wait_for_a_task", play(Does::Wait)),
        ("end_of_a_pool", play(Does::End)),
    ]
}
