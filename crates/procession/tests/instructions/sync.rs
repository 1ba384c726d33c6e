//! Locks, semaphores, events, conditions and barriers.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage, limit, patience, result, set_result};
use crate::victim::fork;
use crate::witness::{BROKEN, Order, Witness};
use procession::object::Object;
use procession::shm::World;
use procession::shm::barrier::{Arrival, Barrier, Passed};
use procession::shm::condition::Condition;
use procession::shm::event::Event;
use procession::shm::lock::{Acquired, Lock, OnEnd, ReentrantLock, Status};
use procession::shm::object::Kind;
use procession::shm::semaphore::Semaphore;
use std::time::Duration;

/// How long others try for a lock that a stopped process may hold.
const TRIED: Duration = Duration::from_millis(50);

fn make(kind: Kind) -> Object {
    Object::create(kind, |arena, entry, body| match kind {
        Kind::Condition => Condition(body).init(arena, entry),
        Kind::Barrier => {
            Barrier(body).init(arena, 2);
            Ok(())
        }
        _ => Ok(()),
    })
    .expect("room")
}

#[derive(Clone, Copy, PartialEq)]
enum Locks {
    /// Acquires and releases it, free at first.
    Free,
    /// The same, held by another at first.
    Held,
    /// Releases it while a witness waits.
    Wakes,
    /// Acquires it twice and releases it twice.
    Twice,
    /// Makes a broken one free.
    Reset,
}

struct LockPlay {
    does: Locks,
    object: Object,
    lock: Lock,
    witness: &'static Witness,
}

/// While the victim is in here, nobody else may be.
const WITHIN: u64 = 1;

fn lock(does: Locks) -> Make {
    Box::new(move |witness| {
        let object = make(Kind::ReentrantLock);
        let lock = Lock(object.body());
        match does {
            Locks::Held => assert!(lock.try_acquire(arena())),
            Locks::Reset => {
                set_result(0);
                let holder = fork(|| {
                    lock.try_acquire(arena());
                    loop {
                        set_result(WITHIN);
                        std::thread::yield_now();
                    }
                });
                crate::stage::until_set("it is held", &crate::page::page().result);
                holder.signal(libc::SIGKILL);
                holder.ended(0);
                assert!(matches!(
                    lock.acquire(arena(), limit(), OnEnd::Stays),
                    Acquired::Broken(_)
                ));
            }
            _ => {}
        }
        Box::new(LockPlay {
            does,
            object,
            lock,
            witness,
        })
    })
}

impl LockPlay {
    /// Another acquires it, and releases it; false if who was stopped has it.
    fn succeed(&mut self, end: End) -> bool {
        let until = match end {
            End::Stopped => procession::time::deadline(Some(TRIED)),
            _ => limit(),
        };
        let mut acquired = self.lock.acquire(arena(), until, OnEnd::Stays);
        if let Acquired::Broken(_) = acquired {
            assert!(
                end == End::Killed || self.does == Locks::Reset,
                "broken by a death only"
            );
            assert!(self.lock.reset(arena()));
            acquired = self.lock.acquire(arena(), until, OnEnd::Stays);
        }
        if acquired == Acquired::TimedOut {
            let held =
                matches!(self.lock.status(arena()), Status::Held(owner) if owner != arena().me());
            assert!(
                held && end == End::Stopped,
                "held by nobody who can have it"
            );
            return false;
        }
        assert_eq!(acquired, Acquired::Yes);
        assert!(result() != WITHIN || end == End::Killed, "two are within");
        self.lock.release(arena(), false).expect("it is held");
        true
    }
}

impl Stage for LockPlay {
    fn ready(&mut self) {
        arena().me();
        if self.does == Locks::Wakes {
            assert!(self.lock.try_acquire(arena()));
        }
    }

    fn curtain(&mut self) {
        if self.does == Locks::Wakes {
            self.witness.begin(Order::Lock, self.lock.0, 0);
        }
    }

