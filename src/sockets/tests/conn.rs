//! One connection over a real socket pair, step by step.

use crate::sockets::{Conn, Poll, PollEvent};
use net::{ConnId, Filled, Flushed, Next, ReadBuffer, Slab};
use resp::{Argv, Limits};
use state::Gate;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

struct Bench {
    poll: Poll,
    conns: Slab<Conn>,
    key: ConnId,
    shared: ReadBuffer,
    argv: Argv,
    peer: TcpStream,
}

impl Bench {
    fn new() -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        peer.set_nodelay(true).expect("nodelay");
        let (socket, _) = listener.accept().expect("accept");
        socket.set_nonblocking(true).expect("nonblocking");
        let poll = Poll::new().expect("epoll");
        let mut conns = Slab::new();
        let key = conns.insert(Conn::new(mio::net::TcpStream::from_std(socket).into()));
        let socket = conns.get_mut(key).expect("inserted").socket_mut();
        let registrar = poll.registrar().expect("registrar");
        registrar.register(socket, key).expect("register");
        let (shared, argv) = (ReadBuffer::new(), Argv::new());
        Bench {
            poll,
            conns,
            key,
            shared,
            argv,
            peer,
        }
    }

    fn conn(&mut self) -> &mut Conn {
        self.conns.get_mut(self.key).expect("alive")
    }

    /// Notes events until the connection satisfies `until`.
    fn wait(&mut self, until: impl Fn(&Conn) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !until(self.conn()) {
            assert!(Instant::now() < deadline, "the event never came");
            self.poll
                .wait(Some(Duration::from_millis(100)), false)
                .expect("epoll");
            for event in self.poll.events() {
                if let PollEvent::Conn(key, readiness) = event {
                    self.conns.get_mut(key).expect("alive").note(readiness);
                }
            }
        }
    }

    fn fill(&mut self) -> Filled {
        let conn = self.conns.get_mut(self.key).expect("alive");
        conn.fill(&mut self.shared, 1 << 30)
    }

    fn commands(&mut self) -> Vec<Vec<Vec<u8>>> {
        let conn = self.conns.get_mut(self.key).expect("alive");
        let mut found = Vec::new();
        loop {
            match conn
                .input
                .next(&self.shared, &Limits::default(), &mut self.argv)
            {
                Ok(Next::Command { args, consumed, .. }) => {
                    found.push(args.to_vecs());
                    conn.input.consume(consumed);
                }
                Ok(Next::Starved) => break,
                Err(error) => panic!("{error}"),
            }
        }
        conn.input.settle(&self.shared);
        found
    }
}

#[test]
fn an_idle_connection_owns_no_memory() {
    let mut bench = Bench::new();
    bench.peer.write_all(b"*1\r\n$4\r\nPI").expect("write");
    bench.wait(Conn::wants_fill);
    assert!(matches!(bench.fill(), Filled::Bytes(10)));
    assert!(!bench.conn().wants_fill());
    assert_eq!(bench.commands(), Vec::<Vec<Vec<u8>>>::new());
    assert!(bench.conn().memory_bytes() > 0);
    assert!(
        !bench.conn().has_work(),
        "a read that left room has emptied the socket"
    );
    bench.peer.write_all(b"NG\r\n").expect("write");
    bench.wait(Conn::wants_fill);
    assert!(matches!(bench.fill(), Filled::Bytes(4)));
    assert_eq!(bench.commands(), [[b"PING".to_vec()]]);
    assert_eq!(bench.conn().memory_bytes(), 0);
    assert!(matches!(bench.fill(), Filled::Blocked));
}

#[test]
fn a_held_command_comes_again() {
    let mut bench = Bench::new();
    bench.peer.write_all(b"GET a\r\nGET b\r\n").expect("write");
    bench.wait(Conn::wants_fill);
    assert!(matches!(bench.fill(), Filled::Bytes(14)));
    let conn = bench.conns.get_mut(bench.key).expect("alive");
    let held = conn
        .input
        .next(&bench.shared, &Limits::default(), &mut bench.argv);
    assert!(matches!(held, Ok(Next::Command { .. })));
    conn.input.settle(&bench.shared);
    assert!(conn.has_work() && !conn.wants_fill());
    conn.set_reading(false);
    assert!(!conn.has_work());
    conn.set_reading(true);
    assert_eq!(bench.commands().len(), 2);
}

