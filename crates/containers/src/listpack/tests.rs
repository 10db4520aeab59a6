use super::*;
use crate::Splice;
use proptest::prelude::*;

/// Bytes from hex digits; blanks are passed over.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let value = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| value(pair[0]) * 16 + value(pair[1]))
        .collect()
}

fn built<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut builder = Builder::default();
    for text in texts {
        builder.push(Element::of(text));
    }
    builder.finish()
}

fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    check(bytes).unwrap().iter().map(Element::to_vec).collect()
}

/// DUMP of Redis 7.0.15 and 7.4.1 of a hash with these fields, set in this order.
const HASH: &str = "b10000002800 846e616d6505 8341646104 8361676504 2401 847965617205 d8e902 8362696704 f270110104 817402
    f3c0ab76ff05 817502 f4ffffffffffffff7f09 817602 f4000000000000008009 817702 f2ffff7f04 817802 f200008004 817902
    f200800004 817a02 f4000000800000000009 85656d70747906 8001 817002 8330303704 817102 822d3003 816502 cfff02 816602
    f1001003 816702 d00002 816902 f1ffef03 816a02 7f01 816b02 c08002 ff";
const HASH_TEXTS: [&str; 40] = [
    "name",
    "Ada",
    "age",
    "36",
    "year",
    "-1815",
    "big",
    "70000",
    "t",
    "-9000000",
    "u",
    "9223372036854775807",
    "v",
    "-9223372036854775808",
    "w",
    "8388607",
    "x",
    "-8388608",
    "y",
    "32768",
    "z",
    "2147483648",
    "empty",
    "",
    "p",
    "007",
    "q",
    "-0",
    "e",
    "4095",
    "f",
    "4096",
    "g",
    "-4096",
    "i",
    "-4097",
    "j",
    "127",
    "k",
    "128",
];

#[test]
fn hash_of_redis_is_read_and_written() {
    let golden = hex(HASH);
    let expected = HASH_TEXTS.map(str::as_bytes);
    assert_eq!(texts(&golden), expected);
    assert_eq!(built(expected), golden);
    let listpack = check(&golden).unwrap();
    for pair in expected.chunks(2) {
        assert!(listpack.value_of(pair[0]).unwrap().is(pair[1]));
    }
    assert_eq!(listpack.value_of(b"Ada"), None);
}

/// As DUMP of Redis has them: strings of 63 and 64 bytes, a set with an integer, members and scores.
#[test]
fn other_values_of_redis_are_written() {
    let long = [
        hex("bf"),
        vec![b'b'; 63],
        hex("40"),
        hex("e040"),
        vec![b'c'; 64],
        hex("42"),
    ];
    let list = [hex("90000000 0400 816102 0101"), long.concat(), hex("ff")].concat();
    let (b, c) = ([b'b'; 63], [b'c'; 64]);
    assert_eq!(built([b"a", b"1", &b[..], &c[..]]), list);
    assert_eq!(
        built([&b"a"[..], b"12"]),
        hex("0c000000 0200 816102 0c01 ff")
    );
    let zset = hex("1d000000 0600 8374776f04 dffd02 836f6e6504 83312e3504 1101 0301 ff");
    assert_eq!(
        built([&b"two"[..], b"-3", b"one", b"1.5", b"17", b"3"]),
        zset
    );
}

/// DUMP of Redis 7.4.1 of a hash with the field `f` and so many bytes. The length behind takes a byte more from
/// 0x3fff on than seven bits a byte would need, and so on.
#[test]
fn lengths_behind_are_those_of_redis() {
    for (length, before, behind) in [
        (126, "8c000000 0200 816602 e07e", "0180"),
        (127, "8d000000 0200 816602 e07f", "0181"),
        (16376, "09400000 0200 816602 f0f83f0000", "7ffd"),
        (16377, "0a400000 0200 816602 f0f93f0000", "7ffe"),
        (16378, "0c400000 0200 816602 f0fa3f0000", "00ffff"),
        (16379, "0d400000 0200 816602 f0fb3f0000", "018080"),
        (2097145, "0b002000 0200 816602 f0f9ff1f00", "7ffffe"),
        (2097146, "0d002000 0200 816602 f0faff1f00", "00ffffff"),
        (2097147, "0e002000 0200 816602 f0fbff1f00", "01808080"),
    ] {
        let text = vec![b'x'; length];
        let golden = [hex(before), text.clone(), hex(behind), hex("ff")].concat();
        assert_eq!(built([&b"f"[..], &text]), golden, "{length}");
        let listpack = check(&golden).unwrap();
        assert_eq!(
            listpack.get(listpack.last().unwrap()),
            Element::Bytes(&text)
        );
        assert_eq!(listpack.iter().rev().count(), 2);
    }
}

