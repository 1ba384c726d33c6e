//! Values, arrays and memory with a name, between processes that live and die.

#[path = "support/mod.rs"]
mod support;

use procession::{Array, Event, Kind, Mutex, Process, Queue, Shared, SharedMemory};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64};
use std::time::Duration;
use support::{Body, Outcome, run_under_each_method, until};

/// A time that is never over unless something is wrong.
const LONG: Duration = Duration::from_secs(15);
/// Set in a program that makes shared memory and does then what this says.
const MAKES: &str = "VALUES_MAKES_MEMORY";

#[derive(Clone, Copy, PartialEq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Point {
    x: f64,
    n: i64,
}

type Everything = (
    Shared<AtomicU64>,
    Shared<[AtomicI32]>,
    Mutex<Point>,
    Array<u16>,
);

fn made() -> procession::Result<Everything> {
    Ok((
        Shared::new(AtomicU64::new(40))?,
        Shared::<[AtomicI32]>::zeroed(1000)?,
        Mutex::new(Point { x: 1.5, n: 2 })?,
        Array::new(&[1, 2, 3])?,
    ))
}

fn write((number, row, point, array): Everything) {
    number.fetch_add(2, Relaxed);
    row[999].store(-7, Relaxed);
    point.lock().expect("nobody died").n += 1;
    array.lock().expect("nobody died")[1] = 20;
}

fn check((number, row, point, array): &Everything) -> Outcome {
    assert_eq!(number.load(Relaxed), 42);
    assert_eq!((row.len(), row[0].load(Relaxed)), (1000, 0));
    assert_eq!(row[999].load(Relaxed), -7);
    assert_eq!(*point.lock()?, Point { x: 1.5, n: 3 });
    assert_eq!((array.len(), &array.lock()?[..]), (3, &[1, 20, 3][..]));
    Ok(())
}

fn what_a_process_writes_is_seen() -> Outcome {
    let all = made()?;
    Process::spawn(write, all.clone())?.join()?;
    check(&all)
}

fn they_travel_through_queues() -> Outcome {
    let queue = Queue::new()?;
    let writes = Process::spawn(
        |queue: Queue<Everything>| write(queue.get().unwrap()),
        queue.clone(),
    )?;
    let all = made()?;
    queue.put(&all)?;
    writes.join()?;
    check(&all)
}

fn they_outlive_their_maker() -> Outcome {
    let all = Process::spawn(|()| made().expect("room"), ())?.join()?;
    write(all.clone());
    check(&all)
}

fn another_type_is_refused() -> Outcome {
    let long = Queue::<Shared<[AtomicU8]>>::new()?;
    long.put(&Shared::<[AtomicU8]>::zeroed(7)?)?;
    let bytes = serde_json::to_string(&Shared::new(AtomicU8::new(1))?)?;
    assert!(serde_json::from_str::<Shared<AtomicU64>>(&bytes).is_err());
    assert!(serde_json::from_str::<Shared<AtomicU8>>(&bytes).is_ok());
    let bytes = serde_json::to_string(&Mutex::new(1_u16)?)?;
    assert!(serde_json::from_str::<Mutex<u32>>(&bytes).is_err());
    assert!(serde_json::from_str::<Array<u64>>(&bytes).is_err());
    Ok(())
}

fn a_killed_holder_leaves_an_array_broken() -> Outcome {
    let (array, ready) = (Array::new(&[0_u8; 3])?, Event::new()?);
    let hold = |(array, ready): (Array<u8>, Event)| {
        let mut held = array.lock().expect("nobody died");
        held[0] = 1;
        ready.set();
        std::thread::sleep(LONG);
    };
    let holder = Process::spawn(hold, (array.clone(), ready.clone()))?;
    assert!(ready.wait_timeout(LONG));
    holder.kill()?;
    let error = array.lock().map(drop).expect_err("its holder died");
    assert_eq!(error.kind(), Kind::BrokenLock);
    assert!(array.reset());
    assert_eq!(*array.lock()?, [1, 0, 0]);
    Ok(())
}

// Memory with a name.

fn exists(name: &OsStr) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

