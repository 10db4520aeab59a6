//! The nodes of the cluster: NODES, REPLICAS, SLOTS, SHARDS, LINKS and the ids.
//!
//! Owns: the shapes of these replies. Never: changes anything; shows only what the view says.

use super::super::env::{Done, Env, Serving};
use super::super::error::Error;
use super::shared::{find_node, show};
use cluster_bus::nodes_conf::{Form, NodeLine};
use cluster_bus::{NodeId, ShardId};
use resp::args::Args;
use resp::encode::Reply;
use topology::{ClusterView, Health, LinkView, NodeView, PreferredEndpoint};

pub fn myid(env: &mut Env<'_>, _: Args<'_>) -> Done {
    show(env, |view, reply| {
        reply.bulk(&view.myself.to_hex());
        Ok(())
    })
}

pub fn myshardid(env: &mut Env<'_>, _: Args<'_>) -> Done {
    show(env, |view, reply| {
        let me = view.me();
        reply.bulk(&me.shard.unwrap_or(ShardId(me.id.0)).to_hex());
        Ok(())
    })
}

pub fn count_failure_reports(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, |view, reply| {
        reply.int(find_node(view, &args[2])?.failure_reports as i64);
        Ok(())
    })
}

// ---- NODES, REPLICAS ---------------------------------------------------------------------------

pub fn nodes(env: &mut Env<'_>, _: Args<'_>) -> Done {
    show(env, |view, reply| {
        let mut text = String::new();
        for node in &view.nodes {
            text.push_str(&line(view, node));
            text.push('\n');
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

pub fn replicas(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, |view, reply| {
        let master = find_node(view, &args[2])?;
        if master.is_slave() {
            return Err(Error::NODE_NOT_A_MASTER);
        }
        reply.array(view.replicas_of(master.id).count());
        for replica in view.replicas_of(master.id) {
            reply.bulk(line(view, replica).as_bytes());
        }
        Ok(())
    })
}

/// The line of one node, without its line end. Marks of slots that move are shown of this node alone.
fn line(view: &ClusterView, node: &NodeView) -> String {
    let is_me = node.id == view.myself;
    let marks = |marks: &[(u16, NodeId)]| if is_me { marks.to_vec() } else { Vec::new() };
    let line = NodeLine {
        id: node.id,
        ip: node.ip.clone(),
        port: node.port,
        cport: node.cport,
        hostname: node.hostname.clone(),
        flags: node.flags,
        master: node.master,
        ping_sent_ms: node.ping_sent,
        pong_received_ms: node.pong_received,
        config_epoch: view.epoch_of(node),
        connected: node.connected || is_me,
        slots: node.slots.clone(),
        migrating: marks(&view.migrating),
        importing: marks(&view.importing),
        ..NodeLine::default()
    };
    line.line(Form::Reply)
}

// ---- SLOTS -------------------------------------------------------------------------------------

pub fn slots(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let loads = loads(env);
    show(env, |view, reply| {
        let ranges = view.ranges();
        reply.array(ranges.len());
        for (first, last, owner) in ranges {
            let online = |node: &&NodeView| health(view, node, loads) == Health::Online;
            let replicas: Vec<&NodeView> = view.replicas_of(owner.id).filter(online).collect();
            reply.array(3 + replicas.len());
            reply.int(first.into());
            reply.int(last.into());
            write_endpoint(reply, view, owner);
            for replica in replicas {
                write_endpoint(reply, view, replica);
            }
        }
        Ok(())
    })
}

/// Endpoint, port, id, and a map with what else is known of the node's address.
fn write_endpoint(reply: &mut Reply<'_>, view: &ClusterView, node: &NodeView) {
    reply.array(4);
    match view.preferred.host(&node.ip, &node.hostname) {
        Some(host) => reply.bulk(host.as_bytes()),
        None => reply.null(),
    }
    reply.int(node.port.into());
    reply.bulk(&node.id.to_hex());
    let ip = view.preferred != PreferredEndpoint::Ip;
    let hostname = view.preferred != PreferredEndpoint::Hostname && !node.hostname.is_empty();
    reply.map(usize::from(ip) + usize::from(hostname));
    if ip {
        pair(reply, "ip", node.ip.as_bytes());
    }
    if hostname {
        pair(reply, "hostname", node.hostname.as_bytes());
    }
}

fn pair(reply: &mut Reply<'_>, name: &str, value: &[u8]) {
    reply.bulk(name.as_bytes());
    reply.bulk(value);
}

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.int(i64::try_from(value).unwrap_or(i64::MAX));
}

// ---- SHARDS ------------------------------------------------------------------------------------

pub fn shards(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let loads = loads(env);
    show(env, |view, reply| {
        let shards = view.shards();
        reply.array(shards.len());
        for nodes in shards {
            reply.map(2);
            reply.bulk(b"slots");
            // The master is the first: only it has slots.
            let ranges = nodes.first().map_or(Vec::new(), |n| n.slots.ranges());
            reply.array(2 * ranges.len());
            for (first, last) in ranges {
                reply.int(first.into());
                reply.int(last.into());
            }
            reply.bulk(b"nodes");
            reply.array(nodes.len());
            for node in nodes {
                write_details(reply, view, node, loads);
            }
        }
        Ok(())
    })
}

fn loads(env: &Env<'_>) -> bool {
    matches!(env.serving, Serving::Loading { .. })
}

/// `loads`: this node does.
fn health(view: &ClusterView, node: &NodeView, loads: bool) -> Health {
    match node.health {
        Health::Online if loads && node.id == view.myself => Health::Loading,
        health => health,
    }
}

fn write_details(reply: &mut Reply<'_>, view: &ClusterView, node: &NodeView, loads: bool) {
    let (port, hostname) = (node.port != 0, !node.hostname.is_empty());
    reply.map(6 + usize::from(port) + usize::from(hostname));
    pair(reply, "id", &node.id.to_hex());
    if port {
        number(reply, "port", node.port.into());
    }
    pair(reply, "ip", node.ip.as_bytes());
    let endpoint = view.preferred.host(&node.ip, &node.hostname);
    pair(reply, "endpoint", endpoint.unwrap_or_default().as_bytes());
    if hostname {
        pair(reply, "hostname", node.hostname.as_bytes());
    }
    let role: &[u8] = if node.is_slave() {
        b"replica"
    } else {
        b"master"
    };
    pair(reply, "role", role);
    number(reply, "replication-offset", node.offset);
    let health = health(view, node, loads);
    pair(reply, "health", health.name().as_bytes());
}

// ---- LINKS -------------------------------------------------------------------------------------

pub fn links(env: &mut Env<'_>, _: Args<'_>) -> Done {
    show(env, |view, reply| {
        reply.array(view.links.len());
        view.links.iter().for_each(|link| write_link(reply, link));
        Ok(())
    })
}

fn write_link(reply: &mut Reply<'_>, link: &LinkView) {
    reply.map(6);
    let direction: &[u8] = if link.inbound { b"from" } else { b"to" };
    pair(reply, "direction", direction);
    pair(reply, "node", &link.node.to_hex());
    reply.bulk(b"create-time");
    reply.int(link.created);
    let events: &[u8] = match (link.reads, link.writes) {
        (true, true) => b"rw",
        (true, false) => b"r",
        (false, true) => b"w",
        (false, false) => b"",
    };
    pair(reply, "events", events);
    number(reply, "send-buffer-allocated", link.buffer_allocated);
    number(reply, "send-buffer-used", link.buffer_used);
}