#[test]
fn longest_length_behind_is_read_backwards() {
    for size in [0xfff_fffe, 0xfff_ffff, 0x1000_0000] {
        let (back, count) = layout::back(size);
        assert_eq!(count, if size == 0xfff_fffe { 4 } else { 5 });
        let value = back[..count].iter().rev().enumerate();
        let value: usize = value.map(|(i, b)| usize::from(b & 0x7f) << (7 * i)).sum();
        assert_eq!(value, size);
    }
}

#[test]
fn bad_bytes_are_refused_with_the_reason() {
    let refused = |text: &str| check(&hex(text)).unwrap_err();
    assert_eq!(refused(""), Bad::Short(0));
    assert_eq!(refused("06000000 0000"), Bad::Short(6));
    assert_eq!(refused("08000000 0000 ff"), Bad::Total(8));
    assert_eq!(refused("07000000 0000 fe"), Bad::End);
    assert_eq!(refused("07000000 0100 ff"), Bad::Count(1));
    assert_eq!(refused("09000000 0000 0101 ff"), Bad::Count(0));
    assert_eq!(refused("09000000 0100 0102 ff"), Bad::Back);
    assert_eq!(refused("08000000 0100 01 ff"), Bad::Back);
    assert_eq!(refused("0a000000 0100 826102 ff"), Bad::Back);
    assert_eq!(refused("0a000000 0100 846102 ff"), Bad::Element);
    assert_eq!(refused("09000000 0100 f101 ff"), Bad::Element);
    assert_eq!(refused("09000000 0100 f501 ff"), Bad::Element);
    assert_eq!(refused("08000000 0000 ff ff"), Bad::Element);
    assert_eq!(refused("0d000000 0100 f0ffffffff 01 ff"), Bad::Element);
    // A length behind in more bytes than it needs: nothing writes it.
    assert_eq!(refused("0a000000 0100 01 0081 ff"), Bad::Back);
    assert_eq!(check(&EMPTY).map(Listpack::len), Ok(0));
}

/// Longer forms than needed, and the text of an integer as a string: no Redis of today writes them.
#[test]
fn longer_foreign_forms_read_alike() {
    let bytes =
        hex("26000000 ffff f4050000000000000009 e002616204 f002000000373707 c50b02 f2ffffff04 ff");
    let listpack = check(&bytes).unwrap();
    let read: Vec<Element<'_>> = listpack.iter().collect();
    let seventy_seven = Element::Bytes(b"77");
    let expected = [
        Element::Int(5),
        Element::Bytes(b"ab"),
        seventy_seven,
        Element::Int(0x50b),
        Element::Int(-1),
    ];
    assert_eq!(read, expected);
    assert_eq!(listpack.len(), 5);
    assert!(seventy_seven.is(b"77") && seventy_seven.int() == Some(77));
    for (i, text) in [&b"5"[..], b"ab", b"77", b"1291", b"-1"].iter().enumerate() {
        let found = listpack.find(listpack.start(), text, 0);
        assert_eq!(found, listpack.seek(i as i64), "{i}");
        assert_eq!(found, listpack.seek(i as i64 - 5), "{i}");
    }
    assert_eq!((listpack.seek(5), listpack.seek(-6)), (None, None));
}

