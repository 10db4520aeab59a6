use super::frame::{Assembler, FrameError, Kind, BUS_MAGIC};
use super::handshake::{self, Answer, Class, Hello, Side};
use super::*;
use cluster_bus::NodeId;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

mod floods;
mod inlets;
mod proof;
mod strangers;

const DEADLINE: Duration = Duration::from_secs(20);

/// A loop that has nothing but links.
struct Node {
    id: NodeId,
    poll: mio::Poll,
    events: mio::Events,
    links: Links,
    /// Events that nobody has asked for yet.
    seen: VecDeque<Event>,
}

impl Node {
    fn new(id: u8) -> Node {
        Node::with(id, |_| {})
    }

    fn with(id: u8, change: impl FnOnce(&mut TransportConfig)) -> Node {
        let id = NodeId([id; 20]);
        let mut config = TransportConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            myself: Some(id),
            ..TransportConfig::default()
        };
        change(&mut config);
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let links = start(waker, config).unwrap();
        links.watch(poll.registry(), mio::Token(0)).unwrap();
        Node {
            id,
            poll,
            events: mio::Events::with_capacity(8),
            links,
            seen: VecDeque::new(),
        }
    }

    fn addr(&self) -> SocketAddr {
        self.links.addresses()[0]
    }

    fn knows(&self, other: &Node) {
        self.peer(other.id, Some(other.addr()));
    }

    fn peer(&self, node: NodeId, addr: Option<SocketAddr>) {
        self.links.send(Command::Peer { node, addr });
    }

    fn raft(&self, to: NodeId, urgent: bool, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.links.send(Command::Raft { to, urgent, bytes });
    }

    /// Waits at most a little and takes what there is.
    fn turn(&mut self, at_most: Duration) {
        self.poll.poll(&mut self.events, Some(at_most)).unwrap();
        while let Some(event) = self.links.try_recv() {
            self.seen.push_back(event);
        }
    }

    /// The first events that `pick` takes; what it leaves stays for later.
    #[track_caller]
    fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut looked_at = 0;
        loop {
            while looked_at < self.seen.len() {
                if let Some(found) = pick(&self.seen[looked_at]) {
                    self.seen.remove(looked_at);
                    return found;
                }
                looked_at += 1;
            }
            assert!(Instant::now() < end, "no {what} among {:?}", self.seen);
            self.turn(Duration::from_millis(100));
        }
    }

    #[track_caller]
    fn wait_for(&mut self, event: Event) {
        self.wait(&format!("{event:?}"), |n| (*n == event).then_some(()));
    }

    #[track_caller]
    fn raft_frame(&mut self) -> (NodeId, Vec<u8>) {
        self.wait("frame", |n| match n {
            Event::Raft { from, bytes, .. } => Some((*from, bytes.clone())),
            _ => None,
        })
    }

    /// The next frame that is no leftover of [`Node::raft_until`].
    fn frame_but_warm(&mut self) -> Vec<u8> {
        loop {
            let (_, bytes) = self.raft_frame();
            if bytes != b"warm" {
                return bytes;
            }
        }
    }

    #[track_caller]
    fn packet(&mut self, on: LinkId) -> Vec<u8> {
        self.wait("packet", |n| match n {
            Event::BusPacket { link, bytes } if *link == on => Some(bytes.clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn failure(&mut self, about: &str) -> String {
        self.wait(about, |n| match n {
            Event::Failed(text) if text.contains(about) => Some(text.clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut holds: impl FnMut(Stats) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self.links.stats()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.links.stats());
            self.turn(Duration::from_millis(5));
        }
    }

    /// Sends a frame again and again, as Raft would, until the other node has it.
    #[track_caller]
    fn raft_until(&mut self, other: &mut Node, urgent: bool, bytes: &[u8]) {
        let end = Instant::now() + DEADLINE;
        loop {
            self.raft(other.id, urgent, bytes);
            other.turn(Duration::from_millis(20));
            self.turn(Duration::ZERO);
            let is_it = |n: &Event| matches!(n, Event::Raft { bytes: b, .. } if b == bytes);
            if other.seen.iter().any(is_it) {
                other.seen.retain(|n| !is_it(n));
                return;
            }
            assert!(Instant::now() < end, "no frame arrived: {:?}", self.seen);
        }
    }
}

fn bus_packet(filling: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![filling; len];
    packet[..4].copy_from_slice(&BUS_MAGIC);
    packet[4..8].copy_from_slice(&(len as u32).to_be_bytes());
    packet
}

/// Whether the other side closes; a reset is an end, too.
fn closed(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    loop {
        match stream.read(&mut [0; 64]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn bus_pair(a: &mut Node, b: &mut Node) -> (LinkId, LinkId) {
    let link = 7;
    a.links.send(Command::BusConnect {
        link,
        addr: b.addr(),
    });
    a.links.send(Command::BusSend {
        link,
        bytes: bus_packet(0, 16).into(),
    });
    let local = a.wait("connection", |n| match n {
        Event::BusConnected { link: 7, local } => Some(*local),
        _ => None,
    });
    let address = b.addr();
    let there = b.wait("link", |n| match n {
        Event::BusAccepted { link, peer, local } => {
            assert_eq!(*local, address);
            Some((*link, *peer))
        }
        _ => None,
    });
    assert_eq!(there.1, local);
    assert_eq!(b.packet(there.0), bus_packet(0, 16));
    assert!(there.0 & INCOMING != 0);
    (link, there.0)
}

#[test]
fn bus_packets_are_whole_and_in_order_both_ways() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let (there, back) = bus_pair(&mut a, &mut b);
    let lengths = [16, 17, 2200, 100, 300_000, 5_000_000, 16];
    for (n, &len) in lengths.iter().enumerate() {
        let bytes: Arc<[u8]> = bus_packet(n as u8, len).into();
        a.links.send(Command::BusSend {
            link: there,
            bytes: bytes.clone(),
        });
        b.links.send(Command::BusSend { link: back, bytes });
    }
    for (n, &len) in lengths.iter().enumerate() {
        assert!(b.packet(back) == bus_packet(n as u8, len));
        assert!(a.packet(there) == bus_packet(n as u8, len));
    }
    a.links.send(Command::BusClose { link: there });
    b.wait_for(Event::BusClosed { link: back });
    let again = Event::BusClosed { link: there };
    a.turn(Duration::from_millis(10));
    assert!(!a.seen.contains(&again), "the loop has closed it itself");
}

#[test]
fn a_bus_link_to_nobody_is_closed() {
    let mut a = Node::new(1);
    let addr = free_address();
    a.links.send(Command::BusConnect { link: 1, addr });
    a.wait_for(Event::BusClosed { link: 1 });
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn frames_come_to_the_right_node_in_order() {
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    a.knows(&b);
    a.knows(&c);
    c.knows(&b);
    for n in 0..200u32 {
        a.raft(b.id, true, n.to_le_bytes());
        a.raft(c.id, true, (n + 1000).to_le_bytes());
    }
    for n in 0..200u32 {
        assert_eq!(b.raft_frame(), (a.id, n.to_le_bytes().to_vec()));
        assert_eq!(c.raft_frame(), (a.id, (n + 1000).to_le_bytes().to_vec()));
    }
    a.wait_for(Event::RaftUp { node: b.id });
    a.wait_for(Event::RaftUp { node: c.id });
    let long = vec![9; 3_000_000];
    c.raft(b.id, false, long.clone());
    c.raft(b.id, false, Vec::new());
    assert!(b.raft_frame() == (c.id, long));
    assert_eq!(b.raft_frame(), (c.id, Vec::new()));
    b.turn(Duration::ZERO);
    c.turn(Duration::ZERO);
    let up = |n: &Event| matches!(n, Event::RaftUp { .. });
    let told = b.seen.iter().chain(&c.seen).filter(|n| up(n)).count();
    assert_eq!(told, 0, "links in, and bulk links, are not told of");
}

#[test]
fn urgent_frames_do_not_queue_behind_bulk() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    for _ in 0..3 {
        a.raft(b.id, false, vec![1; 20 << 20]);
    }
    a.raft(b.id, true, *b"now");
    let mut lengths = Vec::new();
    while lengths.len() < 4 {
        lengths.push(b.raft_frame().1.len());
    }
    assert_ne!(lengths.last(), Some(&3), "{lengths:?}");
}

#[test]
fn a_link_for_another_node_is_refused() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let stranger = NodeId([9; 20]);
    a.peer(stranger, Some(b.addr()));
    a.raft(stranger, true, *b"lost");
    let said = a.failure("answers there");
    assert!(said.contains(&b.id.to_string()), "{said}");
    b.failure("looks here for node");
    b.until("counted", |s| s.refused_handshakes == 1);
    assert!(!b.seen.iter().any(|n| matches!(n, Event::Raft { .. })));
    // Until it is that node.
    b.links.send(Command::Myself(stranger));
    b.id = stranger;
    a.raft_until(&mut b, true, b"found");
    // And no longer: what stands for the old name is closed.
    b.links.send(Command::Myself(NodeId([2; 20])));
    a.wait_for(Event::RaftDown { node: stranger });
}

/// The handshake by hand.
fn by_hand(from: NodeId, to: &Node, class: Class) -> TcpStream {
    by_hand_with("", from, to, class)
}

fn by_hand_with(word: &str, from: NodeId, to: &Node, class: Class) -> TcpStream {
    call_with(word, from, (to.id, to.addr()), class)
}

fn call_with(
    word: &str,
    from: NodeId,
    (to, addr): (NodeId, SocketAddr),
    class: Class,
) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let hello = Hello {
        class,
        from,
        to,
        nonce: [3; 16],
    };
    stream.write_all(&hello.encode()).unwrap();
    let mut answer = [0; handshake::ANSWER];
    stream.read_exact(&mut answer).unwrap();
    let answer = Answer::decode(&answer, to).unwrap();
    let word = Password::new(word);
    let proof = handshake::prove(&word, Side::Caller, &hello, &answer);
    stream.write_all(&proof).unwrap();
    let mut proof = [0; handshake::PROOF];
    stream.read_exact(&mut proof).unwrap();
    handshake::check(&word, Side::Called, &hello, &answer, &proof).unwrap();
    stream
}

#[test]
fn a_link_needs_the_password_of_the_other_side() {
    let words = |asked: &str, own: &str| Passwords {
        asked: Password::new(asked),
        own: Password::new(own),
    };
    let mut a = Node::with(1, |c| c.passwords = words("", "wrong"));
    let mut b = Node::with(2, |c| c.passwords = words("right", "right"));
    a.knows(&b);
    b.knows(&a);
    // The caller's proof is wrong; and a caller that has a password wants one that knows it.
    let refused = |from: &mut Node, to: &mut Node| {
        from.raft(to.id, true, *b"lost");
        from.failure("masterauth is not the requirepass there");
        to.failure(&format!("the Raft link from node {}", from.id));
        to.until("counted", |s| s.refused_handshakes > 0);
    };
    refused(&mut a, &mut b);
    refused(&mut b, &mut a);
    let frames = |n: &Event| matches!(n, Event::Raft { .. } | Event::RaftUp { .. });
    assert!(!a.seen.iter().chain(&b.seen).any(frames));
    // The one is told the word, then the other is.
    a.links.send(Command::Passwords(words("", "right")));
    a.raft_until(&mut b, true, b"heard");
    assert!(!b.seen.iter().any(|n| matches!(n, Event::RaftUp { .. })));
    a.links.send(Command::Passwords(words("right", "right")));
    b.raft_until(&mut a, false, b"answered");
    // What stands goes on when the passwords change, as in Redis.
    a.links.send(Command::Passwords(words("new", "new")));
    a.raft_until(&mut b, true, b"goes on");
}

#[test]
fn a_caller_trusts_nobody_who_does_not_know_its_password() {
    let mut a = Node::with(1, |c| c.passwords.own = Password::new("word"));
    let impostor = NodeId([2; 20]);
    // It takes any proof, and its own is that of no password.
    let (address, thread) = deaf(1, Some(impostor));
    a.peer(impostor, Some(address));
    a.raft(impostor, true, *b"secret");
    a.failure("masterauth of the one is not the requirepass of the other");
    let taken = thread.join().unwrap();
    assert!(closed(&taken[0]));
    assert!(!a.seen.contains(&Event::RaftUp { node: impostor }));
}

#[test]
fn what_was_proved_on_one_link_is_worth_nothing_on_the_next() {
    let b = Node::new(2);
    let hello = Hello {
        class: Class::Urgent,
        from: NodeId([1; 20]),
        to: b.id,
        nonce: [3; 16],
    };
    let ask = || {
        let mut stream = TcpStream::connect(b.addr()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&hello.encode()).unwrap();
        let mut answer = [0; handshake::ANSWER];
        stream.read_exact(&mut answer).unwrap();
        (stream, Answer::decode(&answer, b.id).unwrap())
    };
    let (mut first, answer) = ask();
    let none = Password::default();
    let proof = handshake::prove(&none, Side::Caller, &hello, &answer);
    first.write_all(&proof).unwrap();
    first.read_exact(&mut [0; handshake::PROOF]).unwrap();
    let (mut second, answer) = ask();
    second.write_all(&proof).unwrap();
    assert!(closed(&second));
    assert!(handshake::check(&none, Side::Caller, &hello, &answer, &proof).is_err());
}

/// The calls have nonces of their own, and each side's proof is its own.
#[test]
fn a_proof_is_of_no_use_on_another_link() {
    let hello = Hello {
        class: Class::Urgent,
        from: NodeId([1; 20]),
        to: NodeId([2; 20]),
        nonce: [3; 16],
    };
    let answer = Answer {
        node: hello.to,
        nonce: [4; 16],
    };
    let word = Password::new("word");
    let proof = handshake::prove(&word, Side::Caller, &hello, &answer);
    let check = |side, hello: &Hello, answer: &Answer| {
        handshake::check(&word, side, hello, answer, &proof).is_ok()
    };
    assert!(check(Side::Caller, &hello, &answer));
    assert!(!check(Side::Called, &hello, &answer));
    let mut other = hello;
    other.class = Class::Bulk;
    assert!(!check(Side::Caller, &other, &answer));
    let mut other = hello;
    other.from = NodeId([5; 20]);
    assert!(!check(Side::Caller, &other, &answer));
    let mut later = answer;
    later.nonce[15] ^= 1;
    assert!(!check(Side::Caller, &hello, &later));
    assert_eq!(format!("{word:?}"), "Password");
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = frame::header(bytes).unwrap().to_vec();
    out.extend_from_slice(bytes);
    out
}

#[test]
fn a_bad_frame_closes_the_link_and_a_new_one_works() {
    let mut b = Node::new(2);
    let a = NodeId([1; 20]);
    let mut stream = by_hand(a, &b, Class::Bulk);
    stream.write_all(&framed(b"good")).unwrap();
    assert_eq!(b.raft_frame(), (a, b"good".to_vec()));
    let mut bad = framed(b"evil");
    *bad.last_mut().unwrap() ^= 1;
    stream.write_all(&bad).unwrap();
    stream.write_all(&framed(b"behind")).unwrap();
    b.failure("checksum");
    assert!(closed(&stream));

    let mut stream = by_hand(a, &b, Class::Bulk);
    stream.write_all(&framed(b"again")).unwrap();
    assert_eq!(b.raft_frame(), (a, b"again".to_vec()));
    stream
        .write_all(&(MAX_FRAME as u32 + 1).to_le_bytes())
        .unwrap();
    stream.write_all(&[0; 4]).unwrap();
    b.failure("a length of");
    assert!(closed(&stream));
    assert_eq!(b.links.stats().broken_frames, 2);
}

#[test]
fn the_newer_of_two_links_in_counts() {
    let mut b = Node::new(2);
    let a = NodeId([1; 20]);
    let old = by_hand(a, &b, Class::Urgent);
    let other_class = by_hand(a, &b, Class::Bulk);
    let mut new = by_hand(a, &b, Class::Urgent);
    assert!(closed(&old));
    for mut stream in [&new, &other_class] {
        stream.write_all(&framed(b"on")).unwrap();
        assert_eq!(b.raft_frame(), (a, b"on".to_vec()));
    }
    // A frame may come in as many pieces as it has bytes.
    for byte in framed(b"in pieces") {
        new.write_all(&[byte]).unwrap();
    }
    assert_eq!(b.raft_frame(), (a, b"in pieces".to_vec()));
}

#[test]
fn a_broken_line_is_made_again() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    a.raft_until(&mut b, true, b"one");
    a.wait_for(Event::RaftUp { node: b.id });
    let address = b.addr();
    drop(b);
    a.wait_for(Event::RaftDown {
        node: NodeId([2; 20]),
    });
    let mut b = Node::with(2, |c| c.listen = vec![address]);
    a.raft_until(&mut b, true, b"two");
    a.wait_for(Event::RaftUp { node: b.id });
}

#[test]
fn garbage_at_the_port_is_closed() {
    let mut b = Node::with(2, |c| c.greeting = Duration::from_millis(50));
    let mut http = TcpStream::connect(b.addr()).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let silent = TcpStream::connect(b.addr()).unwrap();
    let half = TcpStream::connect(b.addr()).unwrap();
    (&half).write_all(b"HF").unwrap();
    for stream in [&http, &silent, &half] {
        assert!(closed(stream));
    }
    b.until("counted", |s| s.refused_garbage == 3);

    let hello = TcpStream::connect(b.addr()).unwrap();
    (&hello).write_all(b"HFL1\x02").unwrap();
    let version = TcpStream::connect(b.addr()).unwrap();
    (&version)
        .write_all(b"HFL1\x09and whatever it says")
        .unwrap();
    assert!(closed(&hello) && closed(&version));
    b.failure("of the Raft links is not known"); // the first of them: the same is said once
    b.until("counted", |s| s.refused_handshakes == 2);

    for length in [0u32, 15, MAX_FRAME as u32 + 1, u32::MAX] {
        let bus = TcpStream::connect(b.addr()).unwrap();
        (&bus).write_all(&BUS_MAGIC).unwrap();
        (&bus).write_all(&length.to_be_bytes()).unwrap();
        assert!(closed(&bus));
    }
    b.failure("a length of");
    b.until("said once", |s| s.broken_frames == 4 && s.muted >= 3);
    let bus = TcpStream::connect(b.addr()).unwrap();
    (&bus).write_all(&bus_packet(1, 20)).unwrap();
    (&bus).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(closed(&bus));
    b.failure("signature");
    let accepted = |n: &Event| match n {
        Event::BusAccepted { link, .. } => Some(*link),
        _ => None,
    };
    for _ in 0..5 {
        let link = b.wait("link", accepted);
        b.wait_for(Event::BusClosed { link });
    }
    b.until("all gone", |s| s.accepted_now == 0);
}

#[test]
fn there_are_only_so_many_connections() {
    let never = Duration::from_secs(1000);
    let mut b = Node::with(2, |c| (c.max_accepted, c.silence) = (2, never));
    let first: Vec<TcpStream> = (0..2)
        .map(|_| TcpStream::connect(b.addr()).unwrap())
        .collect();
    b.until("two", |s| s.accepted_now == 2);
    assert!(closed(&TcpStream::connect(b.addr()).unwrap()));
    assert_eq!(b.links.stats().refused_full, 1);
    drop(first);
    b.until("none", |s| s.accepted_now == 0);
    let mut stream = by_hand(NodeId([1; 20]), &b, Class::Bulk);
    stream.write_all(&framed(b"in")).unwrap();
    assert_eq!(b.raft_frame().1, b"in");
}

#[test]
fn another_address_drops_the_old_connections() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    a.raft_until(&mut b, true, b"here");
    a.raft_until(&mut b, false, b"here too");
    a.wait_for(Event::RaftUp { node: b.id });
    a.knows(&b); // The same address: nothing happens.
    a.raft_until(&mut b, true, b"still here");
    assert!(!a.seen.contains(&Event::RaftDown { node: b.id }));

    let mut moved = Node::new(2);
    a.knows(&moved);
    a.wait_for(Event::RaftDown { node: b.id });
    a.raft_until(&mut moved, true, b"there");
    a.wait_for(Event::RaftUp { node: b.id });
    b.until("left", |s| s.accepted_now == 0);

    a.peer(moved.id, None);
    a.wait_for(Event::RaftDown { node: b.id });
    moved.until("left", |s| s.accepted_now == 0);
    let before = a.links.stats().dropped_frames;
    a.raft(moved.id, true, *b"to nobody");
    a.until("dropped", |s| s.dropped_frames == before + 1);
}

/// The other side of the handshake by hand.
fn answer_by_hand(stream: &mut TcpStream, node: NodeId) {
    stream.read_exact(&mut [0; 5]).unwrap();
    let mut hello = [0; handshake::HELLO_REST];
    stream.read_exact(&mut hello).unwrap();
    let hello = Hello::decode(&hello).unwrap();
    let nonce = [7; 16];
    let answer = Answer { node, nonce };
    stream.write_all(&answer.encode()).unwrap();
    stream.read_exact(&mut [0; handshake::PROOF]).unwrap();
    let none = Password::default();
    let proof = handshake::prove(&none, Side::Called, &hello, &answer);
    stream.write_all(&proof).unwrap();
}

/// Takes so many connections and reads nothing; with the answer of `node`, if there is one.
fn deaf(
    count: usize,
    node: Option<NodeId>,
) -> (SocketAddr, std::thread::JoinHandle<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut taken = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(node) = node {
                answer_by_hand(&mut stream, node);
            }
            taken.push(stream);
        }
        taken
    });
    (address, thread)
}

