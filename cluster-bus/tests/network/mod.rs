//! A virtual network of buses: links with delays, dead nodes, partitions, virtual time.
//!
//! Owns the wires and the clock. Never looks into the table of a bus. Invariant: the same seed gives
//! the same run; packets of one link stay in order.

use cluster_bus::bus::{Action, Bus, IpAddr, Level, LinkId, Now, Options, SelfState, INCOMING};
use cluster_bus::{nodes_conf, NodeId, ShardId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub const NODE_TIMEOUT_MS: u64 = 5000;
/// One way.
const DELAY_MS: u64 = 1;
const UNIX_MS: i64 = 1_700_000_000_000;

/// Bytes on a wire, or its end.
type Parcel = Option<Arc<[u8]>>;

struct Host {
    bus: Bus,
    me: SelfState,
    up: bool,
    /// The number of its address; two hosts may have exchanged theirs.
    at: usize,
    /// Its links: the other host and the link's id there.
    wires: BTreeMap<LinkId, (usize, LinkId)>,
    conf: String,
    far: bool,
}

/// (when, order, host, link, parcel)
type Event = (u64, u64, usize, LinkId, Parcel);

pub struct Network {
    hosts: Vec<Host>,
    now_ms: u64,
    events: BinaryHeap<Reverse<Event>>,
    count: u64,
    split: bool,
    seed: u64,
    bytes: u64,
    packets: u64,
    warnings: usize,
}

pub fn id_of(number: usize) -> NodeId {
    // Spread, so that the order of ids is not the order of numbers.
    let mut id = [0; 20];
    let spread = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    id[16..].copy_from_slice(&(number as u32).to_be_bytes());
    NodeId(id)
}

fn ip_of(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, (number >> 8) as u8, number as u8))
}

fn number_of(ip: IpAddr) -> usize {
    let IpAddr::V4(ip) = ip else {
        panic!("not of this network: {ip}");
    };
    let [_, _, high, low] = ip.octets();
    usize::from(high) << 8 | usize::from(low)
}

fn options(seed: u64) -> Options {
    Options {
        node_timeout_ms: NODE_TIMEOUT_MS,
        seed,
        ..Options::default()
    }
}

impl Network {
    pub fn new(nodes: usize, seed: u64) -> Network {
        let now = Now {
            mono_ms: 0,
            unix_ms: UNIX_MS,
        };
        let host = |n: usize| Host {
            bus: Bus::new(options(seed * 1000 + n as u64), id_of(n), None, now),
            me: SelfState::default(),
            up: true,
            at: n,
            wires: BTreeMap::new(),
            conf: String::new(),
            far: false,
        };
        Network {
            hosts: (0..nodes).map(host).collect(),
            now_ms: 0,
            events: BinaryHeap::new(),
            count: 0,
            split: false,
            seed,
            bytes: 0,
            packets: 0,
            warnings: 0,
        }
    }

    pub fn id(&self, number: usize) -> NodeId {
        id_of(number)
    }

    pub fn number(&self, id: NodeId) -> usize {
        (0..self.hosts.len())
            .find(|n| id_of(*n) == id)
            .expect("an id of this network")
    }

    pub fn shard(&self, master: usize) -> ShardId {
        let mut id = id_of(master).0;
        id[19] ^= 0xff;
        ShardId(id)
    }

    pub fn bus(&self, number: usize) -> &Bus {
        &self.hosts[number].bus
    }

    pub fn live(&self) -> impl Iterator<Item = &Bus> {
        self.hosts.iter().filter(|h| h.up).map(|host| &host.bus)
    }

