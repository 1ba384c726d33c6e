//! Queues between processes.

use crate::arena::Arena;
use crate::carrier;
use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::object::{Object, deserialize};
use crate::parcel;
use crate::time;
use procession_shm::World;
use procession_shm::message::{Message, Summary};
use procession_shm::object;
use procession_shm::queue::{self as shm, Got, Item, NotGot, NotPut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

/// First in, first out, many producers, many consumers; unbounded, or bounded when asked.
///
/// When `put` returns, the item is in the queue and outlives its producer: no thread of ours brings it there. An item is
/// a consumer's from one moment on; a consumer killed before it leaves the item in the queue, one killed after
/// it takes that one item along. Nobody waits for another process that is dead, stopped or slow.
///
/// Items travel as bytes ([`serde`], in postcard's format); handles of this crate may be among them.
///
/// ```
/// let queue = procession::Queue::new()?;
/// queue.put(&("answer".to_string(), 42))?;
/// let (what, n): (String, i32) = queue.get()?;
/// assert_eq!((what.as_str(), n), ("answer", 42));
/// assert!(queue.is_empty());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    raw: RawQueue,
    items: PhantomData<fn(T) -> T>,
}

/// The kind of messages that hold a value in postcard's format.
pub const POSTCARD: u8 = 255;

impl<T> Queue<T> {
    /// A new queue without a bound.
    pub fn new() -> Result<Self> {
        RawQueue::new(0).map(Self::from_raw)
    }

    /// A new queue of at most `max_size` items.
    pub fn bounded(max_size: u64) -> Result<Self> {
        if max_size == 0 {
            return Err(Error::new(
                Kind::InvalidInput,
                "a bounded queue needs room for 1 item at least; got 0",
            ));
        }
        RawQueue::new(max_size).map(Self::from_raw)
    }

    pub(crate) fn from_raw(raw: RawQueue) -> Self {
        Self {
            raw,
            items: PhantomData,
        }
    }

    pub(crate) fn raw(&self) -> &RawQueue {
        &self.raw
    }

    /// The number of items in the queue.
    pub fn len(&self) -> u64 {
        self.raw.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether the queue is bounded and has no room.
    pub fn is_full(&self) -> bool {
        self.raw.is_full()
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts an item; waits for room as long as it takes.
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_until(item, None)
    }

    /// Puts an item if there is room within `timeout`; else an error of kind [`Kind::Full`].
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_until(item, time::deadline(Some(timeout)))
    }

    /// Puts an item if there is room now; else an error of kind [`Kind::Full`].
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_until(item, Some(0))
    }

    /// Puts several items, one after the other; says how many were put before an error, with the error.
    pub fn put_many<'a>(
        &self,
        items: impl IntoIterator<Item = &'a T>,
    ) -> Result<usize, (usize, Error)>
    where
        T: 'a,
    {
        let mut count = 0;
        for item in items {
            self.put(item).map_err(|error| (count, error))?;
            count += 1;
        }
        Ok(count)
    }

    fn put_until(&self, item: &T, until: Option<u64>) -> Result<()> {
        let mut room = [0_u8; shm::INLINE];
        let (written, handles) =
            carrier::into_message(|| postcard::to_slice(item, &mut room).map(|bytes| bytes.len()));
        if let Ok(len) = written
            && handles.is_empty()
        {
            return retry(|| self.raw.put_inline(POSTCARD, &room[..len], until));
        }
        let (written, handles) = carrier::into_message(|| postcard::to_stdvec(item));
        let bytes = written.map_err(|error| not_serialized(&error))?;
        let message = self
            .raw
            .message(POSTCARD, bytes.len() as u64, &handles, 0)?;
        message.write(&bytes);
        let mut message = Some(message.into_inner());
        retry(|| self.raw.put_message(&mut message, until))
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Gets the oldest item; waits as long as it takes.
    pub fn get(&self) -> Result<T> {
        self.get_until(None)
    }

    /// Gets the oldest item if there is one within `timeout`; else an error of kind [`Kind::Empty`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_until(time::deadline(Some(timeout)))
    }

    /// Gets the oldest item if there is one now; else an error of kind [`Kind::Empty`].
    pub fn try_get(&self) -> Result<T> {
        self.get_until(Some(0))
    }

    /// Waits for one item, then gets what else is there, `max` in all. Each is this process's by itself.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if max == 0 {
            return Ok(items);
        }
        items.push(self.get()?);
        while items.len() < max {
            match self.try_get() {
                Ok(item) => items.push(item),
                Err(error) if error.kind() == Kind::Empty => break,
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn get_until(&self, until: Option<u64>) -> Result<T> {
        let got = retry(|| self.raw.get(until, || false))?;
        value_of(self.raw.arena(), got)
    }
}

/// The value in a message.
pub(crate) fn value_of<T: DeserializeOwned>(arena: &Arena, got: Got<'_, Arena>) -> Result<T> {
    let not_deserialized = |error: postcard::Error| {
        Error::new(
            Kind::Serialization,
            format!("the item is not a {}: {error}", std::any::type_name::<T>()),
        )
    };
    match got {
        Got::Inline {
            kind: POSTCARD,
            bytes,
            len,
        } => postcard::from_bytes(&bytes[..len as usize]).map_err(not_deserialized),
        Got::Message(message) if message.summary().kind == POSTCARD => {
            let (at, len) = message.bytes();
            // SAFETY: the message is ours until it is dropped, so its bytes do not change.
            let bytes = unsafe { std::slice::from_raw_parts(arena.bytes(at, len), len as usize) };
            postcard::from_bytes(bytes).map_err(not_deserialized)
        }
        _ => Err(Error::new(
            Kind::Serialization,
            "the item was not put by a typed queue; it was taken from the queue all the same",
        )),
    }
}

fn not_serialized(error: &postcard::Error) -> Error {
    Error::new(
        Kind::Serialization,
        format!("the item can't be turned into bytes: {error}; nothing was put"),
    )
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::from_raw(self.raw.clone())
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.object.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, object::Kind::Queue)
            .map(|object| Self::from_raw(RawQueue { object }))
    }
}

