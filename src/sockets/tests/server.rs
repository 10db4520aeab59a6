//! A server of nothing: PING, ECHO, SET and GET without a keyspace, to test the pieces together and
//! to measure the bare loop. It shows the order of a turn: wait, note, accept, visit, release, flush.
//!
//! `BARE_LOOP_PORT=7777 cargo test --release --lib sockets::tests::server::serve -- --ignored` serves
//! until killed.

use crate::sockets::{
    raise_open_files, Conn, Listeners, OpenFiles, Poll, PollEvent, RESERVED_FILES,
};
use base::clock::Mono;
use base::ids::BatchSeq;
use mio::Waker;
use net::{ConnId, Filled, Next, ReadBuffer, ReadyList, Slab};
use resp::{Args, Argv, Limits, Proto, Reply};
use state::Gate;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HELD_LIMIT_BYTES: usize = 1 << 20;
const QUERY_LIMIT_BYTES: usize = 64 << 20;

struct Server {
    poll: Poll,
    listeners: Listeners,
    conns: Slab<Conn>,
    ready: ReadyList,
    dirty: Vec<ConnId>,
    /// Whose output waits for gates.
    waiting: Vec<ConnId>,
    shared: ReadBuffer,
    argv: Argv,
    started: Instant,
    turn: u64,
    /// Replies wait until a later turn (`HOLD`, `RELEASE`) instead of the end of this one.
    held: bool,
    shut: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    clients: AtomicUsize,
    memory_bytes: AtomicUsize,
    /// Asks for a trim; what is left then, in all.
    trim: AtomicBool,
    trimmed_bytes: AtomicUsize,
}

impl Server {
    fn new(address: &str, port: u16) -> Server {
        let poll = Poll::new().expect("epoll");
        let bound = Listeners::bind(&[address.to_string()], port, 511).expect("a free port");
        let mut listeners = bound.listeners;
        listeners
            .register(&poll.registrar().expect("registrar"))
            .expect("register");
        Server {
            poll,
            listeners,
            conns: Slab::new(),
            ready: ReadyList::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            shared: ReadBuffer::new(),
            argv: Argv::new(),
            started: Instant::now(),
            turn: 0,
            held: false,
            shut: Arc::default(),
        }
    }

    fn now(&self) -> Mono {
        Mono(self.started.elapsed().as_nanos() as u64)
    }

    fn run(mut self) {
        while !self.shut.stop.load(Ordering::Acquire) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let idle = self.ready.is_empty() && !self.listeners.has_work(self.now());
        let pause = self
            .listeners
            .next_deadline()
            .map(|at| at.since(self.now()));
        let timeout = if idle { pause } else { Some(Duration::ZERO) };
        self.poll.wait(timeout, true).expect("epoll");
        self.turn += 1;
        for event in self.poll.events() {
            match event {
                PollEvent::Wake => {}
                PollEvent::Listener(n) => self.listeners.note(n),
                PollEvent::Conn(key, readiness) => {
                    let Some(conn) = self.conns.get_mut(key) else {
                        continue;
                    };
                    conn.note(readiness);
                    if conn.has_work() {
                        self.ready.add(key, conn);
                    }
                    if conn.output.wants_write() {
                        self.dirty.push(key);
                    }
                }
            }
        }
        self.accept();
        for _ in 0..self.ready.len() {
            let key = self.ready.take().expect("as many as counted");
            self.visit(key);
        }
        self.flush();
        self.shut.clients.store(self.conns.len(), Ordering::Release);
    }

    fn accept(&mut self) {
        let now = self.now();
        let registrar = self.poll.registrar().expect("registrar");
        let conns = &mut self.conns;
        let result = self
            .listeners
            .accept(now, Duration::from_secs(300), &mut |accepted| {
                let key = conns.insert(Conn::new(accepted.socket));
                let conn = conns.get_mut(key).expect("just inserted");
                registrar
                    .register(conn.socket_mut(), key)
                    .expect("register");
            });
        if let Err(error) = result {
            eprintln!("accept: {error}");
        }
    }