#[test]
fn what_waits_for_a_slow_peer_is_bounded_and_a_stalled_line_is_closed() {
    let mut a = Node::with(1, |c| c.stall = Duration::from_millis(500));
    let slow = NodeId([2; 20]);
    let (address, thread) = deaf(2, Some(slow));
    a.peer(slow, Some(address));
    a.raft(slow, true, *b"first");
    a.wait_for(Event::RaftUp { node: slow });
    // Nobody takes a byte: once the kernel is full the line is given up, and what waited with it.
    let end = Instant::now() + DEADLINE;
    while !a.seen.contains(&Event::RaftDown { node: slow }) {
        assert!(Instant::now() < end, "{:?}", a.links.stats());
        for _ in 0..10 {
            a.raft(slow, true, vec![0; 100_000]);
        }
        a.turn(Duration::from_millis(5));
        // While a frame is added there is one more.
        assert!(a.links.stats().queued_bytes <= (1 << 20) + 2 * 100_008);
    }
    assert!(a.links.stats().dropped_frames > 50);
    a.wait_for(Event::RaftDown { node: slow });
    a.until("cleared", |s| s.queued_bytes == 0);
    a.raft(slow, true, *b"again");
    a.wait_for(Event::RaftUp { node: slow });
    thread.join().unwrap();
}

