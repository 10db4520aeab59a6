//! What the loop and the links say to each other: orders, events, settings, counters.
//!
//! Owns the types only; never does anything.

use super::frame::MAX_FRAME;
use cluster_bus::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Names a bus link. The loop chooses those of the links that it orders, without [`INCOMING`].
pub type LinkId = u64;

/// Set in the ids of links that others have made.
pub const INCOMING: LinkId = 1 << 63;

/// What is proved to be known, and never sent or printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    pub fn new(password: impl Into<Vec<u8>>) -> Password {
        Password(password.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// What the two sides of a Raft link prove to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwords {
    /// Of every node that calls this one (`requirepass`).
    pub asked: Password,
    /// What this node proves to whomever it calls, and asks of it (`masterauth`).
    pub own: Password,
}

/// What the loop wants done.
#[derive(Debug)]
pub enum Command {
    /// Make a bus link. [`Event::BusConnected`] or [`Event::BusClosed`] follows.
    BusConnect {
        link: LinkId,
        addr: SocketAddr,
    },
    /// Send on a bus link; before it is connected the packets wait. Without such a link: nothing.
    BusSend {
        link: LinkId,
        bytes: Arc<[u8]>,
    },
    /// Close a bus link at once; no [`Event::BusClosed`] follows, but events of before may.
    BusClose {
        link: LinkId,
    },
    /// This node's id: Raft links of another name are closed, and none is made or taken before.
    Myself(NodeId),
    /// For the Raft links that begin from now on.
    Passwords(Passwords),
    /// Where a Raft peer lives, or that it is none any more. Another address drops the connections
    /// and what waits for them.
    Peer {
        node: NodeId,
        addr: Option<SocketAddr>,
    },
    /// A frame for a Raft peer. It is lost when the peer is unknown, slow or out of reach.
    Raft {
        to: NodeId,
        urgent: bool,
        bytes: Vec<u8>,
    },
    /// A frame that answers a node, on the connection that this node has made: there it proves
    /// its sender. It is lost when there is none.
    Answer {
        to: NodeId,
        bytes: Vec<u8>,
    },
    /// Find out of which kind a node is. [`Event::Probed`] follows.
    Probe {
        node: NodeId,
        addr: SocketAddr,
    },
    /// Make a connection to a server that is no node of this cluster. [`Event::OutgoingUp`] or
    /// [`Event::OutgoingClosed`] follows.
    OutgoingConnect {
        link: LinkId,
        host: String,
        port: u16,
        limit: Duration,
    },
    OutgoingSend {
        link: LinkId,
        bytes: Vec<u8>,
    },
    /// End it; no [`Event::OutgoingClosed`] follows, but events of before may.
    OutgoingClose {
        link: LinkId,
    },
    Stop,
}

impl Command {
    /// A frame for `to`; `back`: on the connection that `to` has made.
    pub fn frame(to: NodeId, urgent: bool, back: bool, bytes: Vec<u8>) -> Command {
        match back {
            true => Command::Answer { to, bytes },
            false => Command::Raft { to, urgent, bytes },
        }
    }
}

/// What the loop is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody has made a bus link to here.
    BusAccepted {
        link: LinkId,
        peer: SocketAddr,
        local: SocketAddr,
    },
    BusConnected {
        link: LinkId,
        local: SocketAddr,
    },
    /// The link is gone, or could not be made.
    BusClosed {
        link: LinkId,
    },
    /// One whole packet.
    BusPacket {
        link: LinkId,
        bytes: Vec<u8>,
    },
    /// One whole frame, on a link whose handshake named both nodes, which know the same password.
    Raft {
        from: NodeId,
        /// It is `from` that has sent it: it came on a connection that we have opened to the address
        /// that [`Command::Peer`] gave for `from`, or on one whose opener has proved a password that
        /// is not empty. Else any stranger that reaches the port can have sent it.
        proved: bool,
        bytes: Vec<u8>,
    },
    /// Our urgent connection to this peer stands.
    RaftUp {
        node: NodeId,
    },
    /// Our urgent connection to this peer stood, and is gone.
    RaftDown {
        node: NodeId,
    },
    /// What a node's bus port has answered to our magic (M9).
    Probed {
        node: NodeId,
        answer: Probed,
    },
    OutgoingUp {
        link: LinkId,
    },
    OutgoingBytes {
        link: LinkId,
        bytes: Vec<u8>,
    },
    /// The connection is gone, or could not be made.
    OutgoingClosed {
        link: LinkId,
    },
    /// Worth a line in the log.
    Failed(String),
}

