//! INFO's sections about the data and the group: persistence, replication, cluster, raft, keyspace.
//!
//! Owns: field names and their formats. Redis's fields tell the group in Redis's words (a witness
//! is not in them); `# Raft` tells it as it is.

use super::super::api::{
    LoadingView, MemberKind, RaftRole, RaftStatus, SnapshotKind, SnapshotUnderWay,
};
use super::super::env::Env;
use super::replication::{history, host_port, is_master, link, master_addr, replicas, Link};
use super::report::Report;
use std::time::Duration;

pub fn persistence(report: &mut Report, env: &Env<'_>) {
    let raft = env.server.raft_status();
    report.line("loading", u8::from(raft.loading.is_some()));
    report.line("async_loading", 0);
    snapshots(report, env);
    let refused = raft.disk_full;
    report.line("aof_last_write_status", if refused { "err" } else { "ok" });
    for name in [
        "aof_last_cow_size",
        "module_fork_in_progress",
        "module_fork_last_cow_size",
    ] {
        report.line(name, 0);
    }
    report.line("aof_current_size", raft.log_bytes);
    report.line("aof_base_size", env.server.saving().base_bytes);
    report.line("aof_pending_rewrite", 0);
    report.line("aof_pending_bio_fsync", u8::from(raft.log_unsynced));
    // A write to the log never waits for a sync.
    report.line("aof_delayed_fsync", 0);
    if let Some(view) = &raft.loading {
        loading(report, view);
    }
}

/// What Redis says of its children. Here none is forked, so no page is ever copied: a snapshot takes the memory of what
/// its thread has not written yet.
fn snapshots(report: &mut Report, env: &Env<'_>) {
    let saving = env.server.saving();
    let stats = env.server.stats();
    let seconds = |took: Option<Duration>| took.map_or(-1, |took| took.as_secs() as i64);
    let state = |failed| if failed { "err" } else { "ok" };
    let of_kind = |kind| saving.under_way.filter(|making| making.kind == kind);
    let save = of_kind(SnapshotKind::Save).or(of_kind(SnapshotKind::Download));
    let rewrite = of_kind(SnapshotKind::Rewrite);
    let (keys, all) = saving.under_way.map_or((0, 0), |m| (m.keys, m.all_keys));
    for name in [
        "current_cow_peak",
        "current_cow_size",
        "current_cow_size_age",
    ] {
        report.line(name, 0);
    }
    let percent = match all {
        0 => 0.0,
        all => keys as f64 / all as f64 * 100.0,
    };
    report.line("current_fork_perc", format_args!("{percent:.2}"));
    report.line("current_save_keys_processed", keys);
    report.line("current_save_keys_total", all);
    let changes = env.data.counters().changes;
    report.line(
        "rdb_changes_since_last_save",
        changes.saturating_sub(saving.saved_changes),
    );
    report.line("rdb_bgsave_in_progress", u8::from(save.is_some()));
    report.line("rdb_last_save_time", saving.last_save_unix_s);
    report.line("rdb_last_bgsave_status", state(saving.save_failed));
    report.line("rdb_last_bgsave_time_sec", seconds(saving.save_took));
    let elapsed = |making: Option<SnapshotUnderWay>| seconds(making.map(|m| m.elapsed));
    report.line("rdb_current_bgsave_time_sec", elapsed(save));
    report.line("rdb_saves", stats.saves);
    report.line("rdb_last_cow_size", 0);
    // A key that has expired is loaded: its deletion is an entry of the log.
    report.line("rdb_last_load_keys_expired", 0);
    report.line("rdb_last_load_keys_loaded", saving.loaded_keys);
    // The log plays the part of Redis's append-only file, and it is never off.
    report.line("aof_enabled", 1);
    report.line("aof_rewrite_in_progress", u8::from(rewrite.is_some()));
    report.line("aof_rewrite_scheduled", u8::from(saving.rewrite_scheduled));
    report.line("aof_last_rewrite_time_sec", seconds(saving.rewrite_took));
    report.line("aof_current_rewrite_time_sec", elapsed(rewrite));
    report.line("aof_last_bgrewrite_status", state(saving.rewrite_failed));
    report.line("aof_rewrites", stats.rewrites);
    report.line("aof_rewrites_consecutive_failures", saving.rewrite_failures);
}

fn loading(report: &mut Report, view: &LoadingView) {
    let (percent, eta) = progress(view);
    report.line("loading_start_time", view.started_unix_s);
    report.line("loading_total_bytes", view.total_bytes);
    report.line("loading_rdb_used_mem", view.rdb_used_mem);
    report.line("loading_loaded_bytes", view.loaded_bytes);
    report.line("loading_loaded_perc", format_args!("{percent:.2}"));
    report.line("loading_eta_seconds", eta);
}

/// The part that is loaded in percent, and how many seconds the rest may take: Redis's reckoning.
fn progress(view: &LoadingView) -> (f64, i128) {
    let loaded = i128::from(view.loaded_bytes);
    let percent_of = |whole: u64| view.loaded_bytes as f64 / whole as f64 * 100.0;
    let (percent, left) = match (view.total_bytes, view.rdb_used_mem) {
        (0, 0) => (0.0, 1),
        // Memory is a guess at what there is to read, and the load may go beyond it.
        (0, memory) => {
            let left = i128::from(memory) - loaded;
            (percent_of(memory).min(99.99), left.max(1))
        }
        (total, _) => (percent_of(total), i128::from(total) - loaded),
    };
    let eta = match view.elapsed.as_secs() {
        0 => 1, // too early to tell
        seconds => i128::from(seconds).saturating_mul(left) / (loaded + 1),
    };
    (percent, eta)
}

