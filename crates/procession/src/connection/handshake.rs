//! Both ends prove that they have the key: the listening one asks first.

use super::auth::{self, CHALLENGE, Digest, FAILURE, MOST_BYTES, WELCOME};
use super::frame::{Came, Incoming, Outgoing};
use crate::error::{Error, Kind, Result};
use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;

/// What this end waits for.
#[derive(Debug)]
enum Phase {
    /// The other end's answer to our challenge, which is this.
    Answer(Vec<u8>),
    /// The other end's challenge.
    Challenge,
    /// What the other end says of our answer.
    Verdict,
    /// Nothing: both have proved it.
    Done,
    /// Nothing: the other end did not.
    Failed(Error),
}

/// One end's side of it. It never waits: [`Handshake::step`] does what can be done now.
#[derive(Debug)]
pub struct Handshake {
    key: Box<[u8]>,
    listens: bool,
    phase: Phase,
    /// What is being sent, and how far it came.
    out: Option<(Outgoing, Vec<u8>)>,
    incoming: Incoming,
}

impl Handshake {
    /// The side of the end that listened.
    pub fn of_listener(key: &[u8]) -> Result<Self> {
        let mut handshake = Self::new(key, true);
        handshake.send_challenge()?;
        Ok(handshake)
    }

    /// The side of the end that connected.
    pub fn of_client(key: &[u8]) -> Self {
        Self::new(key, false)
    }

    fn new(key: &[u8], listens: bool) -> Self {
        Self {
            key: key.into(),
            listens,
            phase: Phase::Challenge,
            out: None,
            incoming: Incoming::new(Some(MOST_BYTES)),
        }
    }

    /// Goes on as far as it can without waiting: `None` if both ends have proved that they have the key, else what is to be
    /// waited for. The other end has another key: [`Kind::AuthenticationFailed`]. Other errors: it is gone, or talks
    /// something else.
    pub fn step(&mut self, fd: BorrowedFd<'_>) -> Result<Option<PollFlags>> {
        loop {
            if let Some((outgoing, bytes)) = &mut self.out {
                if !outgoing.write_some(fd, bytes)? {
                    return Ok(Some(PollFlags::OUT));
                }
                self.out = None;
            }
            match &self.phase {
                Phase::Done => return Ok(None),
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Answer(_) | Phase::Challenge | Phase::Verdict => {}
            }
            match self.incoming.read_some(fd)? {
                None => return Ok(Some(PollFlags::IN)),
                Some(Came::TooLong(len)) => {
                    return Err(Error::new(
                        Kind::System,
                        format!(
                            "bad message length {len}: a handshake's have {MOST_BYTES} at most"
                        ),
                    ));
                }
                Some(Came::Message(message)) => {
                    self.incoming = Incoming::new(Some(MOST_BYTES));
                    self.take(&message)?;
                }
            }
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<()> {
        match &self.phase {
            Phase::Answer(challenge) => {
                let verdict = auth::verify(&self.key, challenge, message);
                self.send(if verdict.is_ok() { WELCOME } else { FAILURE }.to_vec());
                self.phase = match verdict {
                    Ok(()) if self.listens => Phase::Challenge,
                    Ok(()) => Phase::Done,
                    Err(error) => Phase::Failed(error),
                };
            }
            Phase::Challenge => {
                let answer = auth::answer(&self.key, auth::challenged(message)?)?;
                self.send(answer);
                self.phase = Phase::Verdict;
            }
            Phase::Verdict => {
                auth::welcomed(message)?;
                if self.listens {
                    self.phase = Phase::Done;
                } else {
                    self.send_challenge()?;
                }
            }
            Phase::Done | Phase::Failed(_) => {}
        }
        Ok(())
    }

    fn send_challenge(&mut self) -> Result<()> {
        let challenge = auth::challenge(Digest::Sha256)?;
        self.send([CHALLENGE, &challenge].concat());
        self.phase = Phase::Answer(challenge);
        Ok(())
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.out = Some((Outgoing::new(bytes.len()), bytes));
    }
}
