//! Packets that a real Redis 7.0.15 sent on its bus: each is read, its fields are checked, and it
//! is written again to the same bytes. What 7.0 never sends (the younger extensions, MODULE) is
//! laid out by hand from the documented offsets.
//!
//! The packets were taken from five servers at 127.0.0.1:27311-27315 by a listener at 27320 that
//! they took for a node: 27311-27313 masters of a third of the slots each, 27314 a replica of
//! 27313, 27315 a replica of the listener.

use cluster_bus::wire::{
    decode, frame_len, Body, Extension, Flags, Gossip, Message, PingKind, WireError,
};
use cluster_bus::{NodeId, ShardId, SlotSet};

const NODE_1: &str = "2bb5f5b12d7cc5b698e68bb4adc229da4dfab2e7";
const NODE_2: &str = "712679eeb2660e1e78ac73f40a66b5fc20e682b2";
const NODE_3: &str = "32a59f616a0ef5f34a7c799b48b0ba42a5864f24";
const NODE_4: &str = "942a4ed32d1979e6e39add13ae1d5e131ec536c9";
const NODE_5: &str = "44b0aa91c351c20e130931d444c7b793262034dd";
const LISTENER: &str = "f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0";

fn id(text: &str) -> NodeId {
    text.parse().expect("an id")
}

fn shard_id(text: &str) -> ShardId {
    text.parse().expect("an id")
}

macro_rules! golden {
    ($name:literal) => {
        golden(include_bytes!(concat!("golden/redis-7.0-", $name, ".bin")))
    };
}

/// Reads a packet and proves that writing it gives the same bytes.
fn golden(packet: &[u8]) -> Message {
    assert_eq!(frame_len(packet), Ok(Some(packet.len())));
    let message = decode(packet).expect("a packet of Redis");
    let mut again = b"before".to_vec();
    message.encode(&mut again);
    assert!(again[6..] == *packet, "{message:?}");
    assert_eq!(message.encoded_len(), packet.len());
    message
}

fn slots(first: u16, last: u16) -> SlotSet {
    (first..=last).collect()
}

fn gossip(node: &str, pong_received: u32, port: u16, flags: u16) -> Gossip {
    Gossip {
        node: id(node),
        ping_sent: 0,
        pong_received,
        ip: "127.0.0.1".into(),
        port,
        cport: port + 10_000,
        flags: Flags(flags),
        pport: 0,
    }
}

#[test]
fn meet() {
    let message = golden!("meet");
    let header = &message.header;
    assert_eq!(header.sender, id(NODE_1));
    assert_eq!(header.master, None);
    assert_eq!(header.slots, slots(0, 5460));
    assert_eq!(header.ip, "");
    assert_eq!((header.port, header.pport, header.cport), (27311, 0, 37311));
    let flags = Flags(Flags::MASTER.0 | Flags::MYSELF.0);
    assert_eq!((header.flags, header.state), (flags, 0));
    assert_eq!(header.message_flags, [0; 3]);
    assert_eq!((header.current_epoch, header.config_epoch), (5, 1));
    assert_eq!(header.offset, 0);
    let (slave, master) = (Flags::SLAVE.0, Flags::MASTER.0);
    let expected = Body::Ping {
        kind: PingKind::Meet,
        gossip: vec![
            gossip(NODE_4, 1_795_246_297, 27314, slave),
            gossip(NODE_2, 1_795_246_297, 27312, master),
        ],
        extensions: vec![],
    };
    assert_eq!(message.body, expected);
}

#[test]
fn ping() {
    let message = golden!("ping");
    assert_eq!(message.header.sender, id(NODE_1));
    let (slave, master) = (Flags::SLAVE.0, Flags::MASTER.0);
    let expected = Body::Ping {
        kind: PingKind::Ping,
        gossip: vec![
            gossip(NODE_4, 1_795_246_299, 27314, slave),
            gossip(NODE_2, 1_795_246_299, 27312, master),
            // It had a replica at once: replicas of others may migrate to it.
            gossip(NODE_3, 1_795_246_297, 27313, master | Flags::MIGRATE_TO.0),
        ],
        extensions: vec![],
    };
    assert_eq!(message.body, expected);
}

