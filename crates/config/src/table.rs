//! The table of directives: this file has those with an effect, `accepted` has the others.
//!
//! Names, types, ranges and defaults of Redis's directives are those of Redis 7.4, except where a
//! row's doc says otherwise. Every row of this file is kept in a field of `Config`.

use super::accepted;
use super::directive::{Directive, Keep, Kind};
use super::special;
use super::value::{Field, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

pub(super) const INT_MIN: i128 = i32::MIN as i128;
pub(super) const INT_MAX: i128 = i32::MAX as i128;
pub(super) const LONG_MAX: i128 = i64::MAX as i128;
const UINT_MAX: i128 = u32::MAX as i128;
const MB: i128 = 1 << 20;

pub(super) const PROTECTED_ACTION: Kind = Kind::Enum(&["no", "yes", "local"]);
const END_FLAGS: &[&str] = &["default", "save", "nosave", "now", "force"];
pub(super) const PORT: Kind = Kind::Int { min: 0, max: 65535 };

pub(super) const fn int(min: i128, max: i128) -> Kind {
    Kind::Int { min, max }
}

pub(super) const fn size(min: i128, max: i128) -> Kind {
    Kind::Memory { min, max }
}

/// The field of `Config` that holds a directive's value.
macro_rules! field {
    ($($name:ident).+) => {
        Keep::Field {
            get: |c| c.$($name).+.to_value(),
            put: |c, v| c.$($name).+ = Field::from_value(v),
        }
    };
}

/// Every directive, sorted by name.
pub fn table() -> &'static [&'static Directive] {
    static TABLE: OnceLock<Vec<&'static Directive>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut rows: Vec<&'static Directive> = REAL
            .iter()
            .chain(OWN)
            .chain(accepted::ACCEPTED)
            .chain(accepted::REFUSED)
            .collect();
        rows.sort_by_key(|row| row.name);
        rows
    })
}

/// The position in `table()` of the directive with this name or alias, in any case.
pub(super) fn find(name: &str) -> Option<usize> {
    static NAMES: OnceLock<HashMap<&'static str, usize>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let row = |(i, d): (usize, &&'static Directive)| {
            std::iter::once((d.name, i)).chain(d.alias.map(|alias| (alias, i)))
        };
        table().iter().enumerate().flat_map(row).collect()
    });
    names.get(name.to_ascii_lowercase().as_str()).copied()
}

