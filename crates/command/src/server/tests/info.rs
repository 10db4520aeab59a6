//! ROLE and INFO.

use super::*;
use base::ids::{GroupId, RaftId};

fn group_of_three() -> RaftStatus {
    let member = |raft_id, kind, addr: &str| MemberStatus {
        raft_id,
        node: Default::default(),
        kind,
        voter: true,
        addr: Some(addr.to_owned()),
        matched: 90,
        applied: 80 + raft_id.0,
        heard_ms: Some(1500),
        connected: true,
    };
    RaftStatus {
        group: GroupId(0xabc),
        raft_id: RaftId(1),
        role: RaftRole::Leader,
        leader: Some(RaftId(1)),
        leader_addr: Some("10.0.0.1:7000".to_owned()),
        syncing_from: None,
        term: 4,
        commit: 95,
        applied: 94,
        last: 96,
        lease_valid: true,
        quorum: true,
        electable: true,
        leader_heard_ms: Some(2100),
        members: vec![
            member(RaftId(1), MemberKind::Data, "10.0.0.1:7000"),
            member(RaftId(2), MemberKind::Data, "[::1]:7001"),
            member(RaftId(3), MemberKind::Witness, "10.0.0.3:7002"),
        ],
        ha: true,
        ..RaftStatus::default()
    }
}

/// Clients are told of replicas, and never of a witness.
#[test]
fn roles_are_told_in_redis_words() {
    let mut c = Client::new();
    c.host.raft = group_of_three();
    assert_eq!(
        c.reply("ROLE"),
        "*3\\r\\n$6\\r\\nmaster\\r\\n:95\\r\\n*1\\r\\n*3\\r\\n$3\\r\\n::1\\r\\n$4\\r\\n7001\\r\\n$2\\r\\n82\\r\\n"
    );
    let info = c.raw("INFO replication");
    assert!(
        info.contains("role:master\r\nconnected_slaves:1\r\n"),
        "{info}"
    );
    assert!(
        info.contains("slave0:ip=::1,port=7001,state=online,offset=82,lag=1\r\n"),
        "{info}"
    );
    c.host.raft.role = RaftRole::Follower;
    c.host.raft.raft_id = RaftId(2);
    assert_eq!(
        c.reply("ROLE"),
        "*5\\r\\n$5\\r\\nslave\\r\\n$8\\r\\n10.0.0.1\\r\\n:7000\\r\\n$9\\r\\nconnected\\r\\n:94\\r\\n"
    );
    let info = c.raw("INFO replication");
    assert!(
        info.contains("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:7000\r\n"),
        "{info}"
    );
    assert!(info.contains("master_link_status:up\r\n"), "{info}");
    assert!(info.contains("master_last_io_seconds_ago:2\r\n"), "{info}");
    c.host.raft.syncing_from = Some("10.0.0.2:7001".to_owned());
    assert_eq!(
        c.reply("ROLE"),
        "*5\\r\\n$5\\r\\nslave\\r\\n$8\\r\\n10.0.0.2\\r\\n:7001\\r\\n$4\\r\\nsync\\r\\n:94\\r\\n"
    );
    let info = c.raw("INFO replication");
    assert!(
        info.contains("master_host:10.0.0.2\r\nmaster_port:7001\r\nmaster_link_status:down\r\n"),
        "{info}"
    );
    assert!(info.contains("master_sync_in_progress:1\r\n"), "{info}");
    c.host.raft.syncing_from = None;
    c.host.raft.leader = None;
    c.host.raft.leader_addr = None;
    assert!(c.reply("ROLE").contains("$7\\r\\nconnect\\r\\n"));
}

/// A learner, or one whose vote does not count yet: its master must not be stopped.
#[test]
fn a_replica_that_cannot_take_over_is_not_up() {
    let mut c = Client::new();
    c.host.raft = RaftStatus {
        role: RaftRole::Learner,
        raft_id: RaftId(2),
        electable: false,
        ..group_of_three()
    };
    let info = c.raw("INFO replication");
    assert!(info.contains("master_link_status:down\r\n"), "{info}");
    assert!(info.contains("master_sync_in_progress:1\r\n"), "{info}");
    assert!(c.reply("ROLE").contains("$4\\r\\nsync\\r\\n"));
}

