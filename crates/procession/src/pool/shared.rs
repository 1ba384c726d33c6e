//! What a pool and its tasks have in common: its processes, how its jobs are handed over, and how one waits for them.

use super::call::Writer;
use super::callbacks::Callbacks;
use super::plan::Plan;
use super::serve::{self, CALL, FAILED};
use super::{Found, LOOK_AFTER, RawJob, RawPool, Round, State, not_open};
use crate::carrier;
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::process::Process;
use crate::queue::POSTCARD;
use crate::sys::process as sys;
use crate::time;
use procession_shm::object::Handle;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After so many keepers that ended before they had shown up the pool is given up.
const KEEPERS_TRIED: u32 = 3;

/// What busy workers get to end after SIGTERM, before they get SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct Shared {
    plan: Plan,
    owner: u32,
    keepers: Mutex<Keepers>,
    inputs: Mutex<Inputs>,
    pub callbacks: Callbacks,
}

/// The keeper that this process started last, and how many never showed up.
#[derive(Default)]
struct Keepers {
    last: Option<Process<()>>,
    failed: u32,
}

/// Inputs that are being read, and whether the pool is to close after them.
#[derive(Default)]
struct Inputs {
    open: usize,
    closing: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn start(plan: Plan) -> Result<Arc<Self>> {
        let shared = Self {
            plan,
            owner: sys::pid(),
            keepers: Mutex::default(),
            inputs: Mutex::default(),
            callbacks: Callbacks::default(),
        };
        shared.start_keeper(&mut lock(&shared.keepers))?;
        Ok(Arc::new(shared))
    }

    pub fn pool(&self) -> &RawPool {
        &self.plan.pool
    }

    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Whether the calling process made the pool: not so in one that was forked since.
    pub fn is_owner(&self) -> bool {
        self.owner == sys::pid()
    }

    pub fn is_over(&self) -> bool {
        self.pool().state() >= State::Ended
    }

    fn is_kept(&self) -> bool {
        self.pool().has_keeper() && !self.pool().is_abandoned()
    }

    fn start_keeper(&self, keepers: &mut Keepers) -> Result<()> {
        let builder = Process::builder().name(format!("{}-keeper", self.name()));
        keepers.last = Some(builder.spawn(serve::keep, self.plan.clone())?);
        Ok(())
    }

    /// To be called by who waits when nobody may keep the workers: starts a keeper if that is so.
    pub fn look_after(&self) -> Result<()> {
        if self.is_over() || self.is_kept() {
            return Ok(());
        }
        let mut keepers = lock(&self.keepers);
        let last = keepers.last.as_mut();
        if last.map_or(Ok(false), Process::is_alive)? {
            return Ok(());
        }
        if !self.pool().has_keeper() {
            keepers.failed += 1;
            if keepers.failed >= KEEPERS_TRIED {
                let why = "the process that is to start the workers ends before it has started one";
                serve::give_up(&self.plan, Kind::System, why);
                return Ok(());
            }
        }
        self.start_keeper(&mut keepers)
    }

    /// Waits for an element of a job, for all if `index` is `None`; false if the time is over. True as well if the pool ended first.
    pub fn wait(&self, job: &RawJob, index: Option<u64>, until: Option<u64>) -> Result<bool> {
        let mut round = Round::first();
        loop {
            match retry(|| job.wait(index, until, round))? {
                Found::Settled | Found::Over => return Ok(true),
                Found::TimedOut => return Ok(false),
                Found::Abandoned => {
                    self.look_after()?;
                    round = Round::looked();
                }
            }
        }
    }

    /// Waits until `look` finds something, which it is asked after an element of a job that asks was settled, or the pool is over.
    pub fn wait_settled(&self, mut look: impl FnMut() -> bool) -> Result<()> {
        loop {
            let kept = self.is_kept();
            if !kept {
                self.look_after()?;
            }
            let slice = time::deadline(Some(LOOK_AFTER)).filter(|_| !kept);
            let mut found = false;
            let look = || {
                found = look() || self.is_over();
                found || kept && self.pool().is_abandoned()
            };
            let mut look = look;
            retry(|| self.pool().wait_settled(slice, &mut look))?;
            if found {
                return Ok(());
            }
        }
    }