/// Redis's directives that do here what they do there.
static REAL: &[Directive] = &[
    Directive::real(
        "always-show-logo",
        Kind::Bool,
        "no",
        field!(always_show_logo),
        "Print the banner to the log even when it is not a terminal.",
    )
    .immutable(),
    Directive::real(
        "appenddirname",
        Kind::Text,
        "appendonlydir",
        field!(appenddirname),
        "Folder of the log under `dir`. When it is not given and cluster mode is on, it is named \
         after `cluster-config-file`, so that nodes can share one `dir`.",
    )
    .immutable()
    .check(check_appenddirname),
    Directive::real(
        "appendfsync",
        Kind::Enum(&["everysec", "always", "no"]),
        "always",
        field!(appendfsync),
        "When the log is synced. The default here is `always`; `everysec` and `no` apply only \
         while the shard has no second member.",
    ),
    Directive::real(
        "auto-aof-rewrite-min-size",
        size(0, LONG_MAX),
        "64mb",
        field!(auto_aof_rewrite_min_size),
        "A snapshot is made by itself, and the log trimmed, when the log behind the last one is as long as this, and \
         as `auto-aof-rewrite-percentage` says.",
    ),
    Directive::real(
        "auto-aof-rewrite-percentage",
        int(0, INT_MAX),
        "100",
        field!(auto_aof_rewrite_percentage),
        "How long the log behind the last snapshot must be for the next one, in percent of that one's file; 0: the \
         log's length never makes one.",
    ),
    Directive::real(
        "bind",
        Kind::Special(&special::BIND),
        "* -::*",
        field!(bind),
        "Addresses to listen on; a leading `-` makes one optional, `*` is every address.",
    )
    .many(),
    Directive::real(
        "client-output-buffer-limit",
        Kind::Special(&special::OUTPUT_LIMITS),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        field!(client_output_buffer_limit),
        "A client that does not read is closed when `hard` bytes that may leave wait for it, or `soft` \
         bytes for longer than `seconds`; 0 is no limit. Replies that wait for a commit don't count: \
         see `held-output-limit`. The class replica has no effect.",
    )
    .many(),
    Directive::real(
        "client-query-buffer-limit",
        size(MB, LONG_MAX),
        "1gb",
        field!(client_query_buffer_limit),
        "A client whose unparsed input grows beyond this is closed.",
    ),
    Directive::real(
        "cluster-allow-reads-when-down",
        Kind::Bool,
        "no",
        field!(cluster_allow_reads_when_down),
        "Serve reads while the cluster is down.",
    ),
    Directive::real(
        "cluster-allow-replica-migration",
        Kind::Bool,
        "yes",
        field!(cluster_allow_replica_migration),
        "A node whose shard has handed over its last slot becomes a replica of the shard that took it.",
    ),
    Directive::real(
        "cluster-announce-bus-port",
        PORT,
        "0",
        field!(cluster_announce_bus_port),
        "Bus port told to other nodes; 0 means the real one.",
    ),
    Directive::real(
        "cluster-announce-hostname",
        Kind::Text,
        "",
        field!(cluster_announce_hostname),
        "Host name told to other nodes and to clients.",
    )
    .check(check_hostname),
    Directive::real(
        "cluster-announce-human-nodename",
        Kind::Text,
        "",
        field!(cluster_announce_human_nodename),
        "Name of this node for people, told to other nodes.",
    )
    .check(check_nodename),
    Directive::real(
        "cluster-announce-ip",
        Kind::Text,
        "",
        field!(cluster_announce_ip),
        "Address told to other nodes; empty means the one they see.",
    )
    .check(check_announced_ip),
    Directive::real(
        "cluster-announce-port",
        PORT,
        "0",
        field!(cluster_announce_port),
        "Client port told to other nodes; 0 means the real one.",
    ),
    Directive::real(
        "cluster-config-file",
        Kind::Text,
        "nodes.conf",
        field!(cluster_config_file),
        "File in which this node keeps its view of the cluster.",
    )
    .immutable(),
    Directive::real(
        "cluster-enabled",
        Kind::Bool,
        "no",
        field!(cluster_enabled),
        "Run as a cluster node.",
    )
    .immutable(),
    Directive::real(
        "cluster-node-timeout",
        int(0, LONG_MAX),
        "15000",
        field!(cluster_node_timeout),
        "Milliseconds without an answer after which a node is flagged as failing. Failover does \
         not wait for it: see `cluster-raft-election-timeout`.",
    ),
    Directive::real(
        "cluster-port",
        PORT,
        "0",
        field!(cluster_port),
        "Bus port; 0 means the client port plus 10000.",
    )
    .immutable(),
    Directive::real(
        "cluster-preferred-endpoint-type",
        Kind::Enum(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        field!(cluster_preferred_endpoint_type),
        "What redirects, CLUSTER SLOTS and CLUSTER SHARDS tell clients to connect to: a node's address, \
         its host name (`?` where it has none), or nothing, so that they stay with the host they know.",
    ),
    Directive::real(
        "cluster-require-full-coverage",
        Kind::Bool,
        "yes",
        field!(cluster_require_full_coverage),
        "Serve nothing while some slot has no owner.",
    ),
    Directive::real(
        "daemonize",
        Kind::Bool,
        "no",
        field!(daemonize),
        "Run in the background. No pidfile is written unless `pidfile` names one.",
    )
    .immutable(),
    Directive::real(
        "databases",
        int(1, INT_MAX),
        "16",
        field!(databases),
        "Number of databases; always 1 in cluster mode.",
    )
    .immutable(),
    Directive::real(
        "dbfilename",
        Kind::Text,
        "dump.rdb",
        field!(dbfilename),
        "File in `dir` that SAVE, BGSAVE, `save` and SHUTDOWN SAVE copy their snapshot to; a new node begins with its keys.",
    )
    .protected()
    .check(check_base_name),
    Directive::real(
        "dir",
        Kind::Text,
        ".",
        field!(dir),
        "Working folder, which holds the log's folder and the copy of the last snapshot. It can't change while the server \
         runs.",
    )
    .protected(),
    Directive::real(
        "enable-debug-command",
        PROTECTED_ACTION,
        "no",
        field!(enable_debug_command),
        "Who may use DEBUG: nobody, everybody, or clients on this host.",
    )
    .immutable(),
    Directive::real(
        "enable-protected-configs",
        PROTECTED_ACTION,
        "no",
        field!(enable_protected_configs),
        "Who may CONFIG SET protected directives.",
    )
    .immutable(),
    Directive::real(
        "hash-max-listpack-entries",
        int(0, LONG_MAX),
        "512",
        field!(containers.hash_entries),
        "Fields of a hash that is kept as a listpack.",
    )
    .alias("hash-max-ziplist-entries"),
    Directive::real(
        "hash-max-listpack-value",
        size(0, LONG_MAX),
        "64",
        field!(containers.hash_value),
        "Longest field or value of a hash that is kept as a listpack.",
    )
    .alias("hash-max-ziplist-value"),
    Directive::real(
        "list-max-listpack-size",
        int(INT_MIN, INT_MAX),
        "-2",
        field!(containers.list_size),
        "Elements of a list that is kept as a listpack, and of each node of a longer one; -1 to -5: so many that they have 4 to 64 kb.",
    )
    .alias("list-max-ziplist-size"),
    Directive::real(
        "set-max-intset-entries",
        int(0, LONG_MAX),
        "512",
        field!(containers.set_ints),
        "Members of a set of integers that is kept as an intset.",
    ),
    Directive::real(
        "set-max-listpack-entries",
        int(0, LONG_MAX),
        "128",
        field!(containers.set_entries),
        "Members of a set that is kept as a listpack.",
    ),
    Directive::real(
        "set-max-listpack-value",
        int(0, LONG_MAX),
        "64",
        field!(containers.set_value),
        "Longest member of a set that is kept as a listpack.",
    ),
    Directive::real(
        "zset-max-listpack-entries",
        int(0, LONG_MAX),
        "128",
        field!(containers.zset_entries),
        "Members of a sorted set that is kept as a listpack.",
    )
    .alias("zset-max-ziplist-entries"),
    Directive::real(
        "zset-max-listpack-value",
        size(0, LONG_MAX),
        "64",
        field!(containers.zset_value),
        "Longest member of a sorted set that is kept as a listpack.",
    )
    .alias("zset-max-ziplist-value"),
    Directive::real(
        "hll-sparse-max-bytes",
        size(0, LONG_MAX),
        "3000",
        field!(hll_sparse_max_bytes),
        "Longest HyperLogLog that is kept in the sparse encoding, with its header.",
    ),
    Directive::real(
        "hz",
        int(0, INT_MAX),
        "10",
        field!(hz),
        "Rounds of background work per second, held between 1 and 500.",
    ),
    Directive::real(
        "latency-tracking",
        Kind::Bool,
        "yes",
        field!(latency_tracking),
        "Keep how long commands take, for LATENCY HISTOGRAM and INFO latencystats. Once a command \
         has been called 64 times, one call in 64 is timed and stands for all of them.",
    ),
    Directive::real(
        "latency-tracking-info-percentiles",
        Kind::Special(&special::PERCENTILES),
        "50 99 99.9",
        field!(latency_tracking_info_percentiles),
        "The percentiles that INFO latencystats shows.",
    )
    .many(),
    Directive::real(
        "logfile",
        Kind::Text,
        "",
        field!(logfile),
        "File that the log is appended to; empty means standard output.",
    )
    .immutable(),
    Directive::real(
        "loglevel",
        Kind::Enum(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        field!(loglevel),
        "Least important messages that are logged.",
    ),
    Directive::real(
        "masterauth",
        Kind::Text,
        "",
        field!(masterauth),
        "What this node proves to know to other nodes: it must be their `requirepass`. Empty: its own `requirepass`. Holds for links that begin afterwards.",
    )
    .sensitive(),
    Directive::real(
        "maxclients",
        int(1, UINT_MAX),
        "10000",
        field!(maxclients),
        "Connections beyond this number are refused.",
    ),
    Directive::real(
        "notify-keyspace-events",
        Kind::Special(&special::EVENTS),
        "",
        field!(notify_keyspace_events),
        "Which events of keys clients can listen to: K and E for channels by key and by event, then letters of \
         classes. The master alone tells them, when what they tell of has committed.",
    ),
    Directive::real(
        "pidfile",
        Kind::Text,
        "",
        field!(pidfile),
        "File that the process id is written to; removed at a clean end.",
    )
    .immutable(),
    Directive::real(
        "port",
        PORT,
        "6379",
        field!(port),
        "Client port; 0 means none: then a `unixsocket` must be given.",
    ),
    Directive::real(
        "protected-mode",
        Kind::Bool,
        "yes",
        field!(protected_mode),
        "Without a password, serve only clients on this host.",
    ),
    Directive::real(
        "proto-max-bulk-len",
        size(MB, LONG_MAX),
        "512mb",
        field!(proto_max_bulk_len),
        "Longest single argument, and longest string value.",
    ),
    Directive::real(
        "rdbcompression",
        Kind::Bool,
        "yes",
        field!(rdbcompression),
        "DUMP and snapshots compress strings longer than 20 bytes.",
    ),
    Directive::real(
        "requirepass",
        Kind::Text,
        "",
        field!(requirepass),
        "Password of the default user; empty means none.",
    )
    .sensitive(),
    Directive::real(
        "save",
        Kind::Special(&special::SAVE),
        "",
        field!(save),
        "A snapshot is made by itself when the last one is so many seconds old and there were so many changes since. \
         The default is none: every write is in the log.",
    )
    .many(),
    Directive::real(
        "shutdown-on-sigint",
        Kind::Flags(END_FLAGS),
        "default",
        field!(shutdown_on_sigint),
        "How SIGINT ends the server, as SHUTDOWN's options do.",
    )
    .check(save_and_nosave),
    Directive::real(
        "shutdown-on-sigterm",
        Kind::Flags(END_FLAGS),
        "default",
        field!(shutdown_on_sigterm),
        "How SIGTERM ends the server, as SHUTDOWN's options do.",
    )
    .check(save_and_nosave),
    Directive::real(
        "shutdown-timeout",
        int(0, INT_MAX),
        "10",
        field!(shutdown_timeout),
        "Seconds that a shutdown waits for the shard before it ends anyway.",
    ),
    Directive::real(
        "supervised",
        Kind::Enum(&["upstart", "systemd", "auto", "no"]),
        "no",
        field!(supervised),
        "Tell systemd (or upstart) when the server is ready; implies no daemonize.",
    )
    .immutable(),
    Directive::real(
        "tcp-backlog",
        int(0, INT_MAX),
        "511",
        field!(tcp_backlog),
        "Length of the queue of connections waiting to be accepted.",
    )
    .immutable(),
    Directive::real(
        "tcp-keepalive",
        int(0, INT_MAX),
        "300",
        field!(tcp_keepalive),
        "Seconds between probes of an idle connection's peer; 0 means none.",
    ),
    Directive::real(
        "timeout",
        int(0, INT_MAX),
        "0",
        field!(timeout),
        "Close a client that was idle for this many seconds; 0 means never.",
    ),
    Directive::real(
        "unixsocket",
        Kind::Text,
        "",
        field!(unixsocket),
        "Path of a Unix socket to listen on as well. A socket that is there already is replaced; the \
         file is removed at a clean end.",
    )
    .immutable()
    .check(check_unixsocket),
    Directive::real(
        "unixsocketperm",
        Kind::Octal { min: 0, max: 0o777 },
        "0",
        field!(unixsocketperm),
        "Permissions of that socket's file; 0 means those that the umask leaves.",
    )
    .immutable(),
];

/// Directives that Redis does not have.
static OWN: &[Directive] = &[
    Directive::own(
        "cluster-outcome-timeout",
        int(1, INT_MAX),
        "5000",
        field!(cluster_outcome_timeout),
        "Milliseconds that a write waits for its commit before its client is told that the \
         outcome is unknown.",
    ),
    Directive::own(
        "cluster-raft-election-timeout",
        int(50, 60_000),
        "1000",
        field!(cluster_raft_election_timeout),
        "Milliseconds without a leader after which a shard elects another. Leases depend on it: \
         it must be the same on all members of a shard.",
    )
    .immutable(),
    Directive::own(
        "cluster-migrate-ahead",
        Kind::Bool,
        "no",
        field!(cluster_migrate_ahead),
        "MIGRATE with KEYS, from a slot that migrates, sends more keys of the slot at once, up to 256 KiB. Slots move \
         faster; a client can't tell which keys went.",
    ),
    Directive::own(
        "cluster-raft-witness",
        Kind::Bool,
        "yes",
        field!(cluster_raft_witness),
        "Give a shard with an even number of data members a witness.",
    ),
    Directive::own(
        "cluster-feature-bits",
        int(0, 7),
        "7",
        field!(cluster_feature_bits),
        "What this node says that its build can do: 0 plays a node of a version before slots could move, 1 one of a \
         version before logs had an end, 3 one of a version that had strings alone.",
    )
    .hidden(),
    Directive::own(
        "held-output-limit",
        size(MB, LONG_MAX),
        "64mb",
        field!(held_output_limit),
        "Bytes of replies that may wait for a commit; beyond it reading from clients pauses.",
    ),
    Directive::own(
        "log-segment-size",
        size(MB, 1 << 30),
        "16mb",
        field!(log_segment_size),
        "Size of the log's preallocated segments.",
    )
    .immutable(),
    Directive::own(
        "repl-snapshot-rate",
        size(0, LONG_MAX),
        "0",
        field!(repl_snapshot_rate),
        "Bytes a second at which this node gives states to members that need one, all together; 0: no limit, else at \
         least 1mb.",
    )
    .check(check_snapshot_rate),
    Directive::own(
        "uncommitted-tail-limit",
        size(MB, LONG_MAX),
        "64mb",
        field!(uncommitted_tail_limit),
        "Bytes of executed writes that may wait for a commit; beyond it writes pause.",
    ),
];

/// What the kernel takes, without the byte that ends it.
fn check_unixsocket(value: &Value) -> Result<(), String> {
    const ROOM: usize = 108;
    match value.as_text().len() {
        n if n >= ROOM => Err(format!(
            "unix socket path too long ({n}), must be under {ROOM}"
        )),
        _ => Ok(()),
    }
}

fn check_appenddirname(value: &Value) -> Result<(), String> {
    let name = value.as_text();
    if name.is_empty() {
        return Err("appenddirname can't be empty".to_owned());
    }
    if name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err("appenddirname can't be a path, just a dirname".to_owned());
    }
    Ok(())
}

fn check_base_name(value: &Value) -> Result<(), String> {
    if value.as_text().contains(['/', '\\']) {
        return Err("dbfilename can't be a path, just a filename".to_owned());
    }
    Ok(())
}

fn save_and_nosave(value: &Value) -> Result<(), String> {
    let has = |name: &str| value.as_words().iter().any(|w| w == name);
    if has("save") && has("nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    Ok(())
}

/// P15: a transfer that makes no progress for a while is given up.
fn check_snapshot_rate(value: &Value) -> Result<(), String> {
    match value.as_int() {
        1..MB => Err("repl-snapshot-rate must be 0 or at least 1mb".to_owned()),
        _ => Ok(()),
    }
}

fn check_hostname(value: &Value) -> Result<(), String> {
    let name = value.as_text();
    if name.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".to_owned());
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    {
        return Err(
            "Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned(),
        );
    }
    Ok(())
}

/// What Redis refuses, and control characters: the name is for people's eyes.
fn check_nodename(value: &Value) -> Result<(), String> {
    let breaks = |c: char| "!#$%&()*+:;<>?@[]^{|}~".contains(c) || c.is_control();
    if value.as_text().contains(breaks) || value.as_text().len() >= 256 {
        return Err("Announced human node name contained invalid character".to_owned());
    }
    Ok(())
}

/// The text goes to other nodes as the address to connect to: anything but an address would make
/// them look it up as a name, and Redis's nodes do that in their main thread.
fn check_announced_ip(value: &Value) -> Result<(), String> {
    let text = value.as_text();
    if text.is_empty() || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    Err(
        "cluster-announce-ip must be an IP address (for names: cluster-announce-hostname)"
            .to_owned(),
    )
}
