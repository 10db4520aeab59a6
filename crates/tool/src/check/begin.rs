//! With what a member begins, in words: the file `base`, or what a snapshot says of one.
//!
//! Owns the lines. Never: reads a file.

use super::words::{bytes, count, node, slots};
use base::ids::RaftId;
use raft::eraftpb::ConfState;
use storage::base::{Member, MemberKind};
use storage::{Base, MemberIdentity, SnapshotMeta};
use topology::Record;

/// So many marks, lends and members are shown one by one.
const SHOWN: usize = 50;

/// The identity of the member.
pub fn identity(id: &MemberIdentity) -> String {
    format!(
        "{}, group {}, incarnation {}, election timeout {} ms",
        kind(id.kind),
        id.group,
        id.incarnation.0,
        id.election_timeout_ms
    )
}

pub fn kind(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Data => "data member",
        MemberKind::Witness => "witness",
    }
}

/// The state with which the member begins.
pub fn state(of: &MemberIdentity, snapshot: &SnapshotMeta) -> String {
    let at = format!("as of entry {} of term {}", snapshot.index, snapshot.term);
    match (&snapshot.file, snapshot.file_name()) {
        (Some(file), Some(name)) => format!(
            "{at}, in {name} ({}, CRC64 {:016x})",
            bytes(file.bytes),
            file.crc64
        ),
        _ if of.kind == MemberKind::Witness => format!("{at}; a witness has no keys"),
        _ => format!("{at}, without keys: the group's bootstrap"),
    }
}

/// Where the log begins.
pub fn log_start(base: &Base) -> String {
    match base.start {
        None => format!(
            "position 0, behind entry {} of term {}",
            base.snapshot.index, base.snapshot.term
        ),
        Some(start) => format!(
            "position {}, behind entry {} of term {}",
            start.position, start.before.index, start.before.term
        ),
    }
}

/// The members, a line each.
pub fn members(conf: &ConfState, list: &[Member]) -> Vec<String> {
    let role = |id: u64| {
        let mut roles = Vec::new();
        let lists = [
            (&conf.voters, "voter"),
            (
                &conf.voters_outgoing,
                "voter until the change under way ends",
            ),
            (&conf.learners, "learner"),
            (
                &conf.learners_next,
                "learner when the change under way ends",
            ),
        ];
        for (ids, name) in lists {
            if ids.contains(&id) {
                roles.push(name);
            }
        }
        roles.join(", ")
    };
    let mut ids: Vec<u64> = [
        &conf.voters,
        &conf.voters_outgoing,
        &conf.learners,
        &conf.learners_next,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect();
    ids.sort_unstable();
    ids.dedup();
    let line = |id: &u64| {
        let listed = list.iter().find(|member| member.raft_id.0 == *id);
        let of = listed.map_or(String::new(), |member| {
            format!(", {} on node {}", kind(member.kind), node(&member.node))
        });
        format!("{}: {}{of}", RaftId(*id), role(*id))
    };
    let mut lines: Vec<String> = ids.iter().take(SHOWN).map(line).collect();
    if ids.len() > SHOWN {
        lines.push(format!("and {} more", ids.len() - SHOWN));
    }
    lines
}

/// The shard's record, a line for each of its parts.
pub fn record(encoded: &[u8]) -> Vec<String> {
    match Record::decode(encoded) {
        Some(record) => of_record(&record),
        None if encoded.is_empty() => vec!["none".to_owned()],
        None => vec![format!(
            "{} that are no record",
            bytes(encoded.len() as u64)
        )],
    }
}

pub fn of_record(record: &Record) -> Vec<String> {
    let shard = match record.shard.0.iter().all(|byte| *byte == 0) {
        true => "no shard".to_owned(),
        false => format!("shard {}", record.shard),
    };
    let mut lines = vec![format!(
        "{shard}, master {}, epoch {}, {}",
        node(&record.master),
        record.epoch,
        slots(&record.slots.ranges())
    )];
    let moves = &record.moves;
    let migrating = moves
        .migrating
        .iter()
        .map(|(slot, mark)| format!("slot {slot} migrates to node {}", node(&mark.node)));
    let importing = moves
        .importing
        .iter()
        .map(|(slot, mark)| format!("slot {slot} is imported from node {}", node(&mark.node)));
    let departed = moves.departed.iter().map(|(slot, hand_over)| {
        format!(
            "slot {slot} was handed over to node {}",
            node(&hand_over.node)
        )
    });
    let all: Vec<String> = migrating.chain(importing).chain(departed).collect();
    lines.extend(all.iter().take(SHOWN).cloned());
    if all.len() > SHOWN {
        lines.push(format!("and {} more", all.len() - SHOWN));
    }
    if !moves.lends.is_empty() {
        let keys: usize = moves.lends.values().map(|lend| lend.keys.len()).sum();
        lines.push(format!(
            "{} open, with {}",
            count(moves.lends.len() as u64, "lend is", "lends are"),
            count(keys as u64, "key", "keys")
        ));
    }
    lines
}
