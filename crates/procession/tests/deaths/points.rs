//! A death, or a stop, at each step of an operation in turn.

use procession::object::{Name, Object};
use procession::shm::lock::OnEnd;
use procession::shm::queue::Queue;
use procession::{Event, Kind, Lock, Process, shm::World};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

use crate::killing::Killing;
use crate::stage::{
    Answer, Form, OF_WITNESS, Order, Witness, Words, arena, get, in_use, is_asleep, lock_of,
    make_queue, name_of, promised, put, queue_of,
};
use crate::support::{Outcome, PROMISED, until};

/// What the victim does, and what it finds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Plan {
    /// Puts into a queue that holds so many items; into an empty one a witness waits to get.
    Put { form: Form, bound: u64, fill: u64 },
    /// Gets from a queue that had so many items, the first ones taken; at a bounded one a witness waits to put.
    Get {
        form: Form,
        bound: u64,
        fill: u64,
        taken: u64,
    },
    /// Waits to get before a witness does; then an item comes.
    GetAsleep,
    /// Waits to put before a witness does; then there is room.
    PutAsleep,
    /// Acquires and releases a lock that is free.
    Lock,
    /// Waits for a lock before a witness does; then it is free.
    LockAsleep,
}

/// An item of the victim, and items of the one who watches.
const OF_VICTIM: u64 = 9_000_000;
const EXTRA: [u64; 3] = [8_000_000, 8_000_001, 8_000_002];

/// Says that the victim is about to begin.
const BEGUN: u64 = 0;
/// Says that the victim is known to all, and that it may begin.
const READY: u64 = 1;
const GO: u64 = 2;

type Act = (Plan, u32, i32, Name, Words);

fn victim((plan, step, signal, name, words): Act) -> Option<u64> {
    let world = Killing::before(arena(), step, signal);
    world.me();
    words.set(READY, 1);
    while words.get(GO) == 0 {
        std::thread::yield_now();
    }
    match plan {
        Plan::Put { form, .. } => {
            let (_lease, queue) = queue_of(name);
            put(&world, queue, form, OF_VICTIM, None).expect("room comes");
            None
        }
        Plan::PutAsleep => {
            let (_lease, queue) = queue_of(name);
            words.set(BEGUN, 1);
            put(&world, queue, Form::Inline, OF_VICTIM, None).expect("room comes");
            None
        }
        Plan::Get { .. } | Plan::GetAsleep => {
            let (_lease, queue) = queue_of(name);
            words.set(BEGUN, 1);
            get(&world, queue, None)
        }
        Plan::Lock | Plan::LockAsleep => {
            let (_lease, lock) = lock_of(name);
            words.set(BEGUN, 1);
            // Broken by nobody but itself.
            let _ = lock.acquire(&world, None, OnEnd::Stays);
            lock.release(&world, false).expect("it is held");
            None
        }
    }
}

/// How an act ended.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Killed,
    Stopped,
    Survived,
}

struct Points {
    plan: Plan,
    signal: i32,
    step: u32,
    witness: Witness,
    /// Others who sleep: the kernel tells one of all sleepers of a death, and he has to pass it on.
    bystanders: [Process<()>; 4],
    words: Words,
    worst: Duration,
}

/// Lets a victim die, or stop, at each step in turn, until it survives its operation.
pub fn each_step(name: &str, plan: Plan, signal: i32) -> Outcome {
    let end = Event::new()?;
    let sleeps = || Process::spawn(|end: Event| end.wait(), end.clone());
    let mut points = Points {
        plan,
        signal,
        step: 1,
        witness: Witness::start(),
        bystanders: [sleeps()?, sleeps()?, sleeps()?, sleeps()?],
        words: Words::new(),
        worst: Duration::ZERO,
    };
    let before = in_use();
    let mut survived = 0;
    // The number of steps may differ by a step or two when a wake comes early.
    while survived < 3 {
        for word in [BEGUN, READY, GO] {
            points.words.set(word, 0);
        }
        let end = match plan {
            Plan::Put { form, bound, fill } => points.put(form, bound, fill),
            Plan::Get {
                form,
                bound,
                fill,
                taken,
            } => points.get(form, bound, fill, taken),
            Plan::GetAsleep => points.get_asleep(),
            Plan::PutAsleep => points.put_asleep(),
            Plan::Lock => points.lock(),
            Plan::LockAsleep => points.lock_asleep(),
        };
        survived += u32::from(end == End::Survived);
        until("nothing is leaked", PROMISED, || in_use() == before);
        points.step += 1;
    }
    let (steps, worst) = (points.step - 1 - survived, points.worst);
    assert!(steps > 1, "an operation has steps");
    points.witness.end()?;
    end.set();
    for bystander in points.bystanders {
        bystander.join()?;
    }
    println!("{name}: {steps} points, the others went on within {worst:?}");
    Ok(())
}

