//! A node that the test plays: on the bus like any other, on the Raft links as the test likes.
//!
//! Owns its two sockets' worth of links (the real node calls it, it calls the real node), everything
//! it was told ([`Seen`]), and the member that it plays, which answers by itself in the manner that
//! the test sets. Every wait has a deadline.

use crate::bus::{self, BusHandle};
use crate::harness::{check, wait_for, SOON};
use crate::member::{message, Manner, Member};
use crate::real::Real;
use crate::wire;
use base::ids::{GroupId, RaftId};
use cluster::control::{encode_envelope, Control, Frame};
use cluster::Introduction;
use cluster_bus::bus::SelfState;
use cluster_bus::{NodeId, ShardId};
use raft::eraftpb::{Message, MessageType};
use raft_group::Envelope;
use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use storage::Base;

/// The clock by which leases and promises go, the same in all processes of a machine.
pub fn mono_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec.
    assert_eq!(
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) },
        0
    );
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Waits for a moment of that clock: where the passing of time is what is tested.
pub fn sleep_until(ns: u64) {
    std::thread::sleep(Duration::from_nanos(ns.saturating_sub(mono_ns())));
}

/// A frame that came.
pub struct Seen {
    pub at_ns: u64,
    pub frame: Frame,
}

impl Seen {
    /// The envelope, if it is one of this kind.
    pub fn raft(&self, kind: MessageType) -> Option<&Envelope> {
        match &self.frame {
            Frame::Raft(e) if e.message.get_msg_type() == kind => Some(e),
            _ => None,
        }
    }

    pub fn control(&self) -> Option<&Control> {
        match &self.frame {
            Frame::Control(control) => Some(control),
            Frame::Raft(_) | Frame::Words(_) | Frame::Transfer(_) => None,
        }
    }
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    /// Bus ports of the nodes that this one talks to.
    homes: HashMap<NodeId, u16>,
    /// Links that this node has made.
    lines: HashMap<NodeId, TcpStream>,
    /// Links that were made to here by nodes that take what comes back on them.
    calls: HashMap<NodeId, TcpStream>,
    /// Of those links.
    nonces: Vec<wire::Nonce>,
    /// What this node has said in control messages of numbers alone: their bytes.
    told: Vec<Vec<u8>>,
    /// The newest invitation to each node: one that came without proof is asked for again.
    invited: HashMap<NodeId, Vec<u8>>,
    member: Option<Member>,
}

/// Kinds of control messages: an invitation, "have you said this?", "I have" (the last two from
/// version 3 of the links on).
const INVITE: u8 = 7;
const REALLY: u8 = 15;
const CONFIRM: u8 = 16;

struct Shared {
    me: NodeId,
    password: String,
    inner: Mutex<Inner>,
}

pub struct Played {
    pub id: NodeId,
    /// On the bus.
    pub shard: ShardId,
    pub port: u16,
    pub bus: BusHandle,
    shared: Arc<Shared>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    /// Sends a frame over a link of our own making, made anew when it broke.
    fn send(self: &Arc<Self>, inner: &mut Inner, to: NodeId, bytes: &[u8]) {
        for _ in 0..2 {
            if !inner.lines.contains_key(&to) {
                let Some(&port) = inner.homes.get(&to) else {
                    return;
                };
                let nonce = rand::random();
                // Before the call: the other side asks at once.
                inner.nonces.push(nonce);
                match wire::call_with(nonce, (port, 0), self.me, to, &self.password) {
                    Ok((line, _)) => {
                        let back = line.try_clone().expect("a second handle");
                        inner.lines.insert(to, line);
                        let shared = Arc::clone(self);
                        std::thread::spawn(move || shared.take_in(back, to));
                    }
                    Err(_) => continue, // a node that is down; who waits has a deadline
                }
            }
            let line = inner.lines.get_mut(&to).expect("it was just made");
            if wire::send(line, bytes).is_ok() {
                return;
            }
            inner.lines.remove(&to);
        }
    }

