//! The state machine of the cluster bus: bytes and time in, bytes and decisions out.
//!
//! Owns what this node knows of the others: the table of nodes, the links, the epochs, which nodes seem
//! down. Never owns a clock or a socket, and never decides its own role, slots or epoch: those come
//! from the shard's record by `set_self` (S2, S4), and what gossip says of them goes to the driver
//! as `SlotsClaimed`, `EpochSeen` and `EpochCollision` (S3). It behaves as Redis 7's bus does, so
//! that real Redis nodes can be part of the cluster.
//!
//! Every public method that takes `now` may leave actions; the driver fetches them with `actions`.

mod addresses;
mod claims;
mod epochs;
mod failure;
mod gossip;
mod links;
mod ping;
mod random;
mod receive;
mod save;
mod table;
mod types;
mod view;

#[cfg(test)]
mod tests;

pub use table::Node;
pub use types::*;

use crate::nodes_conf::NodesConf;
use crate::wire::Flags;
use crate::{NodeId, ShardId};
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use table::Table;

/// How long a forgotten node is not learned again.
const BLACKLIST_MS: u64 = 60_000;
/// Ticks per second, as Redis has it.
const TICK_MS: u64 = 100;
/// Things that peers can cause are said at most this often.
const REPEAT_MS: u64 = 1000;
/// Handshakes under way: packets of strangers may not fill the memory.
const HANDSHAKES_MAX: usize = 2000;

pub struct Bus {
    options: Options,
    me: SelfState,
    table: Table,
    links: BTreeMap<LinkId, Link>,
    next_link: LinkId,
    current_epoch: u64,
    last_vote_epoch: u64,
    /// Handshakes that are done, since the start.
    meetings: u64,
    /// Forgotten nodes, and until when (monotonic).
    blacklist: BTreeMap<NodeId, u64>,
    state_ok: bool,
    /// The state has to be computed again.
    state_stale: bool,
    /// nodes.conf has to be written at the next tick.
    unsaved: bool,
    /// It differs in slots, marks or epochs alone: written at the first tick after `slots_saved_again`.
    slots_unsaved: bool,
    slots_saved_again: u64,
    /// Our slots are others than those that all were told, which is mended then.
    pong_at: Option<u64>,
    /// The next owner of a slot of our own, if the record gives it up before that time (SETSLOT NODE of a real
    /// Redis); the entry may never commit.
    heirs: BTreeMap<u16, (NodeId, u64)>,
    now: Now,
    next_tick: u64,
    ticks: u64,
    stats: Stats,
    random: Random,
    out: Vec<Action>,
    complained: Option<u64>,
    complaints: u64,
    /// How often the log was told of slots with new owners, in which second.
    losses_told: (u64, u32),
    collision_told: Option<u64>,
    /// The sender of the packet that is being taken in, if it came on the link that we have opened
    /// to it: anybody can send in its name on another one.
    proved: Option<NodeId>,
    /// Shards of which a node at least must stay known: gossip makes none of them vanish.
    needed: BTreeSet<ShardId>,
    claimant_asked: Option<u64>,
    /// Packets of this type are dropped as they come, as a test wishes.
    dropped_type: Option<usize>,
}

