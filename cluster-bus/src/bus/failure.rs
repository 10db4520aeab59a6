//! Nodes that are down: PFAIL is an own opinion, FAIL that of most masters, and what follows for the state
//! of the cluster (C3).
//!
//! Owns the flags PFAIL and FAIL and the reports. Never removes a node for being down. Invariant:
//! PFAIL and FAIL are never both set by us.

use super::*;
use crate::slot::SLOT_COUNT;
use crate::wire::{Body, Message};

impl Bus {
    /// We have heard nothing from this node for the node timeout.
    pub(super) fn suspect(&mut self, id: NodeId) {
        let Some(node) = self.table.get_mut(id) else {
            return;
        };
        if node.suspect() {
            return;
        }
        node.flags.set(Flags::PFAIL, true);
        self.state_stale = true;
        self.unsaved = true;
        let text = format!("NODE {} possibly failing.", self.named(id));
        self.log(Level::Notice, text);
        self.fail_by_majority(id);
    }

    /// A node as operators know it: its id, and in brackets the name that it announces, as Redis's log has them.
    fn named(&self, id: NodeId) -> String {
        let node = self.table.get(id);
        let name = node.map_or("", |node| &node.human_nodename);
        format!("{id} ({name})")
    }

    /// What a master with slots says of a node.
    pub(super) fn report(&mut self, by: NodeId, about: NodeId, down: bool) {
        let now = self.now.mono_ms;
        let Some(node) = self.table.get_mut(about) else {
            return;
        };
        if !down {
            if node.reports.remove(&by).is_some() {
                let (by, about) = (self.named(by), self.named(about));
                let text = format!("Node {by} reported node {about} is back online.");
                self.log(Level::Verbose, text);
            }
            return;
        }
        if node.reports.insert(by, now).is_none() {
            let (by, named) = (self.named(by), self.named(about));
            let text = format!("Node {by} reported node {named} as not reachable.");
            self.log(Level::Verbose, text);
        }
        self.fail_by_majority(about);
    }

    /// Forgets reports that are too old and counts the rest.
    pub(super) fn count_reports(&mut self, id: NodeId) -> usize {
        let (now, valid) = (self.now.mono_ms, 2 * self.options.node_timeout_ms);
        match self.table.get_mut(id) {
            None => 0,
            Some(node) if node.reports.is_empty() => 0,
            Some(node) => {
                node.reports
                    .retain(|_, at| now.saturating_sub(*at) <= valid);
                node.reports.len()
            }
        }
    }

    /// From PFAIL to FAIL, if most masters with slots say so; then everybody is told. Replicas do it
    /// too: the opinions are those of masters.
    fn fail_by_majority(&mut self, id: NodeId) {
        if !self
            .table
            .get(id)
            .is_some_and(|n| n.flags.has(Flags::PFAIL))
        {
            return;
        }
        let mine = usize::from(self.myself_node().votes());
        let agree = self.count_reports(id) + mine;
        if agree < self.table.size() / 2 + 1 {
            return;
        }
        self.log(
            Level::Notice,
            format!(
                "Marking node {} as failing (quorum reached).",
                self.named(id)
            ),
        );
        self.mark_failed(id);
        let to = self.outgoing(|_| true);
        let (header, body) = (self.header(), Body::Fail(id));
        self.send_all(&to, &Message { header, body });
    }

    pub(super) fn mark_failed(&mut self, id: NodeId) {
        let now = self.now.mono_ms;
        if let Some(node) = self.table.get_mut(id) {
            node.flags.set(Flags::PFAIL, false);
            node.flags.set(Flags::FAIL, true);
            node.fail_time = Some(now);
            self.unsaved = true;
            self.state_stale = true;
        }
    }

    /// A node says that another is down.
    pub(super) fn receive_fail(&mut self, sender: NodeId, about: NodeId) {
        let failed = self.table.get(about).map(|n| n.flags.has(Flags::FAIL));
        if about != self.table.me && failed == Some(false) {
            let (from, of) = (self.named(sender), self.named(about));
            let text = format!("FAIL message received from {from} about {of}");
            self.log(Level::Notice, text);
            self.mark_failed(about);
        }
    }

    /// A node has answered: PFAIL is over at once. FAIL too where nobody may have taken its slots
    /// over meanwhile; else after a time in which a successor would have shown itself.
    pub(super) fn alive(&mut self, id: NodeId) {
        let (now, grace) = (self.now.mono_ms, 2 * self.options.node_timeout_ms);
        let Some(node) = self.table.get_mut(id) else {
            return;
        };
        if !node.suspect() {
            return;
        }
        if node.flags.has(Flags::FAIL) {
            let failed_for = now.saturating_sub(node.fail_time.unwrap_or(0));
            if node.votes() && failed_for <= grace {
                return;
            }
            self.log(
                Level::Notice,
                format!(
                    "Clear FAIL state for node {}: it is reachable again.",
                    self.named(id)
                ),
            );
        }
        if let Some(node) = self.table.get_mut(id) {
            node.flags.set(Flags::PFAIL, false);
            node.flags.set(Flags::FAIL, false);
            node.fail_time = None;
        }
        self.state_stale = true;
        self.unsaved = true;
    }

    /// Ends every call: the state of the cluster, if something changed. C3: all slots are with nodes
    /// that have not failed, and most masters with slots are within reach.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.state_stale) {
            return;
        }
        let (mut covered, mut size, mut reachable) = (0, 0, 0);
        for node in self.table.iter() {
            if !node.flags.has(Flags::FAIL) {
                covered += node.slot_count;
            }
            if node.votes() {
                size += 1;
                reachable += usize::from(!node.suspect());
            }
        }
        let full = covered == usize::from(SLOT_COUNT);
        let ok = (full || !self.options.require_full_coverage) && reachable > size / 2;
        if ok != self.state_ok {
            self.state_ok = ok;
            let (level, word) = match ok {
                true => (Level::Notice, "ok"),
                false => (Level::Warning, "fail"),
            };
            self.log(level, format!("Cluster state changed: {word}"));
        }
    }
}
