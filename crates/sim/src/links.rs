//! Raft links: frames become pieces of a connection's byte stream, and frames again at the other end.
//!
//! The product's own code puts the pieces together and decides what is proved ([`Vouch`]); here it
//! gets its bytes and its time. A link that breaks may end within a frame.

use cluster::control::Frame;
use cluster_bus::NodeId;
use raft::eraftpb::MessageType;
use std::time::Duration;
use transport::frame::{header, Assembler, Kind};
use transport::vouch::{Vouch, HELD_FOR};
use transport::Event as LinkEvent;

use crate::clock::{True, US};
use crate::lies;
use crate::net::{Conn, Payload, Piece};
use crate::world::{Event, World};

/// How often a frame comes in two pieces.
const TORN_P: f64 = 0.1;

/// A Raft link where it brings something.
pub struct RaftEnd {
    from: NodeId,
    made: True,
    assembler: Assembler,
    vouch: Vouch,
}

impl World {
    pub fn send_frame(&mut self, m: usize, end: True, to: NodeId, frame: Vec<u8>) {
        let Some(from) = self.machines[m].name else {
            return;
        };
        if to == from {
            // As the links do: what a node says to itself comes back.
            return self.frame(m, end, from, true, frame);
        }
        let Some(&machine) = self.machines[m].peers.get(&to) else {
            return;
        };
        if machine >= self.machines.len() || machine == m {
            return;
        }
        let frame = self.perhaps_a_lie(m, frame);
        self.trace.mix_bytes(&frame);
        if self.trace.is_on() {
            let line = show(&frame);
            self.trace.say(end, || format!("m{m} -> m{machine} {line}"));
        }
        let pieces = self.pieces(from, to, self.plan.password, &frame);
        if self.is_held_back(m, machine, end, &frame, &pieces) {
            return;
        }
        self.net.send_raft(end, m, machine, pieces);
    }

    /// Back on the connection that the other node has made, if there is one: there an answer proves
    /// its sender.
    pub fn send_answer(&mut self, m: usize, end: True, to: NodeId, frame: Vec<u8>) {
        let Some(from) = self.machines[m].name else {
            return;
        };
        if to == from {
            return self.frame(m, end, from, true, frame);
        }
        let machine = (0..self.machines.len()).find(|m| self.machines[*m].name == Some(to));
        let Some(machine) = machine else { return };
        let Some(conn) = self.net.made_link(machine, m, from) else {
            return;
        };
        let frame = self.perhaps_a_lie(m, frame);
        self.trace.mix_bytes(&frame);
        if self.trace.is_on() {
            let line = show(&frame);
            self.trace
                .say(end, || format!("m{m} answers m{machine} {line}"));
        }
        for piece in self.pieces(from, to, true, &frame) {
            self.net.send_piece(end, m, machine, conn, piece);
        }
    }

    fn perhaps_a_lie(&mut self, m: usize, frame: Vec<u8>) -> Vec<u8> {
        let Some(node) = self.node(m).filter(|_| self.plan.liar == Some(m)) else {
            return frame;
        };
        let list = &node.shard().group().membership().list;
        let mut ids: Vec<u64> = list.iter().map(|member| member.raft_id.0).collect();
        ids.push(7);
        lies::maybe(&mut self.rng, &frame, &ids).unwrap_or(frame)
    }

    /// A frame as a link carries it.
    fn pieces(&mut self, from: NodeId, to: NodeId, proved: bool, frame: &[u8]) -> Vec<Piece> {
        let head = header(frame).expect("frames are not that long");
        let mut stream = Vec::with_capacity(head.len() + frame.len());
        stream.extend_from_slice(&head);
        stream.extend_from_slice(frame);
        let piece = |bytes| Piece {
            from,
            to,
            proved,
            first: false,
            bytes,
        };
        if !self.rng.chance(TORN_P) {
            return vec![piece(stream)];
        }
        let rest = stream.split_off(self.rng.below(stream.len() as u64) as usize);
        vec![piece(stream), piece(rest)]
    }

    fn frame(&mut self, m: usize, at: True, from: NodeId, proved: bool, bytes: Vec<u8>) {
        let event = LinkEvent::Raft {
            from,
            proved,
            bytes,
        };
        self.event(m, at, event);
    }

