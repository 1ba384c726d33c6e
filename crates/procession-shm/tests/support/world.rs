//! A world in ordinary memory, for tests and model checkers: `crate::sync` says whose atomics,
//! threads and condition variables. Each thread has a handle of its own; a handle may be told to
//! die, or to stop for ever, at its n-th step.
#![allow(dead_code, reason = "each test uses a part of it")]

use crate::sync::{AtomicU64, CHUNK, Condvar, Mutex, fence, peek, yield_now};
use procession_shm::layout::{Layout, THREAD_BYTES, header};
use procession_shm::slot::{self, State};
use procession_shm::{Fate, Off, Owner, Wake, World, process, recover};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::{Arc, OnceLock};

/// What all threads share: the memory, made when first written, and the sleepers.
pub struct Shared {
    layout: Layout,
    memory: Vec<OnceLock<Box<[AtomicU64; CHUNK]>>>,
    /// Nothing is made any more: loom wants each atomic made before the threads that share it.
    sealed: AtomicBool,
    /// The memory orders that `World` promises are not kept: a planted bug.
    weak: AtomicBool,
    /// The news of a death wakes nobody: a planted bug.
    deaf: AtomicBool,
    sleepers: Mutex<Vec<(u64, Off)>>,
    woken: Condvar,
    /// Sleeps end by themselves, as slices do.
    slices: bool,
    spins: u32,
}

pub struct Handle {
    shared: Arc<Shared>,
    me: Owner,
    process: u32,
    epoch: Cell<u64>,
    steps: Cell<u64>,
    end_at: Cell<u64>,
    /// Its step is not the end: the handle goes on when it is told to.
    stop: RefCell<Option<Arc<Stop>>>,
    ended: Cell<bool>,
    seen_sleeper: Cell<u64>,
}

/// What a handle unwinds with when it dies.
struct Died;

/// A stop that is no end.
pub struct Stop {
    stopped: AtomicU64,
    goes_on: AtomicU64,
}

impl Stop {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stopped: AtomicU64::new(0),
            goes_on: AtomicU64::new(0),
        })
    }

    /// Whether the handle has come to its stop.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Acquire) != 0
    }

    /// Lets the handle go on.
    pub fn go_on(&self) {
        self.goes_on.store(1, Release);
    }
}

impl Shared {
    pub fn new(size: u64, slices: bool) -> Arc<Self> {
        Self::spinning(size, slices, 0)
    }

    /// One in which a thread looks once more so many times before it sleeps.
    pub fn spinning(size: u64, slices: bool, spins: u32) -> Arc<Self> {
        let layout = Layout::with_counts(size, 16, 8);
        let chunks = size as usize / 8 / CHUNK + 1;
        let shared = Self {
            layout,
            memory: (0..chunks).map(|_| OnceLock::new()).collect(),
            sealed: AtomicBool::new(false),
            weak: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            sleepers: Mutex::new(Vec::new()),
            woken: Condvar::new(),
            slices,
            spins,
        };
        for (at, value) in [
            (header::SIZE, size),
            (header::THREADS, layout.thread_count),
            (header::PROCESSES, layout.process_count),
            (header::BUDGET, size),
            (header::WATERMARK, size / 4),
        ] {
            shared.word(at).store(value, SeqCst);
        }
        let shared = Arc::new(shared);
        // Process 0 is everybody's.
        process::reserve(
            &Handle::unnamed(&shared),
            Owner {
                slot: 0,
                generation: 0,
            },
        )
        .expect("a record");
        shared
    }

    /// A word, unless nobody ever wrote there: then it reads as zero.
    fn written(&self, at: Off) -> Option<&AtomicU64> {
        assert!(
            at.is_multiple_of(8) && at < self.layout.size,
            "word {at:#x} is outside the arena"
        );
        let index = at as usize / 8;
        self.memory[index / CHUNK]
            .get()
            .map(|chunk| &chunk[index % CHUNK])
    }

    fn word(&self, at: Off) -> &AtomicU64 {
        if let Some(word) = self.written(at) {
            return word;
        }
        assert!(!self.sealed.load(Relaxed), "word {at:#x} was not touched");
        let index = at as usize / 8;
        let chunk = self.memory[index / CHUNK]
            .get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        &chunk[index % CHUNK]
    }

    /// Makes the words of a range.
    pub fn touch(&self, at: Off, words: u64) {
        for n in 0..words {
            self.word(at + n * 8);
        }
    }

    /// Makes `words` words behind each that is made.
    pub fn touch_behind(&self, words: u64) {
        let made = |at: &Off| self.written(*at).is_some();
        let all: Vec<Off> = (0..self.layout.size).step_by(8).filter(made).collect();
        all.into_iter().for_each(|at| self.touch(at, words));
    }

    /// Makes no more words: from now on a write to any that was not touched is an error.
    pub fn seal(&self) {
        self.sealed.store(true, Relaxed);
    }

