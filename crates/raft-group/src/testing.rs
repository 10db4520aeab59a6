//! For the tests of members that are played by hand.

use super::Envelope;
use raft::eraftpb::{Message, MessageType};

/// What a willing member answers; its disk and its log are sound.
pub fn answer(asked: &Envelope) -> Option<Envelope> {
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
        from: asked.to.0,
        to: asked.from.0,
        term: of.term,
        index,
        ..Message::default()
    };
    Some(Envelope {
        from: asked.to,
        to: asked.from,
        applied: 1,
        has_room: true,
        loaded: true,
        message,
        ..asked.clone()
    })
}