    /// A link that a node has made.
    fn listen(self: &Arc<Self>, mut stream: TcpStream) {
        let Ok((from, version)) = wire::answer(&mut stream, self.me, &self.password) else {
            return;
        };
        // A probe of the node's (M9) has the same beginning and ends at once: the link before it stays.
        let before = (version >= wire::BOTH_WAYS).then(|| {
            let back = stream.try_clone().expect("a second handle");
            let port = stream.peer_addr().ok();
            (self.inner().calls.insert(from, back), port)
        });
        self.take_in(stream, from);
        let Some((before, port)) = before else { return };
        let mut inner = self.inner();
        let present = inner
            .calls
            .get(&from)
            .and_then(|call| call.peer_addr().ok());
        if let (true, Some(before)) = (present == port || present.is_none(), before) {
            inner.calls.insert(from, before);
        }
    }

    /// The answer to bytes that ask whether this node has said something (`REALLY`, the kind as a
    /// number, the numbers), if it has.
    fn confirm(&self, from: NodeId, bytes: &[u8]) -> Option<Vec<u8>> {
        let (&[REALLY, kind, 0, 0, 0, 0, 0, 0, 0], numbers) = bytes.split_first_chunk()? else {
            return None;
        };
        let inner = self.inner();
        if kind == INVITE {
            return inner.invited.get(&from).cloned();
        }
        let said = [&[kind], numbers].concat();
        let confirmed = [&[CONFIRM], &bytes[1..]].concat();
        inner.told.contains(&said).then_some(confirmed)
    }

    /// Takes in what a node says, and answers in the member's manner.
    fn take_in(self: &Arc<Self>, mut stream: TcpStream, from: NodeId) {
        while let Ok(bytes) = wire::receive(&mut stream) {
            if let Some((&wire::ASK, nonce)) = bytes.split_first() {
                let made = self.inner().nonces.iter().any(|made| made == nonce);
                let vouch = [&[wire::VOUCH], nonce].concat();
                if made && wire::send(&mut stream, &vouch).is_err() {
                    return;
                }
                continue;
            }
            let frame = Frame::decode(&bytes);
            if let Some(confirmed) = self.confirm(from, &bytes) {
                if wire::send(&mut stream, &confirmed).is_err() {
                    return;
                }
            }
            // A kind that the crate does not know yet.
            let Ok(frame) = frame else { continue };
            let mut inner = self.inner();
            let answer = match (&frame, &mut inner.member) {
                (Frame::Raft(e), Some(m))
                    if (e.group, e.to) == (GroupId(m.group), RaftId(m.raft_id)) =>
                {
                    m.answer(e)
                }
                _ => None,
            };
            let at_ns = mono_ns();
            inner.seen.push(Seen { at_ns, frame });
            if let Some(answer) = answer {
                self.send(&mut inner, from, &encode_envelope(&answer));
            }
        }
    }
}

fn introduction() -> Control {
    Control::Introduce(Introduction {
        features: topology::features::ALL,
        ..Introduction::default()
    })
}

