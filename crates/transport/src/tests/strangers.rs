//! Strangers that take what members need: places, and memory.

use super::*;

fn connect(to: &Node) -> TcpStream {
    TcpStream::connect(to.addr()).unwrap()
}

fn says(to: &Node, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(to);
    stream.write_all(bytes).unwrap();
    stream
}

/// A packet of which the last byte is missing.
fn unfinished(len: usize) -> Vec<u8> {
    let mut packet = bus_packet(7, len);
    packet.pop();
    packet
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
}

/// After so long a guest counts as silent.
const LITTLE: Duration = Duration::from_millis(100);

#[test]
fn the_longest_silent_guest_goes_first() {
    let mut b = Node::with(2, |c| (c.max_accepted, c.silence) = (3, LITTLE));
    let mut speaker = says(&b, &bus_packet(1, 16));
    let bus = says(&b, &BUS_MAGIC);
    b.until("two", |s| s.accepted_now == 2);
    let raft = by_hand(NodeId([1; 20]), &b, Class::Urgent);
    b.until("three", |s| s.accepted_now == 3);
    std::thread::sleep(LITTLE);
    // It came first, but it has spoken since.
    speaker.write_all(&bus_packet(2, 16)).unwrap();
    let is_second = |n: &Event| match n {
        Event::BusPacket { bytes, .. } => (*bytes == bus_packet(2, 16)).then_some(()),
        _ => None,
    };
    b.wait("second packet", is_second);
    let first = connect(&b);
    assert!(closed(&bus));
    let accepted = |n: &Event| match n {
        Event::BusClosed { link } => Some(*link),
        _ => None,
    };
    b.wait("end of the link", accepted);
    b.failure("it was silent");
    let second = connect(&b);
    assert!(closed(&raft));
    // Of a Raft link nothing is left that would take an answer.
    let lost = b.links.stats().dropped_frames;
    b.links.send(Command::Answer {
        to: NodeId([1; 20]),
        bytes: b"late".to_vec(),
    });
    b.until("lost", |s| s.dropped_frames == lost + 1);
    let stats = b.links.stats();
    assert_eq!((stats.displaced, stats.refused_full), (2, 0));
    assert!([&speaker, &first, &second].into_iter().all(is_open));
    assert_eq!(stats.accepted_now, 3);
    drop((speaker, first, second));
    b.until("none", |s| s.accepted_now == 0);
}

#[test]
fn nobody_displaces_a_proved_member() {
    let mut b = Node::with(2, |c| {
        (c.max_accepted, c.silence, c.unfinished_bytes) = (1, Duration::ZERO, 0);
        c.passwords.asked = Password::new("word");
    });
    let mut a = Node::with(1, |c| c.passwords.own = Password::new("word"));
    a.knows(&b);
    a.raft_until(&mut b, false, b"here");
    assert!(closed(&connect(&b)));
    b.failure("there are too many");
    // And what it sends may be long.
    let long = vec![9; 5_000_000];
    a.raft(b.id, false, long.clone());
    while b.raft_frame().1 != long {}
    assert_eq!(b.links.stats().displaced, 0);
}

#[test]
fn unfinished_pieces_share_what_memory_there_is() {
    const MIB: usize = 1 << 20;
    let never = Duration::from_secs(1000);
    let mut b = Node::with(2, |c| (c.silence, c.unfinished_bytes) = (never, 3 * MIB));
    let one = says(&b, &unfinished(2 * MIB));
    let (link, _) = b.wait("link", |n| match n {
        Event::BusAccepted { link, peer, .. } => Some((*link, *peer)),
        _ => None,
    });
    b.until("read", |s| s.unfinished_bytes >= 2 << 20);
    let mut two = connect(&b);
    let _ = two.write_all(&unfinished(2 * MIB));
    assert!(closed(&two));
    b.failure("not whole yet");
    // A frame in a stranger's name is not better.
    let mut frame = by_hand(NodeId([1; 20]), &b, Class::Bulk);
    let _ = frame.write_all(&framed(&vec![0; 2 * MIB])[..2 * MIB]);
    assert!(closed(&frame));
    // What is short comes through, and what is whole, or gone, takes nothing.
    let mut short = says(&b, &unfinished(10_000));
    short.write_all(&[7]).unwrap();
    b.wait("short packet", |n| match n {
        Event::BusPacket { bytes, .. } => (*bytes == bus_packet(7, 10_000)).then_some(()),
        _ => None,
    });
    (&one).write_all(&[7]).unwrap();
    assert!(b.packet(link) == bus_packet(7, 2 * MIB));
    for _ in 0..3 {
        let again = says(&b, &unfinished(2 * MIB));
        b.until("read", |s| s.unfinished_bytes >= 2 << 20);
        assert!(is_open(&again));
        drop(again);
        b.until("gone", |s| s.unfinished_bytes == 0 && s.accepted_now == 2);
    }
    assert_eq!(b.links.stats().broken_frames, 2);
}

#[test]
fn an_old_unfinished_packet_makes_room() {
    const MIB: usize = 1 << 20;
    let mut b = Node::with(2, |c| (c.silence, c.unfinished_bytes) = (LITTLE, 3 * MIB));
    let idle = says(&b, &BUS_MAGIC);
    let old = says(&b, &unfinished(2 * MIB));
    b.until("read", |s| s.unfinished_bytes >= 2 << 20);
    std::thread::sleep(LITTLE);
    let mut new = says(&b, &unfinished(2 * MIB));
    assert!(closed(&old));
    new.write_all(&[7]).unwrap();
    b.wait("long packet", |n| match n {
        Event::BusPacket { bytes, .. } => (*bytes == bus_packet(7, 2 * MIB)).then_some(()),
        _ => None,
    });
    assert!(is_open(&idle), "it keeps no bytes");
    assert_eq!(b.links.stats().displaced, 1);
}