    /// The words of a slot's frames.
    pub fn frames_of(&self, slot: u32) -> std::ops::Range<Off> {
        let at = self.layout.thread(slot);
        at + slot::word::FRAMES..at + THREAD_BYTES
    }

    /// From now on each order is `Relaxed`.
    pub fn weaken(&self) {
        self.weak.store(true, Relaxed);
    }

    /// From now on the news of a death wakes nobody.
    pub fn deafen(&self) {
        self.deaf.store(true, Relaxed);
    }

    fn order(&self, order: Ordering) -> Ordering {
        if self.weak.load(Relaxed) {
            Relaxed
        } else {
            order
        }
    }

    /// A handle that looks, without a scheduler's noticing, when all threads have ended.
    pub fn spectator(self: &Arc<Self>) -> Handle {
        let handle = Handle::unnamed(self);
        handle.ended.set(true);
        handle
    }

    /// A handle for a thread that takes slot number `slot`.
    pub fn thread(self: &Arc<Self>, slot: u32) -> Handle {
        let at = self.layout.thread(slot);
        let (generation, state) = slot::state(self.word(at).load(SeqCst));
        assert_eq!(state, State::Vacant);
        let me = Owner {
            slot,
            generation: generation + 1,
        };
        self.word(at)
            .store(slot::state_word(me.generation, State::Live), SeqCst);
        let ids = slot::Ids {
            pid: 1000,
            tid: 1000 + slot,
        };
        self.word(at + slot::word::IDS).store(ids.to_bits(), SeqCst);
        self.word(header::THREADS_HIGH)
            .fetch_max(slot as u64 + 1, SeqCst);
        Handle {
            me,
            ..Handle::unnamed(self)
        }
    }
}

impl Handle {
    fn unnamed(shared: &Arc<Shared>) -> Self {
        Self {
            shared: shared.clone(),
            me: Owner {
                slot: 0,
                generation: 0,
            },
            process: 0,
            epoch: Cell::new(0),
            steps: Cell::new(0),
            end_at: Cell::new(u64::MAX),
            stop: RefCell::new(None),
            ended: Cell::new(false),
            seen_sleeper: Cell::new(0),
        }
    }

    /// Moves the handle, not used yet, to a process of its own; says which.
    pub fn leave_home(&mut self) -> u32 {
        self.process = process::reserve(self, self.me).expect("a record");
        let at = self.shared.layout.thread(self.me.slot) + slot::word::PROCESS;
        self.store(at, self.process as u64);
        self.process
    }

