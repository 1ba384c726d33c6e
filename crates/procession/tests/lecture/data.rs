//! What crosses between processes: bytes, pipes, queues.

use crate::support::{Outcome, PROMISED};
use crate::{LONG, SHORT};
use procession::{
    Event, JoinableQueue, Kind, Process, Queue, Receiver, Sender, active_children, pipe,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};

// Data crosses as bytes.

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Shape {
    Point,
    Polygon { corners: Vec<(f64, f64)> },
    Named(String, Option<Box<Shape>>),
}

/// Refuses to be turned into bytes, if told so.
#[derive(Debug, Deserialize)]
struct Stubborn(bool);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("it does not want to"));
        }
        serializer.serialize_newtype_struct("Stubborn", &self.0)
    }
}

pub fn data_as_bytes() -> Outcome {
    type Data = (Vec<Shape>, BTreeMap<String, i64>, Vec<u8>);
    let data: Data = (
        vec![
            Shape::Point,
            Shape::Polygon {
                corners: vec![(0.5, -1.0), (f64::MAX, 0.0)],
            },
            Shape::Named("ü".to_string(), Some(Box::new(Shape::Point))),
        ],
        BTreeMap::from([("a".to_string(), i64::MIN)]),
        (0..1_000_000).map(|n| n as u8).collect(),
    );
    let add = |(mut shapes, map, bytes): Data| {
        shapes.push(Shape::Point);
        (shapes, map, bytes)
    };
    let back = Process::spawn(add, data.clone())?.join()?;
    assert_eq!((&back.1, &back.2), (&data.1, &data.2));
    assert_eq!(back.0[..3], data.0, "what crossed is a copy");
    assert_eq!((back.0.len(), data.0.len()), (4, 3));

    // What can't be turned into bytes is an error at that call, and everything goes on.
    let queue = Queue::new()?;
    let error = queue.put(&Stubborn(true)).expect_err("an item");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(queue.is_empty());
    queue.put(&Stubborn(false))?;
    assert!(!queue.get()?.0);

    let say = |stubborn: Stubborn| stubborn.0;
    let stubborn = || Process::builder().name("never started");
    let error = stubborn()
        .spawn(say, Stubborn(true))
        .expect_err("an argument");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(
        active_children()
            .iter()
            .all(|child| child.name != "never started")
    );
    assert!(!Process::spawn(say, Stubborn(false))?.join()?);

    let error = Process::spawn(Stubborn, true)?
        .join()
        .expect_err("a result");
    assert_eq!(error.kind(), Kind::Serialization);
    assert!(!Process::spawn(Stubborn, false)?.join()?.0);
    Ok(())
}

// Pipes.

type Line = (u32, String);

pub fn pipes() -> Outcome {
    let (sender, receiver) = pipe::pipe::<Line>()?;
    let child = Process::spawn(
        |sender: Sender<Line>| {
            for n in 0..3 {
                sender.send(&(n, "tick".to_string())).expect("received");
            }
        },
        sender,
    )?;
    for n in 0..3 {
        assert_eq!(receiver.recv_timeout(LONG)?, (n, "tick".to_string()));
    }
    let error = receiver
        .recv()
        .expect_err("its only end went with the child");
    assert_eq!(error.kind(), Kind::Disconnected);
    child.join()?;

    // Both ways, and the end of a live process that is dropped there.
    let (here, there) = pipe::duplex::<u64, String>()?;
    let (dropped, go) = (Event::new()?, Event::new()?);
    let child = Process::spawn(
        |(there, dropped, go): (pipe::Connection<String, u64>, Event, Event)| {
            let n = there.recv().expect("a number comes");
            there.send(&n.to_string()).expect("somebody reads");
            drop(there);
            dropped.set();
            go.wait();
        },
        (there, dropped.clone(), go.clone()),
    )?;
    here.send(&12)?;
    assert_eq!(here.recv_timeout(LONG)?, "12");
    dropped.wait();
    assert_eq!(
        here.recv_timeout(SHORT).map_err(|e| e.kind()),
        Err(Kind::Disconnected)
    );
    assert_eq!(
        here.send(&13).map_err(|e| e.kind()),
        Err(Kind::Disconnected)
    );
    go.set();
    child.join()?;

    // A killed process is as gone as one that dropped its end.
    let (sender, receiver) = pipe::pipe::<Line>()?;
    let (answers, asked) = pipe::pipe::<Line>()?;
    let child = Process::spawn(
        |(sender, asked): (Sender<Line>, Receiver<Line>)| {
            sender.send(&(0, "alive".to_string())).expect("received");
            asked.recv().map_or((), |_| ())
        },
        (sender, asked),
    )?;
    assert_eq!(receiver.recv_timeout(LONG)?.0, 0);
    answers_are_refused_after(&child, &receiver, &answers)
}

pub fn answers_are_refused_after(
    child: &Process<()>,
    receiver: &Receiver<Line>,
    answers: &Sender<Line>,
) -> Outcome {
    child.kill()?;
    let error = receiver.recv_timeout(PROMISED).expect_err("nobody sends");
    assert_eq!(error.kind(), Kind::Disconnected);
    let line = (1, "too late".to_string());
    let error = answers.send(&line).expect_err("nobody receives");
    assert_eq!(error.kind(), Kind::Disconnected);
    Ok(())
}

// Queue.

