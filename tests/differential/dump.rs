//! DUMP and RESTORE: the payloads of both servers are the same but for the version and, with it, the
//! checksum; each server takes what the other has made.

use crate::common::resp::{Client, Value};
use crate::pair::Pair;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What stands behind the value in a payload: the version, the checksum.
pub const FOOTER: usize = 10;
/// The version of the packaged redis-server, the newest that it takes.
pub const REFERENCE_VERSION: u16 = 10;
/// The version of 7.4.
const OUR_VERSION: u16 = 12;

/// Payloads that both servers take, made by the reference.
pub const GOOD: &[&[u8]] = &[
    b"\x00\x05hello\n\x00cr\xdfve4 \n",
    b"\x00\xc0\x07\n\x00t\xcdH\xa2\x83\xab\xce\x92",
    b"\x00\x01\x61\x0a\x00\xbf\xfe\xef\x9b\x8f\x36\x7d\xb4",
    b"\x00\xc1\x7f\xff\x0a\x00\x17\x60\x82\x28\x54\x80\x84\x80",
    b"\x00\xc3\x06\x15\x01\x61\x61\xe0\x0a\x00\x0a\x00\xfd\x0c\xb3\x68\x07\x41\x3f\x68",
];

/// The checksum, one bit at a time.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc: u64, _| {
            (crc >> 1) ^ (0x95ac_9329_ac4b_c9b5 * (crc & 1))
        })
    })
}

/// The payload of a value as a server of that version makes it.
pub fn payload(value: &[u8], version: u16) -> Vec<u8> {
    let before = [value, &version.to_le_bytes()].concat();
    let sum = crc64(&before).to_le_bytes();
    [&before[..], &sum].concat()
}

fn bulk(client: &mut Client, args: &[&[u8]]) -> Vec<u8> {
    match client.cmd(args) {
        Value::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// Strings of every form, with bytes that repeat near and far, and ends that just do or don't.
fn text(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.gen_range(0..10) {
        0..=3 => rng.gen_range(0..80),
        4..=6 => rng.gen_range(0..700),
        7 | 8 => rng.gen_range(0..12_000),
        _ => rng.gen_range(0..90_000),
    };
    match rng.gen_range(0..8) {
        0 => (rng.gen::<i64>() >> rng.gen_range(0..64))
            .to_string()
            .into_bytes(),
        1 => (0..len).map(|_| rng.gen()).collect(),
        2 => vec![rng.gen(); len],
        3 => {
            let letters = rng.gen_range(1..6);
            (0..len)
                .map(|_| rng.gen_range(b'a'..b'a' + letters))
                .collect()
        }
        4 => {
            let words = [
                &b"alpha "[..],
                b"beta ",
                b"gamma ",
                b"delta delta ",
                b"\0\0\0\0\x01",
            ];
            let mut out = Vec::new();
            while out.len() < len {
                out.extend_from_slice(words.choose(rng).expect("words"));
            }
            out
        }
        _ => {
            let mut out: Vec<u8> = Vec::new();
            while out.len() < len {
                let from = rng.gen_range(0..out.len().max(1));
                let piece = rng.gen_range(1..400).min(out.len().saturating_sub(from));
                out.extend_from_within(from..from + piece);
                let fresh = rng.gen_range(1..60);
                out.extend((0..fresh).map(|_| rng.gen::<u8>()));
            }
            out
        }
    }
}

#[test]
fn payloads_are_the_same_to_the_byte() {
    let Some(pair) = Pair::start("payloads_are_the_same_to_the_byte", &[]) else {
        return;
    };
    let (mut reference, mut ours) = (pair.reference.client(), pair.ours.client());
    let mut rng = StdRng::seed_from_u64(7);
    let mut compressed = 0;
    for round in 0..4000 {
        let text = text(&mut rng);
        let set: [&[u8]; 3] = [b"SET", b"k", &text];
        assert!(reference.cmd(&set).is_ok() && ours.cmd(&set).is_ok());
        let theirs = bulk(&mut reference, &[b"DUMP", b"k"]);
        let own = bulk(&mut ours, &[b"DUMP", b"k"]);
        let value = &theirs[..theirs.len() - FOOTER];
        assert!(
            own[..own.len() - FOOTER] == *value,
            "round {round}, {} bytes: {value:?} {own:?} of {text:?}",
            text.len()
        );
        assert_eq!(theirs, payload(value, REFERENCE_VERSION));
        assert_eq!(own, payload(value, OUR_VERSION));
        compressed += usize::from(value[1] == 0xc3);
        // The reference refuses the version of 7.4 and takes the same value without it.
        let older = payload(value, REFERENCE_VERSION);
        let refused: [&[u8]; 4] = [b"RESTORE", b"new", b"0", &own];
        assert!(reference.cmd(&refused).is_error());
        for (client, payload) in [(&mut reference, &older), (&mut ours, &theirs)] {
            assert!(client
                .cmd(&[&b"RESTORE"[..], b"k", b"0", payload, b"REPLACE"])
                .is_ok());
            assert_eq!(bulk(client, &[b"GET", b"k"]), text);
        }
    }
    assert!(compressed > 1000, "{compressed}");
}

#[test]
fn without_compression_payloads_are_the_same() {
    let directives = [("rdbcompression", "no")];
    let Some(pair) = Pair::start("without_compression_payloads_are_the_same", &directives) else {
        return;
    };
    for mut client in [pair.reference.client(), pair.ours.client()] {
        client.cmd(&["SET", "k", &"x".repeat(300)]);
        let plain = bulk(&mut client, &[b"DUMP", b"k"]);
        assert_eq!(plain.len(), 1 + 2 + 300 + FOOTER);
        assert!(client
            .cmd(&["CONFIG", "SET", "rdbcompression", "yes"])
            .is_ok());
        let short = bulk(&mut client, &[b"DUMP", b"k"]);
        assert!(short.len() < 40, "{short:?}");
    }
}