#[test]
fn only_canonical_texts_become_integers() {
    for (text, element) in [
        ("0", Element::Int(0)),
        ("-1", Element::Int(-1)),
        ("9223372036854775807", Element::Int(i64::MAX)),
        ("-9223372036854775808", Element::Int(i64::MIN)),
        (
            "9223372036854775808",
            Element::Bytes(b"9223372036854775808"),
        ),
        ("01", Element::Bytes(b"01")),
        ("-0", Element::Bytes(b"-0")),
        ("+1", Element::Bytes(b"+1")),
        ("1.0", Element::Bytes(b"1.0")),
        (" 1", Element::Bytes(b" 1")),
        ("", Element::Bytes(b"")),
    ] {
        assert_eq!(Element::of(text.as_bytes()), element, "{text}");
        assert!(element.is(text.as_bytes()));
        assert_eq!(element.to_vec(), text.as_bytes());
        assert_eq!(element.text_len(), text.len());
    }
    assert!(!Element::Int(1).is(b"01") && !Element::Int(0).is(b""));
}

/// The header has no room for 65,535 elements and more: it says that it does not know. It learns it again only when
/// nothing is left.
#[test]
fn count_above_the_header_is_walked() {
    let one = [0x01, 0x01];
    for count in [65_534usize, 65_535, 65_536] {
        let mut builder = Builder::with_capacity(2 * count);
        (0..count).for_each(|_| builder.push(Element::Int(1)));
        let mut bytes = builder.finish();
        let header = u16::try_from(count).unwrap_or(UNKNOWN);
        assert_eq!(bytes[4..6], header.to_le_bytes());
        assert_eq!(bytes[6..], [one.repeat(count), vec![END]].concat());
        assert_eq!(check(&bytes).unwrap().len(), count);
        append(&mut bytes, [Element::Int(1)]);
        assert_eq!(bytes[4..6], [0xff, 0xff]);
        assert_eq!(check(&bytes).unwrap().len(), count + 1);
        let listpack = Listpack::trusted(&bytes);
        let last = listpack.last();
        assert_eq!(
            (listpack.seek(count as i64), listpack.seek(-1)),
            (last, last)
        );
        assert_eq!(listpack.seek(count as i64 + 1), None);
        assert_eq!(listpack.seek(-2 - count as i64), None);
        let start = listpack.start();
        assert_eq!(remove_range(&mut bytes, start, count), count);
        assert_eq!(bytes, hex("09000000 ffff 0101 ff"));
        remove(&mut bytes, start);
        assert_eq!(bytes, EMPTY);
    }
}

#[test]
fn long_check_calls_pace() {
    let text = vec![b'x'; 1000];
    for (elements, expected) in [(0, 0), (1, 0), (262, 0), (263, 1), (1000, 3)] {
        let bytes = built((0..elements).map(|_| text.as_slice()));
        let mut paces = 0;
        let listpack = check_with(&bytes, &mut || paces += 1).unwrap();
        assert_eq!((listpack.len(), paces), (elements, expected));
    }
}

#[test]
fn what_no_longer_fits_is_known_before() {
    assert!(fits(7, (1 << 30) - 7));
    assert!(!fits(7, (1 << 30) - 6));
    assert!(!fits(7, usize::MAX));
}

#[test]
fn equal_size_is_replaced_in_one_splice() {
    struct Counted(Vec<u8>, usize);
    impl Splice for Counted {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
        fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
            self.1 += 1;
            Splice::splice(&mut self.0, at, remove, insert);
        }
    }
    let mut bytes = Counted(built([&b"a"[..], b"1"]), 0);
    let last = Listpack::trusted(bytes.bytes()).last().unwrap();
    replace(&mut bytes, last, Element::Int(2));
    assert_eq!((texts(&bytes.0)[1].as_slice(), bytes.1), (&b"2"[..], 1));
    replace(&mut bytes, last, Element::Int(2000));
    assert_eq!((texts(&bytes.0)[1].as_slice(), bytes.1), (&b"2000"[..], 3));
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let near = |n: i64| (n - 2..=n + 2).prop_map(|n| n.to_string().into_bytes());
    let number = prop_oneof![
        near(0),
        near(127),
        near(-4096),
        near(4095),
        near(-32768),
        near(32767),
        near(-8388608),
        near(8388607),
        near(-2147483648),
        near(2147483647),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
    ];
    let length = prop_oneof![
        6 => 0..20usize, 2 => 60..68usize, 2 => 120..130usize, 1 => 4090..4100usize, 1 => 16370..16385usize,
    ];
    prop_oneof![
        4 => number,
        4 => (length, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]),
        2 => prop::collection::vec(any::<u8>(), 0..12),
        2 => "[a-c]{1,2}".prop_map(String::into_bytes),
    ]
}

