//! Locks: free, held by one who lives, held by the actor, broken.

use crate::machine::Thread;
use crate::play::ACTOR;
use crate::scene::{ASLEEP, Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use crate::structures::make;
use procession_shm::lock::{Acquired, Lock, NotReleased, OnEnd, ReentrantLock, Status};
use procession_shm::object::Kind;
use procession_shm::section::Section;
use procession_shm::slot::{self, State, state_word};
use procession_shm::{Owner, World};

/// Who has it at first.
#[derive(Clone, Copy, PartialEq)]
enum Begin {
    Free,
    Director,
    Actor,
    /// Nobody: its holder died.
    Broken,
}

/// In a lock's word: somebody may sleep.
const WAITERS: u64 = 2;

struct Locks {
    begin: Begin,
    reentrant: bool,
    lock: Lock,
    sleepers: &'static [Op],
}

fn acquired(acquired: Acquired) -> Out {
    match acquired {
        Acquired::Yes => Out("acquired", 0),
        Acquired::TimedOut => Out("timed out", 0),
        Acquired::Broken(_) => Out("broken", 0),
        Acquired::Interrupted => ASLEEP,
    }
}

fn released(released: Result<(), NotReleased>) -> Out {
    match released {
        Ok(()) => Out("released", 0),
        Err(NotReleased::NotHeld) => Out("not held", 0),
        Err(NotReleased::NotOwner) => Out("not owner", 0),
        Err(NotReleased::Broken(_)) => Out("broken", 0),
    }
}

impl Locks {
    fn new(w: &Thread, begin: Begin, reentrant: bool, sleepers: &'static [Op]) -> Self {
        let kind = if reentrant {
            Kind::ReentrantLock
        } else {
            Kind::Lock
        };
        let (_, at) = make(w, kind);
        let (lock, reentrant_lock) = (Lock(at), ReentrantLock(at));
        let holder = match begin {
            Begin::Free => None,
            Begin::Director => Some(w.me),
            Begin::Actor | Begin::Broken => {
                let slot = ACTOR;
                let state = w.load(w.layout().thread(slot));
                let (generation, _) = slot::state(state);
                Some(Owner { slot, generation })
            }
        };
        if let Some(holder) = holder {
            let holder = Thread {
                machine: w.machine.clone(),
                me: holder,
                process: 0,
            };
            if reentrant {
                assert_eq!(reentrant_lock.acquire(&holder, None), Acquired::Yes);
            } else {
                assert!(lock.try_acquire(&holder));
            }
            if begin == Begin::Broken {
                let _section = Section::Recovery.enter();
                lock.break_held_by(w, holder.me);
            }
        }
        Self {
            begin,
            reentrant,
            lock,
            sleepers,
        }
    }

    fn acquire(&self, w: &Thread, until: Option<u64>) -> Out {
        acquired(if self.reentrant {
            ReentrantLock(self.lock.0).acquire(w, until)
        } else {
            self.lock.acquire(w, until, OnEnd::Stays)
        })
    }
}

impl Stage for Locks {
    fn operations(&self) -> Vec<Op> {
        vec!["acquire", "acquire late", "try acquire", "release", "reset"]
    }

    fn sleepers(&self) -> Vec<Op> {
        self.sleepers.to_vec()
    }

    fn relief(&self, op: Op) -> Option<Op> {
        (op == "acquire" && !self.reentrant).then_some("release")
    }

    fn perform(&self, w: &Thread, op: Op, local: &mut Local) -> Out {
        match op {
            "acquire" => {
                let out = self.acquire(w, None);
                if matches!(local, Local::Slept) && out == Out("acquired", 0) {
                    // As in the wait that it goes on with: others may sleep still.
                    w.machine.poke(self.lock.0, w.load(self.lock.0) | WAITERS);
                }
                if out == ASLEEP {
                    *local = Local::Slept;
                }
                out
            }
            "acquire late" => self.acquire(w, Some(1)),
            "try acquire" => match self.lock.try_acquire(w) {
                true if self.reentrant => {
                    ReentrantLock(self.lock.0).set_depth(w, 1);
                    Out("acquired", 0)
                }
                true => Out("acquired", 0),
                false => Out("timed out", 0),
            },
            "release" if self.reentrant => released(ReentrantLock(self.lock.0).release(w)),
            "release" => released(self.lock.release(w, false)),
            "reset" => Out("reset", u64::from(self.lock.reset(w))),
            _ => unreachable!("no such operation"),
        }
    }

    fn check(&self, w: &Thread, story: &Story) {
        let dead = |slot| story.dead.contains(&slot);
        match self.lock.status(w) {
            Status::Free => {}
            Status::Held(holder) => {
                assert!(!dead(holder.slot), "held by the dead");
                let mine = |event: &&crate::scene::Event| {
                    event.who == holder.slot && event.out.0 == "acquired"
                };
                let by_begin = match self.begin {
                    Begin::Director => 0,
                    Begin::Actor => ACTOR,
                    Begin::Free | Begin::Broken => u32::MAX,
                };
                let has_it = holder.slot == by_begin || story.events.iter().any(|e| mine(&e));
                assert!(has_it, "held by one who never acquired it");
                self.lock.release(w, false).expect("it is held");
            }
            Status::Broken(ids) => {
                let holder = ids.tid.wrapping_sub(2000);
                let broken = dead(holder) || self.begin == Begin::Broken;
                assert!(broken, "broken though nobody died holding it");
                assert!(self.lock.reset(w));
            }
        }
        assert_eq!(self.acquire(w, Some(0)), Out("acquired", 0));
        assert_eq!(self.lock.status(w), Status::Held(w.me));
        self.lock.release(w, true).expect("it is held");
        let slot = w.load(w.layout().thread(w.slot()));
        assert_eq!(slot, state_word(w.me.generation, State::Live));
    }
}

pub fn cases() -> Vec<Case> {
    let lock =
        |name, begin, sleepers| Case::new(name, move |w| Locks::new(w, begin, false, sleepers));
    let reentrant =
        |name, begin, sleepers| Case::new(name, move |w| Locks::new(w, begin, true, sleepers));
    vec![
        lock("free lock", Begin::Free, &[]),
        lock("held lock", Begin::Director, &[]),
        lock("lock of the actor", Begin::Actor, &[]),
        lock("broken lock", Begin::Broken, &[]),
        lock("lock waited for", Begin::Actor, &["acquire", "acquire"]),
        reentrant("free reentrant lock", Begin::Free, &[]),
        reentrant("reentrant lock of the actor", Begin::Actor, &["acquire"]),
    ]
}
