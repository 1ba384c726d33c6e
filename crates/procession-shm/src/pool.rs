//! A pool: a queue of tickets, each of which names a job; workers claim the elements of the job at the head.
//!
//! *Invariant*: a ticket leaves the queue only after every element of its job was claimed. So no death between two steps
//! loses work, and what is not begun is found by whoever looks at the head. States and deaths: README.md of this crate.

use crate::gate::Gate;
use crate::heap::{self, OutOfMemory};
use crate::job::{self, Held, Job};
use crate::message::{self, Message};
use crate::object::{self, BODY_BLOCK, Gone, Handle, Kind};
use crate::queue::{Item, NotPut, Queue};
use crate::section::Section;
use crate::slot::{Frame, Intent};
use crate::tag::{Holds, Tag};
use crate::world::{Fate, Interrupted, Off, Owner, Wake, World};

// Words of the body, beside the queue's at BODY_BLOCK.
const STATE: u64 = 0;
const SETTLED: u64 = 8;
const WORKERS: u64 = 24;
const ERROR: u64 = 32;
const READY: u64 = 40;
const KEEPER: u64 = 48;
const SEARCHER: u64 = 56;

/// The kind of the messages that are tickets.
const TICKET: u8 = 1;

/// What may still happen in a pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u64)]
pub enum State {
    /// Jobs are taken and done.
    Open = 0,
    /// No more jobs are taken; those that were are done.
    Closed = 1,
    /// All is done, and the workers have ended.
    Ended = 2,
    /// Nothing more is done.
    Terminated = 3,
    /// Nothing more is done, because workers can't be started; [`Pool::error`] may say why.
    Broken = 4,
}

/// Why a worker got no element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoElement {
    /// There is none, and there will be none.
    Over,
    /// There is none, and the time is over.
    TimedOut,
    /// A signal came.
    Interrupted,
    /// The calling thread runs an element already.
    Nested,
}

/// Why a job was not submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSubmitted {
    /// The pool takes no more jobs.
    NotOpen(State),
    /// The arena's budget is used up.
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for NotSubmitted {
    fn from(error: OutOfMemory) -> Self {
        NotSubmitted::OutOfMemory(error)
    }
}

/// A worker that looks for tickets, and says so, so that who submits one need not wake another. One at a time says so; others
/// look as well. If it is killed it counts no more, and its death wakes all; while it is stopped a ticket waits for a slice's end.
struct Search<'w, W: World> {
    world: &'w W,
    pool: Pool,
    is_mine: bool,
}

impl<'w, W: World> Search<'w, W> {
    fn new(world: &'w W, pool: Pool) -> Self {
        Self {
            world,
            pool,
            is_mine: false,
        }
    }

    fn begin(&mut self) {
        if self.is_mine {
            return;
        }
        let (world, at) = (self.world, self.pool.body + SEARCHER);
        let seen = world.load(at);
        if seen == 0 || world.fate(Owner::from_bits(seen)) != Fate::Alive {
            self.is_mine = world.cas(at, seen, world.me().to_bits()).is_ok();
        }
    }

    /// Says whether it was said: then the caller looks once more before it sleeps.
    fn end(&mut self) -> bool {
        let was_mine = core::mem::take(&mut self.is_mine);
        if was_mine {
            self.world.store(self.pool.body + SEARCHER, 0);
            self.world.fence();
        }
        was_mine
    }
}

/// The pool that a handle names, and its body.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    handle: Handle,
    body: Off,
}

impl Pool {
    /// The pool that a handle names.
    pub fn of<W: World>(world: &W, handle: Handle) -> Result<Self, Gone> {
        let body = object::body(world, handle, Kind::Pool)?;
        Ok(Self { handle, body })
    }

    /// Makes a pool object for so many workers; the calling process has one lease on it.
    pub fn create<W: World>(world: &W, workers: u64) -> Result<Handle, OutOfMemory> {
        object::create(world, Kind::Pool, |entry, body| {
            world.store(body + WORKERS, workers);
            Queue::init(world, entry, body + BODY_BLOCK, 0)
        })
    }

    fn queue<W: World>(self, world: &W) -> Queue {
        Queue::at(world.load(self.body + BODY_BLOCK))
    }

    /// Its handle.
    pub fn handle(self) -> Handle {
        self.handle
    }

    /// The number of workers that it is to have.
    pub fn workers<W: World>(self, world: &W) -> u64 {
        world.load(self.body + WORKERS)
    }

    /// What may still happen in it.
    #[inline]
    pub fn state<W: World>(self, world: &W) -> State {
        match world.load(self.body + STATE) {
            0 => State::Open,
            1 => State::Closed,
            2 => State::Ended,
            3 => State::Terminated,
            _ => State::Broken,
        }
    }

    /// Takes it to a later state, and tells all who wait; false if it is there or further already.
    pub fn advance<W: World>(self, world: &W, to: State) -> bool {
        let _section = Section::PoolState.enter();
        let mut seen = world.load(self.body + STATE);
        loop {
            // What has ended in whatever way has ended.
            if seen >= to as u64 || seen >= State::Ended as u64 {
                return false;
            }
            match world.cas(self.body + STATE, seen, to as u64) {
                Ok(()) => break,
                Err(now) => seen = now,
            }
        }
        self.queue(world).wake_consumers(world);
        world.tell_death();
        true
    }