pub fn queue() -> Outcome {
    let queue = Queue::new()?;
    let put = |queue: Queue<u64>| (0..300).for_each(|n| queue.put(&n).expect("room"));
    Process::spawn(put, queue.clone())?.join()?;
    assert_eq!(queue.len(), 300, "what was put outlives its producer");
    for n in 0..300 {
        assert_eq!(queue.get()?, n, "first in, first out");
    }
    assert!(queue.is_empty());
    assert_eq!(queue.try_get().map_err(|e| e.kind()), Err(Kind::Empty));
    assert_eq!(
        queue.get_timeout(SHORT).map_err(|e| e.kind()),
        Err(Kind::Empty)
    );
    assert_eq!(queue.put_many(&[1, 2, 3]).map_err(|(_, e)| e), Ok(3));
    assert_eq!(queue.get_many(2)?, [1, 2]);
    assert_eq!(queue.get_many(2)?, [3]);

    // Bounded: a put waits for room.
    let bounded = Queue::bounded(2)?;
    bounded.put(&"a".to_string())?;
    bounded.put(&"b".to_string())?;
    assert!(bounded.is_full());
    let c = "c".to_string();
    assert_eq!(bounded.try_put(&c).map_err(|e| e.kind()), Err(Kind::Full));
    assert_eq!(
        bounded.put_timeout(&c, SHORT).map_err(|e| e.kind()),
        Err(Kind::Full)
    );
    let waits = |(bounded, c): (Queue<String>, String)| bounded.put(&c).expect("room comes");
    let child = Process::spawn(waits, (bounded.clone(), c))?;
    for expected in ["a", "b", "c"] {
        assert_eq!(bounded.get_timeout(LONG)?, expected);
    }
    child.join()?;

    // A queue, and others of our nouns, travel through a queue and live on the way.
    let post = Queue::new()?;
    let answers = Queue::<u64>::new()?;
    post.put(&(answers.clone(), Event::new()?))?;
    let reads = |post: Queue<(Queue<u64>, Event)>| {
        let (answers, event) = post.get().expect("an item");
        assert!(!event.is_set());
        answers.put(&99).expect("room");
    };
    Process::spawn(reads, post)?.join()?;
    assert_eq!(answers.get_timeout(LONG)?, 99);
    Ok(())
}

pub fn queue_between_processes() -> Outcome {
    const EACH: u64 = 2_000;
    for queue in [Queue::new()?, Queue::bounded(8)?] {
        let puts = |(queue, who): (Queue<(u64, u64)>, u64)| {
            (0..EACH).for_each(|n| queue.put(&(who, n)).expect("room"));
        };
        let gets = |queue: Queue<(u64, u64)>| {
            (0..EACH)
                .map(|_| queue.get().expect("items come"))
                .collect::<Vec<_>>()
        };
        let consumers = [(); 3].map(|()| Process::spawn(gets, queue.clone()));
        let producers = [0, 1, 2].map(|who| Process::spawn(puts, (queue.clone(), who)));
        let mut all = HashSet::new();
        for consumer in consumers {
            let got = consumer?.join()?;
            for who in 0..3 {
                assert!(got.iter().filter(|item| item.0 == who).is_sorted());
            }
            all.extend(got);
        }
        for producer in producers {
            producer?.join()?;
        }
        assert_eq!(all.len() as u64, 3 * EACH, "each item once");
        assert!(queue.is_empty());
    }
    Ok(())
}

pub fn joinable_queue() -> Outcome {
    let (work, done) = (JoinableQueue::bounded(16)?, Queue::new()?);
    let works = |(work, done): (JoinableQueue<Option<u64>>, Queue<u64>)| {
        loop {
            let item = work.get().expect("an item");
            let last = item.is_none();
            if let Some(n) = item {
                done.put(&(n * n)).expect("room");
            }
            work.task_done().expect("it was put");
            if last {
                return;
            }
        }
    };
    let workers = [(); 2].map(|()| Process::spawn(works, (work.clone(), done.clone())));
    (0..100).try_for_each(|n| work.put(&Some(n)))?;
    work.join();
    assert_eq!((done.len(), work.unfinished()), (100, 0));
    assert_eq!(
        work.task_done().map_err(|e| e.kind()),
        Err(Kind::InvalidInput)
    );
    work.put_many(&[None, None]).map_err(|(_, error)| error)?;
    for worker in workers {
        worker?.join()?;
    }
    work.join();

    // The work of one that was killed stays unfinished, until another says that it is done.
    let takes = |(work, taken): (JoinableQueue<Option<u64>>, Event)| {
        work.get().expect("an item");
        taken.set();
        std::thread::sleep(LONG);
    };
    let taken = Event::new()?;
    work.put(&Some(1))?;
    let taker = Process::spawn(takes, (work.clone(), taken.clone()))?;
    assert!(taken.wait_timeout(LONG));
    taker.kill()?;
    assert!(taker.join().is_err());
    assert!(!work.join_timeout(SHORT));
    work.task_done()?;
    assert!(work.join_timeout(LONG));

    // It travels, and stays what it is.
    let carrier = Queue::new()?;
    carrier.put(&work)?;
    let again: JoinableQueue<Option<u64>> = carrier.get()?;
    again.put(&None)?;
    assert_eq!((work.unfinished(), work.get()?), (1, None));
    let plain: Queue<Queue<u64>> = Queue::new()?;
    plain.put(&Queue::new()?)?;
    let bytes = postcard_of(&plain)?;
    assert!(
        postcard::from_bytes::<JoinableQueue<u64>>(&bytes).is_err(),
        "it is a Queue"
    );
    Ok(())
}

fn postcard_of(value: &impl Serialize) -> Outcome<Vec<u8>> {
    Ok(postcard::to_stdvec(value)?)
}