/// Everything that a listpack tells, against the texts that it should have.
fn assert_reads_as(bytes: &[u8], model: &[Vec<u8>]) {
    let listpack = check(bytes).unwrap();
    assert_eq!(listpack, Listpack::trusted(bytes));
    assert_eq!(
        (listpack.len(), listpack.is_empty()),
        (model.len(), model.is_empty())
    );
    assert!(listpack
        .iter()
        .map(Element::to_vec)
        .eq(model.iter().cloned()));
    assert!(listpack
        .iter()
        .rev()
        .map(Element::to_vec)
        .eq(model.iter().rev().cloned()));
    let places: Vec<Place> = listpack.entries().map(|(at, _)| at).collect();
    assert!(listpack
        .entries()
        .rev()
        .map(|(at, _)| at)
        .eq(places.iter().rev().copied()));
    assert_eq!(listpack.first(), places.first().copied());
    assert_eq!(listpack.last(), places.last().copied());
    let count = model.len() as i64;
    for (i, text) in model.iter().enumerate() {
        let (at, element) = (places[i], listpack.get(places[i]));
        assert!(element.is(text) && element.cmp_text(text).is_eq());
        assert_eq!(listpack.after(at), places.get(i + 1).copied());
        assert_eq!(listpack.before(at), i.checked_sub(1).map(|i| places[i]));
        assert_eq!(listpack.seek(i as i64), Some(at));
        assert_eq!(listpack.seek(i as i64 - count), Some(at));
        for skip in 0..3 {
            let first = (0..model.len())
                .step_by(skip + 1)
                .find(|j| model[*j] == *text);
            let found = listpack.find(listpack.start(), text, skip);
            assert_eq!(found, first.map(|j| places[j]), "{i} with {skip} skipped");
        }
        let later = (i + 1..model.len()).find(|j| model[*j] == *text);
        let found = listpack.find(listpack.behind(at), text, 0);
        assert_eq!(found, later.map(|j| places[j]));
    }
    assert_eq!(
        (listpack.seek(count), listpack.seek(-count - 1)),
        (None, None)
    );
    assert_eq!(listpack.seek(i64::MAX), None);
    assert_eq!(listpack.seek(i64::MIN), None);
}

