//! Memory, and tracked names.

use crate::machine::Thread;
use crate::scene::{Local, Op, Out};
use crate::stage::{Case, Stage, Story};
use procession_shm::name::{self, File};
use procession_shm::object::{self, Handle, Kind};
use procession_shm::{World, heap, memory};

const SMALL: u64 = 24;
/// Of whole pages.
const LARGE: u64 = 70_000;

struct Memories;

impl Memories {
    fn new(w: &Thread) -> Self {
        // What is made of these blocks must be zeroed first.
        for len in [SMALL, SMALL, LARGE] {
            let block = heap::alloc_len(w, len).expect("room");
            w.write(block, &[0xff; SMALL as usize]);
            heap::free(w, block);
        }
        Self
    }
}

impl Stage for Memories {
    fn operations(&self) -> Vec<Op> {
        vec!["small", "large"]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        let len = if op == "small" { SMALL } else { LARGE };
        let made = memory::create(w, len).expect("room");
        let body = object::body(w, made, Kind::Memory).expect("it is leased");
        let (at, room) = memory::bytes(w, body);
        let mut found = vec![1; len as usize];
        w.read(at, &mut found);
        assert!(
            room == len && found.iter().all(|&byte| byte == 0),
            "it is zero"
        );
        w.write(at, &[0xff; SMALL as usize]);
        w.rest();
        object::unlease(w, made, w.process);
        Out("made", 0)
    }

    fn check(&self, w: &Thread, _: &Story) {
        for op in self.operations() {
            self.perform(w, op, &mut Local::Nothing);
        }
    }
}

/// One name is tracked already.
struct Names(Handle);

const NAME: &[u8] = b"/psm_1f2e3d4c5b6a";

fn file(inode: u64) -> File {
    File { device: 3, inode }
}

impl Names {
    fn new(w: &Thread) -> Self {
        Self(name::track(w, NAME, file(1)).expect("room"))
    }

    /// The inodes of those that are tracked.
    fn tracked(w: &Thread) -> Vec<(Handle, u64)> {
        let mut all = Vec::new();
        name::visit(w, |handle, file, name| {
            assert_eq!((file.device, name), (3, NAME), "a torn name");
            all.push((handle, file.inode));
            true
        });
        all
    }
}

impl Stage for Names {
    fn operations(&self) -> Vec<Op> {
        vec!["track", "forget", "look"]
    }

    fn perform(&self, w: &Thread, op: Op, _: &mut Local) -> Out {
        match op {
            "track" => {
                name::track(w, NAME, file(100 + u64::from(w.slot()))).expect("room");
            }
            "forget" => name::forget(w, self.0),
            _ => return Out("tracked", Self::tracked(w).len() as u64),
        }
        Out("done", 0)
    }

    fn check(&self, w: &Thread, story: &Story) {
        let tracked = Self::tracked(w);
        let is_tracked = |of: u64| tracked.iter().any(|&(_, inode)| inode == of);
        for event in story.done("track") {
            assert!(is_tracked(100 + u64::from(event.who)), "a name is lost");
        }
        let forgotten = story.done("forget").count() > 0;
        assert!(!forgotten || !is_tracked(1), "it was forgotten");
        let kept = forgotten || story.unknown("forget") > 0 || is_tracked(1);
        assert!(kept, "a name is lost that nobody forgot");
        let sure = story.done("track").count() as u64 + 1;
        assert!(tracked.len() as u64 <= sure + story.unknown("track"));
        for (handle, _) in tracked {
            name::forget(w, handle);
        }
        assert!(Self::tracked(w).is_empty());
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("memory", Memories::new),
        Case::new("names", Names::new),
    ]
}
