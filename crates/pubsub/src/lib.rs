//! Subscriptions: channels, patterns and shard channels, and the form of their messages.
//!
//! Owns: [`Registry`], the one place that knows subscriptions. Never: knows a socket, a session, a
//! gate or another node; C4: nothing here is logged or in a snapshot. Invariants: a name is listed
//! exactly as long as somebody listens to it; a subscriber's own list and the lists of the names
//! agree; two subscriptions of the same kind and name by one subscriber are one.

mod registry;
#[cfg(test)]
mod tests;

pub use registry::Registry;

use resp::{Proto, Reply};

/// A subscriber: a name that the host chooses, and that it can find the client by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(pub u64);

/// The three kinds of subscriptions, each with names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionKind {
    Channel,
    Pattern,
    /// A channel that has a slot.
    Shard,
}

impl SubscriptionKind {
    pub const ALL: [SubscriptionKind; 3] = [
        SubscriptionKind::Channel,
        SubscriptionKind::Pattern,
        SubscriptionKind::Shard,
    ];

    /// The first element of what confirms a subscription.
    pub const fn subscribed(self) -> &'static str {
        match self {
            SubscriptionKind::Channel => "subscribe",
            SubscriptionKind::Pattern => "psubscribe",
            SubscriptionKind::Shard => "ssubscribe",
        }
    }

    /// The first element of what confirms its end.
    pub const fn unsubscribed(self) -> &'static str {
        match self {
            SubscriptionKind::Channel => "unsubscribe",
            SubscriptionKind::Pattern => "punsubscribe",
            SubscriptionKind::Shard => "sunsubscribe",
        }
    }
}

/// How many subscriptions a client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub channels: usize,
    pub patterns: usize,
    pub shard: usize,
}

impl Counts {
    pub const fn any(self) -> bool {
        self.channels + self.patterns + self.shard > 0
    }

    /// The number in a confirmation: channels and patterns are counted together, shard channels
    /// apart.
    pub const fn told(self, kind: SubscriptionKind) -> usize {
        match kind {
            SubscriptionKind::Channel | SubscriptionKind::Pattern => self.channels + self.patterns,
            SubscriptionKind::Shard => self.shard,
        }
    }
}

/// Writes what confirms that a subscription began or ended; without a name there was none to end.
pub fn write_confirmation(
    out: &mut Vec<u8>,
    proto: Proto,
    verb: &str,
    name: Option<&[u8]>,
    count: usize,
) {
    let mut reply = Reply::new(out, proto);
    reply.push(3);
    reply.bulk(verb.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

/// Writes a message as a subscriber gets it; `pattern` is the one that matched, if it was one.
pub fn write_message(
    out: &mut Vec<u8>,
    proto: Proto,
    sharded: bool,
    pattern: Option<&[u8]>,
    channel: &[u8],
    message: &[u8],
) {
    let mut reply = Reply::new(out, proto);
    match pattern {
        Some(pattern) => {
            reply.push(4);
            reply.bulk(b"pmessage");
            reply.bulk(pattern);
        }
        None => {
            reply.push(3);
            reply.bulk(if sharded { b"smessage" } else { b"message" });
        }
    }
    reply.bulk(channel);
    reply.bulk(message);
}