/// A queue of messages as they are, kind and bytes: what the typed queue and bindings are made of.
#[derive(Clone, Debug)]
pub struct RawQueue {
    object: Object,
}

impl RawQueue {
    /// A new queue; `max_size` 0 means without a bound.
    pub fn new(max_size: u64) -> Result<Self> {
        let object = Object::create(object::Kind::Queue, |arena, entry, body| {
            shm::Queue::init(arena, entry, body + object::BODY_BLOCK, max_size)
        })?;
        Ok(Self { object })
    }

    /// A new queue that counts what is put into it and what is done: see [`JoinableQueue`](crate::JoinableQueue).
    pub fn new_joinable(max_size: u64) -> Result<Self> {
        let object = Object::create(object::Kind::Queue, |arena, entry, body| {
            let link = body + object::BODY_BLOCK;
            shm::Queue::init(arena, entry, link, max_size)?;
            shm::Queue::at(arena.load(link)).start_counting(arena);
            Ok(())
        })?;
        Ok(Self { object })
    }

    /// The queue that an object is.
    pub fn from_object(object: Object) -> Self {
        Self { object }
    }

    /// The object that it is.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The arena that it is in.
    #[inline]
    pub fn arena(&self) -> &'static Arena {
        self.object.arena()
    }

    #[inline]
    pub(crate) fn shm(&self) -> shm::Queue {
        shm::Queue::at(self.object.word(object::BODY_BLOCK))
    }

    /// The bound, 0 if there is none.
    pub fn max_size(&self) -> u64 {
        self.shm().max_size(self.arena())
    }

    /// The number of items.
    pub fn len(&self) -> u64 {
        self.shm().len(self.arena())
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.shm().is_empty(self.arena())
    }

    /// Whether it is bounded and has no room.
    pub fn is_full(&self) -> bool {
        let max = self.max_size();
        max != 0 && self.len() >= max
    }

    /// Puts up to [`shm::INLINE`] bytes as they are.
    #[inline]
    pub fn put_inline(&self, kind: u8, bytes: &[u8], until: Option<u64>) -> Result<()> {
        self.shm()
            .put(self.arena(), Item::Inline(kind, bytes), until)
            .map_err(not_put)
    }

    /// A message of `len` bytes that names these objects and has room for `buffers` blocks, listed after them.
    pub fn message(
        &self,
        kind: u8,
        len: u64,
        handles: &[object::Handle],
        buffers: u64,
    ) -> Result<Draft> {
        Draft::new(self.arena(), kind, len, handles, buffers)
    }

    /// Puts a message. On an error it is there still.
    pub fn put_message(
        &self,
        message: &mut Option<Message<'static, Arena>>,
        until: Option<u64>,
    ) -> Result<()> {
        self.shm()
            .put(self.arena(), Item::Message(message), until)
            .map_err(not_put)
    }

    /// Gets the oldest message. `prepare` is told what it is before it is ours: what can fail, fails
    /// there. `ended` says that nothing will come: an error of kind [`Kind::Disconnected`] then.
    pub fn get_with<T, E>(
        &self,
        until: Option<u64>,
        prepare: impl FnMut(Summary) -> Result<T, E>,
        ended: impl Fn() -> bool,
    ) -> Result<(Got<'static, Arena>, T), Missed<E>> {
        self.shm()
            .get_unless(self.arena(), until, prepare, ended)
            .map_err(|why| {
                Missed::Failed(match why {
                    NotGot::NotPrepared(error) => return Missed::NotPrepared(error),
                    NotGot::Empty => Error::new(
                        Kind::Empty,
                        "the queue stayed empty until the time was over",
                    ),
                    NotGot::Interrupted => procession_shm::Interrupted.into(),
                    NotGot::Ended => Error::new(
                        Kind::Disconnected,
                        "the other end is closed, and nothing is left to receive",
                    ),
                })
            })
    }

    /// Waits until there is a message, and leaves it there; false if the time is over, or `ended`. As [`Gate`] has it,
    /// whoever makes `ended` true wakes who waits. An error of kind [`Kind::Interrupted`] says that a signal came.
    ///
    /// [`Gate`]: procession_shm::gate::Gate
    pub fn await_item(&self, until: Option<u64>, ended: impl Fn() -> bool) -> Result<bool> {
        Ok(self.shm().await_item(self.arena(), until, ended)?)
    }

    /// Gets the oldest message, for which nothing has to be prepared.
    pub fn get(&self, until: Option<u64>, ended: impl Fn() -> bool) -> Result<Got<'static, Arena>> {
        match self.get_with(until, |_| Ok::<(), Infallible>(()), ended) {
            Ok((got, ())) => Ok(got),
            Err(Missed::Failed(error)) => Err(error),
            Err(Missed::NotPrepared(never)) => match never {},
        }
    }
}

