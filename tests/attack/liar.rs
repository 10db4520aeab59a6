//! A member that knows the password and lies: it may stop a shard, never end a process that it can
//! end again at every start, and never make one delete data (G2, D6, W2).

use crate::forged::{beyond, WATCHED};
use crate::harness::{check, wait_for, SOON};
use crate::member::message;
use crate::played::Seen;
use crate::real::{base_of, played, Real, Stage};
use base::ids::{GroupId, RaftId};
use cluster::control::Control;
use raft::eraftpb::{Entry, MessageType};
use std::time::{Duration, Instant};
use storage::Base;

/// D6, as a member that knows the password and lies: it may stop a shard, never end a process.
#[test]
fn lies_of_a_member_end_no_process() {
    let Some(mut stage) = Stage::open("lies_of_a_member_end_no_process") else {
        return;
    };
    let mut broken = Vec::new();
    for lie in [
        "beyond the end",
        "last term",
        "beyond the commit",
        "below the commit",
    ] {
        let (mut real, a, _b) = stage.led_by_real(&[]);
        real.node.ok(&["SET", "a", "v"]);
        let (last, term) = (real.number("raft_last"), real.number("raft_term"));
        let to = real.raft_id();
        let m = match lie {
            "beyond the end" => beyond(last, term + 1),
            "last term" => message(MessageType::MsgHeartbeat, u64::MAX),
            "beyond the commit" => {
                let mut m = message(MessageType::MsgAppend, term + 1);
                (m.index, m.log_term, m.commit) = (last, term, u64::MAX);
                m
            }
            // Another entry where one is committed.
            _ => {
                let mut m = message(MessageType::MsgAppend, term + 1);
                (m.index, m.log_term, m.commit) = (last - 1, term, last);
                let entry = Entry {
                    index: last,
                    term: term + 1,
                    ..Entry::default()
                };
                m.entries = vec![entry].into();
                m
            }
        };
        a.say(&real, to, m);
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            if !real.node.is_running() {
                eprintln!("{lie}: ended\n{}", real.last_lines());
                broken.push((lie, 0));
                break;
            }
            let now = real.try_number("raft_term");
            if now.is_some_and(|now| now > term + (1 << 32)) {
                broken.push((lie, now.unwrap_or_default()));
                break;
            }
            std::thread::sleep(Duration::from_millis(20)); // between two looks
        }
    }
    assert!(broken.is_empty(), "these did harm: {broken:?}");
}

/// G2: a base from which no witness can start leaves nothing behind.
#[test]
fn failed_invitation_leaves_no_files() {
    let Some(mut stage) = Stage::open("failed_invitation_leaves_no_files") else {
        return;
    };
    let mut real = stage.real(&[]);
    real.own(0, 100); // a share of witnesses is counted from masters with slots
    let inviter = played();
    inviter.meet(&real);
    let good = |group: u64| {
        let mut base = base_of(&[(&inviter, 7)], None, Duration::from_secs(1));
        base.identity.group = GroupId(group);
        base
    };
    let hosted = |real: &Real| {
        let names = real.folders();
        names.iter().filter(|n| n.starts_with("witness-")).count()
    };
    // Somebody who is voter and learner; a log that begins at the end of all numbers, where one
    // may be hosted, but no more than this node's share.
    let mut twice = good(1);
    twice.snapshot.conf_state.learners = vec![7];
    let mut end = good(2);
    (end.snapshot.index, end.snapshot.term) = (u64::MAX, u64::MAX);
    for (what, base, most) in [("voter and learner", twice, 0), ("last index", end, 2)] {
        for n in 0..10 {
            let mut base = base.clone();
            base.identity.group.0 += 2 * n;
            let from = inviter.heard();
            let base = Box::new(base);
            inviter.tell(&real, &Control::Invite { base });
            // Declined or (falsely) invited: it has been dealt with.
            let _ = inviter.soon(from, |seen| seen.control().map(drop));
        }
        real.assert_lives(what);
        // What is made is taken away again: on a busy machine the last one may just be there.
        wait_for("no folder is left", SOON, || {
            let hosted = hosted(&real);
            check(hosted <= most, || {
                format!("{hosted} folders of witnesses that can't be: {what}")
            })
        });
    }
}

/// G2: only a member that has asked for it can have been let go.
#[test]
fn unasked_left_of_the_leader_moves_no_follower() {
    let Some(mut stage) = Stage::open("unasked_left_of_the_leader_moves_no_follower") else {
        return;
    };
    let t = Duration::from_secs(1);
    let mut f = stage.follows_played(t, &[]);
    let _beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
    let left = Control::Left {
        group: GroupId(f.real.group()),
        raft_id: RaftId(f.raft_id),
    };
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        f.leader.tell(&f.real, &left);
        f.real.assert_lives("Left");
        let is = f.real.raft_id();
        assert_eq!(is, f.raft_id, "it has begun anew, and its data is gone");
        std::thread::sleep(Duration::from_millis(50)); // between two tries
    }
}

