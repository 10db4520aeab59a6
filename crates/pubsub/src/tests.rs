//! The registry, by itself.

use super::SubscriptionKind::{Channel, Pattern, Shard};
use super::*;
use resp::Proto;

const A: Subscriber = Subscriber(1);
const B: Subscriber = Subscriber(2);

fn receivers(registry: &Registry, sharded: bool, channel: &str) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    registry.for_each_receiver(sharded, channel.as_bytes(), &mut |who, pattern| {
        let pattern = pattern.unwrap_or(b"-");
        all.push((who.0, String::from_utf8_lossy(pattern).into_owned()));
    });
    all
}

#[test]
fn channels_patterns_and_shard_channels_are_apart() {
    let mut r = Registry::new();
    assert_eq!(r.subscribe(A, Channel, b"x").told(Channel), 1);
    assert_eq!(r.subscribe(A, Channel, b"x").told(Channel), 1);
    assert_eq!(r.subscribe(A, Pattern, b"x*").told(Pattern), 2);
    assert_eq!(r.subscribe(A, Shard, b"x").told(Shard), 1);
    r.subscribe(B, Channel, b"x");
    let dash = |who| (who, "-".to_owned());
    let both = [dash(1), dash(2), (1, "x*".to_owned())];
    assert_eq!(receivers(&r, false, "x"), both);
    assert_eq!(receivers(&r, false, "xy"), [(1, "x*".to_owned())]);
    assert_eq!(receivers(&r, true, "x"), [dash(1)]);
    assert_eq!(receivers(&r, true, "xy"), []);
    assert_eq!(r.listeners(Channel, b"x"), 2);
    assert_eq!(r.active(Channel, Some(b"?")).count(), 1);
    assert_eq!(r.active(Channel, Some(b"y")).count(), 0);
    assert_eq!(r.unsubscribe(B, Shard, b"x"), r.counts(B));
    assert_eq!(r.of(A, Pattern), [b"x*".as_slice().into()]);
}

#[test]
fn nothing_is_left_of_who_has_gone() {
    let mut r = Registry::new();
    for kind in SubscriptionKind::ALL {
        for name in [b"x", b"y"] {
            r.subscribe(A, kind, name);
            r.subscribe(B, kind, name);
        }
    }
    r.remove(A);
    r.remove(A);
    assert_eq!(r.counts(A), Counts::default());
    assert_eq!(r.len(Channel), 2);
    for kind in SubscriptionKind::ALL {
        for name in [b"x", b"y"] {
            r.unsubscribe(B, kind, name);
            r.unsubscribe(B, kind, name);
        }
        assert_eq!(r.len(kind), 0);
    }
    assert!(r.is_empty());
}

#[test]
fn shard_channels_end_with_their_slots() {
    let mut r = Registry::new();
    r.subscribe(A, Shard, b"gone1");
    r.subscribe(A, Shard, b"gone2");
    r.subscribe(B, Shard, b"gone2");
    r.subscribe(B, Shard, b"stays");
    r.subscribe(A, Channel, b"gone1");
    let told = r.remove_shard_channels(|name| name.starts_with(b"gone"));
    let told: Vec<_> = told
        .iter()
        .map(|(who, name, c)| (who.0, &**name, c.shard))
        .collect();
    let want: [(u64, &[u8], usize); 3] = [(1, b"gone1", 1), (1, b"gone2", 0), (2, b"gone2", 1)];
    assert_eq!(told, want);
    assert_eq!(r.len(Shard), 1);
    assert_eq!(r.counts(A).channels, 1);
}

#[test]
fn messages_have_the_form_of_redis() {
    let message = |proto, sharded, pattern| {
        let mut out = Vec::new();
        write_message(&mut out, proto, sharded, pattern, b"ch", b"m\r\n");
        String::from_utf8(out).unwrap()
    };
    let rest = "$2\r\nch\r\n$3\r\nm\r\n\r\n";
    let expect = [
        (Proto::Resp2, false, None, "*3\r\n$7\r\nmessage\r\n"),
        (Proto::Resp3, true, None, ">3\r\n$8\r\nsmessage\r\n"),
        (
            Proto::Resp3,
            false,
            Some(&b"c*"[..]),
            ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n",
        ),
    ];
    for (proto, sharded, pattern, start) in expect {
        assert_eq!(message(proto, sharded, pattern), format!("{start}{rest}"));
    }
}