#[test]
fn ping_and_pong_with_a_hostname() {
    for (message, wanted) in [
        (golden!("ping-hostname"), PingKind::Ping),
        (golden!("pong"), PingKind::Pong),
    ] {
        assert_eq!(message.header.sender, id(NODE_2));
        assert_eq!(message.header.message_flags, [4, 0, 0]);
        let Body::Ping {
            kind,
            gossip,
            extensions,
        } = message.body
        else {
            panic!("{:?}", message.body);
        };
        assert_eq!((kind, gossip.len()), (wanted, 3));
        let hostname = Extension::Hostname("host-2.example.com".into());
        assert_eq!(extensions, [hostname]);
    }
}

#[test]
fn fail() {
    let message = golden!("fail");
    assert_eq!(message.header.sender, id(NODE_5));
    assert_eq!(message.header.master, Some(id(LISTENER)));
    assert!(message.header.slots.is_empty());
    assert_eq!(message.body, Body::Fail(id(NODE_3)));
}

#[test]
fn publish() {
    let publish = |sharded, channel: &str, message: &str| Body::Publish {
        sharded,
        channel: channel.into(),
        message: message.into(),
    };
    let cluster = golden!("publish");
    assert_eq!(cluster.header.sender, id(NODE_1));
    assert_eq!(cluster.body, publish(false, "news", "hello, bus"));
    let shard = golden!("publish-shard");
    assert_eq!(shard.body, publish(true, "{06S}news", "shard news"));
}

#[test]
fn a_vote() {
    let request = golden!("auth-request");
    assert_eq!(request.body, Body::AuthRequest);
    assert_eq!(request.header.sender, id(NODE_4));
    assert_eq!(request.header.master, Some(id(NODE_3)));
    assert_eq!(request.header.slots, slots(10923, 16383));
    assert!(request.header.flags.has(Flags::SLAVE));
    assert_eq!(request.header.state, 1);
    assert_eq!(
        (request.header.current_epoch, request.header.config_epoch),
        (21, 3)
    );
    let ack = golden!("auth-ack");
    assert_eq!(ack.body, Body::AuthAck);
    assert_eq!(ack.header.sender, id(NODE_2));
    assert_eq!(ack.header.current_epoch, 20);
}

#[test]
fn update() {
    let expected = Body::Update {
        config_epoch: 1,
        node: id(NODE_1),
        slots: slots(0, 5460),
    };
    assert_eq!(golden!("update").body, expected);
}

#[test]
fn mfstart() {
    let message = golden!("mfstart");
    assert_eq!(message.body, Body::MfStart);
    assert_eq!(message.header.sender, id(NODE_5));
}

/// A real PING whose body and type are others.
fn with_body(kind: u16, count: u16, extensions: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = include_bytes!("golden/redis-7.0-ping.bin")[..2256].to_vec();
    packet[12..14].copy_from_slice(&kind.to_be_bytes());
    packet[14..16].copy_from_slice(&count.to_be_bytes());
    packet[2214..2216].copy_from_slice(&extensions.to_be_bytes());
    packet[2253] = if extensions > 0 { 4 } else { 0 };
    packet.extend_from_slice(body);
    let length = packet.len() as u32;
    packet[4..8].copy_from_slice(&length.to_be_bytes());
    packet
}

/// Length, type, two unused bytes, data that fills up to a multiple of eight.
fn extension(kind: u8, data: &[u8]) -> Vec<u8> {
    let size = 8 + data.len().div_ceil(8) * 8;
    let mut out = vec![0, 0, 0, size as u8, 0, kind, 0, 0];
    out.extend_from_slice(data);
    out.resize(size, 0);
    out
}

fn extensions_of(packet: &[u8]) -> Vec<Extension> {
    match decode(packet).expect("a packet").body {
        Body::Ping { extensions, .. } => extensions,
        other => panic!("{other:?}"),
    }
}