    /// Runs `work`, which ends at the handle's n-th step from now. `None` if it ended so.
    pub fn ends_at<T>(&self, n: u64, work: impl FnOnce(&Self) -> T) -> Option<T> {
        self.end_at.set(self.steps.get() + n);
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        self.end_at.set(u64::MAX);
        match result {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// From now on it stops before its n-th step, until it is told to go on.
    pub fn stops_at(&self, n: u64, stop: &Arc<Stop>) {
        self.end_at.set(self.steps.get() + n);
        *self.stop.borrow_mut() = Some(stop.clone());
    }

    pub fn is_ended(&self) -> bool {
        self.ended.get()
    }

    /// What the rest of the program does about a killed thread; begins anew where another died
    /// doing it.
    pub fn bury(&self, dead: Owner) {
        self.mark_killed(dead);
        recover::recover(self, dead.slot);
        self.make_vacant(dead);
    }

    /// What a burial begins with.
    pub fn mark_killed(&self, dead: Owner) {
        let seen = self.load(self.shared.layout.thread(dead.slot));
        assert!(
            recover::mark_killed(self, dead.slot, seen)
                || slot::state(seen) == (dead.generation, State::Killed)
        );
        self.tell_death();
    }

    /// What a burial ends with.
    pub fn make_vacant(&self, dead: Owner) {
        self.store(
            self.shared.layout.thread(dead.slot),
            slot::state_word(dead.generation, State::Vacant),
        );
        self.tell_death();
    }

    /// Whether this dead thread's slot still waits to be recovered.
    pub fn is_unburied(&self, dead: Owner) -> bool {
        slot::state(self.load(self.shared.layout.thread(dead.slot))).1 != State::Vacant
    }

    /// From now on it leaves no trace.
    pub fn kill(&self) {
        self.ended.set(true);
    }

    pub fn owner(&self) -> Owner {
        self.me
    }

    /// The ids of the thread.
    pub fn ids(&self) -> slot::Ids {
        slot::ids(self, self.me)
    }

    /// Counts a step; false if the thread is no more and its unwinding must leave no trace.
    fn step(&self) -> bool {
        if self.ended.get() {
            return false;
        }
        let n = self.steps.get() + 1;
        self.steps.set(n);
        if n == self.end_at.get() {
            if let Some(stop) = self.stop.take() {
                stop.stopped.store(1, Release);
                while stop.goes_on.load(Acquire) == 0 {
                    yield_now();
                }
                return true;
            }
            self.ended.set(true);
            resume_unwind(Box::new(Died));
        }
        true
    }
}

impl World for Handle {
    const SEGMENT_CELLS: u64 = 3;

    fn load(&self, at: Off) -> u64 {
        match self.shared.written(at) {
            None => 0,
            Some(word) if self.ended.get() => peek(word),
            Some(word) => word.load(self.shared.order(Acquire)),
        }
    }
    fn store(&self, at: Off, value: u64) {
        if self.step() {
            let order = self.shared.order(Release);
            self.shared.word(at).store(value, order);
        }
    }
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        if !self.step() {
            return Ok(());
        }
        let (won, lost) = (self.shared.order(AcqRel), self.shared.order(Acquire));
        self.shared
            .word(at)
            .compare_exchange(old, new, won, lost)
            .map(|_| ())
    }
    fn swap(&self, at: Off, value: u64) -> u64 {
        if self.step() {
            let order = self.shared.order(AcqRel);
            self.shared.word(at).swap(value, order)
        } else {
            0
        }
    }
    fn add(&self, at: Off, value: u64) -> u64 {
        if self.step() {
            let order = self.shared.order(AcqRel);
            self.shared.word(at).fetch_add(value, order)
        } else {
            0
        }
    }
    fn fence(&self) {
        fence(SeqCst);
    }
    fn read(&self, at: Off, into: &mut [u8]) {
        for (n, chunk) in into.chunks_mut(8).enumerate() {
            // As a plain read: it synchronizes nothing.
            let word = self.shared.written(at + n as u64 * 8);
            let word = word.map_or(0, |word| word.load(Relaxed)).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
    fn write(&self, at: Off, from: &[u8]) {
        for (n, chunk) in from.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            if self.step() {
                self.shared
                    .word(at + n as u64 * 8)
                    .store(u64::from_le_bytes(word), Relaxed);
            }
        }
    }
    fn give_back(&self, at: Off, len: u64) {
        for word in (0..len / 8).map(|word| at + word * 8) {
            if self.shared.written(word).is_some() {
                self.store(word, 0);
            }
        }
    }
    fn layout(&self) -> &Layout {
        &self.shared.layout
    }
    fn me(&self) -> Owner {
        self.me
    }
    fn my_process(&self) -> u32 {
        self.process
    }
    fn fate(&self, owner: Owner) -> Fate {
        match slot::state(self.load(self.shared.layout.thread(owner.slot))) {
            (generation, _) if generation != owner.generation => Fate::Ended,
            (_, State::Live) => Fate::Alive,
            (_, State::Killed) => Fate::Killed,
            _ => Fate::Ended,
        }
    }
    fn is_killed(&self, slot: u32) -> bool {
        slot::state(self.load(self.shared.layout.thread(slot))).1 == State::Killed
    }
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake {
        if !self.step() {
            return Wake::TimedOut;
        }
        if self.shared.slices {
            yield_now();
            return Wake::Look;
        }
        let mut sleepers = self
            .shared
            .sleepers
            .lock()
            .expect("no thread panics holding it");
        let epoch = self.load(header::EPOCH);
        if epoch != self.epoch.get() {
            self.epoch.set(epoch);
            return Wake::Look;
        }
        if self.load(at) as u32 != expected {
            return Wake::Look;
        }
        let ticket = self.seen_sleeper.get() + 1;
        self.seen_sleeper.set(ticket);
        let id = (self.me.slot as u64) << 32 | ticket;
        sleepers.push((id, at));
        if until.is_some() {
            drop(sleepers);
            yield_now();
            let mut sleepers = self
                .shared
                .sleepers
                .lock()
                .expect("no thread panics holding it");
            let slept = sleepers.len();
            sleepers.retain(|&(sleeper, _)| sleeper != id);
            return if sleepers.len() < slept {
                Wake::TimedOut
            } else {
                Wake::Look
            };
        }
        while sleepers.iter().any(|&(sleeper, _)| sleeper == id) {
            sleepers = self
                .shared
                .woken
                .wait(sleepers)
                .expect("no thread panics holding it");
        }
        drop(sleepers);
        if self.step() {
            Wake::Look
        } else {
            Wake::TimedOut
        }
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        if !self.step() {
            return 0;
        }
        let mut sleepers = self
            .shared
            .sleepers
            .lock()
            .expect("no thread panics holding it");
        let mut left = count;
        sleepers.retain(|&(_, word)| {
            let wakes = word == at && left > 0;
            left -= wakes as u32;
            !wakes
        });
        if left < count {
            self.shared.woken.notify_all();
        }
        count - left
    }
    fn tell_death(&self) {
        if !self.step() {
            return;
        }
        let mut sleepers = self
            .shared
            .sleepers
            .lock()
            .expect("no thread panics holding it");
        self.shared.word(header::EPOCH).fetch_add(1, AcqRel);
        if self.shared.deaf.load(Relaxed) {
            return;
        }
        sleepers.clear();
        self.shared.woken.notify_all();
    }
    fn now(&self) -> u64 {
        0
    }
    fn spin(&self, round: u32) -> bool {
        if round < self.shared.spins {
            yield_now();
        }
        round < self.shared.spins
    }
}
