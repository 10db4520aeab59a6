//! Payloads as Redis writes them, and any bytes in their place.

use super::payload::{body, value};
use super::*;
use proptest::prelude::*;
use std::borrow::Cow;

/// Strings, and what DUMP of Redis 7.0.15 said of them; both in hexadecimal digits. All that 7.4 writes
/// differently is the version, and with it the checksum.
const REDIS_7_0: &[(&str, &str)] = &[
    ("", "00000a005d9b5c400f7fa2da"),
    ("61", "0001610a00bffeef9b8f367db4"),
    ("30", "00c0000a009840a778f8500308"),
    ("2d31", "00c0ff0a000c937e2485089dc5"),
    ("313237", "00c07f0a000db5eb315254c514"),
    ("313238", "00c180000a00eb7ab3b510cf4b65"),
    ("2d313238", "00c0800a009966326d2f0c5bd9"),
    ("2d313239", "00c17fff0a001760822854808480"),
    ("3332373637", "00c1ff7f0a00495a37da17f4d52b"),
    ("3332373638", "00c2008000000a0045d82eedd5bda910"),
    ("2d3332373638", "00c100800a00b540064753bb1ace"),
    ("2d3332373639", "00c2ff7fffff0a00aee34c4d06c68536"),
    ("32313437343833363437", "00c2ffffff7f0a002c74e59ee02eada1"),
    ("32313437343833363438", "000a323134373438333634380a00e7b129a34c1d76ee"),
    ("2d32313437343833363438", "00c2000000800a00c74f873e33558187"),
    ("2d32313437343833363439", "000b2d323134373438333634390a00c261377908f2028c"),
    ("39323233333732303336383534373735383037", "0013393232333337323033363835343737353830370a003a657e9481e85f22"),
    ("2d39323233333732303336383534373735383038", "00142d393232333337323033363835343737353830380a00ede2b956eb709e81"),
    ("303037", "00033030370a007258e27b4c69bad9"),
    ("2d30", "00022d300a00d5411fd9d6d050cc"),
    ("2b31", "00022b310a00c286f0d7439aee6f"),
    ("312e35", "0003312e350a001df5d4bedb5b860d"),
    ("6161616161616161616161616161616161616161", "001461616161616161616161616161616161616161610a0083b46b5e1b11acf1"),
    ("616161616161616161616161616161616161616161", "00c30615016161e00a000a00fd0cb36807413f68"),
    ("61616161616161616161616161616161616161616161", "00c30816016161e00a0000610a008eed18203b3bc745"),
    ("68656c6c6f20776f726c642c2068656c6c6f20776f726c642c2068656c6c6f", "00c3151f0d68656c6c6f20776f726c642c2068e0060c016c6f0a00dc7e8b961f1efdaa"),
    ("78787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787879", "00c3094040017878e033000178790a00c84995b8ec2846b6"),
    ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f", "004040000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f0a008c0c07acf508b445"),
    ("61626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162", "00c30d419002616261e0ff01e07a010161620a003f03619433dd8d9a"),
    ("000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", "00c30c412c010000e0ff00e017000100000a00a405626919032562"),
];

/// The version that Redis 7.0 writes.
const VERSION_7_0: u16 = 10;
const LIMIT: usize = 1 << 20;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn dumped(text: &[u8], version: u16, compress: bool) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let kind = (Type::String, version);
    dump(&mut out, kind, compress, &mut || {}, |to| to.string(text));
    out.split_off(b"before".len())
}

fn read(body: &[u8]) -> Result<Value<'_>, ValueError> {
    value(body, LIMIT, &mut || {})
}

fn checked(payload: &[u8]) -> Result<&[u8], FooterError> {
    body(payload, &mut || {})
}

fn found(text: &[u8]) -> Value<'_> {
    Value::String(Cow::Borrowed(text))
}

fn string(text: &[u8]) -> Result<Value<'_>, ValueError> {
    Ok(found(text))
}

#[test]
fn payloads_of_redis_are_written_and_read() {
    for (text, payload) in REDIS_7_0 {
        let (text, payload) = (bytes(text), bytes(payload));
        assert_eq!(dumped(&text, VERSION_7_0, true), payload, "{text:?}");
        assert_eq!(checked(&payload).map(read), Ok(string(&text)));
        // The longer version is another one; nothing else but the checksum is.
        let own = dumped(&text, VERSION, true);
        let value = payload.len() - 10;
        assert_eq!(own[..value], payload[..value]);
        assert_eq!(own[value..value + 2], [12, 0]);
        assert_eq!(checked(&own).map(read), Ok(string(&text)));
    }
}