#[test]
fn a_replica_that_loads_is_not_up() {
    let mut c = Client::new();
    c.host.raft = RaftStatus {
        role: RaftRole::Follower,
        raft_id: RaftId(2),
        loading: Some(LoadingView::default()),
        ..group_of_three()
    };
    let info = c.raw("INFO replication");
    assert!(info.contains("master_link_status:down\r\n"), "{info}");
    assert!(info.contains("master_sync_in_progress:1\r\n"), "{info}");
    assert!(c.reply("ROLE").contains("$4\\r\\nsync\\r\\n"));
}

/// The fields and the reckoning are Redis's.
#[test]
fn loading_is_told_behind_the_other_fields() {
    let mut c = Client::new();
    let view = |total_bytes, loaded_bytes, rdb_used_mem, secs| LoadingView {
        started_unix_s: 1_699_999_990,
        total_bytes,
        loaded_bytes,
        elapsed: Duration::new(secs, 900_000_000),
        rdb_used_mem,
    };
    for (loading, percent, eta) in [
        (view(1000, 250, 5000, 10), "25.00", 29),
        (view(1000, 250, 0, 0), "25.00", 1),
        (view(1000, 0, 0, 3), "0.00", 3000),
        (view(1000, 1000, 0, 3), "100.00", 0),
        (view(3, 1, 0, 2), "33.33", 2),
        (view(0, 100, 400, 6), "25.00", 17),
        (view(0, 500, 400, 600), "99.99", 1),
        (view(0, 0, 0, 7), "0.00", 7),
        (view(0, 500, 0, 7), "0.00", 0),
        (view(1000, 1200, 0, 100), "120.00", -16),
        (view(u64::MAX, 0, 0, u64::MAX), "0.00", i128::MAX),
    ] {
        c.host.raft.loading = Some(loading);
        let info = c.raw("INFO persistence");
        let last = info
            .split_once("aof_delayed_fsync:0\r\n")
            .expect("Redis's last field")
            .1;
        let want = format!(
            "loading_start_time:1699999990\r\nloading_total_bytes:{}\r\n\
             loading_rdb_used_mem:{}\r\nloading_loaded_bytes:{}\r\nloading_loaded_perc:{percent}\r\n\
             loading_eta_seconds:",
            loading.total_bytes, loading.rdb_used_mem, loading.loaded_bytes
        );
        let shown = last.strip_prefix(&want).unwrap_or_else(|| panic!("{last}"));
        assert_eq!(shown, format!("{eta}\r\n\r\n"), "{loading:?}");
        assert!(
            info.contains("\r\nloading:1\r\nasync_loading:0\r\n"),
            "{info}"
        );
    }
    c.host.raft.loading = None;
    assert!(
        !c.raw("INFO persistence").contains("loading_"),
        "not while serving"
    );
}

/// Redis's replica shows the master that it looks for.
#[test]
fn a_replica_without_leader_shows_its_master() {
    let mut c = Client::new();
    c.host.raft = RaftStatus {
        role: RaftRole::Follower,
        raft_id: RaftId(2),
        leader: None,
        leader_addr: None,
        electable: false,
        master_addr: Some("10.0.0.1:7000".to_owned()),
        ..group_of_three()
    };
    let info = c.raw("INFO replication");
    let shown = "master_host:10.0.0.1\r\nmaster_port:7000\r\nmaster_link_status:down\r\n\
        master_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:0\r\n";
    assert!(info.contains(shown), "{info}");
    let role = c.reply("ROLE");
    assert!(
        role.contains("10.0.0.1\\r\\n:7000\\r\\n$7\\r\\nconnect\\r\\n"),
        "{role}"
    );
}

#[test]
fn a_replica_that_is_cut_off_is_dropped() {
    let mut c = Client::new();
    c.host.raft = group_of_three();
    c.host.raft.members[1].connected = false;
    let info = c.raw("INFO replication");
    assert!(
        info.contains("connected_slaves:0\r\nmaster_failover"),
        "{info}"
    );
    assert_eq!(
        c.reply("ROLE"),
        "*3\\r\\n$6\\r\\nmaster\\r\\n:95\\r\\n*0\\r\\n"
    );
    assert!(
        c.raw("INFO raft").contains("raft_members:3\r\n"),
        "it is a member still"
    );
}

