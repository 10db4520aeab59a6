//! Messages on their way: from a command to the listeners' outputs and to the other nodes.
//!
//! Owns: what a running command has published and nobody may see yet, and what waits for its gate
//! before it may leave this process. Never: decides who listens (`crate::pubsub`). Invariants (T4):
//! a message carries the gate of all that its publisher's connection depends on, the running command
//! included; between two commands no listener's output holds an unsealed message. C4: fan-out, not
//! logged.

use super::host::HostState;
use super::outbound::Outbound;
use super::turn::Node;
use crate::net::{Gate, Key, Output};
use crate::pubsub::{write_message, Registry, Subscriber};
use crate::resp::Proto;

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

impl HostState {
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
        let HostState {
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

impl Node {
    /// A client is gone: nobody listens in its name any more.
    pub(super) fn forget_subscriber(&mut self, key: Key) {
        self.host.pubsub.registry.remove(Subscriber(key.bits()));
    }

    /// Listeners that have got messages are flushed in this turn.
    pub(super) fn mark_delivered_dirty(&mut self) {
        for key in std::mem::take(&mut self.host.pubsub.delivered) {
            let Some(Some(client)) = self.host.clients.get_mut(key) else {
                continue;
            };
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(key);
            }
        }
    }

    /// A message that another node has published: its gate was opened there.
    pub(super) fn deliver_from_bus(&mut self, sharded: bool, channel: &[u8], message: &[u8]) {
        self.host.offer(sharded, channel, message, None);
        self.host.seal_offered(Gate::OPEN);
        self.mark_delivered_dirty();
        self.close_killed();
    }

    /// Messages whose gates have opened go to the other nodes.
    pub(super) fn release_published(&mut self) {
        for message in self.host.pubsub.outbound.release(self.released) {
            self.publish_on_bus(message);
        }
    }

    /// The one place where a message leaves for the other nodes.
    fn publish_on_bus(&mut self, message: Message) {
        self.publish_to_nodes(message.sharded, message.channel, message.message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::super::clock::SystemClock;
    use super::super::start::host_state;
    use super::*;
    use crate::clock::Clock;
    use crate::command::testing::session;
    use crate::config::Config;
    use crate::net::{Conn, Listeners};
    use crate::pubsub::Kind;
    use std::net::{TcpListener, TcpStream};

    struct Fixture {
        host: HostState,
        listener: TcpListener,
        peers: Vec<TcpStream>,
    }

    impl Fixture {
        fn new() -> Fixture {
            let clock = SystemClock::new();
            let logger = slog::Logger::root(slog::Discard, slog::o!());
            let config = Config::default();
            let listeners = Listeners::default();
            Fixture {
                host: host_state(config, clock, listeners, clock.now(), logger),
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
                peers: Vec::new(),
            }
        }

        fn join(&mut self, kind: Kind, name: &str) -> Key {
            let addr = self.listener.local_addr().unwrap();
            self.peers.push(TcpStream::connect(addr).unwrap());
            let (socket, peer) = self.listener.accept().unwrap();
            let conn = Conn::new(mio::net::TcpStream::from_std(socket), peer);
            let client = Box::new(Client::new(conn, session(1)));
            let key = self.host.clients.insert(Some(client));
            let who = Subscriber(key.bits());
            let registry = &mut self.host.pubsub.registry;
            registry.subscribe(who, kind, name.as_bytes());
            key
        }

        fn output(&mut self, key: Key) -> &mut Output {
            let client = self.host.clients.get_mut(key).unwrap().as_mut().unwrap();
            &mut client.conn.output
        }
    }

    fn batch(batch: u64) -> Gate {
        Gate { batch, read: 0 }
    }

    /// What an output lets out once `released` is.
    fn sent(output: &mut Output, released: Gate) -> String {
        output.release(released);
        let mut bytes = Vec::new();
        while output.wants_write() {
            output.write_to(&mut bytes).unwrap();
        }
        String::from_utf8(bytes).unwrap()
    }

    const HELLO: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n";

    #[test]
    fn a_message_waits_for_all_that_its_publisher_depends_on() {
        let mut f = Fixture::new();
        let listener = f.join(Kind::Channel, "a");
        let own = (f.join(Kind::Channel, "a"), Proto::Resp3);
        f.host.config.cluster_enabled = true;
        let mut publisher = Output::new();
        publisher.buf().extend_from_slice(b"+OK\r\n");
        publisher.seal(batch(5), None);
        assert_eq!(f.host.publish(false, b"a", b"hello", own), 2);
        publisher.buf().extend_from_slice(b":2\r\n");
        f.host.seal_published(&mut publisher, Gate::OPEN, None);
        assert_eq!(f.output(listener).pending_gate(), Some(batch(5)));
        assert_eq!(sent(f.output(listener), batch(4)), "");
        assert_eq!(sent(f.output(listener), batch(5)), HELLO);
        assert_eq!(f.output(own.0).pending_bytes(), 0, "it follows the reply");
        assert!(f.host.pubsub.outbound.release(batch(4)).is_empty());
        assert_eq!(f.host.pubsub.outbound.release(batch(5)).len(), 1);
        let push = HELLO.replacen('*', ">", 1);
        assert_eq!(
            sent(&mut publisher, batch(5)),
            format!("+OK\r\n:2\r\n{push}")
        );
        // A transaction: what it wrote after the PUBLISH counts as well.
        f.host.publish(false, b"a", b"hello", own);
        publisher.buf().extend_from_slice(b"*2\r\n:2\r\n+OK\r\n");
        f.host.seal_published(&mut publisher, batch(6), None);
        assert_eq!(f.output(listener).pending_gate(), Some(batch(6)));
    }

    #[test]
    fn what_did_not_happen_is_never_told() {
        let mut f = Fixture::new();
        let listener = f.join(Kind::Pattern, "*");
        let own = (f.join(Kind::Shard, "a"), Proto::Resp2);
        f.host.config.cluster_enabled = true;
        // The command runs again later.
        assert_eq!(f.host.publish(false, b"a", b"hello", own), 1);
        assert!(f.host.has_published());
        f.host.drop_published();
        assert!(!f.host.has_published());
        assert_eq!(f.output(listener).pending_bytes(), 0);
        // Its batch is lost.
        let mut publisher = Output::new();
        f.host.publish(false, b"a", b"hello", own);
        publisher.buf().extend_from_slice(b":1\r\n");
        f.host.seal_published(&mut publisher, batch(1), None);
        let mut moved = |_: Option<u16>, out: &mut Vec<u8>| out.extend_from_slice(b"-MOVED\r\n");
        f.output(listener).fail(1..=1, &mut moved);
        publisher.fail(1..=1, &mut moved);
        f.host.pubsub.outbound.fail(1..=1);
        assert_eq!(sent(f.output(listener), batch(9)), "");
        assert_eq!(sent(&mut publisher, batch(9)), "-MOVED\r\n");
        assert!(f.host.pubsub.outbound.release(batch(9)).is_empty());
    }

    #[test]
    fn who_does_not_read_its_messages_is_closed() {
        let mut f = Fixture::new();
        f.host.config.held_output_limit = 1000;
        let listener = f.join(Kind::Channel, "a");
        let other = f.join(Kind::Channel, "b");
        for n in 0..20 {
            f.host
                .publish(false, b"a", &[b'x'; 90], (other, Proto::Resp2));
            f.host.seal_published(&mut Output::new(), Gate::OPEN, None);
            let bytes = f.output(listener).pending_bytes();
            assert!(bytes <= 1000 + 200, "{bytes} bytes after {n} messages");
        }
        assert_eq!(f.host.killed, [listener]);
    }
}
