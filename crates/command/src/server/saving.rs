//! Snapshots by command: SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF.
//!
//! Owns: what they answer, in Redis's words; there a save and a rewrite of the append-only file are two
//! processes, here both are snapshots of which one is made at a time. Never: makes one, or decides when
//! one is due (the host does).

use super::super::api::SnapshotKind;
use super::super::env::{Block, BlockKind, Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::rows::rows;
use resp::args::Args;

rows! { pub static ROWS: Server [] {
    "bgrewriteaof" 1 [NO_ASYNC_LOADING ADMIN NOSCRIPT] "1.0.0" => bgrewriteaof: "Makes a snapshot and trims the log.";
    "bgsave" -1 [NO_ASYNC_LOADING ADMIN NOSCRIPT] "1.0.0" => bgsave: "Makes a snapshot, and copies it to a file.";
    "lastsave" 1 [LOADING STALE FAST] @ADMIN @DANGEROUS "1.0.0" => lastsave: "Tells when the last copy of a snapshot was made." .tips(&["nondeterministic_output"]);
    "save" 1 [NO_ASYNC_LOADING ADMIN NOSCRIPT NO_MULTI] "1.0.0" => save: "Makes a snapshot, and answers when its copy is on disk.";
}}

fn under_way(env: &Env<'_>) -> Option<SnapshotKind> {
    env.server.saving().under_way.map(|making| making.kind)
}

/// Redis waits with everything; here the client alone does.
fn save(env: &mut Env<'_>, _: Args<'_>) -> Done {
    if matches!(
        under_way(env),
        Some(SnapshotKind::Save | SnapshotKind::Download)
    ) {
        return Err(Error::SAVE_UNDER_WAY);
    }
    let number = env.server.order_snapshot(SnapshotKind::Save, "SAVE", true);
    Ok(Flow::Block(Block {
        kind: BlockKind::Saved { number },
        timeout: None,
    }))
}

fn bgsave(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let schedule = match args.len() {
        1 => false,
        2 if args[1].eq_ignore_ascii_case(b"schedule") => true,
        _ => return Err(Error::SYNTAX),
    };
    let in_exec = env.session.deny_blocking;
    let text = match under_way(env) {
        Some(SnapshotKind::Save | SnapshotKind::Download) => return Err(Error::SAVE_UNDER_WAY),
        Some(SnapshotKind::Rewrite) if !schedule && !in_exec => return Err(Error::CANT_BGSAVE),
        None if !in_exec => "Background saving started",
        _ => "Background saving scheduled",
    };
    let kind = SnapshotKind::Save;
    env.server.order_snapshot(kind, "BGSAVE", !in_exec);
    env.reply().simple(text);
    DONE
}

fn bgrewriteaof(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let in_exec = env.session.deny_blocking;
    let text = match under_way(env) {
        Some(SnapshotKind::Rewrite) => return Err(Error::REWRITE_UNDER_WAY),
        None if !in_exec => "Background append only file rewriting started",
        _ => "Background append only file rewriting scheduled",
    };
    let kind = SnapshotKind::Rewrite;
    env.server.order_snapshot(kind, "BGREWRITEAOF", !in_exec);
    env.reply().simple(text);
    DONE
}

fn lastsave(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let at = env.server.saving().last_save_unix_s;
    env.reply().int(at);
    DONE
}
