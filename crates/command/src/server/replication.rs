//! The shard as clients see it: ROLE, WAIT, and the role that HELLO and INFO report.
//!
//! Owns: how a group's status is told in Redis's words. Never: names a witness (clients don't know
//! that there are any), waits itself (WAIT hands a [`Block`] to the connection).

use super::super::api::{MemberKind, MemberStatus, RaftRole, RaftStatus};
use super::super::args::integer;
use super::super::blocking;
use super::super::env::{Block, BlockKind, Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::rows::rows;
use base::ids::{GroupId, Incarnation};
use resp::args::Args;
use resp::number::parse_i64;
use std::time::Duration;

const SLOWEST: &[&str] = &["request_policy:all_shards", "response_policy:agg_min"];

rows! { pub static ROWS:
    Server [] {
        "role" 1 [NOSCRIPT LOADING STALE FAST] @ADMIN @DANGEROUS "2.8.12" => role: "Tells the role of the server in its shard.";
    }
    Generic [CONNECTION] {
        "wait" 3 [BLOCKING] "3.0.0" => wait: "Waits until replicas have applied what this connection wrote." .tips(SLOWEST);
        "waitaof" 4 [BLOCKING] "7.2.0" => waitaof: "Waits until disks have what this connection wrote." .tips(SLOWEST);
    }
}

/// The history of a group's log, as Redis names a master's: 40 hex digits.
pub fn history(group: GroupId, incarnation: Incarnation) -> String {
    format!("{group:016x}{:024x}", incarnation.0)
}

/// Whether this node is its shard's master: by the record (S2), outside a cluster by leading or
/// being alone.
pub fn is_master(status: &RaftStatus) -> bool {
    let alone = || status.role == RaftRole::Leader || status.members.len() <= 1;
    status.master.unwrap_or_else(alone)
}

/// Where the node is that a replica follows, or will follow.
pub fn master_addr(status: &RaftStatus) -> Option<&str> {
    let joins = status.syncing_from.as_deref();
    let shown = joins.or(status.master_addr.as_deref());
    shown.or(status.leader_addr.as_deref())
}

/// How a replica stands to its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// No master is heard.
    Down,
    /// It gets the writes, or is on its way to them, and could not take over.
    Syncing,
    /// It gets the writes, and could take over.
    Up,
}

pub fn link(status: &RaftStatus) -> Link {
    match status.leader {
        _ if status.syncing_from.is_some() => Link::Syncing,
        None => Link::Down,
        // "Up" is what operators wait for before they stop a master: then a failover works.
        Some(_) if !status.electable || status.loading.is_some() || status.pulled.is_some() => {
            Link::Syncing
        }
        Some(_) => Link::Up,
    }
}

/// The other data members that are connected, as a master's replicas: (host, port, member).
pub fn replicas(status: &RaftStatus) -> Vec<(String, u16, &MemberStatus)> {
    let others = status
        .members
        .iter()
        .filter(|m| m.kind == MemberKind::Data && m.raft_id != status.raft_id && m.connected);
    others
        .map(|member| {
            let (host, port) = host_port(member.addr.as_deref());
            (host, port, member)
        })
        .collect()
}

/// Splits `host:port`; an unknown address is Redis's "?" and port 0.
pub fn host_port(addr: Option<&str>) -> (String, u16) {
    let split = addr.and_then(|addr| addr.rsplit_once(':'));
    match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), port),
        None => ("?".to_owned(), 0),
    }
}

fn role(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let status = env.server.raft_status();
    let mut reply = env.reply();
    if is_master(&status) {
        let replicas = replicas(&status);
        reply.array(3);
        reply.bulk(b"master");
        reply.int(status.commit as i64);
        reply.array(replicas.len());
        for (host, port, member) in replicas {
            reply.array(3);
            reply.bulk(host.as_bytes());
            reply.bulk_int(port.into());
            reply.bulk_int(member.applied as i64);
        }
    } else {
        let (host, port) = host_port(master_addr(&status));
        let state: &[u8] = match link(&status) {
            Link::Up => b"connected",
            Link::Syncing => b"sync",
            Link::Down => b"connect",
        };
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(host.as_bytes());
        reply.int(port.into());
        reply.bulk(state);
        reply.int(status.applied as i64);
    }
    DONE
}

/// C2: counts data replicas that have applied this connection's last write.
fn wait(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if !is_master(&env.server.raft_status()) {
        return Err(Error::WAIT_ON_REPLICA);
    }
    let wanted = parse_i64(&args[1]).ok_or(Error::NOT_AN_INTEGER)?;
    let timeout = patience(env, &args[2])?;
    let replicas = u64::try_from(wanted).unwrap_or(0);
    let acks = env.server.replica_acks(env.session.last_write);
    // Where nothing blocks the answer is how things are.
    if acks >= replicas || env.session.deny_blocking {
        env.reply().int(acks as i64);
        return DONE;
    }
    Ok(Flow::Block(Block {
        kind: BlockKind::Wait { replicas },
        timeout,
    }))
}

/// How long a client waits; none: for ever.
fn patience(env: &Env<'_>, text: &[u8]) -> Result<Option<Duration>, Error> {
    let timeout = parse_i64(text).ok_or(Error::NOT_AN_INTEGER_TIMEOUT)?;
    blocking::patience(env, timeout)
}

/// The log takes the place of the append-only file: it is always there.
fn waitaof(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let own = match integer(&args[1])? {
        0 => false,
        1 => true,
        _ => return Err(Error::not_between(0, 1)),
    };
    let replicas = u64::try_from(integer(&args[2])?).map_err(|_| Error::NOT_POSITIVE)?;
    let timeout = patience(env, &args[3])?;
    if !is_master(&env.server.raft_status()) {
        return Err(Error::WAITAOF_ON_REPLICA);
    }
    let (synced, others) = env.server.synced_acks(env.session.last_write);
    // Where nothing blocks the answer is how things are.
    if (synced >= own && others >= replicas) || env.session.deny_blocking {
        let mut reply = env.reply();
        reply.array(2);
        reply.int(i64::from(synced));
        reply.int(others as i64);
        return DONE;
    }
    Ok(Flow::Block(Block {
        kind: BlockKind::WaitAof { own, replicas },
        timeout,
    }))
}
