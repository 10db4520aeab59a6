//! Strings above a mebibyte lie in chunks: every command on them answers as it does for bytes that lie together, and a
//! follower that gets their log has the same.

use super::effects::follow;
use crate::testing::{single, Fixture};

/// Three chunks, and a part of one.
const LEN: usize = 3 * keyspace::BLOB_CHUNK + 1_234_567;

/// Bytes that differ at each place, in chunks of each size.
fn bytes(len: usize) -> Vec<u8> {
    let mix = |n: usize| (n ^ n >> 8 ^ n >> 16) as u8 | 1;
    (0..len).map(mix).collect()
}

fn fixture(value: &[u8]) -> Fixture {
    let mut f = Fixture::new(single());
    let options = ["--enable-debug-command", "yes"];
    f.host.config = config::Config::from_args(options).expect("a config").0;
    f.run(&[&b"SET"[..], b"s", value]);
    f
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("${}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn long_strings_are_read_like_short_ones() {
    let value = bytes(LEN);
    let mut f = fixture(&value);
    assert_eq!(f.outcome(&["GET", "s"]).0, bulk(&value));
    let (reply, _) = f.outcome(&["MGET", "s", "none"]);
    assert_eq!(reply, [b"*2\r\n", &bulk(&value)[..], b"$-1\r\n"].concat());
    let at = keyspace::BLOB_CHUNK - 7;
    for (from, to) in [
        (at, at + 20),
        (0, 0),
        (LEN - 1, LEN),
        (at, 2 * at),
        (LEN, LEN),
    ] {
        let (start, end) = (from.to_string(), to.to_string());
        let (reply, _) = f.outcome(&["GETRANGE", "s", &start, &end]);
        let wanted = &value[from.min(LEN)..(to + 1).min(LEN)];
        assert_eq!(reply, bulk(wanted), "{from} to {to}");
    }
    let (reply, _) = f.outcome(&["SUBSTR", "s", "-3", "-1"]);
    assert_eq!(reply, bulk(&value[LEN - 3..]));
    assert_eq!(f.line("STRLEN s"), format!(":{LEN}\r\n"));
    assert_eq!(f.line("OBJECT ENCODING s"), "$3\r\nraw\r\n");
    assert_eq!(
        f.line("INCR s"),
        "-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(
        f.line("INCRBYFLOAT s 1"),
        "-ERR value is not a valid float\r\n"
    );
    assert!(f.line("PFADD s a").starts_with("-WRONGTYPE"));
    assert!(f.line("PFCOUNT s").starts_with("-WRONGTYPE"));
    f.run(&["RPUSH", "l", "s"]);
    let (reply, _) = f.outcome(&["SORT", "l", "ALPHA", "GET", "*"]);
    assert_eq!(reply, [b"*1\r\n", &bulk(&value)[..]].concat());
    let (reply, _) = f.outcome(&["GETDEL", "s"]);
    assert_eq!(reply, bulk(&value));
}

#[test]
fn bits_of_long_strings_are_those_of_bytes() {
    let value = bytes(LEN);
    let mut f = fixture(&value);
    let bit = |at: usize| value[at / 8] >> (7 - at % 8) & 1;
    let edge = 8 * keyspace::BLOB_CHUNK;
    for (from, to) in [
        (0, 8 * LEN - 1),
        (edge - 5, edge + 5),
        (edge, edge),
        (edge - 9, 2 * edge),
    ] {
        let count = (from..=to).filter(|at| bit(*at) == 1).count();
        assert_eq!(
            f.line(&format!("BITCOUNT s {from} {to} BIT")),
            format!(":{count}\r\n")
        );
        for set in [0, 1] {
            let found = (from..=to).find(|at| bit(*at) == set);
            let found = found.map_or(-1, |at| at as i64);
            assert_eq!(
                f.line(&format!("BITPOS s {set} {from} {to} BIT")),
                format!(":{found}\r\n")
            );
        }
        assert_eq!(
            f.line(&format!("GETBIT s {from}")),
            format!(":{}\r\n", bit(from))
        );
    }
    assert_eq!(f.line(&format!("GETBIT s {}", 8 * LEN)), ":0\r\n");
    let at = keyspace::BLOB_CHUNK - 4;
    let wanted = i64::from_be_bytes(value[at..at + 8].try_into().unwrap());
    assert_eq!(
        f.line(&format!("BITFIELD s GET i64 {}", 8 * at)),
        format!("*1\r\n:{wanted}\r\n")
    );
    // All ones, and a single bit that is not.
    f.run(&[&b"SET"[..], b"ones", &vec![0xFF; LEN][..]]);
    let hole = 8 * (2 * keyspace::BLOB_CHUNK) + 3;
    assert_eq!(f.line(&format!("SETBIT ones {hole} 0")), ":1\r\n");
    assert_eq!(f.line("BITPOS ones 0"), format!(":{hole}\r\n"));
}

#[test]
fn long_strings_change_like_short_ones() {
    let (mut value, short) = (bytes(LEN), bytes(70_000));
    let mut f = fixture(&value);
    let at = 2 * keyspace::BLOB_CHUNK - 3;
    f.line("COPY s copy");
    f.line(&format!("SETRANGE s {at} changed"));
    value[at..at + 7].copy_from_slice(b"changed");
    f.run(&[&b"APPEND"[..], b"s", &short]);
    value.extend_from_slice(&short);
    let offset = 8 * at + 64;
    f.line(&format!("BITFIELD s SET u8 {offset} 77"));
    value[at + 8] = 77;
    assert_eq!(f.outcome(&["GET", "s"]).0, bulk(&value));
    assert_eq!(
        f.outcome(&["GET", "copy"]).0,
        bulk(&bytes(LEN)),
        "as it was"
    );
    f.run(&[&b"SET"[..], b"short", &short]);
    for (of, combine) in [
        ("AND", (|a, b| a & b) as fn(u8, u8) -> u8),
        ("OR", |a, b| a | b),
        ("XOR", |a, b| a ^ b),
    ] {
        assert_eq!(
            f.line(&format!("BITOP {of} d s short")),
            format!(":{}\r\n", value.len())
        );
        let pairs = value.iter().enumerate();
        let wanted: Vec<u8> = pairs
            .map(|(at, a)| combine(*a, short.get(at).copied().unwrap_or(0)))
            .collect();
        assert!(f.outcome(&["GET", "d"]).0 == bulk(&wanted), "{of}");
    }
    f.line("BITOP NOT d s");
    let not: Vec<u8> = value.iter().map(|byte| !byte).collect();
    assert!(f.outcome(&["GET", "d"]).0 == bulk(&not));
    // A short string that becomes a long one, and one that was nothing.
    f.line("SETRANGE short 2000000 x");
    f.line("SETBIT new 4294967295 1");
    assert_eq!(f.line("STRLEN new"), ":536870912\r\n");
    assert_eq!(f.line("GETBIT new 4294967295"), ":1\r\n");
    assert_eq!(f.line("BITPOS new 1"), ":4294967295\r\n");
    f.line("RENAME copy renamed");
    let follower = follow(single(), &f.log);
    assert_eq!(
        follower.keyspace().digest_all(),
        f.data.keyspace().digest_all()
    );
}

#[test]
fn long_strings_travel_and_come_back() {
    // What is not compressed, what is, and what neither payload nor file compresses by itself.
    for value in [bytes(LEN), vec![b'a'; LEN], bytes(9 << 20)] {
        let mut f = fixture(&value);
        let (dump, _) = f.outcome(&["DUMP", "s"]);
        let begins = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let payload = &dump[begins..dump.len() - 2];
        let whole = {
            let mut whole = Vec::new();
            let kind = (rdb::Type::String, rdb::VERSION);
            rdb::dump(&mut whole, kind, true, &mut || {}, |to| to.string(&value));
            whole
        };
        assert!(payload == whole, "the bytes of a string that lies together");
        assert_eq!(f.run(&[&b"RESTORE"[..], b"r", b"0", payload]), "+OK\r\n");
        assert_eq!(
            f.line("DEBUG DIGEST-VALUE r"),
            f.line("DEBUG DIGEST-VALUE s")
        );
        let follower = follow(single(), &f.log);
        let digest = f.data.keyspace().digest_all();
        assert_eq!(follower.keyspace().digest_all(), digest);
        for compress in [false, true] {
            let style = state::save::Style {
                compress,
                ..Default::default()
            };
            let mut file = Vec::new();
            let mut sink = |piece: &[u8]| {
                file.extend_from_slice(piece);
                Ok::<(), std::convert::Infallible>(())
            };
            let keyspace = f.data.keyspace();
            let Ok(_) = state::save::save(keyspace, &style, &mut sink, &mut |_| {});
            let mut loader = state::load::Loader::new(keyspace::Keyspace::new(single(), 7));
            for slice in file.chunks(100_000) {
                loader.feed(slice).expect("a sound file");
            }
            let (loaded, _) = loader.finish().expect("a whole file");
            assert_eq!(loaded.digest_all(), digest);
        }
    }
}
