//! Processes: start, join, names, exit codes, memory of their own.

use crate::support::Outcome;
use crate::{FORGETS, LONG, SHORT};
use procession::{
    Event, ExitStatus, Joined, Kind, Process, Queue, active_children, cpu, cpu_count,
    current_process, parent_process,
};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

// How many cores.

pub fn cpu_count_is_the_machines() -> Outcome {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let online = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    assert_eq!(cpu_count(), online);
    Ok(())
}

// Process with target, args, name; start.

pub fn introduce((greeting, number): (String, u64)) -> (String, u64, u32) {
    let me = current_process();
    (format!("{greeting} from {}", me.name), number * 2, me.pid)
}

pub fn process_name_args() -> Outcome {
    let process = Process::builder()
        .name("worker")
        .spawn(introduce, ("hello".to_string(), 21))?;
    assert_eq!(process.name(), "worker");
    let pid = process.pid();
    assert_eq!(process.join()?, ("hello from worker".to_string(), 42, pid));
    // A closure that captures nothing will do, and a name is made up.
    let process = Process::spawn(|()| current_process().name, ())?;
    assert!(process.name().starts_with("Process-"));
    let name = process.name().to_string();
    assert_eq!(process.join()?, name);
    Ok(())
}

// A process from a thread.

pub fn process_from_thread() -> Outcome {
    let go = Event::new()?;
    let theirs = go.clone();
    let starter = thread::spawn(move || {
        Process::spawn(
            |go: Event| {
                go.wait();
                7
            },
            theirs,
        )
    });
    let mut process = starter.join().expect("the starter does not panic")?;
    // The thread that started it is gone; it is not.
    assert_eq!(process.join_timeout(SHORT)?, Joined::Running);
    go.set();
    assert_eq!(process.join()?, 7);
    Ok(())
}

// Asking for a specific processor.

pub fn affinity() -> Outcome {
    let allowed = cpu::affinity(0)?;
    let one = [*allowed.last().expect("one processor at least")];
    let ask = |()| cpu::affinity(0).expect("asking is allowed");
    let process = Process::builder().affinity(&one).spawn(ask, ())?;
    assert_eq!(process.join()?, one);
    let for_oneself = |cpus: Vec<usize>| {
        cpu::set_affinity(0, &cpus).expect("a processor that there is");
        cpu::affinity(0).expect("asking is allowed")
    };
    assert_eq!(Process::spawn(for_oneself, one.to_vec())?.join()?, one);
    assert_eq!(cpu::affinity(0)?, allowed);

    let error = cpu::set_affinity(0, &[]).expect_err("no processor at all");
    assert_eq!(error.kind(), Kind::InvalidInput);
    let process = Process::builder().affinity(&[1023]).spawn(ask, ())?;
    let error = process.join().expect_err("there is no such processor");
    assert_eq!(error.kind(), Kind::System);
    assert!(error.to_string().contains("[1023]"), "{error}");
    Ok(())
}

// Join, join with a timer, is_alive.

pub fn join_timeout() -> Outcome {
    let go = Event::new()?;
    let mut process = Process::spawn(|go: Event| go.wait(), go.clone())?;
    assert_eq!(process.join_timeout(SHORT)?, Joined::Running);
    assert_eq!(process.exit_status()?, None);
    assert!(process.is_alive()?);
    go.set();
    let ended = Joined::Ended(ExitStatus::from_raw(0));
    assert_eq!(process.join_timeout(LONG)?, ended);
    assert_eq!(process.join_timeout(SHORT)?, ended);
    assert!(!process.is_alive()?);
    process.join()?;
    Ok(())
}

// Pid, names.

pub fn pid_and_names() -> Outcome {
    assert_eq!(current_process().name, "MainProcess");
    assert_eq!(current_process().pid, std::process::id());
    assert_eq!(parent_process(), None);
    let go = Event::new()?;
    let process = Process::builder().name("somebody").spawn(
        |go: Event| {
            go.wait();
            let (me, parent) = (current_process(), parent_process().expect("a parent"));
            assert_eq!(me.pid, std::process::id());
            assert!(parent.is_alive());
            (me.name, me.pid, parent.name, parent.pid)
        },
        go.clone(),
    )?;
    let pid = process.pid();
    let is_listed = || active_children().iter().any(|child| child.pid == pid);
    assert!(
        active_children()
            .iter()
            .any(|child| child.pid == pid && child.name == "somebody")
    );
    go.set();
    let expected = (
        "somebody".to_string(),
        pid,
        "MainProcess".to_string(),
        std::process::id(),
    );
    assert_eq!(process.join()?, expected);
    assert!(!is_listed());
    Ok(())
}

