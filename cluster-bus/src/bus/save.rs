//! nodes.conf: from the table to the text, and back at start.
//!
//! Never takes the own role, slots or epoch from the file (S4: the record has them). Invariant: nodes
//! in handshake are not written. What is new of slots, marks and epochs alone is written once a second at
//! most, so that the log's syncs don't queue behind it while slots move (M30): the own ones are in the
//! record, all others come back by gossip. What is new of nodes, or of a vote, does not wait.

use super::*;
use crate::nodes_conf::NodeLine;

const SLOTS_SAVED_EVERY_MS: u64 = 1000;

impl Bus {
    /// What nodes.conf is to hold; `NodeLine` also writes the lines of CLUSTER NODES.
    pub fn conf(&self) -> NodesConf {
        let kept = self.table.iter().filter(|node| !node.in_handshake());
        NodesConf {
            nodes: kept.map(|node| self.line(node)).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        }
    }

    /// A node as a line.
    pub fn line(&self, node: &Node) -> NodeLine {
        let myself = node.id == self.table.me;
        let open = |list: &Vec<(u16, NodeId)>| match myself {
            true => list.clone(),
            false => Vec::new(),
        };
        NodeLine {
            id: node.id,
            ip: node.ip.clone(),
            port: node.port,
            tls_port: node.pport,
            cport: node.cport,
            hostname: node.hostname.clone(),
            human_nodename: node.human_nodename.clone(),
            shard: node.shard,
            flags: node.flags,
            // A line may only name nodes that have one.
            master: node.master.filter(|id| self.table.get(*id).is_some()),
            ping_sent_ms: self.unix_ms(node.ping_sent),
            pong_received_ms: self.unix_ms(node.pong_received),
            config_epoch: node.config_epoch,
            connected: node.connected || myself,
            slots: node.slots.clone(),
            migrating: open(&self.me.migrating),
            importing: open(&self.me.importing),
        }
    }

    /// Writes nodes.conf now (CLUSTER SAVECONFIG); what follows waits for it.
    pub fn save_config(&mut self, now: Now) {
        self.now = now;
        self.save_now();
    }

    pub(super) fn save_now(&mut self) {
        (self.unsaved, self.slots_unsaved) = (false, false);
        self.slots_saved_again = self.now.mono_ms + SLOTS_SAVED_EVERY_MS;
        let text = self.conf().render();
        self.out.push(Action::Save(text));
    }

    pub(super) fn load(&mut self, conf: &NodesConf) {
        self.current_epoch = conf.current_epoch;
        self.last_vote_epoch = conf.last_vote_epoch;
        let now = self.now.mono_ms;
        let me = self.table.me;
        for line in &conf.nodes {
            if line.id == me || line.flags.has(Flags::MYSELF) {
                let node = self.table.get_mut(me).expect("the own node never leaves");
                node.ip.clone_from(&line.ip);
                continue;
            }
            self.table.add(Node {
                id: line.id,
                ip: line.ip.clone(),
                port: line.port,
                pport: line.tls_port,
                cport: line.cport,
                flags: line.flags,
                master: line.master,
                shard: line.shard,
                config_epoch: line.config_epoch,
                created: now,
                fail_time: line.flags.has(Flags::FAIL).then_some(now),
                hostname: line.hostname.clone(),
                human_nodename: line.human_nodename.clone(),
                ..Node::default()
            });
            for slot in line.slots.iter() {
                self.table.bind(slot, Some(line.id));
            }
            self.current_epoch = self.current_epoch.max(line.config_epoch);
        }
    }
}
