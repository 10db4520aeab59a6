//! LZF, the compression of long strings.
//!
//! Owns: [`compress`] and [`decompress`]. Compressed bytes are runs and copies. A run: one byte below 32,
//! which is its length less one, and as many bytes as they are. A copy: three bits of length, five high
//! bits of distance; where the length bits are all set, a byte that is added to the length; the low
//! byte of the distance. It stands for `length + 2` bytes that came `distance + 1` before.
//!
//! Invariants: [`compress`] makes the choices of Redis's compressor (liblzf, "very fast", a table of
//! 65,536 places that begins empty), so that a payload is the same to the byte. [`decompress`] is total and
//! takes no more memory than it is allowed.

use super::PACE_BYTES;
use std::cell::Cell;

const HASH_BITS: u32 = 16;
/// A run is never longer.
const RUN_MAX: usize = 32;
/// A copy is never longer.
const COPY_MAX: usize = 264;
/// A copy of that length takes this many bytes: no form stands for more.
const COPY_BYTES: usize = 3;
/// A copy is never from further behind.
const DISTANCE_MAX: usize = 1 << 13;
/// From this value of the length bits on, the length goes on in a byte of its own.
const LENGTH_GOES_ON: usize = 7;
/// At most so many bytes are left when no copy can begin any more.
const TAIL_MAX: usize = 3;
/// Compressed bytes have to be fewer than the others by so much.
const GAIN: usize = 4;

/// The most bytes that `compressed` bytes can stand for.
pub fn longest(compressed: usize) -> usize {
    compressed.saturating_mul(COPY_MAX / COPY_BYTES)
}

/// Whether as many compressed bytes can stand for `length` bytes.
pub(crate) fn can_be(compressed: usize, length: usize) -> bool {
    // Of two compressed bytes, at least one byte comes: a run of one.
    length <= longest(compressed) && compressed <= length.saturating_mul(2)
}

/// The compressed form, if it is shorter by a few bytes at least.
pub fn compress(input: &[u8], pace: &mut dyn FnMut()) -> Option<Vec<u8>> {
    let limit = input.len().checked_sub(GAIN).filter(|limit| *limit > 0)?;
    let mut table = Table::new(input)?;
    let mut out = Output::new(limit);
    let mut at = 0;
    let mut pace_at = PACE_BYTES;
    // The last two bytes begin no copy.
    let end = input.len() - 2;
    while at < end {
        if at >= pace_at {
            pace();
            pace_at = at + PACE_BYTES;
        }
        let Some(from) = table.find(at) else {
            if out.bytes.len() >= limit {
                return None;
            }
            out.literal(input[at]);
            at += 1;
            continue;
        };
        let empty_run = usize::from(out.run == 0);
        if out.bytes.len() - empty_run + COPY_BYTES + 1 >= limit {
            return None;
        }
        let length = copy_length(input, from, at);
        out.copy(length, at - from - 1);
        at += length;
        if at >= end {
            break;
        }
        // Only the last two places of what was copied are remembered.
        table.replace(at - 2);
        table.replace(at - 1);
    }
    if out.bytes.len() + TAIL_MAX > limit {
        return None;
    }
    input[at..].iter().for_each(|byte| out.literal(*byte));
    out.end_run();
    Some(out.bytes)
}

/// How many bytes from `at` on repeat those from `from` on, of which three are known to.
fn copy_length(input: &[u8], from: usize, at: usize) -> usize {
    let most = (input.len() - at - 2).min(COPY_MAX);
    // Redis compares sixteen bytes before it looks at the end again: this decides whether the last
    // two bytes belong to a copy.
    let unchecked = if most > 16 { 16 } else { 0 };
    let mut length = 2;
    loop {
        length += 1;
        let goes_on = length < most || length <= 2 + unchecked;
        if !goes_on || input[from + length] != input[at + length] {
            return length;
        }
    }
}

thread_local! {
    /// One table for all strings of a thread: to clear 256 KiB takes longer than to compress a short
    /// string.
    static PLACES: Cell<Places> = const { Cell::new(Places::new()) };
}

/// Where three bytes were last seen, by a hash of them.
struct Places {
    /// Empty until it is used. What is below `first` are places of strings before, or none.
    table: Vec<u32>,
    first: u32,
}

impl Places {
    const fn new() -> Places {
        Places {
            table: Vec::new(),
            first: 0,
        }
    }

