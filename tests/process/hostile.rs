//! Bytes that no client would send: the server lives, memory stays bounded, others are served.

use crate::common::resp::{encode, Client};
use crate::common::server::Server;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

const MB: u64 = 1 << 20;

/// Announcing is free; only bytes that came may cost memory.
#[test]
fn announced_lengths_cost_nothing() {
    let server = Server::fresh();
    let before = server.rss();
    let mut open = Vec::new();
    for n in 0..50 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        let header: &[u8] = match n % 3 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc",
            1 => b"*1048576\r\n$3\r\nDEL\r\n$1\r\nk\r\n",
            _ => b"*2\r\n$536870912\r\n",
        };
        stream.write_all(header).expect("the server reads");
        open.push(stream);
    }
    let watch = Instant::now();
    let mut client = server.client();
    while watch.elapsed() < Duration::from_secs(1) {
        assert_eq!(client.cmd(&["PING"]).text(), "PONG");
        let growth = server.rss().saturating_sub(before);
        assert!(
            growth < 128 * MB,
            "50 announcements cost {} MB",
            growth / MB
        );
    }
}

/// A query that never ends is cut off at client-query-buffer-limit or the inline limit.
#[test]
fn endless_requests_are_cut_off() {
    let server = Server::fresh();
    let before = server.rss();
    for start in [b"".as_slice(), b"*", b"*1\r\n$", b"ECHO "] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .expect("a socket option");
        let _ = stream.write_all(start);
        let chunk = vec![b'1'; 1 << 16];
        let mut sent = 0u64;
        while stream.write_all(&chunk).is_ok() {
            sent += chunk.len() as u64;
            assert!(sent < 64 * MB, "{} MB of one line were taken", sent / MB);
        }
    }
    let growth = server.rss().saturating_sub(before);
    assert!(growth < 128 * MB, "{} MB stay behind", growth / MB);
    assert_eq!(server.client().cmd(&["PING"]).text(), "PONG");
}

/// Commands to be damaged: none that ends the server or changes how it is reached.
fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "SET key value EX 100 NX",
        "GET key",
        "MSET a 1 b 2 c 3",
        "MGET a b c",
        "INCRBY n 5",
        "APPEND key tail",
        "SETRANGE key 5 xx",
        "GETRANGE key 0 -1",
        "INCRBYFLOAT f 1.5",
        "EXPIRE key 100 GT",
        "SCAN 0 MATCH * COUNT 5",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH a b",
        "HELLO 3",
        "CLIENT LIST",
        "CLIENT SETNAME me",
        "COMMAND INFO get set",
        "COMMAND GETKEYS MSET a 1 b 2",
        "INFO",
        "CONFIG GET *",
        "RENAME a b",
        "KEYS *",
        "SELECT 3",
        "TYPE a",
        "FLUSHDB ASYNC",
        "GETEX a PXAT 4102444800000",
        "CLIENT REPLY SKIP",
        "ROLE",
        "TIME",
        "RESET",
        "RANDOMKEY",
        "OBJECT ENCODING a",
    ];
    lines
        .iter()
        .map(|l| encode(&l.split(' ').collect::<Vec<_>>()))
        .collect()
}

fn damage(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.gen_range(0..5) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.gen_range(0..bytes.len());
        match rng.gen_range(0..7) {
            0 => bytes[at] = rng.gen(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, rng.gen()),
            3 => bytes[at] ^= 1 << rng.gen_range(0..8),
            4 => bytes.truncate(at),
            5 => {
                let numbers: [&[u8]; 5] = [
                    b"-1",
                    b"9223372036854775807",
                    b"536870912",
                    b"0",
                    b"4294967296",
                ];
                let number = numbers[rng.gen_range(0..5)];
                bytes.splice(at..at, number.iter().copied());
            }
            _ => {
                let end = rng.gen_range(at..bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn damaged_bytes_never_hurt() {
    let mut server = Server::fresh();
    let mut other = server.client();
    let before = server.rss();
    let seeds = seeds();
    for seed in 0..3000u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes: Vec<u8> = if seed % 10 == 0 {
            (0..rng.gen_range(1..3000)).map(|_| rng.gen()).collect()
        } else {
            (0..rng.gen_range(1..8))
                .flat_map(|_| seeds[rng.gen_range(0..seeds.len())].clone())
                .collect()
        };
        damage(&mut bytes, &mut rng);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .unwrap_or_else(|e| panic!("seed {seed}: the server is gone: {e}"));
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a socket option");
        // In two pieces, so that frames are cut anywhere.
        let cut = rng.gen_range(0..=bytes.len());
        let _ = stream.write_all(&bytes[..cut]);
        let _ = stream.write_all(&bytes[cut..]);
        if seed % 3 == 0 {
            continue; // goes away without reading
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut replies = Vec::new();
        let ended = stream.read_to_end(&mut replies);
        let timed_out = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
        assert!(
            !ended.as_ref().is_err_and(timed_out),
            "seed {seed}: no end: {}",
            bytes.escape_ascii()
        );
        if seed % 100 == 0 {
            assert_eq!(other.cmd(&["PING"]).text(), "PONG", "seed {seed}");
        }
    }
    assert!(server.is_running());
    let growth = server.rss().saturating_sub(before);
    assert!(growth < 256 * MB, "{} MB stay behind", growth / MB);
    // What was executed of it is in the log: it must be readable.
    server.kill9();
    let server = server.restart();
    assert_eq!(
        Client::connect(server.port)
            .expect("it is back")
            .cmd(&["PING"])
            .text(),
        "PONG"
    );
}