    fn visit(&mut self, key: ConnId) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.unlisted();
        self.dirty.push(key);
        if conn.wants_fill() {
            match conn.fill(&mut self.shared, QUERY_LIMIT_BYTES) {
                Filled::Bytes(_) | Filled::Blocked => {}
                Filled::Eof => conn.output.close_after(),
                Filled::OverLimit | Filled::Failed(_) => {
                    self.conns.remove(key);
                    return;
                }
            }
        }
        let limits = Limits::default();
        let gate = Gate::of_batch(BatchSeq(self.turn));
        while conn.output.held_bytes() <= HELD_LIMIT_BYTES && !conn.output.is_closing() {
            match conn.input.next(&self.shared, &limits, &mut self.argv) {
                Ok(Next::Command { args, consumed, .. }) => {
                    let mut reply = Reply::new(conn.output.buf(), Proto::Resp2);
                    let keep = execute(&args, &mut reply, &mut self.held);
                    conn.output.seal(gate, None);
                    conn.input.consume(consumed);
                    if !keep {
                        conn.output.close_after();
                    }
                }
                Ok(Next::Starved) => break,
                Err(error) => {
                    Reply::new(conn.output.buf(), Proto::Resp2).error(error.text());
                    conn.output.seal(Gate::OPEN, None);
                    conn.output.close_after();
                }
            }
        }
        conn.input.settle(&self.shared);
    }

    fn flush(&mut self) {
        let released = Gate::of_batch(BatchSeq(self.turn));
        let mut memory = 0;
        if !self.held {
            self.dirty.append(&mut self.waiting);
        }
        for key in self.dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            if !self.held {
                conn.output.release(released);
            }
            let flushed = conn.flush();
            memory = memory.max(conn.memory_bytes());
            if flushed.is_err() || conn.output.is_finished() {
                self.conns.remove(key);
                self.listeners.file_freed();
                continue;
            }
            if conn.output.held_bytes() > 0 {
                self.waiting.push(key);
            }
            conn.set_reading(conn.output.held_bytes() <= HELD_LIMIT_BYTES);
            if conn.has_work() {
                self.ready.add(key, conn);
            }
        }
        self.shut.memory_bytes.fetch_max(memory, Ordering::AcqRel);
        if self.shut.trim.swap(false, Ordering::AcqRel) {
            self.conns
                .iter_mut()
                .for_each(|(_, conn)| conn.output.trim());
            let total = self.conns.iter().map(|(_, conn)| conn.memory_bytes()).sum();
            self.shut.trimmed_bytes.store(total, Ordering::Release);
        }
    }
}

fn execute(args: &Args<'_>, reply: &mut Reply<'_>, held: &mut bool) -> bool {
    match args.at(0) {
        b"SET" => reply.ok(),
        b"GET" => reply.bulk(&[b'v'; 64]),
        b"PING" if args.len() == 1 => reply.simple("PONG"),
        b"PING" | b"ECHO" if args.len() == 2 => reply.bulk(args.at(1)),
        b"LEN" if args.len() == 2 => reply.int(args.at(1).len() as i64),
        b"HOLD" => {
            *held = true;
            reply.ok();
        }
        b"RELEASE" => {
            *held = false;
            reply.ok();
        }
        b"QUIT" => {
            reply.ok();
            return false;
        }
        b"CONFIG" => {
            reply.array(2);
            reply.bulk(args.at(2));
            reply.bulk(b"");
        }
        _ => reply.error("ERR unknown command"),
    }
    true
}

/// A server on a thread of its own; stops when dropped.
struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Running {
        let server = Server::new("127.0.0.1", 0);
        let address = server.listeners.addresses()[0];
        let (shared, waker) = (Arc::clone(&server.shut), server.poll.waker());
        let thread = Some(std::thread::spawn(move || server.run()));
        Running {
            address,
            shared,
            waker,
            thread,
        }
    }

    fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        stream
    }

    fn wait(&self, what: &str, condition: impl Fn(&Shared) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(&self.shared) {
            assert!(Instant::now() < deadline, "never: {what}");
            self.waker.wake().expect("wake");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake().expect("wake");
        let ended = self.thread.take().expect("started").join();
        if !std::thread::panicking() {
            ended.expect("the server ends well");
        }
    }
}