    fn act(&mut self) {
        let w = arena();
        let reentrant = ReentrantLock(self.lock.0);
        match self.does {
            Locks::Free | Locks::Held => {
                assert_eq!(
                    self.lock.acquire(w, patience(), OnEnd::Stays),
                    Acquired::Yes
                );
                set_result(WITHIN);
                set_result(0);
                self.lock.release(w, false).expect("it is held");
            }
            Locks::Wakes => self.lock.release(w, false).expect("it is held"),
            Locks::Twice => {
                assert_eq!(reentrant.acquire(w, patience()), Acquired::Yes);
                set_result(WITHIN);
                assert_eq!(reentrant.acquire(w, patience()), Acquired::Yes);
                reentrant.release(w).expect("it is held");
                set_result(0);
                reentrant.release(w).expect("it is held");
            }
            Locks::Reset => set_result(2 + u64::from(self.lock.reset(w))),
        }
    }

    fn sleeps(&self) -> bool {
        self.does == Locks::Held
    }

    fn relieve(&mut self) {
        self.lock.release(arena(), false).expect("it is held");
    }

    fn go_on(&mut self, end: End) -> bool {
        if self.does == Locks::Held && self.lock.status(arena()) == Status::Held(arena().me()) {
            // The victim never slept.
            self.relieve();
        }
        if self.does == Locks::Wakes && end != End::Stopped {
            let answer = self.witness.answer();
            assert!(answer != BROKEN || end == End::Killed);
        }
        self.succeed(end)
    }

    fn check(&mut self, _: End) {}

    fn resumed(&mut self) {
        if self.does == Locks::Wakes {
            assert_eq!(self.witness.answer(), 0);
        }
        assert!(self.succeed(End::Survived), "free in the end");
        assert_eq!(self.lock.status(arena()), Status::Free);
        let _ = &self.object;
    }
}

/// The other structures, and what the victim does with each.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Takes one of two permits.
    Acquire,
    /// Waits for a permit.
    AcquireAsleep,
    /// Gives a permit, for which a witness waits.
    Release,
    /// Sets an event that a witness waits for.
    Set,
    /// Clears an event that is set.
    Clear,
    /// Waits for an event.
    Wait,
    /// Waits at a condition, and a witness after it.
    ConditionWait,
    /// Lets a witness at a condition go.
    Notify,
    /// Arrives first at a barrier of two.
    Arrive,
    /// Arrives last at a barrier, where a witness waits.
    ArriveLast,
    /// Breaks a barrier, where a witness waits.
    Abort,
}

struct Play {
    does: Does,
    object: Object,
    witness: &'static Witness,
    relieved: bool,
}

fn play(does: Does) -> Make {
    use Does::*;
    Box::new(move |witness| {
        let object = make(match does {
            Acquire | AcquireAsleep | Release => Kind::Semaphore,
            Set | Clear | Wait => Kind::Event,
            ConditionWait | Notify => Kind::Condition,
            Arrive | ArriveLast | Abort => Kind::Barrier,
        });
        match does {
            Acquire => Semaphore(object.body()).init(arena(), 2, None),
            Clear => Event(object.body()).set(arena()),
            _ => {}
        }
        Box::new(Play {
            does,
            object,
            witness,
            relieved: false,
        })
    })
}

impl Play {
    fn semaphore(&self) -> Semaphore {
        Semaphore(self.object.body())
    }

    fn event(&self) -> Event {
        Event(self.object.body())
    }

    fn condition(&self) -> Condition {
        Condition(self.object.body())
    }

    fn barrier(&self) -> Barrier {
        Barrier(self.object.body())
    }

    /// The controller meets the witness at the barrier, which is whole then.
    fn meet(&self) {
        let w = arena();
        self.barrier().reset(w);
        self.witness.begin(Order::Barrier, self.object.body(), 0);
        let arrival = self.barrier().arrive(w, limit());
        assert_eq!(arrival, Ok(Some(Arrival::Last { index: 1 })));
        assert_eq!(self.barrier().open(w), Passed::Yes);
        assert_eq!(self.witness.answer(), 0);
    }
}

