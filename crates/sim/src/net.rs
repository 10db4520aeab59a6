//! The simulated network: connections are FIFO, between them everything may be reordered.
//!
//! Owns: packets in flight, which directions are cut, what becomes of packets when a connection
//! breaks. Never does: look into packets, or decide when a fault happens.
//!
//! Endpoints are numbers (members first, then clients). Each direction between two endpoints can be
//! cut by itself: what arrives at a cut waits, as TCP's retransmissions do, and comes when it heals
//! unless the connection is broken meanwhile. Packets of a broken connection are lost from some
//! point on; those before it may come late, after packets of the next connection.

use cluster_bus::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::{True, MS, US};
use crate::rng::Rng;

pub type Endpoint = usize;
pub type Conn = u64;

/// What travels.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A piece of a Raft link's byte stream.
    Raft(Piece),
    /// One node asks the other whether it has made this link; the answer that it has.
    Ask(Conn),
    Vouch(Conn),
    /// A client connects.
    Open,
    /// A piece of a client connection's byte stream.
    Bytes(Vec<u8>),
    /// The other side is gone.
    Close,
    /// Nobody listened: nothing that was sent on this connection was ever read.
    Refused,
    /// Of a connection of the cluster bus.
    Bus(BusNews),
}

/// Bytes of a Raft link, and what its handshake says: the nodes at its ends, and whether it proves them.
#[derive(Clone, Debug)]
pub struct Piece {
    pub from: NodeId,
    pub to: NodeId,
    pub proved: bool,
    /// Nothing came before it this way on its connection.
    pub first: bool,
    pub bytes: Vec<u8>,
}

/// What travels on a connection of the cluster bus.
#[derive(Clone, Debug)]
pub enum BusNews {
    /// One node connects to another.
    Open,
    /// The other side has accepted.
    Up,
    Packet(Arc<[u8]>),
    Closed,
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub from: Endpoint,
    pub to: Endpoint,
    pub conn: Conn,
    pub payload: Payload,
}

/// How well the network works at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_us: u64,
    /// A packet between members is lost by itself (the sender's buffer was full).
    pub drop_p: f64,
    /// A packet between members comes a second time, any time later.
    pub double_p: f64,
    /// A packet takes much longer, and all behind it on its connection.
    pub slow_p: f64,
    pub slow_us: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather {
        delay_us: 150,
        drop_p: 0.0,
        double_p: 0.0,
        slow_p: 0.0,
        slow_us: 0,
    };
}

pub struct Net {
    rng: Rng,
    pub weather: Weather,
    flying: BTreeMap<(True, u64), Packet>,
    seq: u64,
    /// Earliest time at which the next packet of a connection's direction may arrive.
    fifo: BTreeMap<(Conn, Endpoint), True>,
    /// Directions of connections that a Raft link's bytes have gone.
    begun: BTreeSet<(Conn, Endpoint)>,
    cut: BTreeSet<(Endpoint, Endpoint)>,
    waiting: BTreeMap<(Endpoint, Endpoint), Vec<Packet>>,
    next_conn: Conn,
    /// The current connection from one member to another.
    links: BTreeMap<(Endpoint, Endpoint, NodeId), Conn>,
}

impl Net {
    pub fn new(rng: Rng, weather: Weather) -> Net {
        Net {
            rng,
            weather,
            flying: BTreeMap::new(),
            seq: 0,
            fifo: BTreeMap::new(),
            begun: BTreeSet::new(),
            cut: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_conn: 1,
            links: BTreeMap::new(),
        }
    }

    /// A new client connection's number.
    pub fn new_conn(&mut self) -> Conn {
        self.next_conn += 1;
        self.next_conn
    }

    /// The connection from one member to another that is to have this name; made if there is none.
    pub fn link(&mut self, from: Endpoint, to: Endpoint, name: NodeId) -> Conn {
        if let Some(conn) = self.made_link(from, to, name) {
            return conn;
        }
        let conn = self.new_conn();
        self.links.insert((from, to, name), conn);
        conn
    }

    /// The same, if there is one.
    pub fn made_link(&self, from: Endpoint, to: Endpoint, name: NodeId) -> Option<Conn> {
        self.links.get(&(from, to, name)).copied()
    }

