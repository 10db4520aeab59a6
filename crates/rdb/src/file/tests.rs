//! Files that are written and read, cut and damaged.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/values.rs"]
mod values;

use super::parse::LARGE_MIN;
use super::*;
use crate::crc64::crc64;
use crate::ValueError;
use proptest::prelude::*;

const LIMIT: usize = 16 << 20;

/// The file's items, when it comes in slices of these lengths, again and again.
fn read_in(file: &[u8], slices: &[usize]) -> Result<Vec<Item<'static>>, FileError> {
    let mut reader = Reader::new(LIMIT);
    let mut items = Vec::new();
    let (mut rest, mut lengths) = (file, slices.iter().cycle());
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |n| (*n).min(rest.len()));
        let (mut slice, behind) = rest.split_at(length);
        rest = behind;
        while let Some(item) = reader.next(&mut slice, &mut || {})? {
            items.push(item.into_owned());
        }
        assert!(slice.is_empty());
    }
    reader.finish()?;
    assert_eq!(reader.offset(), file.len() as u64);
    Ok(items)
}

fn read(file: &[u8]) -> Result<Vec<Item<'static>>, FileError> {
    read_in(file, &[])
}

/// The file of these items, and the items that are read from it: with version and end. The version is one that has them.
fn written(version: u16, compress: bool, items: &[Item<'_>]) -> (Vec<u8>, Vec<Item<'static>>) {
    let needed = items.iter().map(|item| match item {
        Item::Begin(begin) => begin.head.encoding.lowest_version(),
        _ => 0,
    });
    let version = needed.fold(version, u16::max);
    let (file, end) = common::write(version, compress, items);
    let known = |item: &&Item<'_>| version >= SLOT_SINCE || !matches!(item, Item::Slot { .. });
    let mut want = vec![Item::Version(version)];
    want.extend(
        items
            .iter()
            .filter(known)
            .map(|item| item.clone().into_owned()),
    );
    want.push(Item::End(end));
    (file, want)
}

/// What a file says of values beside what it was written from, taken away.
fn told(mut items: Vec<Item<'static>>) -> Vec<Item<'static>> {
    for item in &mut items {
        if let Item::Begin(begin) = item {
            begin.elements = None;
            begin.offset = 0;
        }
    }
    items
}

fn plain(key: &[u8], text: &[u8]) -> Entry<'static> {
    Entry {
        key: key.to_vec().into(),
        value: text.to_vec().into(),
        expires_at_ms: None,
        idle_seconds: None,
        frequency: None,
    }
}

/// A file of items as bytes, with its checksum.
fn file_of(version: &str, items: &[u8]) -> Vec<u8> {
    let before = [b"REDIS", version.as_bytes(), items, &[opcode::EOF]].concat();
    let sum = crc64(0, &before).to_le_bytes();
    [&before[..], &sum].concat()
}

fn refused(file: &[u8]) -> String {
    let error = read(file).unwrap_err();
    for slices in [&[1][..], &[2, 7]] {
        assert_eq!(read_in(file, slices), Err(error.clone()), "{slices:?}");
    }
    error.to_string()
}

#[test]
fn bytes_of_a_file_are_those_of_the_format() {
    let mut entry = plain(b"key", b"value");
    entry.expires_at_ms = Some(0x0102);
    entry.idle_seconds = Some(300);
    entry.frequency = Some(9);
    let items = [
        Item::Aux {
            name: b"hf-stage"[..].into(),
            value: b"\0\xff"[..].into(),
        },
        Item::Function(b"#!lua"[..].into()),
        Item::Db(0),
        Item::Sizes {
            keys: 1,
            expires: 70_000,
        },
        Item::Slot {
            slot: 16_383,
            keys: 1,
            expires: 1,
        },
        Item::Entry(entry),
        Item::Entry(plain(b"7", b"-1")),
    ];
    let head = b"\xfa\x08hf-stage\x02\0\xff\xf5\x05#!lua\xfe\0\xfb\x01\x80\0\x01\x11\x70";
    let slot = b"\xf4\x7f\xff\x01\x01";
    let entries =
        b"\xfc\x02\x01\0\0\0\0\0\0\xf8\x41\x2c\xf9\x09\0\x03key\x05value\0\xc0\x07\xc0\xff";
    for version in WRITTEN {
        let slot = if version >= 12 { &slot[..] } else { b"" };
        let want = file_of(&format!("00{version}"), &[head, slot, entries].concat());
        let (file, items) = written(version, true, &items);
        assert_eq!(file, want, "{version}");
        assert_eq!(read(&file), Ok(items));
    }
}

#[test]
fn versions_up_to_twelve_are_read() {
    let entry = b"\xfe\0\0\x01k\x01v";
    for version in 1..=12u16 {
        let mut file = file_of(&format!("{version:04}"), entry);
        if version < 5 {
            file.truncate(file.len() - 8);
        }
        let end = End {
            length: file.len() as u64,
            checksum: (version >= 5).then(|| crc64(0, &file[..file.len() - 8])),
        };
        let want = vec![
            Item::Version(version),
            Item::Db(0),
            Item::Entry(plain(b"k", b"v")),
            Item::End(end),
        ];
        assert_eq!(read(&file), Ok(want.clone()), "{version}");
        assert_eq!(read_in(&file, &[1]), Ok(want), "{version}");
    }
    for version in ["0000", "0013", "0080", "9999"] {
        let number: u16 = version.parse().unwrap();
        let want = format!("offset 0: its version is {number}; 1 to 12 are read");
        assert_eq!(refused(&file_of(version, entry)), want);
    }
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    let want = "offset 0: it does not begin as an RDB file";
    for file in [
        &b"VALKEY080"[..],
        b"X",
        b"REDIX",
        b"REDIS00 9",
        b"REDIS+012",
    ] {
        assert_eq!(refused(file), want);
    }
    for file in [&b""[..], b"R", b"REDIS00"] {
        assert_eq!(refused(file), "offset 0: the file ends too early");
    }
}

#[test]
fn checksum_of_zero_is_not_compared() {
    let mut file = file_of("0010", b"\0\x01k\x01v");
    let end = file.len() - 8;
    file[end..].fill(0);
    let items = read(&file).unwrap();
    let without = End {
        length: file.len() as u64,
        checksum: None,
    };
    assert_eq!(items.last(), Some(&Item::End(without)));
    file[end] = 1;
    let want = format!(
        "offset {end}, opcode 255 (EOF): its checksum is 0000000000000001, that of its bytes {:016x}",
        crc64(0, &file[..end])
    );
    assert_eq!(refused(&file), want);
}

#[test]
fn bytes_behind_the_end_stay_where_they_are() {
    let file = [&file_of("0010", b"")[..], b"more"].concat();
    assert_eq!(refused(&file), "offset 18: there are bytes behind its end");
    let mut reader = Reader::new(LIMIT);
    let mut input = &file[..];
    let mut last = None;
    while !matches!(last, Some(Item::End(_))) {
        last = reader
            .next(&mut input, &mut || {})
            .unwrap()
            .map(Item::into_owned);
    }
    assert_eq!(input, b"more");
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn errors_name_offset_opcode_key_and_type() {
    // ReJSON-RL, encoding 3.
    let module = [0x81, 0x45, 0xe2, 0x52, 0x38, 0xdf, 0x91, 0x2c, 0x03];
    for (items, want) in [
        (
            &b"\x0f\x04li\"t\x01"[..],
            "offset 9, type 15 (stream), key \"li\\\"t\": values of this type are not known here",
        ),
        (
            b"\xfe\0\x15\xc0\x07\x01",
            "offset 11, type 21 (stream of 7.2), key \"7\": values of this type are not known here",
        ),
        (
            &[b"\x07\x01m", &module[..]].concat(),
            "offset 9, type 7 (module's value), key \"m\": it is of the module ReJSON-RL; no modules are known here",
        ),
        (
            &[b"\xf7", &module[..]].concat(),
            "offset 9, opcode 247 (MODULE_AUX): it is of the module ReJSON-RL; no modules are known here",
        ),
        (
            b"\xf6",
            "offset 9, opcode 246 (FUNCTION_PRE_GA): functions of a release candidate of Redis 7.0 are not known here",
        ),
        (
            b"\x64",
            "offset 9, opcode 100 (unknown): there is no opcode and no type 100, or it is not known here",
        ),
        (
            b"\x08",
            "offset 9, opcode 8 (unknown): there is no opcode and no type 8, or it is not known here",
        ),
        (
            b"\xf4\x80\0\0\x40\0\0\0",
            "offset 9, opcode 244 (SLOT_INFO): there is no slot 16384",
        ),
        (
            b"\xfe\x82",
            "offset 9, opcode 254 (SELECTDB): no length begins with the byte 130",
        ),
        (
            b"\0\x01k\xc5",
            "offset 9, type 0 (string), key \"k\": there is no special form 5 of strings",
        ),
        (
            b"\0\x01k\x81\0\0\x01\0\0\0\0\0",
            "offset 9, type 0 (string), key \"k\": the string has 1099511627776 bytes, more than are allowed",
        ),
        (
            b"\0\x01k\xc3\x05\x05\0a\x20\x01\0",
            "offset 9, type 0 (string), key \"k\": the compressed bytes are not a string of that length",
        ),
        (
            b"\0\xc3\x05\x05\0a\x20\x01\0\x01v",
            "offset 9, type 0 (string): the compressed bytes are not a string of that length",
        ),
        (
            b"\xfa\x01n\xc3\x05\x05\0a\x20\x01\0",
            "offset 9, opcode 250 (AUX): the compressed bytes are not a string of that length",
        ),
        (
            b"\x04\x01h\x02\x01f\x01v\x01g\xc5",
            "offset 17, type 4 (hash), key \"h\": there is no special form 5 of strings",
        ),
        (
            b"\x0b\x01s\x02xx",
            "offset 12, type 11 (set of integers), key \"s\": an intset of 2 bytes is too short",
        ),
        (
            b"\x05\x01z\x01\x01m\0\0\0\0\0\0\xf8\x7f",
            "offset 13, type 5 (sorted set), key \"z\": a score is not a number",
        ),
        (
            b"\x12\x01l\x01\x03\x01x",
            "offset 13, type 18 (list of listpacks), key \"l\": there is no node 3 of lists, or it has no element",
        ),
        (
            b"\x02\x01s\x02\x01a",
            "offset 15, type 2 (set), key \"s\": the file ends too early",
        ),
        (
            b"\x18\x01h\x02",
            "offset 9, type 24 (hash with expiring fields), key \"h\": the file ends too early",
        ),
        (
            b"\xfe\0\0\x03key\x05val",
            "offset 11, type 0 (string), key \"key\": the file ends too early",
        ),
    ] {
        let mut file = file_of("0012", items);
        if want.ends_with("too early") {
            file.truncate(9 + items.len());
        }
        assert_eq!(refused(&file), want);
    }
}

#[test]
fn types_that_are_unknown_are_refused_by_name() {
    for kind in [6, 7, 15, 19, 21] {
        let why = refused(&file_of("0012", &[kind, 1, b'k', 0, 0]));
        assert!(
            why.starts_with(&format!("offset 9, type {kind} (")),
            "{why}"
        );
        assert!(
            why.contains("key \"k\"") && !why.contains("unknown"),
            "{why}"
        );
    }
}

#[test]
fn key_in_error_is_cut() {
    let key = vec![b'k'; 300];
    let items = [&[15, 0x41, 0x2c][..], &key, &[0]].concat();
    let why = refused(&file_of("0012", &items));
    assert!(
        why.contains(&format!("key \"{}\":", "k".repeat(128))),
        "{why}"
    );
}

#[test]
fn expiry_in_seconds_and_none_are_read() {
    for (opcodes, want) in [
        (&b"\xfd\x02\0\0\0"[..], Some(2000)),
        (b"\xfd\xfe\xff\xff\xff", Some(-2000)),
        (b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff", None),
        (b"\xfc\x01\0\0\0\0\0\0\0", Some(1)),
        (b"\xfd\x02\0\0\0\xfc\x03\0\0\0\0\0\0\0", Some(3)),
    ] {
        let items = [opcodes, b"\0\x01a\x01v\0\x01b\x01v"].concat();
        let items = read(&file_of("0012", &items)).unwrap();
        let mut first = plain(b"a", b"v");
        first.expires_at_ms = want;
        assert_eq!(items[1], Item::Entry(first));
        assert_eq!(items[2], Item::Entry(plain(b"b", b"v")));
    }
}

#[test]
fn expiry_that_means_none_is_written_as_another() {
    let mut entry = plain(b"k", b"v");
    entry.expires_at_ms = Some(-1);
    let (file, _) = written(10, true, &[Item::Entry(entry.clone())]);
    entry.expires_at_ms = Some(-2);
    assert_eq!(read(&file).unwrap()[1], Item::Entry(entry));
}

/// In one slice it lies where it was; in several it is gathered and handed over.
#[test]
fn long_values_are_lent_or_handed_over() {
    let text: Vec<u8> = (0..LARGE_MIN as u32 * 3)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let (file, items) = written(10, false, &[Item::Entry(plain(b"k", &text))]);
    for slices in [&[][..], &[1], &[10, 1], &[65_535], &[70_000, 3]] {
        assert_eq!(read_in(&file, slices).as_ref(), Ok(&items), "{slices:?}");
    }
    let handed_over = |file: &mut [&[u8]]| {
        let mut reader = Reader::new(LIMIT);
        for slice in file {
            while let Some(item) = reader.next(slice, &mut || {}).unwrap() {
                if let Item::Entry(entry) = item {
                    return matches!(entry.value, Cow::Owned(_));
                }
            }
        }
        unreachable!("there is an entry");
    };
    assert!(!handed_over(&mut [&file]));
    let (a, b) = file.split_at(100);
    assert!(handed_over(&mut [a, b]));
}

#[test]
fn strings_too_long_to_compress_are_plain() {
    for (length, is_plain) in [(COMPRESSED_MAX, false), (COMPRESSED_MAX + 1, true)] {
        let text = vec![b'a'; length];
        let (file, items) = written(10, true, &[Item::Entry(plain(b"k", &text))]);
        assert_eq!(file.len() > length, is_plain);
        assert_eq!(read(&file), Ok(items));
    }
}

#[test]
fn sink_that_fails_stops_the_writer() {
    let mut writer = Writer::new(10, false);
    let text = vec![b'a'; 3 * PIECE_BYTES];
    let mut calls = 0;
    let result = writer.aux(b"name", &[], &mut |_: &[u8]| Err("never asked"));
    assert_eq!(result, Ok(()));
    let result = writer.entry(&plain(b"k", &text), &mut |_: &[u8]| {
        calls += 1;
        if calls == 2 {
            return Err("disk full");
        }
        Ok(())
    });
    assert_eq!((result, calls), (Err("disk full"), 2));
}

fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::collection::vec(any::<u8>(), 0..30), 1usize..30);
    let pieces = prop::collection::vec(piece, 0..10);
    pieces.prop_map(|all| all.into_iter().flat_map(|(p, n)| p.repeat(n)).collect())
}

fn texts() -> impl Strategy<Value = Cow<'static, [u8]>> {
    let long = (any::<u8>(), LARGE_MIN - 2..LARGE_MIN * 2);
    prop_oneof![
        4 => any::<Vec<u8>>(),
        4 => any::<i32>().prop_map(|n| n.to_string().into_bytes()),
        4 => repetitive(),
        1 => long.prop_map(|(seed, n)| (0..n).map(|at| ((at * at) >> 3) as u8 ^ seed).collect()),
    ]
    .prop_map(Cow::Owned)
}

