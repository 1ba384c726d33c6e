//! Descriptors on their way: sent and received, while others send and receive theirs.

use crate::items::arena;
use crate::run::Make;
use crate::stage::{End, Stage, result, set_result};
use procession::carrier;
use procession::connection::Connection;
use procession::parcel::{self, Label};
use procession::shm::World;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::fstat;
use std::time::Duration;

/// So many are sent at a time to see whether there is room again.
const ROOM: usize = 20;
/// What the victim says when there was nothing to receive.
const NOTHING: u64 = u64::MAX;

struct Play {
    /// What the victim receives; without one it sends.
    label: Option<Label>,
    near: Connection,
    far: Connection,
    /// How many parcels this thread had sent before.
    since: u64,
    /// Whether it was received here.
    got: bool,
    /// Whose other end was sent, and nobody will receive it: who sends closes that first.
    unread: Connection,
}

/// Sends as within a message, which is then not made.
fn send(end: &Connection) -> Label {
    let (sent, _) = carrier::into_message(|| parcel::send(end.as_fd()));
    sent.expect("it is sent").expect("there is room")
}

fn inode(of: &impl AsFd) -> u64 {
    fstat(of).expect("it is open").st_ino
}

impl Play {
    fn receives(&self, fd: &OwnedFd) {
        assert_eq!(inode(fd), inode(&self.far), "it is what was sent");
    }
}

impl Stage for Play {
    fn ready(&mut self) {
        arena().me();
        // The chest is filled, and the sockets of slots were opened before.
        drop(parcel::receive(send(&self.near), false));
    }

    fn act(&mut self) {
        match self.label {
            None => {
                send(&self.far);
            }
            Some(label) => {
                // Another may have been faster, while this one was stopped.
                let received = parcel::receive(label, false);
                set_result(received.map_or(NOTHING, |fd| inode(&fd)));
            }
        }
    }

    fn go_on(&mut self, _: End) -> bool {
        for _ in 0..3 {
            let fd = parcel::receive(send(&self.far), false).expect("it is there");
            self.receives(&fd);
        }
        true
    }

    fn check(&mut self, end: End) {
        if end != End::Stopped {
            let closed = self.unread.poll(Duration::ZERO);
            assert!(closed.expect("it is open"), "the unread end is closed");
        }
        let Some(label) = self.label else {
            return;
        };
        // Who died amid takes it along, if he had begun to take it.
        if let Ok(fd) = parcel::receive(label, false) {
            self.receives(&fd);
            self.got = true;
        }
        if end == End::Survived {
            self.resumed();
        }
    }

    fn resumed(&mut self) {
        if self.label.is_some() {
            let his = if self.got { NOTHING } else { inode(&self.far) };
            assert_eq!(result(), his, "one of the two has got it");
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        parcel::give_up(self.since);
        // What the dead had is free again.
        let labels: Vec<Label> = (0..ROOM).map(|_| send(&self.far)).collect();
        for label in labels {
            self.receives(&parcel::receive(label, false).expect("it is there"));
        }
        parcel::give_up(self.since);
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    let play = |receives: bool| -> Make {
        Box::new(move |_| {
            let since = parcel::count();
            let (near, far) = Connection::pair().expect("sockets");
            let (unread, other) = Connection::pair().expect("sockets");
            send(&other);
            parcel::give_up(since);
            let label = receives.then(|| send(&far));
            Box::new(Play {
                unread,
                label,
                near,
                far,
                since,
                got: false,
            })
        })
    };
    vec![("send_parcel", play(false)), ("receive_parcel", play(true))]
}