#[test]
fn a_slow_bus_link_is_closed() {
    let mut a = Node::new(1);
    let (addr, thread) = deaf(1, None);
    a.links.send(Command::BusConnect { link: 3, addr });
    let _taken = thread.join().unwrap();
    let bytes: Arc<[u8]> = bus_packet(0, 1 << 20).into();
    for _ in 0..40 {
        let bytes = bytes.clone();
        a.links.send(Command::BusSend { link: 3, bytes });
    }
    a.wait_for(Event::BusClosed { link: 3 });
    a.failure("slow node");
    a.until("cleared", |s| s.queued_bytes == 0);
}

#[test]
fn a_slow_loop_makes_the_senders_wait() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    // More than the desk takes; nobody looks at b's events meanwhile.
    const FRAMES: u8 = 60;
    for n in 0..FRAMES {
        a.raft(b.id, false, vec![n; 4 << 20]);
        a.until("taken", |s| s.queued_bytes < 48 << 20 || n > 30);
    }
    a.turn(Duration::from_millis(50));
    let mut last = None;
    let mut bytes = 0;
    // Whatever was dropped was dropped by a's bound: what arrives is in order and ends with the last.
    while last != Some(FRAMES - 1) {
        let (_, frame) = b.raft_frame();
        assert!(last < Some(frame[0]), "{last:?} then {}", frame[0]);
        last = Some(frame[0]);
        bytes += frame.len();
    }
    assert!(bytes > 64 << 20);
}