impl Stage for Play {
    fn curtain(&mut self) {
        let order = match self.does {
            Does::Release => Order::Acquire,
            Does::Set => Order::Event,
            Does::Notify => Order::Condition,
            Does::ArriveLast | Does::Abort => Order::Barrier,
            _ => return,
        };
        self.witness.begin(order, self.object.body(), 0);
    }

    fn act(&mut self) {
        let w = arena();
        match self.does {
            Does::Acquire | Does::AcquireAsleep => {
                assert_eq!(self.semaphore().acquire(w, patience()), Ok(true));
            }
            Does::Release => self.semaphore().release(w).expect("no bound"),
            Does::Set => self.event().set(w),
            Does::Clear => self.event().clear(w),
            Does::Wait => {
                let sets = self.event().sets(w);
                assert_eq!(self.event().wait(w, sets, patience()), Ok(true));
            }
            Does::ConditionWait => {
                let record = self.condition().enter(w).expect("room");
                assert_eq!(self.condition().wait(w, record, patience()), Ok(true));
            }
            Does::Notify => set_result(self.condition().notify(w, 1)),
            Does::Arrive => match self.barrier().arrive(w, patience()) {
                Ok(Some(Arrival::Wait { ticket, .. })) => {
                    let passed = self.barrier().wait(w, ticket, patience());
                    assert_eq!(passed, Ok(Passed::Yes));
                }
                other => panic!("it is the first: {other:?}"),
            },
            Does::ArriveLast => {
                let arrival = self.barrier().arrive(w, patience());
                assert_eq!(arrival, Ok(Some(Arrival::Last { index: 1 })));
                assert_eq!(self.barrier().open(w), Passed::Yes);
            }
            Does::Abort => self.barrier().abort(w),
        }
    }

    fn sleeps(&self) -> bool {
        matches!(
            self.does,
            Does::AcquireAsleep | Does::Wait | Does::ConditionWait | Does::Arrive
        )
    }

    fn relieve(&mut self) {
        let w = arena();
        self.relieved = true;
        match self.does {
            Does::AcquireAsleep => self.semaphore().release(w).expect("no bound"),
            Does::Wait => self.event().set(w),
            Does::ConditionWait => {
                self.witness.begin(Order::Condition, self.object.body(), 0);
                assert_eq!(self.condition().notify(w, 1), 1);
            }
            Does::Arrive => {
                let arrival = self.barrier().arrive(w, limit());
                assert_eq!(arrival, Ok(Some(Arrival::Last { index: 1 })));
                assert_eq!(self.barrier().open(w), Passed::Yes);
            }
            _ => {}
        }
    }

    fn help(&mut self) {
        let w = arena();
        match self.does {
            Does::AcquireAsleep => self.semaphore().release(w).expect("no bound"),
            Does::ConditionWait => {
                self.condition().notify(w, 1);
            }
            Does::Arrive if self.barrier().waiting(w) == 1 => self.relieve(),
            _ => {}
        }
    }

