//! Shard channels whose slots have left this node's shard: given up, taken by another shard, or left
//! behind by a node that has gone to another shard.
//!
//! Owns the moment at which their subscriptions end: when the loss has committed, for until then it
//! may still not happen. Never: decides which slots those are; the shard's record says it (S1).

use super::PubSub;
use crate::platform::Platform;
use crate::state::ServerState;
use crate::turn::Server;
use cluster_bus::slot::key_slot;
use cluster_bus::SlotSet;
use net::ConnId;
use pubsub::{write_confirmation, SubscriptionKind};
use state::Gate;
use std::sync::Arc;

impl<P: Platform> Server<P> {
    /// A subscriber would wait for ever for messages that are sent elsewhere: its subscription ends, and
    /// it is told so.
    #[inline]
    pub(crate) fn end_lost_shard_channels(&mut self) {
        if self.state.cluster.is_some() {
            self.follow_slots_of_channels();
        }
    }

    fn follow_slots_of_channels(&mut self) {
        let record = self.shard.record();
        let seen = self.state.pubsub.record.as_ref();
        if seen.is_some_and(|seen| Arc::ptr_eq(seen, record)) {
            return;
        }
        let record = Arc::clone(record);
        self.state.end_shard_channels(&record.slots);
        self.state.pubsub.record = Some(record);
        self.mark_delivered_dirty();
    }
}

impl<P: Platform> ServerState<P> {
    /// Ends the subscriptions to shard channels of all other slots.
    pub(super) fn end_shard_channels(&mut self, own: &SlotSet) {
        let PubSub {
            registry, fanout, ..
        } = &mut self.pubsub;
        let gone = |channel: &[u8]| !own.contains(key_slot(channel));
        for (who, channel, counts) in registry.remove_shard_channels(gone) {
            let to = ConnId::of_bits(who.0).expect("clients have keys");
            let left = counts.told(SubscriptionKind::Shard);
            let verb = SubscriptionKind::Shard.unsubscribed();
            let offered = fanout.offer(&mut self.clients, None, to, |out, proto| {
                write_confirmation(out, proto, verb, Some(&channel), left);
            });
            if let Some(client) = offered {
                client.session.subscriptions = counts;
            }
        }
        self.seal_offered(Gate::OPEN);
    }
}