impl Played {
    /// A node with this name and this state on the bus; it knows nobody.
    pub fn start(state: SelfState, password: &str) -> Played {
        let port = crate::node::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port + 10_000)).expect("the port is free");
        let id = NodeId(rand::random());
        let shared = Arc::new(Shared {
            me: id,
            password: password.to_owned(),
            inner: Mutex::default(),
        });
        let given = Arc::clone(&shared);
        let raft = move |stream| {
            let shared = Arc::clone(&given);
            std::thread::spawn(move || shared.listen(stream));
        };
        let shard = state.shard;
        let bus = bus::start(listener, id, port, state, raft);
        Played {
            id,
            shard,
            port,
            bus,
            shared,
        }
    }

    /// Lets the real node meet this one, and waits until it knows it by its name.
    pub fn meet(&self, real: &Real) {
        self.shared.inner().homes.insert(real.id, real.bus_port());
        let (port, bus_port) = (self.port.to_string(), (self.port + 10_000).to_string());
        let met = real
            .node
            .cmd(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]);
        assert!(met.is_ok(), "{met:?}");
        let name = self.id.to_string();
        wait_for("the node knows the played one", SOON, || {
            let view = real.node.try_view().map_err(|e| e.to_string())?;
            let known = view
                .iter()
                .any(|l| l.id == name && l.connected && !l.has("handshake"));
            check(known, || format!("{view:?}"))
        });
        // Its Raft links follow the table of nodes every 20 ms, and nobody can see when.
        std::thread::sleep(Duration::from_millis(100));
    }

    // ---- what is said ---------------------------------------------------------------------

    /// Says it where it proves who says it, if there is such a link: on one that the node itself
    /// has made to here.
    pub fn tell(&self, to: &Real, control: &Control) {
        let (mut inner, bytes) = (self.shared.inner(), control.encode());
        if bytes.len() < 64 && !inner.told.contains(&bytes) {
            inner.told.push(bytes.clone());
        }
        if bytes[0] == INVITE {
            inner.invited.insert(to.id, bytes.clone());
        }
        if !inner.lines.contains_key(&to.id) {
            // Answers come back on a link of our own alone.
            self.shared
                .send(&mut inner, to.id, &introduction().encode());
        }
        if let Some(call) = inner.calls.get_mut(&to.id) {
            if wire::send(call, &bytes).is_ok() {
                return;
            }
            inner.calls.remove(&to.id);
        }
        self.shared.send(&mut inner, to.id, &bytes);
    }

    /// Says these bytes where they prove who says them, if there is such a link.
    pub fn say_bytes(&self, to: &Real, bytes: &[u8]) {
        let mut inner = self.shared.inner();
        if let Some(call) = inner.calls.get_mut(&to.id) {
            if wire::send(call, bytes).is_ok() {
                return;
            }
            inner.calls.remove(&to.id);
        }
        self.shared.send(&mut inner, to.id, bytes);
    }

    /// Says it on a link of our own: there the answer comes back.
    pub fn ask(&self, to: &Real, control: &Control) {
        let mut inner = self.shared.inner();
        self.shared.send(&mut inner, to.id, &control.encode());
    }

    /// Sends an envelope as it is.
    pub fn post(&self, to: &Real, envelope: &Envelope) {
        let mut inner = self.shared.inner();
        let bytes = encode_envelope(envelope);
        self.shared.send(&mut inner, to.id, &bytes);
    }

    /// Sends a message of the member that this node plays, made now: its envelope.
    pub fn say(&self, to: &Real, raft_id: u64, message: Message) -> Envelope {
        let envelope = self.member(|m| m.envelope(raft_id, message));
        self.post(to, &envelope);
        envelope
    }

    // ---- what was heard -------------------------------------------------------------------

    /// Frames that have come until now.
    pub fn heard(&self) -> usize {
        self.shared.inner().seen.len()
    }

    /// The first that `find` finds among what has come since `from` (of [`Played::heard`]).
    pub fn find<T>(&self, from: usize, find: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        self.shared.inner().seen[from..].iter().find_map(find)
    }

    /// Waits for such a frame.
    pub fn wait_seen<T>(
        &self,
        what: &str,
        from: usize,
        deadline: Duration,
        mut find: impl FnMut(&Seen) -> Option<T>,
    ) -> T {
        wait_for(what, deadline, || {
            let found = self.find(from, &mut find);
            found.ok_or_else(|| format!("{} frames came", self.heard() - from))
        })
    }

    // ---- the member -----------------------------------------------------------------------

    /// Takes a member's part; frames for it are answered from now on.
    pub fn play(&self, member: Member) {
        self.shared.inner().member = Some(member);
    }

    pub fn member<T>(&self, with: impl FnOnce(&mut Member) -> T) -> T {
        let mut inner = self.shared.inner();
        with(inner.member.as_mut().expect("it plays a member"))
    }

    pub fn raft_id(&self) -> u64 {
        self.member(|m| m.raft_id)
    }

    pub fn set_manner(&self, manner: Manner) {
        self.member(|m| m.manner = manner);
    }

    /// M9: an older build is not let in.
    pub fn introduce(&self, real: &Real) {
        self.tell(real, &introduction());
    }

    /// Becomes a data member of the real node's group, as a joiner does it (C1), and waits until it
    /// is in the list.
    pub fn join(&self, real: &Real) {
        let raft_id = rand::random::<u64>() | 1;
        let from = self.heard();
        let base = wait_for("the group's base comes", SOON, || {
            self.introduce(real);
            self.ask(
                real,
                &Control::Join {
                    raft_id: RaftId(raft_id),
                },
            );
            let accepted = |seen: &Seen| match seen.control() {
                Some(Control::Accept { base }) if base.identity.raft_id == RaftId(raft_id) => {
                    Some(base.clone())
                }
                _ => None,
            };
            self.soon(from, accepted)
        });
        let group = base.identity.group;
        self.play(Member::new(&base, raft_id));
        wait_for("the node adds the joiner", SOON, || {
            self.tell(
                real,
                &Control::Ready {
                    group,
                    raft_id: RaftId(raft_id),
                },
            );
            std::thread::sleep(Duration::from_millis(50)); // between two requests
            let members = real.members();
            let listed = members.iter().any(|m| m.raft_id == raft_id);
            check(listed, || format!("{members:?}"))
        });
    }

    /// Looks a tenth of a second.
    pub fn soon<T>(
        &self,
        from: usize,
        mut find: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, String> {
        let end = Instant::now() + Duration::from_millis(100);
        loop {
            match self.find(from, &mut find) {
                Some(found) => return Ok(found),
                None if Instant::now() > end => return Err("nothing of the sort came".into()),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Takes a real node (empty, without slots) into a group of ours as a voter: it asks to join
    /// (CLUSTER REPLICATE), and is given this base, with its own new raft id put in by `base`.
    pub fn take_in(&self, real: &Real, base: impl FnOnce(u64) -> Base) -> u64 {
        let from = self.heard();
        real.node
            .ok(&["CLUSTER", "REPLICATE", &self.id.to_string()]);
        let joins = |seen: &Seen| match seen.control() {
            Some(Control::Join { raft_id }) => Some(*raft_id),
            _ => None,
        };
        let raft_id = self.wait_seen("the node asks for entry", from, SOON, joins);
        let base = Box::new(base(raft_id.0));
        self.tell(real, &Control::Accept { base });
        let id = format!("{raft_id:016x}");
        wait_for("the node has opened its member", SOON, || {
            let is = real.node.info("raft", "raft_id");
            check(is.as_ref() == Some(&id), || format!("{is:?}, not {id}"))
        });
        raft_id.0
    }

    /// Leads: heartbeats to these members (each with the commit index that it is known to have),
    /// every `pause`, until what is returned is dropped.
    pub fn heartbeats(&self, to: &Real, raft_id: u64, pause: Duration) -> Heartbeats {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared, node) = (Arc::clone(&stop), Arc::clone(&self.shared), to.id);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let mut inner = shared.inner();
                let member = inner.member.as_ref().expect("it plays a member");
                let mut m = message(MessageType::MsgHeartbeat, member.term);
                m.commit = member.commit;
                let envelope = member.envelope(raft_id, m);
                shared.send(&mut inner, node, &encode_envelope(&envelope));
                drop(inner);
                std::thread::sleep(pause);
            }
        });
        Heartbeats {
            stop,
            thread: Some(thread),
        }
    }
}

/// Heartbeats that go out until this is dropped.
pub struct Heartbeats {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