#[derive(Clone, Debug)]
enum Edit {
    Before(prop::sample::Index, [Vec<u8>; 2]),
    Append(Vec<u8>),
    Prepend([Vec<u8>; 3]),
    Replace(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
    RemoveRange(prop::sample::Index, usize),
    Retain(u64),
    Split(prop::sample::Index),
    InsertAll(prop::sample::Index, Vec<Vec<u8>>),
}

fn edits(count: usize) -> impl Strategy<Value = Vec<Edit>> {
    let index = any::<prop::sample::Index>;
    let edit = prop_oneof![
        3 => (index(), [text(), text()]).prop_map(|(i, t)| Edit::Before(i, t)),
        3 => text().prop_map(Edit::Append),
        2 => [text(), text(), text()].prop_map(Edit::Prepend),
        3 => (index(), text()).prop_map(|(i, t)| Edit::Replace(i, t)),
        2 => index().prop_map(Edit::Remove),
        1 => (index(), 0..6usize).prop_map(|(i, n)| Edit::RemoveRange(i, n)),
        1 => any::<u64>().prop_map(Edit::Retain),
        1 => index().prop_map(Edit::Split),
        1 => (index(), prop::collection::vec(text(), 0..5)).prop_map(|(i, t)| Edit::InsertAll(i, t)),
    ];
    prop::collection::vec(edit, 0..count)
}

/// Makes an edit of both, and checks that the listpack grew by what its elements said.
fn edit_both(bytes: &mut Vec<u8>, model: &mut Vec<Vec<u8>>, edit: Edit) {
    let count = model.len();
    let place = |i: usize| {
        let listpack = Listpack::trusted(bytes);
        listpack.seek(i as i64).unwrap_or(listpack.end())
    };
    let size = |texts: &[Vec<u8>]| texts.iter().map(|t| Element::of(t).size()).sum::<usize>();
    let (before, mut grown) = (bytes.len(), None);
    match edit {
        Edit::Before(i, texts) => {
            let (i, at) = (i.index(count + 1), place(i.index(count + 1)));
            insert(bytes, at, texts.each_ref().map(|t| Element::of(t)));
            grown = Some(size(&texts));
            model.splice(i..i, texts);
        }
        Edit::Append(text) => {
            append(bytes, [Element::of(&text)]);
            grown = Some(Element::of(&text).size());
            model.push(text);
        }
        Edit::Prepend(texts) => {
            prepend(bytes, texts.each_ref().map(|t| Element::of(t)));
            grown = Some(size(&texts));
            model.splice(0..0, texts);
        }
        Edit::Replace(i, text) if count > 0 => {
            let at = place(i.index(count));
            replace(bytes, at, Element::of(&text));
            assert!(Listpack::trusted(bytes).get(at).is(&text));
            model[i.index(count)] = text;
        }
        Edit::Remove(i) if count > 0 => {
            let at = place(i.index(count));
            remove(bytes, at);
            model.remove(i.index(count));
        }
        Edit::RemoveRange(i, n) => {
            let (i, at) = (i.index(count + 1), place(i.index(count + 1)));
            let expected = n.min(count - i);
            assert_eq!(remove_range(bytes, at, n), expected);
            model.drain(i..i + expected);
        }
        Edit::Retain(mask) => {
            let (mut i, mut j) = (0, 0);
            let keep = |i: &mut u32| {
                *i += 1;
                mask.rotate_left(*i) & 1 == 1
            };
            let removed = retain(bytes, |_| keep(&mut i));
            model.retain(|_| keep(&mut j));
            assert_eq!(removed, count - model.len());
        }
        Edit::Split(i) => {
            let (i, at) = (i.index(count + 1), place(i.index(count + 1)));
            let behind = split_off(bytes, at);
            assert_reads_as(&behind, &model[i..]);
            model.truncate(i);
        }
        Edit::InsertAll(i, texts) => {
            let (i, at) = (i.index(count + 1), place(i.index(count + 1)));
            let other = built(texts.iter().map(Vec::as_slice));
            insert_all(bytes, at, check(&other).unwrap());
            grown = Some(other.len() - EMPTY.len());
            model.splice(i..i, texts);
        }
        Edit::Replace(..) | Edit::Remove(..) => {}
    }
    if let Some(grown) = grown {
        assert_eq!(bytes.len(), before + grown);
    }
}

/// Bytes near those of a listpack: some of them changed, cut or doubled, the header mended or not.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let changes = prop::collection::vec(change, 0..4);
    let elements = prop::collection::vec(text(), 0..6);
    (elements, changes, any::<bool>(), any::<bool>()).prop_map(|(texts, changes, total, count)| {
        let mut bytes = built(texts.iter().map(Vec::as_slice));
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte & 7),
                2 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => {
                    bytes.remove(at);
                }
                _ => {}
            }
        }
        if total && bytes.len() > HEADER {
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        if count && bytes.len() > HEADER {
            bytes[4..HEADER].copy_from_slice(&UNKNOWN.to_le_bytes());
        }
        bytes
    })
}