impl Points {
    fn start(&self, object: &Object) -> Process<Option<u64>> {
        let act = (
            self.plan,
            self.step,
            self.signal,
            name_of(object),
            self.words,
        );
        let process = Process::spawn(victim, act).expect("a process");
        until("the victim is ready", PROMISED, || {
            self.words.get(READY) == 1
        });
        // It has woken all who sleep. Once they sleep again, only its death can.
        until("the others sleep", PROMISED, || {
            let mut bystanders = self.bystanders.iter();
            bystanders.all(|other| is_asleep(other.pid())) && self.witness.is_asleep()
        });
        self.words.set(GO, 1);
        process
    }

    /// Until the victim sleeps, has ended or is stopped.
    fn until_asleep(&self, process: &Process<Option<u64>>) {
        until("the victim sleeps or dies", PROMISED, || {
            self.words.get(BEGUN) == 1 && is_asleep(process.pid()) || state(process, true).is_some()
        });
    }

    /// Until the victim has died, stopped or survived, or the witness has done what it was to do.
    fn until_either(&self, process: &Process<Option<u64>>) -> Option<End> {
        let mut end = None;
        until("victim or witness goes on", PROMISED, || {
            end = state(process, true);
            end.is_some() || self.witness.is_done()
        });
        end
    }

    fn answer(&mut self, since: Instant) -> Answer {
        self.witness.answer(since, &mut self.worst)
    }

    fn put(&mut self, form: Form, bound: u64, fill: u64) -> End {
        let (raw, queue) = make_queue(bound);
        for id in 0..fill {
            put(arena(), queue, form, id, Some(0)).expect("room");
        }
        if fill == 0 {
            self.witness.begin(Order::Get, raw.object(), true);
        }
        let process = self.start(raw.object());
        let end = ended_or_stopped(&process);
        let since = Instant::now();
        let (mut expected, mut got) = ((0..fill).collect::<Vec<_>>(), Vec::new());
        if fill == 0 {
            // If the item is there, nothing else shall wake the witness.
            if queue.is_empty(arena()) && !self.witness.is_done() {
                put(arena(), queue, form, EXTRA[0], promised()).expect("room");
                expected.push(EXTRA[0]);
            }
            got.extend(did(self.answer(since)));
        } else if bound != 0 {
            got.extend(get(arena(), queue, promised()));
        }
        let since = Instant::now();
        self.witness.begin(Order::Put, raw.object(), false);
        assert_eq!(self.answer(since), Answer::Did(0));
        expected.push(OF_WITNESS);
        got.extend(drain(queue));
        let of_victim = got.iter().position(|&id| id == OF_VICTIM);
        if let Some(at) = of_victim {
            assert_eq!(at as u64, fill, "in its place");
            got.remove(at);
        }
        assert_eq!(got, expected);
        let arrived = of_victim.is_some();
        match end {
            End::Killed => drop(process),
            End::Survived => assert!(process.join() == Ok(None) && arrived),
            End::Stopped => {
                assert_eq!(resumed(process), None);
                let rest = drain(queue);
                assert_eq!(
                    rest.as_slice(),
                    if arrived { &[][..] } else { &[OF_VICTIM] }
                );
            }
        }
        end
    }

