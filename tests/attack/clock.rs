//! The loop, or the witnesses' thread, stands still between its reading of the clock and what it
//! takes from its queue (E1): a promise must not begin before the message that it answers was sent.

use crate::harness::SOON;
use crate::member::{message, Manner, Member};
use crate::played::{mono_ns, sleep_until, Played, Seen};
use crate::real::{base_of, played, Real, Stage};
use crate::shim::{Op, WITNESS};
use base::ids::GroupId;
use cluster::control::Control;
use raft::eraftpb::MessageType;
use raft_group::Envelope;
use std::time::Duration;

/// Long, so that a busy machine is no excuse.
const T: Duration = Duration::from_millis(2000);

fn part_of_t(hundredths: u32) -> u64 {
    (T * hundredths / 100).as_nanos() as u64
}

fn heartbeat(leader: &Played, real: &Real, to: u64) -> Envelope {
    let m = leader.member(|m: &mut Member| {
        let mut beat = message(MessageType::MsgHeartbeat, m.term);
        beat.commit = m.commit;
        beat
    });
    leader.say(real, to, m)
}

/// Waits for the answer that acknowledgements this message.
fn wait_ack(leader: &Played, from: usize, sent: &Envelope) {
    let acks = |seen: &Seen| {
        let answer = seen.raft(MessageType::MsgHeartbeatResponse)?;
        (answer.sent_ns == sent.sent_ns).then_some(())
    };
    leader.wait_seen("the heartbeat is echoed", from, SOON, acks);
}

/// After an acknowledgement that leases until 0.9 T behind `sent`, `other` asks for the vote at 0.7 T.
fn assert_promise_holds(other: &Played, leader: &Played, real: &Real, to: u64, sent: u64) {
    let (from, to_leader) = (other.heard(), leader.heard());
    let ask_at = sent + part_of_t(70);
    assert!(mono_ns() < ask_at, "this machine is too slow for T");
    sleep_until(ask_at);
    let m = other.member(|m| m.candidacy(MessageType::MsgRequestVote, m.term + 1));
    other.say(real, to, m);
    sleep_until(sent + part_of_t(90));
    let granted = |seen: &Seen| {
        let vote = seen.raft(MessageType::MsgRequestVoteResponse)?;
        let early = seen.at_ns < sent + part_of_t(90);
        (early && !vote.message.reject).then_some((seen.at_ns - sent) / 1_000_000)
    };
    let vote = other.find(from, granted);
    assert_eq!(
        vote, None,
        "ms after the echoed send time a vote was granted"
    );
    let stands = |seen: &Seen| {
        seen.raft(MessageType::MsgRequestPreVote)?;
        Some((seen.at_ns - sent) / 1_000_000)
    };
    let stood = leader.find(to_leader, stands);
    assert_eq!(stood, None, "ms after the echoed send time it stood itself");
}

#[test]
fn loop_stopped_behind_its_clock_keeps_the_promise() {
    let Some(mut stage) = Stage::open("loop_stopped_behind_its_clock_keeps_the_promise") else {
        return;
    };
    let f = stage.follows_played(T, &[]);
    for played in [&f.leader, &f.other] {
        played.member(|m| m.write(vec![Vec::new()]));
        played.set_manner(Manner::SILENT);
    }
    let from = f.leader.heard();
    let append = f.leader.member(|m| m.append(1));
    f.leader.say(&f.real, f.raft_id, append);
    let stored = |seen: &Seen| {
        let answer = seen.raft(MessageType::MsgAppendResponse)?;
        (answer.message.index == 2 && !answer.message.reject).then_some(())
    };
    f.leader
        .wait_seen("the entry is stored", from, SOON, stored);
    f.leader.member(|m| m.commit = 2);
    let from = f.leader.heard();
    let beat = heartbeat(&f.leader, &f.real, f.raft_id);
    wait_ack(&f.leader, from, &beat);

    let stopped = f.real.shim.stop_loop_behind_clock();
    stopped.wait_hanging(SOON);
    sleep_until(mono_ns() + part_of_t(40));
    let from = f.leader.heard();
    let beat = heartbeat(&f.leader, &f.real, f.raft_id);
    sleep_until(mono_ns() + part_of_t(5)); // until the links have it
    stopped.release();
    wait_ack(&f.leader, from, &beat);
    assert_promise_holds(&f.other, &f.leader, &f.real, f.raft_id, beat.sent_ns);
}

