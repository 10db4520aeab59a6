//! Garbage behind a handshake that is right: frames with a true checksum that say nothing sensible,
//! frames that are cut, and messages that no member of the group has sent. The node lives, keeps
//! its data and its memory, and says in its log what it could not read.
//!
//! The bytes are written down here once more: the test shares no code with the links.

use crate::harness::{check, wait_for, Cluster, SOON};
use crate::load::Load;
use hmac::{Hmac, Mac};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MB: u64 = 1 << 20;

pub fn unhex(id: &str) -> Vec<u8> {
    let digits = id.as_bytes().chunks(2);
    let byte = |d: &[u8]| u8::from_str_radix(std::str::from_utf8(d).expect("ascii"), 16);
    digits.map(|d| byte(d).expect("hex")).collect()
}

/// A proof of a Raft link: that `side` knows the password, which is none.
fn proof(side: &[u8], said: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"").expect("HMAC takes any key");
    mac.update(side);
    mac.update(said);
    mac.finalize().into_bytes().to_vec()
}

/// A Raft link to a node, after its handshake.
pub fn link(port: u16, class: u8, from: &[u8], to: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port + 10_000)).expect("the bus listens");
    let limit = Some(Duration::from_secs(10));
    stream.set_write_timeout(limit).expect("a socket option");
    stream.set_read_timeout(limit).expect("a socket option");
    let hello = [b"HFL1".as_slice(), &[3, class], from, &unhex(to), &[5; 16]].concat();
    stream.write_all(&hello).expect("it reads the hello");
    let mut answer = [0; 40];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[..4], *b"HFL1");
    assert_eq!(answer[4..24], unhex(to));
    let said = [&hello, answer.as_slice()].concat();
    let sent = stream.write_all(&proof(b"caller", &said));
    sent.expect("it reads the proof");
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs).expect("it proves it too");
    assert_eq!(theirs[..], proof(b"called", &said));
    stream
}

pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_le_bytes().to_vec();
    out.extend(crc32c::crc32c(bytes).to_le_bytes());
    out.extend(bytes);
    out
}

/// What an outsider may know of a group: CLUSTER RAFT STATUS tells it.
struct Known {
    group: u64,
    term: u64,
    ids: Vec<u64>,
}

fn number(rng: &mut StdRng, known: &Known) -> u64 {
    match rng.gen_range(0..6) {
        0 => known.group,
        1 | 2 => known.ids[rng.gen_range(0..known.ids.len())],
        3 => [0, 1, u64::MAX, 1 << 63][rng.gen_range(0..4)],
        4 => rng.gen_range(0..100),
        _ => rng.gen(),
    }
}

fn random(rng: &mut StdRng, most: usize) -> Vec<u8> {
    (0..rng.gen_range(0..=most)).map(|_| rng.gen()).collect()
}

/// A control message of a random kind, its numbers and its tail as chance has it. LEAVE and
/// FAILOVER (5, 12) are left out: they are orders that any node of the cluster may give.
fn control(rng: &mut StdRng, known: &Known) -> Vec<u8> {
    let kind = loop {
        let kind: u8 = rng.gen_range(1..20);
        if ![5, 12].contains(&kind) {
            break kind;
        }
    };
    let mut bytes = vec![kind];
    match rng.gen_range(0..3) {
        0 => bytes.extend(random(rng, 300)),
        1 => {
            for _ in 0..rng.gen_range(0..4) {
                bytes.extend(rng.gen::<u64>().to_le_bytes());
            }
        }
        _ => {
            bytes.extend(number(rng, known).to_le_bytes());
            bytes.extend(rng.gen::<u64>().to_le_bytes());
        }
    }
    bytes
}

/// An envelope for a member, or nearly; behind its header random bytes.
fn envelope(rng: &mut StdRng, known: &Known) -> Vec<u8> {
    let mut bytes = vec![0, if rng.gen_bool(0.9) { 2 } else { rng.gen() }];
    let aimed = rng.gen_bool(0.7);
    for field in 0..8 {
        let value = match field {
            0 if aimed => known.group,
            3 if aimed => known.ids[0],
            _ => number(rng, known),
        };
        bytes.extend(value.to_le_bytes());
    }
    bytes.push(rng.gen());
    bytes.extend(random(rng, 200));
    if rng.gen_bool(0.1) {
        bytes.truncate(rng.gen_range(0..bytes.len()));
    }
    bytes
}

