//! Payloads under an allocator that counts: whatever length bytes claim, reading them takes no more
//! memory than they can fill. One test file only, so that the allocator is its own.

use proptest::prelude::*;
use rdb::crc64::crc64;
use rdb::{load, PayloadError, Value, ValueError};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes that this thread has asked for. Per thread: tests run beside each other.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it hands on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Layout) -> *mut u8 {
        ASKED.set(ASKED.get().saturating_add(block.size()));
        // SAFETY: the caller's layout.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Layout) {
        // SAFETY: `alloc` had it from there.
        unsafe { System.dealloc(at, block) }
    }
}

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
    let before = ASKED.get();
    let result = load(&payload, limit, &mut || {});
    let asked = ASKED.get() - before;
    let length = result.map(|Value::String(text)| text.len());
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
    let form = prop::sample::select(vec![&b""[..], b"\0", b"\0\xc3", b"\0\xc0", b"\0\xc2"]);
    let lengths = prop::collection::vec(length, 0..3);
    (form, lengths, tail)
        .prop_map(|(form, lengths, tail)| [form, &lengths.concat(), &tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_take_no_more_than_they_fill(body in bodies(), limit in 0..LIMIT) {
        let (result, asked) = loaded(&body, limit);
        let most = limit.min(MOST * body.len()) + SMALL;
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
