//! Processes from the template.

mod support;

use libtest_mimic::{Arguments, Trial};
use procession::{
    Event, ExitStatus, Kind, Pool, Process, Queue, StartMethod, active_children, parent_process,
    set_start_method,
};
use std::collections::HashSet;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Body, Outcome, PROMISED, assert_gone_with_root, trial, until};

/// Names to a program that a test runs what it is to do.
const ROLE: &str = "TEMPLATE_ROLE";
/// Set in a program that has a second thread before `main` is entered.
const THREADED: &str = "TEMPLATE_THREADED";

/// A time that is never over unless something is wrong.
const LONG: Duration = Duration::from_secs(15);

fn main() {
    procession::init();
    set_start_method(StartMethod::Forkserver);
    match std::env::var(ROLE).as_deref() {
        Ok("around") => return around(),
        Ok("root") => return root(),
        Ok("threads") => return threads(),
        _ => {}
    }
    let rows: [(&str, Body); 10] = [
        ("one_template_serves_all", one_template_serves_all),
        ("surroundings", surroundings),
        ("exit_codes", exit_codes),
        ("signals_reach_it_at_once", signals_reach_it_at_once),
        ("no_descriptor_is_left", no_descriptor_is_left),
        ("its_own_processes", its_own_processes),
        ("killed_again_and_again", killed_again_and_again),
        ("program_with_a_thread", program_with_a_thread),
        ("root_and_template_killed", root_and_template_killed),
        (
            "process_with_a_method_of_its_own",
            process_with_a_method_of_its_own,
        ),
    ];
    let trials = rows.map(|(name, body)| -> Trial { trial(name, 2 * LONG, body) });
    let mut arguments = Arguments::from_args();
    // One of them kills the template of all.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// The kernel's parent of the calling process.
fn parent() -> u32 {
    // SAFETY: takes nothing and gives a number.
    unsafe { libc::getppid() as u32 }
}

/// The process id of the template.
fn template() -> u32 {
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let mut pid = 0;
    // A spare that outlived its template serves too, and has another parent.
    until("the template serves", LONG, || {
        let asked = Process::spawn(|()| parent(), ());
        pid = asked.and_then(Process::join).expect("the template serves");
        program(pid) == program(std::process::id())
    });
    pid
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal to a process of ours.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

fn one_template_serves_all() -> Outcome {
    // Another test kills the template now and then.
    until("two processes have one parent", LONG, || {
        template() == template()
    });
    assert_ne!(template(), std::process::id());
    let listed = active_children();
    let template = template();
    assert!(listed.iter().all(|child| child.pid != template));
    Ok(())
}

/// What a process finds around it.
fn found(_: ()) -> (String, Option<String>, u32, (u64, u64)) {
    let directory = std::env::current_dir().expect("there is one");
    // SAFETY: the umask is put back; the limit is plain data that is written.
    let (umask, files) = unsafe {
        let umask = libc::umask(0);
        libc::umask(umask);
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        (umask, (limit.rlim_cur, limit.rlim_max))
    };
    println!("the child's");
    (
        directory.display().to_string(),
        std::env::var("TEMPLATE_LATE").ok(),
        umask,
        files,
    )
}

/// A program that changes what a child inherits after the template was started.
fn around() {
    template();
    std::env::set_current_dir("/proc").expect("it is there");
    // SAFETY: the program has one thread; the calls take numbers, and a struct that lives.
    unsafe {
        std::env::set_var("TEMPLATE_LATE", "set");
        libc::umask(0o27);
        let limit = libc::rlimit {
            rlim_cur: 200,
            rlim_max: 300,
        };
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    let child = Process::spawn(found, ()).and_then(Process::join);
    let expected = (
        "/proc".to_string(),
        Some("set".to_string()),
        0o27,
        (200, 300),
    );
    assert_eq!(child.expect("it starts"), expected);
    println!("the root's");
}

fn run_program(role: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("it is known"));
    program.env(ROLE, role).stdout(Stdio::piped());
    program
}

fn surroundings() -> Outcome {
    let output = run_program("around").output()?;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text, "the child's\nthe root's\n");
    Ok(())
}

fn exit_codes() -> Outcome {
    let mut left: Process<()> = Process::spawn(|code: i32| std::process::exit(code), 3)?;
    assert_eq!(end_of(&mut left)?, ExitStatus::from_raw(3));
    let error = left.join().expect_err("it returned nothing");
    assert_eq!(error.kind(), Kind::ProcessDied);
    let panicked: Result<Process<()>, _> = Process::spawn(|()| panic!("on purpose"), ());
    let error = panicked?.join().expect_err("it panicked");
    assert_eq!(error.kind(), Kind::Panicked);
    assert!(error.to_string().contains("on purpose"));
    Ok(())
}

fn end_of<R>(process: &mut Process<R>) -> Outcome<ExitStatus> {
    match process.join_timeout(LONG)? {
        procession::Joined::Ended(status) => Ok(status),
        procession::Joined::Running => Err("it does not end".into()),
    }
}

fn signals_reach_it_at_once() -> Outcome {
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGINT] {
        for _ in 0..5 {
            let mut process = Process::spawn(|never: Event| never.wait(), Event::new()?)?;
            kill(process.pid(), signal);
            assert_eq!(end_of(&mut process)?, ExitStatus::from_raw(-signal));
        }
    }
    Ok(())
}