#[test]
fn a_full_disk_and_a_lost_quorum_are_told() {
    let mut c = Client::new();
    c.host.raft = group_of_three();
    assert!(c
        .raw("INFO persistence")
        .contains("aof_last_write_status:ok\r\n"));
    assert!(c.raw("INFO raft").contains("raft_quorum:1\r\n"));
    (c.host.raft.disk_full, c.host.raft.quorum) = (true, false);
    assert!(c
        .raw("INFO persistence")
        .contains("aof_last_write_status:err\r\n"));
    assert!(c.raw("INFO raft").contains("raft_quorum:0\r\n"));
}

fn titles(info: &str) -> Vec<&str> {
    info.lines()
        .filter_map(|line| line.strip_prefix("# "))
        .collect()
}

#[test]
fn info_chooses_its_sections() {
    let mut c = Client::new();
    let default = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Raft",
        "Keyspace",
    ];
    assert_eq!(titles(&c.raw("INFO")), default);
    assert_eq!(titles(&c.raw("INFO default")), default);
    assert_eq!(titles(&c.raw("INFO CPU server cpu")), ["Server", "CPU"]);
    assert_eq!(titles(&c.raw("INFO nosuch")), [""; 0]);
    assert_eq!(titles(&c.raw("INFO all")).len(), 13);
    assert_eq!(titles(&c.raw("INFO everything")).len(), 14);
    assert!(!titles(&c.raw("INFO all")).contains(&"Modules"));
    assert!(titles(&c.raw("INFO default commandstats")).contains(&"Commandstats"));
}

/// `name:value` or `# Title` in every line, sections divided by an empty line.
#[test]
fn info_is_well_formed() {
    let mut c = Client::new();
    c.host.raft = group_of_three();
    c.join(9);
    c.reply("SET a 1");
    c.reply("SET b 1 PXAT 1700000060123");
    c.reply("HSET g f v");
    c.reply("HSET h f v e v");
    c.reply("HPEXPIREAT h 1700000060123 FIELDS 1 f");
    c.reply("GET a");
    c.reply("GET nokey");
    c.reply("NOSUCH");
    let reply = c.raw("INFO everything");
    let (header, text) = reply.split_once("\r\n").unwrap();
    assert_eq!(header, format!("${}", text.len() - 2));
    for (previous, line) in std::iter::once("")
        .chain(text.split("\r\n"))
        .zip(text.split("\r\n"))
    {
        let ok = match line.strip_prefix("# ") {
            Some(_) => previous.is_empty(),
            None => {
                line.is_empty()
                    || line
                        .split_once(':')
                        .is_some_and(|(name, _)| !name.is_empty())
            }
        };
        assert!(ok, "{line:?} after {previous:?}");
    }
    for line in [
        "redis_version:7.4.1",
        "redis_mode:standalone",
        "server_time_usec:1700000000123000",
        "connected_clients:2",
        "blocked_clients:1",
        "used_memory:2048",
        "used_memory_human:2.00K",
        "used_memory_peak_perc:50.00%",
        "used_memory_dataset:1024",
        "maxmemory_policy:noeviction",
        "mem_fragmentation_ratio:4.00",
        "loading:0",
        "keyspace_hits:1",
        "keyspace_misses:1",
        "total_error_replies:1",
        "errorstat_ERR:count=1",
        "cluster_enabled:0",
        "raft_role:leader",
        "raft_ha:1",
        "raft_voters:3",
        "raft_member2:id=0000000000000003,kind=witness,voter=1,addr=10.0.0.3:7002,match=90,\
         applied=83,heard_ms=1500",
        "master_replid:0000000000000abc000000000000000000000000",
        "db0:keys=4,expires=1,avg_ttl=60000,subexpiry=1",
    ] {
        assert!(
            text.split("\r\n").any(|l| l == line),
            "{line} is not in {text}"
        );
    }
    let calls = |name: &str| {
        let prefix = format!("cmdstat_{name}:calls=");
        text.split("\r\n")
            .find_map(|l| l.strip_prefix(&prefix)?.split(',').next())
            .map(str::to_owned)
    };
    assert_eq!(calls("set").as_deref(), Some("2"));
    assert_eq!(calls("get").as_deref(), Some("2"));
    assert_eq!(calls("del"), None);
    assert!(text.contains("\r\nholdfast_version:0.2.0\r\n"));
}

