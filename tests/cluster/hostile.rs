//! Bytes that no peer and no client would send, on the bus port and on the client port of a node
//! that is part of a cluster: it lives, its memory stays bounded, others are served.

use crate::common::resp::encode;
use crate::harness::{check, wait_for, Cluster, SOON};
use crate::node::Node;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const MB: u64 = 1 << 20;

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port));
    let stream = stream.unwrap_or_else(|e| panic!("nobody listens on {port} any more: {e}"));
    let limit = Some(Duration::from_secs(10));
    stream.set_write_timeout(limit).expect("a socket option");
    stream.set_read_timeout(limit).expect("a socket option");
    stream
}

/// A genuine packet: the MEET of a node that is in no cluster and gone when this returns.
fn genuine_packet(cluster: &Cluster) -> Vec<u8> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let dir = cluster.temp.path().join("stranger");
    std::fs::create_dir_all(&dir).expect("a folder");
    let mut stranger = Node::new(&dir);
    stranger.start();
    // The third argument is the bus port: ours here.
    stranger.ok(&["CLUSTER", "MEET", "127.0.0.1", "1", &port.to_string()]);
    let (mut stream, _) = listener.accept().expect("the stranger connects");
    stream
        .set_read_timeout(Some(SOON))
        .expect("a socket option");
    let mut packet = vec![0u8; 8];
    stream.read_exact(&mut packet).expect("it says something");
    assert_eq!(&packet[..4], b"RCmb");
    let length = u32::from_be_bytes(packet[4..8].try_into().expect("four bytes")) as usize;
    assert!((2000..10_000).contains(&length), "{length}");
    packet.resize(length, 0);
    stream
        .read_exact(&mut packet[8..])
        .expect("the whole packet");
    packet
}

fn with_length(packet: &[u8], length: u32) -> Vec<u8> {
    let mut out = packet.to_vec();
    out[4..8].copy_from_slice(&length.to_be_bytes());
    out
}

/// Random changes, more of them in the header's first and last fields than in the middle.
fn damage(packet: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    for _ in 0..rng.gen_range(1..6) {
        if bytes.is_empty() {
            break;
        }
        let at = match rng.gen_range(0..3) {
            0 => rng.gen_range(0..bytes.len().min(40)),
            1 => bytes.len() - 1 - rng.gen_range(0..bytes.len().min(60)),
            _ => rng.gen_range(0..bytes.len()),
        };
        match rng.gen_range(0..6) {
            0 => bytes[at] = rng.gen(),
            1 => bytes[at] ^= 1 << rng.gen_range(0..8),
            2 => bytes.truncate(at),
            3 => {
                let extra = rng.gen_range(1..300);
                bytes.extend((0..extra).map(|_| rng.gen::<u8>()));
            }
            4 => bytes[at] = [0, 0xff][rng.gen_range(0..2)],
            _ if bytes.len() > 16 => bytes[12] = rng.gen_range(0..14), // its type
            _ => {}
        }
    }
    // Mostly with a length that is true, or nothing behind it is ever looked at.
    if bytes.len() >= 8 && rng.gen_bool(0.7) {
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        bytes[..4].copy_from_slice(b"RCmb");
    }
    bytes
}

/// Alive, the same process, serving, not much bigger than it was.
fn assert_unharmed(cluster: &mut Cluster, before: u64, limit: u64) {
    let known = cluster.nodes.len().to_string();
    // Handshakes that the garbage began end by themselves.
    wait_for("the cluster is as it was", SOON * 2, || {
        cluster.agreed()?;
        for node in &cluster.nodes {
            let is = node.cluster_info("cluster_known_nodes");
            check(is.as_ref() == Some(&known), || {
                format!("{} knows {is:?}", node.port)
            })?;
        }
        Ok(())
    });
    let tag = cluster.shard_of(0).tag(7);
    let victim = &mut cluster.nodes[0];
    assert!(victim.is_running());
    victim.ok(&["SET", &tag, "v"]);
    assert_eq!(victim.cmd(&["GET", &tag]).text(), "v");
    let growth = victim.rss().saturating_sub(before);
    assert!(growth < limit, "{} MB stay behind", growth / MB);
}

#[test]
fn damaged_packets_on_the_bus() {
    let mut cluster = Cluster::formed(3, 0);
    let genuine = genuine_packet(&cluster);
    let port = cluster.nodes[0].port + 10_000;
    let before = cluster.nodes[0].rss();
    for seed in 0..1500u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = open(port);
        for _ in 0..rng.gen_range(1..4) {
            let bytes: Vec<u8> = if seed % 8 == 0 {
                (0..rng.gen_range(1..5000)).map(|_| rng.gen()).collect()
            } else {
                damage(&genuine, &mut rng)
            };
            // In two pieces, so that frames are cut anywhere. The node may hang up at any time.
            let cut = rng.gen_range(0..=bytes.len());
            let _ = stream.write_all(&bytes[..cut]);
            let _ = stream.write_all(&bytes[cut..]);
        }
        if seed % 100 == 0 {
            assert_eq!(
                cluster.nodes[0].cmd(&["PING"]).text(),
                "PONG",
                "seed {seed}"
            );
        }
    }
    assert_unharmed(&mut cluster, before, 64 * MB);
}