pub fn replication(report: &mut Report, env: &Env<'_>) {
    let status = env.server.raft_status();
    let master = is_master(&status);
    report.line("role", if master { "master" } else { "slave" });
    if !master {
        let (host, port) = host_port(master_addr(&status));
        let link = link(&status);
        report.line("master_host", host);
        report.line("master_port", port);
        let up = link == Link::Up;
        report.line("master_link_status", if up { "up" } else { "down" });
        report.line("master_last_io_seconds_ago", leader_silence_secs(&status));
        report.line("master_sync_in_progress", u8::from(link == Link::Syncing));
        report.line("slave_read_repl_offset", status.last);
        report.line("slave_repl_offset", status.applied);
        if let Some((bytes, all)) = status.pulled {
            let left = all.saturating_sub(bytes);
            let percent = bytes as f64 * 100.0 / all.max(1) as f64;
            report.line("master_sync_total_bytes", all);
            report.line("master_sync_read_bytes", bytes);
            report.line("master_sync_left_bytes", left);
            report.line("master_sync_perc", format_args!("{percent:.2}"));
        }
        report.line("slave_priority", 100);
        report.line("slave_read_only", 1);
        report.line("replica_announced", 1);
    }
    let replicas = if master {
        replicas(&status)
    } else {
        Vec::new()
    };
    report.line("connected_slaves", replicas.len());
    for (i, (host, port, member)) in replicas.into_iter().enumerate() {
        report.raw(format_args!(
            "slave{i}:ip={host},port={port},state=online,offset={},lag={}",
            member.applied,
            member.heard_ms.map_or(-1, |ms| (ms / 1000) as i64)
        ));
    }
    report.line("master_failover_state", "no-failover");
    report.line("master_replid", history(status.group, status.incarnation));
    report.line("master_replid2", "0".repeat(40));
    report.line(
        "master_repl_offset",
        if master {
            status.commit
        } else {
            status.applied
        },
    );
    report.line("second_repl_offset", -1);
    report.line("repl_backlog_active", 0);
}

/// Seconds since the leader was heard; -1 when there is none.
fn leader_silence_secs(status: &RaftStatus) -> i64 {
    let heard = status.leader_heard_ms.filter(|_| status.leader.is_some());
    heard.map_or(-1, |ms| (ms / 1000) as i64)
}

pub fn cluster(report: &mut Report, env: &Env<'_>) {
    report.line(
        "cluster_enabled",
        u8::from(env.server.config().cluster_enabled),
    );
    if env.server.config().cluster_enabled {
        for (name, count) in crate::motion::moving(env) {
            report.line(name, count);
        }
        report.line("cluster_slots_without_title", crate::motion::untitled(env));
    }
}

pub fn raft(report: &mut Report, env: &Env<'_>) {
    let status = env.server.raft_status();
    let voters = status.members.iter().filter(|m| m.voter).count();
    report.line("raft_group", format_args!("{:016x}", status.group));
    report.line("raft_incarnation", status.incarnation.0);
    report.line("raft_id", format_args!("{:016x}", status.raft_id));
    report.line("raft_role", role(status.role));
    report.line(
        "raft_leader",
        format_args!("{:016x}", status.leader.unwrap_or_default()),
    );
    report.line(
        "raft_leader_addr",
        status.leader_addr.as_deref().unwrap_or(""),
    );
    report.line("raft_term", status.term);
    report.line("raft_commit", status.commit);
    report.line("raft_applied", status.applied);
    report.line("raft_last", status.last);
    report.line("raft_lease", u8::from(status.lease_valid));
    report.line("raft_tail_entries", status.tail_entries);
    report.line("raft_tail_bytes", status.tail_bytes);
    report.line("raft_members", status.members.len());
    report.line("raft_voters", voters);
    report.line("raft_ha", u8::from(status.ha));
    report.line("raft_quorum", u8::from(status.quorum));
    report.line("raft_unknown_outcomes", status.unknown_outcomes);
    report.line("raft_log_bytes", status.log_bytes);
    report.line("raft_log_segments", status.log_segments);
    report.line("raft_first_index", status.log_first);
    report.line("raft_disk_kept_bytes", status.disk_kept);
    report.line("raft_snapshot_index", status.snapshot);
    report.line("raft_turn_max_usec", env.server.stats().turn_max_usec);
    if let Some((bytes, all)) = status.pulled {
        report.line("raft_state_pulled_bytes", bytes);
        report.line("raft_state_total_bytes", all);
    }
    for (i, member) in status.members.iter().enumerate() {
        report.raw(format_args!(
            "raft_member{i}:id={:016x},kind={},voter={},addr={},match={},applied={},heard_ms={}",
            member.raft_id,
            if member.kind == MemberKind::Data {
                "data"
            } else {
                "witness"
            },
            u8::from(member.voter),
            member.addr.as_deref().unwrap_or(""),
            member.matched,
            member.applied,
            member.heard_ms.map_or(-1, |ms| ms as i64)
        ));
    }
}

fn role(role: RaftRole) -> &'static str {
    match role {
        RaftRole::Leader => "leader",
        RaftRole::Follower => "follower",
        RaftRole::Candidate => "candidate",
        RaftRole::Learner => "learner",
    }
}

pub fn keyspace(report: &mut Report, env: &Env<'_>) {
    let keyspace = env.data.keyspace();
    for db in 0..keyspace.databases() {
        let (keys, expires) = (keyspace.len(db), keyspace.expires(db));
        if keys > 0 {
            // Redis's average is of samples and loses those that are due; this one is exact.
            let mean = keyspace
                .mean_expiry(db)
                .map_or(0, |at| (at - env.now.unix_ms).max(0));
            report.raw(format_args!(
                "db{db}:keys={keys},expires={expires},avg_ttl={mean},subexpiry={}",
                keyspace.with_field_expiry(db)
            ));
        }
    }
}
