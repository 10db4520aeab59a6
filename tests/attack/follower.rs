//! A real follower under pressure: what it must not say, and what it must go on saying (E1, E4, E6,
//! T9).

use crate::harness::{check, wait_for, SOON};
use crate::member::{message, Manner, Member};
use crate::played::{mono_ns, sleep_until, Played, Seen};
use crate::real::{Follower, Stage};
use crate::shim::{Op, STORAGE};
use effect::{Batch, PART_BYTES};
use raft::eraftpb::{Message, MessageType};
use raft_group::LeaseEpoch;
use state::op;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(2000);

/// Which index an answer to an append says is stored.
fn stored(seen: &Seen) -> Option<u64> {
    let answer = &seen.raft(MessageType::MsgAppendResponse)?.message;
    (!answer.reject).then_some(answer.index)
}

fn vote(seen: &Seen) -> Option<()> {
    let answer = &seen.raft(MessageType::MsgRequestVoteResponse)?.message;
    (!answer.reject).then_some(())
}

/// A follower that has stored one entry of term 2 and committed it.
fn settled(stage: &mut Stage, t: Duration, args: &[&str]) -> Follower {
    let f = stage.follows_played(t, args);
    for played in [&f.leader, &f.other] {
        played.member(|m| m.write(vec![Vec::new()]));
        played.set_manner(Manner::SILENT);
    }
    let from = f.leader.heard();
    let append = f.leader.member(|m| m.append(1));
    f.leader.say(&f.real, f.raft_id, append);
    f.leader
        .wait_seen("the entry is stored", from, SOON, stored);
    f.leader.member(|m| m.commit = 2);
    f
}

fn beat(f: &Follower) -> Message {
    f.leader.member(|m: &mut Member| {
        let mut beat = message(MessageType::MsgHeartbeat, m.term);
        beat.commit = m.commit;
        beat
    })
}

fn wait_ack(leader: &Played, from: usize, sent_ns: u64) -> u64 {
    leader.wait_seen("an ack_of_send_time", from, SOON, |seen| {
        let answer = seen.raft(MessageType::MsgHeartbeatResponse)?;
        (answer.sent_ns >= sent_ns).then_some(seen.at_ns)
    })
}

/// E6: heartbeats are answered, appends and votes wait for the sync.
#[test]
fn follower_with_hung_sync_acknowledges_nothing() {
    let Some(mut stage) = Stage::open("follower_with_hung_sync_acknowledges_nothing") else {
        return;
    };
    let f = settled(&mut stage, T, &[]);
    let hung = f.real.shim.on(Op::Sync).thread(STORAGE).hang();
    let from = f.leader.heard();
    f.leader.member(|m| m.write(vec![Vec::new()]));
    let append = f.leader.member(|m| m.append(2));
    f.leader.say(&f.real, f.raft_id, append);
    hung.wait_hanging(SOON);
    let sent = f.leader.say(&f.real, f.raft_id, beat(&f));
    wait_ack(&f.leader, from, sent.sent_ns);
    // Past its promise, which counts from when it heard the beat, it may help another, but only durably.
    sleep_until(mono_ns() + T.as_nanos() as u64);
    let at_other = f.other.heard();
    let m = f.other.member(|m| {
        m.write(vec![Vec::new()]);
        m.candidacy(MessageType::MsgRequestVote, 3)
    });
    f.other.say(&f.real, f.raft_id, m);
    std::thread::sleep(Duration::from_millis(300)); // for what must not come
    assert_eq!(f.leader.find(from, stored), None, "acknowledged unsynced");
    assert_eq!(f.other.find(at_other, vote), None, "voted unsynced");
    hung.release();
    f.other.wait_seen("the vote", at_other, SOON, vote);
}

/// E1: after any start a member has promised for T, for it may have forgotten.
#[test]
fn restarted_follower_votes_for_nobody_within_t() {
    let Some(mut stage) = Stage::open("restarted_follower_votes_for_nobody_within_t") else {
        return;
    };
    let mut f = settled(&mut stage, Duration::from_secs(4), &[]);
    f.real.node.kill9();
    let started = mono_ns();
    f.real.node.start();
    let from = f.other.heard();
    let ask = |kind| {
        let m = f.other.member(|m| m.candidacy(kind, 3));
        f.other.say(&f.real, f.raft_id, m);
    };
    while mono_ns() < started + 3_900_000_000 {
        ask(MessageType::MsgRequestVote);
        ask(MessageType::MsgRequestPreVote);
        let early = f.other.find(from, |seen| {
            let vote = seen.raft(MessageType::MsgRequestVoteResponse);
            let answer = vote.or_else(|| seen.raft(MessageType::MsgRequestPreVoteResponse))?;
            (!answer.message.reject).then_some((seen.at_ns - started) / 1_000_000)
        });
        assert_eq!(early, None, "ms after the start it helped a candidate");
        std::thread::sleep(Duration::from_millis(50)); // between two tries
    }
    wait_for("after T it votes", SOON, || {
        ask(MessageType::MsgRequestVote);
        check(f.other.find(from, vote).is_some(), || "not yet".into())
    });
}

