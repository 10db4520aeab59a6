//! T1, C4, T7: another leader is heard of: before the clients of that turn are served, and whoever
//! watches a key loses. Chance shows nothing here: what
//! the next leader writes marks watched keys as well.

use holdfast::command::Access;
use holdfast::keyspace::Ttl;
use holdfast::mutation::{self, Mutation};
use holdfast::raft::{Envelope, Reign};
use holdfast::shard::{Admission, Shard};
use holdfast::storage::{base, Base};
use raft::eraftpb::{ConfState, Message, MessageType};

use super::{at, shard, Ticking, T_MS};
use crate::disk::SimDisk;
use crate::member::{guarded, install_panic_hook, Ended};

/// Member 5 of the voters 1, 5 and 6; the two others answer yes to everything, at once.
struct Reigning {
    shard: Shard<SimDisk>,
    clock: Ticking,
}

fn envelope(from: u64, reign: Reign, sent_ns: u64, message: Message) -> Envelope {
    Envelope {
        group: 1,
        incarnation: 1,
        from,
        to: 5,
        reign,
        sent_ns,
        applied: 1,
        message: Message {
            from,
            to: 5,
            ..message
        },
    }
}

/// What a willing follower answers.
fn answer(asked: &Envelope) -> Option<Envelope> {
    let of = &asked.message;
    let (kind, index) = match of.get_msg_type() {
        MessageType::MsgRequestPreVote => (MessageType::MsgRequestPreVoteResponse, 0),
        MessageType::MsgRequestVote => (MessageType::MsgRequestVoteResponse, 0),
        MessageType::MsgHeartbeat => (MessageType::MsgHeartbeatResponse, 0),
        MessageType::MsgAppend => (
            MessageType::MsgAppendResponse,
            of.index + of.entries.len() as u64,
        ),
        _ => return None,
    };
    let message = Message {
        msg_type: kind,
        term: of.term,
        index,
        ..Message::default()
    };
    Some(envelope(asked.to, asked.reign, asked.sent_ns, message))
}

impl Reigning {
    fn new() -> Reigning {
        let base = Base {
            group: 1,
            incarnation: 1,
            raft_id: 5,
            kind: base::MemberKind::Data,
            index: 1,
            term: 1,
            conf_state: ConfState::from((vec![1, 5, 6], vec![])),
            election_timeout_ms: T_MS,
            ..Base::default()
        };
        let mut reigning = Reigning {
            shard: shard(&base),
            clock: Ticking::default(),
        };
        let leads = |shard: &mut Shard<SimDisk>| {
            matches!(shard.admission(), Admission::Lead { writable: true })
        };
        for _ in 0..3 * T_MS {
            if leads(&mut reigning.shard) {
                return reigning;
            }
            reigning.turn(|_| ());
        }
        panic!("it was not elected");
    }

    /// A turn with its jobs and answers done on the spot.
    fn turn<R>(&mut self, clients: impl FnOnce(&mut Shard<SimDisk>) -> R) -> R {
        let now = holdfast::clock::Clock::now(&self.clock);
        self.shard.begin(now).expect("a turn begins");
        let result = clients(&mut self.shard);
        self.shard.finish(&self.clock).expect("a turn ends");
        let output = self.shard.take_output();
        for job in output.jobs {
            if let Some(done) = job.run() {
                self.shard.job_done(now, done).expect("a sound disk");
            }
        }
        for answer in output.messages.iter().filter_map(answer) {
            self.shard.step(now, answer).expect("a follower's answer");
        }
        result
    }

    /// Member 6 leads a later term.
    fn is_deposed(&mut self) {
        let term = self.shard.group().term() + 1;
        let heartbeat = Message {
            msg_type: MessageType::MsgHeartbeat,
            term,
            ..Message::default()
        };
        let reign = Reign { term, transfers: 0 };
        let now = at(self.clock.0.get());
        let stepped = self.shard.step(now, envelope(6, reign, 1, heartbeat));
        stepped.expect("a leader's heartbeat");
    }
}

fn with_key<R>(
    shard: &mut Shard<SimDisk>,
    run: impl FnOnce(&mut holdfast::command::Data) -> R,
) -> R {
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    let result = run(data);
    data.end_command();
    result
}

pub fn a_watch_ends_with_the_reign() -> bool {
    let mut reigning = Reigning::new();
    let watch = reigning.turn(|shard| {
        with_key(shard, |data| {
            let key = data.key(b"k");
            data.watch(&key)
        })
    });
    let unchanged = |shard: &mut Shard<SimDisk>| with_key(shard, |data| data.is_unchanged(&watch));
    let before = reigning.turn(unchanged);
    reigning.is_deposed();
    reigning.turn(|_| ());
    assert!(!reigning.shard.group().is_leader(), "it is deposed");
    before && !reigning.turn(unchanged)
}

/// T1: in one turn a client writes and another leader is heard of. The message comes first, so nothing
/// is executed that could not be proposed.
pub fn what_is_executed_is_proposed_first() -> bool {
    let mut reigning = Reigning::new();
    let between = mutation::is(Mutation::StepBeforeProposal);
    install_panic_hook();
    let end = guarded(|| {
        if !between {
            reigning.is_deposed();
        }
        let now = holdfast::clock::Clock::now(&reigning.clock);
        reigning.shard.begin(now).map_err(|e| e.to_string())?;
        let leads = matches!(reigning.shard.admission(), Admission::Lead { .. });
        if leads {
            with_key(&mut reigning.shard, |data| {
                let key = data.key(b"k");
                data.set(&key, b"v", Ttl::Clear);
            });
        }
        if between {
            reigning.is_deposed();
        }
        let ended = reigning.shard.finish(&reigning.clock);
        ended.map(|_| leads).map_err(|e| e.to_string())
    });
    matches!(end, Ended::Fine(false))
}

#[test]
fn a_message_of_another_leader_comes_before_the_clients() {
    assert!(what_is_executed_is_proposed_first());
}

#[test]
fn a_leader_that_steps_down_fails_all_watches() {
    assert!(a_watch_ends_with_the_reign());
}