    /// Forgets all places; there is room for those of a string of `length` bytes.
    fn begin(&mut self, length: u32) {
        self.table.resize(1 << HASH_BITS, 0);
        if self.first.checked_add(length).is_none() {
            self.table.fill(0);
            self.first = 0;
        }
    }
}

/// The places of one string.
struct Table<'a> {
    input: &'a [u8],
    places: Places,
}

impl<'a> Table<'a> {
    /// `None` if the string is too long for a table.
    fn new(input: &'a [u8]) -> Option<Table<'a>> {
        let length = u32::try_from(input.len()).ok()?;
        // A compressor that begins while this one works gets a table of its own.
        let mut places = PLACES.replace(Places::new());
        places.begin(length);
        Some(Table { input, places })
    }

    /// Remembers the three bytes at `at`; the place that their hash had before. Place 0 is not told
    /// from none.
    fn replace(&mut self, at: usize) -> usize {
        let [a, b, c] = [0, 1, 2].map(|next| u32::from(self.input[at + next]));
        let bytes = a << 16 | b << 8 | c;
        let hash = (bytes >> (24 - HASH_BITS)).wrapping_sub(bytes.wrapping_mul(5));
        let Places { table, first } = &mut self.places;
        let place = &mut table[(hash & ((1 << HASH_BITS) - 1)) as usize];
        let at = u32::try_from(at).expect("the input is not longer");
        let before = std::mem::replace(place, *first + at);
        before.saturating_sub(*first) as usize
    }

    /// The same; the place of three equal bytes, if they are near.
    fn find(&mut self, at: usize) -> Option<usize> {
        let from = self.replace(at);
        let found = from > 0
            && at - from <= DISTANCE_MAX
            && self.input[from..from + 3] == self.input[at..at + 3];
        found.then_some(from)
    }
}

impl Drop for Table<'_> {
    /// The table goes back, behind the places of this string.
    fn drop(&mut self) {
        let mut places = std::mem::replace(&mut self.places, Places::new());
        places.first += u32::try_from(self.input.len()).expect("checked when it began");
        PLACES.set(places);
    }
}

/// What is compressed so far; a run is always open behind it.
struct Output {
    bytes: Vec<u8>,
    /// Bytes of the open run.
    run: usize,
}

impl Output {
    fn new(limit: usize) -> Output {
        // The last bytes may lie a little behind the limit.
        let mut bytes = Vec::with_capacity(limit + GAIN);
        bytes.push(0);
        Output { bytes, run: 0 }
    }

    fn literal(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.run += 1;
        if self.run == RUN_MAX {
            self.end_run();
            self.begin_run();
        }
    }

    /// The byte that stands before a run.
    fn begin_run(&mut self) {
        self.bytes.push(0);
        self.run = 0;
    }

    fn end_run(&mut self) {
        if self.run == 0 {
            self.bytes.pop();
            return;
        }
        let header = self.bytes.len() - self.run - 1;
        self.bytes[header] = low_byte(self.run - 1);
    }

    fn copy(&mut self, length: usize, distance: usize) {
        self.end_run();
        let (length, high) = (length - 2, low_byte(distance >> 8));
        if length < LENGTH_GOES_ON {
            self.bytes.push(low_byte(length) << 5 | high);
        } else {
            self.bytes.push(low_byte(LENGTH_GOES_ON) << 5 | high);
            self.bytes.push(low_byte(length - LENGTH_GOES_ON));
        }
        self.bytes.push(low_byte(distance & 0xff));
        self.begin_run();
    }
}

fn low_byte(n: usize) -> u8 {
    u8::try_from(n).expect("lengths and distances are bounded")
}

/// The `length` bytes that these stand for; none if they stand for fewer or more, or for nothing.
pub fn decompress(compressed: &[u8], length: usize, pace: &mut dyn FnMut()) -> Option<Vec<u8>> {
    if length > longest(compressed.len()) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = compressed;
    let mut pace_at = PACE_BYTES;
    while let Some((first, behind)) = rest.split_first() {
        let first = usize::from(*first);
        rest = if first < RUN_MAX {
            let (run, behind) = behind.split_at_checked(first + 1)?;
            out.extend_from_slice(run);
            behind
        } else {
            decompress_copy(first, behind, length, &mut out)?
        };
        if out.len() > length {
            return None;
        }
        if out.len() >= pace_at {
            pace();
            pace_at = out.len() + PACE_BYTES;
        }
    }
    (out.len() == length && !compressed.is_empty()).then_some(out)
}

