//! One of three voters goes: what becomes of the others (G3).

use crate::harness::{check, wait_for, SOON};
use crate::member::Member;
use crate::played::Seen;
use crate::real::{played, played_with, Stage};
use base::ids::{GroupId, RaftId};
use cluster::control::Control;
use std::time::{Duration, Instant};

/// Until a host of a witness has accepted the voters stay three; then the one that leaves is
/// exchanged for the witness.
#[test]
fn leaving_voter_is_exchanged_for_a_witness() {
    let Some(mut stage) = Stage::open("leaving_voter_is_exchanged_for_a_witness") else {
        return;
    };
    let real = stage.real(&[]);
    real.own(0, 16382);
    let host = played_with([16383].into_iter().collect());
    host.meet(&real);
    real.wait_serving();
    let (a, b) = (played(), played());
    for member in [&a, &b] {
        member.meet(&real);
        member.join(&real);
    }
    real.wait_info("raft_voters", "3");
    wait_for("only data members vote", SOON, || {
        let members = real.members();
        let all = members.len() == 3 && members.iter().all(|m| m.data && m.voter);
        check(all, || format!("{members:?}"))
    });
    let from = host.heard();
    let leave = Control::Leave {
        group: GroupId(real.group()),
        raft_id: RaftId(a.raft_id()),
    };
    a.tell(&real, &leave);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(3) {
        let voters = real.voters();
        assert!(
            voters >= 3,
            "{:?} after one of three wanted to leave {voters} vote; the host was asked: {}",
            asked.elapsed(),
            host.find(from, invitation).is_some()
        );
        a.tell(&real, &leave);
        std::thread::sleep(Duration::from_millis(20)); // between two looks
    }
    // Now the host accepts.
    let raft_id = 4242;
    wait_for("the witness votes in its place", SOON, || {
        host.introduce(&real);
        if let Ok(base) = host.soon(host.heard(), invitation) {
            host.play(Member::new(&base, raft_id));
            let group = base.identity.group;
            host.tell(
                &real,
                &Control::Invited {
                    group,
                    raft_id: RaftId(raft_id),
                },
            );
        }
        a.tell(&real, &leave);
        let members = real.members();
        let voters: Vec<u64> = members
            .iter()
            .filter(|m| m.voter)
            .map(|m| m.raft_id)
            .collect();
        let exchanged = voters.len() == 3 && voters.contains(&raft_id);
        check(exchanged && !voters.contains(&a.raft_id()), || {
            format!("{members:?}")
        })
    });
}

fn invitation(seen: &Seen) -> Option<storage::Base> {
    match seen.control() {
        Some(Control::Invite { base }) => Some((**base).clone()),
        _ => None,
    }
}
