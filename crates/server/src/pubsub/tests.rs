//! Messages wait for their gates, and vanish with what did not happen.

use super::*;
use crate::clients::Client;
use crate::testing::{self, Nowhere, TestPlatform};
use base::ids::BatchSeq;
use command::testing::session;
use net::{Conn, Output};
use pubsub::SubscriptionKind;

struct Fixture {
    state: ServerState<TestPlatform>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            state: testing::state(),
        }
    }

    fn join(&mut self, kind: SubscriptionKind, name: &str) -> ConnId {
        let client = Box::new(Client::new(Conn::new(Nowhere), session(1)));
        let key = self.state.clients.insert(Some(client));
        let who = Subscriber(key.bits());
        let registry = &mut self.state.pubsub.registry;
        registry.subscribe(who, kind, name.as_bytes());
        key
    }

    fn output(&mut self, key: ConnId) -> &mut Output {
        let client = self.state.clients.get_mut(key).unwrap().as_mut().unwrap();
        &mut client.conn.output
    }
}

fn batch(batch: u64) -> Gate {
    Gate::of_batch(BatchSeq(batch))
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
    let listener = f.join(SubscriptionKind::Channel, "a");
    let own = (f.join(SubscriptionKind::Channel, "a"), Proto::Resp3);
    f.state.config.cluster_enabled = true;
    let mut publisher = Output::new();
    publisher.buf().extend_from_slice(b"+OK\r\n");
    publisher.seal(batch(5), None);
    assert_eq!(f.state.publish(false, b"a", b"hello", own), 2);
    publisher.buf().extend_from_slice(b":2\r\n");
    f.state.seal_fanout(&mut publisher, Gate::OPEN, None);
    assert_eq!(f.output(listener).pending_gate(), Some(batch(5)));
    assert_eq!(sent(f.output(listener), batch(4)), "");
    assert_eq!(sent(f.output(listener), batch(5)), HELLO);
    assert_eq!(f.output(own.0).pending_bytes(), 0, "it follows the reply");
    assert!(f.state.pubsub.outbound.release(batch(4)).is_empty());
    assert_eq!(f.state.pubsub.outbound.release(batch(5)).len(), 1);
    let push = HELLO.replacen('*', ">", 1);
    assert_eq!(
        sent(&mut publisher, batch(5)),
        format!("+OK\r\n:2\r\n{push}")
    );
    // A transaction: what it wrote after the PUBLISH counts as well.
    f.state.publish(false, b"a", b"hello", own);
    publisher.buf().extend_from_slice(b"*2\r\n:2\r\n+OK\r\n");
    f.state.seal_fanout(&mut publisher, batch(6), None);
    assert_eq!(f.output(listener).pending_gate(), Some(batch(6)));
}

#[test]
fn what_did_not_happen_is_never_told() {
    let mut f = Fixture::new();
    let listener = f.join(SubscriptionKind::Pattern, "*");
    let own = (f.join(SubscriptionKind::Shard, "a"), Proto::Resp2);
    f.state.config.cluster_enabled = true;
    // The command runs again later.
    assert_eq!(f.state.publish(false, b"a", b"hello", own), 1);
    assert!(f.state.pubsub.fanout.is_pending());
    f.state.drop_fanout();
    assert!(!f.state.pubsub.fanout.is_pending());
    assert_eq!(f.output(listener).pending_bytes(), 0);
    // Its batch is lost.
    let mut publisher = Output::new();
    f.state.publish(false, b"a", b"hello", own);
    publisher.buf().extend_from_slice(b":1\r\n");
    f.state.seal_fanout(&mut publisher, batch(1), None);
    let mut moved = |_: Option<u16>, out: &mut Vec<u8>| out.extend_from_slice(b"-MOVED\r\n");
    f.output(listener)
        .fail(BatchSeq(1)..=BatchSeq(1), &mut moved);
    publisher.fail(BatchSeq(1)..=BatchSeq(1), &mut moved);
    f.state.pubsub.outbound.fail(BatchSeq(1)..=BatchSeq(1));
    assert_eq!(sent(f.output(listener), batch(9)), "");
    assert_eq!(sent(&mut publisher, batch(9)), "-MOVED\r\n");
    assert!(f.state.pubsub.outbound.release(batch(9)).is_empty());
}

#[test]
fn who_does_not_read_its_messages_is_closed() {
    let mut f = Fixture::new();
    f.state.config.held_output_limit = 1000;
    let listener = f.join(SubscriptionKind::Channel, "a");
    let other = f.join(SubscriptionKind::Channel, "b");
    for n in 0..20 {
        f.state
            .publish(false, b"a", &[b'x'; 90], (other, Proto::Resp2));
        f.state.seal_fanout(&mut Output::new(), Gate::OPEN, None);
        let bytes = f.output(listener).pending_bytes();
        assert!(bytes <= 1000 + 200, "{bytes} bytes after {n} messages");
    }
    assert_eq!(f.state.killed, [listener]);
}

#[test]
fn a_lost_slot_ends_its_shard_channels() {
    use cluster_bus::slot::key_slot;
    let mut f = Fixture::new();
    let listener = f.join(SubscriptionKind::Shard, "a");
    let who = Subscriber(listener.bits());
    for (kind, name) in [
        (SubscriptionKind::Shard, "b"),
        (SubscriptionKind::Channel, "a"),
    ] {
        f.state
            .pubsub
            .registry
            .subscribe(who, kind, name.as_bytes());
    }
    let own = cluster_bus::SlotSet::from_iter([key_slot(b"b")]);
    f.state.end_shard_channels(&own);
    let told = "*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:1\r\n";
    assert_eq!(sent(f.output(listener), Gate::OPEN), told);
    let registry = &f.state.pubsub.registry;
    assert_eq!(registry.listeners(SubscriptionKind::Shard, b"a"), 0);
    let counts = registry.counts(who);
    let client = f.state.clients.get(listener).unwrap().as_ref().unwrap();
    assert_eq!(client.session.subscriptions, counts);
    assert_eq!((counts.shard, counts.channels), (1, 1));
    // What is still served stays.
    f.state.end_shard_channels(&own);
    assert_eq!(sent(f.output(listener), Gate::OPEN), "");
}