fn ask(client: &mut TcpStream, input: &[u8], expected: &[u8]) {
    client.write_all(input).expect("write");
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).expect("a reply");
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(expected)
    );
}

fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("until the end");
    got
}

fn bulk(arg: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Reply::new(&mut out, Proto::Resp2).bulk(arg);
    out
}

#[test]
#[ignore = "a server for measurements: runs until killed"]
fn serve() {
    let port = std::env::var("BARE_LOOP_PORT").expect("BARE_LOOP_PORT");
    Server::new("127.0.0.1", port.parse().expect("a port")).run();
}

#[test]
fn answers_in_any_cut_and_in_order() {
    let server = Running::start();
    let mut client = server.client();
    ask(&mut client, b"PING\r\n", b"+PONG\r\n");
    let input = b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\nPING\r\n*0\r\nPING x\r\n";
    let expected = b"+PONG\r\n$3\r\na\r\n\r\n+PONG\r\n$1\r\nx\r\n";
    ask(&mut client, input, expected);
    client.set_nodelay(true).expect("nodelay");
    for byte in input {
        client.write_all(&[*byte]).expect("write");
    }
    ask(&mut client, b"", expected);
    ask(&mut client, b"QUIT\r\nPING\r\n", b"+OK\r\n");
    // What is there unread when the server closes may turn the end into a reset.
    let _ = client.read_to_end(&mut Vec::new());
    server.wait("the client is gone", |s| {
        s.clients.load(Ordering::Acquire) == 0
    });
}

#[test]
fn a_protocol_error_is_said_and_ends_the_connection() {
    let server = Running::start();
    let mut client = server.client();
    client
        .write_all(b"PING\r\n*1\r\nPING\r\nPING\r\n")
        .expect("write");
    assert_eq!(
        rest(&mut client),
        b"+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n"
    );
}

#[test]
fn a_client_that_half_closes_gets_its_answers() {
    let server = Running::start();
    let mut client = server.client();
    client
        .write_all(&b"PING\r\n".repeat(10_000))
        .expect("write");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    assert_eq!(rest(&mut client), b"+PONG\r\n".repeat(10_000));
}

#[test]
fn big_arguments_arrive_whole() {
    let server = Running::start();
    let mut client = server.client();
    for len in [16 << 10, 64 << 10, 70_000, 1 << 20, 20 << 20] {
        let arg: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut input = format!("*2\r\n$4\r\nECHO\r\n${len}\r\n").into_bytes();
        input.extend_from_slice(&arg);
        input.extend_from_slice(b"\r\nPING\r\n");
        let mut writer = client.try_clone().expect("clone");
        let sender = std::thread::spawn(move || writer.write_all(&input).expect("write"));
        let mut expected = bulk(&arg);
        expected.extend_from_slice(b"+PONG\r\n");
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).expect("a reply");
        assert!(got == expected, "{len} bytes come back as sent");
        sender.join().expect("sent");
    }
    server.wait("input memory is given back", |s| {
        s.clients.load(Ordering::Acquire) == 1
    });
}

#[test]
fn many_pipelined_commands_of_all_sizes() {
    let server = Running::start();
    let (mut client, mut writer) = {
        let client = server.client();
        (client.try_clone().expect("clone"), client)
    };
    let (mut input, mut expected) = (Vec::new(), Vec::new());
    for n in 0..30_000usize {
        let arg = vec![b'a' + (n % 26) as u8; (n * n) % 701];
        let mut reply = Reply::new(&mut input, Proto::Resp2);
        reply.array(2);
        reply.bulk(b"ECHO");
        reply.bulk(&arg);
        expected.extend_from_slice(&bulk(&arg));
    }
    let sender = std::thread::spawn(move || writer.write_all(&input).expect("write"));
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).expect("replies");
    assert!(got == expected);
    sender.join().expect("sent");
}

