use super::*;
use containers::listpack::{check, Builder};
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

fn texts(elements: Result<Elements<'_>, Bad>) -> Vec<String> {
    let text = |element: Element<'_>| String::from_utf8(element.to_vec()).unwrap();
    elements.unwrap().map(text).collect()
}

fn ziplist_texts(bytes: &str) -> Vec<String> {
    texts(ziplist(&hex(bytes), &mut || {}))
}

/// Values of the files that Redis's own tests load: a list, a hash, sorted sets, the node of a quicklist.
#[test]
fn ziplists_of_old_files_are_read() {
    let list = "30000000 25000000 0800 00c00100 04c00200 04c00300 040161 030162 030163 03d0a0860100 06e000bca06501000000 ff";
    let expected = ["1", "2", "3", "a", "b", "c", "100000", "6000000000"];
    assert_eq!(ziplist_texts(list), expected);
    let hash = "1b000000 16000000 0400 00026631 04027631 04026632 04027632 ff";
    assert_eq!(ziplist_texts(hash), ["f1", "v1", "f2", "v2"]);
    let zset = "19000000 16000000 0400 00036f6e65 05f2 020374776f 05f3 ff";
    assert_eq!(ziplist_texts(zset), ["one", "1", "two", "2"]);
    let zset = "20000000 1b000000 0600 000161 03c00100 040162 03c00200 040163 03c00300 ff";
    assert_eq!(ziplist_texts(zset), ["a", "1", "b", "2", "c", "3"]);
    assert_eq!(ziplist_texts("0d000000 0a000000 0100 00f8 ff"), ["7"]);
}

#[test]
fn zipmap_of_old_file_is_read() {
    let bytes = hex("02 026631 02007631 026632 02007632 ff");
    assert_eq!(texts(zipmap(&bytes, &mut || {})), ["f1", "v1", "f2", "v2"]);
    // Unused bytes behind a value, lengths in five bytes, an unknown number of pairs.
    let bytes = hex("fe fe020000006631 fe0200000003 3132 ffffff 00 0000 ff");
    assert_eq!(texts(zipmap(&bytes, &mut || {})), ["f1", "12", "", ""]);
    let mut elements = zipmap(&bytes, &mut || {}).unwrap();
    assert_eq!(elements.nth(1), Some(Element::Int(12)));
}

#[test]
fn bad_ziplists_are_refused_with_the_reason() {
    let refused = |text: &str| {
        ziplist(&hex(text), &mut || {})
            .map(|e| e.len())
            .unwrap_err()
    };
    assert_eq!(refused(""), Bad::Short(0));
    assert_eq!(refused("0a000000 0a000000 0000"), Bad::Short(10));
    assert_eq!(refused("0c000000 0a000000 0000 ff"), Bad::Total(12));
    assert_eq!(refused("0b000000 0a000000 0000 fe"), Bad::End);
    assert_eq!(refused("0b000000 0b000000 0000 ff"), Bad::Last(11));
    assert_eq!(refused("0b000000 0a000000 0100 ff"), Bad::Count(1));
    assert_eq!(refused("0d000000 0a000000 0200 00f8 ff"), Bad::Count(2));
    assert_eq!(refused("0d000000 0b000000 0100 00f8 ff"), Bad::Last(11));
    assert_eq!(refused("0d000000 0a000000 0100 01f8 ff"), Bad::Before(1));
    assert_eq!(refused("0d000000 0a000000 0100 00ff ff"), Bad::Entry);
    assert_eq!(refused("0d000000 0a000000 0100 00c1 ff"), Bad::Entry);
    assert_eq!(refused("0d000000 0a000000 0100 0001 ff"), Bad::Entry);
    assert_eq!(refused("0c000000 0a000000 0100 00 ff"), Bad::Entry);
    assert_eq!(refused("0c000000 0a000000 0100 ff ff"), Bad::Entry);
    assert_eq!(
        refused("11000000 0a000000 0100 0080ffffffff ff"),
        Bad::Entry
    );
    assert_eq!(ziplist_texts("0b000000 0a000000 0000 ff"), [""; 0]);
    assert_eq!(ziplist_texts("0d000000 0a000000 ffff 00f8 ff"), ["7"]);
}

#[test]
fn bad_zipmaps_are_refused_with_the_reason() {
    let refused = |text: &str| zipmap(&hex(text), &mut || {}).map(|e| e.len()).unwrap_err();
    assert_eq!(refused(""), Bad::Short(0));
    assert_eq!(refused("00"), Bad::Short(1));
    assert_eq!(refused("0000"), Bad::End);
    assert_eq!(refused("01 ff"), Bad::Count(1));
    assert_eq!(refused("02 0166 010076 ff"), Bad::Count(2));
    assert_eq!(refused("01 0166 ff"), Bad::Entry);
    assert_eq!(refused("01 0166 010176 ff"), Bad::Entry);
    assert_eq!(refused("01 0266 ff"), Bad::Entry);
    assert_eq!(refused("01 feffffffff 66 ff"), Bad::Entry);
    assert_eq!(zipmap(&hex("00 ff"), &mut || {}).map(|e| e.len()), Ok(0));
}

