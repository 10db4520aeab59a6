//! Values with elements that Redis 7.4 made, in payloads and in a file: they are read as what they are, and written again
//! to the byte.
//!
//! `golden/make-elements.sh` says what is in them.

mod common;

use common::{elements, put, read, write, LIMIT};
use rdb::file::Item;
use rdb::{dump, load, Kind, Piece, Type, Value, VERSION};
use std::borrow::Cow;
use std::collections::BTreeMap;

const FILE: &[u8] = include_bytes!("golden/elements.rdb");
const PAYLOADS: &str = include_str!("golden/elements.txt");

/// Packed with the time of an expiry that was taken away since: that time is not one of its fields.
const STALE: &str = "hash:persisted";

/// Names of keys, and the payloads of their values.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let lines = PAYLOADS.lines().map(|line| {
        let (name, digits) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (name, (0..digits.len()).step_by(2).map(byte).collect())
    });
    lines.collect()
}

fn texts() -> Vec<Vec<u8>> {
    let mut texts = vec![Vec::new(), b"a".to_vec()];
    for (byte, n) in [(b'b', 63), (b'c', 64), (b'd', 4095), (b'e', 4096)] {
        texts.push(vec![byte; n]);
    }
    for text in [
        "0",
        "127",
        "128",
        "-1",
        "4095",
        "-4096",
        "4096",
        "32767",
        "-32768",
        "8388607",
        "-8388608",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "007",
        "1.5",
    ] {
        texts.push(text.into());
    }
    texts
}

fn many(n: usize) -> Vec<Vec<u8>> {
    (1..=n)
        .map(|n| format!("element {n}").into_bytes())
        .collect()
}

fn members(texts: Vec<Vec<u8>>) -> Vec<Piece<'static>> {
    let texts = texts.into_iter();
    texts.map(|text| Piece::Member(Cow::Owned(text))).collect()
}

fn scored(texts: Vec<Vec<u8>>, part: f64) -> Vec<Piece<'static>> {
    let scored = (1u32..).zip(texts);
    let scored = scored.map(|(n, text)| Piece::Scored(Cow::Owned(text), f64::from(n) / part));
    scored.collect()
}

fn scores() -> Vec<Piece<'static>> {
    let scores = [
        ("-inf", f64::NEG_INFINITY),
        ("inf", f64::INFINITY),
        ("1.5", 1.5),
        ("-0.1", -0.1),
        ("1e300", 1e300),
        ("5e-324", 5e-324),
        ("3", 3.0),
        ("9007199254740993", 9_007_199_254_740_992.0),
    ];
    let member = |text: &str| Cow::Owned(format!("at {text}").into_bytes());
    scores
        .map(|(text, score)| Piece::Scored(member(text), score))
        .to_vec()
}

/// Fields of which every third expires.
fn fields(n: usize, expire: bool) -> Vec<Piece<'static>> {
    let fields = (1..).zip(many(n)).map(|(n, field)| Piece::Field {
        field: Cow::Owned(field),
        value: Cow::Owned(n.to_string().into_bytes()),
        expiry: (expire && n % 3 == 0).then_some(4_102_444_800_000 + n * 1000),
    });
    fields.collect()
}

/// What make-elements.sh made of a key; elements stand in any order but in lists.
fn made(name: &str) -> Vec<Piece<'static>> {
    let integers = |by: i64| members((-2..3).map(|n| (n * by).to_string().into()).collect());
    let mut mirrored = texts();
    mirrored.reverse();
    let pairs = texts().into_iter().zip(mirrored);
    let pairs = pairs.map(|(field, value)| Piece::Field {
        field: Cow::Owned(field),
        value: Cow::Owned(value),
        expiry: None,
    });
    let plain = (1..=3).flat_map(|n| [b"short".to_vec(), vec![b'x'; 20_000 * n]]);
    match name {
        "list:texts" | "set:listpack" | "set:table" => members(texts()),
        "list:nodes" => members(many(100)),
        "list:plain" => members(plain.collect()),
        "set:int16" => integers(1),
        "set:int32" => integers(100_000),
        "set:int64" => integers(1_000_000_000_000),
        "set:listpack-many" => members(many(128)),
        "set:table-many" => members(many(300)),
        "zset:listpack" | "zset:table" => scored(texts(), 1.0),
        "zset:table-many" => scored(many(300), 4.0),
        "zset:scores" | "zset:table-scores" => scores(),
        "hash:listpack" | "hash:table" => pairs.collect(),
        "hash:table-many" => fields(300, false),
        "hash:expiring" => fields(10, true),
        "hash:table-expiring" => fields(100, true),
        STALE | "hash:table-persisted" => fields(3, false),
        _ => panic!("{name}?"),
    }
}

