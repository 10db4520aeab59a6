//! What is said of files that are whole, damaged, or of another program.

use super::*;
use keyspace::{Keyspace, Layout, Ttl};
use proptest::prelude::*;
use state::save::{save, Origin, Style};
use std::convert::Infallible;

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(Layout::Single { databases: 4 }, 9);
    let mut put = |db, key: &[u8], value: &[u8], ttl| {
        let key = keyspace.key(key);
        keyspace.set_string(db, &key, value, ttl);
    };
    put(0, b"n", b"12", Ttl::Clear);
    put(0, b"gone", b"long ago", Ttl::At(5));
    put(3, b"text", &[b'x'; 300], Ttl::At(1 << 50));
    keyspace
}

/// What DEBUG DIGEST says of these keys.
fn debug_digest(keyspace: &Keyspace) -> String {
    let mut keys = command::digest::KeysDigest::default();
    for db in 0..keyspace.databases() {
        keyspace.for_each(db, &mut |entry| {
            let shown = (entry.value(), entry.expiry().is_some());
            keys.add(db, entry.key(), shown, &mut |_| {});
            std::ops::ControlFlow::Continue(())
        });
    }
    keys.all().hex()
}

fn file(fields: Vec<(&'static str, String)>) -> Vec<u8> {
    let style = Style {
        origin: Origin {
            redis_version: "7.4.1".to_owned(),
            unix_seconds: 951_827_696,
            used_memory: 7,
        },
        fields,
        compress: true,
    };
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    };
    let Ok(_) = save(&keyspace(), &style, &mut sink, &mut |_| {});
    bytes
}

fn said(bytes: &[u8]) -> (String, Verdict) {
    check_source("f.rdb", &bytes, &|_| {}).unwrap()
}

/// Behind `bytes` the end, and the checksum of all.
fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(255);
    let sum = crc64(0, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn whole_file_is_told_by_its_fields_and_keys() {
    let (text, verdict) = said(&file(vec![("hf-index", "42".to_owned())]));
    assert_eq!(verdict, Verdict::Whole, "{text}");
    let digest = debug_digest(&keyspace());
    let parts = [
        "f.rdb: an RDB file of version 10 (Redis 7.0, and Holdfast)\nFields:\n  redis-ver \"7.4.1\": the version",
        "  ctime \"951827696\" (2000-02-29 12:34:56 UTC): when it was made\n",
        "  hf-index \"42\": the entry of the log as of which it is\n",
        "Keys: 3, 2 with an expiry\n  database 0: 2 keys, 1 with an expiry\n  database 3: 1 key, 1 with an expiry\n",
        &format!("Digest of the keys, as DEBUG DIGEST says it: {digest}\n"),
        "\nVerdict: the file is whole, and this build can load it.\n",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn damage_is_told_by_place_bytes_and_key_before() {
    let whole = file(Vec::new());
    let at = whole.windows(4).position(|w| w == b"text").unwrap();
    let (text, verdict) = said(&whole[..at + 9]);
    assert_eq!(verdict, Verdict::Damaged);
    let parts = [
        &format!(
            "Stopped: f.rdb, offset {}, type 0 (string), key \"text\": the file ends too early\n",
            at - 2
        )[..],
        &format!("  there stands: {}", raw(&whole[at - 2..at + 9])),
        "  the key before it: \"",
        "Verdict: the file's end is missing.\nWhat helps: copy it again: ",
        "Keys up to there: 2, ",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let mut changed = whole.clone();
    changed[at] ^= 1;
    let (text, _) = said(&changed);
    assert!(
        text.contains("some byte is not as it was written"),
        "{text}"
    );
    let (text, _) = said(&[&whole[..], b"\n"].concat());
    assert!(
        text.contains("something was written behind its end"),
        "{text}"
    );
    let (text, _) = said(b"\x1f\x8b\x08 a gzip");
    assert!(
        text.contains("this is no RDB file") && text.contains("has to be unpacked"),
        "{text}"
    );
    let (text, _) = said(b"HFLOG\r\n\0");
    assert!(text.contains("give its folder to check-log"), "{text}");
}

/// A stream of Redis.
#[test]
fn type_of_later_builds_is_named_and_is_no_damage() {
    let mut bytes = b"REDIS0011\xfe\x00\x00\x01a\x01b\x13\x06stream\x01".to_vec();
    bytes.extend_from_slice(b"\x10\0\0\0\0\0\0\0\0.");
    let whole = ended(bytes);
    let (text, verdict) = said(&whole);
    assert_eq!(verdict, Verdict::Damaged);
    let parts = [
        "Stopped: f.rdb, offset 16, type 19 (stream of 7.0), key \"stream\": ",
        "the key before it: \"a\"\n",
        "Verdict: the file is whole by its checksum, but this build can't load it",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let mut changed = whole;
    changed[25] ^= 1;
    let (text, _) = said(&changed);
    assert!(text.contains("it is damaged, or was changed"), "{text}");
}

#[test]
fn keys_that_differ_from_what_the_file_says_are_told() {
    let bytes = ended(b"REDIS0010\xfa\x07hf-keys\x012\xfe\x00\x00\x01a\x01b".to_vec());
    let (text, verdict) = said(&bytes);
    assert_eq!(verdict, Verdict::Damaged);
    assert!(
        text.contains("the field hf-keys says \"2\", and what was found is 1"),
        "{text}"
    );
    let (text, _) = said(&ended(b"REDIS0010\xfa\x07hf-base\x02zz".to_vec()));
    assert!(
        text.contains("hf-base: can't be read (it is not in hex)"),
        "{text}"
    );
    let (text, _) = said(&ended(
        b"REDIS0010\xfe\x81\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ));
    assert!(text.contains("no server has so many databases"), "{text}");
}

proptest! {
    #[test]
    fn changed_byte_or_cut_is_damage(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let mut bytes = file(vec![("hf-base", "00".to_owned())]);
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << bit,
        }
        let (text, verdict) = said(&bytes);
        prop_assert_eq!(verdict, Verdict::Damaged, "{}", text);
    }

    #[test]
    fn any_bytes_are_a_text(mut bytes in prop::collection::vec(any::<u8>(), 0..300), is_file in any::<bool>()) {
        if is_file {
            bytes.splice(0..0, *b"REDIS0011");
        }
        let (text, _) = said(&bytes);
        prop_assert!(text.contains("Verdict: "));
    }
}
