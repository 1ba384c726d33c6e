//! Connections between programs: listeners, keys, silent clients, giant lengths, and ends that travel.

#[path = "support/mod.rs"]
mod support;

use procession::connection::{Address, Connection, Listener, wait};
use procession::{Event, Kind, Process, Queue};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use support::{Body, Outcome, PROMISED, run_under_each_method, until};

const KEY: &[u8] = b"the right key";
/// A time that is never over unless something is wrong.
const LONG: Duration = Duration::from_secs(15);

fn main() {
    procession::init();
    let rows: [(&str, Body); 12] = [
        ("with_and_without_a_key", with_and_without_a_key),
        ("wrong_key", wrong_key),
        ("hundred_silent_clients", hundred_silent_clients),
        ("silent_until_its_limit", silent_until_its_limit),
        ("something_else", something_else),
        ("lengths", lengths),
        ("ends", ends),
        ("waiting_for_several", waiting_for_several),
        ("addresses", addresses),
        ("a_process_connects", a_process_connects),
        (
            "travels_though_its_sender_ended",
            travels_though_its_sender_ended,
        ),
        ("more_than_there_is_room_for", more_than_there_is_room_for),
    ];
    run_under_each_method(2 * LONG, &rows);
}

type Pair = (Connection, Connection);

/// Both ends, of a client in another thread.
fn served(listener: &Listener, key: Option<&'static [u8]>) -> Outcome<Pair> {
    let address = listener.address().clone();
    let client = thread::spawn(move || match key {
        Some(key) => Connection::connect_with_key(&address, key),
        None => Connection::connect(&address),
    });
    let accepted = listener.accept_timeout(LONG)?;
    Ok((accepted, client.join().expect("no panic")?))
}

fn silent(listener: &Listener) -> Outcome<UnixStream> {
    let Address::Unix(path) = listener.address() else {
        return Err("a Unix socket is wanted".into());
    };
    Ok(UnixStream::connect(path)?)
}

fn with_and_without_a_key() -> Outcome {
    for address in [None, Some(Address::local())] {
        for key in [None, Some(KEY), Some(&b""[..])] {
            let listener = match &address {
                None => Listener::new()?,
                Some(address) => Listener::bind(address)?,
            };
            let listener = match key {
                Some(key) => listener.with_key(key),
                None => listener,
            };
            let (one, other) = served(&listener, key)?;
            one.send(&vec![1_u64, 2])?;
            assert_eq!(other.recv::<Vec<u64>>()?, [1, 2]);
            other.send_bytes(&vec![7; 3_000_000][..0])?;
            assert_eq!(one.recv_bytes()?, b"");
        }
    }
    Ok(())
}

fn wrong_key() -> Outcome {
    let listener = Listener::new()?.with_key(KEY);
    let address = listener.address().clone();
    let client = thread::spawn(move || Connection::connect_with_key(&address, b"another"));
    let refused = listener.accept().expect_err("another key");
    assert_eq!(refused.kind(), Kind::AuthenticationFailed);
    let refused = client.join().expect("no panic").expect_err("another key");
    assert_eq!(refused.kind(), Kind::AuthenticationFailed);
    served(&listener, Some(KEY)).map(drop)
}

fn hundred_silent_clients() -> Outcome {
    let listener = Listener::new()?.with_key(KEY);
    let clients: Vec<_> = (0..100)
        .map(|_| silent(&listener))
        .collect::<Outcome<_>>()?;
    let began = Instant::now();
    served(&listener, Some(KEY))?;
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(clients);
    Ok(())
}

fn silent_until_its_limit() -> Outcome {
    let limit = Duration::from_millis(100);
    let listener = Listener::new()?.with_key(KEY).with_handshake_limit(limit);
    let mut client = silent(&listener)?;
    let (began, mut said) = (Instant::now(), Vec::new());
    let reader = thread::spawn(move || {
        client.set_read_timeout(Some(LONG))?;
        client
            .read_to_end(&mut said)
            .map(|_| (said, began.elapsed()))
    });
    let over = listener
        .accept_timeout(Duration::from_secs(1))
        .expect_err("nobody came");
    assert_eq!(over.kind(), Kind::TimedOut);
    let (said, took) = reader.join().expect("no panic")?;
    assert!(said[4..].starts_with(b"#CHALLENGE#"), "{said:?}");
    assert!(took >= limit && took < PROMISED, "{took:?}");
    Ok(())
}

fn something_else() -> Outcome {
    let says: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff\x7f\x7f\x7f\x7f\0\0\0\0",
        b"\0\0\0\x08half",
    ];
    let listener = Listener::new()?.with_key(KEY);
    for said in says {
        let mut client = silent(&listener)?;
        client.write_all(said)?;
        client.shutdown(std::net::Shutdown::Write)?;
        served(&listener, Some(KEY))?;
    }
    Ok(())
}