#[test]
fn held_output_stops_reading_and_resumes() {
    let server = Running::start();
    let (mut other, mut client) = (server.client(), server.client());
    client.write_all(b"HOLD\r\n").expect("write");
    // Replies of 64 KiB to a client whose gate stays shut: far less than asked for is held.
    let mut command = b"*2\r\n$4\r\nECHO\r\n".to_vec();
    command.extend_from_slice(&bulk(&[b'x'; 64 << 10]));
    let mut writer = client.try_clone().expect("clone");
    let input = command.repeat(400);
    let sender = std::thread::spawn(move || writer.write_all(&input).expect("write"));
    server.wait("the limit is reached", |s| {
        s.memory_bytes.load(Ordering::Acquire) > HELD_LIMIT_BYTES
    });
    // The other connection is read all the while.
    assert!(server.shared.memory_bytes.load(Ordering::Acquire) < 4 * HELD_LIMIT_BYTES);
    other.write_all(b"RELEASE\r\n").expect("write");
    let mut got = vec![0; 5 + 400 * bulk(&[b'x'; 64 << 10]).len()];
    // Its own release does not open another's gates: only what it sends later does.
    ask(&mut other, b"", b"+OK\r\n");
    server.wait("woken", |_| true);
    let mut reader = client.try_clone().expect("clone");
    reader
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    reader.read_exact(&mut got).expect("all replies");
    sender.join().expect("sent");
}

#[test]
fn ten_thousand_idle_connections() {
    let server = Running::start();
    // Both ends are in this process.
    let clients = match raise_open_files(20_200, RESERVED_FILES.into()) {
        OpenFiles::Enough | OpenFiles::Raised { .. } => 10_000,
        OpenFiles::Lowered { maxclients, .. } | OpenFiles::Unknown { maxclients, .. } => {
            (maxclients.saturating_sub(200) / 2) as usize
        }
        OpenFiles::TooFew { .. } => panic!("no files at all"),
    };
    let mut idle: Vec<TcpStream> = (0..clients).map(|_| server.client()).collect();
    server.wait("all are in", |s| {
        s.clients.load(Ordering::Acquire) == clients
    });
    for client in &mut idle {
        client.write_all(b"*1\r\n$4\r\nPING\r\n").expect("write");
    }
    for client in &mut idle {
        ask(client, b"", b"+PONG\r\n");
    }
    server
        .shared
        .trimmed_bytes
        .store(usize::MAX, Ordering::Release);
    server.shared.trim.store(true, Ordering::Release);
    server.wait("a trim", |s| s.trimmed_bytes.load(Ordering::Acquire) == 0);
    ask(&mut idle[clients / 2], b"PING\r\n", b"+PONG\r\n");
    drop(idle);
    server.wait("all are out", |s| s.clients.load(Ordering::Acquire) == 0);
}

#[test]
fn random_bytes_do_no_harm() {
    let server = Running::start();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..300 {
        let mut client = server.client();
        let len = random() % 3000;
        let mut noise: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        let words: [&[u8]; 5] = [b"*3\r\n", b"$1\r\n", b"\r\n", b"\"", b"*1\r\n$999\r\n"];
        for _ in 0..random() % 8 {
            let word = words[(random() % 5) as usize];
            let at = (random() % (noise.len() as u64 + 1)) as usize;
            noise.splice(at..at, word.iter().copied());
        }
        let _ = client.write_all(&noise);
        let _ = client.shutdown(std::net::Shutdown::Write);
        // A reset is an end as well.
        let _ = client.read_to_end(&mut Vec::new());
    }
    ask(&mut server.client(), b"PING\r\n", b"+PONG\r\n");
    server.wait("all are out", |s| s.clients.load(Ordering::Acquire) == 0);
}