fn no_descriptor_is_left() -> Outcome {
    // One that the process that asks has open is not the child's, close-on-exec or not.
    let file = std::fs::File::open("/proc/self/status")?;
    let number = file.as_raw_fd();
    // SAFETY: a plain fcntl call.
    unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    let targets = |_: ()| -> Vec<String> {
        let all = std::fs::read_dir("/proc/self/fd").expect("there is /proc");
        let of = |entry: std::fs::DirEntry| std::fs::read_link(entry.path());
        let targets = all.flatten().flat_map(of);
        targets.map(|path| path.display().to_string()).collect()
    };
    let first = Process::spawn(targets, ())?.join()?;
    assert!(
        !first.iter().any(|path| path.ends_with("/status")),
        "{first:?}"
    );
    let second = Process::spawn(targets, ())?.join()?;
    assert_eq!(first.len(), second.len());
    Ok(())
}

fn its_own_processes() -> Outcome {
    let grandchild = |()| {
        let pool = Pool::new(2).expect("a pool starts");
        let squares = pool.map(|n: u64| n * n, 0..10).expect("it works");
        pool.join().expect("it ends");
        let child = Process::spawn(|()| parent_process().map(|parent| parent.pid), ());
        let parent = child.and_then(Process::join).expect("it starts");
        (squares, parent == Some(std::process::id()))
    };
    let (squares, told) = Process::spawn(grandchild, ())?.join()?;
    assert_eq!(squares[9], 81);
    assert!(told, "a grandchild's parent is who asked for it");
    Ok(())
}

fn killed_again_and_again() -> Outcome {
    let queue = Queue::new()?;
    for round in 0..10 {
        let template = template();
        let put = |(queue, n): (Queue<u64>, u64)| queue.put(&n).expect("room");
        let processes: Vec<_> = (0..6)
            .map(|n| {
                if n == 3 {
                    kill(template, libc::SIGKILL);
                }
                Process::spawn(put, (queue.clone(), round * 6 + n))
            })
            .collect::<Result<_, _>>()?;
        for process in processes {
            process.join()?;
        }
    }
    let mut got = HashSet::new();
    while let Ok(n) = queue.try_get() {
        assert!(got.insert(n), "{n} came twice");
    }
    assert_eq!(got, (0..60).collect());
    Ok(())
}

/// Before `main` is entered: as a library does that starts a thread when it is loaded.
extern "C" fn before_main() {
    // SAFETY: looks at the environment, which nobody changes yet; the thread never ends.
    unsafe {
        if !libc::getenv(c"TEMPLATE_THREADED".as_ptr()).is_null() {
            let mut thread = std::mem::zeroed();
            libc::pthread_create(&mut thread, std::ptr::null(), sleep, std::ptr::null_mut());
        }
    }
}

extern "C" fn sleep(_: *mut libc::c_void) -> *mut libc::c_void {
    loop {
        std::thread::park();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

fn threads() {
    assert_eq!(template(), std::process::id());
    assert_eq!(template(), std::process::id());
}

fn program_with_a_thread() -> Outcome {
    assert!(
        run_program("threads")
            .env(THREADED, "1")
            .status()?
            .success()
    );
    Ok(())
}

/// Prints the pids of its template and of two busy children, and is busy itself.
fn root() {
    let busy = |()| loop {
        std::hint::black_box(0);
    };
    println!("{}", template());
    for _ in 0..2 {
        let child: Process<()> = Process::spawn(busy, ()).expect("it starts");
        println!("{}", child.pid());
    }
    println!(".");
    busy(())
}

fn root_and_template_killed() -> Outcome {
    let mut root = run_program("root").spawn()?;
    let mut output = root.stdout.take().expect("it is piped");
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with(".\n") {
        output.read_exact(&mut byte)?;
        text.push(byte[0] as char);
    }
    let pids: Vec<u32> = text.lines().flat_map(str::parse).collect();
    assert_eq!(pids.len(), 3);
    root.kill()?;
    // SAFETY: a signal to a process of ours; it may have ended with its root.
    unsafe { libc::kill(pids[0] as i32, libc::SIGKILL) };
    let killed = Instant::now();
    root.wait()?;
    assert_gone_with_root(&pids, killed + PROMISED);
    Ok(())
}

fn process_with_a_method_of_its_own() -> Outcome {
    let builder = Process::builder().start_method(StartMethod::Spawn);
    assert_eq!(
        builder.spawn(|()| parent(), ())?.join()?,
        std::process::id()
    );
    Ok(())
}
