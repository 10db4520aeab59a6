//! SYNC, PSYNC and REPLCONF: a program gets the state as a file, by the first steps of Redis's replication.
//!
//! Owns: what is refused, in Redis's words, and what a client says of itself as a replica. Never: makes or sends
//! a file (the host does). Invariants (P26): the file's snapshot begins after the command; nothing is ever continued,
//! since no commands are streamed, so the connection ends behind the file.

use super::super::api::RaftStatus;
use super::super::env::{Block, BlockKind, Done, Download, Env, Flow, Serving, DONE};
use super::super::error::Error;
use super::super::rows::rows;
use super::replication::{history, is_master};
use config::words;
use resp::args::Args;
use resp::number::parse_i64;

rows! { pub static ROWS: Server [] {
    "psync" -3 [NO_ASYNC_LOADING ADMIN NO_MULTI NOSCRIPT] "2.8.0" => psync: "Sends the state as a file, with the place in the log where it ends.";
    "replconf" -1 [ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY] "3.0.0" => replconf: "Says what kind of replica is about to say SYNC.";
    "sync" 1 [NO_ASYNC_LOADING ADMIN NO_MULTI NOSCRIPT] "1.0.0" => sync: "Sends the state as a file.";
}}

/// Redis's limit of a host's name.
const HOST_MAX: usize = 256;

fn sync(env: &mut Env<'_>, _: Args<'_>) -> Done {
    download(env, None)
}

fn psync(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let fails_over = args.get(3);
    if fails_over.is_some_and(|word| word.eq_ignore_ascii_case(b"failover")) {
        // A shard's members elect: no other program's word makes a master.
        return Err(match is_master(&env.server.raft_status()) {
            true => Error::PSYNC_FAILOVER_AT_MASTER,
            false => Error::PSYNC_FAILOVER_HISTORY,
        });
    }
    download(env, Some((&args[1], &args[2])))
}

/// Whether this node has a state that its shard stands behind.
fn is_connected(status: &RaftStatus) -> bool {
    let follows = status.leader.is_some() && status.syncing_from.is_none();
    is_master(status) || follows
}

/// `from`: the history and the place in it that PSYNC asks to go on from.
fn download(env: &mut Env<'_>, from: Option<(&[u8], &[u8])>) -> Done {
    // A new leader has not applied all that clients were told of.
    if env.serving == Serving::Hold {
        return Ok(Flow::Hold);
    }
    let status = env.server.raft_status();
    if !is_connected(&status) {
        return Err(Error::SYNC_WITHOUT_MASTER);
    }
    // What the client reads next must be the file.
    if env.server.own_io().output_bytes > 0 {
        return Err(Error::SYNC_BEHIND_OUTPUT);
    }
    let claims = env.session.claims();
    if claims.without_keys && !claims.takes_eof {
        return Err(Error::FILTER_NEEDS_EOF);
    }
    let without_keys = claims.without_keys;
    if let Some((_, offset)) = from {
        parse_i64(offset).ok_or(Error::NOT_AN_INTEGER)?;
    }
    let replica = real_replica(env).filter(|_| !without_keys);
    if let Some(replica) = &replica {
        if !env.server.admit_replica(replica) {
            return Err(Error::SYNC_AGAIN);
        }
    }
    let continues = from.is_some_and(|(history, _)| history != b"?");
    let stats = env.server.stats_mut();
    stats.downloads += 1;
    stats.failed_continuations += u64::from(continues);
    let number = (!without_keys).then(|| env.server.order_download());
    env.session.claims().downloads = true;
    let download = Download {
        number,
        history: from.map(|_| history(status.group, status.incarnation)),
        replica,
    };
    Ok(Flow::Block(Block {
        kind: BlockKind::Download(download),
        timeout: None,
    }))
}

/// The name of a replica that wants to be streamed to, as far as its word goes.
fn real_replica(env: &Env<'_>) -> Option<String> {
    let session = &*env.session;
    let claims = session.replica.as_ref().filter(|c| !c.rdb_only)?;
    let port = claims.listening_port?;
    let peer = || session.endpoint.addr.rsplit_once(':').map(|(ip, _)| ip);
    let said = String::from_utf8_lossy(&claims.ip);
    let host = match claims.ip.is_empty() {
        true => peer().unwrap_or_default(),
        false => &said,
    };
    Some(format!("{host}:{port}"))
}

fn replconf(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() % 2 == 0 {
        return Err(Error::SYNTAX);
    }
    for at in (1..args.len()).step_by(2) {
        let (name, value) = (&args[at], &args[at + 1]);
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        // A replica says how far it is, or is asked: neither is ever answered.
        if is("ack") || is("getack") {
            return DONE;
        }
        let claims = env.session.claims();
        if is("listening-port") {
            claims.listening_port = Some(parse_i64(value).ok_or(Error::NOT_AN_INTEGER)?);
        } else if is("ip-address") {
            if value.len() >= HOST_MAX {
                return Err(Error::replica_address_too_long(value.len()));
            }
            claims.ip = value.to_vec();
        } else if is("capa") {
            // Others are for what is not done here.
            claims.takes_eof |= value.eq_ignore_ascii_case(b"eof");
        } else if is("rdb-only") {
            claims.rdb_only = match parse_i64(value).ok_or(Error::NOT_AN_INTEGER)? {
                0 => false,
                1 => true,
                _ => return Err(Error::not_between(0, 1)),
            };
        } else if is("rdb-filter-only") {
            let filters = words::split(value).ok_or(Error::FILTER_QUOTES)?;
            // A filter names what is wanted; keys are no name, and functions are not there yet.
            claims.without_keys = true;
            let is_functions = |filter: &&Vec<u8>| filter.eq_ignore_ascii_case(b"functions");
            if let Some(unknown) = filters.iter().find(|filter| !is_functions(filter)) {
                return Err(Error::unknown_filter(unknown));
            }
        } else if !is("version") {
            return Err(Error::replconf_unknown(name));
        }
    }
    env.reply().ok();
    DONE
}