fn lengths() -> Outcome {
    // Two gigabytes are a length that may be; nothing of it comes.
    for len in [u64::MAX, 1 << 60, 1 << 45, 0x7fff_ffff] {
        let (mut raw, other) = UnixStream::pair()?;
        let end = Connection::from(rustix::fd::OwnedFd::from(other));
        let mut header = (-1_i32).to_be_bytes().to_vec();
        header.extend(len.to_be_bytes());
        raw.write_all(&header)?;
        drop(raw);
        let error = end.recv_bytes().expect_err("no such message");
        assert_eq!(error.kind(), Kind::System);
        assert!(error.to_string().contains(&len.to_string()), "{error}");
    }
    let (one, other) = Connection::pair()?;
    let bytes: Vec<u8> = (0..5_000_000).map(|n| n as u8).collect();
    thread::scope(|scope| -> Outcome {
        let sent = scope.spawn(|| one.send_bytes(&bytes));
        assert!(other.recv_bytes()? == bytes);
        Ok(sent.join().expect("no panic")?)
    })?;
    one.send_bytes(b"abcd")?;
    let error = other.recv_bytes_up_to(3).expect_err("too long");
    assert_eq!(error.kind(), Kind::InvalidInput);
    Ok(())
}

fn ends() -> Outcome {
    let (one, other) = Connection::pair()?;
    one.send(&1_u8)?;
    drop(one);
    assert!(other.poll(LONG)?);
    assert_eq!(other.recv::<u8>()?, 1);
    assert_eq!(
        other.recv_bytes().expect_err("the end").kind(),
        Kind::Disconnected
    );
    let error = other.send_bytes(b"nobody").expect_err("the end");
    assert_eq!(
        (error.kind(), error.os_error()),
        (Kind::System, Some(libc::EPIPE))
    );
    Ok(())
}

fn waiting_for_several() -> Outcome {
    let pairs: Vec<Pair> = (0..50)
        .map(|_| Connection::pair())
        .collect::<Result<_, _>>()?;
    let near: Vec<&Connection> = pairs.iter().map(|(near, _)| near).collect();
    assert!(wait(&near, Some(Duration::ZERO))?.is_empty());
    pairs[33].1.send_bytes(b"here")?;
    assert_eq!(wait(&near, None)?, [33]);
    Ok(())
}

fn addresses() -> Outcome {
    let listener = Listener::bind(&Address::local())?;
    let taken = Listener::bind(listener.address()).expect_err("it is taken");
    assert_eq!(taken.os_error(), Some(libc::EADDRINUSE));
    let listener = Listener::new()?.with_backlog(3)?;
    let address = listener.address().clone();
    let Address::Unix(path) = &address else {
        return Err("a Unix socket is wanted".into());
    };
    assert!(path.exists());
    drop(listener);
    assert!(!path.parent().is_some_and(|directory| directory.exists()));
    let nobody = Connection::connect(&address).expect_err("nobody listens");
    assert_eq!(nobody.os_error(), Some(libc::ENOENT));
    Ok(())
}

fn call_back(address: Address) {
    let connection = Connection::connect_with_key(&address, KEY).expect("the listener accepts");
    connection.send(&std::process::id()).expect("room");
}

fn a_process_connects() -> Outcome {
    let listener = Listener::new()?.with_key(KEY);
    let process = Process::spawn(call_back, listener.address().clone())?;
    assert_eq!(listener.accept_timeout(LONG)?.recv::<u32>()?, process.pid());
    process.join()?;
    Ok(())
}

fn send_ends((queue, told, count): (Queue<Connection>, Event, u8)) {
    for number in 0..count {
        let (near, far) = Connection::pair().expect("sockets");
        near.send(&number).expect("room");
        // Another test may have all the room for a moment.
        until("there is room", LONG, || queue.put(&far).is_ok());
    }
    told.set();
    Event::new().expect("room").wait();
}

fn travels_though_its_sender_ended() -> Outcome {
    let (queue, told) = (Queue::new()?, Event::new()?);
    let process = Process::spawn(send_ends, (queue.clone(), told.clone(), 5))?;
    told.wait();
    process.kill()?;
    drop(process.join());
    for number in 0..5 {
        let end = queue.get_timeout(LONG)?;
        assert_eq!(end.recv::<u8>()?, number);
        let over = end
            .recv_bytes()
            .expect_err("the other end went with its process");
        assert_eq!(over.kind(), Kind::Disconnected);
    }
    Ok(())
}

fn more_than_there_is_room_for() -> Outcome {
    let (queue, (_near, far)) = (Queue::new()?, Connection::pair()?);
    let full = (0..100).find_map(|_| queue.put(&far).err());
    assert_eq!(full.expect("there is a limit").kind(), Kind::Serialization);
    // What nobody received goes with its message, and there is room again.
    drop(queue);
    let queue: Queue<Connection> = Queue::new()?;
    queue.put(&far)?;
    queue.get_timeout(LONG)?;
    Ok(())
}