    fn get(&mut self, form: Form, bound: u64, fill: u64, taken: u64) -> End {
        let (raw, queue) = make_queue(bound);
        for id in 0..fill {
            put(arena(), queue, form, id, Some(0)).expect("room");
        }
        for id in 0..taken {
            assert_eq!(get(arena(), queue, Some(0)), Some(id));
        }
        let mut expected: Vec<_> = (taken..fill).collect();
        if bound != 0 {
            self.witness.begin(Order::Put, raw.object(), true);
            expected.push(OF_WITNESS);
        }
        let process = self.start(raw.object());
        let end = ended_or_stopped(&process);
        let since = Instant::now();
        let mut got = Vec::new();
        if bound != 0 {
            // If there is room, nothing else shall wake the witness.
            if queue.len(arena()) == bound && !self.witness.is_done() {
                got.extend(get(arena(), queue, promised()));
            }
            assert_eq!(self.answer(since), Answer::Did(0));
        } else {
            self.witness.begin(Order::Get, raw.object(), false);
            got.extend(did(self.answer(since)));
        }
        got.extend(drain(queue));
        let missing = got != expected;
        if missing {
            // At most the one that was in its hands.
            assert_eq!(expected.remove(0), taken);
            assert_eq!(got, expected);
        }
        match end {
            End::Killed => drop(process),
            End::Survived => assert!(process.join() == Ok(Some(taken)) && missing),
            End::Stopped => {
                put(arena(), queue, form, EXTRA[0], promised()).expect("room");
                let its = resumed(process);
                assert_eq!(its, Some(if missing { taken } else { EXTRA[0] }));
                let rest = drain(queue);
                assert_eq!(rest.as_slice(), if missing { &EXTRA[..1] } else { &[] });
            }
        }
        end
    }

    fn get_asleep(&mut self) -> End {
        let (raw, queue) = make_queue(0);
        let process = self.start(raw.object());
        self.until_asleep(&process);
        self.witness.begin(Order::Get, raw.object(), true);
        let mut all = EXTRA.iter().copied();
        let mut sent = Vec::new();
        let mut send = || {
            let id = all.next().expect("three will do");
            put(arena(), queue, Form::Inline, id, promised()).expect("room");
            sent.push(id);
        };
        let since = Instant::now();
        send();
        let end = self.until_either(&process).unwrap_or_else(|| {
            // The witness was first, and the victim sleeps on.
            if state(&process, true).is_none() {
                send();
            }
            ended_or_stopped(&process)
        });
        // If the item is there, nothing else shall wake the witness.
        if queue.is_empty(arena()) && !self.witness.is_done() {
            send();
        }
        let mut got = vec![did(self.answer(since)).expect("an item")];
        match end {
            End::Killed => drop(process),
            End::Survived => got.extend(process.join().expect("it survived")),
            End::Stopped => {
                if queue.is_empty(arena()) {
                    send();
                }
                got.extend(resumed(process));
            }
        }
        got.extend(drain(queue));
        let lost = sent.iter().filter(|id| !got.contains(id)).count();
        assert!(
            lost <= usize::from(end == End::Killed),
            "{got:?} of {sent:?}"
        );
        assert_eq!(
            got.len() + lost,
            sent.len(),
            "each once: {got:?} of {sent:?}"
        );
        end
    }

    fn put_asleep(&mut self) -> End {
        let (raw, queue) = make_queue(1);
        put(arena(), queue, Form::Inline, 0, Some(0)).expect("room");
        let process = self.start(raw.object());
        self.until_asleep(&process);
        self.witness.begin(Order::Put, raw.object(), true);
        let since = Instant::now();
        let mut got = vec![get(arena(), queue, promised()).expect("it is there")];
        let end = self.until_either(&process).unwrap_or_else(|| {
            // The witness was first; after this the victim has room.
            got.extend(get(arena(), queue, promised()));
            ended_or_stopped(&process)
        });
        // If there is room, nothing else shall wake the witness.
        if !queue.is_empty(arena()) && !self.witness.is_done() {
            got.extend(get(arena(), queue, promised()));
        }
        assert_eq!(self.answer(since), Answer::Did(0));
        got.extend(drain(queue));
        match end {
            End::Killed => drop(process),
            End::Survived => assert_eq!(process.join(), Ok(None)),
            End::Stopped => assert_eq!(resumed(process), None),
        }
        got.extend(drain(queue));
        got.sort_unstable();
        let arrived = got.contains(&OF_VICTIM);
        assert!(arrived || end == End::Killed);
        let mut expected = vec![0, OF_WITNESS];
        expected.extend(arrived.then_some(OF_VICTIM));
        assert_eq!(got, expected);
        end
    }

