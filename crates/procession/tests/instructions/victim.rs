//! Processes that the controller forks from itself: it has one thread.

use crate::items::{arena, is_asleep};
use crate::page::{get, page, set};
use crate::stage::{End, Stage};
use crate::step::{self, Shot};
use crate::support::until;
use procession::program;
use procession::shm::section;
use std::ffi::c_int;
use std::time::Duration;

/// The exit code of a victim whose act panicked.
const PANICKED: i32 = 101;

/// What a stepped act may take on a busy machine.
const ACT: Duration = Duration::from_secs(15);

/// A child of the controller.
pub struct Child {
    pub pid: u32,
}

/// Forks a process that does `body` and ends.
pub fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the controller has one thread, so the child may do whatever it could.
    let forked = program::forking(|| unsafe { libc::fork() });
    go_on(forked, body)
}

/// The same by a call that runs no handlers of forks.
fn fork_past_handlers(body: impl FnOnce()) -> Child {
    unsafe extern "C" {
        fn _Fork() -> libc::pid_t;
    }
    // SAFETY: as above.
    go_on(unsafe { _Fork() }, body)
}

fn go_on(forked: libc::pid_t, body: impl FnOnce()) -> Child {
    if forked == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let code = if done.is_ok() { 0 } else { PANICKED };
        section::demand(None);
        program::end_process(code);
        // SAFETY: passes no memory, and does not return.
        unsafe { libc::_exit(code) }
    }
    assert!(forked > 0, "a process");
    let pid = forked as u32;
    if let Some(record) = program::take_child_record() {
        program::set_pid(arena(), record, pid);
    }
    Child { pid }
}

impl Child {
    /// Forks a victim that plays `stage`.
    pub fn play(stage: &mut dyn Stage, shot: Shot) -> Self {
        let page = page();
        for word in [&page.ready, &page.go, &page.done, &page.result] {
            set(word, 0);
        }
        shot.load(stage.acts_from_its_fork());
        let foreign = stage.is_foreign();
        let victim = || {
            step::end();
            section::demand(None);
            stage.ready();
            set(&page.ready, 1);
            while get(&page.go) == 0 {
                std::thread::yield_now();
            }
            section::demand(Some(step::before_store));
            step::begin();
            stage.act();
            step::end();
            section::demand(None);
            set(&page.done, 1);
        };
        if foreign {
            fork_past_handlers(victim)
        } else {
            fork(victim)
        }
    }

    /// Lets it act, and sees it to its end.
    pub fn perform(&self, stage: &mut dyn Stage, shot: Shot) -> End {
        let mut end = None;
        until("the victim is ready", ACT, || {
            end = self.ended(libc::WNOHANG);
            end.is_some() || get(&page().ready) != 0
        });
        if let Some(end) = end {
            // Some are shot on their way; if it is stopped, nothing shall hold it up later.
            set(&page().go, 1);
            return end;
        }
        stage.curtain();
        if !stage.acts_from_its_fork() {
            // Somebody else may have been shot meanwhile.
            shot.load(false);
        }
        set(&page().go, 1);
        if stage.sleeps() {
            let mut end = None;
            until("the victim sleeps or ends", ACT, || {
                end = self.ended(libc::WNOHANG);
                end.is_some() || is_asleep(self.pid)
            });
            if end.is_none() {
                if let Shot::Asleep { signal } = shot {
                    set(&page().sent, procession::time::now());
                    self.signal(signal);
                    end = self.ended(0);
                }
                stage.relieve();
            }
            if let Some(end) = end {
                return end;
            }
        }
        self.ended(0).expect("it was waited for")
    }

    /// Lets it go on that was stopped, to the end of its act.
    pub fn resume(&self, stage: &mut dyn Stage) {
        self.signal(libc::SIGCONT);
        let mut end = None;
        if stage.sleeps() {
            until("the victim sleeps or ends", ACT, || {
                end = self.ended(libc::WNOHANG);
                end.is_some() || is_asleep(self.pid)
            });
            if end.is_none() {
                stage.help();
            }
        }
        assert_eq!(end.or_else(|| self.ended(0)), Some(End::Survived));
    }

    pub fn signal(&self, signal: c_int) {
        // SAFETY: a signal to a child of ours that was not waited for.
        unsafe { libc::kill(self.pid as i32, signal) };
    }

    /// How it ended, or that it is stopped. Who stays away too long is interrupted by the controller's alarm.
    pub fn ended(&self, options: c_int) -> Option<End> {
        let mut status = 0;
        // SAFETY: writes one word of ours.
        let pid = unsafe { libc::waitpid(self.pid as i32, &mut status, options | libc::WUNTRACED) };
        if pid == 0 {
            return None;
        }
        assert_eq!(pid, self.pid as i32, "it is our child");
        Some(if libc::WIFSTOPPED(status) {
            End::Stopped
        } else if libc::WIFSIGNALED(status) {
            assert_eq!(libc::WTERMSIG(status), libc::SIGKILL, "how the victim died");
            End::Killed
        } else {
            assert_eq!(libc::WEXITSTATUS(status), 0, "the victim's act failed");
            End::Survived
        })
    }
}