    /// Lines that a real server would log as warnings.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    pub fn become_(&mut self, number: usize, change: impl FnOnce(&mut SelfState)) {
        let now = self.now();
        let host = &mut self.hosts[number];
        change(&mut host.me);
        host.bus.set_self(now, host.me.clone());
        self.carry_out(number);
    }

    /// Gives a dead host the address of this number.
    pub fn move_to(&mut self, number: usize, address: usize) {
        assert!(!self.hosts[number].up, "only the dead move");
        self.hosts[number].at = address;
    }

    /// The address of a host, as a table of nodes has it.
    pub fn address(&self, number: usize) -> String {
        ip_of(self.hosts[number].at).to_string()
    }

    fn host_at(&self, address: usize) -> usize {
        let mut hosts = self.hosts.iter();
        let host = hosts.position(|host| host.at == address);
        host.expect("an address of this network")
    }

    pub fn meet(&mut self, number: usize, other: usize) {
        let now = self.now();
        let met = self.hosts[number].bus.meet(now, ip_of(other), 6379, 16379);
        assert!(met);
    }

    pub fn kill(&mut self, number: usize) {
        self.hosts[number].up = false;
        let wires = std::mem::take(&mut self.hosts[number].wires);
        for (other, link) in wires.into_values() {
            self.post(other, link, None);
        }
    }

    /// Starts a dead node again from its nodes.conf and its record.
    pub fn restart(&mut self, number: usize) {
        let now = self.now();
        let conf = nodes_conf::parse(&self.hosts[number].conf).expect("a good nodes.conf");
        let seed = self.seed * 7777 + number as u64;
        let host = &mut self.hosts[number];
        host.bus = Bus::new(options(seed), id_of(number), Some(&conf), now);
        host.up = true;
        host.bus.set_self(now, host.me.clone());
        self.carry_out(number);
    }

    /// Cuts the hosts for which `far` is true off from the others: packets vanish.
    pub fn partition(&mut self, far: impl Fn(usize) -> bool) {
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.far = far(number);
        }
        self.split = true;
    }

    pub fn heal(&mut self) {
        self.split = false;
    }

    /// Runs until `done`, or panics after so many rounds; says how many it took.
    pub fn until(&mut self, rounds: u64, what: &str, done: impl Fn(&Network) -> bool) -> u64 {
        for round in 0..rounds {
            if done(self) {
                return round;
            }
            self.round();
        }
        panic!("not within {rounds} rounds: {what}");
    }

    /// Prints what it took, and starts to count anew.
    pub fn report(&mut self, what: &str, rounds: u64) {
        println!(
            "{what}: {rounds} rounds; since the last line {} packets, {:.1} MB, in all {:.1} s",
            self.packets,
            self.bytes as f64 / 1e6,
            self.now_ms as f64 / 1e3
        );
        (self.packets, self.bytes) = (0, 0);
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            unix_ms: UNIX_MS + self.now_ms as i64,
        }
    }

    /// 100 ms in the life of all.
    fn round(&mut self) {
        let end = self.now_ms + 100;
        while self.now_ms < end {
            self.now_ms += 1;
            while self.events.peek().is_some_and(|e| e.0 .0 <= self.now_ms) {
                let Reverse((_, _, host, link, parcel)) = self.events.pop().expect("peeked");
                self.deliver(host, link, parcel);
            }
            let now = self.now();
            for number in 0..self.hosts.len() {
                let host = &mut self.hosts[number];
                if host.up && host.bus.deadline() <= now.mono_ms {
                    host.bus.tick(now);
                    self.carry_out(number);
                }
            }
        }
    }

    fn deliver(&mut self, number: usize, link: LinkId, parcel: Parcel) {
        let now = self.now();
        if !self.hosts[number].up || !self.hosts[number].wires.contains_key(&link) {
            return;
        }
        let host = &mut self.hosts[number];
        match parcel {
            Some(bytes) => host.bus.received(now, link, &bytes),
            None => {
                host.wires.remove(&link);
                host.bus.closed(now, link);
            }
        }
        self.carry_out(number);
    }

    fn post(&mut self, host: usize, link: LinkId, parcel: Parcel) {
        self.count += 1;
        let at = self.now_ms + DELAY_MS;
        let event = (at, self.count, host, link, parcel);
        self.events.push(Reverse(event));
    }

    fn cut(&self, a: usize, b: usize) -> bool {
        self.split && self.hosts[a].far != self.hosts[b].far
    }

    fn carry_out(&mut self, number: usize) {
        let mut actions = self.hosts[number].bus.actions();
        while !actions.is_empty() {
            for action in actions {
                self.act(number, action);
            }
            actions = self.hosts[number].bus.actions();
        }
    }

    fn act(&mut self, number: usize, action: Action) {
        match action {
            Action::Connect { link, ip, port } => {
                assert_eq!(port, 16379);
                let other = self.host_at(number_of(ip));
                self.connect(number, link, other);
            }
            Action::Send { link, bytes } => {
                let Some(&(other, there)) = self.hosts[number].wires.get(&link) else {
                    return;
                };
                self.packets += 1;
                self.bytes += bytes.len() as u64;
                if !self.cut(number, other) {
                    self.post(other, there, Some(bytes));
                }
            }
            Action::Close { link } => {
                if let Some((other, there)) = self.hosts[number].wires.remove(&link) {
                    self.post(other, there, None);
                }
            }
            Action::Save(text) => self.hosts[number].conf = text,
            Action::Log(level, _) => self.warnings += usize::from(level == Level::Warning),
            Action::SlotsClaimed { .. } => panic!("nobody takes slots here: {action:?}"),
            Action::EpochCollision { .. } | Action::EpochSeen(_) | Action::Publish { .. } => (),
        }
    }

    fn connect(&mut self, number: usize, link: LinkId, other: usize) {
        let now = self.now();
        if self.cut(number, other) {
            // As a connection whose packets vanish: nothing ever comes back.
            return;
        }
        if !self.hosts.get(other).is_some_and(|host| host.up) {
            self.hosts[number].bus.closed(now, link);
            return;
        }
        self.count += 1;
        let there = INCOMING | self.count;
        self.hosts[number].wires.insert(link, (other, there));
        self.hosts[other].wires.insert(there, (number, link));
        let (here_ip, there_ip) = (ip_of(self.hosts[number].at), ip_of(self.hosts[other].at));
        self.hosts[other]
            .bus
            .accepted(now, there, here_ip, there_ip);
        self.hosts[number].bus.connected(now, link, here_ip);
    }
}