/// Carries out one copy; what stands behind it.
fn decompress_copy<'a>(
    first: usize,
    mut rest: &'a [u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let mut take = || {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        Some(usize::from(*byte))
    };
    let mut length = first >> 5;
    if length == LENGTH_GOES_ON {
        length += take()?;
    }
    length += 2;
    let distance = ((first & 0x1f) << 8 | take()?) + 1;
    let from = out.len().checked_sub(distance)?;
    if length > limit - out.len() {
        return None;
    }
    let end = out.len() + length;
    // A copy longer than its distance repeats what it writes: each round there is more to copy.
    while out.len() < end {
        let there = (out.len() - from).min(end - out.len());
        out.extend_from_within(from..from + there);
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shorter(input: &[u8]) -> Option<Vec<u8>> {
        compress(input, &mut || {})
    }

    fn longer(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
        decompress(compressed, length, &mut || {})
    }

    /// Bytes that repeat themselves in places.
    pub fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        let piece = (prop::collection::vec(0u8..5, 0..40), 1usize..20);
        let pieces = prop::collection::vec(piece, 0..20);
        pieces.prop_map(|all| all.into_iter().flat_map(|(p, n)| p.repeat(n)).collect())
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(input in repetitive()) {
            if let Some(compressed) = shorter(&input) {
                prop_assert!(compressed.len() < input.len());
                prop_assert_eq!(longer(&compressed, input.len()), Some(input.clone()));
                prop_assert_eq!(longer(&compressed, input.len() - 1), None);
                prop_assert_eq!(longer(&compressed, input.len() + 1), None);
            }
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>, length in 0usize..5000) {
            if let Some(out) = longer(&bytes, length) {
                prop_assert_eq!(out.len(), length);
            }
        }
    }

    /// The second time the table has the places of the first.
    #[test]
    fn strings_before_leave_no_trace() {
        let texts = [b"abcdefgh".repeat(5), b"xabcdefgh".repeat(5)];
        let alone = texts.each_ref().map(|text| {
            PLACES.set(Places::new());
            shorter(text)
        });
        PLACES.set(Places::new());
        for round in 0..3 {
            assert_eq!(texts.each_ref().map(|text| shorter(text)), alone, "{round}");
        }
        // Where places run out the table begins anew.
        let mut places = PLACES.replace(Places::new());
        places.first = u32::MAX - 60;
        places.table.fill(u32::MAX - 70);
        PLACES.set(places);
        assert_eq!(texts.each_ref().map(|text| shorter(text)), alone);
        assert!(PLACES.replace(Places::new()).first < 100);
    }

    #[test]
    fn a_compressor_within_another_has_its_own_table() {
        let input = b"0123456789abcdef".repeat(PACE_BYTES / 8);
        let inner = b"a tale of tales of tales".repeat(3);
        let (want, want_inner) = (shorter(&input), shorter(&inner));
        let mut within = None;
        let outer = compress(&input, &mut || within = Some(shorter(&inner)));
        assert_eq!((outer, within), (want, Some(want_inner)));
    }

    #[test]
    fn a_copy_that_reaches_before_the_beginning_is_refused() {
        assert_eq!(longer(&[0, b'a', 0x20, 0], 4), Some(b"aaaa".to_vec()));
        assert_eq!(longer(&[0, b'a', 0x20, 1], 4), None);
        assert_eq!(longer(&[0x20, 0], 3), None);
    }

    #[test]
    fn bytes_that_are_cut_are_refused() {
        for cut in [
            &[][..],
            &[0],
            &[3, b'a'],
            &[0, b'a', 0x20],
            &[0, b'a', 0xe0, 1],
        ] {
            assert_eq!(longer(cut, 4), None, "{cut:?}");
        }
        assert_eq!(longer(&[], 0), None);
    }

    #[test]
    fn a_length_that_no_bytes_justify_takes_no_memory() {
        assert_eq!(longer(&[0, b'a', 0xe0, 255, 0], usize::MAX), None);
        let all = longer(&[0, b'a', 0xe0, 255, 0], 265);
        assert_eq!(all, Some(vec![b'a'; 265]));
    }

    #[test]
    fn large_input_is_walked_at_a_pace() {
        let input = vec![b'a'; 3 * PACE_BYTES];
        let mut calls = 0;
        let compressed = compress(&input, &mut || calls += 1).unwrap();
        assert_eq!(calls, 2);
        calls = 0;
        let back = decompress(&compressed, input.len(), &mut || calls += 1);
        assert_eq!((back, calls >= 2), (Some(input), true));
    }
}