#[test]
fn the_loop_is_woken_once_for_a_batch() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    a.raft(b.id, true, *b"0");
    b.raft_frame();
    for _ in 0..1000 {
        a.raft(b.id, true, *b"x");
    }
    // Found in whatever batches: none is left without its wake.
    for _ in 0..1000 {
        assert_eq!(b.raft_frame().1, b"x");
    }
}

/// Not a test of speed: it prints what it finds (`--nocapture`), and holds that all come back.
#[test]
fn echo_round_trips() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    b.knows(&a);
    a.raft_until(&mut b, true, b"warm");
    b.raft_until(&mut a, true, b"warm");
    let (to_b, to_a) = (b.id, a.id);
    const ROUNDS: usize = 3000;
    let echo = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let bytes = b.frame_but_warm();
            b.raft(to_a, true, bytes);
        }
        b
    });
    let mut times = Vec::with_capacity(ROUNDS);
    for n in 0..ROUNDS {
        let start = Instant::now();
        let mut bytes = vec![0; 128];
        bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
        a.raft(to_b, true, bytes.clone());
        assert_eq!(a.frame_but_warm(), bytes);
        times.push(start.elapsed());
    }
    echo.join().unwrap();
    times.sort();
    let (p50, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    println!("echo of 128 bytes, two loops and two link threads: p50 {p50:?}, p99 {p99:?}");
}

