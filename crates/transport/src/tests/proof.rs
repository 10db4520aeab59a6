//! Frames that are proved to come from the node that they name, and others.

use super::*;

impl Node {
    fn answer(&self, to: NodeId, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.links.send(Command::Answer { to, bytes });
    }

    fn heard(&mut self, from: NodeId, proved: bool, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.wait_for(Event::Raft {
            from,
            proved,
            bytes,
        });
    }
}

#[test]
fn an_answer_comes_back_proved() {
    // Where only the bulk link stands it is answered there, and nobody vouches for the call.
    let (mut c, mut d) = (Node::new(3), Node::new(4));
    c.knows(&d);
    d.answer(c.id, b"to nobody, it has not called");
    c.raft(d.id, false, *b"long question");
    d.heard(c.id, false, b"long question");
    d.answer(c.id, b"answer");
    c.heard(d.id, true, b"answer");
    // To itself nobody else can speak.
    c.answer(c.id, b"mine");
    c.heard(c.id, true, b"mine");
}

#[test]
fn a_call_is_proved_once_its_node_vouches() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.knows(&b);
    b.knows(&a);
    let end = Instant::now() + DEADLINE;
    let mut proved = false;
    while !proved {
        assert!(Instant::now() < end, "nobody vouched: {:?}", b.seen);
        a.raft(b.id, true, *b"call");
        b.turn(Duration::from_millis(20));
        a.turn(Duration::ZERO);
        proved = b
            .seen
            .drain(..)
            .any(|n| matches!(n, Event::Raft { proved: true, .. }));
    }
    // What stands proved is not displaced by a stranger's link in the same name, and the node says no
    // to the question about that one.
    let mut forger = by_hand(a.id, &b, Class::Urgent);
    // For so long that it is asked about more than once.
    let end = Instant::now() + Duration::from_millis(120);
    while Instant::now() < end {
        forger.write_all(&framed(b"forged")).unwrap();
        a.raft(b.id, true, *b"true");
        b.heard(a.id, false, b"forged");
        b.heard(a.id, true, b"true");
    }
    b.answer(a.id, b"answer");
    a.heard(b.id, true, b"answer");
    // Another name ends them all, also a link that never had the place.
    b.links.send(Command::Myself(NodeId([9; 20])));
    assert!(closed(&forger));
}

#[test]
fn a_password_proves_who_calls() {
    let both = || Passwords {
        asked: Password::new("word"),
        own: Password::new("word"),
    };
    let a = Node::with(1, |c| c.passwords = both());
    let mut b = Node::with(2, |c| c.passwords = both());
    a.knows(&b);
    a.raft(b.id, true, *b"call");
    b.heard(a.id, true, b"call");
}

/// The answer goes to the node that has called last in that name; a caller in another's name gets only
/// what it asked for itself.
#[test]
fn a_frame_in_another_nodes_name_is_not_proved() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    b.knows(&a);
    let mut forger = by_hand(b.id, &a, Class::Urgent);
    forger.write_all(&framed(b"forged")).unwrap();
    a.heard(b.id, false, b"forged");
    a.answer(b.id, b"who?");
    forger.read_exact(&mut [0; 12]).unwrap();
    // The node of that name is heard, and gets its answers, from its next call on.
    b.raft(a.id, true, *b"hello");
    a.heard(b.id, false, b"hello");
    a.answer(b.id, b"you");
    b.heard(a.id, true, b"you");
    assert!(closed(&forger));
}
