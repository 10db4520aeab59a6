//! Raw bytes on fresh connections: protocol errors, inline commands, half frames; what is
//! answered and whether the connection is closed must be the same.
//!
//! Many cases run at once, each on its own pair of connections; one that differs is tried again
//! alone with more time before it counts.

use crate::common::resp::{encode, show};
use crate::compare::versionless;
use crate::pair::Pair;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What came back, and whether the server ended the connection.
#[derive(PartialEq, Clone)]
struct Outcome {
    bytes: Vec<u8>,
    closed: bool,
}

impl Outcome {
    fn text(&self) -> String {
        let end = if self.closed { "closed" } else { "open" };
        format!("{} ({end})", show(&self.bytes))
    }
}

struct Conn {
    stream: TcpStream,
    outcome: Outcome,
}

impl Conn {
    fn send(port: u16, bytes: &[u8]) -> Conn {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("a socket option");
        let _ = stream.write_all(bytes);
        stream.set_nonblocking(true).expect("a socket option");
        Conn {
            stream,
            outcome: Outcome {
                bytes: Vec::new(),
                closed: false,
            },
        }
    }

    /// Takes what is there; true when something new came.
    fn poll(&mut self) -> bool {
        let mut chunk = [0u8; 16384];
        let mut news = false;
        while !self.outcome.closed {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.outcome.closed = true,
                Ok(n) => self.outcome.bytes.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.outcome.closed = true,
            }
            news = true;
        }
        news
    }
}

/// Sends all cases, then reads until nothing has come for `quiet`.
fn outcomes(port: u16, cases: &[Vec<u8>], quiet: Duration) -> Vec<Outcome> {
    let mut conns: Vec<Conn> = cases.iter().map(|c| Conn::send(port, c)).collect();
    let mut last_news = Instant::now();
    while last_news.elapsed() < quiet {
        let mut news = false;
        for conn in &mut conns {
            news |= conn.poll();
        }
        if news {
            last_news = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(5)); // the pause between two polls
    }
    let outcome = |conn: Conn| {
        let bytes = versionless(&conn.outcome.bytes);
        Outcome {
            bytes,
            ..conn.outcome
        }
    };
    conns.into_iter().map(outcome).collect()
}

/// Beyond so many differences nothing is learned from more, and each costs two seconds.
const ENOUGH: usize = 12;

