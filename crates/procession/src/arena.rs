//! The arena of this program: made by its root at first use, mapped once by every process.
//!
//! `Arena` is the [`World`] that ships. *Invariant*: no pointer is stored in the arena, nothing in
//! it is read without a check of its range, and it is never unmapped (a life word must stay
//! mapped until its thread is dead).

use crate::error::{Error, Kind, Result};
use crate::life;
use crate::parcel::Chest;
use crate::sys::{futex, memory, process};
use crate::time;
use procession_shm::layout::{Layout, VERSION, header};
use procession_shm::process as record;
use procession_shm::section;
use procession_shm::slot::{self, State};
use procession_shm::{Fate, Off, Owner, Wake, World};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

const MAGIC: u64 = u64::from_le_bytes(*b"processn");

/// The runtime's own words of the header.
pub(crate) mod word {
    use procession_shm::layout::header::RUNTIME;
    /// Length of a slice in nanoseconds.
    pub const SLICE: u64 = RUNTIME;
    /// Counts forks and starts, so that each process has a token of its own.
    pub const TOKENS: u64 = RUNTIME + 8;
    /// Process id of the root.
    pub const ROOT: u64 = RUNTIME + 16;
    /// Numbers requests to templates.
    pub const REQUESTS: u64 = RUNTIME + 24;
    /// The first janitor, as it names itself; 0: there was none yet.
    pub const JANITOR: u64 = RUNTIME + 40;
    /// What tells the chest's two sockets from all others, in two words: see [`crate::parcel`].
    pub const CHEST: u64 = RUNTIME + 48;
    /// The doors of templates: see [`crate::template`].
    pub const DOORS: u64 = RUNTIME + 256;
    /// The slots of parcels, to the end of the header: see [`crate::parcel`].
    pub const SLOTS: u64 = procession_shm::layout::header::END - 8 * SLOT_COUNT;
    /// How many there are.
    pub const SLOT_COUNT: u64 = 64;
}

/// How long a sleep lasts before it looks again. A safety net, not the mechanism.
const SLICE: u64 = 20_000_000;

static ARENA: AtomicPtr<Arena> = AtomicPtr::new(std::ptr::null_mut());

/// The mapping of the arena in this process, and who this process is in it.
pub struct Arena {
    base: *mut u8,
    layout: Layout,
    file: OwnedFd,
    identity: (u64, u64),
    /// Reads 0 in a process that was forked and has not been given its token yet.
    token: *const AtomicU64,
    /// This process's record, plus one; 0 until it is known.
    pub(crate) record: AtomicU32,
    /// Descriptors that belong to the program's end: see [`crate::program`].
    pub(crate) root: crate::program::RootPipe,
    /// Descriptors by which others travel.
    pub(crate) chest: Chest,
    cores: usize,
    spins: AtomicBool,
}