fn items() -> impl Strategy<Value = Vec<Item<'static>>> {
    let number = || any::<u64>().prop_flat_map(|n| (0..64u32).prop_map(move |by| n >> by));
    let entry = (
        (texts(), texts()),
        any::<Option<i64>>(),
        proptest::option::of(number()),
        any::<Option<u8>>(),
    );
    let entry = entry.prop_map(|((key, text), at, idle_seconds, frequency)| {
        Item::Entry(Entry {
            key,
            value: text,
            expires_at_ms: at.filter(|at| *at != -1),
            idle_seconds,
            frequency,
        })
    });
    let about = (
        texts(),
        any::<Option<i64>>(),
        proptest::option::of(number()),
        any::<Option<u8>>(),
    );
    let container = (about, values::value()).prop_map(|(about, (encoding, pieces))| {
        let (key, at, idle_seconds, frequency) = about;
        let head = Head {
            key,
            encoding,
            expires_at_ms: at.filter(|at| *at != -1),
            idle_seconds,
            frequency,
        };
        let begin = Begin {
            head,
            elements: None,
            offset: 0,
        };
        let pieces = pieces.into_iter().map(Item::Piece);
        let begin = std::iter::once(Item::Begin(begin));
        begin
            .chain(pieces)
            .chain([Item::Finish])
            .collect::<Vec<_>>()
    });
    let item = prop_oneof![
        6 => entry,
        1 => (texts(), texts()).prop_map(|(name, value)| Item::Aux { name, value }),
        1 => number().prop_map(Item::Db),
        1 => (number(), number()).prop_map(|(keys, expires)| Item::Sizes { keys, expires }),
        1 => (0..16_384u16, number(), number())
            .prop_map(|(slot, keys, expires)| Item::Slot { slot, keys, expires }),
        1 => texts().prop_map(Item::Function),
    ];
    let some = prop_oneof![3 => item.prop_map(|item| vec![item]), 1 => container];
    prop::collection::vec(some, 0..12).prop_map(|all| all.concat())
}

