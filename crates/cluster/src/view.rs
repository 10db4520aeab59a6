//! The view that CLUSTER's replies are rendered from.

use super::introduction::Introductions;
use cluster_bus::bus::{Bus, Node, NodeRole};
use topology::view::{Health, LinkView, NodeView};
use topology::{ClusterView, PreferredEndpoint};

/// The view, made when it is asked for and something has changed.
#[derive(Debug, Default)]
pub(super) struct View {
    view: Option<ClusterView>,
}

impl View {
    /// The cluster as it is now. `quorum`: the own shard has a leader with one (C3).
    pub fn of(
        &mut self,
        bus: &Bus,
        introductions: &Introductions,
        quorum: bool,
        preferred: PreferredEndpoint,
    ) -> &ClusterView {
        self.view.get_or_insert_with(|| {
            let mut view = ClusterView {
                preferred,
                migrating: bus.self_state().migrating.clone(),
                importing: bus.self_state().importing.clone(),
                ..make(bus, introductions, quorum)
            };
            show_departed(bus, &mut view);
            view
        })
    }

    /// Something has changed that the view shows.
    pub fn touch(&mut self) {
        self.view = None;
    }
}

/// M29: until the other shard has said that it has a slot which was handed over, the slot stands on the line
/// of this master, as migrating: an operator's tool that reads own lines only would think it nobody's, and
/// give it to a third shard.
fn show_departed(bus: &Bus, view: &mut ClusterView) {
    let me = bus.self_state();
    if me.role != NodeRole::Master || me.given.is_empty() {
        return;
    }
    for node in &mut view.nodes {
        for slot in me.given.keys() {
            match node.id == view.myself {
                true => node.slots.insert(*slot),
                false => node.slots.remove(*slot),
            };
        }
    }
    let given = me.given.iter().map(|(slot, node)| (*slot, *node));
    view.migrating.extend(given);
    view.migrating.sort_unstable();
}

fn make(bus: &Bus, introductions: &Introductions, quorum: bool) -> ClusterView {
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
        nodes: bus
            .nodes()
            .map(|node| node_view(bus, introductions, node))
            .collect(),
        ok: bus.state_ok() && quorum,
        size: bus.size(),
        current_epoch: bus.current_epoch(),
        sent,
        received,
        links: links.collect(),
        ..ClusterView::default()
    }
}

fn node_view(bus: &Bus, introductions: &Introductions, node: &Node) -> NodeView {
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
        said: introductions.said_shard(node.id),
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