    fn go_on(&mut self, end: End) -> bool {
        let w = arena();
        match self.does {
            Does::Acquire => assert_eq!(self.semaphore().acquire(w, limit()), Ok(true)),
            Does::AcquireAsleep => {
                self.semaphore().release(w).expect("no bound");
                assert_eq!(self.semaphore().acquire(w, limit()), Ok(true));
            }
            Does::Release => {
                // A permit that was given wakes the witness without another's help.
                if self.semaphore().value(w) == 0 && !self.witness.is_done() {
                    self.semaphore().release(w).expect("no bound");
                    self.relieved = true;
                }
                assert_eq!(self.witness.answer(), 1);
            }
            Does::Set => {
                if !self.event().is_set(w) {
                    self.event().set(w);
                }
                assert_eq!(self.witness.answer(), 1);
            }
            Does::Clear | Does::Wait => {
                self.event().set(w);
                assert_eq!(
                    self.event().wait(w, self.event().sets(w), limit()),
                    Ok(true)
                );
            }
            Does::ConditionWait if self.relieved => {
                // The victim used its mark, or it passes on.
                if end != End::Killed || !self.passes_on() {
                    assert_eq!(self.condition().notify(w, 1), 1, "the witness waits");
                }
                assert_eq!(self.witness.answer(), 1);
            }
            Does::ConditionWait => {
                // It may have got as far as to wait.
                if end == End::Stopped {
                    self.condition().notify(w, 1);
                }
                self.witness.begin(Order::Condition, self.object.body(), 0);
                self.condition().notify(w, 2);
                assert_eq!(self.witness.answer(), 1);
            }
            Does::Notify => {
                if !self.witness.is_done() {
                    self.condition().notify(w, 1);
                }
                assert_eq!(self.witness.answer(), 1);
            }
            Does::Arrive => {
                let barrier = self.barrier();
                if end == End::Killed {
                    self.meet();
                } else if !self.relieved {
                    // Stopped on its way: who comes waits for it, or passes if it has arrived.
                    if barrier.waiting(w) == 1 {
                        self.relieve();
                    }
                }
            }
            Does::ArriveLast if end == End::Killed => {
                if !self.witness.is_done() && self.barrier().waiting(w) == 1 {
                    self.barrier().abort(w);
                }
                self.witness.answer();
                self.meet();
            }
            Does::Abort => {
                if !self.barrier().is_broken(w) {
                    self.barrier().abort(w);
                }
                assert_eq!(self.witness.answer(), BROKEN);
                if end == End::Killed {
                    self.meet();
                }
            }
            Does::ArriveLast if end == End::Survived => assert_eq!(self.witness.answer(), 0),
            Does::ArriveLast => {}
        }
        // At a barrier the others need the stopped one by their own wish.
        end != End::Stopped || !matches!(self.does, Does::Arrive | Does::ArriveLast)
    }

    fn check(&mut self, end: End) {
        let w = arena();
        match self.does {
            Does::Acquire => {
                let gone = 1 - self.semaphore().value(w);
                assert!(
                    gone == 1 || end != End::Survived,
                    "one permit is the victim's"
                );
            }
            Does::Release => {
                let value = self.semaphore().value(w);
                assert!(
                    value <= u64::from(self.relieved),
                    "no permit comes from nowhere"
                );
            }
            Does::ConditionWait | Does::Notify if end == End::Killed => {
                crate::stage::notice_deaths();
                crate::stage::notice_deaths();
                assert!(!self.condition().has_waiters(w), "the dead do not wait");
            }
            _ => {}
        }
    }

    fn resumed(&mut self) {
        match self.does {
            Does::Notify => assert!(result() <= 1),
            Does::ArriveLast => {
                assert_eq!(self.witness.answer(), 0);
                self.meet();
            }
            Does::Arrive | Does::Abort => self.meet(),
            _ => {}
        }
    }
}

impl Play {
    /// Whether the witness goes on by itself, since the mark of a dead victim passes on.
    fn passes_on(&self) -> bool {
        let until = std::time::Instant::now() + TRIED;
        while std::time::Instant::now() < until {
            if self.witness.is_done() {
                return true;
            }
            crate::stage::notice_deaths();
            std::thread::yield_now();
        }
        false
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![
        ("lock_free", lock(Locks::Free)),
        ("lock_asleep", lock(Locks::Held)),
        ("lock_that_wakes", lock(Locks::Wakes)),
        ("lock_reentrant", lock(Locks::Twice)),
        ("lock_reset", lock(Locks::Reset)),
        ("semaphore_acquire", play(Does::Acquire)),
        ("semaphore_asleep", play(Does::AcquireAsleep)),
        ("semaphore_that_wakes", play(Does::Release)),
        ("event_that_wakes", play(Does::Set)),
        ("event_clear", play(Does::Clear)),
        ("event_asleep", play(Does::Wait)),
        ("condition_asleep", play(Does::ConditionWait)),
        ("condition_that_wakes", play(Does::Notify)),
        ("barrier_asleep", play(Does::Arrive)),
        ("barrier_that_wakes", play(Does::ArriveLast)),
        ("barrier_abort", play(Does::Abort)),
    ]
}
