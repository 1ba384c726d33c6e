//! What a message of 64 bytes costs from one process to another: rounds interleaved, medians with spread.
//!
//! `cargo run --release -p procession-bench [ROUNDS]`

use ipc_channel::ipc::{IpcOneShotServer, IpcSender};
use procession::object::{Name, Object};
use procession::queue::RawQueue;
use procession::shm::object::Kind;
use procession::shm::queue::Got;
use procession::{Process, Queue, time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 64 bytes that serde knows.
type Item = ([u8; 32], [u8; 32]);
const ITEM: Item = ([7; 32], [8; 32]);
const BYTES: [u8; 64] = [7; 64];

/// Measures once: nanoseconds a message.
type Case = fn() -> procession::Result<f64>;

fn main() -> procession::Result<()> {
    procession::init();
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let cases: [(&str, Case); 6] = [
        ("Queue, 64 bytes as they are", || raw(0)),
        ("the same, bounded to 1000", || raw(1000)),
        ("Queue<([u8; 32], [u8; 32])>", typed),
        ("there and back, half of it", half_of_a_round_trip),
        ("ipc-channel, ([u8; 32], [u8; 32])", peer),
        ("put, nobody gets", put_alone),
    ];
    let mut figures = vec![Vec::new(); cases.len()];
    for _ in 0..rounds.unwrap_or(7) {
        for ((_, run), figures) in cases.iter().zip(&mut figures) {
            figures.push(run()?);
        }
    }
    println!("nanoseconds a message: median (least to most)");
    for ((name, _), mut figures) in cases.iter().zip(figures) {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (figures[0], figures[figures.len() - 1]);
        let median = figures[figures.len() / 2];
        println!("{name:<36} {median:8.1} ({least:.1} to {most:.1})");
    }
    Ok(())
}

/// From the first put to the last get, by the clock that all processes share.
fn a_message(start: u64, end: u64, count: u64) -> f64 {
    (end - start) as f64 / count as f64
}

/// Two processes: one puts, this one gets.
fn raw(bound: u64) -> procession::Result<f64> {
    const COUNT: u64 = 1_000_000;
    let queue = RawQueue::new(bound)?;
    let puts = |Raw(queue): Raw| {
        let start = time::now();
        for _ in 0..COUNT {
            queue.put_inline(1, &BYTES, None).expect("room");
        }
        start
    };
    let producer = Process::spawn(puts, Raw(queue.clone()))?;
    for _ in 0..COUNT {
        let got = queue.get(None, || false)?;
        assert!(matches!(got, Got::Inline { len: 64, .. }));
    }
    let end = time::now();
    Ok(a_message(producer.join()?, end, COUNT))
}

fn put_alone() -> procession::Result<f64> {
    const COUNT: u64 = 200_000;
    let queue = RawQueue::new(0)?;
    let start = time::now();
    for _ in 0..COUNT {
        queue.put_inline(1, &BYTES, None)?;
    }
    Ok(a_message(start, time::now(), COUNT))
}

fn typed() -> procession::Result<f64> {
    const COUNT: u64 = 500_000;
    let queue = Queue::<Item>::new()?;
    let puts = |queue: Queue<Item>| {
        let start = time::now();
        for _ in 0..COUNT {
            queue.put(&ITEM).expect("room");
        }
        start
    };
    let producer = Process::spawn(puts, queue.clone())?;
    for _ in 0..COUNT {
        assert_eq!(queue.get()?, ITEM);
    }
    let end = time::now();
    Ok(a_message(producer.join()?, end, COUNT))
}

fn half_of_a_round_trip() -> procession::Result<f64> {
    const COUNT: u64 = 20_000;
    let (there, back) = (Queue::<Option<Item>>::new()?, Queue::<Item>::new()?);
    let echo = |(there, back): (Queue<Option<Item>>, Queue<Item>)| {
        while let Some(item) = there.get().expect("one comes") {
            back.put(&item).expect("room");
        }
    };
    let child = Process::spawn(echo, (there.clone(), back.clone()))?;
    there.put(&Some(ITEM))?;
    back.get()?;
    let start = time::now();
    for _ in 0..COUNT {
        there.put(&Some(ITEM))?;
        back.get()?;
    }
    let end = time::now();
    there.put(&None)?;
    child.join()?;
    Ok(a_message(start, end, 2 * COUNT))
}

/// The same through ipc-channel: a socket of the kernel.
fn peer() -> procession::Result<f64> {
    const COUNT: u64 = 100_000;
    let (server, name) = IpcOneShotServer::<Item>::new().expect("a socket in TMPDIR");
    let puts = |name: String| {
        let sender = IpcSender::<Item>::connect(name).expect("its server waits");
        let start = time::now();
        for _ in 0..COUNT {
            sender.send(ITEM).expect("it is received");
        }
        start
    };
    let producer = Process::spawn(puts, name)?;
    let (receiver, first) = server.accept().expect("it connects");
    assert_eq!(first, ITEM);
    for _ in 1..COUNT {
        assert_eq!(receiver.recv().expect("one comes"), ITEM);
    }
    let end = time::now();
    Ok(a_message(producer.join()?, end, COUNT))
}

/// A queue of bytes as they are, handed to another process.
struct Raw(RawQueue);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.object().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::from_name(Name::deserialize(deserializer)?, Kind::Queue);
        Ok(Raw(RawQueue::from_object(
            object.map_err(serde::de::Error::custom)?,
        )))
    }
}