/// E4: TimeoutNow and a transfer's vote count only under the lease epoch that the leader has told.
#[test]
fn transfer_of_another_epoch_moves_nobody() {
    let Some(mut stage) = Stage::open("transfer_of_another_epoch_moves_nobody") else {
        return;
    };
    let f = settled(&mut stage, T, &[]);
    let _beats = f.leader.heartbeats(&f.real, f.raft_id, T / 10);
    let (at_leader, at_other) = (f.leader.heard(), f.other.heard());
    let lease_epochs = [(2, 1), (1, 0), (3, 0), (0, 0)];
    for (term, transfers) in lease_epochs {
        let lease_epoch = LeaseEpoch { term, transfers };
        for from in [&f.leader, &f.other] {
            let order = message(MessageType::MsgTimeoutNow, 2);
            let mut order = from.member(|m| m.envelope(f.raft_id, order));
            order.lease_epoch = lease_epoch;
            from.post(&f.real, &order);
        }
        let mut m = f
            .other
            .member(|m| m.candidacy(MessageType::MsgRequestVote, 3));
        m.context = b"CampaignTransfer".to_vec().into();
        let mut ask = f.other.member(|other| other.envelope(f.raft_id, m));
        ask.lease_epoch = lease_epoch;
        f.other.post(&f.real, &ask);
    }
    std::thread::sleep(T / 2); // for what must not come
    let stands = |seen: &Seen| {
        let asks = seen.raft(MessageType::MsgRequestVote);
        asks.map(|e| e.message.term)
    };
    assert_eq!(f.leader.find(at_leader, stands), None, "it stands");
    assert_eq!(f.other.find(at_other, vote), None, "it votes");
    assert_eq!(f.real.number("raft_term"), 2);
}

/// T9: a follower that applies a unit of 48 MB answers its leader meanwhile.
#[test]
fn follower_in_a_long_apply_answers_heartbeats() {
    let Some(mut stage) = Stage::open("follower_in_a_long_apply_answers_heartbeats") else {
        return;
    };
    let t = Duration::from_secs(1);
    let f = settled(&mut stage, t, &["--log-segment-size", "256mb"]);
    let beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    for n in 0..1_500_000 {
        let key = format!("key:{n:010}");
        batch.push(0, op::SET, &[key.as_bytes(), b"value-of-it"]);
    }
    batch.end_unit();
    let parts = batch.take();
    assert!(parts.len() > 20, "a unit in parts");
    for part in parts {
        let (before, append) = f.leader.member(|m| {
            let before = m.last().0;
            m.write(vec![part]);
            (before, m.append(before))
        });
        let from = f.leader.heard();
        wait_for("the part is stored", SOON, || {
            f.leader.say(&f.real, f.raft_id, append.clone());
            f.leader
                .soon(from, |seen| stored(seen).filter(|at| *at > before))
        });
    }
    // Committed all at once: the beats tell it.
    let from = f.leader.heard();
    f.leader.member(|m| m.commit = m.last().0);
    let begun = Instant::now();
    let last = f.leader.member(|m| m.last().0);
    wait_for("all is applied", SOON * 2, || {
        let is = f.real.try_number("raft_applied");
        check(is == Some(last), || format!("{is:?} of {last}"))
    });
    let took = begun.elapsed();
    drop(beats);
    // When answers came: the longest pause between two.
    let (mut longest, mut before) = (0, None);
    f.leader.find(from, |seen| {
        seen.raft(MessageType::MsgHeartbeatResponse)?;
        longest = longest.max(seen.at_ns - before.unwrap_or(seen.at_ns));
        before = Some(seen.at_ns);
        None::<()>
    });
    let longest = Duration::from_nanos(longest);
    println!("applied in {took:?}, the longest silence {longest:?}");
    assert!(
        longest < t * 9 / 10,
        "silent for {longest:?}, longer than a lease"
    );
}
