//! A leader that hears of another one. T1: that comes before the clients of its turn. T7, C4: with
//! its reign end the watches. Chance shows little of either: it took more than a thousand seeds to
//! meet the first, and what the next leader writes marks watched keys as well.

use holdfast::raft::Envelope;
use holdfast::shard::Admission;
use raft::eraftpb::{Message, MessageType};
use std::time::Duration;

use super::{base, envelope, shard, T_MS};
use crate::clock::{MemberClock, True, TurnClock, MS};
use crate::member::{guarded, install_panic_hook, Ended};
use crate::process::{Input, Process, TurnResult};
use crate::rng::Rng;

/// The client's connection.
const CONN: u64 = 1;

/// A process whose member leads; the two others answer yes to everything, at once.
struct Reigning {
    process: Process,
    clock: MemberClock,
    now: True,
    rng: Rng,
    /// What the next turn begins with: what jobs and followers have answered.
    inbox: Vec<Input>,
}

/// What a willing follower answers.
fn answer(asked: &Envelope) -> Option<Input> {
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
        from: asked.to,
        to: asked.from,
        term: of.term,
        index,
        ..Message::default()
    };
    Some(received(&Envelope {
        reign: asked.reign,
        sent_ns: asked.sent_ns,
        ..envelope(1, message)
    }))
}

fn received(envelope: &Envelope) -> Input {
    let mut bytes = Vec::new();
    envelope.encode(&mut bytes);
    Input::Raft(bytes)
}

impl Reigning {
    fn new() -> Reigning {
        let mut rng = Rng::new(1);
        let clock = MemberClock::new(&mut rng, false);
        let shard = shard(&base(), clock.read(0));
        let t = Duration::from_millis(T_MS);
        let mut reigning = Reigning {
            process: Process::new(shard, vec![1, 5, 6], t),
            clock,
            now: 0,
            rng,
            inbox: vec![Input::Open {
                conn: CONN,
                client: 0,
            }],
        };
        reigning.wins();
        reigning
    }

    fn leads(&mut self) -> bool {
        let admission = self.process.shard.admission();
        matches!(admission, Admission::Lead { writable: true })
    }

    /// Turns until it leads.
    fn wins(&mut self) {
        for _ in 0..4 * T_MS {
            if self.leads() {
                return;
            }
            self.turn("");
        }
        panic!("it was not elected");
    }

    /// Another member leads a later term: that is heard at the beginning of the next turn.
    fn is_deposed(&mut self) {
        let heartbeat = Message {
            msg_type: MessageType::MsgHeartbeat,
            from: 6,
            to: 5,
            term: self.process.shard.group().term() + 1,
            ..Message::default()
        };
        self.inbox.push(received(&envelope(1, heartbeat)));
    }

    /// A millisecond later: a turn in which the client has sent `commands`; what it is answered.
    fn turn(&mut self, commands: &str) -> String {
        self.now += MS;
        let clock = TurnClock::new(&self.clock, self.now, None, self.rng.fork());
        let mut result = TurnResult::default();
        let inbox = std::mem::take(&mut self.inbox);
        let sent = Input::Bytes {
            conn: CONN,
            bytes: commands.into(),
        };
        let begun = self.process.begin_turn(&clock, inbox, &mut result);
        begun.expect("a turn begins");
        let ended = self.process.rest_of_turn(&clock, vec![sent], result);
        let result = ended.expect("a turn ends");
        let done = result.jobs.into_iter().filter_map(|job| job.run());
        self.inbox.extend(done.map(Input::Done));
        self.inbox.extend(result.raft.iter().filter_map(answer));
        let replies = result.replies.into_iter().map(|(_, _, bytes)| bytes);
        String::from_utf8(replies.flatten().collect()).expect("short replies are text")
    }

    /// What the client is answered to `commands` in the end.
    fn answers(&mut self, commands: &str) -> String {
        let mut replies = self.turn(commands);
        for _ in 0..5 {
            replies += &self.turn("");
        }
        replies
    }
}

pub fn a_watch_ends_with_the_reign() -> bool {
    let mut reigning = Reigning::new();
    let transaction = "MULTI\r\nGET k\r\nEXEC\r\n";
    assert_eq!(reigning.answers("WATCH k\r\n"), "+OK\r\n");
    let unchanged = reigning.answers(transaction);
    assert_eq!(unchanged, "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    assert_eq!(reigning.answers("WATCH k\r\n"), "+OK\r\n");
    reigning.is_deposed();
    reigning.turn("");
    assert!(!reigning.leads(), "it is deposed");
    reigning.wins();
    reigning.answers(transaction) == "+OK\r\n+QUEUED\r\n*-1\r\n"
}

/// In one turn a client writes and another leader is heard of: nothing is executed that could not be
/// proposed.
pub fn what_is_executed_is_proposed_first() -> bool {
    let mut reigning = Reigning::new();
    assert_eq!(reigning.answers("SET k v\r\n"), "+OK\r\n");
    reigning.is_deposed();
    install_panic_hook();
    let end = guarded(|| Ok::<_, String>(reigning.turn("SET k w\r\n")));
    matches!(end, Ended::Fine(_)) && !reigning.leads()
}

#[test]
fn a_message_of_another_leader_comes_before_the_clients() {
    assert!(what_is_executed_is_proposed_first());
}

#[test]
fn a_leader_that_steps_down_fails_all_watches() {
    assert!(a_watch_ends_with_the_reign());
}