fn encoding(name: &str) -> Type {
    match name {
        "list:texts" | "list:nodes" | "list:plain" => Type::ListNodes,
        "set:int16" | "set:int32" | "set:int64" => Type::SetIntset,
        "set:listpack" | "set:listpack-many" => Type::SetListpack,
        "set:table" | "set:table-many" => Type::Set,
        "zset:listpack" | "zset:scores" => Type::SortedSetListpack,
        "zset:table" | "zset:table-many" | "zset:table-scores" => Type::SortedSet,
        "hash:listpack" => Type::HashListpack,
        "hash:table" | "hash:table-many" | "hash:table-persisted" => Type::Hash,
        "hash:expiring" | STALE => Type::HashExpiringListpack,
        "hash:table-expiring" => Type::HashExpiring,
        _ => panic!("{name}?"),
    }
}

/// Whether pieces are what make-elements.sh made.
fn assert_made(name: &str, pieces: &[Piece<'_>]) {
    let (mut found, mut want) = (elements(pieces), made(name));
    if encoding(name).kind() != Kind::List {
        for all in [&mut found, &mut want] {
            all.sort_by_key(|element| format!("{element:?}"));
        }
    }
    assert!(found == want, "{name}: {found:?}");
}

fn pieces_of(payload: &[u8]) -> (Type, u64, Vec<Piece<'_>>) {
    let Value::Container(body) = load(payload, LIMIT, &mut || {}).unwrap() else {
        panic!("it has elements");
    };
    let mut pieces = Vec::new();
    let visited = body.visit(&mut || {}, &mut |piece| {
        pieces.push(piece);
        Ok::<(), ()>(())
    });
    assert_eq!(visited, Ok(()));
    (body.encoding(), body.elements(), pieces)
}

#[test]
fn payloads_of_redis_are_read_and_written() {
    let payloads = payloads();
    assert_eq!(payloads.len(), 22);
    for (name, payload) in payloads {
        let (found, count, pieces) = pieces_of(&payload);
        assert_eq!(found, encoding(name), "{name}");
        assert_eq!(count, made(name).len() as u64, "{name}");
        assert_made(name, &pieces);
        let mut again = Vec::new();
        dump(&mut again, (found, VERSION), true, &mut || {}, |to| {
            let Ok(()) = put(to, found, &pieces);
        });
        let value = payload.len() - 10;
        let from = if name == STALE { 9 } else { 0 };
        assert!(again[from..value] == payload[from..value], "{name}");
        assert_eq!(again == payload, name != STALE, "{name}");
    }
}

/// Names, and what their values consist of.
fn values(items: &[Item<'_>]) -> BTreeMap<String, (Type, Vec<Piece<'static>>)> {
    let (mut values, mut current) = (BTreeMap::new(), None);
    for item in items {
        match item {
            Item::Begin(begin) => {
                assert_eq!(current, None);
                let name = String::from_utf8(begin.head.key.to_vec()).unwrap();
                current = Some((name, begin.head.encoding, Vec::new()));
            }
            Item::Piece(piece) => {
                let pieces = &mut current.as_mut().unwrap().2;
                pieces.push(piece.clone().into_owned());
            }
            Item::Finish => {
                let (name, encoding, pieces) = current.take().unwrap();
                values.insert(name, (encoding, pieces));
            }
            Item::Entry(_) => panic!("none is a string"),
            _ => {}
        }
    }
    assert_eq!(current, None);
    values
}

#[test]
fn file_of_redis_is_read_in_slices() {
    for slice in [usize::MAX, 1, 7, 1000, 70_000] {
        let items = read(FILE, slice).unwrap();
        assert_eq!(items.first(), Some(&Item::Version(12)));
        let values = values(&items);
        assert_eq!(values.len(), payloads().len());
        for (name, (found, pieces)) in values {
            assert_eq!(found, encoding(&name), "{name}");
            assert_made(&name, &pieces);
        }
    }
}

#[test]
fn file_of_redis_is_written_to_the_byte() {
    let mut items = read(FILE, usize::MAX).unwrap();
    let (again, _) = write(12, true, &items);
    // The time that no field has any more is another one; so all is compared without that value too.
    assert_eq!(again.len(), FILE.len());
    let differ = again.iter().zip(FILE).filter(|(a, b)| a != b).count();
    assert!(differ <= 8 + 8, "{differ} bytes");
    items.pop();
    assert_eq!(values(&read(&again, 3).unwrap()), values(&items));
}