pub fn varint(out: &mut Vec<u8>, tag: u8, mut value: u64) {
    out.push(tag << 3);
    while value > 127 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message that can be read, from somebody who is no member: of any type, with any numbers, but
/// of no term above the group's, which would be a new leader's right.
fn stranger(rng: &mut StdRng, known: &Known) -> Vec<u8> {
    let from = rng.gen::<u64>() | 1;
    let mut bytes = vec![0, 2];
    for value in [
        known.group,
        1,
        from,
        known.ids[0],
        rng.gen_range(0..9),
        0,
        0,
        0,
    ] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.push(1);
    varint(&mut bytes, 1, rng.gen_range(0..20)); // its type
    varint(&mut bytes, 2, known.ids[0]);
    varint(&mut bytes, 3, from);
    varint(&mut bytes, 4, rng.gen_range(known.term - 1..=known.term));
    for tag in [5, 6, 8, 10, 11] {
        if rng.gen_bool(0.7) {
            varint(&mut bytes, tag, number(rng, known));
        }
    }
    bytes
}

fn assert_unharmed(cluster: &mut Cluster, before: &[u64], pids: &[u32]) {
    cluster.wait_well();
    for (index, node) in cluster.nodes.iter_mut().enumerate() {
        assert!(node.is_running(), "{} ended\n{}", node.port, node.log());
        assert_eq!(node.pid(), pids[index]);
        let growth = node.rss().saturating_sub(before[index]);
        assert!(growth < 64 * MB, "{} MB stay at {}", growth / MB, node.port);
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

#[test]
fn garbage_behind_a_handshake() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 1);
    load.wait_acks_everywhere(20);
    let before: Vec<u64> = cluster.nodes.iter().map(|n| n.rss()).collect();
    let pids: Vec<u32> = cluster.nodes.iter().map(|n| n.pid()).collect();
    let shard = &shards[0];
    let terms = cluster.nodes[shard.master].raft_number("raft_term");
    let host = cluster.witness_host(shard);
    for (target, member) in [(shard.master, 0), (shard.replicas[0], 1), (host, 2)] {
        let members = cluster.nodes[shard.master].members().expect("it answers");
        let id = |id: &str| u64::from_str_radix(id, 16).expect("hex");
        let group = cluster.nodes[shard.master].info("raft", "raft_group");
        let mut ids: Vec<u64> = members.iter().map(|m| id(&m.id)).collect();
        let port = cluster.nodes[target].port;
        let own = members.iter().position(|m| m.port == port);
        ids.swap(0, own.expect("a member"));
        let known = Known {
            group: id(&group.expect("a group")),
            term: terms,
            ids,
        };
        let to = cluster.nodes[target].id();
        for seed in 0..300u64 {
            let mut rng = StdRng::seed_from_u64(seed * 3 + member);
            // A stranger; a node that is known would have its own links closed by these.
            let mut stream = link(port, (seed % 2) as u8, &rng.gen::<[u8; 20]>(), &to);
            for _ in 0..rng.gen_range(1..20) {
                let mut bytes = match rng.gen_range(0..4) {
                    0 => frame(&control(&mut rng, &known)),
                    1 => frame(&envelope(&mut rng, &known)),
                    2 => frame(&stranger(&mut rng, &known)),
                    _ => frame(&random(&mut rng, 4000)),
                };
                match rng.gen_range(0..30) {
                    0 => bytes.truncate(rng.gen_range(0..bytes.len())),
                    1 => bytes[4] ^= 1, // the checksum
                    2 => bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes()),
                    _ => {}
                }
                // In two pieces; the node may hang up at any time.
                let cut = rng.gen_range(0..=bytes.len());
                let _ = stream.write_all(&bytes[..cut]);
                let _ = stream.write_all(&bytes[cut..]);
            }
            if seed % 50 == 0 {
                assert_eq!(
                    cluster.nodes[target].cmd(&["PING"]).text(),
                    "PONG",
                    "{seed}"
                );
            }
        }
        wait_for("its log says so", SOON, || {
            let log = cluster.nodes[target].log();
            let said = log.contains("can't be read") && log.contains("checksum is wrong");
            check(said, || {
                log.lines().rev().take(9).collect::<Vec<_>>().join("\n")
            })
        });
    }
    load.wait_acks_everywhere(20);
    assert_unharmed(&mut cluster, &before, &pids);
    let now = cluster.nodes[shard.master].raft_number("raft_term");
    assert_eq!(now, terms, "strangers caused an election");
    load.verify();
}

/// A peer that says what it likes a hundred thousand times: neither memory nor the log file grow
/// with it.
#[test]
fn a_flood_behind_a_handshake() {
    let mut cluster = Cluster::formed(3, 1);
    let shard = cluster.shards()[0].clone();
    let before: Vec<u64> = cluster.nodes.iter().map(|n| n.rss()).collect();
    let pids: Vec<u32> = cluster.nodes.iter().map(|n| n.pid()).collect();
    let node = &cluster.nodes[shard.master];
    let members = node.members().expect("it answers");
    let id = |id: &str| u64::from_str_radix(id, 16).expect("hex");
    let known = Known {
        group: id(&node.info("raft", "raft_group").expect("a group")),
        term: node.raft_number("raft_term"),
        ids: members.iter().map(|m| id(&m.id)).collect(),
    };
    let logged = node.log().len();
    let mut rng = StdRng::seed_from_u64(7);
    let mut stream = link(node.port, 0, &[9; 20], &node.id());
    let mut sent = 0;
    for n in 0..200 {
        let mut batch = Vec::new();
        for _ in 0..500 {
            batch.extend(match n % 2 {
                0 => frame(&stranger(&mut rng, &known)),
                _ => frame(&[99, 1, 2, 3]),
            });
            sent += 1;
        }
        stream
            .write_all(&batch)
            .expect("the node takes frames that are whole");
    }
    wait_for("the node answers behind them", SOON, || {
        let mut client = node.try_client().map_err(|e| e.to_string())?;
        client
            .try_cmd(&["PING"])
            .map_err(|e| e.to_string())
            .map(drop)
    });
    let lines = node.log().len() - logged;
    println!("{sent} frames: {lines} bytes of log");
    assert!(lines < 4 << 20, "{sent} frames made a log of {lines} bytes");
    assert_unharmed(&mut cluster, &before, &pids);
}