fn slices() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1usize..40, 1..20),
        prop::collection::vec(1usize..70_000, 1..20),
    ]
}

proptest! {
    #[test]
    fn files_come_back_in_slices_of_any_size(
        items in items(),
        version in WRITTEN,
        compress: bool,
        slices in slices(),
    ) {
        let (file, want) = written(version, compress, &items);
        prop_assert_eq!(read_in(&file, &slices).map(told), Ok(want.clone()));
        prop_assert_eq!(read(&file).map(told), Ok(want));
    }

    #[test]
    fn cut_files_end_too_early(
        items in items(),
        compress: bool,
        at: prop::sample::Index,
        slices in slices(),
    ) {
        let (file, _) = written(12, compress, &items);
        let error = read_in(&file[..at.index(file.len())], &slices).unwrap_err();
        prop_assert_eq!(error.fault, Fault::Short);
    }

    /// Whatever comes of it does not depend on how the file was cut into slices.
    #[test]
    fn damaged_files_are_read_without_a_panic(
        items in items(),
        compress: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        slices in slices(),
    ) {
        let (mut file, _) = written(12, compress, &items);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        // Nothing compares the damaged bytes' checksum.
        let end = file.len() - 8;
        file[end..].fill(0);
        prop_assert_eq!(read_in(&file, &slices), read(&file));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        items in prop::collection::vec(prop_oneof![0u8..30, 200u8..=255, any::<u8>()], 0..200),
        slices in slices(),
    ) {
        let file = [b"REDIS0012", &items[..]].concat();
        prop_assert_eq!(read_in(&file, &slices), read(&file));
    }

    /// One byte that changed is found by the checksum, if not before.
    #[test]
    fn damage_never_passes_the_checksum(
        items in items(),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let (mut file, _) = written(12, true, &items);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(read(&file).is_err());
    }
}

#[test]
fn claims_are_refused_before_their_bytes_come() {
    for (items, fault) in [
        (
            &b"\0\x01k\x80\x7f\0\0\0"[..],
            ValueError::TooLong(0x7f00_0000),
        ),
        (
            b"\0\x01k\xc3\x05\x80\x7f\0\0\0",
            ValueError::TooLong(0x7f00_0000),
        ),
        (b"\0\x01k\xc3\x80\x7f\0\0\0\x05", ValueError::Compression),
        (
            b"\xf5\x81\x7f\0\0\0\0\0\0\0",
            ValueError::TooLong(0x7f << 56),
        ),
    ] {
        let mut reader = Reader::new(LIMIT);
        let file = [b"REDIS0012", items].concat();
        let mut input = &file[..];
        let error = loop {
            match reader.next(&mut input, &mut || {}) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it waits for more"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.fault, Fault::Value(fault));
    }
}