    fn lock(&mut self) -> End {
        let lock = Lock::new().expect("room");
        let process = self.start(lock.object());
        let end = ended_or_stopped(&process);
        if end == End::Stopped && lock.is_locked() {
            keeps(&lock);
            assert_eq!(resumed(process), None);
            drop(lock.acquire().expect("it was released"));
            return end;
        }
        let since = Instant::now();
        self.witness.begin(Order::Acquire, lock.object(), false);
        let answer = self.answer(since);
        self.settle(&lock, answer, end, process);
        end
    }

    fn lock_asleep(&mut self) -> End {
        let lock = Lock::new().expect("room");
        let guard = lock.acquire().expect("it is free");
        let process = self.start(lock.object());
        self.until_asleep(&process);
        self.witness.begin(Order::Acquire, lock.object(), true);
        let mut since = Instant::now();
        drop(guard);
        let end = ended_or_stopped(&process);
        if end != End::Stopped {
            since = Instant::now();
        } else if lock.is_locked() && !self.witness.is_done() {
            keeps(&lock);
            since = Instant::now();
            assert_eq!(resumed(process), None);
            assert_eq!(self.answer(since), Answer::Did(0));
            drop(lock.acquire().expect("it was released"));
            return end;
        }
        let answer = self.answer(since);
        self.settle(&lock, answer, end, process);
        end
    }

    /// Free, or broken by the victim; then it can be made whole.
    fn settle(&self, lock: &Lock, answer: Answer, end: End, process: Process<Option<u64>>) {
        if answer == Answer::Broken {
            assert_eq!(end, End::Killed);
            let error = lock.acquire().expect_err("it stays broken");
            assert_eq!(error.kind(), Kind::BrokenLock);
            assert_eq!(error.pid(), Some(process.pid()));
            assert!(lock.reset());
        } else {
            assert_eq!(answer, Answer::Did(0));
        }
        drop(lock.acquire().expect("it is whole"));
        match end {
            End::Killed => drop(process),
            End::Survived => assert_eq!(process.join(), Ok(None)),
            End::Stopped => assert_eq!(resumed(process), None),
        }
    }
}

/// A stopped holder keeps its lock: that is what a lock is for.
fn keeps(lock: &Lock) {
    let soon = Duration::from_millis(5);
    assert!(lock.acquire_timeout(soon).expect("nobody died").is_none());
}

fn did(answer: Answer) -> Option<u64> {
    match answer {
        Answer::Did(id) => Some(id),
        other => panic!("an item within the promised time, not {other:?}"),
    }
}

fn drain(queue: Queue) -> Vec<u64> {
    std::iter::from_fn(|| get(arena(), queue, Some(0))).collect()
}

/// Lets a stopped victim go on to its end.
fn resumed(process: Process<Option<u64>>) -> Option<u64> {
    // SAFETY: a signal to a child that was not waited for.
    unsafe { libc::kill(process.pid() as i32, libc::SIGCONT) };
    process.join().expect("it goes on as if nothing had been")
}

/// What became of a victim. It is not waited for: nobody shall learn of its death from us.
fn state(process: &Process<Option<u64>>, now: bool) -> Option<End> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
    let options = options | if now { libc::WNOHANG } else { 0 };
    // SAFETY: the kernel fills the structure; zeros are valid in it.
    let info = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result = libc::waitid(libc::P_PID, process.pid(), &mut info, options);
        assert_eq!(result, 0, "the victim is our child");
        info
    };
    // SAFETY: these fields are set where the kernel found a child, and zero where not.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    Some(match info.si_code {
        libc::CLD_STOPPED => End::Stopped,
        libc::CLD_KILLED if status == libc::SIGKILL => End::Killed,
        libc::CLD_EXITED if status == 0 => End::Survived,
        code => panic!("the victim ended in no way that was planned: {code}, {status}"),
    })
}

fn ended_or_stopped(process: &Process<Option<u64>>) -> End {
    state(process, false).expect("it was waited for")
}