/// Bytes that may be any, in a frame that is right.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        // Whole elements in forms that may be longer than needed.
        (0..0x80u8).prop_map(|n| vec![n, 1]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![0xf1, a, b, 3]),
        any::<[u8; 3]>().prop_map(|[a, b, c]| vec![0xf2, a, b, c, 4]),
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| vec![0xf3, a, b, c, d, 5]),
        (0..0x20u8, any::<u8>()).prop_map(|(a, b)| vec![0xc0 | a, b, 2]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![0xe0, 2, a, b, 4]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![0xf0, 2, 0, 0, 0, a, b, 7]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let elements = pieces.concat();
        let length = (elements.len() + EMPTY.len()) as u32;
        let header = [&length.to_le_bytes()[..], &[0xff, 0xff]].concat();
        [header, elements, vec![END]].concat()
    })
}

fn assert_refused_or_works(mut bytes: Vec<u8>, edits: Vec<Edit>) {
    let Ok(listpack) = check(&bytes) else { return };
    let mut model: Vec<Vec<u8>> = listpack.iter().map(Element::to_vec).collect();
    assert_reads_as(&bytes, &model);
    for edit in edits {
        edit_both(&mut bytes, &mut model, edit);
        assert_reads_as(&bytes, &model);
    }
}

proptest! {
    #[test]
    fn elements_are_read_as_written(texts in prop::collection::vec(text(), 0..30)) {
        let mut bytes = built(texts.iter().map(Vec::as_slice));
        assert_reads_as(&bytes, &texts);
        let sizes: usize = texts.iter().map(|text| Element::of(text).size()).sum();
        prop_assert_eq!(bytes.len(), EMPTY.len() + sizes);
        let mut again = EMPTY.to_vec();
        for element in Listpack::trusted(&bytes) {
            append(&mut again, [element]);
        }
        prop_assert_eq!(&again, &bytes);
        let all = Listpack::trusted(&bytes).start();
        prop_assert_eq!(split_off(&mut bytes, all), again);
        prop_assert_eq!(bytes, EMPTY);
    }

    #[test]
    fn integers_are_read_as_written(n: i64, shift in 0..64u32) {
        let n = n >> shift;
        let mut builder = Builder::default();
        builder.push(Element::Int(n));
        let bytes = builder.finish();
        prop_assert_eq!(check(&bytes).unwrap().iter().collect::<Vec<_>>(), [Element::Int(n)]);
        prop_assert_eq!(bytes.len(), EMPTY.len() + Element::Int(n).size());
        prop_assert_eq!(Element::Int(n).text_len(), n.to_string().len());
    }

    #[test]
    fn edits_follow_the_model(edits in edits(24)) {
        let (mut bytes, mut model) = (EMPTY.to_vec(), Vec::new());
        for edit in edits {
            edit_both(&mut bytes, &mut model, edit);
            assert_reads_as(&bytes, &model);
            let fresh = built(model.iter().map(Vec::as_slice));
            prop_assert_eq!(&bytes, &fresh);
        }
    }

    #[test]
    fn places_between_are_walked_alone(
        texts in prop::collection::vec(text(), 0..12),
        ends: (prop::sample::Index, prop::sample::Index),
    ) {
        let bytes = built(texts.iter().map(Vec::as_slice));
        let listpack = Listpack::trusted(&bytes);
        let (a, b) = (ends.0.index(texts.len() + 1), ends.1.index(texts.len() + 1));
        let place = |i: usize| listpack.seek(i as i64).unwrap_or(listpack.end());
        let between = listpack.entries_between(place(a), place(b.max(a)));
        let found: Vec<_> = between.clone().map(|(_, element)| element.to_vec()).collect();
        prop_assert_eq!(&found, &texts[a..b.max(a)]);
        prop_assert_eq!(between.clone().count(), found.len());
        prop_assert!(between.rev().map(|(_, e)| e.to_vec()).eq(found.into_iter().rev()));
    }

    #[test]
    fn any_bytes_are_refused_or_work(bytes: Vec<u8>, edits in edits(3)) {
        assert_refused_or_works(bytes, edits);
    }

    #[test]
    fn mutated_bytes_are_refused_or_work(bytes in mutated(), edits in edits(3)) {
        assert_refused_or_works(bytes, edits);
    }

    #[test]
    fn framed_bytes_are_refused_or_work(bytes in framed(), edits in edits(3)) {
        assert_refused_or_works(bytes, edits);
    }
}
