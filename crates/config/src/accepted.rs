//! Directives of Redis 7.4 that have no effect here, so that a Redis configuration still starts.
//!
//! `ACCEPTED` are stored and answered by CONFIG GET. `REFUSED` are those whose silent loss would
//! be unsafe: they take their default only. A directive that gets its effect moves to `table`.

use super::directive::Special;
use super::directive::{Directive, Kind};
use super::special;
use super::table::{int, size, INT_MAX, INT_MIN, LONG_MAX, PORT, PROTECTED_ACTION};
use super::value::Value;

const SNAPSHOTS: &str = "Redis's RDB saving: here every write is in the log, and a snapshot that can't be made stops none.";
const AOF: &str = "Redis's append only file: here every write is in the log, always.";
const REPLICATION: &str = "Redis's replication: here a shard is a Raft group.";
const LAZY: &str = "Large values are always freed off the path of commands.";
const DEFRAG: &str = "There is no active defragmentation.";
const ENCODING: &str = "Thresholds of encodings; the types they belong to come later.";
const EVICTION: &str = "There is no eviction and no memory limit yet.";
const LATER: &str = "The feature that reads it comes later.";
const SYSTEM: &str = "A setting of the process or of the machine that is left alone.";
const LOOP: &str = "The event loop has its own bounds.";
const TESTING: &str = "A hook of Redis's own tests.";
const CLUSTER: &str = "Redis's failover and replica migration: here Raft elects.";
const TLS: &str = "There is no TLS; nothing reads it.";

const NO_MAXMEMORY: &str =
    "Holdfast does not limit its memory yet and evicts nothing: the limit would not be kept";
const NO_MIN_REPLICAS: &str = "Holdfast does not count replicas before a write yet: an OK says that a majority of the shard has it on disk, and this would not change that";

const fn no(name: &'static str, why: &'static str) -> Directive {
    Directive::accepted(name, Kind::Bool, "no", why)
}
const fn yes(name: &'static str, why: &'static str) -> Directive {
    Directive::accepted(name, Kind::Bool, "yes", why)
}
const fn text(name: &'static str, default: &'static str, why: &'static str) -> Directive {
    Directive::accepted(name, Kind::Text, default, why)
}
const fn number(
    name: &'static str,
    min: i128,
    max: i128,
    default: &'static str,
    why: &'static str,
) -> Directive {
    Directive::accepted(name, int(min, max), default, why)
}
const fn bytes(
    name: &'static str,
    min: i128,
    max: i128,
    default: &'static str,
    why: &'static str,
) -> Directive {
    Directive::accepted(name, size(min, max), default, why)
}
const fn choice(
    name: &'static str,
    names: &'static [&'static str],
    default: &'static str,
    why: &'static str,
) -> Directive {
    Directive::accepted(name, Kind::Enum(names), default, why)
}
const fn special(
    name: &'static str,
    grammar: &'static Special,
    default: &'static str,
    why: &'static str,
) -> Directive {
    Directive::accepted(name, Kind::Special(grammar), default, why)
}

