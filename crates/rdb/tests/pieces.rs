//! Values with elements in payloads: what is written comes back, and any bytes are a value or an error.

mod common;
#[path = "common/values.rs"]
mod values;

use common::{elements, put};
use proptest::prelude::*;
use rdb::crc64::crc64;
use rdb::{
    dump, legacy, load, longest_string, Body, Form, PayloadError, Piece, Type, Value, ValueError,
};
use rdb::{PACE_BYTES, VERSION};
use std::borrow::Cow;
use values::{listpack, value};

const LIMIT: usize = 1 << 20;

fn payload(body: &[u8]) -> Vec<u8> {
    let before = [body, &[12, 0]].concat();
    let sum = crc64(0, &before).to_le_bytes();
    [&before[..], &sum].concat()
}

fn dumped(encoding: Type, compress: bool, pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    dump(&mut out, (encoding, VERSION), compress, &mut || {}, |to| {
        let Ok(()) = put(to, encoding, pieces);
    });
    out
}

fn pieces_of(body: Body<'_>) -> Vec<Piece<'static>> {
    let mut pieces = Vec::new();
    let visited = body.visit(&mut || {}, &mut |piece| {
        pieces.push(piece.into_owned());
        Ok::<(), ()>(())
    });
    assert_eq!(visited, Ok(()));
    pieces
}

/// The pieces of a value, which stands there as `body` says.
fn read(body: &[u8]) -> Result<Vec<Piece<'static>>, ValueError> {
    match load(&payload(body), LIMIT, &mut || {}) {
        Ok(Value::Container(body)) => Ok(pieces_of(body)),
        Ok(Value::String(_)) => panic!("it is a string"),
        Err(PayloadError::Value(why)) => Err(why),
        Err(PayloadError::Footer(why)) => panic!("{why}"),
    }
}

fn member(text: &str) -> Piece<'static> {
    Piece::Member(Cow::Owned(text.as_bytes().to_vec()))
}

fn scored(text: &str, score: f64) -> Piece<'static> {
    Piece::Scored(Cow::Owned(text.as_bytes().to_vec()), score)
}

fn field(field: &str, value: &str, expiry: Option<i64>) -> Piece<'static> {
    Piece::Field {
        field: Cow::Owned(field.as_bytes().to_vec()),
        value: Cow::Owned(value.as_bytes().to_vec()),
        expiry,
    }
}

/// A string as it stands in a payload.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap() | 0x4000;
    [&length.to_be_bytes(), bytes].concat()
}

fn packed(kind: u8, head: &[u8], texts: &[&str]) -> Vec<u8> {
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    [&[kind], head, &string(&listpack(&texts))].concat()
}

