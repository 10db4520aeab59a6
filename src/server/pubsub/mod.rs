//! Messages on their way: from a command to the listeners' outputs and to the other nodes.
//!
//! Owns: what a running command has published and nobody may see yet, and what waits for its gate
//! before it may leave this process. Never: decides who listens (`crate::pubsub`). Invariants (T4):
//! a message carries the gate of all that its publisher's connection depends on, the running command
//! included; between two commands no listener's output holds an unsealed message. C4: fan-out, not
//! logged.

mod outbound;
#[cfg(test)]
mod tests;

use super::platform::Platform;
use super::state::ServerState;
use super::turn::Server;
use crate::net::{Key, Output};
use crate::pubsub::{write_message, Registry, Subscriber};
use crate::resp::Proto;
use crate::state::Gate;
use outbound::Outbound;

/// Room kept between commands.
const KEPT_BYTES: usize = 16 << 10;

#[derive(Default)]
pub struct PubSub {
    pub registry: Registry,
    /// The running command has published.
    published: bool,
    /// Listeners with unsealed messages.
    offered: Vec<Key>,
    /// What the running client published to itself: it follows the reply.
    own: Vec<u8>,
    /// Listeners with messages that this turn must flush.
    delivered: Vec<Key>,
    /// Messages of the running command for other nodes.
    leaving: Vec<Message>,
    pub outbound: Outbound,
}

/// A message for other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sharded: bool,
    pub channel: Vec<u8>,
    pub message: Vec<u8>,
}

impl<P: Platform> ServerState<P> {
    /// PUBLISH and SPUBLISH of the client `own`: to everyone who listens here and, in a cluster, to
    /// the other nodes (of this shard, if `sharded`). [`Self::seal_published`] must follow.
    pub fn publish(
        &mut self,
        sharded: bool,
        channel: &[u8],
        message: &[u8],
        own: (Key, Proto),
    ) -> usize {
        let receivers = self.offer(sharded, channel, message, Some(own));
        if self.config.cluster_enabled {
            self.pubsub.leaving.push(Message {
                sharded,
                channel: channel.to_vec(),
                message: message.to_vec(),
            });
        }
        receivers
    }

    /// Appends a message, unsealed, to the outputs of all who listen to it; how many they are.
    fn offer(
        &mut self,
        sharded: bool,
        channel: &[u8],
        message: &[u8],
        own: Option<(Key, Proto)>,
    ) -> usize {
        let ServerState {
            pubsub,
            clients,
            killed,
            config,
            logger,
            ..
        } = self;
        pubsub.published = true;
        let PubSub {
            registry,
            offered,
            own: to_self,
            ..
        } = pubsub;
        let limit = config.held_output_limit;
        let mut receivers = 0;
        registry.for_each_receiver(sharded, channel, &mut |who, pattern| {
            receivers += 1;
            let key = Key::from_bits(who.0);
            if let Some((_, proto)) = own.filter(|(own, _)| *own == key) {
                return write_message(to_self, proto, sharded, pattern, channel, message);
            }
            let Some(Some(client)) = clients.get_mut(key) else {
                return;
            };
            if client.doomed || client.conn.output.is_closing() {
                return;
            }
            let output = &mut client.conn.output;
            let proto = client.session.proto;
            write_message(output.buf(), proto, sharded, pattern, channel, message);
            if !client.offered {
                client.offered = true;
                offered.push(key);
            }
            // T4: others can't be kept from writing to a client that does not read.
            if output.pending_bytes() > limit {
                slog::warn!(
                    logger,
                    "Closing subscriber that does not read its messages: id={} addr={}",
                    client.session.id,
                    client.session.endpoint.addr
                );
                client.doomed = true;
                killed.push(key);
            }
        });
        receivers
    }

    /// The running command has published something.
    pub fn has_published(&self) -> bool {
        self.pubsub.published
    }

    /// The command that has published has ended, `output` holds its reply and `gate` is what that
    /// depends on: reply and messages take their places. T4: what others see depends on all that
    /// this connection depends on, and so does the reply that says how many see it.
    pub fn seal_published(&mut self, output: &mut Output, gate: Gate, slot: Option<u16>) {
        let gate = gate.join(output.gate());
        output.seal(gate, slot);
        output.buf().append(&mut self.pubsub.own);
        output.seal_push(gate);
        self.seal_offered(gate);
    }

    fn seal_offered(&mut self, gate: Gate) {
        self.pubsub.published = false;
        for key in std::mem::take(&mut self.pubsub.offered) {
            let Some(Some(client)) = self.clients.get_mut(key) else {
                continue;
            };
            client.offered = false;
            client.conn.output.seal_push(gate);
            self.pubsub.delivered.push(key);
        }
        let limit = self.config.held_output_limit;
        for message in std::mem::take(&mut self.pubsub.leaving) {
            if !self.pubsub.outbound.push(gate, message, limit) {
                slog::warn!(
                    self.logger,
                    "Too many messages wait to be published to other nodes: dropped one"
                );
            }
        }
        self.pubsub.own.shrink_to(KEPT_BYTES);
    }

    /// The command is going to run again: nothing was published.
    pub fn drop_published(&mut self) {
        self.pubsub.published = false;
        self.pubsub.leaving.clear();
        self.pubsub.own.clear();
        for key in std::mem::take(&mut self.pubsub.offered) {
            if let Some(Some(client)) = self.clients.get_mut(key) {
                client.offered = false;
                client.conn.output.discard_unsealed();
            }
        }
    }
}

impl<P: Platform> Server<P> {
    /// A client is gone: nobody listens in its name any more.
    pub(super) fn forget_subscriber(&mut self, key: Key) {
        self.state.pubsub.registry.remove(Subscriber(key.bits()));
    }

    /// Listeners that have got messages are flushed in this turn.
    pub(super) fn mark_delivered_dirty(&mut self) {
        for key in std::mem::take(&mut self.state.pubsub.delivered) {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            client.mark_dirty(&mut self.dirty, key);
        }
    }

    /// A message that another node has published: its gate was opened there.
    pub(super) fn deliver_from_bus(&mut self, sharded: bool, channel: &[u8], message: &[u8]) {
        self.state.offer(sharded, channel, message, None);
        self.state.seal_offered(Gate::OPEN);
        self.mark_delivered_dirty();
        self.close_killed();
    }

    /// Messages whose gates have opened go to the other nodes.
    pub(super) fn release_published(&mut self) {
        for message in self.state.pubsub.outbound.release(self.released) {
            self.publish_on_bus(message);
        }
    }

    /// The one place where a message leaves for the other nodes.
    fn publish_on_bus(&mut self, message: Message) {
        self.publish_to_nodes(message.sharded, message.channel, message.message);
    }
}
