//! A claim in a queue that lasts: its producer lives, and stands still. The victim revokes it on the way to its item.

use crate::hasty::Hasty;
use crate::items::{Form, arena, get, make_queue, put};
use crate::run::Make;
use crate::stage::{End, Stage, limit, result, set_result};
use crate::victim::{Child, fork};
use procession::queue::RawQueue;
use procession::shm::queue::Queue;

/// Items of the one who stands still, and of those behind his claim.
const OF_THE_SLOW: u64 = 9_000_000;
const BEHIND: [u64; 2] = [8_000_000, 8_000_001];

struct Play {
    raw: RawQueue,
    queue: Queue,
    slow: Option<Child>,
    got: Vec<u64>,
}

fn make() -> Make {
    Box::new(|_| {
        let (raw, queue) = make_queue(0);
        Box::new(Play {
            raw,
            queue,
            slow: None,
            got: Vec::new(),
        })
    })
}

/// The first time that it is called; later it does nothing.
fn stand_still() {
    thread_local! { static STOOD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }; }
    if !STOOD.replace(true) {
        // SAFETY: a signal to oneself.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}

impl Stage for Play {
    fn curtain(&mut self) {
        let queue = self.queue;
        let slow = fork(|| {
            let w = Hasty::watched(arena(), stand_still);
            put(&w, queue, Form::Inline, OF_THE_SLOW, limit()).expect("no bound");
        });
        assert_eq!(slow.ended(0), Some(End::Stopped), "it stands still");
        self.slow = Some(slow);
        for id in BEHIND {
            put(arena(), queue, Form::Inline, id, limit()).expect("no bound");
        }
        set_result(0);
    }

    fn act(&mut self) {
        set_result(get(arena(), self.queue, Some(0)).expect("it stands behind the claim"));
    }

    fn go_on(&mut self, _: End) -> bool {
        self.got.extend(get(arena(), self.queue, Some(0)));
        true
    }

    fn check(&mut self, end: End) {
        if end != End::Stopped {
            self.end(end);
        }
    }

    fn resumed(&mut self) {
        self.end(End::Survived);
    }
}

impl Play {
    /// The slow one goes on, and puts its item once, behind the others.
    fn end(&mut self, end: End) {
        let slow = self.slow.take().expect("it stands still");
        slow.signal(libc::SIGCONT);
        assert_eq!(slow.ended(0), Some(End::Survived), "its put is done");
        while let Some(id) = get(arena(), self.queue, Some(0)) {
            self.got.push(id);
        }
        let taken = result();
        assert!(end == End::Killed || taken != 0, "it got its item");
        assert_eq!(
            self.got.pop(),
            Some(OF_THE_SLOW),
            "put once, behind the others"
        );
        self.got.extend((taken != 0).then_some(taken));
        self.got.sort_unstable();
        let lost = BEHIND.iter().filter(|id| !self.got.contains(id)).count();
        assert!(
            lost <= usize::from(end == End::Killed),
            "the dead one had one at most"
        );
        assert!(self.got.is_sorted_by(|one, other| one < other), "each once");
        let _ = &self.raw;
    }
}

pub fn cases() -> Vec<(&'static str, Make)> {
    vec![("get_behind_a_claim", make())]
}
