//! Threads take slots, end, die, and are buried, in the steps in which the runtime does it.

use crate::machine::{Machine, Thread};
use procession_shm::layout::header;
use procession_shm::process::{self, State as Record};
use procession_shm::recover;
use procession_shm::section::Section;
use procession_shm::slot::{self, State, state_word, word};
use procession_shm::{Fate, Owner, World};
use std::rc::Rc;

impl Machine {
    /// A thread, the only one of a new process.
    pub fn thread(self: &Rc<Self>, slot: u32) -> Thread {
        let nobody = Owner {
            slot,
            generation: 0,
        };
        let mut thread = Thread {
            machine: self.clone(),
            me: nobody,
            process: 0,
        };
        let process = process::reserve(&thread, nobody).expect("a record");
        thread.show_up(process, None, process);
        thread.process = process;
        thread.me = thread.take_slot(slot, process).expect("a slot");
        thread
    }
}

/// The process id of a record's process.
fn pid(process: u32) -> u32 {
    1000 + process
}

impl Thread {
    /// The process whose record is or was `mine` shows up in one that was reserved for it; false if it is not any more.
    pub fn show_up(&self, index: u32, reserved_in: Option<u64>, mine: u32) -> bool {
        let _section = Section::RecordShowUp.enter();
        let taker = Owner::of_process(pid(mine));
        let is_its = process::show_up(self, index, reserved_in, taker);
        if is_its {
            let at = self.layout().process(index);
            self.store(at + process::word::PID, pid(mine) as u64);
            process::is_shown(self, index, taker);
        }
        is_its
    }

    /// Whether the process of a process id is gone: unseen, or its own record was given back.
    pub fn is_gone(&self, its: u32) -> bool {
        let process = its - pid(0);
        let unseen = self.machine.scene.borrow().gone.contains(&process);
        unseen || !matches!(process::state(self, process), Record::Live(_))
    }

    /// Takes a slot for a thread of a process, as who has none yet.
    pub fn take_slot(&self, slot: u32, process: u32) -> Option<Owner> {
        let _section = Section::SlotTake.enter();
        let at = self.layout().thread(slot);
        let (generation, state) = slot::state(self.load(at));
        if !matches!(state, State::Vacant | State::Ended) || !self.take_life(slot) {
            return None;
        }
        if recover::is_needed(self, slot) {
            self.give_life_back(slot);
            return None;
        }
        let generation = generation + 1;
        self.store(at + word::PROCESS, process as u64);
        self.store(at + word::STATE, state_word(generation, State::Live));
        let ids = slot::Ids {
            pid: pid(process),
            tid: 2000 + slot,
        };
        self.store(at + word::IDS, ids.to_bits());
        let high = self.load(header::THREADS_HIGH);
        if high <= slot as u64 {
            self.cas(header::THREADS_HIGH, high, slot as u64 + 1)
                .expect("nobody else is here");
        }
        self.tell_death();
        Some(Owner { slot, generation })
    }

    /// The thread of a slot says that it ends, and does.
    pub fn end_slot(&self, owner: Owner) {
        let _section = Section::SlotEnd.enter();
        let live = state_word(owner.generation, State::Live);
        let ended = state_word(owner.generation, State::Ended);
        let _ = self.cas(self.layout().thread(owner.slot), live, ended);
        self.give_life_back(owner.slot);
    }

    fn take_life(&self, slot: u32) -> bool {
        self.machine
            .scene
            .borrow_mut()
            .take_life(slot, self.me.slot)
    }

    fn give_life_back(&self, slot: u32) {
        self.machine.scene.borrow_mut().give_life_back(slot);
    }

    /// Dies where it is.
    pub fn die(&self) {
        self.machine
            .scene
            .borrow_mut()
            .kill(self.me.slot, self.process);
    }

    pub fn is_dead(&self) -> bool {
        self.machine.scene.borrow().dead.contains(&self.me.slot)
    }

    /// Sees to all who died and whom nobody who lives sees to; false if there are none.
    pub fn attend(&self) -> bool {
        let _section = Section::Recovery.enter();
        let mut attended = false;
        let high = self.load(header::THREADS_HIGH) as u32;
        for slot in 0..high {
            let at = self.layout().thread(slot);
            let seen = self.load(at);
            let died = self.machine.scene.borrow().says_died(slot);
            match slot::state(seen).1 {
                State::Live if died && recover::mark_killed(self, slot, seen) => {
                    self.tell_death();
                    attended |= self.bury(slot);
                }
                State::Killed => attended |= self.bury(slot),
                State::Vacant | State::Ended if died || recover::is_needed(self, slot) => {
                    attended |= self.bury(slot);
                }
                _ => {}
            }
        }
        attended
    }

    fn bury(&self, slot: u32) -> bool {
        if !self.take_life(slot) {
            return false;
        }
        let at = self.layout().thread(slot);
        let needed = match slot::state(self.load(at)).1 {
            State::Killed => true,
            State::Vacant | State::Ended => recover::is_needed(self, slot),
            State::Live => false,
        };
        if needed {
            let process = self.load(at + word::PROCESS) as u32;
            let dead = recover::recover(self, slot);
            self.store(at, state_word(dead.generation, State::Vacant));
            self.see_off(process);
        }
        self.give_life_back(slot);
        if needed {
            self.tell_death();
        }
        needed
    }

    /// Takes back what a process had that is gone, and has no thread to be recovered.
    pub fn see_off(&self, process: u32) {
        let _section = Section::RecordVacate.enter();
        let seen = process::state(self, process);
        let gone = match seen {
            Record::Vacant => false,
            Record::Live(_) => self.machine.scene.borrow().gone.contains(&process),
            Record::Reserved(owner) | Record::Preparing(owner) => self.fate(owner) != Fate::Alive,
            Record::Leaving(_) | Record::Emptying(_) => true,
        };
        let high = self.load(header::THREADS_HIGH) as u32;
        let has_thread = (0..high).any(|slot| {
            let at = self.layout().thread(slot);
            let left = matches!(slot::state(self.load(at)).1, State::Vacant | State::Ended);
            !left && self.load(at + word::PROCESS) == process as u64
        });
        if gone && !has_thread && recover::recover_process(self, process, seen) {
            self.machine
                .scene
                .borrow_mut()
                .gone
                .retain(|&gone| gone != process);
            self.tell_death();
        }
    }

    /// Looks at every process record.
    pub fn sweep(&self) {
        (0..self.layout().process_count as u32).for_each(|process| self.see_off(process));
    }
}
