//! CLUSTER RAFT: the shard's Raft group as it is, witness and all. Redis has no such command.

use super::super::api::{MemberKind, MemberStatus, RaftRole, RaftStatus};
use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::help;
use super::shared::host;
use resp::args::Args;
use resp::encode::Reply;

pub fn raft(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let word = &args[2];
    if word.eq_ignore_ascii_case(b"help") && args.len() == 3 {
        super::super::help::write(&mut env.reply(), "CLUSTER RAFT", help::RAFT);
        return DONE;
    }
    host(env)?;
    let status = env.server.raft_status();
    let mut reply = env.reply();
    if word.eq_ignore_ascii_case(b"status") && args.len() == 3 {
        write_status(&mut reply, &status);
    } else if word.eq_ignore_ascii_case(b"members") && args.len() == 3 {
        reply.array(status.members.len());
        for member in &status.members {
            write_member(&mut reply, member, &status);
        }
    } else {
        return Err(Error::unknown_subcommand("cluster|raft", word));
    }
    DONE
}

fn field(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.int(i64::try_from(value).unwrap_or(i64::MAX));
}

fn write_status(reply: &mut Reply<'_>, status: &RaftStatus) {
    let role = match status.role {
        RaftRole::Leader => "leader",
        RaftRole::Follower => "follower",
        RaftRole::Candidate => "candidate",
        RaftRole::Learner => "learner",
    };
    reply.map(16 + if status.pulled.is_some() { 2 } else { 0 });
    field(reply, "group", &format!("{:016x}", status.group));
    number(reply, "incarnation", status.incarnation.0);
    field(reply, "id", &format!("{:016x}", status.raft_id));
    field(reply, "role", role);
    field(
        reply,
        "leader",
        &format!("{:016x}", status.leader.unwrap_or_default()),
    );
    number(reply, "term", status.term);
    number(reply, "commit", status.commit);
    number(reply, "applied", status.applied);
    number(reply, "last", status.last);
    number(reply, "lease", u64::from(status.lease_valid));
    number(reply, "tail-entries", status.tail_entries);
    number(reply, "tail-bytes", status.tail_bytes);
    number(reply, "ha", u64::from(status.ha));
    number(reply, "first", status.log_first);
    number(reply, "snapshot", status.snapshot);
    if let Some((bytes, all)) = status.pulled {
        number(reply, "state-pulled-bytes", bytes);
        number(reply, "state-total-bytes", all);
    }
    reply.bulk(b"members");
    reply.array(status.members.len());
    for member in &status.members {
        write_member(reply, member, status);
    }
}

fn write_member(reply: &mut Reply<'_>, member: &MemberStatus, status: &RaftStatus) {
    let kind = match member.kind {
        MemberKind::Data => "data",
        MemberKind::Witness => "witness",
    };
    let heard = match member.heard_ms {
        _ if member.raft_id == status.raft_id => 0,
        Some(ms) => i64::try_from(ms).unwrap_or(i64::MAX),
        None => -1,
    };
    reply.map(8);
    field(reply, "id", &format!("{:016x}", member.raft_id));
    field(reply, "node", &member.node.to_string());
    field(reply, "addr", member.addr.as_deref().unwrap_or(""));
    field(reply, "kind", kind);
    number(reply, "voter", u64::from(member.voter));
    number(reply, "match", member.matched);
    number(reply, "applied", member.applied);
    reply.bulk(b"heard-ms");
    reply.int(heard);
}