proptest! {
    #[test]
    fn any_bytes_give_pieces_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), bus: bool, signed: bool) {
        let mut bytes = bytes;
        if signed && bytes.len() > 8 {
            bytes[..4].copy_from_slice(&BUS_MAGIC);
        }
        let mut assembler = Assembler::new(if bus { Kind::Bus } else { Kind::Raft });
        let mut input = &bytes[..];
        while let Ok(Some(_)) = assembler.next(&mut input) {}
    }

    #[test]
    fn pieces_do_not_depend_on_the_cuts(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..10),
        cut in 1..50usize,
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|f| framed(f)).collect();
        let mut assembler = Assembler::new(Kind::Raft);
        let mut found = Vec::new();
        for mut part in stream.chunks(cut) {
            while let Some(piece) = assembler.next(&mut part).unwrap() {
                found.push(piece);
            }
        }
        prop_assert_eq!(found, frames);
    }
}

/// T9: on eight links in step the copies of frames of 64 MB came in one turn.
#[test]
fn frame_of_proved_link_is_copied_while_short() {
    let bytes = framed(&vec![7; 16 << 20]);
    let copied = |mut assembler: Assembler| {
        let (mut most, mut room) = (0, 0);
        for (n, mut part) in bytes.chunks(64 << 10).enumerate() {
            let whole = assembler.next(&mut part).expect("it is sound");
            if whole.is_none() && assembler.memory() != room {
                (most, room) = (n << 16, assembler.memory());
            }
        }
        most
    };
    assert!(copied(Assembler::new(Kind::Raft).of_proved()) <= 1 << 20);
    // Of others memory follows what has come.
    assert!(copied(Assembler::new(Kind::Raft)) > 4 << 20);
}

#[test]
fn a_length_alone_takes_little_memory() {
    let mut assembler = Assembler::new(Kind::Raft);
    let mut head = [0; 8];
    head[..4].copy_from_slice(&(MAX_FRAME as u32).to_le_bytes());
    assert_eq!(assembler.next(&mut &head[..]), Ok(None));
    assert!(assembler.memory() <= 1 << 20);
    let mut bus = Assembler::new(Kind::Bus);
    let packet = bus_packet(3, 15);
    assert_eq!(bus.next(&mut &packet[..]), Err(FrameError::Length(15)));
}