    /// The connection is not taken by the other member: the next frame goes by another one.
    pub fn refused(&mut self, conn: Conn) {
        self.links.retain(|_, of| *of != conn);
    }

    /// Sends a frame between members, in pieces.
    pub fn send_raft(&mut self, now: True, from: Endpoint, to: Endpoint, pieces: Vec<Piece>) {
        if self.rng.chance(self.weather.drop_p) {
            return;
        }
        if self.rng.chance(self.weather.double_p) {
            // A copy comes as if by a connection that was there before, and was proved.
            let late = now + self.rng.around(200 * MS);
            let conn = self.new_conn();
            for mut piece in pieces.clone() {
                piece.proved = true;
                self.send_piece(late, from, to, conn, piece);
            }
        }
        let Some(name) = pieces.first().map(|piece| piece.to) else {
            return;
        };
        let conn = self.link(from, to, name);
        for piece in pieces {
            self.send_piece(now, from, to, conn, piece);
        }
    }

    pub fn send_piece(
        &mut self,
        now: True,
        from: Endpoint,
        to: Endpoint,
        conn: Conn,
        mut piece: Piece,
    ) {
        piece.first = self.begun.insert((conn, to));
        let payload = Payload::Raft(piece);
        let packet = Packet {
            from,
            to,
            conn,
            payload,
        };
        self.send(now, packet);
    }

    /// Sends behind everything that went the same way on this connection.
    pub fn send(&mut self, now: True, packet: Packet) {
        let w = self.weather;
        let mut delay = self.rng.around(w.delay_us * US) + 20 * US;
        if self.rng.chance(w.slow_p) {
            delay += self.rng.around(w.slow_us * US);
        }
        let last = self.fifo.entry((packet.conn, packet.to)).or_insert(0);
        let at = (now + delay).max(*last);
        *last = at;
        self.put(at, packet);
    }

    fn put(&mut self, at: True, packet: Packet) {
        self.seq += 1;
        self.flying.insert((at, self.seq), packet);
    }