    /// Hands a job to the workers: the function of this token for each of `arguments`.
    pub fn submit<A: Serialize>(
        &self,
        token: i64,
        arguments: impl IntoIterator<Item = A>,
        asks: bool,
    ) -> Result<RawJob> {
        let mut writer = Writer::default();
        let mut handles: Vec<Handle> = Vec::new();
        // What arguments name lives until the call names it.
        let mut kept = Vec::new();
        for argument in arguments {
            let (written, named) = carrier::into_message(|| postcard::to_stdvec(&argument));
            match written {
                Ok(bytes) => {
                    writer.add(POSTCARD, &bytes, 0);
                    if !named.is_empty() {
                        kept.push(argument);
                    }
                    for handle in named {
                        if !handles.contains(&handle) {
                            handles.push(handle);
                        }
                    }
                }
                // The one that can't be turned into bytes fails alone.
                Err(error) => {
                    let text = format!("the argument can't be turned into bytes: {error}");
                    writer.add(FAILED, &serve::pack(Kind::Serialization, &text), 0);
                }
            }
        }
        let (arena, count) = (self.pool().arena(), writer.len());
        let call = writer.message(arena, CALL, 1, &token.to_le_bytes(), &handles)?;
        let submitted = self.pool().submit(call, count, asks);
        submitted.map_err(|error| match self.pool().state() {
            State::Broken => self.end_error(),
            _ => error,
        })
    }

    /// An error if the pool takes no more tasks.
    pub fn check_open(&self) -> Result<()> {
        match self.pool().state() {
            State::Open if lock(&self.inputs).closing => Err(not_open(State::Closed)),
            State::Open => Ok(()),
            State::Broken => Err(self.end_error()),
            state => Err(not_open(state)),
        }
    }

    /// Why what is not done will not be.
    pub fn end_error(&self) -> Error {
        if self.pool().state() != State::Broken {
            return Error::new(
                Kind::Terminated,
                "the pool was terminated before the task was done",
            );
        }
        let why = self.pool().error().map(|message| {
            let (at, len) = message.bytes();
            let bytes = self.pool().arena().bytes(at, len);
            // SAFETY: the message is the pool's, on which we have a lease, and does not change.
            let bytes = unsafe { std::slice::from_raw_parts(bytes, len as usize) };
            serve::unpack(bytes).to_string()
        });
        let why = why.unwrap_or_else(|| {
            "they died again and again before they were ready; look at what the initializer does"
                .to_string()
        });
        Error::new(
            Kind::PoolBroken,
            format!("the pool's workers can't be started: {why}"),
        )
    }

    /// An input is read from now on: the pool closes after its end.
    pub fn input_begins(&self) -> Result<()> {
        self.check_open()?;
        lock(&self.inputs).open += 1;
        Ok(())
    }

    /// An input is read no more.
    pub fn input_ended(&self) {
        let mut inputs = lock(&self.inputs);
        inputs.open -= 1;
        if inputs.closing && inputs.open == 0 {
            self.pool().advance(State::Closed);
        }
    }

    pub fn close(&self) {
        let mut inputs = lock(&self.inputs);
        inputs.closing = true;
        if inputs.open == 0 {
            self.pool().advance(State::Closed);
        }
    }

    /// Waits for the end of a pool that was closed, or has ended.
    pub fn join(&self) -> Result<()> {
        self.wait_settled(|| false)?;
        if let Some(keeper) = &mut lock(&self.keepers).last {
            keeper.join_timeout(GRACE * 4)?;
        }
        self.callbacks.join();
        match self.pool().state() {
            State::Broken => Err(self.end_error()),
            _ => Ok(()),
        }
    }

    pub fn terminate(&self) -> Result<()> {
        self.pool().terminate(GRACE)?;
        if let Some(keeper) = &mut lock(&self.keepers).last {
            // It ends when no worker is left. One that is stopped does not.
            if keeper.join_timeout(GRACE)? == crate::process::Joined::Running {
                keeper.kill()?;
                keeper.join_timeout(GRACE)?;
            }
        }
        Ok(())
    }
}
