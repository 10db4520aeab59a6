//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF, and what INFO tells of snapshots.

use super::*;

const BUSY: &str = "-ERR Background save already in progress\\r\\n";
const OTHER: &str =
    "-ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
                     order to schedule a BGSAVE whenever possible.\\r\\n";
const REWRITES: &str = "-ERR Background append only file rewriting already in progress\\r\\n";
const STARTED: &str = "+Background saving started\\r\\n";
const SCHEDULED: &str = "+Background saving scheduled\\r\\n";
const REWRITE_STARTED: &str = "+Background append only file rewriting started\\r\\n";
const REWRITE_SCHEDULED: &str = "+Background append only file rewriting scheduled\\r\\n";

use SnapshotKind::{Download as Sync, Rewrite, Save};

fn making(kind: SnapshotKind) -> Option<SnapshotUnderWay> {
    Some(SnapshotUnderWay {
        kind,
        elapsed: Duration::from_millis(7_900),
        keys: 1,
        all_keys: 3,
    })
}

#[test]
fn each_order_is_answered_by_what_runs() {
    for (line, under_way, want, ordered) in [
        ("BGSAVE", None, STARTED, Some(Save)),
        ("bgsave schedule", None, STARTED, Some(Save)),
        ("BGSAVE", Some(Save), BUSY, None),
        ("BGSAVE SCHEDULE", Some(Save), BUSY, None),
        ("BGSAVE", Some(Sync), BUSY, None),
        ("BGSAVE", Some(Rewrite), OTHER, None),
        ("BGSAVE SCHEDULE", Some(Rewrite), SCHEDULED, Some(Save)),
        ("BGSAVE NOW", None, "-ERR syntax error\\r\\n", None),
        ("BGSAVE SCHEDULE 1", None, "-ERR syntax error\\r\\n", None),
        ("BGREWRITEAOF", None, REWRITE_STARTED, Some(Rewrite)),
        ("BGREWRITEAOF", Some(Save), REWRITE_SCHEDULED, Some(Rewrite)),
        ("BGREWRITEAOF", Some(Rewrite), REWRITES, None),
        ("SAVE", Some(Save), BUSY, None),
        ("SAVE", Some(Sync), BUSY, None),
        ("BGREWRITEAOF", Some(Sync), REWRITE_SCHEDULED, Some(Rewrite)),
    ] {
        let mut c = Client::new();
        c.host.saving.under_way = under_way.and_then(making);
        assert_eq!(c.reply(line), want, "{line} beside {under_way:?}");
        assert_eq!(c.host.ordered, ordered.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn save_waits_for_its_own_snapshot() {
    for under_way in [None, making(Rewrite)] {
        let mut c = Client::new();
        c.host.saving.under_way = under_way;
        let block = Block {
            kind: BlockKind::Saved { number: 1 },
            timeout: None,
        };
        let (outcome, out) = c.outcome("SAVE");
        assert_eq!((outcome.flow, out.len()), (Flow::Block(block), 0));
        assert_eq!(outcome.gate, GateKind::Free, "it rests on no write");
        assert_eq!(c.host.ordered, [Save]);
    }
}

#[test]
fn a_transaction_schedules_and_never_saves() {
    let mut c = Client::new();
    c.reply("MULTI");
    c.reply("BGSAVE");
    c.reply("BGREWRITEAOF");
    let want = format!("*2\\r\\n{SCHEDULED}{REWRITE_SCHEDULED}");
    assert_eq!(c.reply("EXEC"), want);
    assert_eq!(c.host.ordered, [Save, Rewrite]);
    c.reply("MULTI");
    let refused = "-ERR Command not allowed inside a transaction\\r\\n";
    assert_eq!(c.reply("SAVE"), refused);
}

#[test]
fn none_is_ordered_while_the_keyspace_loads() {
    let mut c = Client::new();
    c.serving = Serving::Loading { addr: None };
    let loading = "-LOADING Redis is loading the dataset in memory\\r\\n";
    for line in ["SAVE", "BGSAVE", "BGREWRITEAOF"] {
        assert_eq!(c.reply(line), loading, "{line}");
    }
    assert_eq!(c.reply("LASTSAVE"), ":1699999910\\r\\n");
    assert_eq!(c.host.ordered, []);
}

#[test]
fn a_member_that_follows_saves_its_copy() {
    let mut c = Client::new();
    c.serving = Serving::Redirect {
        addr: Some("10.0.0.1:7000"),
        own_copy: true,
    };
    assert_eq!(c.reply("BGSAVE"), STARTED);
    assert_eq!(c.reply("BGREWRITEAOF"), REWRITE_STARTED);
    assert!(matches!(c.flow("SAVE"), Flow::Block(_)));
}

#[test]
fn info_tells_how_snapshots_stand() {
    let mut c = Client::new();
    for n in 0..5 {
        c.reply(&format!("SET key {n}"));
    }
    c.host.stats.saves = 4;
    c.host.stats.rewrites = 6;
    let view = SavingView {
        under_way: making(Save),
        rewrite_scheduled: true,
        last_save_unix_s: 1_699_999_999,
        saved_changes: 3,
        save_failed: true,
        save_took: Some(Duration::from_millis(2_500)),
        rewrite_failed: false,
        rewrite_took: None,
        rewrite_failures: 2,
        base_bytes: 1234,
        loaded_keys: 77,
    };
    c.host.saving = view;
    let saving = "current_fork_perc:33.33 current_save_keys_processed:1 current_save_keys_total:3 \
                  rdb_changes_since_last_save:2 rdb_bgsave_in_progress:1 \
                  rdb_last_save_time:1699999999 rdb_last_bgsave_status:err \
                  rdb_last_bgsave_time_sec:2 rdb_current_bgsave_time_sec:7 rdb_saves:4 \
                  rdb_last_load_keys_loaded:77 aof_rewrite_in_progress:0 aof_rewrite_scheduled:1 \
                  aof_last_rewrite_time_sec:-1 aof_current_rewrite_time_sec:-1 \
                  aof_last_bgrewrite_status:ok aof_rewrites:6 \
                  aof_rewrites_consecutive_failures:2 aof_base_size:1234";
    let rewriting = "rdb_bgsave_in_progress:0 rdb_current_bgsave_time_sec:-1 rdb_last_bgsave_status:ok \
                     aof_rewrite_in_progress:1 aof_last_rewrite_time_sec:3 aof_current_rewrite_time_sec:7 \
                     aof_last_bgrewrite_status:err current_save_keys_total:3";
    let then = SavingView {
        under_way: making(Rewrite),
        save_failed: false,
        rewrite_failed: true,
        rewrite_took: Some(Duration::from_secs(3)),
        ..view
    };
    for (view, lines) in [(view, saving), (then, rewriting)] {
        c.host.saving = view;
        let info = c.raw("INFO persistence");
        for line in lines.split_whitespace() {
            let found = info.split("\r\n").any(|l| l == line);
            assert!(found, "{line} is not in {info}");
        }
    }
}

#[test]
fn reload_waits_for_the_keyspace() {
    for (line, save) in [
        ("DEBUG RELOAD", true),
        ("debug reload nosave", false),
        ("DEBUG RELOAD NOSAVE nosave", false),
        ("DEBUG LOADAOF", false),
    ] {
        let mut c = Client::new();
        let block = Block {
            kind: BlockKind::Reload,
            timeout: None,
        };
        assert_eq!(c.flow(line), Flow::Block(block), "{line}");
        assert_eq!(c.host.reload, Some(save), "{line}");
        assert!(c.reply(line).starts_with("-ERR the keyspace is being"));
    }
}

#[test]
fn reload_refuses_what_it_can_not_do() {
    let options = "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.\\r\\n";
    for (line, want) in [
        ("DEBUG RELOAD MERGE", "-ERR DEBUG RELOAD MERGE and NOFLUSH"),
        ("DEBUG RELOAD NOSAVE noflush", "-ERR DEBUG RELOAD MERGE and"),
        ("DEBUG RELOAD MERGE SAVE", options),
        ("DEBUG RELOAD x", options),
        ("DEBUG LOADAOF x", "-ERR unknown subcommand or wrong number"),
    ] {
        let mut c = Client::new();
        let reply = c.reply(line);
        assert!(reply.starts_with(want), "{line}: {reply}");
        assert_eq!(c.host.reload, None, "{line}");
    }
    let mut c = Client::new();
    c.reply("MULTI");
    c.reply("DEBUG RELOAD");
    assert!(c
        .reply("EXEC")
        .contains("-ERR the keyspace can't be reloaded"));
    c.serving = Serving::Loading { addr: None };
    assert!(c.reply("DEBUG RELOAD").starts_with("-LOADING "));
    assert_eq!(c.host.reload, None);
}