/// W2: a base that makes the witnesses' thread panic, or their host slow, silences no other one.
#[test]
fn bad_invitations_silence_no_witness() {
    let Some(mut stage) = Stage::open("bad_invitations_silence_no_witness") else {
        return;
    };
    let mut broken = Vec::new();
    let inviter = played();
    let good = base_of(&[(&inviter, 7)], None, Duration::from_secs(1));
    let with = |change: &dyn Fn(&mut Base)| {
        let mut base = good.clone();
        base.identity.group = GroupId(1);
        change(&mut base);
        base
    };
    let bases = [
        ("last index", with(&|b| b.snapshot.index = u64::MAX)),
        (
            "last index but one",
            with(&|b| b.snapshot.index = u64::MAX - 1),
        ),
        ("last term", with(&|b| b.snapshot.term = u64::MAX)),
        (
            "index 0",
            with(&|b| (b.snapshot.index, b.snapshot.term) = (0, 0)),
        ),
        ("no time", with(&|b| b.identity.election_timeout_ms = 0)),
        (
            "all time",
            with(&|b| b.identity.election_timeout_ms = u64::MAX),
        ),
        ("nobody", with(&|b| b.snapshot.members.clear())),
        ("no voter", with(&|b| b.snapshot.conf_state.voters.clear())),
        (
            "raft id 0",
            with(&|b| b.snapshot.conf_state.voters = vec![0]),
        ),
        ("no record", with(&|b| b.snapshot.record.clear())),
    ];
    for (what, base) in bases {
        let real = stage.real(&[]);
        real.own(0, 100); // a share of witnesses is counted from masters with slots
        inviter.meet(&real);
        let invite = |base: &Base| {
            let base = Box::new(base.clone());
            inviter.tell(&real, &Control::Invite { base });
        };
        invite(&base);
        // Then another one, until it is answered, yes or no.
        let from = inviter.heard();
        let end = Instant::now() + Duration::from_secs(15);
        let answered = |seen: &Seen| match seen.control() {
            Some(Control::Invited { group, .. } | Control::Declined { group })
                if *group == good.identity.group =>
            {
                Some(())
            }
            _ => None,
        };
        let mut heard = false;
        while !heard && Instant::now() < end {
            invite(&good);
            heard = inviter.soon(from, answered).is_ok();
        }
        if !heard || real.node.log().contains("panicked") {
            eprintln!("{what}: heard {heard}\n{}", real.last_lines());
            broken.push((what, heard));
        }
    }
    assert!(broken.is_empty(), "was the next one answered: {broken:?}");
}

/// D6: an effect that can't be read, committed by a leader that lies, ends no process at every start.
#[test]
fn undecodable_effect_is_no_crash_loop() {
    let Some(mut stage) = Stage::open("undecodable_effect_is_no_crash_loop") else {
        return;
    };
    let t = Duration::from_secs(1);
    let mut f = stage.follows_played(t, &[]);
    f.leader.member(|m| m.write(vec![b"no effect".to_vec()]));
    let from = f.leader.heard();
    let append = f.leader.member(|m| m.append(1));
    f.leader.say(&f.real, f.raft_id, append);
    let stored = |seen: &Seen| {
        let answer = seen.raft(MessageType::MsgAppendResponse)?;
        (answer.message.index == 2).then_some(())
    };
    let end = Instant::now() + Duration::from_secs(3);
    while f.leader.soon(from, stored).is_err() {
        if Instant::now() > end {
            return f
                .real
                .assert_lives("an entry that was refused before it was stored");
        }
    }
    // With another entry the commit index is on disk before it is applied.
    let append = f.leader.member(|m| {
        m.write(vec![Vec::new()]);
        m.commit = 2;
        m.append(2)
    });
    f.leader.say(&f.real, f.raft_id, append);
    std::thread::sleep(t / 2); // for its apply, or its end
    for start in 0..3 {
        if f.real.node.is_running() {
            f.real.node.kill9();
        }
        f.real.node.spawn();
        let mut answers = false;
        let end = Instant::now() + SOON;
        while !answers && f.real.node.is_running() && Instant::now() < end {
            answers = f.real.node.info("server", "process_id").is_some();
        }
        assert!(answers, "start {start}: it ended\n{}", f.real.last_lines());
    }
}