/// Announced lengths cost nothing; half a frame costs what has come of it.
#[test]
fn absurd_lengths_and_half_frames_on_the_bus() {
    let mut cluster = Cluster::formed(3, 0);
    let genuine = genuine_packet(&cluster);
    let port = cluster.nodes[0].port + 10_000;
    let before = cluster.nodes[0].rss();
    let mut held = Vec::new();
    for n in 0..200usize {
        let mut stream = open(port);
        let lengths = [
            0u32,
            1,
            7,
            8,
            15,
            16,
            2255,
            1 << 20,
            1 << 28,
            1 << 31,
            u32::MAX,
        ];
        let bytes = match n % 4 {
            0 => with_length(&genuine, lengths[(n / 4) % lengths.len()]),
            1 => genuine[..n * 11 % genuine.len()].to_vec(),
            2 => with_length(&genuine, u32::MAX - n as u32)[..64].to_vec(),
            _ => b"*1\r\n$4\r\nPING\r\n"[..1 + n % 13].to_vec(),
        };
        let _ = stream.write_all(&bytes);
        held.push(stream);
    }
    let watch = Instant::now();
    while watch.elapsed() < Duration::from_secs(1) {
        assert_eq!(cluster.nodes[0].cmd(&["PING"]).text(), "PONG");
        let growth = cluster.nodes[0].rss().saturating_sub(before);
        assert!(growth < 64 * MB, "200 half frames cost {} MB", growth / MB);
    }
    drop(held);
    // A frame that never ends is cut off, or at least not kept.
    let mut stream = open(port);
    let _ = stream.write_all(&with_length(&genuine, u32::MAX)[..16]);
    let (chunk, mut sent) = (vec![0u8; 1 << 16], 0u64);
    while sent < 256 * MB && stream.write_all(&chunk).is_ok() {
        sent += chunk.len() as u64;
        let growth = cluster.nodes[0].rss().saturating_sub(before);
        assert!(
            growth < 64 * MB,
            "{} MB kept of {} MB sent",
            growth / MB,
            sent / MB
        );
    }
    drop(stream);
    assert_unharmed(&mut cluster, before, 64 * MB);
}

/// What clients of a cluster say, to be damaged: nothing that changes the cluster.
fn requests() -> Vec<Vec<u8>> {
    let lines = [
        "CLUSTER INFO",
        "CLUSTER NODES",
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER LINKS",
        "CLUSTER KEYSLOT key",
        "CLUSTER COUNTKEYSINSLOT 100",
        "CLUSTER GETKEYSINSLOT 100 10",
        "CLUSTER REPLICAS 0123456789012345678901234567890123456789",
        "CLUSTER COUNT-FAILURE-REPORTS 0123456789012345678901234567890123456789",
        "CLUSTER MYID",
        "CLUSTER HELP",
        "READONLY",
        "READWRITE",
        "ASKING",
        "SET key value",
        "GET key",
        "MGET {t}a {t}b",
        "MULTI",
        "EXEC",
        "INFO raft",
        "ROLE",
        "WAIT 0 10",
    ];
    let words = |line: &&str| encode(&line.split(' ').collect::<Vec<_>>());
    lines.iter().map(words).collect()
}

#[test]
fn damaged_requests_of_cluster_clients() {
    let mut cluster = Cluster::formed(3, 0);
    let port = cluster.nodes[0].port;
    let before = cluster.nodes[0].rss();
    let requests = requests();
    for seed in 0..1000u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes: Vec<u8> = (0..rng.gen_range(1..6))
            .flat_map(|_| requests[rng.gen_range(0..requests.len())].clone())
            .collect();
        for _ in 0..rng.gen_range(0..4) {
            let at = rng.gen_range(0..bytes.len());
            match rng.gen_range(0..4) {
                0 => bytes[at] = rng.gen(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes[at] ^= 1 << rng.gen_range(0..8),
                _ => {
                    let numbers = ["-1", "16384", "9223372036854775807", "4294967296"];
                    bytes.splice(at..at, numbers[rng.gen_range(0..4)].bytes());
                }
            }
        }
        let mut stream = open(port);
        let cut = rng.gen_range(0..=bytes.len());
        let _ = stream.write_all(&bytes[..cut]);
        let _ = stream.write_all(&bytes[cut..]);
        if seed % 3 == 0 {
            continue; // goes away without reading
        }
        let _ = stream.shutdown(Shutdown::Write);
        let ended = stream.read_to_end(&mut Vec::new());
        let silent = ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!silent, "seed {seed}: no end: {}", bytes.escape_ascii());
    }
    assert_unharmed(&mut cluster, before, 64 * MB);
}