/// Strings, and their payloads with the versions 9, 10, 11 and 12: text, an integer of one, two and four
/// bytes, compressed. Their checksums were computed by a program of its own, those of version 10 are
/// Redis's.
const GOLDEN: &[(&[u8], [&str; 4])] = &[
    (
        b"hello",
        [
            "000568656c6c6f0900b3808eba31b243bb",
            "000568656c6c6f0a006372df766534200a",
            "000568656c6c6f0b000aad620598abc983",
            "000568656c6c6f0c00a804ebb69f1ebe43",
        ],
    ),
    (
        b"-1",
        [
            "00c0ff0900dc612fe8d18efe74",
            "00c0ff0a000c937e2485089dc5",
            "00c0ff0b00654cc3577897744c",
            "00c0ff0c00c7e54ae47f22038c",
        ],
    ),
    (
        b"128",
        [
            "00c1800009003b88e279444928d4",
            "00c180000a00eb7ab3b510cf4b65",
            "00c180000b0082a50ec6ed50a2ec",
            "00c180000c00200c8775eae5d52c",
        ],
    ),
    (
        b"32768",
        [
            "00c2008000000900952a7f21813bcaa1",
            "00c2008000000a0045d82eedd5bda910",
            "00c2008000000b002c07939e28224099",
            "00c2008000000c008eae1a2d2f973759",
        ],
    ),
    (
        b"aaaaaaaaaaaaaaaaaaaaa",
        [
            "00c30615016161e00a0009002dfee2a453c75cd9",
            "00c30615016161e00a000a00fd0cb36807413f68",
            "00c30615016161e00a000b0094d30e1bfaded6e1",
            "00c30615016161e00a000c00367a87a8fd6ba121",
        ],
    ),
];

#[test]
fn golden_payloads_of_each_version() {
    for (text, payloads) in GOLDEN {
        for (payload, version) in payloads.iter().zip(9..) {
            let payload = bytes(payload);
            assert_eq!(dumped(text, version, true), payload, "{version}");
            assert_eq!(load(&payload, LIMIT, &mut || {}), Ok(found(text)));
        }
    }
}

#[test]
fn an_error_tells_footer_from_value() {
    let load = |payload: &[u8]| load(payload, LIMIT, &mut || {}).map(|_| ());
    let footer = PayloadError::Footer(FooterError::Short);
    assert_eq!(load(b"short"), Err(footer));
    // Nothing, with its right checksum: that of zeros is zero.
    assert_eq!(load(&[0; 10]), Err(PayloadError::Value(ValueError::Short)));
}

#[test]
fn without_compression_long_strings_are_plain() {
    let text = [b'a'; 100];
    let payload = dumped(&text, VERSION, false);
    assert_eq!(payload[..3], [0, 0x40, 100]);
    assert_eq!(checked(&payload).map(read), Ok(string(&text)));
}

#[test]
fn footers_that_are_wrong_are_refused() {
    assert_eq!(checked(b""), Err(FooterError::Short));
    assert_eq!(checked(&[0; 9]), Err(FooterError::Short));
    assert_eq!(checked(&[0; 10]), Ok(&[][..]));
    let newer = dumped(b"a", VERSION + 1, true);
    assert_eq!(checked(&newer), Err(FooterError::Version(VERSION + 1)));
    for version in 0..=VERSION {
        assert!(checked(&dumped(b"a", version, true)).is_ok());
    }
    let right = dumped(b"hello", VERSION, true);
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 0x40;
        assert!(checked(&wrong).is_err(), "byte {at}");
    }
    // In a file a checksum of 0 says that there is none; here it doesn't.
    let end = right.len() - 8;
    let without = [&right[..end], &[0; 8]].concat();
    assert_eq!(checked(&without), Err(FooterError::Checksum));
}

#[test]
fn lengths_may_take_a_longer_form_than_needed() {
    for body in [
        &b"\0\x01a"[..],
        b"\0\x40\x01a",
        b"\0\x80\0\0\0\x01a",
        b"\0\x81\0\0\0\0\0\0\0\x01a",
        // The numbers of special forms in the place of lengths.
        b"\0\xc3\xc2\xc1\0a",
    ] {
        assert_eq!(read(body), string(b"a"), "{body:?}");
    }
    assert_eq!(read(b"\0\x01abc"), string(b"a"));
}