    /// When the next packet arrives.
    pub fn next_at(&self) -> Option<True> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next packet that arrives at or before `now`; those at a cut stay there.
    pub fn arrive(&mut self, now: True) -> Option<Packet> {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > now {
                return None;
            }
            let packet = entry.remove();
            let way = (packet.from, packet.to);
            if self.cut.contains(&way) {
                self.waiting.entry(way).or_default().push(packet);
                continue;
            }
            return Some(packet);
        }
        None
    }

    /// Nothing arrives this way any more.
    pub fn cut(&mut self, from: Endpoint, to: Endpoint) {
        self.cut.insert((from, to));
    }

    pub fn is_cut(&self, from: Endpoint, to: Endpoint) -> bool {
        self.cut.contains(&(from, to))
    }

    /// What waited comes now, in order.
    pub fn heal(&mut self, now: True, from: Endpoint, to: Endpoint) {
        self.cut.remove(&(from, to));
        let waiting = self.waiting.remove(&(from, to)).unwrap_or_default();
        // They come before all that is on its way already: what was sent later on the same
        // connection must not overtake them.
        let same_way = |p: &Packet| (p.from, p.to) == (from, to);
        let due: Vec<(True, u64)> = self
            .flying
            .iter()
            .take_while(|((at, _), _)| *at <= now)
            .filter(|(_, packet)| same_way(packet))
            .map(|(key, _)| *key)
            .collect();
        let due: Vec<Packet> = due
            .iter()
            .filter_map(|key| self.flying.remove(key))
            .collect();
        for packet in waiting.into_iter().chain(due) {
            self.put(now, packet);
        }
    }

    pub fn heal_all(&mut self, now: True) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.heal(now, from, to);
        }
    }

    /// The connections from one member to another break: from some packet on they are lost, those
    /// before it may be late; what is sent next goes by another connection.
    pub fn break_link(&mut self, now: True, from: Endpoint, to: Endpoint) {
        let of = |key: &(Endpoint, Endpoint, NodeId)| (key.0, key.1) == (from, to);
        let keys = self.links.keys().filter(|key| of(key));
        for key in keys.copied().collect::<Vec<_>>() {
            let conn = self.links.remove(&key).expect("it was just listed");
            self.break_conn(now, (from, to), conn);
        }
    }

    fn break_conn(&mut self, now: True, (from, to): (Endpoint, Endpoint), conn: Conn) {
        let mut keys: Vec<(True, u64)> = self
            .flying
            .iter()
            .filter(|(_, p)| p.conn == conn)
            .map(|(k, _)| *k)
            .collect();
        let waiting = self.waiting.entry((from, to)).or_default();
        let mut packets: Vec<Packet> = Vec::new();
        waiting.retain(|p| {
            if p.conn == conn {
                packets.push(p.clone());
            }
            p.conn != conn
        });
        keys.sort_unstable();
        packets.extend(keys.iter().filter_map(|k| self.flying.remove(k)));
        let keep = self.rng.below(packets.len() as u64 + 1) as usize;
        let late = if self.rng.chance(0.5) {
            self.rng.around(500 * MS)
        } else {
            0
        };
        for packet in packets.into_iter().take(keep) {
            // The old connection's order stays; it is its own.
            self.send(now + late, packet);
        }
    }

    /// All connections to and from a member that died: what it had sent may still arrive, what was
    /// sent to it is lost.
    pub fn member_died(&mut self, now: True, member: Endpoint, members: usize) {
        for other in (0..members).filter(|o| *o != member) {
            self.break_link(now, member, other);
            self.break_link(now, other, member);
        }
        // What clients have sent still arrives at the machine: at nobody, or at a process that
        // does not know the connection, and either answers with a reset.
        let lost = |from: Endpoint, to: Endpoint| to == member && from < members;
        self.flying.retain(|_, p| !lost(p.from, p.to));
        self.waiting.retain(|(from, to), _| !lost(*from, *to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(p: &Packet) -> u8 {
        match &p.payload {
            Payload::Raft(piece) => piece.bytes[0],
            other => panic!("{other:?}"),
        }
    }

    fn one(number: u8) -> Vec<Piece> {
        vec![Piece {
            from: NodeId([0; 20]),
            to: NodeId([1; 20]),
            proved: true,
            first: false,
            bytes: vec![number],
        }]
    }

    fn drain(net: &mut Net) -> Vec<u8> {
        let mut got = Vec::new();
        while let Some(at) = net.next_at() {
            if let Some(p) = net.arrive(at) {
                got.push(number(&p));
            }
        }
        got
    }

    #[test]
    fn a_connection_keeps_its_order() {
        let weather = Weather {
            slow_p: 0.2,
            slow_us: 100_000,
            ..Weather::FAIR
        };
        let mut net = Net::new(Rng::new(1), weather);
        (0..100).for_each(|i| net.send_raft(u64::from(i), 0, 1, one(i)));
        assert_eq!(drain(&mut net), (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn connections_overtake_one_another() {
        let mut overtaken = 0;
        for seed in 0..20 {
            let mut net = Net::new(Rng::new(seed), Weather::FAIR);
            (0..50).for_each(|i| net.send_raft(0, 0, 1, one(i)));
            net.break_link(0, 0, 1);
            (50..100).for_each(|i| net.send_raft(0, 0, 1, one(i)));
            let got = drain(&mut net);
            assert_eq!(
                got.iter().filter(|i| **i >= 50).count(),
                50,
                "the new one loses nothing"
            );
            let old: Vec<u8> = got.iter().copied().filter(|i| *i < 50).collect();
            assert_eq!(
                old,
                (0..old.len() as u8).collect::<Vec<u8>>(),
                "a prefix, in order"
            );
            let first_new = got.iter().position(|i| *i >= 50).expect("there");
            overtaken += usize::from(got[first_new..].iter().any(|i| *i < 50));
        }
        assert!(overtaken > 5, "{overtaken}");
    }

    #[test]
    fn a_cut_has_one_direction_and_holds_back() {
        let mut net = Net::new(Rng::new(1), Weather::FAIR);
        net.cut(0, 1);
        net.send_raft(0, 0, 1, one(1));
        net.send_raft(0, 1, 0, one(2));
        assert_eq!(drain(&mut net), [2]);
        net.heal(MS, 0, 1);
        assert_eq!(drain(&mut net), [1]);
    }
}
