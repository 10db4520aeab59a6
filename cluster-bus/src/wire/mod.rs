//! The packets of the bus: Redis 7's `clusterMsg`, version 1.
//!
//! Owns the types of the messages; the codec is in `decode` and `encode`. Never knows what a
//! message means for the table of nodes. Invariant: decoding is total.

mod decode;
mod encode;
mod layout;

pub use decode::{decode, frame_len, WireError, FRAME_BYTES_MAX};

use crate::{NodeId, ShardId, SlotSet};

/// A node's flags as they travel, in nodes.conf and in CLUSTER NODES (`CLUSTER_NODE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    pub const MASTER: Flags = Flags(1);
    pub const SLAVE: Flags = Flags(2);
    pub const PFAIL: Flags = Flags(4);
    pub const FAIL: Flags = Flags(8);
    pub const MYSELF: Flags = Flags(16);
    pub const HANDSHAKE: Flags = Flags(32);
    pub const NOADDR: Flags = Flags(64);
    pub const MEET: Flags = Flags(128);
    pub const MIGRATE_TO: Flags = Flags(256);
    pub const NOFAILOVER: Flags = Flags(512);
    pub const EXTENSIONS: Flags = Flags(1024);

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn set(&mut self, other: Flags, on: bool) {
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
    }
}

/// What every packet begins with: the sender as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub sender: NodeId,
    /// The master that the sender replicates.
    pub master: Option<NodeId>,
    /// Slots of the sender, or of its master.
    pub slots: SlotSet,
    /// The address that the sender announces; empty: the one it is seen at.
    pub ip: String,
    pub port: u16,
    /// The plaintext port beside a TLS one, 0 if none.
    pub pport: u16,
    pub cport: u16,
    pub flags: Flags,
    /// 0: the cluster is ok for the sender, 1: it is down.
    pub state: u8,
    /// `CLUSTERMSG_FLAG0_*`: 1 paused, 2 forced acknowledgement, 4 extension data.
    pub message_flags: [u8; 3],
    pub current_epoch: u64,
    pub config_epoch: u64,
    pub offset: u64,
}

/// What a packet says of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    pub node: NodeId,
    /// Unix seconds.
    pub ping_sent: u32,
    /// Unix seconds.
    pub pong_received: u32,
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    pub flags: Flags,
    pub pport: u16,
}

/// Extensions of PING, PONG and MEET; unknown ones are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    Hostname(String),
    HumanNodename(String),
    ForgottenNode { node: NodeId, ttl_seconds: u64 },
    ShardId(ShardId),
}

/// PING, PONG and MEET share a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingKind {
    Ping,
    Pong,
    Meet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Ping {
        kind: PingKind,
        gossip: Vec<Gossip>,
        extensions: Vec<Extension>,
    },
    Fail(NodeId),
    Publish {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    AuthRequest,
    AuthAck,
    Update {
        config_epoch: u64,
        node: NodeId,
        slots: SlotSet,
    },
    MfStart,
    Module {
        id: u64,
        kind: u8,
        data: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub header: Header,
    pub body: Body,
}