/// What a bus port has answered to the magic of Raft links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// As this program does.
    Known,
    /// It has closed the connection, twice, because of it.
    Refused,
    /// Nothing that tells.
    Unknown,
}

impl Event {
    /// Bytes that it keeps in memory.
    pub fn weight(&self) -> usize {
        size_of::<Event>()
            + match self {
                Event::BusPacket { bytes, .. }
                | Event::Raft { bytes, .. }
                | Event::OutgoingBytes { bytes, .. } => bytes.len(),
                Event::Failed(text) => text.len(),
                _ => 0,
            }
    }
}

/// How to begin, and the limits.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The bus port at every address; a port of 0 takes any.
    pub listen: Vec<SocketAddr>,
    pub backlog: i32,
    pub myself: Option<NodeId>,
    pub passwords: Passwords,
    /// Connections of others at one time.
    pub max_accepted: usize,
    /// One that has brought nothing whole for so long loses its place when others need it.
    pub silence: Duration,
    /// Memory for what others have begun to send and not finished, unless they are proved members.
    pub unfinished_bytes: usize,
    /// For the first bytes of a connection, for the whole handshake, and for its answer.
    pub greeting: Duration,
    pub raft_connect: Duration,
    pub bus_connect: Duration,
    /// A connection that takes no byte for so long while some wait is closed.
    pub stall: Duration,
    /// Bytes that may wait for a Raft peer.
    pub urgent_bytes: usize,
    pub bulk_bytes: usize,
    /// A bus link for which more bytes wait is closed.
    pub bus_bytes: usize,
    /// Pause between attempts to reach a Raft peer: it grows from the one to the other.
    pub retry: (Duration, Duration),
}

impl Default for TransportConfig {
    fn default() -> TransportConfig {
        TransportConfig {
            listen: Vec::new(),
            backlog: 511,
            myself: None,
            passwords: Passwords::default(),
            max_accepted: 10_000,
            silence: Duration::from_secs(1),
            unfinished_bytes: 2 * MAX_FRAME,
            greeting: Duration::from_secs(5),
            raft_connect: Duration::from_secs(1),
            bus_connect: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            urgent_bytes: 1 << 20,
            bulk_bytes: 64 << 20,
            bus_bytes: 16 << 20,
            retry: (Duration::from_millis(50), Duration::from_secs(1)),
        }
    }
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections of others that are open.
    pub accepted_now: u64,
    /// Closed because there were too many.
    pub refused_full: u64,
    /// Closed for others, when places or memory ran short.
    pub displaced: u64,
    /// Memory of what others have begun to send and not finished, as far as it is bounded.
    pub unfinished_bytes: u64,
    /// Closed because they began with neither magic, or with nothing in time.
    pub refused_garbage: u64,
    /// Raft handshakes that named another node or another version, or did not know the password.
    pub refused_handshakes: u64,
    /// Links closed for a bad length, signature or checksum, or for bytes without an end.
    pub broken_frames: u64,
    /// Frames for Raft peers that were never written.
    pub dropped_frames: u64,
    /// Bytes of frames that wait for Raft peers or on bus links.
    pub queued_bytes: u64,
    /// Lines for the log that were left out because there were too many.
    pub muted: u64,
}