/// What Redis 7.4.1 prints in these sections of a server with an append-only file, but for
/// `aof_buffer_length`: here a turn's effects are not in the log's hands before its end.
const SERVER_FIELDS: &str =
    "redis_version redis_git_sha1 redis_git_dirty redis_build_id redis_mode os \
    arch_bits monotonic_clock multiplexing_api atomicvar_api gcc_version process_id \
    process_supervised run_id tcp_port server_time_usec uptime_in_seconds uptime_in_days hz \
    configured_hz lru_clock executable config_file io_threads_active listener0";
const PERSISTENCE_FIELDS: &str = "loading async_loading current_cow_peak current_cow_size \
    current_cow_size_age current_fork_perc current_save_keys_processed current_save_keys_total \
    rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status \
    rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves rdb_last_cow_size \
    rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_enabled aof_rewrite_in_progress \
    aof_rewrite_scheduled aof_last_rewrite_time_sec aof_current_rewrite_time_sec \
    aof_last_bgrewrite_status aof_rewrites aof_rewrites_consecutive_failures \
    aof_last_write_status aof_last_cow_size module_fork_in_progress module_fork_last_cow_size \
    aof_current_size aof_base_size aof_pending_rewrite aof_pending_bio_fsync \
    aof_delayed_fsync";

#[test]
fn sections_have_redis_fields_in_its_order() {
    let mut c = Client::new();
    for (section, fields) in [
        ("server", SERVER_FIELDS),
        ("persistence", PERSISTENCE_FIELDS),
    ] {
        let info = c.raw(&format!("INFO {section}"));
        let ours: Vec<&str> = info
            .split("\r\n")
            .filter_map(|line| Some(line.split_once(':')?.0))
            .filter(|name| *name != "holdfast_version")
            .collect();
        assert_eq!(
            ours,
            fields.split_whitespace().collect::<Vec<_>>(),
            "{section}"
        );
    }
    let info = c.raw("INFO server persistence");
    for line in [
        "holdfast_version:0.2.0".to_owned(),
        "redis_git_sha1:0123abcd".to_owned(),
        "redis_git_dirty:1".to_owned(),
        "redis_build_id:89ef".to_owned(),
        "process_supervised:systemd".to_owned(),
        "listener0:name=tcp,bind=*,bind=-::*,port=6379".to_owned(),
        "rdb_last_save_time:1699999910".to_owned(),
    ] {
        assert!(
            info.split("\r\n").any(|l| l == line),
            "{line} is not in {info}"
        );
    }
    c.host.config.port = 0;
    c.host.config.unixsocket = "/run/redis.sock".to_owned();
    let info = c.raw("INFO server");
    assert!(info.contains("\r\nlistener1:name=unix,bind=/run/redis.sock\r\n"));
    assert!(!info.contains("listener0"), "{info}");
}

#[test]
fn latencystats_show_the_percentiles_asked_for() {
    let mut c = Client::new();
    let empty = "$16\r\n# Latencystats\r\n\r\n";
    assert_eq!(c.raw("INFO latencystats"), empty);
    // Time passes for one command alone: 100 calls of 1 ms, of which the first 64 are all timed.
    for _ in 0..100 {
        c.reply("DEBUG SLEEP 0.001");
    }
    let line = |c: &mut Client, name: &str| {
        let info = c.raw("INFO latencystats");
        let prefix = format!("latency_percentiles_usec_{name}:");
        let found = info.split("\r\n").find_map(|l| l.strip_prefix(&prefix));
        found.map(str::to_owned)
    };
    let all = Some("p50=1003.519,p99=1003.519,p99.9=1003.519".to_owned());
    assert_eq!(line(&mut c, "debug"), all);
    assert_eq!(line(&mut c, "get"), None);
    assert_eq!(
        c.reply("CONFIG SET latency-tracking-info-percentiles \"0 25.50 100\""),
        "+OK\\r\\n"
    );
    assert_eq!(
        c.reply("CONFIG GET latency-tracking-info-percentiles"),
        "*2\\r\\n$33\\r\\nlatency-tracking-info-percentiles\\r\\n$10\\r\\n0 25.5 100\\r\\n"
    );
    let all = Some("p0=999.424,p25.5=1003.519,p100=1003.519".to_owned());
    assert_eq!(line(&mut c, "debug"), all);
    c.reply("CONFIG SET latency-tracking-info-percentiles \"\"");
    assert_eq!(line(&mut c, "config|get").as_deref(), Some(""));
    c.reply("CONFIG SET latency-tracking no");
    assert_eq!(line(&mut c, "debug"), None);
}