fn memory_by_name() -> Outcome {
    let memory = SharedMemory::new(5000)?;
    assert_eq!((memory.len(), memory.bytes().len()), (5000, 5000));
    assert!(memory.bytes().iter().all(|byte| byte.load(Relaxed) == 0));
    let name = memory
        .name()
        .to_str()
        .expect("hexadecimal digits")
        .to_string();
    let fill = |name: String| {
        let memory = SharedMemory::open(name).expect("it is there");
        memory.numbers::<AtomicU64>()[3].store(42, Relaxed);
    };
    Process::spawn(fill, name.clone())?.join()?;
    assert_eq!(memory.numbers::<AtomicU64>()[3].load(Relaxed), 42);
    assert!(exists(memory.name()), "a reader takes nothing along");

    let number = |error: Option<procession::Error>| error.and_then(|error| error.os_error());
    assert_eq!(
        number(SharedMemory::create(&name, 1).err()),
        Some(libc::EEXIST)
    );
    memory.unlink()?;
    assert_eq!(number(SharedMemory::open(&name).err()), Some(libc::ENOENT));
    assert_eq!(number(memory.unlink().err()), Some(libc::ENOENT));
    assert_eq!(
        number(SharedMemory::create("a/b", 1).err()),
        Some(libc::EINVAL)
    );
    let empty = SharedMemory::create(&name, 0)
        .err()
        .map(|error| error.kind());
    assert_eq!(empty, Some(Kind::InvalidInput));
    assert_eq!(memory.numbers::<AtomicU64>()[3].load(Relaxed), 42);
    Ok(())
}

fn memory_as_an_argument() -> Outcome {
    let memory = SharedMemory::new(8)?;
    let fill = |memory: SharedMemory| memory.bytes()[7].store(1, Relaxed);
    Process::spawn(fill, SharedMemory::open(memory.name())?)?.join()?;
    assert_eq!(memory.bytes()[7].load(Relaxed), 1);
    memory.unlink()?;
    Ok(())
}

/// The program of the next two: says the names of what it and a child of it make.
fn make_memory(how: &str) {
    let mine = SharedMemory::new(1).expect("room");
    let kept = SharedMemory::new(1).expect("room");
    kept.untrack();
    let make = |()| {
        let made = SharedMemory::new(1).expect("room");
        made.name()
            .to_str()
            .expect("hexadecimal digits")
            .to_string()
    };
    let childs = Process::spawn(make, ())
        .and_then(Process::join)
        .expect("a name");
    let [mine, kept] = [mine, kept].map(|memory| memory.name().display().to_string());
    println!("{kept} {mine} {childs}");
    if how == "waits" {
        std::thread::sleep(LONG);
    }
}

fn ends_with_its_program(how: &str) -> Outcome {
    let program = Command::new(std::env::current_exe()?)
        .env(MAKES, how)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut program = program;
    let mut line = String::new();
    BufReader::new(program.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
    let names: Vec<&OsStr> = line.split_whitespace().map(OsStr::new).collect();
    let &[kept, mine, childs] = &names[..] else {
        return Err(format!("three names, not {line:?}").into());
    };
    if how == "waits" {
        assert!(exists(kept) && exists(mine) && exists(childs));
        program.kill()?;
    }
    program.wait()?;
    until("the names are gone", LONG, || {
        !exists(mine) && !exists(childs)
    });
    SharedMemory::open(kept)?.unlink()?;
    Ok(())
}

fn names_end_with_a_killed_root() -> Outcome {
    ends_with_its_program("waits")
}

fn names_end_with_a_root_that_returns() -> Outcome {
    ends_with_its_program("returns")
}

fn main() {
    procession::init();
    if let Ok(how) = std::env::var(MAKES) {
        return make_memory(&how);
    }
    let rows: [(&str, Body); 9] = [
        (
            "what_a_process_writes_is_seen",
            what_a_process_writes_is_seen,
        ),
        ("they_travel_through_queues", they_travel_through_queues),
        ("they_outlive_their_maker", they_outlive_their_maker),
        ("another_type_is_refused", another_type_is_refused),
        (
            "a_killed_holder_leaves_an_array_broken",
            a_killed_holder_leaves_an_array_broken,
        ),
        ("memory_by_name", memory_by_name),
        ("memory_as_an_argument", memory_as_an_argument),
        ("names_end_with_a_killed_root", names_end_with_a_killed_root),
        (
            "names_end_with_a_root_that_returns",
            names_end_with_a_root_that_returns,
        ),
    ];
    run_under_each_method(2 * LONG, &rows);
}
