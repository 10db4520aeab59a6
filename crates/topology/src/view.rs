//! The cluster as this node sees it, as plain data: what CLUSTER's replies are rendered from.
//!
//! Owns: [`ClusterView`] and the questions that several replies ask of it. Never: knows the bus, a
//! socket or a reply's form; the maker of a view decides what it says. Invariants: `myself` is
//! among `nodes`; no slot is in the sets of two nodes; role and slots of `myself` are those of the
//! last applied record (S2).

use cluster_bus::bus::MESSAGE_NAMES;
use cluster_bus::slot::SLOT_COUNT;
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, ShardId, SlotSet};

/// How a node is, for CLUSTER SHARDS. CLUSTER SLOTS lists only replicas that are online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Online,
    Failed,
    /// A replica that does not have its shard's data yet.
    Loading,
}

impl Health {
    /// Redis's rule.
    pub fn of(flags: Flags, offset: u64) -> Health {
        if flags.has(Flags::FAIL) {
            Health::Failed
        } else if flags.has(Flags::SLAVE) && offset == 0 {
            Health::Loading
        } else {
            Health::Online
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Health::Online => "online",
            Health::Failed => "fail",
            Health::Loading => "loading",
        }
    }
}

/// `cluster-preferred-endpoint-type`: what clients are told to connect to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreferredEndpoint {
    #[default]
    Ip,
    Hostname,
    /// Clients use the address that they have.
    Unknown,
}

impl PreferredEndpoint {
    /// The host of a node as clients are told it; none: they stay with the one that they know. Redis's `?`
    /// stands for a host name that is missing.
    pub fn host<'a>(self, ip: &'a str, hostname: &'a str) -> Option<&'a str> {
        match self {
            PreferredEndpoint::Ip => Some(ip),
            PreferredEndpoint::Hostname if hostname.is_empty() => Some("?"),
            PreferredEndpoint::Hostname => Some(hostname),
            PreferredEndpoint::Unknown => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct NodeView {
    pub id: NodeId,
    /// Empty while a node does not know its own.
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    /// Empty: none.
    pub hostname: String,
    pub flags: Flags,
    pub master: Option<NodeId>,
    /// Unknown until the node has said it.
    pub shard: Option<ShardId>,
    /// The shard that it has proved to say that it is a member of.
    pub said: Option<ShardId>,
    /// Unix milliseconds of the ping that is not answered yet, or 0.
    pub ping_sent: i64,
    pub pong_received: i64,
    /// Its own; a replica shows its master's.
    pub config_epoch: u64,
    /// The link that goes there is up.
    pub connected: bool,
    pub slots: SlotSet,
    pub offset: u64,
    pub health: Health,
    /// Masters that have lately reported it as failing.
    pub failure_reports: u64,
}

impl NodeView {
    /// The shard that slots which move to it, or from it, move to: a bus packet can be anybody's.
    pub fn stands_for(&self) -> Option<ShardId> {
        self.said.or(self.shard)
    }

    pub fn is_slave(&self) -> bool {
        self.flags.has(Flags::SLAVE)
    }

    pub fn is_master(&self) -> bool {
        self.flags.has(Flags::MASTER)
    }
}

/// A connection of the bus that belongs to a known node.
#[derive(Clone, Copy, Debug)]
pub struct LinkView {
    /// The other side opened it.
    pub inbound: bool,
    pub node: NodeId,
    /// Unix milliseconds.
    pub created: i64,
    /// Waits for something to read; has something to write.
    pub reads: bool,
    pub writes: bool,
    pub buffer_allocated: u64,
    pub buffer_used: u64,
}

#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    pub myself: NodeId,
    /// All known nodes with `myself`, also those in handshake.
    pub nodes: Vec<NodeView>,
    /// `cluster_state` (C3).
    pub ok: bool,
    /// Masters that have slots.
    pub size: usize,
    pub current_epoch: u64,
    /// Messages by type, in the order of [`MESSAGE_NAMES`].
    pub sent: [u64; MESSAGE_NAMES.len()],
    pub received: [u64; MESSAGE_NAMES.len()],
    pub links: Vec<LinkView>,
    pub links_over_limit: u64,
    /// Slots of mine that go to, or come from, another node.
    pub migrating: Vec<(u16, NodeId)>,
    pub importing: Vec<(u16, NodeId)>,
    pub preferred: PreferredEndpoint,
}

impl ClusterView {
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub fn me(&self) -> &NodeView {
        self.node(self.myself)
            .expect("a view holds the node that made it")
    }

    pub fn replicas_of(&self, master: NodeId) -> impl Iterator<Item = &NodeView> {
        let of = move |node: &&NodeView| node.is_slave() && node.master == Some(master);
        self.nodes.iter().filter(of)
    }

    /// The epoch that a node shows: a replica has its master's.
    pub fn epoch_of(&self, node: &NodeView) -> u64 {
        let master = node.master.filter(|_| node.is_slave());
        master
            .and_then(|id| self.node(id))
            .unwrap_or(node)
            .config_epoch
    }

    /// The highest epoch that anybody is known to have.
    pub fn max_epoch(&self) -> u64 {
        let epochs = self.nodes.iter().map(|node| node.config_epoch);
        epochs.max().unwrap_or(0).max(self.current_epoch)
    }

    /// The owner of every slot, by number.
    pub fn owners(&self) -> Vec<Option<&NodeView>> {
        let mut owners = vec![None; usize::from(SLOT_COUNT)];
        for node in &self.nodes {
            for (first, last) in node.slots.ranges() {
                owners[usize::from(first)..=usize::from(last)].fill(Some(node));
            }
        }
        owners
    }

    /// Maximal runs of slots that one node owns, in the slots' order.
    pub fn ranges(&self) -> Vec<(u16, u16, &NodeView)> {
        let runs = self.nodes.iter().flat_map(|node| {
            let ranges = node.slots.ranges().into_iter();
            ranges.map(move |(first, last)| (first, last, node))
        });
        let mut runs: Vec<_> = runs.collect();
        runs.sort_unstable_by_key(|run| run.0);
        runs
    }

    /// The nodes of each shard, its master first; nodes in handshake are in none. A replica that
    /// has not said its shard belongs to its master's.
    pub fn shards(&self) -> Vec<Vec<&NodeView>> {
        let mut shards: Vec<(ShardId, Vec<&NodeView>)> = Vec::new();
        let settled = |node: &&NodeView| !node.flags.has(Flags::HANDSHAKE);
        for node in self.nodes.iter().filter(settled) {
            let id = self.shard_of(node);
            match shards.iter_mut().find(|(shard, _)| *shard == id) {
                Some((_, nodes)) => nodes.push(node),
                None => shards.push((id, vec![node])),
            }
        }
        let nodes = shards.into_iter().map(|(_, mut nodes)| {
            nodes.sort_by_key(|node| node.is_slave());
            nodes
        });
        nodes.collect()
    }

    /// Where no shard is known, the nodes of one master are one.
    fn shard_of(&self, node: &NodeView) -> ShardId {
        let of_master = || self.node(node.master?)?.shard;
        let shard = node.shard.or_else(of_master);
        shard.unwrap_or(ShardId(node.master.unwrap_or(node.id).0))
    }
}