fn compare(pair: &Pair, cases: &[Vec<u8>]) {
    let mut wrong = Vec::new();
    for batch in cases.chunks(100) {
        let quiet = Duration::from_millis(150);
        let reference = outcomes(pair.reference.port, batch, quiet);
        let ours = outcomes(pair.ours.port, batch, quiet);
        for ((case, a), b) in batch.iter().zip(reference).zip(ours) {
            if a == b || wrong.len() >= ENOUGH {
                continue;
            }
            let one = std::slice::from_ref(case);
            let quiet = Duration::from_millis(1000);
            let a = outcomes(pair.reference.port, one, quiet).remove(0);
            let b = outcomes(pair.ours.port, one, quiet).remove(0);
            if a != b {
                let (case, a, b) = (show(case), a.text(), b.text());
                wrong.push(format!("{case}\n  redis:    {a}\n  holdfast: {b}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} or more differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|t| t.as_bytes().to_vec()).collect()
}

const FIXED: &[&str] = &[
    // inline
    "PING\r\n",
    "PING\n",
    "ping hello\r\n",
    "PING",
    "\r\n",
    "\n",
    "\r\n\r\nPING\r\n",
    "   PING   \r\n",
    "ECHO \"a b\"\r\n",
    "ECHO 'a b'\r\n",
    "ECHO \"\\x41\\n\\r\\t\\b\\a\\\\\"\r\n",
    "ECHO 'it\\'s'\r\n",
    "ECHO \"unbalanced\r\n",
    "ECHO 'unbalanced\r\n",
    "ECHO \"a\"b\r\n",
    "ECHO 'a'b\r\n",
    "ECHO \"\"\r\n",
    "\"PING\"\r\n",
    "ECHO \"\\xzz\\q\"\r\n",
    "PING\0X\r\n",
    "SET k v\r\nGET k\r\nDEL k\r\n",
    "GET\r\n",
    "PING\rX\r\n",
    "\tPING\t\r\n",
    "ECHO a\"b\"\r\n",
    "NOSUCH a b c\r\n",
    "QUIT\r\nPING\r\n",
    "quit now\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "Host: localhost\r\nPING\r\n",
    // multibulk headers
    "*0\r\n",
    "*0\r\nPING\r\n",
    "*-1\r\nPING\r\n",
    "*-2147483648\r\nPING\r\n",
    "*1\r\n",
    "*1\r",
    "*1",
    "*",
    "*\r\n",
    "*abc\r\n",
    "*1x\r\n",
    "* 1\r\n",
    "*+1\r\n",
    "*01\r\n",
    "*1048577\r\n",
    "*2147483647\r\n",
    "*2147483648\r\n",
    "*9223372036854775807\r\n",
    "*9223372036854775808\r\n",
    "*-9223372036854775809\r\n",
    "*1048576\r\n",
    "*-0\r\n",
    "*1 \r\n",
    "*1\n$4\r\nPING\r\n",
    "*3.5\r\n",
    // bulk headers
    "*1\r\n$4\r\nPING\r\n",
    "*1\r\n$4\r\nPING",
    "*1\r\n$4\r\nPINGxx",
    "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n$-2\r\n",
    "*1\r\n$\r\n",
    "*1\r\n$abc\r\n",
    "*1\r\n$536870913\r\n",
    "*1\r\n$536870912\r\n",
    "*1\r\n$9223372036854775807\r\n",
    "*1\r\n$9223372036854775808\r\n",
    "*1\r\n$0\r\n\r\n",
    "*1\r\n:4\r\n",
    "*1\r\nPING\r\n",
    "*1\r\n+PING\r\n",
    "*1\r\n\r\n",
    "*2\r\n$4\r\nECHO\r\n*1\r\n",
    "*1\r\n$04\r\nPING\r\n",
    "*1\r\n$+4\r\nPING\r\n",
    "*1\r\n$ 4\r\nPING\r\n",
    "*1\r\n$4 \r\nPING\r\n",
    "*1\r\n$3\r\nPING\r\n",
    "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    "*2\r\n$3\r\nGET\r\n$-1\r\n",
    "*1\r\n\0\r\n",
    "*1\r\n\u{7f}4\r\n",
    // other RESP types as a command
    "$4\r\nPING\r\n",
    "+PING\r\n",
    ":1\r\n",
    "-ERR\r\n",
    "%1\r\n",
    "~1\r\n",
    ">1\r\n",
    "_\r\n",
    "#t\r\n",
    ",1.5\r\n",
    // replies of several commands, some of which fail, in one write
    "*1\r\n$4\r\nPING\r\n*abc\r\n*1\r\n$4\r\nPING\r\n",
    "PING\r\n*1\r\n$4\r\nPING\r\nECHO x\r\n",
    "*1\r\n$4\r\nPING\r\nECHO \"x\r\nPING\r\n",
    "*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    "MULTI\r\nSET raw1 1\r\nGET\r\nEXEC\r\nGET raw1\r\n",
    "MULTI\r\nINCR raw2\r\nEXEC\r\nDEL raw2\r\n",
    "MULTI\r\nMULTI\r\nDISCARD\r\nDISCARD\r\nEXEC\r\n",
    "MULTI\r\nWATCH a\r\nEXEC\r\n",
    // CLIENT REPLY
    "CLIENT REPLY OFF\r\nPING\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\n",
    "CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n",
    "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n",
    "CLIENT REPLY ON\r\n",
    "CLIENT REPLY NO\r\n",
    "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING\r\n",
    "CLIENT REPLY OFF\r\nRESET\r\nPING\r\n",
    // subscriptions
    "SUBSCRIBE a b a\r\nGET x\r\nCLIENT LIST\r\nNOSUCH\r\nGET\r\nPING\r\nPING hi\r\nPING a b\r\nHELLO 3\r\nMULTI\r\n",
    "SUBSCRIBE a\r\nPSUBSCRIBE a*\r\nSSUBSCRIBE a\r\nUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE x a*\r\nSUNSUBSCRIBE\r\nGET x\r\n",
    "SUBSCRIBE a\r\nRESET\r\nPING\r\nSUBSCRIBE a\r\nQUIT\r\nPING\r\n",
    "UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nSUNSUBSCRIBE\r\nUNSUBSCRIBE q r\r\nPUNSUBSCRIBE q\r\nSUNSUBSCRIBE q\r\nPING\r\n",
    "CLIENT REPLY SKIP\r\nHELLO 3\r\nSUBSCRIBE raw4\r\nPING\r\nPING x\r\nUNSUBSCRIBE raw4\r\nUNSUBSCRIBE\r\nSSUBSCRIBE raw4 raw4\r\nGET x\r\nSUNSUBSCRIBE raw4\r\n",
    "MULTI\r\nSUBSCRIBE raw5\r\nSSUBSCRIBE z\r\nPING\r\nGET x\r\nEXEC\r\nGET x\r\nUNSUBSCRIBE\r\nGET x\r\n",
    "MULTI\r\nSUBSCRIBE\r\nEXEC\r\nSUBSCRIBE\r\nSSUBSCRIBE\r\nPSUBSCRIBE\r\nPUBLISH a\r\nSPUBLISH a b c\r\nPUBSUB\r\n",
    "CLIENT REPLY OFF\r\nSUBSCRIBE a\r\nGET x\r\nPING\r\nUNSUBSCRIBE\r\nPING\r\n",
    "CLIENT REPLY SKIP\r\nSUBSCRIBE a b\r\nPING\r\n",
    "PUBSUB CHANNELS a b\r\nPUBSUB NUMPAT a\r\nPUBSUB NUMSUB x y\r\nPUBSUB SHARDNUMSUB x y\r\nPUBSUB NUMSUB\r\n",
    "PUBSUB SHARDNUMSUB\r\nPUBSUB SHARDCHANNELS a b\r\nPUBSUB NOPE\r\nPUBSUB HELP x\r\nPUBLISH nobody x\r\nSPUBLISH nobody x\r\n",
    "COMMAND GETKEYS SPUBLISH a b\r\nCOMMAND GETKEYS PUBLISH a b\r\n",
    // HELLO and RESET change the protocol in mid-pipeline
    "SET raw3 1\r\nHELLO 9\r\nGET raw3\r\nGET nosuch\r\nDEL raw3\r\n",
    "RESET\r\nPING\r\n",
    "MULTI\r\nRESET\r\nEXEC\r\n",
];

#[test]
fn protocol_errors_and_inline_commands() {
    let Some(pair) = Pair::start("protocol_errors_and_inline_commands", &[]) else {
        return;
    };
    let mut cases = bytes(FIXED);
    cases.push(vec![b'a'; 65_536 + 10]); // an inline command that is too big, without an end
    cases.push([vec![b'*'], vec![b'1'; 70_000]].concat()); // a header that is too big
    cases.push([b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat());
    cases.push([b"ECHO ".to_vec(), vec![b'b'; 60_000], b"\r\n".to_vec()].concat());
    compare(&pair, &cases);
}

#[test]
fn before_authentication() {
    let directives = [("requirepass", "secret")];
    let Some(pair) = Pair::start("before_authentication", &directives) else {
        return;
    };
    compare(
        &pair,
        &bytes(&[
            "PING\r\n",
            "GET k\r\n",
            "NOSUCH\r\n",
            "GET\r\n",
            "AUTH\r\n",
            "AUTH wrong\r\n",
            "AUTH secret\r\nPING\r\n",
            "AUTH default secret\r\nPING\r\n",
            "AUTH other secret\r\n",
            "AUTH a b c\r\n",
            "HELLO\r\n",
            "HELLO 3\r\n",
            "HELLO 3 AUTH default wrong\r\nPING\r\n",
            "QUIT\r\n",
            "RESET\r\nPING\r\n",
            "MULTI\r\n",
            "SELECT 1\r\n",
            "AUTH secret\r\nRESET\r\nPING\r\n",
            "ECHO hi\r\n",
            "INFO\r\n",
            "COMMAND\r\n",
            "CLIENT ID\r\n",
            "EXEC\r\n",
            "*10\r\n",
            "*11\r\n",
            "*11\r\n$4\r\nPING\r\n",
            "*1\r\n$16384\r\n",
            "*1\r\n$16385\r\n",
            "*1048577\r\n",
            "*1\r\n$536870913\r\n",
            "*abc\r\n",
            "AUTH secret\r\n*11\r\n$4\r\nECHO\r\n",
            "AUTH wrong\r\n*11\r\n",
        ]),
    );
}

/// Valid pipelines with bytes changed, dropped or doubled.
#[test]
fn mutated_frames() {
    let Some(pair) = Pair::start("mutated_frames", &[]) else {
        return;
    };
    let mut rng = StdRng::seed_from_u64(7);
    let parts: Vec<Vec<u8>> = vec![
        encode(&["PING"]),
        encode(&["ECHO", "world"]), // not "hello": as an inline command that names the version
        encode(&["GET", "nosuch"]),
        encode(&["STRLEN", ""]),
        encode(&["ECHO", "*1\r\n$4\r\nPING\r\n"]),
        encode(&["SELECT", "0"]),
        b"PING inline\r\n".to_vec(),
        encode(&["EXISTS", "a", "b", "c"]),
        encode(&["GETRANGE", "x", "0", "-1"]),
    ];
    let mut cases = Vec::new();
    for _ in 0..1500 {
        let mut bytes = Vec::new();
        for _ in 0..rng.gen_range(1..5) {
            bytes.extend_from_slice(&parts[rng.gen_range(0..parts.len())]);
        }
        for _ in 0..rng.gen_range(1..4) {
            let at = rng.gen_range(0..bytes.len().max(1));
            match rng.gen_range(0..5) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = rng.gen(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n*$0123456789-\"' \0"[rng.gen_range(0..19)]),
                3 => bytes[at] = b"\r\n*$0123456789-\"' \0"[rng.gen_range(0..19)],
                _ => bytes.truncate(at),
            }
        }
        cases.push(bytes);
    }
    compare(&pair, &cases);
}