    /// Whether no job waits for workers.
    pub fn is_idle<W: World>(self, world: &W) -> bool {
        self.queue(world).is_empty(world)
    }

    /// Hands a job of this pool to its workers.
    pub fn submit<W: World>(self, world: &W, job: Handle) -> Result<(), NotSubmitted> {
        let _section = Section::PoolSubmit.enter();
        let check = || match self.state(world) {
            State::Open => Ok(()),
            state => Err(NotSubmitted::NotOpen(state)),
        };
        check()?;
        let ticket = Message::new(world, TICKET, 0, 1)?;
        ticket.add_edge(0, job)?;
        let mut ticket = Item::Message(&mut Some(ticket));
        match self.queue(world).try_put_quietly(world, &mut ticket) {
            Ok(()) => {
                self.tell_submitted(world);
                Ok(())
            }
            Err(NotPut::OutOfMemory(error)) => Err(error.into()),
            Err(NotPut::Full | NotPut::Interrupted) => {
                unreachable!("the queue of a pool has no bound, so nobody waits for room")
            }
        }
    }

    /// Wakes a worker, unless one is awake and looks for tickets.
    fn tell_submitted<W: World>(self, world: &W) {
        // Pairs with the fence in `Search::end`: either we see that he has ended, or he sees the ticket.
        world.fence();
        let searcher = world.load(self.body + SEARCHER);
        if searcher == 0 || world.fate(Owner::from_bits(searcher)) != Fate::Alive {
            self.queue(world).items().notify(world);
        }
    }

