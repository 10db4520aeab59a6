//! One client of the node: its connection, its session, and why it waits.

use crate::clock::Mono;
use crate::command::host::IoView;
use crate::command::Session;
use crate::net::Conn;

/// WAIT in progress (C2).
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub replicas: u64,
    /// The batch of the client's last write before it.
    pub batch: u64,
    pub until: Option<Mono>,
}

pub struct Client {
    pub conn: Conn,
    pub session: Session,
    /// Its next command can't run yet; it stands in the node's list of held clients.
    pub held: bool,
    /// Since when its next command can't run (S2).
    pub held_since: Option<Mono>,
    pub waiting: Option<Waiting>,
    /// It has output that this turn must flush.
    pub dirty: bool,
    /// It has output behind a gate and stands in the node's list.
    pub gated: bool,
    /// The running command has put messages into its output that are not sealed yet.
    pub offered: bool,
    /// It is to be closed at the end of the turn, without another byte.
    pub doomed: bool,
    /// T4: what this client adds to the node's sum of held bytes.
    pub counted_held: usize,
    pub net_in: u64,
    pub net_out: u64,
}

impl Client {
    pub fn new(conn: Conn, session: Session) -> Client {
        Client {
            conn,
            session,
            held: false,
            held_since: None,
            waiting: None,
            dirty: false,
            gated: false,
            offered: false,
            doomed: false,
            counted_held: 0,
            net_in: 0,
            net_out: 0,
        }
    }

    /// Nothing of this client may be executed now.
    pub fn must_wait(&self) -> bool {
        self.held || self.waiting.is_some() || self.doomed || self.conn.output.is_closing()
    }

    pub fn io(&self) -> IoView {
        IoView {
            query_buffer: self.conn.input.len(),
            query_buffer_free: self
                .conn
                .input
                .memory_bytes()
                .saturating_sub(self.conn.input.len()),
            output_bytes: self.conn.output.pending_bytes(),
            total_memory: self.conn.memory_bytes() + std::mem::size_of::<Client>(),
            total_net_in: self.net_in,
            total_net_out: self.net_out,
            blocked: self.waiting.is_some(),
            closing: self.doomed || self.conn.output.is_closing(),
        }
    }
}