#[test]
fn extensions_of_7_2() {
    let forgotten = [NODE_3.as_bytes(), &60u64.to_be_bytes()].concat();
    let body = [
        extension(0, b"seven77\0"),
        extension(1, b"rack-7/a\0"),
        extension(2, &forgotten),
        extension(3, NODE_2.as_bytes()),
    ]
    .concat();
    assert_eq!(body.len(), 16 + 24 + 56 + 48);
    let packet = with_body(1, 0, 4, &body);
    golden(&packet);
    let expected = [
        Extension::Hostname("seven77".into()),
        Extension::HumanNodename("rack-7/a".into()),
        Extension::ForgottenNode {
            node: id(NODE_3),
            ttl_seconds: 60,
        },
        Extension::ShardId(shard_id(NODE_2)),
    ];
    assert_eq!(extensions_of(&packet), expected);
}

#[test]
fn module() {
    let body = [&7u64.to_be_bytes()[..], &3u32.to_be_bytes(), &[9], b"abc"].concat();
    let expected = Body::Module {
        id: 7,
        kind: 9,
        data: b"abc".to_vec(),
    };
    assert_eq!(golden(&with_body(9, 0, 0, &body)).body, expected);
}

#[test]
fn what_is_not_known_is_skipped() {
    let shard = extension(3, NODE_2.as_bytes());
    let body = [
        extension(77, b"what is this?"),
        extension(0, b"two words\0"),
        shard,
    ]
    .concat();
    let packet = with_body(0, 0, 3, &body);
    assert_eq!(
        extensions_of(&packet),
        [Extension::ShardId(shard_id(NODE_2))]
    );
    // Without the flag nobody looks at the number of extensions.
    let mut none = with_body(0, 0, 1, b"");
    none[2253] = 0;
    assert_eq!(extensions_of(&none), []);
}

#[test]
fn damage_has_a_name() {
    let ping = with_body(0, 0, 0, b"");
    let with = |at: usize, bytes: &[u8]| {
        let mut packet = ping.clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        decode(&packet)
    };
    assert_eq!(with(0, b"RCmB"), Err(WireError::Signature));
    assert_eq!(with(4, &[0, 0, 0, 16]), Err(WireError::FrameLength(16)));
    assert_eq!(with(4, &[255; 4]), Err(WireError::FrameLength(u32::MAX)));
    assert_eq!(with(8, &[0, 2]), Err(WireError::Version(2)));
    assert_eq!(with(12, &[0, 11]), Err(WireError::UnknownType(11)));
    // Valkey's light packets go only to those that ask for them.
    assert_eq!(with(12, &[128, 4]), Err(WireError::UnknownType(0x8004)));
    let length = |wanted, got| Err(WireError::Length { wanted, got });
    assert_eq!(with(14, &[0, 1]), length(2360, 2256));
    assert_eq!(decode(&ping[..2255]), length(2256, 2255));
    assert_eq!(decode(b"RCmb"), length(2256, 4));
    assert!(matches!(with(40, b"x"), Err(WireError::Id(_))));
    assert!(matches!(with(2168, b"1 2"), Err(WireError::Text(_))));
    assert!(matches!(with(2168, &[b'1'; 46]), Err(WireError::Text(_))));
    let extension_of = |size: u8| {
        let body = [0, 0, 0, size, 0, 3, 0, 0].repeat(2);
        decode(&with_body(0, 0, 1, &body))
    };
    for size in [0, 7, 15, 16, 24] {
        assert!(
            matches!(extension_of(size), Err(WireError::Extension { .. })),
            "{size}"
        );
    }
    let long = [&[255; 8][..], b"ab"].concat();
    assert!(matches!(
        decode(&with_body(4, 0, 0, &long)),
        Err(WireError::Length { .. })
    ));
}

#[test]
fn a_frame_begins_with_eight_bytes() {
    let packet = include_bytes!("golden/redis-7.0-update.bin");
    for cut in 0..8 {
        assert_eq!(frame_len(&packet[..cut]), Ok(None));
    }
    assert_eq!(frame_len(&packet[..8]), Ok(Some(4352)));
    let with = |length: u32| {
        let head = [&b"RCmb"[..], &length.to_be_bytes()].concat();
        frame_len(&head)
    };
    assert_eq!(with(2256), Ok(Some(2256)));
    assert_eq!(with(2255), Err(WireError::FrameLength(2255)));
    let max = (64 << 20) + 2256;
    assert_eq!(with(max), Ok(Some(max as usize)));
    assert_eq!(with(max + 1), Err(WireError::FrameLength(max + 1)));
}
