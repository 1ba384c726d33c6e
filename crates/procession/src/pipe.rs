//! Pipes: one way or both ways between two ends, which learn when the other end is gone.
//!
//! An end is a queue and a token, an object that nobody uses: while any process holds an end it has a
//! lease on the token, and the other end looks whether the token still lives. So a dropped end and a
//! killed process look alike.

use crate::error::{Error, Kind, Result};
use crate::lock::retry;
use crate::object::{Object, deserialize};
use crate::queue::{Queue, value_of};
use crate::time;
use procession_shm::object::{self, Handle};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

#[derive(Debug)]
struct End<T> {
    queue: Queue<T>,
    token: Option<Object>,
    peer: Handle,
}

// Not derived: items need not be Clone.
impl<T> Clone for End<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            token: self.token.clone(),
            peer: self.peer,
        }
    }
}

impl<T> End<T> {
    fn peer_is_gone(&self) -> bool {
        object::kind_of(self.queue.raw().arena(), self.peer).is_err()
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        // The token goes first, then those who wait look for it.
        self.token = None;
        let raw = self.queue.raw();
        raw.shm().wake_consumers(raw.arena());
    }
}

/// The end of a pipe that items go into. Clones and copies in other processes count as one end.
#[derive(Debug)]
pub struct Sender<T>(End<T>);

/// The end of a pipe that items come out of.
#[derive(Debug)]
pub struct Receiver<T>(End<T>);

/// A pipe, one way.
///
/// ```
/// let (sender, receiver) = procession::pipe()?;
/// sender.send(&1_u8)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 1);
/// assert_eq!(receiver.recv().unwrap_err().kind(), procession::Kind::Disconnected);
/// # Ok::<(), procession::Error>(())
/// ```
pub fn pipe<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let queue = Queue::new()?;
    let token = || Object::create(object::Kind::Event, |_, _, _| Ok(()));
    let (sends, receives) = (token()?, token()?);
    let (sender, receiver) = (sends.handle(), receives.handle());
    Ok((
        Sender(End {
            queue: queue.clone(),
            token: Some(sends),
            peer: receiver,
        }),
        Receiver(End {
            queue,
            token: Some(receives),
            peer: sender,
        }),
    ))
}

impl<T: Serialize> Sender<T> {
    /// Sends an item; never waits. An error of kind [`Kind::Disconnected`] if nobody can receive any more.
    pub fn send(&self, item: &T) -> Result<()> {
        if self.0.peer_is_gone() {
            return Err(Error::new(
                Kind::Disconnected,
                "the receiving end is closed; the item was not sent",
            ));
        }
        self.0.queue.put(item)
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives the next item; waits as long as it takes. An error of kind [`Kind::Disconnected`] when all was received
    /// and nobody can send any more.
    pub fn recv(&self) -> Result<T> {
        self.recv_until(None)
    }

    /// Receives the next item if it comes within `timeout`; else an error of kind [`Kind::Empty`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T> {
        self.recv_until(time::deadline(Some(timeout)))
    }

    /// Whether there is something to receive now.
    pub fn poll(&self) -> bool {
        !self.0.queue.is_empty()
    }

    fn recv_until(&self, until: Option<u64>) -> Result<T> {
        let raw = self.0.queue.raw();
        let got = retry(|| raw.get(until, || self.0.peer_is_gone()))?;
        value_of(raw.arena(), got)
    }
}

impl<T> Serialize for End<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let token = self.token.as_ref();
        let token = token.expect("an end has its token until it is dropped");
        (&self.queue, token, self.peer.id, self.peer.generation).serialize(serializer)
    }
}

struct Token(Object);

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, object::Kind::Event).map(Self)
    }
}

impl<'de, T> Deserialize<'de> for End<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (queue, Token(token), id, generation) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            queue,
            token: Some(token),
            peer: Handle { id, generation },
        })
    }
}

macro_rules! end {
    ($type:ident) => {
        impl<T> Clone for $type<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> Serialize for $type<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $type<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                End::deserialize(deserializer).map(Self)
            }
        }
    };
}
end!(Sender);
end!(Receiver);

/// One end of a pipe that goes both ways.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Connection<S, R> {
    sender: Sender<S>,
    receiver: Receiver<R>,
}

/// A pipe that goes both ways.
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)> {
    let ((to_b, from_a), (to_a, from_b)) = (pipe()?, pipe()?);
    Ok((
        Connection {
            sender: to_b,
            receiver: from_b,
        },
        Connection {
            sender: to_a,
            receiver: from_a,
        },
    ))
}

impl<S: Serialize, R: DeserializeOwned> Connection<S, R> {
    /// As [`Sender::send`].
    pub fn send(&self, item: &S) -> Result<()> {
        self.sender.send(item)
    }

    /// As [`Receiver::recv`].
    pub fn recv(&self) -> Result<R> {
        self.receiver.recv()
    }

    /// As [`Receiver::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R> {
        self.receiver.recv_timeout(timeout)
    }

    /// As [`Receiver::poll`].
    pub fn poll(&self) -> bool {
        self.receiver.poll()
    }
}
