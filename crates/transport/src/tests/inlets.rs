//! Links that the loop reads itself.

use super::*;

fn with_password(id: u8) -> Node {
    Node::with(id, |c| {
        let word = || Password::new("word");
        c.passwords = Passwords {
            asked: word(),
            own: word(),
        };
    })
}

#[test]
fn a_frame_ends_the_wait_of_the_loop() {
    let (a, mut b) = (with_password(1), with_password(2));
    a.knows(&b);
    a.raft(b.id, true, *b"first");
    b.raft_frame();
    // From now on nothing but the link itself can wake the loop.
    while b.links.inlets.len() == 0 {
        b.turn(Duration::from_millis(10));
    }
    for n in 0..100_u8 {
        a.raft(b.id, true, [n]);
        let asked = Instant::now();
        while b.seen.is_empty() {
            b.turn(DEADLINE);
            assert!(asked.elapsed() < DEADLINE, "nothing woke the loop");
        }
        assert_eq!(b.raft_frame().1, [n]);
    }
}

/// What was read of a frame before the link was proved is not lost when the loop reads on.
#[test]
fn a_frame_cut_by_the_proof_is_whole() {
    let mut b = Node::new(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = NodeId([1; 20]);
    b.peer(node, Some(listener.local_addr().unwrap()));
    let mut call = by_hand(node, &b, Class::Bulk);
    let cut = framed(b"cut in two");
    call.write_all(&[&framed(b"whole"), &cut[..11]].concat())
        .unwrap();
    // The node is asked whether it has made this link, and says so.
    let (mut asked, _) = listener.accept().unwrap();
    answer_by_hand(&mut asked, node);
    let mut question = [0; 8 + 1 + 16];
    asked.read_exact(&mut question).unwrap();
    assert_eq!(question[8], 255);
    let mut answer = vec![254];
    answer.extend_from_slice(&question[9..]);
    asked.write_all(&framed(&answer)).unwrap();
    b.wait_for(Event::Raft {
        from: node,
        proved: true,
        bytes: b"whole".to_vec(),
    });
    while b.links.inlets.len() == 0 {
        b.turn(Duration::from_millis(10));
    }
    call.write_all(&cut[11..]).unwrap();
    b.wait_for(Event::Raft {
        from: node,
        proved: true,
        bytes: b"cut in two".to_vec(),
    });
}

#[test]
fn a_flood_of_packets_hides_no_frame() {
    let (mut a, mut b) = (with_password(1), with_password(2));
    let (to_b, _) = bus_pair(&mut a, &mut b);
    a.knows(&b);
    a.raft(b.id, true, *b"first");
    b.raft_frame();
    while b.links.inlets.len() == 0 {
        b.turn(Duration::from_millis(10));
    }
    for n in 0..200 {
        let bytes = bus_packet(n, 100).into();
        a.links.send(Command::BusSend { link: to_b, bytes });
    }
    // All of them wait for the loop, which does not look.
    b.until_waiting(200 * 100);
    a.raft(b.id, true, *b"frame");
    let end = Instant::now() + DEADLINE;
    let mut packets = 0;
    loop {
        assert!(Instant::now() < end, "no frame after {packets} packets");
        match b.links.try_recv() {
            Some(Event::Raft { bytes, .. }) if bytes == b"frame" => break,
            Some(Event::BusPacket { .. }) => packets += 1,
            _ => {}
        }
        if packets == 0 {
            continue;
        }
        // It has arrived by the first look at the links after it was sent.
        assert!(packets < 100, "the frame waits behind {packets} packets");
    }
}

impl Node {
    /// Waits until so many bytes of events wait for the loop, without taking one.
    pub(super) fn until_waiting(&self, bytes: usize) {
        let end = Instant::now() + DEADLINE;
        while self.links.event_queue.waiting() < bytes {
            assert!(Instant::now() < end, "not so much has come");
            std::thread::yield_now();
        }
    }
}

/// A link that the other side has closed ends here as well, and a new one works.
#[test]
fn a_closed_inlet_is_made_again() {
    let (mut a, mut b) = (with_password(1), with_password(2));
    a.knows(&b);
    a.raft(b.id, true, *b"first");
    b.raft_frame();
    // Its name changes and changes back: all links of before end, on both sides.
    b.links.send(Command::Myself(NodeId([9; 20])));
    a.wait_for(Event::RaftDown { node: b.id });
    b.links.send(Command::Myself(b.id));
    a.raft_until(&mut b, true, b"found");
    let end = Instant::now() + DEADLINE;
    while b.links.inlets.len() > 1 {
        assert!(Instant::now() < end, "the old link is still read");
        b.turn(Duration::from_millis(10));
    }
}
