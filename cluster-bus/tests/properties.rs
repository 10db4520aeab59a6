//! What holds for all packets and files: what is written is read back as it was, and no bytes
//! whatever make a reader panic.

use cluster_bus::nodes_conf::{self, NodeLine, NodesConf};
use cluster_bus::wire::{
    decode, frame_len, Body, Extension, Flags, Gossip, Header, Message, PingKind,
};
use cluster_bus::{NodeId, ShardId, SlotSet};
use proptest::collection::vec;
use proptest::prelude::*;

fn ids() -> impl Strategy<Value = NodeId> + Clone {
    any::<[u8; 20]>().prop_map(NodeId)
}

fn ips() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
        "[a-z0-9.:_%-]{45}",
    ]
}

const HOSTNAME: &str = "[A-Za-z0-9.-]{0,40}";
const NODENAME: &str = "[A-Za-z0-9._:/-]{0,40}";
/// On the wire it may also have what would break a line of nodes.conf.
const ANY_NODENAME: &str = "[A-Za-z0-9._:/, ='é-]{0,40}";

fn slot_sets() -> impl Strategy<Value = SlotSet> {
    prop_oneof![
        Just(SlotSet::default()),
        (0u16..16384, 0u16..16384).prop_map(|(a, b)| (a.min(b)..=a.max(b)).collect()),
        vec(0u16..16384, 0..50).prop_map(|slots| slots.into_iter().collect()),
    ]
}

fn headers() -> impl Strategy<Value = Header> {
    let numbers = (any::<[u16; 4]>(), any::<[u64; 3]>(), any::<[u8; 4]>());
    (
        ids(),
        proptest::option::of(ids()),
        slot_sets(),
        ips(),
        numbers,
    )
        .prop_map(|(sender, master, slots, ip, (short, long, bytes))| Header {
            sender,
            // All zeros on the wire: no master. As hex digits it is an id like others.
            master,
            slots,
            ip,
            port: short[0],
            pport: short[1],
            cport: short[2],
            flags: Flags(short[3]),
            state: bytes[0],
            message_flags: [bytes[1] & !4, bytes[2], bytes[3]],
            current_epoch: long[0],
            config_epoch: long[1],
            offset: long[2],
        })
}

fn gossip() -> impl Strategy<Value = Gossip> {
    (ids(), any::<[u32; 2]>(), ips(), any::<[u16; 4]>()).prop_map(|(node, times, ip, short)| {
        Gossip {
            node,
            ping_sent: times[0],
            pong_received: times[1],
            ip,
            port: short[0],
            cport: short[1],
            flags: Flags(short[2]),
            pport: short[3],
        }
    })
}

fn extensions() -> impl Strategy<Value = Extension> {
    prop_oneof![
        HOSTNAME.prop_map(Extension::Hostname),
        ANY_NODENAME.prop_map(Extension::HumanNodename),
        (ids(), any::<u64>())
            .prop_map(|(node, ttl_seconds)| Extension::ForgottenNode { node, ttl_seconds }),
        ids().prop_map(|id| Extension::ShardId(ShardId(id.0))),
    ]
}

