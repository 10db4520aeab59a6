//! From one command to the outputs of many clients: pushes that are offered while the command runs, and
//! sealed or dropped when it has ended.
//!
//! Owns: what a running command has for other clients and nobody may see yet. Never: decides which
//! clients get a push, or what stands in it: a message, a keyspace event, the end of a subscription; later
//! invalidations, MONITOR's lines. Invariants (T4): a push carries the gate of all that
//! the connection depends on whose command made it, that command included; between two commands no
//! client's output holds an unsealed push.

use super::super::clients::Client;
use super::super::platform::Platform;
use super::super::state::ServerState;
use base::mutation::{self, Mutation};
use net::{ConnId, Output};
use resp::Proto;
use state::Gate;

/// Room kept between commands.
const KEPT_BYTES: usize = 16 << 10;

#[derive(Default)]
pub struct Fanout {
    /// The running command has something for clients or nodes.
    pending: bool,
    /// Clients with unsealed pushes.
    offered: Vec<ConnId>,
    /// What the running client has for itself: it follows the reply.
    own: Vec<u8>,
    /// Clients with pushes that this turn must flush.
    delivered: Vec<ConnId>,
}

/// The client whose command runs. It is out of its place meanwhile.
pub type Running = Option<(ConnId, Proto)>;

impl Fanout {
    /// A push may follow, or something for other nodes: [`ServerState::seal_fanout`] must be called.
    pub fn begin(&mut self) {
        self.pending = true;
    }

    /// Whether the running command has something that its end must seal or drop.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Clients that have got pushes since this was last asked.
    pub fn take_delivered(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.delivered)
    }

    /// Appends what `write` writes to a client's output, unsealed; the client, unless it is the running
    /// one or goes away.
    pub fn offer<'c, S>(
        &mut self,
        clients: &'c mut net::Slab<Option<Box<Client<S>>>>,
        running: Running,
        to: ConnId,
        write: impl FnOnce(&mut Vec<u8>, Proto),
    ) -> Option<&'c mut Client<S>> {
        self.pending = true;
        if let Some((_, proto)) = running.filter(|(own, _)| *own == to) {
            write(&mut self.own, proto);
            return None;
        }
        let client = clients.get_mut(to)?.as_mut()?;
        if client.doomed || client.conn.output.is_closing() {
            return None;
        }
        write(client.conn.output.buf(), client.session.proto);
        if !client.offered {
            client.offered = true;
            self.offered.push(to);
        }
        Some(client)
    }
}

impl<P: Platform> ServerState<P> {
    /// The command has ended that has something for others, `output` holds its reply and `gate` is what
    /// that depends on: reply and pushes take their places. T4: what others see depends on all that
    /// this connection depends on, and so does the reply that says how many see it.
    pub fn seal_fanout(&mut self, output: &mut Output, gate: Gate, slot: Option<u16>) {
        let gate = gate.join(output.gate());
        output.seal(gate, slot);
        output.buf().append(&mut self.pubsub.fanout.own);
        output.seal_push(gate);
        match mutation::is(Mutation::EventsUngated) {
            true => self.seal_offered(Gate::OPEN),
            false => self.seal_offered(gate),
        }
    }

    /// The pushes of no command: of a turn, of another node.
    pub(super) fn seal_offered(&mut self, gate: Gate) {
        let fanout = &mut self.pubsub.fanout;
        fanout.pending = false;
        for key in fanout.offered.drain(..) {
            let Some(Some(client)) = self.clients.get_mut(key) else {
                continue;
            };
            client.offered = false;
            client.conn.output.seal_push(gate);
            fanout.delivered.push(key);
        }
        fanout.own.shrink_to(KEPT_BYTES);
        self.seal_leaving(gate);
    }

    /// The command is going to run again: nobody gets anything.
    pub fn drop_fanout(&mut self) {
        let fanout = &mut self.pubsub.fanout;
        fanout.pending = false;
        fanout.own.clear();
        for key in fanout.offered.drain(..) {
            if let Some(Some(client)) = self.clients.get_mut(key) {
                client.offered = false;
                client.conn.output.discard_unsealed();
            }
        }
        self.pubsub.leaving.clear();
    }
}