// SAFETY: the pointers are to mappings that live as long as the process and are shared by design; all
// access to them is atomic or to blocks that the accessing thread owns.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// The arena of this program; made now, with this process as root, if there is none yet.
    pub fn get() -> Result<&'static Arena> {
        match Self::existing() {
            Some(arena) => Ok(arena),
            None => Self::publish(Self::make()?),
        }
    }

    /// The arena, if this process has one already.
    #[inline]
    pub fn existing() -> Option<&'static Arena> {
        // SAFETY: the pointer was leaked from a box and is never freed.
        unsafe { ARENA.load(Ordering::Acquire).as_ref() }
    }

    fn publish(arena: Arena) -> Result<&'static Arena> {
        let new = Box::into_raw(Box::new(arena));
        match ARENA.compare_exchange(
            std::ptr::null_mut(),
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => {
                // SAFETY: just leaked; nobody frees it.
                let arena = unsafe { &*new };
                crate::program::install(arena)?;
                Ok(arena)
            }
            Err(other) => {
                // Another thread was first. Its mapping stays; ours was used by nobody.
                // SAFETY: `new` is ours alone; `other` was leaked by the other thread.
                unsafe {
                    drop(Box::from_raw(new));
                    Ok(&*other)
                }
            }
        }
    }

    fn make() -> Result<Arena> {
        let size = memory::choose_size();
        if size < procession_shm::layout::MIN_SIZE {
            return Err(Error::new(
                Kind::OutOfMemory,
                format!(
                    "the limits on file size or address space leave {size} bytes for the arena; raise RLIMIT_FSIZE or RLIMIT_AS"
                ),
            ));
        }
        let file = memory::create(size).map_err(|e| Error::system("making the arena", e))?;
        let layout = Layout::new(size);
        let root = crate::program::RootPipe::make()?;
        let arena = Self::map(file, layout, root)?;
        let program = random_program(&arena);
        let slice = std::env::var("PROCESSION_SLICE_MS")
            .ok()
            .and_then(|ms| ms.parse::<u64>().ok());
        for (at, value) in [
            (header::VERSION, VERSION),
            (header::BUILD, build_id()),
            (header::PROGRAM, program.0),
            (header::PROGRAM + 8, program.1),
            (header::SIZE, size),
            (header::THREADS, layout.thread_count),
            (header::PROCESSES, layout.process_count),
            (header::BUDGET, memory::budget()),
            (header::WATERMARK, memory::budget() / 4),
            (
                word::SLICE,
                slice.map_or(SLICE, |ms| ms.saturating_mul(1_000_000)),
            ),
            (word::ROOT, process::pid() as u64),
            (header::MAGIC, MAGIC),
        ] {
            arena.store(at, value);
        }
        arena.chest.make(&arena)?;
        Ok(arena)
    }

    /// Attaches to the arena of the process that started this one: the file, the read end of the
    /// root's pipe, and the record that the starter reserved, with the use of it if that is known.
    pub fn attach(
        file: OwnedFd,
        root_read: RawFd,
        reserved: u32,
        reserved_in: Option<u64>,
    ) -> Result<&'static Arena> {
        if Self::existing().is_some() {
            return Err(Error::new(
                Kind::InvalidInput,
                "this process has an arena already; attach before first use",
            ));
        }
        let arena = Self::publish(Self::look(file)?)?;
        crate::program::show_up(arena, reserved, reserved_in)?;
        crate::program::leave_earlier_records(arena);
        arena.chest.take_over(arena, reserved);
        arena.root.arm(root_read)?;
        Ok(arena)
    }

    /// Maps the arena of another process, to look into it: the caller is no process of the program.
    pub(crate) fn look(file: OwnedFd) -> Result<Arena> {
        let damaged = |what: &str| Error::new(Kind::InvalidInput, format!("arena damaged: {what}"));
        let size =
            memory::size(file.as_fd()).map_err(|e| Error::system("reading the arena's size", e))?;
        if !(procession_shm::layout::MIN_SIZE..=procession_shm::layout::MAX_SIZE).contains(&size) {
            return Err(damaged("its size is not one that an arena has"));
        }
        let arena = Self::map(file, Layout::new(size), crate::program::RootPipe::none())?;
        if arena.load(header::MAGIC) != MAGIC || arena.load(header::SIZE) != size {
            return Err(damaged("the header does not say that it is one"));
        }
        if arena.load(header::VERSION) != VERSION || arena.load(header::BUILD) != build_id() {
            return Err(Error::new(
                Kind::InvalidInput,
                "this process runs another build of procession than the one that started it; install one build for both",
            ));
        }
        Ok(arena)
    }

    fn map(file: OwnedFd, layout: Layout, root: crate::program::RootPipe) -> Result<Arena> {
        let base = memory::map(file.as_fd(), layout.size)
            .map_err(|e| Error::system("mapping the arena", e))?;
        let identity =
            memory::identity(file.as_fd()).map_err(|e| Error::system("looking at the arena", e))?;
        let token =
            memory::wiped_on_fork().map_err(|e| Error::system("making the fork token", e))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arena {
            base,
            layout,
            file,
            identity,
            token,
            record: AtomicU32::new(0),
            root,
            chest: Chest::none(),
            cores,
            spins: AtomicBool::new(true),
        })
    }

    /// What tells this program from every other.
    pub fn program(&self) -> (u64, u64) {
        (self.load(header::PROGRAM), self.load(header::PROGRAM + 8))
    }

    /// The arena's file, to hand to a process that is started; an error if the descriptor is not the arena's any
    /// more, because somebody closed it.
    pub fn file(&self) -> Result<BorrowedFd<'_>> {
        match memory::identity(self.file.as_fd()) {
            Ok(identity) if identity == self.identity => Ok(self.file.as_fd()),
            _ => Err(Error::new(
                Kind::System,
                "the arena's descriptor was closed by somebody else (os.closerange?); no process can be started any more",
            )),
        }
    }

    /// Bytes of the arena as memory. For blocks that the caller owns or has a lease on.
    ///
    /// # Panics
    /// If the range is not within the arena: its memory is damaged.
    #[inline]
    pub fn bytes(&self, at: Off, len: u64) -> *mut u8 {
        assert!(
            at.checked_add(len)
                .is_some_and(|end| end <= self.layout.size),
            "arena damaged: range outside of it"
        );
        // SAFETY: just checked to lie within the mapping.
        unsafe { self.base.add(at as usize) }
    }

    #[inline]
    fn word(&self, at: Off) -> &AtomicU64 {
        assert!(
            at < self.layout.size && at.is_multiple_of(8),
            "arena damaged: word outside of it"
        );
        // SAFETY: aligned and within the mapping, which lives as long as the process; all processes
        // access words atomically.
        unsafe { &*self.base.add(at as usize).cast() }
    }

    /// The low half of a word: what a futex looks at.
    fn half(&self, at: Off) -> &AtomicU32 {
        let word: *const AtomicU64 = self.word(at);
        // SAFETY: the first half of a valid word, on a little-endian machine the low one; accessed by
        // the kernel and by futex calls only.
        unsafe { &*word.cast() }
    }

    /// The life word of a thread slot.
    pub(crate) fn life(&self, slot: u32) -> crate::sys::life_word::LifeWord {
        let at = self.layout.thread(slot) + slot::word::LIFE;
        // SAFETY: 64 bytes of the slot that serve nothing else, aligned, mapped for good.
        unsafe { crate::sys::life_word::LifeWord::at(self.bytes(at, 64)) }
    }

    /// The token of this process, which no other has or had; 0 in a child forked by a call that runs no handlers, until
    /// it was given one.
    #[inline]
    pub(crate) fn token(&self) -> u64 {
        // SAFETY: the page lives as long as the process.
        unsafe { &*self.token }.load(Ordering::Relaxed)
    }

    /// Gives this process its token, if it has none.
    pub(crate) fn give_token(&self) {
        if self.token() == 0 {
            let new = self.word(word::TOKENS).fetch_add(1, Ordering::Relaxed) + 1;
            // SAFETY: as above.
            let token = unsafe { &*self.token };
            // Another thread may have been first.
            let _ = token.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether this process was given its token.
    pub(crate) fn has_token(&self) -> bool {
        self.token() != 0
    }

    /// Maps a buffer's pages for this process alone, or shared again.
    pub(crate) fn remap(&self, at: Off, len: u64, private: bool) -> Result<()> {
        self.bytes(at, len);
        let file = self.file()?;
        // SAFETY: the range was just checked; blocks of whole spans are page-aligned; the caller shares
        // a range again only when the last view of it is gone.
        unsafe { memory::remap(file, self.base, at, len, private) }
            .map_err(|e| Error::system("remapping a buffer", e))
    }

    /// Turns spinning before sleeping on or off, in this process.
    pub fn set_spinning(&self, on: bool) {
        self.spins.store(on, Ordering::Relaxed);
    }

    /// How many sleeps ended by their slice and then found something to do; 0 unless a thread was killed or stopped.
    pub fn slices_that_found_work(&self) -> u64 {
        self.load(header::SLICE_FOUND_WORK)
    }

    /// How many thread slots were recovered from the dead.
    pub fn recoveries(&self) -> u64 {
        self.load(header::RECOVERED)
    }

    /// The number of descriptors that the arena needs: for tests.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Lists the words to sleep on beside the caller's own: the death epoch, and the lives of
    /// others. `None`: a death was found, look again.
    fn watch(&self, watched: &mut Watched, epoch: u64) -> Option<()> {
        watched.push(
            futex::word(self.half(header::EPOCH), epoch as u32),
            u32::MAX,
        );
        let me = self.me().slot;
        let high = self
            .load(header::THREADS_HIGH)
            .min(self.layout.thread_count) as u32;
        // Of more threads than a sleep takes words: those before us, round the table.
        for slot in (1..high.max(1)).map(|back| (me + high - back) % high) {
            if watched.len == futex::MAX_WORDS {
                break;
            }
            let seen = self.load(self.layout.thread(slot) + slot::word::STATE);
            let found = match slot::state(seen).1 {
                State::Live => life::notice_death(self, slot),
                State::Killed => life::bury(self, slot),
                State::Ended => life::see_off(self, slot),
                State::Vacant => continue,
            };
            if found {
                return None;
            }
            // A killed one is somebody else's to recover; if he dies of it, we hear of it.
            let life = self.life(slot).word();
            let value = life.load(Ordering::Acquire);
            if !crate::sys::life_word::LifeWord::says_died(value) {
                watched.push(futex::word(life, value), slot);
            }
        }
        Some(())
    }
}

/// The words of one sleep, on the stack: a sleep allocates nothing.
struct Watched {
    words: [futex::Word; futex::MAX_WORDS],
    slots: [u32; futex::MAX_WORDS],
    len: usize,
}

impl Watched {
    fn new() -> Self {
        Self {
            words: [futex::Word::new(); futex::MAX_WORDS],
            slots: [u32::MAX; futex::MAX_WORDS],
            len: 0,
        }
    }

    fn push(&mut self, word: futex::Word, slot: u32) {
        self.words[self.len] = word;
        self.slots[self.len] = slot;
        self.len += 1;
    }
}

impl World for Arena {
    #[inline]
    fn load(&self, at: Off) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }
    #[inline]
    fn store(&self, at: Off, value: u64) {
        section::check(at);
        self.word(at).store(value, Ordering::Release);
    }
    #[inline]
    fn cas(&self, at: Off, old: u64, new: u64) -> Result<(), u64> {
        section::check(at);
        self.word(at)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
    #[inline]
    fn swap(&self, at: Off, value: u64) -> u64 {
        section::check(at);
        self.word(at).swap(value, Ordering::AcqRel)
    }
    #[inline]
    fn add(&self, at: Off, value: u64) -> u64 {
        section::check(at);
        self.word(at).fetch_add(value, Ordering::AcqRel)
    }
    #[inline]
    fn fence(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
    #[inline]
    fn read(&self, at: Off, into: &mut [u8]) {
        let from = self.bytes(at, into.len() as u64);
        // SAFETY: within the arena; the structure that called owns the block or has it protected, so
        // nobody writes there now.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }
    #[inline]
    fn write(&self, at: Off, from: &[u8]) {
        let into = self.bytes(at, from.len() as u64);
        // SAFETY: within the arena; the structure that called owns the block or the cell.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }
    fn give_back(&self, at: Off, len: u64) {
        let bytes = self.bytes(at, len);
        let punched = self.file().map(|file| memory::punch(file, at, len));
        if !matches!(punched, Ok(Ok(()))) {
            // Without the descriptor the pages stay, and the block is cold in name only.
            // SAFETY: within the arena; the structure that called owns the block.
            unsafe { bytes.write_bytes(0, len as usize) };
        }
    }
    #[inline]
    fn layout(&self) -> &Layout {
        &self.layout
    }
    #[inline]
    fn me(&self) -> Owner {
        life::me(self)
    }
    #[inline]
    fn my_process(&self) -> u32 {
        match self.record.load(Ordering::Relaxed) {
            record if record != 0 && self.has_token() => record - 1,
            _ => crate::program::my_record(self),
        }
    }
    fn fate(&self, owner: Owner) -> Fate {
        life::fate(self, owner)
    }
    fn is_killed(&self, slot: u32) -> bool {
        let (generation, state) =
            slot::state(self.load(self.layout.thread(slot) + slot::word::STATE));
        match state {
            State::Killed => true,
            State::Live => life::fate(self, Owner { slot, generation }) == Fate::Killed,
            _ => false,
        }
    }
    #[cold]
    fn take_from_the_dead(&self) {
        crate::program::sweep(self);
    }
    fn wait(&self, at: Off, expected: u32, until: Option<u64>) -> Wake {
        let epoch = self.load(header::EPOCH);
        // A death was told since this thread last looked: it looks again first.
        if life::epoch_moved(epoch) {
            return Wake::Look;
        }
        let mut watched = Watched::new();
        watched.push(futex::word(self.half(at), expected), u32::MAX);
        if self.watch(&mut watched, epoch).is_none() {
            return Wake::Look;
        }
        let now = time::now();
        if until.is_some_and(|until| until <= now) {
            return Wake::TimedOut;
        }
        let slice = now.saturating_add(self.load(word::SLICE));
        let end = until.map_or(slice, |until| until.min(slice));
        match futex::wait(
            &watched.words[..watched.len],
            self.half(at),
            time::timespec(end),
        ) {
            futex::Woken::Word(Some(index)) if index >= 2 => {
                // First of all pass the news on: the kernel woke one of us only. It names the last word that woke
                // us; those before it may have done so too.
                for &slot in &watched.slots[2..=index] {
                    life::attend(self, slot);
                }
                Wake::Look
            }
            futex::Woken::Word(_) => Wake::Look,
            futex::Woken::Interrupted => Wake::Interrupted,
            futex::Woken::TimedOut if until.is_some_and(|until| until <= end) => Wake::TimedOut,
            futex::Woken::TimedOut => {
                if self.half(at).load(Ordering::Acquire) != expected {
                    self.add(header::SLICE_FOUND_WORK, 1);
                }
                life::look_round(self);
                // A signal that came just before we slept interrupted nothing: its handler's turn
                // may be due since then.
                if life::attends_to_signals() {
                    Wake::Interrupted
                } else {
                    Wake::Look
                }
            }
        }
    }
    fn wake(&self, at: Off, count: u32) -> u32 {
        futex::wake(self.half(at), count)
    }
    fn tell_death(&self) {
        self.add(header::EPOCH, 1);
        futex::wake(self.half(header::EPOCH), u32::MAX);
    }
    fn now(&self) -> u64 {
        time::now()
    }
    #[inline]
    fn spin(&self, round: u32) -> bool {
        const PAUSES: u32 = 8;
        let again =
            self.cores > 1 && self.spins.load(Ordering::Relaxed) && life::spins_again(round);
        if again {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
        }
        again
    }
}

/// The identity of this build: what processes of one program must share.
pub fn build_id() -> u64 {
    // FNV-1a over version and layout: two builds that differ in neither agree on the memory.
    let text = concat!(env!("CARGO_PKG_VERSION"), "-layout-1");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
    })
}

fn random_program(arena: &Arena) -> (u64, u64) {
    let mut bytes = [0_u8; 16];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => {
            let (low, high) = bytes.split_at(8);
            let word =
                |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes is 8"));
            (word(low), word(high))
        }
        _ => (time::now(), arena.identity.1 << 32 | process::pid() as u64),
    }
}

/// Record of this process, whether it is live. For tests and inspection.
pub fn is_live(arena: &Arena, index: u32) -> bool {
    matches!(record::state(arena, index), record::State::Live(_))
}