#[test]
fn values_that_are_wrong_are_refused() {
    let most = u64::MAX;
    for (body, why) in [
        (&b""[..], ValueError::Short),
        (b"\0", ValueError::Short),
        (b"\0\x02a", ValueError::Short),
        (b"\0\x40", ValueError::Short),
        (b"\0\x80\0\0\0", ValueError::Short),
        (b"\0\xc2\0\0\0", ValueError::Short),
        (b"\0\xc3\x05\x05a", ValueError::Short),
        (b"\x0f\x01a", ValueError::Type(15)),
        (b"\xff", ValueError::Type(255)),
        (b"\0\x82a", ValueError::Length(0x82)),
        (b"\0\xc3\xc0\x05a", ValueError::Compression),
        (b"\0\xc3\x82", ValueError::Length(0x82)),
        (b"\0\xc4", ValueError::Form(4)),
        (b"\0\xff", ValueError::Form(63)),
        (b"\0\xc3\x02\x05\0a", ValueError::Compression),
        (
            b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            ValueError::TooLong(most),
        ),
    ] {
        assert_eq!(read(body), Err(why), "{body:?}");
    }
}

#[test]
fn strings_above_the_limit_are_refused() {
    let plain = dumped(&[b'a'; 30], VERSION, false);
    let short = dumped(&[b'a'; 30], VERSION, true);
    let int = dumped(b"-129", VERSION, true);
    for (payload, length) in [(plain, 30), (short, 30), (int, 4)] {
        let body = checked(&payload).unwrap();
        assert!(value(body, length, &mut || {}).is_ok());
        let refused = value(body, length - 1, &mut || {});
        assert_eq!(refused, Err(ValueError::TooLong(length as u64)));
    }
}

/// Compressed bytes that say that they are a terabyte.
#[test]
fn a_bomb_takes_no_memory() {
    let body = b"\0\xc3\x05\x81\0\0\x01\0\0\0\0\0\0a\xe0\xff\0";
    assert_eq!(
        value(body, usize::MAX, &mut || {}),
        Err(ValueError::Compression)
    );
    assert_eq!(longest_string(body), 5 * 88);
}

#[test]
fn large_strings_are_walked_at_a_pace() {
    let text = vec![b'a'; 4 * PACE_BYTES];
    for compress in [false, true] {
        let (mut out, mut calls) = (Vec::new(), 0);
        let kind = (Type::String, VERSION);
        dump(&mut out, kind, compress, &mut || calls += 1, |to| {
            to.string(&text)
        });
        assert!(calls >= 3, "{calls}");
        calls = 0;
        let body = body(&out, &mut || calls += 1).unwrap();
        value(body, usize::MAX, &mut || calls += 1).unwrap();
        assert!(calls >= 3, "{calls}");
    }
}

fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::collection::vec(any::<u8>(), 0..30), 1usize..30);
    let pieces = prop::collection::vec(piece, 0..10);
    pieces.prop_map(|all| all.into_iter().flat_map(|(p, n)| p.repeat(n)).collect())
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        repetitive(),
    ]
}

proptest! {
    #[test]
    fn any_string_comes_back(text in texts(), compress: bool) {
        let payload = dumped(&text, VERSION, compress);
        prop_assert_eq!(checked(&payload).map(read), Ok(string(&text)));
        prop_assert!(longest_string(&payload) >= text.len());
    }

    /// With the head of each form, as bytes drawn at random seldom begin with one.
    #[test]
    fn any_bytes_are_read_without_a_panic(
        head in prop::sample::select(vec![&b""[..], b"\0", b"\0\xc3", b"\0\x80", b"\0\x81", b"\0\xc2"]),
        tail: Vec<u8>,
        limit in 0usize..2000,
    ) {
        let body = [head, &tail].concat();
        let most = longest_string(&body);
        if let Ok(Value::String(text)) = value(&body, limit, &mut || {}) {
            prop_assert!(text.len() <= limit && text.len() <= most);
            prop_assert!(text.len() <= (88 * body.len()).max(11));
        }
        let _either = checked(&tail);
    }

    /// A payload of which one byte is another, with a checksum that fits.
    #[test]
    fn damaged_values_are_read_without_a_panic(
        text in repetitive(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let payload = dumped(&text, VERSION, true);
        let mut body = payload[..payload.len() - 10].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(Value::String(text)) = read(&body) {
            prop_assert!(text.len() <= LIMIT);
        }
    }
}