/// The ziplist of these texts; the length before an entry is in five bytes where asked for, as after the one before it
/// has become shorter.
fn packed(texts: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let (mut bytes, mut last) = (vec![0; ZIPLIST_HEADER], ZIPLIST_HEADER);
    for (text, long) in texts {
        let before = (bytes.len() - last) as u32;
        last = bytes.len();
        match u8::try_from(before) {
            Ok(before @ 0..=0xfd) if !long => bytes.push(before),
            _ => {
                bytes.push(LONG_LENGTH);
                bytes.extend_from_slice(&before.to_le_bytes());
            }
        }
        pack(&mut bytes, Element::of(text));
    }
    bytes.push(END);
    let total = bytes.len() as u32;
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&(texts.len() as u16).to_le_bytes());
    bytes
}

fn pack(bytes: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Int(n) => {
            let (kind, size) = match n {
                0..=12 => return bytes.push(0xf1 + n as u8),
                -0x80..=0x7f => (0xfe, 1),
                -0x8000..=0x7fff => (0xc0, 2),
                -0x80_0000..=0x7f_ffff => (0xf0, 3),
                -0x8000_0000..=0x7fff_ffff => (0xd0, 4),
                _ => (0xe0, 8),
            };
            bytes.push(kind);
            bytes.extend_from_slice(&n.to_le_bytes()[..size]);
        }
        Element::Bytes(text) => {
            let length = text.len() as u32;
            match length {
                0..=0x3f => bytes.push(length as u8),
                0x40..=0x3fff => bytes.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
                _ => {
                    bytes.push(0x80);
                    bytes.extend_from_slice(&length.to_be_bytes());
                }
            }
            bytes.extend_from_slice(text);
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let number = (any::<i64>(), 0..64u32).prop_map(|(n, shift)| (n >> shift).to_string());
    let length =
        prop_oneof![6 => 0..20usize, 2 => 60..70usize, 2 => 240..260usize, 1 => 16380..16390usize];
    prop_oneof![
        number.prop_map(String::into_bytes),
        (length, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]),
    ]
}

/// What is taken can be walked to its end, and made into a listpack that has the same elements.
fn assert_walks(elements: Elements<'_>) {
    let mut builder = Builder::default();
    let count = elements.len();
    for element in elements.clone() {
        builder.push(element);
    }
    assert_eq!(builder.count(), count);
    let listpack = builder.finish();
    assert!(check(&listpack).unwrap().iter().eq(elements));
}

fn assert_refused_or_walks(bytes: &[u8]) {
    let results = [ziplist(bytes, &mut || {}), zipmap(bytes, &mut || {})];
    results.into_iter().flatten().for_each(assert_walks);
}

proptest! {
    #[test]
    fn ziplists_are_read_as_written(texts in prop::collection::vec((text(), any::<bool>()), 0..20)) {
        let bytes = packed(&texts);
        let elements = ziplist(&bytes, &mut || {}).unwrap();
        prop_assert_eq!(elements.len(), texts.len());
        let expected = texts.iter().map(|(text, _)| Element::of(text));
        prop_assert!(elements.clone().eq(expected));
        assert_walks(elements);
    }

    #[test]
    fn zipmaps_are_read_as_written(
        pairs in prop::collection::vec((text(), text(), 0..9usize), 0..20),
        long: bool,
    ) {
        let mut bytes = vec![pairs.len() as u8];
        let length = |bytes: &mut Vec<u8>, text: &[u8]| {
            if text.len() < 0xfe && !long {
                return bytes.push(text.len() as u8);
            }
            bytes.push(LONG_LENGTH);
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        };
        for (field, value, unused) in &pairs {
            length(&mut bytes, field);
            bytes.extend_from_slice(field);
            length(&mut bytes, value);
            bytes.push(*unused as u8);
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(&vec![0xaa; *unused]);
        }
        bytes.push(END);
        let elements = zipmap(&bytes, &mut || {}).unwrap();
        let expected = pairs.iter().flat_map(|(f, v, _)| [Element::of(f), Element::of(v)]);
        prop_assert!(elements.clone().eq(expected));
        assert_walks(elements);
    }

    #[test]
    fn any_bytes_are_refused_or_walked(bytes: Vec<u8>, count in 0..4u8) {
        assert_refused_or_walks(&bytes);
        assert_refused_or_walks(&[&[count][..], &bytes, &[END]].concat());
        let total = (bytes.len() + ZIPLIST_HEADER + 1) as u32;
        let header = [&total.to_le_bytes()[..], &[10, 0, 0, 0, 0xff, 0xff]].concat();
        assert_refused_or_walks(&[&header[..], &bytes, &[END]].concat());
    }

    #[test]
    fn mutated_ziplists_are_refused_or_walked(
        texts in prop::collection::vec((text(), any::<bool>()), 0..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = packed(&texts);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        assert_refused_or_walks(&bytes);
    }
}

#[test]
fn long_check_calls_pace() {
    let texts = vec![(vec![b'x'; 1000], false); 1000];
    let mut paces = 0;
    let bytes = packed(&texts);
    ziplist(&bytes, &mut || paces += 1).unwrap();
    assert_eq!(paces, 3);
    let pair = [&[1, b'f', LONG_LENGTH, 0xe8, 3, 0, 0, 0][..], &[b'x'; 1000]].concat();
    let bytes = [vec![ZIPMAP_UNKNOWN], pair.repeat(1000), vec![END]].concat();
    zipmap(&bytes, &mut || paces += 1).unwrap();
    assert_eq!(paces, 6);
}