    pub fn piece_arrives(&mut self, m: usize, soon: True, conn: Conn, piece: Piece) {
        let (now, machine) = (self.now, &mut self.machines[m]);
        let is_new = !machine.links.contains_key(&conn);
        // The handshake of a Raft link names both nodes (G2); one that is refused carries nothing.
        if machine.name != Some(piece.to) || (is_new && !piece.first) {
            return self.net.refused(conn);
        }
        let from = piece.from;
        let at = machine.peers.get(&from).copied();
        let link = machine.links.entry(conn).or_insert_with(|| RaftEnd {
            from,
            made: now,
            assembler: Assembler::new(Kind::Raft),
            vouch: Vouch::new(piece.proved, at.is_some()),
        });
        let (mut asks, mut given) = (false, Vec::new());
        let mut input = piece.bytes.as_slice();
        let age = Duration::from_nanos(now - link.made);
        while let Some(frame) = (link.assembler.next(&mut input)).expect("nobody breaks the bytes")
        {
            asks |= link.vouch.asks(age);
            (link.vouch).bring(frame, |proved, bytes| given.push((proved, bytes)));
        }
        let boot = machine.boot;
        if is_new && !piece.proved {
            let end = now + HELD_FOR.as_nanos() as u64;
            self.at(end, Event::LetGo { m, boot, conn });
        }
        for (proved, bytes) in given {
            self.frame(m, soon, from, proved, bytes);
        }
        if let Some(at) = at.filter(|at| asks && *at != m) {
            let line = self.net.link(m, at, from);
            self.put(now, m, at, line, Payload::Ask(conn));
        }
    }

    /// The node has another name: its links end.
    pub fn renamed(&mut self, m: usize, name: NodeId) {
        if self.machines[m].name.replace(name) == Some(name) {
            return;
        }
        self.machines[m].links.clear();
        for other in (0..self.machines.len()).filter(|other| *other != m) {
            self.net.break_link(self.now, m, other);
            self.net.break_link(self.now, other, m);
        }
    }

    /// Whether this machine has made that link is asked, on a link of the node that asks.
    pub fn asked(&mut self, m: usize, by: usize, line: Conn, link: Conn) {
        let Some(name) = self.machines[by].name else {
            return;
        };
        let knows = self.machines[m].peers.get(&name) == Some(&by);
        if knows && self.net.made_link(m, by, name) == Some(link) {
            self.put(self.now, m, by, line, Payload::Vouch(link));
        }
    }

    /// The machine says that it has made the link.
    pub fn vouched(&mut self, m: usize, soon: True, by: usize, conn: Conn) {
        let name = self.machines[by].name;
        let links = &mut self.machines[m].links;
        let Some(link) = links.get_mut(&conn).filter(|l| Some(l.from) == name) else {
            return;
        };
        let (from, mut given) = (link.from, Vec::new());
        (link.vouch).vouched(|proved, bytes| given.push((proved, bytes)));
        for (proved, bytes) in given {
            self.frame(m, soon, from, proved, bytes);
        }
    }

    pub fn let_go(&mut self, m: usize, boot: u64, conn: Conn) {
        let machine = &mut self.machines[m];
        let link = machine
            .links
            .get_mut(&conn)
            .filter(|_| machine.boot == boot);
        let Some(link) = link else { return };
        let (from, mut given) = (link.from, Vec::new());
        (link.vouch).let_go(|proved, bytes| given.push((proved, bytes)));
        for (proved, bytes) in given {
            self.frame(m, self.now, from, proved, bytes);
        }
    }

    /// A scene: the first TimeoutNow comes late, others do not come.
    fn is_held_back(
        &mut self,
        m: usize,
        to: usize,
        end: True,
        frame: &[u8],
        all: &[Piece],
    ) -> bool {
        let machine = &mut self.machines[m];
        if machine.hold_timeout_now.is_none() && machine.lose_timeout_now <= end {
            return false;
        }
        let is_timeout_now = matches!(Frame::decode(frame), Ok(Frame::Raft(e))
            if e.message.get_msg_type() == MessageType::MsgTimeoutNow);
        if !is_timeout_now {
            return false;
        }
        if let Some(late) = machine.hold_timeout_now.take() {
            machine.lose_timeout_now = end + late;
            self.trace.say(end, || {
                format!("m{m}'s TimeoutNow comes {} us late", late / US)
            });
            let conn = self.net.new_conn();
            for mut piece in all.iter().cloned() {
                piece.proved = true;
                self.net.send_piece(end + late, m, to, conn, piece);
            }
        }
        true
    }
}

fn show(frame: &[u8]) -> String {
    match Frame::decode(frame) {
        Ok(Frame::Raft(e)) => {
            let m = &e.message;
            format!(
                "{:04x}:{:04x}>{:04x} {:?} term {} index {} logterm {} commit {} entries {:?} reject {} lease_epoch {:?} sent {}",
                e.group.0 & 0xffff, e.from.0 & 0xffff, e.to.0 & 0xffff,
                m.msg_type, m.term, m.index, m.log_term, m.commit, m.entries.iter().map(|e| e.index).collect::<Vec<_>>(), m.reject, e.lease_epoch, e.sent_ns
            )
        }
        Ok(Frame::Control(control)) => format!("{control:.200?}"),
        Ok(Frame::Words(words)) => format!("{words:.400?}"),
        Ok(Frame::Transfer(message)) => format!("{message:?}"),
        Err(error) => format!("? {error}"),
    }
}