    /// Claims the next element for the calling thread, waiting until `until` at most. `current` is the job that the
    /// caller works on, and afterwards the one that the element is of.
    pub fn next<'w, W: World>(
        self,
        world: &'w W,
        current: &mut Option<Held<'w, W>>,
        until: Option<u64>,
    ) -> Result<u64, NoElement> {
        let _section = Section::TaskTake.enter();
        if current.is_none() && job::looks_into_one(world) {
            return Err(NoElement::Nested);
        }
        let mut search = Search::new(world, self);
        let found = self.find(world, current, until, &mut search);
        // What came beside what was found was not told to anybody.
        if search.end() && !self.is_idle(world) {
            self.queue(world).items().notify(world);
        }
        found
    }

    fn find<'w, W: World>(
        self,
        world: &'w W,
        current: &mut Option<Held<'w, W>>,
        until: Option<u64>,
        search: &mut Search<'w, W>,
    ) -> Result<u64, NoElement> {
        let items = self.queue(world).items();
        let (mut round, mut late, mut announced) = (0, until == Some(0), None);
        loop {
            // Asked first: what was submitted before the end is found after it.
            let state = self.state(world);
            if state >= State::Ended {
                return Err(NoElement::Over);
            }
            if let Some(held) = current {
                if let Some(index) = held.job().claim(world) {
                    return Ok(index);
                }
                *current = None;
            }
            match self.look(world) {
                Look::Job(held) => {
                    let index = held.job().claim(world);
                    if held.job().is_exhausted(world) {
                        self.remove_ticket(world, &held);
                    } else {
                        // There is more to do than one can.
                        items.notify(world);
                    }
                    if let Some(index) = index {
                        *current = Some(held);
                        return Ok(index);
                    }
                }
                Look::Again => {}
                Look::Nothing if state != State::Open => return Err(NoElement::Over),
                Look::Nothing if late => return Err(NoElement::TimedOut),
                Look::Nothing if world.spin(round) => {
                    search.begin();
                    round += 1;
                }
                Look::Nothing if search.end() => {}
                Look::Nothing => match announced.take() {
                    None => announced = Some(items.announce(world)),
                    Some(ticket) => match world.wait(items.0, ticket, until) {
                        Wake::Look => {}
                        Wake::TimedOut => late = true,
                        Wake::Interrupted => return Err(NoElement::Interrupted),
                    },
                },
            }
        }
    }

    /// Looks into the job of the ticket at the head.
    fn look<W: World>(self, world: &W) -> Look<'_, W> {
        let mut found = Look::Nothing;
        let _ = self.queue(world).visit_head(world, &mut |ticket, place| {
            // The ticket may be somebody else's message by now: then the place tells.
            let held = message::named(world, ticket.block, 0)
                .and_then(|handle| Held::new(world, handle, || place.holds(world)));
            found = held.map_or(Look::Again, Look::Job);
            Err::<(), ()>(())
        });
        found
    }

    /// Takes away the ticket of a job of which every element was claimed, if it is still at the head.
    fn remove_ticket<W: World>(self, world: &W, held: &Held<'_, W>) {
        let _ = self
            .queue(world)
            .visit_head(
                world,
                &mut |ticket, _| match message::named(world, ticket.block, 0) {
                    Some(handle) if handle == held.handle() => Ok(()),
                    _ => Err(()),
                },
            );
    }

    /// Settles an element that the calling thread has claimed, with up to [`job::INLINE`] bytes.
    pub fn settle_inline<W: World>(self, world: &W, job: Job, index: u64, kind: u8, bytes: &[u8]) {
        let _section = Section::TaskSettle.enter();
        if job.settle_inline(world, index, kind, bytes) {
            self.tell_settled(world, job);
        }
    }

    /// Settles an element that the calling thread has claimed, with a message that it owns.
    pub fn settle_message<W: World>(
        self,
        world: &W,
        job: Job,
        index: u64,
        message: Message<'_, W>,
    ) {
        let _section = Section::TaskSettle.enter();
        if job.settle_message(world, index, message) {
            self.tell_settled(world, job);
        }
    }

    /// Gives up an element that the calling thread has claimed.
    pub fn settle_lost<W: World>(
        self,
        world: &W,
        job: Job,
        index: u64,
        pid: u32,
        exit: Option<i32>,
    ) {
        let _section = Section::TaskSettle.enter();
        if job.settle_lost(world, index, pid, exit) {
            self.tell_settled(world, job);
        }
    }

    fn tell_settled<W: World>(self, world: &W, job: Job) {
        if job.asks(world) {
            Gate(self.body + SETTLED).notify_all(world);
        }
    }

    /// Waits at the gate of settled elements until `look` finds something, until `until` at most; false if the time is over.
    pub fn wait_settled<W: World>(
        self,
        world: &W,
        until: Option<u64>,
        mut look: impl FnMut() -> bool,
    ) -> Result<bool, Interrupted> {
        let _section = Section::TaskWait.enter();
        let (mut round, mut late) = (0, until == Some(0));
        loop {
            if look() {
                return Ok(true);
            }
            if late {
                return Ok(false);
            }
            if world.spin(round) {
                round += 1;
                continue;
            }
            let ticket = Gate(self.body + SETTLED).announce(world);
            if look() {
                return Ok(true);
            }
            match world.wait(self.body + SETTLED, ticket, until) {
                Wake::Look => {}
                Wake::TimedOut => late = true,
                Wake::Interrupted => return Err(Interrupted),
            }
        }
    }

    /// Makes who waits at the gate of settled elements look again.
    pub fn wake_settled<W: World>(self, world: &W) {
        let _section = Section::PoolState.enter();
        Gate(self.body + SETTLED).notify_all(world);
    }

    /// A worker has got ready to work.
    pub fn add_ready<W: World>(self, world: &W) {
        let _section = Section::PoolState.enter();
        world.add(self.body + READY, 1);
    }

    /// How many workers have got ready so far. A hint: one may have died before it said so.
    pub fn ready<W: World>(self, world: &W) -> u64 {
        world.load(self.body + READY)
    }

    /// What was noted of the process that keeps the workers, 0 at first.
    pub fn keeper<W: World>(self, world: &W) -> u64 {
        world.load(self.body + KEEPER)
    }

    /// Notes which process keeps the workers; false if it is another one than expected by now.
    pub fn change_keeper<W: World>(self, world: &W, from: u64, to: u64) -> bool {
        let _section = Section::PoolState.enter();
        world.cas(self.body + KEEPER, from, to).is_ok()
    }

    /// Leaves a message that says why workers can't be started, unless there is one.
    pub fn set_error<W: World>(self, world: &W, message: Message<'_, W>) {
        let _section = Section::PoolState.enter();
        let frame = Frame::enter(world);
        let (word, block) = (self.body + ERROR, message.into_block());
        frame.announce(Intent::Put { word, block });
        heap::set_tag(
            world,
            block,
            Tag::Shared(self.body_block(world), Holds::Message),
        );
        if world.cas(word, 0, block).is_err() {
            heap::set_tag(world, block, Tag::Owned(frame.me(), Holds::Message));
            frame.announce(Intent::None);
            message::free_tree(world, block);
        }
    }

    /// The message that says why workers can't be started. It stays the pool's.
    pub fn error<W: World>(self, world: &W) -> Option<crate::job::Lent<'_, W>> {
        match world.load(self.body + ERROR) {
            0 => None,
            block => Some(crate::job::Lent::new(world, block)),
        }
    }

    fn body_block<W: World>(self, world: &W) -> Off {
        world.load(self.body + BODY_BLOCK)
    }

    /// Takes apart what hangs below the queue's block, before the queue itself. Begun by one who died, it may be done again.
    pub(crate) fn take_apart<W: World>(world: &W, body: Off) {
        let (block, queue) = (world.load(body + ERROR), world.load(body + BODY_BLOCK));
        let ours = Tag::Shared(queue, Holds::Message);
        if heap::class_of(world, block).is_some()
            && heap::tag(world, block) == ours
            && heap::seize(world, block, ours)
        {
            message::free_tree(world, block);
        }
    }
}

/// What a look at the head found.
enum Look<'w, W: World> {
    Job(Held<'w, W>),
    Again,
    Nothing,
}
