//! One that has proved itself sends more than anybody needs, on links that the loop reads itself.

use super::*;
use std::io::ErrorKind;

const WORD: &str = "word";

fn with_word(id: u8, change: impl FnOnce(&mut TransportConfig)) -> Node {
    Node::with(id, |c| {
        let word = || Password::new(WORD);
        c.passwords = Passwords {
            asked: word(),
            own: word(),
        };
        change(c);
    })
}

/// A link that the loop of `to` reads, in the name of node `from`.
fn proved(from: u8, to: &mut Node) -> TcpStream {
    let read = to.links.inlets.len();
    let link = by_hand_with(WORD, NodeId([from; 20]), to, Class::Bulk);
    while to.links.inlets.len() == read {
        to.turn(Duration::from_millis(10));
    }
    link
}

/// A question of the links' own, so often: no link has this nonce.
fn questions(count: usize) -> Vec<u8> {
    framed(&[255; 17]).repeat(count)
}

/// Writes until nothing more goes, or all has gone; so many bytes went.
fn fill(mut link: &TcpStream, bytes: &[u8]) -> usize {
    link.set_nonblocking(true).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        match link.write(rest) {
            Ok(n) => rest = &rest[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => panic!("{e}"),
        }
    }
    bytes.len() - rest.len()
}

/// Between two turns clients are served and votes are given: no turn reads all that there is.
#[test]
fn a_turn_reads_a_part_of_a_flood() {
    let (mut a, mut b) = (with_word(1, |_| {}), with_word(2, |_| {}));
    let (to_b, _) = bus_pair(&mut a, &mut b);
    let links: Vec<TcpStream> = (10..210).map(|from| proved(from, &mut b)).collect();
    for n in 0..100 {
        let bytes = bus_packet(n, 100).into();
        a.links.send(Command::BusSend { link: to_b, bytes });
    }
    b.until_waiting(100 * 100);
    // As much as the kernel takes of a link that nobody reads.
    for link in &links {
        fill(link, &questions(2400));
    }
    let before = b.links.inlets.unread();
    assert!(before > 8 << 20, "{before} bytes are too few for this");
    while b.links.try_recv().is_some() {}
    let read = before - b.links.inlets.unread();
    assert!(
        read <= 5 << 20,
        "one turn has read {read} of {before} bytes"
    );
    // The rest is not forgotten.
    while b.links.inlets.unread() > 0 {
        b.turn(DEADLINE);
    }
}

/// What the loop hands on is bounded, too: the thread may be slower.
#[test]
fn answers_nobody_asked_for_wait_within_a_bound() {
    let mut b = with_word(2, |c| c.passwords.own = Password::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = NodeId([1; 20]);
    b.peer(node, Some(listener.local_addr().unwrap()));
    b.raft(node, true, *b"first");
    let (mut link, _) = listener.accept().unwrap();
    answer_by_hand(&mut link, node);
    // Each answer is looked for among all these.
    let _links: Vec<TcpStream> = (10..210).map(|from| proved(from, &mut b)).collect();
    let answers = framed(&[254; 17]).repeat(2400);
    let mut most = 0;
    for _ in 0..50 {
        fill(&link, &answers);
        while b.links.try_recv().is_some() {}
        most = most.max(b.links.inlets.questions());
    }
    assert!(most <= 16, "{most} answers wait for the thread");
}

/// A link that has ended keeps its place until its file is closed.
#[test]
fn an_ended_link_keeps_its_place_while_open() {
    let mut b = with_word(2, |c| c.max_accepted = 4);
    let call = |b: &Node| by_hand_with(WORD, NodeId([10; 20]), b, Class::Bulk);
    // The newest counts; the loop has no turn.
    let links: Vec<TcpStream> = (0..4).map(|_| call(&b)).collect();
    assert!(links[..3].iter().all(closed));
    // The thread has ended them, and looks at its places for this one.
    assert!(closed(&TcpStream::connect(b.addr()).unwrap()));
    assert_eq!(b.links.stats().refused_full, 1);
    assert_eq!(b.links.stats().accepted_now, 4);
    b.until("places again", |s| s.accepted_now == 1);
    drop(links);
    b.until("all places", |s| s.accepted_now == 0);
}

/// What is left of a link is not read when a newer one of the same node has brought something.
#[test]
fn a_newer_link_is_not_overtaken() {
    let mut b = with_word(2, |_| {});
    let old = proved(10, &mut b);
    // More than one read takes, so that the newer link has its turn in between. The kernel has to be brought to
    // keep as much.
    let end = Instant::now() + DEADLINE;
    let (frames, mut sent) = (framed(&[b'o'; 1000]).repeat(4000), 0);
    loop {
        sent += fill(&old, &frames[sent % 1008..]);
        if b.links.inlets.unread() > 100_000 {
            break;
        }
        assert!(Instant::now() < end, "it keeps no more");
        b.turn(Duration::ZERO);
    }
    b.seen.clear();
    let new = by_hand_with(WORD, NodeId([10; 20]), &b, Class::Bulk);
    old.set_nonblocking(false).unwrap();
    assert!(closed(&old), "the newer one counts");
    fill(&new, &framed(b"new"));
    // The queue first: then one look finds both, and they are read by turns.
    b.links.inlets_first = true;
    while b.raft_frame().1 != b"new" {}
    let left = b.seen.iter().any(|e| matches!(e, Event::Raft { .. }));
    assert!(!left, "it was overtaken");
}

/// What a turn has read of one flood must not keep it from reading while another one lasts.
#[test]
fn floods_on_both_ways_hide_no_frame() {
    let (mut a, mut b) = (with_word(1, |_| {}), with_word(2, |_| {}));
    let (to_b, _) = bus_pair(&mut a, &mut b);
    let links: Vec<TcpStream> = (10..40).map(|from| proved(from, &mut b)).collect();
    for n in 0..8000 {
        let bytes = bus_packet(n as u8, 100).into();
        a.links.send(Command::BusSend { link: to_b, bytes });
        a.until("sent", |s| s.queued_bytes < 1 << 20);
    }
    b.until_waiting(8000 * 100);
    for link in &links {
        fill(link, &questions(2400));
    }
    // Behind all of them.
    fill(&links[29], &framed(b"frame"));
    let mut packets = 0;
    loop {
        match b.links.try_recv() {
            Some(Event::Raft { bytes, .. }) if bytes == b"frame" => break,
            Some(Event::BusPacket { .. }) => packets += 1,
            Some(_) => {}
            None => panic!("no frame, and {packets} packets"),
        }
    }
    assert!(packets < 8000);
}