#[test]
fn latency_histogram_counts_what_took_how_long() {
    let mut c = Client::new();
    c.reply("DEBUG SLEEP 0.001");
    c.reply("DEBUG SLEEP 0.001");
    c.reply("DEBUG SLEEP 0.0001");
    c.reply("CONFIG GET hz");
    c.reply("CONFIG GET nosuch");
    let debug = "$5\\r\\ndebug\\r\\n*4\\r\\n$5\\r\\ncalls\\r\\n:3\\r\\n\
                 $14\\r\\nhistogram_usec\\r\\n*4\\r\\n:132\\r\\n:1\\r\\n:1056\\r\\n:3\\r\\n";
    assert_eq!(
        c.reply("LATENCY HISTOGRAM debug"),
        format!("*2\\r\\n{debug}")
    );
    // A container means its subcommands; what was never called, or does not exist, is left out.
    let config = "$10\\r\\nconfig|get\\r\\n*4\\r\\n$5\\r\\ncalls\\r\\n:2\\r\\n\
                  $14\\r\\nhistogram_usec\\r\\n*2\\r\\n:1\\r\\n:2\\r\\n";
    assert_eq!(
        c.reply("LATENCY HISTOGRAM config nosuch get DEBUG"),
        format!("*4\\r\\n{config}{debug}")
    );
    c.session.proto = Proto::Resp3;
    let reply = c.reply("LATENCY HISTOGRAM");
    assert!(
        reply.starts_with("%3\\r\\n"),
        "config|get, debug, latency|histogram: {reply}"
    );
    assert!(
        reply
            .contains("$14\\r\\nhistogram_usec\\r\\n%2\\r\\n:132\\r\\n:1\\r\\n:1056\\r\\n:3\\r\\n"),
        "{reply}"
    );
    c.reply("CONFIG SET latency-tracking no");
    c.reply("DEBUG SLEEP 0.001");
    assert!(c
        .reply("LATENCY HISTOGRAM debug")
        .contains("calls\\r\\n:3\\r\\n"));
    c.host.stats.turn_max_usec = 1_234;
    assert!(c.raw("INFO raft").contains("raft_turn_max_usec:1234\r\n"));
    c.reply("CONFIG RESETSTAT");
    assert!(c.raw("INFO raft").contains("raft_turn_max_usec:0\r\n"));
    assert_eq!(c.reply("LATENCY HISTOGRAM"), "%0\\r\\n");
    assert_eq!(
        c.reply("LATENCY LATEST"),
        "-ERR unknown subcommand 'LATEST'. Try LATENCY HELP.\\r\\n"
    );
}

/// A client shows what it sent last: run, queued or refused; nothing, if no command has that name.
#[test]
fn client_list_shows_the_command_sent_last() {
    let mut c = Client::new();
    let shown = |c: &Client| match c.session.last_command {
        None => "NULL",
        Some(id) => table().command(id).spec.full_name,
    };
    assert_eq!(shown(&c), "NULL");
    for (line, want) in [
        ("PING", "ping"),
        ("MULTI", "multi"),
        ("SET a 1", "set"),
        ("CLIENT LIST", "client|list"),
        ("GET", "get"),
        ("EXEC", "exec"),
        ("NOSUCH", "NULL"),
        ("CLIENT NOSUCH", "NULL"),
        ("MULTI", "multi"),
        ("CLIENT INFO", "client|info"),
        ("GET a", "get"),
    ] {
        c.reply(line);
        assert_eq!(shown(&c), want, "after {line}");
    }
    let reply = c.raw("EXEC");
    assert!(reply.contains(" cmd=exec "), "{reply}");
}
