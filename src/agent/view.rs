//! The view that CLUSTER's replies are rendered from.

use super::Agent;
use crate::cluster::view::{Health, LinkView, NodeView};
use crate::cluster::ClusterView;
use cluster_bus::bus::Node;

impl Agent {
    /// The cluster as it is now.
    pub fn view(&mut self) -> &ClusterView {
        if self.view_stale {
            self.view_stale = false;
            self.view = self.make_view();
        }
        &self.view
    }

    /// Something has changed that the view shows.
    pub fn touch_view(&mut self) {
        self.view_stale = true;
    }

    fn make_view(&self) -> ClusterView {
        let bus = &self.bus;
        let (sent, received) = (bus.stats().sent, bus.stats().received);
        let links = bus.links().filter_map(|link| {
            Some(LinkView {
                inbound: link.incoming(),
                node: link.node?,
                created: bus.unix_ms(Some(link.created_ms)),
                reads: true,
                writes: false,
                buffer_allocated: 0,
                buffer_used: 0,
            })
        });
        ClusterView {
            myself: bus.myself(),
            nodes: bus.nodes().map(|node| self.node_view(node)).collect(),
            ok: bus.state_ok() && !self.facts.without_quorum, // C3
            size: bus.size(),
            current_epoch: bus.current_epoch(),
            sent,
            received,
            links: links.collect(),
            ..ClusterView::default()
        }
    }

    fn node_view(&self, node: &Node) -> NodeView {
        let bus = &self.bus;
        let myself = node.id == bus.myself();
        NodeView {
            id: node.id,
            ip: node.ip.clone(),
            port: node.port,
            cport: node.cport,
            hostname: node.hostname.clone(),
            flags: node.flags,
            master: node.master,
            shard: bus.shard_of(node.id),
            ping_sent: bus.unix_ms(node.ping_sent),
            pong_received: bus.unix_ms(node.pong_received),
            config_epoch: node.config_epoch,
            connected: node.connected || myself,
            slots: node.slots.clone(),
            offset: node.offset,
            health: Health::of(node.flags, node.offset),
            failure_reports: bus.failure_reports(node.id) as u64,
        }
    }
}