impl Bus {
    /// A bus whose node is a master without slots until `set_self` says otherwise, which must be said
    /// before the first `tick`: the shard's id goes out with the first packet. Of nodes.conf it
    /// takes the other nodes, the own address and the epochs (S4).
    pub fn new(options: Options, myself: NodeId, conf: Option<&NodesConf>, now: Now) -> Bus {
        let me = Node {
            id: myself,
            flags: Flags(Flags::MYSELF.0 | Flags::MASTER.0),
            created: now.mono_ms,
            ..Node::default()
        };
        let mut bus = Bus {
            random: Random::new(options.seed),
            options,
            me: SelfState::default(),
            table: Table::new(me),
            links: BTreeMap::new(),
            next_link: 1,
            current_epoch: 0,
            last_vote_epoch: 0,
            meetings: 0,
            blacklist: BTreeMap::new(),
            state_ok: false,
            state_stale: true,
            unsaved: conf.is_none(),
            slots_unsaved: false,
            slots_saved_again: 0,
            pong_at: None,
            heirs: BTreeMap::new(),
            now,
            next_tick: now.mono_ms,
            ticks: 0,
            stats: Stats::default(),
            out: Vec::new(),
            complained: None,
            complaints: 0,
            dropped_type: None,
            losses_told: (0, 0),
            collision_told: None,
            proved: None,
            needed: BTreeSet::new(),
            claimant_asked: None,
        };
        if let Some(conf) = conf {
            bus.load(conf);
        }
        bus.refresh_myself();
        bus.settle();
        bus
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// Replaces the configuration.
    pub fn set_options(&mut self, now: Now, options: Options) {
        self.now = now;
        let announced = self.options.announce_ip.is_some();
        self.options = options;
        if announced && self.options.announce_ip.is_none() {
            self.find_own_address();
        }
        self.refresh_myself();
        self.state_stale = true;
        self.unsaved = true;
        self.settle();
    }

    /// Brings the own node's line in agreement with the options and the record.
    fn refresh_myself(&mut self) {
        let (options, me) = (&self.options, &self.me);
        let id = self.table.me;
        let node = self.table.get_mut(id).expect("the own node never leaves");
        node.port = options.announce_port.unwrap_or(options.port);
        node.cport = options.announce_cport.unwrap_or(options.cport);
        if let Some(ip) = &options.announce_ip {
            node.ip.clone_from(ip);
        }
        node.hostname.clone_from(&options.hostname);
        node.human_nodename.clone_from(&options.human_nodename);
        node.flags.set(Flags::NOFAILOVER, options.no_failover);
        node.shard = Some(me.shard);
        node.config_epoch = me.config_epoch;
        node.offset = me.offset;
        node.master = match me.role {
            NodeRole::Master => None,
            NodeRole::Slave(master) => Some(master),
        };
        node.flags.set(Flags::MASTER, me.role == NodeRole::Master);
        node.flags.set(Flags::SLAVE, me.role != NodeRole::Master);
    }

    /// Shards that slots move to or from: their last node is not forgotten by hearsay.
    pub fn set_needed(&mut self, shards: BTreeSet<ShardId>) {
        self.needed = shards;
    }

    /// CLUSTER MEET. False if a handshake with that address is under way.
    pub fn meet(&mut self, now: Now, ip: IpAddr, port: u16, cport: u16) -> bool {
        self.now = now;
        let ip = ip.to_canonical().to_string();
        port != 0 && cport != 0 && self.start_handshake(ip, port, cport, Flags::MEET).is_some()
    }

    /// CLUSTER FORGET: also keeps the node away for a minute, here and (by gossip) elsewhere.
    pub fn forget(&mut self, now: Now, id: NodeId) -> Result<(), ForgetError> {
        self.now = now;
        if id == self.table.me {
            return Err(ForgetError::Myself);
        }
        if self.table.get(id).is_none() {
            // Another node may have been told before, and its gossip was faster than the operator.
            let already = self.blacklist.contains_key(&id);
            return already.then_some(()).ok_or(ForgetError::Unknown);
        }
        if self.me.role == NodeRole::Slave(id) {
            return Err(ForgetError::MyMaster);
        }
        self.blacklist.insert(id, now.mono_ms + BLACKLIST_MS);
        self.remove_node(id);
        self.unsaved = true;
        self.settle();
        Ok(())
    }

    /// CLUSTER RESET: forgets all others; with a new id (HARD) the epochs too. The own role and
    /// slots are those of a fresh node until the next `set_self`.
    pub fn reset(&mut self, now: Now, new_id: Option<NodeId>) {
        self.now = now;
        for id in self.table.ids() {
            if id != self.table.me {
                self.remove_node(id);
            }
        }
        let open: Vec<LinkId> = self.links.keys().copied().collect();
        open.into_iter().for_each(|link| self.close(link));
        for slot in self.table.slots_of(self.table.me) {
            self.table.bind(slot, None);
        }
        self.blacklist.clear();
        let (mut epoch, shard) = (self.me.config_epoch, self.me.shard);
        if let Some(id) = new_id {
            (epoch, self.current_epoch, self.last_vote_epoch) = (0, 0, 0);
            self.table.rename(self.table.me, id);
        }
        self.me = SelfState {
            shard,
            config_epoch: epoch,
            ..SelfState::default()
        };
        self.refresh_myself();
        self.save_now();
        self.state_stale = true;
        self.settle();
    }

    fn log(&mut self, level: Level, text: String) {
        self.out.push(Action::Log(level, text));
    }

    /// A warning that peers can cause: said once a second at most.
    fn complain(&mut self, text: impl FnOnce() -> String) {
        let now = self.now.mono_ms;
        if self.complained.is_some_and(|last| now < last + REPEAT_MS) {
            self.complaints += 1;
            return;
        }
        self.complained = Some(now);
        let mut text = text();
        if self.complaints > 0 {
            text = format!("{text} ({} more not shown)", self.complaints);
        }
        self.complaints = 0;
        self.log(Level::Notice, text);
    }
}