/// Why [`RawQueue::get_with`] got nothing.
#[derive(Debug)]
pub enum Missed<E> {
    /// What had to be prepared for the oldest message was not; the message is in the queue still.
    NotPrepared(E),
    /// The get itself failed.
    Failed(Error),
}

/// A message that is being written.
pub struct Draft {
    message: Message<'static, Arena>,
    arena: &'static Arena,
}

impl Draft {
    /// A message of `len` bytes that names these objects and has room for `buffers` blocks, listed after them.
    pub fn new(
        arena: &'static Arena,
        kind: u8,
        len: u64,
        handles: &[object::Handle],
        buffers: u64,
    ) -> Result<Self> {
        let message = Message::new(arena, kind, len, handles.len() as u64 + buffers)?;
        for (index, &handle) in handles.iter().enumerate() {
            message.add_edge(index as u64, handle)?;
        }
        if !handles.is_empty() {
            parcel::are_named(arena);
        }
        Ok(Self { message, arena })
    }

    /// Writes a piece of its bytes.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) {
        let (at, len) = self.message.bytes();
        let end = offset.checked_add(bytes.len() as u64);
        assert!(
            end.is_some_and(|end| end <= len),
            "a message is written no longer than it was announced"
        );
        self.arena.write(at + offset, bytes);
    }

    /// Writes its bytes, which must be as many as were announced.
    pub fn write(&self, bytes: &[u8]) {
        let (at, len) = self.message.bytes();
        assert_eq!(
            len,
            bytes.len() as u64,
            "a message is written as long as it was announced"
        );
        self.arena.write(at, bytes);
    }

    /// The memory of its bytes.
    pub fn as_ptr(&self) -> (*mut u8, usize) {
        let (at, len) = self.message.bytes();
        (self.arena.bytes(at, len), len as usize)
    }

    /// The message itself.
    pub fn message(&self) -> &Message<'static, Arena> {
        &self.message
    }

    /// The message, to be put.
    pub fn into_inner(self) -> Message<'static, Arena> {
        self.message
    }
}

fn not_put(why: NotPut) -> Error {
    match why {
        NotPut::Full => Error::new(Kind::Full, "the queue stayed full until the time was over"),
        NotPut::OutOfMemory(error) => error.into(),
        NotPut::Interrupted => procession_shm::Interrupted.into(),
    }
}
