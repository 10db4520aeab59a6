//! Payloads and files under an allocator that counts: whatever length bytes claim, reading them takes no more
//! memory than they can fill, and a long value is written without a copy.

#[path = "common/counting.rs"]
mod counting;

use counting::{asked, most_held};
use proptest::prelude::*;
use rdb::crc64::crc64;
use rdb::file::{Entry, FileError, Item, Reader, Writer, COMPRESSED_MAX, PIECE_BYTES};
use rdb::{load, PayloadError, Value, ValueError};
use std::convert::Infallible;

/// One compressed byte stands for 88 at most.
const MOST: usize = 88;
/// The text of an integer, while it is made.
const SMALL: usize = 64;
const LIMIT: usize = 512 << 20;

fn payload(body: &[u8]) -> Vec<u8> {
    let before = [body, &[12, 0]].concat();
    let sum = crc64(0, &before).to_le_bytes();
    [&before[..], &sum].concat()
}

/// What comes of a body with the right footer, and how many bytes were asked for meanwhile.
fn loaded(body: &[u8], limit: usize) -> (Result<usize, PayloadError>, usize) {
    let payload = payload(body);
    let (result, asked) = asked(|| load(&payload, limit, &mut || {}));
    let length = result.map(|value| match value {
        Value::String(text) => text.len(),
        Value::Container(body) => body.bytes().len(),
    });
    (length, asked)
}

#[test]
fn claims_without_bytes_take_no_memory() {
    let huge = [0x81, 0x10, 0, 0, 0, 0, 0, 0, 0]; // 2^60
    let largest = [0x81, 255, 255, 255, 255, 255, 255, 255, 255];
    let half_gigabyte = [0x80, 0x20, 0, 0, 0];
    let run = [0, b'a', 0xe0, 255, 0];
    for (body, limit) in [
        ([&[0][..], &huge, b"abc"].concat(), LIMIT),
        ([&[0][..], &huge, b"abc"].concat(), usize::MAX),
        ([&[0][..], &largest].concat(), usize::MAX),
        ([&[0][..], &half_gigabyte, b"abc"].concat(), LIMIT),
        ([&[0, 0xc3, 5][..], &huge, &run].concat(), LIMIT),
        ([&[0, 0xc3, 5][..], &huge, &run].concat(), usize::MAX),
        ([&[0, 0xc3, 5][..], &largest, &run].concat(), usize::MAX),
        ([&[0, 0xc3, 5][..], &half_gigabyte, &run].concat(), LIMIT),
        ([&[0, 0xc3][..], &huge, &huge, &run].concat(), usize::MAX),
        // So many elements, or one of such a length.
        ([&[1][..], &huge, b"\x01a\x01b"].concat(), LIMIT),
        ([&[2][..], &largest, b"\x01a\x01b"].concat(), LIMIT),
        ([&[4, 2][..], b"\x01a\x01b", &huge].concat(), usize::MAX),
        ([&[5][..], &largest, b"\x01a"].concat(), usize::MAX),
        ([&[18, 1, 2][..], &huge, b"abc"].concat(), usize::MAX),
        (
            [&[24, 0, 0, 0, 0, 0, 0, 0, 0][..], &largest].concat(),
            LIMIT,
        ),
        ([&[16, 0xc3, 5][..], &huge, &run].concat(), usize::MAX),
        // A listpack and an intset that say so of themselves.
        (
            b"\x10\x0b\xff\xff\xff\xff\xff\xff\x81a\x02\x01\xff".to_vec(),
            LIMIT,
        ),
        (b"\x0b\x0a\x08\0\0\0\xff\xff\xff\xff\0\0".to_vec(), LIMIT),
    ] {
        let (result, asked) = loaded(&body, limit);
        let refused = matches!(result, Err(PayloadError::Value(_)));
        assert!(refused, "{body:x?} {result:?}");
        assert_eq!(asked, 0, "{body:x?}");
    }
}

#[test]
fn honest_compression_takes_its_length_once() {
    let mut compressed = vec![0, b'a'];
    for _ in 0..20_000 {
        compressed.extend_from_slice(&[0xe0, 255, 0]);
    }
    let length: usize = 1 + 20_000 * 264;
    let [_, _, _, _, sizes @ ..] = compressed.len().to_be_bytes();
    let [_, _, _, _, lengths @ ..] = length.to_be_bytes();
    let head = [&[0, 0xc3, 0x80][..], &sizes, &[0x80], &lengths].concat();
    let body = [head, compressed].concat();
    assert_eq!(loaded(&body, length), (Ok(length), length));
    let too_long = ValueError::TooLong(length as u64);
    assert_eq!(loaded(&body, length - 1), (Err(too_long.into()), 0));
}