const UINT_MAX: i128 = u32::MAX as i128;
const ULONG_MAX: i128 = u64::MAX as i128;
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const FACILITIES: &[&str] = &[
    "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const PROPAGATION: &[&str] = &["ignore", "panic", "panic-on-replicas"];

#[rustfmt::skip] // one row, one line: it is read as a table
pub(super) static ACCEPTED: &[Directive] = &[
    yes("rdbchecksum", SNAPSHOTS).immutable(),
    no("rdb-del-sync-files", SNAPSHOTS),
    yes("rdb-save-incremental-fsync", SNAPSHOTS),
    yes("stop-writes-on-bgsave-error", SNAPSHOTS),
    choice("sanitize-dump-payload", &["no", "yes", "clients"], "no", LATER),

    no("appendonly", AOF),
    text("appendfilename", "appendonly.aof", AOF).immutable().check(append_file_name),
    no("no-appendfsync-on-rewrite", AOF),
    yes("aof-load-truncated", AOF),
    yes("aof-use-rdb-preamble", AOF),
    no("aof-timestamp-enabled", AOF),
    yes("aof-rewrite-incremental-fsync", AOF),
    no("aof-disable-auto-gc", AOF).hidden(),

    text("masteruser", "", REPLICATION).sensitive(),
    yes("replica-serve-stale-data", REPLICATION).alias("slave-serve-stale-data"),
    yes("replica-read-only", REPLICATION).alias("slave-read-only"),
    no("replica-lazy-flush", REPLICATION).alias("slave-lazy-flush"),
    yes("replica-ignore-maxmemory", REPLICATION).alias("slave-ignore-maxmemory"),
    no("replica-ignore-disk-write-errors", REPLICATION),
    yes("replica-announced", REPLICATION),
    text("replica-announce-ip", "", REPLICATION).alias("slave-announce-ip"),
    Directive::accepted("replica-announce-port", PORT, "0", REPLICATION).alias("slave-announce-port"),
    number("replica-priority", 0, INT_MAX, "100", REPLICATION).alias("slave-priority"),
    number("min-replicas-to-write", 0, INT_MAX, "0", REPLICATION).alias("min-slaves-to-write").fixed(NO_MIN_REPLICAS),
    number("min-replicas-max-lag", 0, INT_MAX, "10", REPLICATION).alias("min-slaves-max-lag"),
    yes("repl-diskless-sync", REPLICATION),
    number("repl-diskless-sync-delay", 0, INT_MAX, "5", REPLICATION),
    number("repl-diskless-sync-max-replicas", 0, INT_MAX, "0", REPLICATION),
    choice("repl-diskless-load", &["disabled", "on-empty-db", "swapdb"], "disabled", REPLICATION),
    no("repl-disable-tcp-nodelay", REPLICATION),
    number("repl-timeout", 1, INT_MAX, "60", REPLICATION),
    number("repl-ping-replica-period", 1, INT_MAX, "10", REPLICATION).alias("repl-ping-slave-period"),
    bytes("repl-backlog-size", 1, LONG_MAX, "1mb", REPLICATION),
    number("repl-backlog-ttl", 0, LONG_MAX, "3600", REPLICATION),
    choice("propagation-error-behavior", PROPAGATION, "ignore", REPLICATION),

    no("cluster-replica-no-failover", CLUSTER).alias("cluster-slave-no-failover"),
    number("cluster-replica-validity-factor", 0, INT_MAX, "10", CLUSTER).alias("cluster-slave-validity-factor"),
    number("cluster-migration-barrier", 0, INT_MAX, "1", CLUSTER),
    yes("cluster-allow-pubsubshard-when-down", LATER),
    bytes("cluster-link-sendbuf-limit", 0, ULONG_MAX, "0", LATER),
    Directive::accepted("cluster-announce-tls-port", PORT, "0", TLS),
    number("cluster-ping-interval", 0, LONG_MAX, "0", TESTING).hidden(),

    bytes("maxmemory", 0, ULONG_MAX, "0", EVICTION).fixed(NO_MAXMEMORY),
    choice("maxmemory-policy", POLICIES, "noeviction", EVICTION),
    number("maxmemory-samples", 1, 64, "5", EVICTION),
    number("maxmemory-eviction-tenacity", 0, 100, "10", EVICTION),
    Directive::accepted("maxmemory-clients", Kind::MemoryOrPercent { max: LONG_MAX }, "0", EVICTION),
    number("lfu-log-factor", 0, INT_MAX, "10", EVICTION),
    number("lfu-decay-time", 0, INT_MAX, "1", EVICTION),
    no("lazyfree-lazy-eviction", LAZY),
    no("lazyfree-lazy-expire", LAZY),
    no("lazyfree-lazy-server-del", LAZY),
    no("lazyfree-lazy-user-del", LAZY),
    no("lazyfree-lazy-user-flush", LAZY),
    no("activedefrag", DEFRAG),
    number("active-defrag-cycle-min", 1, 99, "1", DEFRAG),
    number("active-defrag-cycle-max", 1, 99, "25", DEFRAG),
    number("active-defrag-threshold-lower", 0, 1000, "10", DEFRAG),
    number("active-defrag-threshold-upper", 0, 1000, "100", DEFRAG),
    number("active-defrag-max-scan-fields", 1, LONG_MAX, "1000", DEFRAG),
    bytes("active-defrag-ignore-bytes", 1, LONG_MAX, "100mb", DEFRAG),

    number("list-compress-depth", 0, INT_MAX, "0", ENCODING),
    number("stream-node-max-entries", 0, LONG_MAX, "100", ENCODING),
    bytes("stream-node-max-bytes", 0, LONG_MAX, "4096", ENCODING),

    number("latency-monitor-threshold", 0, LONG_MAX, "0", LATER),
    number("slowlog-log-slower-than", -1, LONG_MAX, "10000", LATER),
    number("slowlog-max-len", 0, LONG_MAX, "128", LATER),
    number("acllog-max-len", 0, LONG_MAX, "128", LATER),
    choice("acl-pubsub-default", &["allchannels", "resetchannels"], "resetchannels", LATER),
    number("busy-reply-threshold", 0, LONG_MAX, "5000", LATER).alias("lua-time-limit"),
    number("tracking-table-max-keys", 0, LONG_MAX, "1000000", LATER),
    text("locale-collate", "", LATER),
    no("hide-user-data-from-log", "The log never holds keys or values."),
    Directive::accepted("enable-module-command", PROTECTED_ACTION, "no", "There are no modules.").immutable(),

    yes("activerehashing", LOOP),
    number("active-expire-effort", 1, 10, "1", LOOP),
    yes("dynamic-hz", LOOP),
    number("io-threads", 1, 128, "1", LOOP).immutable(),
    no("io-threads-do-reads", LOOP).immutable(),
    number("max-new-connections-per-cycle", 1, 1000, "10", LOOP),
    number("max-new-tls-connections-per-cycle", 1, 1000, "1", TLS),

    text("bind-source-addr", "", SYSTEM),
    number("socket-mark-id", 0, UINT_MAX, "0", SYSTEM).immutable(),
    text("server-cpulist", "", SYSTEM).alias("server_cpulist").immutable(),
    text("bio-cpulist", "", SYSTEM).alias("bio_cpulist").immutable(),
    text("aof-rewrite-cpulist", "", SYSTEM).alias("aof_rewrite_cpulist").immutable(),
    text("bgsave-cpulist", "", SYSTEM).alias("bgsave_cpulist").immutable(),
    special("oom-score-adj", &special::OOM_ADJUST, "no", SYSTEM),
    special("oom-score-adj-values", &special::OOM_SCORES, "0 200 800", SYSTEM).many(),
    yes("disable-thp", SYSTEM).immutable(),
    yes("jemalloc-bg-thread", SYSTEM),
    yes("set-proc-title", SYSTEM).immutable(),
    text("proc-title-template", "{title} {listen-addr} {server-mode}", SYSTEM).check(title_template),
    text("ignore-warnings", "", SYSTEM),
    no("syslog-enabled", "The log goes to a file or to standard output.").immutable(),
    text("syslog-ident", "redis", "The log goes to a file or to standard output.").immutable(),
    choice("syslog-facility", FACILITIES, "local0", "The log goes to a file or to standard output.").immutable(),
    yes("crash-log-enabled", "A crash is always logged."),
    yes("crash-memcheck-enabled", "There is no memory check after a crash."),
    no("use-exit-on-panic", TESTING).hidden(),
    number("watchdog-period", 0, INT_MAX, "0", TESTING).hidden(),
    number("rdb-key-save-delay", INT_MIN, INT_MAX, "0", TESTING).hidden(),
    number("key-load-delay", INT_MIN, INT_MAX, "0", TESTING).hidden(),
    number("loading-process-events-interval-bytes", 1024, INT_MAX, "2097152", TESTING).hidden(),

    number("tls-session-cache-size", 0, INT_MAX, "20480", TLS),
    number("tls-session-cache-timeout", 0, INT_MAX, "300", TLS),
    choice("tls-auth-clients", &["no", "yes", "optional"], "yes", TLS),
    no("tls-prefer-server-ciphers", TLS),
    yes("tls-session-caching", TLS),
    text("tls-cert-file", "", TLS),
    text("tls-key-file", "", TLS),
    text("tls-key-file-pass", "", TLS).sensitive(),
    text("tls-client-cert-file", "", TLS),
    text("tls-client-key-file", "", TLS),
    text("tls-client-key-file-pass", "", TLS).sensitive(),
    text("tls-dh-params-file", "", TLS),
    text("tls-ca-cert-file", "", TLS),
    text("tls-ca-cert-dir", "", TLS),
    text("tls-protocols", "", TLS),
    text("tls-ciphers", "", TLS),
    text("tls-ciphersuites", "", TLS),
];

/// The doc of these rows is the reason that the user is given.
pub(super) static REFUSED: &[Directive] = &[
    Directive::refused(
        "aclfile",
        Kind::Text,
        "",
        "Holdfast has no ACL files: starting without the users of that file would be unsafe",
    )
    .immutable(),
    Directive::refused(
        "replicaof",
        Kind::Special(&special::REPLICAOF),
        "",
        "Holdfast does not replicate from a Redis master: use CLUSTER REPLICATE",
    )
    .alias("slaveof")
    .immutable()
    .many(),
    Directive::refused(
        "tls-port",
        PORT,
        "0",
        "Holdfast has no TLS: clients that expect it could not connect safely",
    ),
    Directive::refused(
        "tls-cluster",
        Kind::Bool,
        "no",
        "Holdfast has no TLS: the cluster bus would be in clear text",
    ),
    Directive::refused(
        "tls-replication",
        Kind::Bool,
        "no",
        "Holdfast has no TLS: replication would be in clear text",
    ),
];

fn append_file_name(value: &Value) -> Result<(), String> {
    if value.as_text().is_empty() {
        return Err("appendfilename can't be empty".to_owned());
    }
    if value.as_text().contains(['/', '\\']) {
        return Err("appendfilename can't be a path, just a filename".to_owned());
    }
    Ok(())
}

/// Every `{name}` of the template must be one that Redis knows, and braces must pair.
fn title_template(value: &Value) -> Result<(), String> {
    const KNOWN: &[&str] = &[
        "title",
        "listen-addr",
        "server-mode",
        "port",
        "tls-port",
        "unixsocket",
        "config-file",
    ];
    let wrong = || Err("template format is invalid or contains unknown variables".to_owned());
    let mut rest = value.as_text();
    while let Some(open) = rest.find(['{', '}']) {
        let after = &rest[open + 1..];
        match (rest.as_bytes()[open], after.find('}')) {
            (b'{', Some(close)) if KNOWN.contains(&&after[..close]) => rest = &after[close + 1..],
            _ => return wrong(),
        }
    }
    Ok(())
}