#[test]
fn invitation_between_messages_keeps_a_witness_promise() {
    let Some(mut stage) = Stage::open("invitation_between_messages_keeps_a_witness_promise") else {
        return;
    };
    let real = stage.real(&[]);
    real.own(0, 100); // a share of witnesses is counted from masters with slots
    let (leader, other) = (played(), played());
    for played in [&leader, &other] {
        played.meet(&real);
    }
    let (a, b) = (rand::random::<u64>() | 1, rand::random::<u64>() | 1);
    let base = base_of(&[(&leader, a), (&other, b)], None, T);
    let from = leader.heard();
    let invite = |group: u64| {
        let mut base = Box::new(base.clone());
        base.identity.group = GroupId(group);
        leader.tell(&real, &Control::Invite { base });
    };
    invite(base.identity.group.0);
    let accepted = |seen: &Seen| match seen.control() {
        Some(Control::Invited { group, raft_id }) if *group == base.identity.group => {
            Some(*raft_id)
        }
        _ => None,
    };
    let witness = leader.wait_seen("it hosts the witness", from, SOON, accepted);
    for (played, id) in [(&leader, a), (&other, b)] {
        let mut member = Member::new(&base, id);
        (member.term, member.manner) = (2, Manner::SILENT);
        played.play(member);
    }
    let from = leader.heard();
    let beat = heartbeat(&leader, &real, witness.0);
    wait_ack(&leader, from, &beat);

    // Another invitation is carried out, and its first sync takes 0.4 T.
    let hung = real.shim.on(Op::Sync).thread(WITNESS).hang();
    invite(base.identity.group.0 + 1);
    hung.wait_hanging(SOON);
    sleep_until(mono_ns() + part_of_t(40));
    let from = leader.heard();
    let beat = heartbeat(&leader, &real, witness.0);
    sleep_until(mono_ns() + part_of_t(5)); // until the thread's queue has it
    hung.release();
    wait_ack(&leader, from, &beat);
    assert_promise_holds(&other, &leader, &real, witness.0, beat.sent_ns);
}

/// E3: an acknowledgement of the future, from a member that lies, makes no lease.
#[test]
fn ack_of_the_future_makes_no_lease() {
    let Some(mut stage) = Stage::open("ack_of_the_future_makes_no_lease") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&[]);
    real.node.ok(&["SET", "a", "v"]);
    let beats = |seen: &Seen| seen.raft(MessageType::MsgHeartbeat).cloned();
    let beat = a.wait_seen("a heartbeat", a.heard(), SOON, beats);
    b.set_manner(Manner::SILENT);
    a.set_manner(Manner::SILENT);
    let m = message(MessageType::MsgHeartbeatResponse, beat.message.term);
    let mut answer = a.member(|m2| m2.envelope(beat.from.0, m));
    (answer.lease_epoch, answer.sent_ns) = (beat.lease_epoch, mono_ns() + 3_600_000_000_000);
    a.post(&real, &answer);
    let silent = mono_ns();
    // raft-rs steps down by ticks, between T and 2 T; until then only the lease tells.
    sleep_until(silent + 950_000_000);
    while mono_ns() < silent + 1_600_000_000 {
        let lease = real.number("raft_lease");
        let ms = (mono_ns() - silent) / 1_000_000;
        assert_eq!(lease, 0, "{ms} ms after the last true ack_of_send_time");
        std::thread::sleep(Duration::from_millis(5)); // between two looks
    }
}