// Exit codes.

pub fn exit_codes() -> Outcome {
    let status = |process: &mut Process<()>| match process.join_timeout(LONG) {
        Ok(Joined::Ended(status)) => status,
        other => panic!("it ends, but: {other:?}"),
    };
    let mut fine = Process::spawn(|()| (), ())?;
    assert!(status(&mut fine).success());
    assert_eq!(status(&mut fine).raw(), Some(0));
    fine.join()?;

    let mut exits = Process::spawn(|code: i32| std::process::exit(code), 3)?;
    assert_eq!(status(&mut exits).code(), Some(3));
    let error = exits.join().expect_err("it had no result");
    assert_eq!(error.kind(), Kind::ProcessDied);
    assert!(error.to_string().contains("exit code 3"), "{error}");

    let never = Event::new()?;
    let mut killed = Process::spawn(|never: Event| never.wait(), never.clone())?;
    let pid = killed.pid();
    killed.kill()?;
    assert_eq!(status(&mut killed).raw(), Some(-libc::SIGKILL));
    assert_eq!(status(&mut killed).signal(), Some(libc::SIGKILL));
    let error = killed.join().expect_err("it was killed");
    assert_eq!((error.kind(), error.pid()), (Kind::ProcessDied, Some(pid)));

    let mut asked = Process::spawn(|never: Event| never.wait(), never)?;
    asked.terminate()?;
    assert_eq!(status(&mut asked).signal(), Some(libc::SIGTERM));

    let mut panics = Process::spawn(|n: u32| assert_eq!(n, 4, "two and two"), 5)?;
    let line = line!() - 1;
    assert_eq!(status(&mut panics).code(), Some(101));
    let error = panics.join().expect_err("it panicked");
    assert_eq!(error.kind(), Kind::Panicked);
    let text = error.to_string();
    assert!(text.contains("two and two"), "the message: {text}");
    assert!(
        text.contains(&format!("processes.rs:{line}")),
        "the place: {text}"
    );
    Ok(())
}

// Fork, spawn, the main guard.

pub fn forgets_init() {
    let error = Process::spawn(|()| (), ()).expect_err("a main without init() starts no process");
    assert_eq!(error.kind(), Kind::NotInitialized);
    println!("{error}");
}

pub fn init_is_the_guard() -> Outcome {
    let output = Command::new(std::env::current_exe()?)
        .env(FORGETS, "1")
        .output()?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text.lines().count(), 1, "main runs once: {text}");
    assert!(
        text.contains("call procession::init() first thing in main()"),
        "{text}"
    );
    Ok(())
}

// Each process has its own memory.

static COUNTER: AtomicU64 = AtomicU64::new(1);

pub fn separate_memory() -> Outcome {
    COUNTER.store(2, Ordering::SeqCst);
    let process = Process::spawn(|()| COUNTER.fetch_add(10, Ordering::SeqCst), ())?;
    assert_eq!(process.join()?, 1, "a child starts afresh");
    assert_eq!(COUNTER.load(Ordering::SeqCst), 2);
    Ok(())
}

// CPU-bound work on all cores.

pub fn primes_below(end: u64, step: u64) -> u64 {
    let prime = |n: u64| {
        n > 1
            && (2..)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d))
    };
    (end.saturating_sub(step)..end)
        .filter(|&n| prime(n))
        .count() as u64
}

pub fn cpu_bound() -> Outcome {
    const END: u64 = 60_000;
    const STEP: u64 = 2_000;
    let (tasks, results) = (Queue::<Option<u64>>::new()?, Queue::<u64>::new()?);
    let work = |(tasks, results): (Queue<Option<u64>>, Queue<u64>)| {
        while let Some(end) = tasks.get().expect("a task comes") {
            results.put(&primes_below(end, STEP)).expect("room");
        }
        // The next one shall see it too.
        tasks.put(&None).expect("room");
    };
    let mut workers = Vec::new();
    for _ in 0..cpu_count() {
        workers.push(Process::spawn(work, (tasks.clone(), results.clone()))?);
    }
    for end in (STEP..=END).step_by(STEP as usize) {
        tasks.put(&Some(end))?;
    }
    tasks.put(&None)?;
    let mut found = 0;
    for _ in 0..END / STEP {
        found += results.get_timeout(LONG)?;
    }
    assert_eq!(found, primes_below(END, END));
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}
