//! Messages on their way: from a command to the listeners' outputs and to the other nodes.
//!
//! Owns: what a running command has published, and what waits for its gate before it may leave this
//! process. Never: decides which clients listen (`pubsub`). Invariants (T4) are those of [`fanout`], the
//! one road by which anything gets into another client's output; a message for other nodes carries
//! the same gate. C4: fan-out, not logged.

mod fanout;
mod outbound;
mod shard_channels;
#[cfg(test)]
mod tests;

use super::platform::Platform;
use super::state::ServerState;
use super::turn::Server;
use base::events::Classes;
use fanout::{Fanout, Running};
use net::ConnId;
use outbound::Outbound;
use pubsub::{write_message, Registry, Subscriber};
use resp::Proto;
use state::{Event, Gate, GateKind};
use std::sync::Arc;
use topology::Record;

#[derive(Default)]
pub struct PubSub {
    pub registry: Registry,
    pub fanout: Fanout,
    /// Messages of the running command for other nodes.
    leaving: Vec<Message>,
    pub outbound: Outbound,
    /// The record by which shard channels were last looked at.
    record: Option<Arc<Record>>,
}

/// A message for other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sharded: bool,
    pub channel: Vec<u8>,
    pub message: Vec<u8>,
}

impl<P: Platform> ServerState<P> {
    /// PUBLISH and SPUBLISH of the client `own`: to every subscriber here and, in a cluster, to
    /// the other nodes (of this shard, if `sharded`). [`Self::seal_fanout`] must follow.
    pub fn publish(
        &mut self,
        sharded: bool,
        channel: &[u8],
        message: &[u8],
        own: (ConnId, Proto),
    ) -> usize {
        let receivers = self.offer_message(sharded, channel, message, Some(own));
        if self.config.cluster_enabled {
            self.pubsub.leaving.push(Message {
                sharded,
                channel: channel.to_vec(),
                message: message.to_vec(),
            });
        }
        receivers
    }

    /// Offers a message to all its subscribers; how many they are.
    fn offer_message(
        &mut self,
        sharded: bool,
        channel: &[u8],
        message: &[u8],
        running: Running,
    ) -> usize {
        let ServerState {
            pubsub,
            clients,
            killed,
            config,
            logger,
            ..
        } = self;
        let PubSub {
            registry, fanout, ..
        } = pubsub;
        fanout.begin();
        let limit = config.held_output_limit;
        let mut receivers = 0;
        registry.for_each_receiver(sharded, channel, &mut |who, pattern| {
            receivers += 1;
            let key = ConnId::of_bits(who.0).expect("clients have keys");
            let offered = fanout.offer(clients, running, key, |out, proto| {
                write_message(out, proto, sharded, pattern, channel, message);
            });
            let Some(client) = offered else { return };
            // T4: others can't be kept from writing to a client that does not read.
            if client.conn.output.pending_bytes() > limit {
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

    /// Keyspace events of a command: to the listeners of this node alone. [`Self::seal_fanout`] must follow, or
    /// [`Self::seal_offered`] where `running` is none.
    pub(super) fn offer_events(&mut self, events: &[Event], running: Running) {
        let classes = self.config.notify_keyspace_events;
        for Event { name, db, key, .. } in events {
            if classes.has(Classes::KEYSPACE) {
                let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
                self.offer_message(false, &channel, name.as_bytes(), running);
            }
            if classes.has(Classes::KEYEVENT) {
                let channel = format!("__keyevent@{db}__:{name}");
                self.offer_message(false, channel.as_bytes(), key, running);
            }
        }
    }

    /// What the command has for other nodes waits for its gate.
    fn seal_leaving(&mut self, gate: Gate) {
        let limit = self.config.held_output_limit;
        for message in std::mem::take(&mut self.pubsub.leaving) {
            if !self.pubsub.outbound.push(gate, message, limit) {
                slog::warn!(
                    self.logger,
                    "Too many messages wait to be published to other nodes: dropped one"
                );
            }
        }
    }
}

impl<P: Platform> Server<P> {
    /// A client is gone: nobody listens in its name any more.
    pub(super) fn forget_subscriber(&mut self, key: ConnId) {
        self.state.pubsub.registry.remove(Subscriber(key.bits()));
    }

    /// Events of no client's command, which are in the newest batch at the latest: of what expires by itself, of slots
    /// in motion.
    pub(super) fn tell_events(&mut self) {
        if self.shard.data().has_events() {
            let events = self.shard.data_mut().take_events(false);
            self.state.offer_events(&events, None);
            let newest = self.shard.data().newest_batch();
            let gate = self.shard.gate(GateKind::Write, newest);
            self.state.seal_offered(gate);
            self.mark_delivered_dirty();
            self.close_killed();
        }
    }

    /// Listeners that have got messages are flushed in this turn.
    pub(super) fn mark_delivered_dirty(&mut self) {
        for key in self.state.pubsub.fanout.take_delivered() {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            client.mark_dirty(&mut self.dirty, key);
        }
    }

    /// A message that another node has published: its gate was opened there.
    pub(super) fn deliver_from_bus(&mut self, sharded: bool, channel: &[u8], message: &[u8]) {
        self.state.offer_message(sharded, channel, message, None);
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
