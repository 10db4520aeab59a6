//! nodes.conf: what a node knows of its cluster, in Redis's format.
//!
//! Owns the lines and how they are written; `parse` reads them. A line without its auxiliary
//! fields is also a line of CLUSTER NODES. Never touches a file. Invariant: what `render` writes,
//! `parse` reads back as it was; a nodename that would break its line is not written.

mod parse;

pub use parse::{parse, ConfError};

use crate::names;
use crate::wire::Flags;
use crate::{NodeId, ShardId, SlotSet};
use std::fmt::{self, Write};

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesConf {
    /// Exactly one has the flag MYSELF.
    pub nodes: Vec<NodeLine>,
    pub current_epoch: u64,
    pub last_vote_epoch: u64,
}

/// A node, as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLine {
    pub id: NodeId,
    /// Empty: not known yet.
    pub ip: String,
    pub port: u16,
    /// The TLS port, 0 if none.
    pub tls_port: u16,
    pub cport: u16,
    /// Empty: none.
    pub hostname: String,
    /// Empty: none.
    pub human_nodename: String,
    pub shard: Option<ShardId>,
    pub flags: Flags,
    pub master: Option<NodeId>,
    /// Unix time in ms, 0: no ping is out.
    pub ping_sent_ms: i64,
    /// Unix time in ms, 0: never.
    pub pong_received_ms: i64,
    pub config_epoch: u64,
    /// The link to the node is up; always so for oneself.
    pub connected: bool,
    pub slots: SlotSet,
    /// Slots that go to another node. Only for oneself.
    pub migrating: Vec<(u16, NodeId)>,
    /// Slots that come from another node. Only for oneself.
    pub importing: Vec<(u16, NodeId)>,
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// nodes.conf, with auxiliary fields.
    File,
    /// A reply of CLUSTER NODES and its like: clients know no auxiliary fields.
    Reply,
}

/// Names of flags, in the order in which Redis writes them.
const FLAG_WORDS: [(Flags, &str); 8] = [
    (Flags::MYSELF, "myself"),
    (Flags::MASTER, "master"),
    (Flags::SLAVE, "slave"),
    (Flags::PFAIL, "fail?"),
    (Flags::FAIL, "fail"),
    (Flags::HANDSHAKE, "handshake"),
    (Flags::NOADDR, "noaddr"),
    (Flags::NOFAILOVER, "nofailover"),
];

/// A node's flags in words: `myself,master`, or `noflags`.
pub struct FlagWords(pub Flags);

impl fmt::Display for FlagWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, word) in FLAG_WORDS {
            if self.0.has(flag) {
                write!(f, "{separator}{word}")?;
                separator = ",";
            }
        }
        match separator {
            "" => f.write_str("noflags"),
            _ => Ok(()),
        }
    }
}

impl NodesConf {
    /// The whole file.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for node in &self.nodes {
            out.push_str(&node.line(Form::File));
            out.push('\n');
        }
        out.push_str(&format!(
            "vars currentEpoch {} lastVoteEpoch {}\n",
            self.current_epoch, self.last_vote_epoch
        ));
        out
    }

    /// The line of this node itself.
    pub fn myself(&self) -> Option<&NodeLine> {
        self.nodes.iter().find(|n| n.flags.has(Flags::MYSELF))
    }
}

impl NodeLine {
    /// The line, without a line end.
    pub fn line(&self, form: Form) -> String {
        let mut out = String::new();
        self.write(form, &mut out)
            .expect("writing to a String does not fail");
        out
    }

    fn write(&self, form: Form, out: &mut String) -> fmt::Result {
        write!(out, "{} {}:{}@{}", self.id, self.ip, self.port, self.cport)?;
        match form {
            Form::File => self.write_aux(out)?,
            Form::Reply if self.hostname.is_empty() => (),
            Form::Reply => write!(out, ",{}", self.hostname)?,
        }
        write!(out, " {} ", FlagWords(self.flags))?;
        match self.master {
            Some(master) => write!(out, "{master}")?,
            None => out.push('-'),
        }
        let link = match self.connected || self.flags.has(Flags::MYSELF) {
            true => "connected",
            false => "disconnected",
        };
        let (ping, pong) = (self.ping_sent_ms, self.pong_received_ms);
        write!(out, " {ping} {pong} {} {link}", self.config_epoch)?;
        for (first, last) in self.slots.ranges() {
            match first == last {
                true => write!(out, " {first}")?,
                false => write!(out, " {first}-{last}")?,
            }
        }
        self.write_motion(out)
    }

    /// The hostname is there even when empty, so that the named fields can follow it.
    fn write_aux(&self, out: &mut String) -> fmt::Result {
        write!(out, ",{},tls-port={}", self.hostname, self.tls_port)?;
        // Any other name is learned anew: the own from its directive, others by gossip.
        if !self.human_nodename.is_empty() && names::fits_a_line(&self.human_nodename) {
            write!(out, ",nodename={}", self.human_nodename)?;
        }
        match self.shard {
            Some(shard) => write!(out, ",shard-id={shard}"),
            None => Ok(()),
        }
    }

    /// `[slot->-id]` and `[slot-<-id]`, in order of slots.
    fn write_motion(&self, out: &mut String) -> fmt::Result {
        let going = self.migrating.iter().map(|(slot, id)| (*slot, '>', *id));
        let coming = self.importing.iter().map(|(slot, id)| (*slot, '<', *id));
        let mut all: Vec<_> = going.chain(coming).collect();
        all.sort_by_key(|(slot, ..)| *slot);
        all.iter()
            .try_for_each(|(slot, way, id)| write!(out, " [{slot}-{way}-{id}]"))
    }
}