#[test]
fn the_end_of_the_stream_is_seen_behind_its_last_bytes() {
    let mut bench = Bench::new();
    bench.peer.write_all(b"PING\r\n").expect("write");
    bench
        .peer
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    // Both are one event, or two: either way the end is found.
    bench.wait(Conn::wants_fill);
    assert!(matches!(bench.fill(), Filled::Bytes(6)));
    assert_eq!(bench.commands().len(), 1);
    bench.wait(Conn::wants_fill);
    assert!(bench.conn().peer_has_gone());
    assert!(matches!(bench.fill(), Filled::Eof));
    assert!(!bench.conn().has_work());
}

#[test]
fn a_query_above_the_limit_is_reported() {
    let mut bench = Bench::new();
    bench
        .peer
        .write_all(b"*1\r\n$100\r\nxxxxxxxxxxxxxxxxxxxxxx")
        .expect("write");
    bench.wait(Conn::wants_fill);
    assert!(matches!(
        bench.conn().fill(&mut ReadBuffer::new(), 16),
        Filled::OverLimit
    ));
}

#[test]
fn memory_follows_what_has_arrived_not_what_was_announced() {
    let mut bench = Bench::new();
    let mut sent = b"*2\r\n$4\r\nECHO\r\n$500000000\r\n".to_vec();
    sent.resize(200_000, b'x');
    let mut peer = bench.peer.try_clone().expect("clone");
    let sender = std::thread::spawn(move || peer.write_all(&sent).expect("write"));
    let mut got = 0;
    while got < 200_000 {
        bench.wait(Conn::wants_fill);
        match bench.fill() {
            Filled::Bytes(n) => got += n,
            other => assert!(matches!(other, Filled::Blocked), "{other:?}"),
        }
        assert!(bench.commands().is_empty());
        let limit = 8 * got + (128 << 10);
        assert!(bench.conn().memory_bytes() <= limit, "{got}");
    }
    sender.join().expect("sent");
}

#[test]
fn a_short_write_waits_for_the_poller() {
    let mut bench = Bench::new();
    let total = 32 << 20;
    let conn = bench.conn();
    conn.output.buf().resize(total, b'x');
    conn.output.seal(Gate::OPEN, None);
    while conn.flush().expect("alive") != Flushed::Short {}
    let before = conn.output.pending_bytes();
    assert!(before > 0);
    assert_eq!(conn.flush().expect("alive"), Flushed::Short);
    assert_eq!(
        conn.output.pending_bytes(),
        before,
        "no write without an event"
    );
    let mut peer = bench.peer.try_clone().expect("clone");
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        peer.read_exact(&mut got).expect("all of it");
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.conn().flush().expect("alive") != Flushed::All {
        assert!(Instant::now() < deadline);
        bench
            .poll
            .wait(Some(Duration::from_millis(100)), false)
            .expect("epoll");
        for event in bench.poll.events() {
            if let PollEvent::Conn(key, readiness) = event {
                bench.conns.get_mut(key).expect("alive").note(readiness);
            }
        }
    }
    reader.join().expect("read");
    assert!(bench.conn().memory_bytes() <= 64 << 10);
}

#[test]
fn a_brief_wait_ends_before_a_millisecond() {
    let mut poll = Poll::new().expect("epoll");
    let brief = Duration::from_micros(100);
    let wait = |_| {
        let begun = Instant::now();
        poll.wait(Some(brief), false).expect("it waits");
        begun.elapsed()
    };
    // On a busy machine any of them may take long, not all of them.
    let shortest = (0..200).map(wait).min().expect("there were some");
    assert!(shortest >= brief, "{shortest:?}");
    assert!(shortest < Duration::from_millis(1), "{shortest:?}");
}

#[test]
fn a_brief_wait_finds_what_is_there() {
    let mut poll = Poll::new().expect("epoll");
    poll.waker().wake().expect("woken");
    let brief = Duration::from_micros(900);
    poll.wait(Some(brief), false).expect("it waits");
    assert_eq!(poll.events().collect::<Vec<_>>(), [PollEvent::Wake]);
}