#[test]
fn bytes_of_values_are_those_of_the_format() {
    let two = (2i64.pow(40)).to_le_bytes();
    for (body, want) in [
        (
            &b"\x01\x02\x01a\xc0\x07"[..],
            vec![member("a"), member("7")],
        ),
        (b"\x02\x01\0", vec![member("")]),
        (
            b"\x03\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x05-1e30",
            vec![
                scored("a", 1.5),
                scored("b", f64::INFINITY),
                scored("c", f64::NEG_INFINITY),
                scored("d", -1e30),
            ],
        ),
        (b"\x04\x01\x01f\x01v", vec![field("f", "v", None)]),
        (b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x3f", vec![scored("a", 1.5)]),
        (
            &[
                b"\x18",
                &two[..],
                b"\x03\0\x01f\x01v\x01\x01g\x01v\x0b\x01h\x01v",
            ]
            .concat(),
            vec![
                field("f", "v", None),
                field("g", "v", Some(1 << 40)),
                field("h", "v", Some((1 << 40) + 10)),
            ],
        ),
        (
            b"\x16\x02\0\x01f\x01v\x40\xff\x01g\x01v",
            vec![field("f", "v", None), field("g", "v", Some(255))],
        ),
        (
            &[
                b"\x12\x03\x01\x01x\x02",
                &packed(7, b"", &["y"])[1..],
                b"\x02",
                &packed(7, b"", &[])[1..],
            ]
            .concat(),
            vec![member("x"), member("y")],
        ),
        (
            &packed(25, &two, &["f", "v", "5", "g", "v", "0"]),
            vec![field("f", "v", Some(5)), field("g", "v", None)],
        ),
        (
            &packed(23, b"", &["g", "v", "0"]),
            vec![field("g", "v", None)],
        ),
        (
            &packed(17, b"", &["m", "1.5", "n", "-inf"]),
            vec![scored("m", 1.5), scored("n", f64::NEG_INFINITY)],
        ),
        // A ziplist of a list, of the nodes of one (the first is empty), of pairs twice; a zipmap.
        (
            b"\x0a\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\xf8\x02\x01a\xff",
            vec![member("7"), member("a")],
        ),
        (
            b"\x0e\x02\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\xf8\x02\x01a\xff",
            vec![member("7"), member("a")],
        ),
        (
            b"\x0c\x13\x13\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\x031.5\xff",
            vec![scored("a", 1.5)],
        ),
        (
            b"\x0d\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\xf8\x02\x01a\xff",
            vec![field("7", "a", None)],
        ),
        (
            b"\x09\x07\x01\x01f\x01\0v\xff",
            vec![field("f", "v", None)],
        ),
        (b"\x0b\x0a\x02\0\0\0\x01\0\0\0\xff\xff", vec![member("-1")]),
    ] {
        let found = read(body).map(|pieces| elements(&pieces));
        assert_eq!(found, Ok(want), "{body:x?}");
    }
}

#[test]
fn values_that_are_wrong_are_refused() {
    let long = (u64::MAX).to_le_bytes();
    for (body, why) in [
        (&b"\x01\0"[..], ValueError::Empty),
        (b"\x02", ValueError::Short),
        (b"\x02\x02\x01a", ValueError::Short),
        (
            b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            ValueError::Short,
        ),
        (b"\x04\x01\x01f", ValueError::Short),
        (b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f", ValueError::Score),
        (b"\x03\x01\x01a\xfd", ValueError::Score),
        (b"\x03\x01\x01a\x03nan", ValueError::Score),
        (b"\x03\x01\x01a\x02 1", ValueError::Score),
        (b"\x03\x01\x01a\0", ValueError::Score),
        (b"\x12\x01\x03\x01x", ValueError::Node(3)),
        (b"\x12\x01\x01\0", ValueError::Node(1)),
        (
            &[b"\x12\x01\x02", &packed(7, b"", &[])[1..]].concat(),
            ValueError::Empty,
        ),
        (&packed(16, b"", &[]), ValueError::Empty),
        (&packed(16, b"", &["f"]), ValueError::Together(2)),
        (&packed(25, &long, &["f", "v"]), ValueError::Together(3)),
        (&packed(25, &long, &["f", "v", "v"]), ValueError::Expiry),
        (&packed(25, &long, &["f", "v", "-1"]), ValueError::Expiry),
        (
            &packed(25, &long, &["f", "v", "281474976710656"]),
            ValueError::Expiry,
        ),
        (
            &packed(25, &long, &["f", "v", "0", "g", "v", "5"]),
            ValueError::Expiry,
        ),
        (
            &packed(25, &long, &["f", "v", "6", "g", "v", "5"]),
            ValueError::Expiry,
        ),
        (&packed(17, b"", &["m", "one"]), ValueError::Score),
        (&packed(17, b"", &["m", "NaN"]), ValueError::Score),
        (
            &[b"\x18", &long[..], b"\x01\x02\x01f\x01v"].concat(),
            ValueError::Expiry,
        ),
        (
            b"\x18\0\0\0\0\0\0\x01\0\x01\x01\x01f\x01v",
            ValueError::Expiry,
        ),
        (
            b"\x0b\x01x",
            ValueError::Intset(containers::intset::Bad::Short(1)),
        ),
        (
            b"\x14\x01x",
            ValueError::Listpack(containers::listpack::Bad::Short(1)),
        ),
        (b"\x0a\x01x", ValueError::Legacy(legacy::Bad::Short(1))),
        (
            b"\x09\x03\x01\x01\xff",
            ValueError::Legacy(legacy::Bad::Entry),
        ),
        (
            b"\x0d\x0d\x0d\0\0\0\x0a\0\0\0\x01\0\0\xf8\xff",
            ValueError::Together(2),
        ),
        (
            b"\x0c\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\xf8\x02\x01a\xff",
            ValueError::Score,
        ),
        (b"\x06\x01x", ValueError::Type(6)),
        (b"\x0f\x01x", ValueError::Type(15)),
        (b"\x13\x01x", ValueError::Type(19)),
        (b"\x1a\x01x", ValueError::Type(26)),
    ] {
        assert_eq!(read(body), Err(why), "{body:x?}");
    }
}

#[test]
fn bytes_behind_a_value_are_not_looked_at() {
    let body = payload(b"\x02\x01\x01amore");
    let Ok(Value::Container(body)) = load(&body, LIMIT, &mut || {}) else {
        panic!("it has a member");
    };
    assert_eq!((body.bytes(), body.elements()), (&b"\x01\x01a"[..], 1));
    assert_eq!(body.encoding(), Type::Set);
}

#[test]
fn visit_ends_when_its_visitor_fails() {
    let payload = payload(b"\x02\x03\x01a\x01b\x01c");
    let Ok(Value::Container(body)) = load(&payload, LIMIT, &mut || {}) else {
        panic!("it has members");
    };
    let mut seen = 0;
    let visited = body.visit(&mut || {}, &mut |_| {
        seen += 1;
        if seen == 2 {
            return Err("twice");
        }
        Ok(())
    });
    assert_eq!((visited, seen), (Err("twice"), 2));
}

#[test]
fn many_short_elements_are_walked_at_a_pace() {
    let pieces = vec![member("a member of some length"); 1 << 16];
    let (mut out, mut calls) = (Vec::new(), [0; 3]);
    let kind = (Type::Set, VERSION);
    dump(&mut out, kind, false, &mut || calls[0] += 1, |to| {
        let Ok(()) = put(to, Type::Set, &pieces);
    });
    let Ok(Value::Container(body)) = load(&out, LIMIT, &mut || calls[1] += 1) else {
        panic!("it has members");
    };
    let visited = body.visit(&mut || calls[2] += 1, &mut |_| Ok::<(), ()>(()));
    assert_eq!(visited, Ok(()));
    // The checksum is walked through too.
    let walks = out.len() / PACE_BYTES;
    assert!(walks >= 4, "{walks}");
    assert!(
        calls[0] >= 2 * walks - 2 && calls[1] >= 2 * walks - 2,
        "{calls:?}"
    );
    assert!((walks - 1..=walks + 1).contains(&calls[2]), "{calls:?}");
}

fn sum_of_texts(pieces: &[Piece<'_>]) -> usize {
    let lengths = pieces.iter().map(|piece| match piece {
        Piece::Member(text) | Piece::Scored(text, _) | Piece::Packed(_, text) => text.len(),
        Piece::Field { field, value, .. } => field.len() + value.len(),
    });
    lengths.sum()
}

proptest! {
    #[test]
    fn any_value_comes_back((encoding, pieces) in value(), compress: bool) {
        let payload = dumped(encoding, compress, &pieces);
        let Ok(Value::Container(body)) = load(&payload, LIMIT, &mut || {}) else {
            panic!("it has elements");
        };
        prop_assert_eq!(body.encoding(), encoding);
        prop_assert_eq!(body.elements(), elements(&pieces).len() as u64);
        prop_assert_eq!(pieces_of(body), &pieces[..]);
        prop_assert!(longest_string(&payload) >= sum_of_texts(&pieces));
        prop_assert_eq!(payload[1..].strip_prefix(body.bytes()).map(<[u8]>::len), Some(10));
    }

    /// What load takes is visited without a panic.
    #[test]
    fn any_bytes_are_read_without_a_panic(kind in 0u8..27, body: Vec<u8>, limit in 0usize..2000) {
        let payload = payload(&[&[kind][..], &body].concat());
        let longest = longest_string(&payload);
        if let Ok(Value::Container(body)) = load(&payload, limit, &mut || {}) {
            let pieces = pieces_of(body);
            prop_assert_eq!(body.elements(), elements(&pieces).len() as u64);
            prop_assert!(longest >= sum_of_texts(&pieces));
        }
    }

    #[test]
    fn damaged_values_are_read_without_a_panic(
        (encoding, pieces) in value(),
        compress: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let whole = dumped(encoding, compress, &pieces);
        let mut body = whole[..whole.len() - 10].to_vec();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let payload = payload(&body);
        if let Ok(Value::Container(body)) = load(&payload, LIMIT, &mut || {}) {
            let pieces = pieces_of(body);
            prop_assert_eq!(body.elements(), elements(&pieces).len() as u64);
        }
    }

    #[test]
    fn checked_bytes_give_as_many_elements(
        (_, pieces) in value(),
        form in prop::sample::select(vec![
            Form::List, Form::Set, Form::Intset, Form::SortedSet, Form::Hash, Form::HashExpiring,
        ]),
    ) {
        for piece in &pieces {
            if let Piece::Packed(_, bytes) = piece {
                if let Ok(count) = form.check(bytes, &mut || {}) {
                    prop_assert_eq!(form.elements(bytes).count() as u64, count);
                }
            }
        }
    }
}
