//! Editing listpacks where they lie, and building them.
//!
//! Owns: the edits, and [`Builder`]. Never: walks where the caller has a place already; decides how long a listpack may
//! get ([`fits`] says what Redis takes). Invariant: an edit is two splices, one of the elements and one of the header,
//! and keeps the number of elements known unless there are too many for the header.

use super::layout::Encoded;
use super::{Element, Listpack, Place, EMPTY, END, HEADER, UNKNOWN};
use crate::Splice;

/// No listpack gets longer by an element of a client.
const SAFE_MAX: usize = 1 << 30;

/// Whether `bytes` of a listpack may grow by `added` (the sum of [`Element::size`]). Edits that would make it longer
/// than its header can say panic.
pub fn fits(bytes: usize, added: usize) -> bool {
    bytes.saturating_add(added) <= SAFE_MAX
}

/// Puts elements before the one at `at`, or at the end. `at` is then the place of the first of them.
pub fn insert<const N: usize>(
    into: &mut (impl Splice + ?Sized),
    at: Place,
    elements: [Element<'_>; N],
) {
    let encoded = elements.map(Encoded::new);
    let parts = encoded.each_ref().map(Encoded::parts);
    edit(into, (at, 0), parts.as_flattened(), (0, N));
}

pub fn append<const N: usize>(into: &mut (impl Splice + ?Sized), elements: [Element<'_>; N]) {
    let end = Listpack::trusted(into.bytes()).end();
    insert(into, end, elements);
}

pub fn prepend<const N: usize>(into: &mut (impl Splice + ?Sized), elements: [Element<'_>; N]) {
    insert(into, Place::new(HEADER), elements);
}

/// Puts all elements of another listpack before the one at `at`, or at the end, as they lie there.
pub fn insert_all(into: &mut (impl Splice + ?Sized), at: Place, other: Listpack<'_>) {
    let elements = &other.bytes[HEADER..other.end().offset()];
    edit(into, (at, 0), &[elements], (0, other.len()));
}

/// Puts another element in the place of the one at `at`, which stays its place.
pub fn replace(into: &mut (impl Splice + ?Sized), at: Place, element: Element<'_>) {
    let behind = Listpack::trusted(into.bytes()).behind(at);
    let size = behind.offset() - at.offset();
    edit(into, (at, size), &Encoded::new(element).parts(), (1, 1));
}

/// Removes the element at `at`, which is then the place of what was behind it.
pub fn remove(from: &mut (impl Splice + ?Sized), at: Place) {
    remove_range(from, at, 1);
}

/// Removes elements from the one at `at` on, and returns how many there were of the `count`.
pub fn remove_range(from: &mut (impl Splice + ?Sized), at: Place, count: usize) -> usize {
    let listpack = Listpack::trusted(from.bytes());
    let (end, mut behind, mut removed) = (listpack.end(), at, 0);
    while removed < count && behind < end {
        behind = listpack.behind(behind);
        removed += 1;
    }
    if removed > 0 {
        let size = behind.offset() - at.offset();
        edit(from, (at, size), &[], (removed, 0));
    }
    removed
}

/// Removes the elements that are not to be kept, in one splice, and returns how many these were.
pub fn retain(
    from: &mut (impl Splice + ?Sized),
    mut keep: impl FnMut(Element<'_>) -> bool,
) -> usize {
    let listpack = Listpack::trusted(from.bytes());
    let Some((first, _)) = listpack.entries().find(|(_, element)| !keep(*element)) else {
        return 0;
    };
    let (mut kept, mut removed, mut behind) = (Vec::new(), 1, listpack.behind(first));
    let mut start = behind; // of the run that is kept, up to the next that is not
    for (at, element) in listpack.entries_between(behind, listpack.end()) {
        if !keep(element) {
            kept.extend_from_slice(&listpack.bytes[start.offset()..at.offset()]);
            start = listpack.behind(at);
            behind = start;
            removed += 1;
        }
    }
    let size = behind.offset() - first.offset();
    edit(from, (first, size), &[&kept], (removed, 0));
    removed
}

/// Removes the elements from `at` on, and returns a listpack of them.
pub fn split_off(from: &mut (impl Splice + ?Sized), at: Place) -> Vec<u8> {
    let listpack = Listpack::trusted(from.bytes());
    let count = listpack.entries_between(at, listpack.end()).count();
    let size = listpack.end().offset() - at.offset();
    let mut behind = EMPTY.to_vec();
    let taken = &listpack.bytes[at.offset()..listpack.end().offset()];
    edit(&mut behind, (Place::new(HEADER), 0), &[taken], (0, count));
    edit(from, (at, size), &[], (count, 0));
    behind
}

/// Puts parts in the place of bytes, and mends the header: `removed` elements were there, and `inserted` come.
fn edit(
    into: &mut (impl Splice + ?Sized),
    (at, size): (Place, usize),
    parts: &[&[u8]],
    (removed, inserted): (usize, usize),
) {
    let old = Listpack::trusted(into.bytes());
    let added: usize = parts.iter().map(|part| part.len()).sum();
    let total = old.bytes.len() - size + added;
    let count = match old.count() {
        _ if total == EMPTY.len() => 0,
        UNKNOWN => UNKNOWN,
        count => header_count(usize::from(count) - removed + inserted),
    };
    if (added, removed) != (size, inserted) {
        let header = header(total, count);
        into.splice(at.offset(), size, parts);
        into.splice(0, HEADER, &[&header]);
    } else {
        into.splice(at.offset(), size, parts);
    }
}

/// The number of elements as a header has it.
fn header_count(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(UNKNOWN)
}

fn header(total: usize, count: u16) -> [u8; HEADER] {
    let total = u32::try_from(total).expect("callers ask first whether it fits");
    let ([a, b, c, d], [e, f]) = (total.to_le_bytes(), count.to_le_bytes());
    [a, b, c, d, e, f]
}

/// Makes a listpack from its first element on.
#[derive(Clone, Debug)]
pub struct Builder {
    /// All but the end; the header is made last.
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::with_capacity(0)
    }
}

impl Builder {
    /// With room for elements whose sizes are `bytes` together.
    pub fn with_capacity(bytes: usize) -> Builder {
        let mut all = Vec::with_capacity(EMPTY.len() + bytes);
        all.extend_from_slice(&EMPTY[..HEADER]);
        Builder {
            bytes: all,
            count: 0,
        }
    }

    pub fn push(&mut self, element: Element<'_>) {
        for part in Encoded::new(element).parts() {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The length of the listpack as it is now.
    pub fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let header = header(self.bytes.len(), header_count(self.count));
        self.bytes[..HEADER].copy_from_slice(&header);
        self.bytes
    }
}