/// Bodies of every form, with lengths that may be anything.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        (0u8..64).prop_map(|n| vec![n]),
        any::<u16>().prop_map(|n| (0x4000 | n & 0x3fff).to_be_bytes().to_vec()),
        any::<u32>().prop_map(|n| [&[0x80][..], &n.to_be_bytes()].concat()),
        any::<u64>().prop_map(|n| [&[0x81][..], &n.to_be_bytes()].concat()),
        any::<u8>().prop_map(|n| vec![n]),
    ];
    let copies = prop::collection::vec((any::<u8>(), any::<u8>(), 0u8..4), 0..100);
    let copies = copies.prop_map(|all| {
        let copies = all.into_iter().flat_map(|(a, b, c)| [a | 0xe0, b, c]);
        [0, b'a'].into_iter().chain(copies).collect::<Vec<u8>>()
    });
    let tail = prop_oneof![any::<Vec<u8>>(), copies];
    let form = prop::sample::select(vec![
        &b""[..],
        b"\0",
        b"\0\xc3",
        b"\0\xc0",
        b"\0\xc2",
        b"\x02",
        b"\x05",
        b"\x04\x02\xc3",
        b"\x12\x02\x02\xc3",
        b"\x10\xc3",
        b"\x0e\x01",
        b"\x18\0\0\0\0\0\0\0\0\x02",
    ]);
    let lengths = prop::collection::vec(length, 0..3);
    (form, lengths, tail)
        .prop_map(|(form, lengths, tail)| [form, &lengths.concat(), &tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_take_no_more_than_they_fill(body in bodies(), limit in 0..LIMIT) {
        let (result, asked) = loaded(&body, limit);
        let most = match body.first() {
            // The limit is of one string. A ziplist is held beside the listpack that it becomes, while that grows.
            Some(1..) => 4 * MOST * body.len() + SMALL,
            _ => limit.min(MOST * body.len()) + SMALL,
        };
        prop_assert!(asked <= most, "{} bytes for {:x?}", asked, body);
        if let Ok(length) = result {
            prop_assert!(length <= limit && length <= (MOST * body.len()).max(11));
        }
    }

    /// Compressed bytes with a claim near the truth: the length that they have, one more, one fewer.
    #[test]
    fn a_length_off_by_one_is_refused(text in prop::collection::vec(0u8..3, 30..600), off in 0..3u64) {
        let mut payload = Vec::new();
        let kind = (rdb::Type::String, 12);
        rdb::dump(&mut payload, kind, true, &mut || {}, |to| to.string(&text));
        prop_assume!(payload[1] == 0xc3);
        let claimed = text.len() as u64 + off - 1;
        let size_bytes = if payload[2] < 64 { 1 } else { 2 };
        let length_bytes = if text.len() < 64 { 1 } else { 2 };
        let (head, behind) = payload.split_at(2 + size_bytes);
        let compressed = &behind[length_bytes..behind.len() - 10];
        let body = [head, &[0x81], &claimed.to_be_bytes(), compressed].concat();
        let want = if off == 1 { Ok(text.len()) } else { Err(ValueError::Compression.into()) };
        prop_assert_eq!(loaded(&body, LIMIT).0, want);
    }
}

/// Reads a file of these items in slices; how many entries it has, and the most that was held meanwhile.
fn read(items: &[u8], slices: &[usize]) -> (Result<usize, FileError>, usize) {
    let file = [b"REDIS0012", items].concat();
    let mut lengths = slices.iter().cycle();
    most_held(|| {
        let mut reader = Reader::new(LIMIT);
        let (mut rest, mut entries) = (&file[..], 0);
        while !rest.is_empty() {
            let length = lengths.next().map_or(rest.len(), |n| (*n).min(rest.len()));
            let (mut slice, behind) = rest.split_at(length);
            rest = behind;
            while let Some(item) = reader.next(&mut slice, &mut || {})? {
                entries += usize::from(matches!(item, Item::Entry(_)));
            }
        }
        reader.finish()?;
        Ok(entries)
    })
}

/// The text of an error, and small blocks.
const SMALL_FILE: usize = 1 << 10;

#[test]
fn claims_in_files_take_no_memory() {
    let huge = [0x81, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff]; // below the limit
    let run = [0, b'a', 0xe0, 255, 0];
    for items in [
        [&b"\0\x01k"[..], &huge, b"abc"].concat(),
        [&b"\0"[..], &huge, b"abc"].concat(),
        [&b"\0\x01k\xc3\x05"[..], &huge, &run].concat(),
        [&b"\0\x01k\xc3"[..], &huge, &huge, &run].concat(),
        [&b"\xfa\x04name"[..], &huge, &run].concat(),
        [&b"\xf5"[..], &huge, &run].concat(),
        [&b"\xfb"[..], &huge, &huge].concat(),
    ] {
        for slices in [&[][..], &[1], &[3, 5]] {
            let (result, most) = read(&items, slices);
            assert!(result.is_err());
            assert!(
                most <= 3 * items.len() + SMALL_FILE,
                "{most} for {items:x?}"
            );
        }
    }
}

/// It is held where it goes to, and once more at most while its place grows.
#[test]
fn long_value_is_held_once_while_it_comes() {
    let text = vec![b'x'; 8 << 20];
    let items = [&b"\0\x01k\x80\0\x80\0\0"[..], &text, &[255], &[0; 8]].concat();
    for slices in [&[][..], &[1 << 16], &[1 << 18], &[10_007]] {
        let (result, most) = read(&items, slices);
        assert_eq!(result, Ok(1));
        let copies = if slices.is_empty() { 0 } else { 2 };
        assert!(most <= copies * text.len() + SMALL_FILE, "{most}");
    }
}

/// However many elements a value has, no more than one is held while it is read.
#[test]
fn long_value_with_elements_is_never_held() {
    let members: Vec<u8> = (0..300_000u32)
        .flat_map(|n| [&[4][..], &n.to_be_bytes()].concat())
        .collect();
    let count = 300_000u32.to_be_bytes();
    let items = [&b"\x02\x01k\x80"[..], &count, &members, &[255], &[0; 8]].concat();
    for slices in [&[][..], &[1 << 16], &[1001]] {
        let (result, most) = read(&items, slices);
        assert_eq!(result, Ok(0));
        assert!(most <= SMALL_FILE, "{most}");
    }
    let payload = payload(&[&b"\x02\x80"[..], &count, &members].concat());
    let (seen, most) = most_held(|| {
        let Ok(Value::Container(body)) = load(&payload, LIMIT, &mut || {}) else {
            panic!("it has members");
        };
        let mut seen = 0;
        let Ok(()) = body.visit(&mut || {}, &mut |_| {
            seen += 1;
            Ok::<(), Infallible>(())
        });
        seen
    });
    assert_eq!((seen, most), (300_000, 0));
}

/// How many bytes are asked for while this value is written.
fn written(text: &[u8], compress: bool) -> usize {
    let mut writer = Writer::new(10, compress);
    let entry = Entry {
        key: b"key"[..].into(),
        value: text.into(),
        expires_at_ms: Some(1),
        idle_seconds: None,
        frequency: None,
    };
    let mut length = 0;
    let mut sink = |piece: &[u8]| -> Result<(), Infallible> {
        assert!(piece.len() <= PIECE_BYTES);
        length += piece.len();
        Ok(())
    };
    let (Ok(()), most) = most_held(|| writer.entry(&entry, &mut sink));
    let Ok(end) = writer.end(&mut sink);
    assert_eq!(end.length, length as u64);
    most
}

#[test]
fn long_value_is_written_without_a_copy() {
    let random: Vec<u8> = (0..32u32 << 20)
        .map(|n| (n.wrapping_mul(n) >> 9) as u8)
        .collect();
    assert_eq!(written(&random, false), 0);
    assert_eq!(written(&random, true), 0);
    let compressed = written(&random[..COMPRESSED_MAX], true);
    let table = 4 << 16;
    assert!(
        compressed <= COMPRESSED_MAX + table + SMALL_FILE,
        "{compressed}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_file_takes_no_more_than_it_fills(
        bodies in prop::collection::vec((bodies(), any::<Option<u8>>()), 1..4),
        slices in prop::collection::vec(1usize..100, 1..9),
    ) {
        let items: Vec<u8> = bodies
            .into_iter()
            .flat_map(|(body, first)| match first {
                // A field or a library, or a key and its value.
                Some(first) => [&[0xf5 | first & 15], &body[..]].concat(),
                None => [&[0, 1, b'k'], body.get(1..).unwrap_or(&[])].concat(),
            })
            .collect();
        let (_, most) = read(&items, &slices);
        prop_assert!(most <= (MOST + 3) * items.len() + SMALL_FILE, "{} for {:x?}", most, items);
    }
}