fn bodies() -> impl Strategy<Value = Body> {
    let kinds = prop_oneof![
        Just(PingKind::Ping),
        Just(PingKind::Pong),
        Just(PingKind::Meet)
    ];
    let bytes = || vec(any::<u8>(), 0..100);
    prop_oneof![
        3 => (kinds, vec(gossip(), 0..6), vec(extensions(), 0..6)).prop_map(
            |(kind, gossip, extensions)| Body::Ping { kind, gossip, extensions }
        ),
        1 => ids().prop_map(Body::Fail),
        1 => (any::<bool>(), bytes(), bytes()).prop_map(
            |(sharded, channel, message)| Body::Publish { sharded, channel, message }
        ),
        1 => Just(Body::AuthRequest),
        1 => Just(Body::AuthAck),
        1 => Just(Body::MfStart),
        1 => (any::<u64>(), ids(), slot_sets()).prop_map(
            |(config_epoch, node, slots)| Body::Update { config_epoch, node, slots }
        ),
        1 => (any::<u64>(), any::<u8>(), bytes())
            .prop_map(|(id, kind, data)| Body::Module { id, kind, data }),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    (headers(), bodies()).prop_map(|(mut header, body)| {
        // Extensions bring their flag with them.
        if matches!(&body, Body::Ping { extensions, .. } if !extensions.is_empty()) {
            header.message_flags[0] |= 4;
        }
        Message { header, body }
    })
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn flags() -> impl Strategy<Value = Flags> {
    (any::<bool>(), any::<u16>()).prop_map(|(master, bits)| {
        let written = [Flags::PFAIL, Flags::FAIL, Flags::NOADDR, Flags::NOFAILOVER];
        let mask = written.iter().fold(0, |mask, flag| mask | flag.0);
        let role = if master { Flags::MASTER } else { Flags::SLAVE };
        Flags(bits & mask | role.0)
    })
}

fn lines() -> impl Strategy<Value = NodeLine> {
    let names = (ips(), HOSTNAME, NODENAME);
    let numbers = (any::<[u16; 3]>(), 0..i64::MAX, 0..i64::MAX, any::<u64>());
    let links = (
        proptest::option::of(ids()),
        proptest::option::of(ids()),
        any::<bool>(),
    );
    (ids(), names, numbers, flags(), links).prop_map(
        |(id, (ip, hostname, human_nodename), (ports, ping, pong, epoch), flags, links)| NodeLine {
            id,
            ip,
            port: ports[0],
            tls_port: ports[1],
            cport: ports[2],
            hostname,
            human_nodename,
            shard: links.0.map(|id| ShardId(id.0)),
            flags,
            master: links.1.filter(|_| flags.has(Flags::SLAVE)),
            ping_sent_ms: ping,
            pong_received_ms: pong,
            config_epoch: epoch,
            connected: links.2,
            ..NodeLine::default()
        },
    )
}

/// Files whose masters share all slots in stripes and runs; the first node is myself.
fn files() -> impl Strategy<Value = NodesConf> {
    let motion = vec((0u16..16384, any::<bool>(), ids()), 0..8);
    (vec(lines(), 1..6), slot_sets(), motion, any::<u64>()).prop_map(
        |(mut nodes, stripe, motion, last_vote_epoch)| {
            nodes[0].flags.set(Flags::MYSELF, true);
            nodes[0].connected = true;
            let mut moving = SlotSet::default();
            for (slot, going, id) in motion {
                let list = match going {
                    true => &mut nodes[0].migrating,
                    false => &mut nodes[0].importing,
                };
                if moving.insert(slot) {
                    list.push((slot, id));
                }
            }
            nodes[0].migrating.sort();
            nodes[0].importing.sort();
            let masters = nodes.iter_mut().filter(|n| n.flags.has(Flags::MASTER));
            for (at, node) in masters.take(2).enumerate() {
                let own = |slot: &u16| stripe.contains(*slot) == (at == 0);
                node.slots = (0..16384).filter(own).collect();
            }
            NodesConf {
                current_epoch: nodes.iter().map(|n| n.config_epoch).max().unwrap_or(0),
                nodes,
                last_vote_epoch,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_packet_comes_back(message in messages()) {
        let bytes = encoded(&message);
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(frame_len(&bytes), Ok(Some(bytes.len())));
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..3000)) {
        let _ = frame_len(&bytes);
        let _ = decode(&bytes);
        let mut dressed = b"RCmb".to_vec();
        dressed.extend_from_slice(&(bytes.len() as u32 + 10).to_be_bytes());
        dressed.extend_from_slice(&[0, 1]);
        dressed.extend_from_slice(&bytes);
        let _ = decode(&dressed);
    }

    /// Damage where it hurts: in the header's numbers and in the body; the length is set right
    /// again, so that the readers of bodies see it.
    #[test]
    fn damaged_packets_are_answered(
        message in messages(),
        places in vec((any::<prop::sample::Index>(), 0usize..3, any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encoded(&message);
        for (index, region, value) in places {
            let at = match region {
                0 => [12, 13, 14, 15, 2214, 2215, 2253][index.index(7)],
                1 if bytes.len() > 2256 => 2256 + index.index(bytes.len() - 2256),
                _ => index.index(bytes.len()),
            };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(2256 + cut.index(bytes.len() - 2255));
        }
        bytes[..4].copy_from_slice(b"RCmb");
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        if let Ok(read) = decode(&bytes) {
            // What was taken is good enough to be sent on.
            prop_assert_eq!(decode(&encoded(&read)), Ok(read));
        }
    }

    #[test]
    fn a_file_comes_back(file in files()) {
        prop_assert_eq!(nodes_conf::parse(&file.render()), Ok(file));
    }

    #[test]
    fn any_text_is_answered(text in "(\\PC|[ \n,:@\\[\\]<>=-]){0,200}") {
        prop_assert!(nodes_conf::parse(&text).is_err());
    }

    #[test]
    fn damaged_files_are_answered(
        file in files(),
        places in vec((any::<prop::sample::Index>(), "[ \n0-9a-f,:@\\[\\]<>=-]"), 1..4),
    ) {
        let mut text = file.render();
        for (index, with) in places {
            let at = index.index(text.len());
            text.replace_range(at..=at, &with);
        }
        if let Ok(read) = nodes_conf::parse(&text) {
            prop_assert_eq!(nodes_conf::parse(&read.render()), Ok(read));
        }
    }

    #[test]
    fn a_cut_file_is_noticed(file in files(), cut in any::<prop::sample::Index>()) {
        let text = file.render();
        prop_assert!(nodes_conf::parse(&text[..cut.index(text.len())]).is_err());
    }
}
