//! The arguments of one command: [`Argv`] is the reusable list of ranges that the parser fills,
//! [`Args`] the view that commands read.
//!
//! Owns no argument bytes but those of an inline command, whose quotes had to be undone.
//! Invariant: a range never leaves the buffer that the parser was given; [`Argv::bind`] must get
//! that buffer (the same first unconsumed byte), wherever it has been moved meanwhile.

use std::ops::Index;

/// A range of the input, counted from the command's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub len: usize,
}

/// Room kept between commands; a command with more arguments gives the excess back.
const KEPT_SPANS: usize = 16 * 1024;
const KEPT_SCRATCH_BYTES: usize = 16 * 1024;

/// Filled by [`super::Parser::parse`]; one per thread is enough, whatever the number of
/// connections: what a half-read command needs to remember moves into its own parser.
#[derive(Debug, Default)]
pub struct Argv {
    pub(super) spans: Vec<Span>,
    /// An inline command's arguments after unquoting; then the spans point here.
    pub(super) scratch: Vec<u8>,
    pub(super) inline: bool,
}

impl Argv {
    pub fn new() -> Argv {
        Argv::default()
    }

    /// The arguments of the command just parsed from `buf`.
    pub fn bind<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let buf = if self.inline { &self.scratch } else { buf };
        Args(Repr::Spans {
            buf,
            spans: &self.spans,
            first: 0,
        })
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    #[inline]
    pub(super) fn reset(&mut self) {
        self.spans.clear();
        if self.spans.capacity() > KEPT_SPANS {
            self.spans.shrink_to(KEPT_SPANS);
        }
        if self.inline {
            self.inline = false;
            self.scratch.clear();
            self.scratch.shrink_to(KEPT_SCRATCH_BYTES);
        }
    }
}

/// The arguments of a command, the name first: a view that is copied like a reference. It can also
/// be made of stored arguments (a MULTI queue, a decoded effect).
#[derive(Clone, Copy)]
pub struct Args<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// The spans from `first` on. Not a slice: making one would read pointer and length of the list
    /// as one word while the length that the parser wrote last is not yet in the cache.
    Spans {
        buf: &'a [u8],
        spans: &'a Vec<Span>,
        first: usize,
    },
    Owned(&'a [Vec<u8>]),
    Slices(&'a [&'a [u8]]),
}

impl<'a> Args<'a> {
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Spans { spans, first, .. } => spans.len() - first,
            Repr::Owned(v) => v.len(),
            Repr::Slices(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Argument `i`, living as long as the input (indexing ties it to this view). Panics when
    /// there is none, as indexing does: arity is checked before a handler runs.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        match self.0 {
            Repr::Spans { buf, spans, first } => {
                let s = spans[first + i];
                &buf[s.start..s.start + s.len]
            }
            Repr::Owned(v) => &v[i],
            Repr::Slices(v) => v[i],
        }
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        (i < self.len()).then(|| self.at(i))
    }

    /// The arguments from `n` on (none when there are fewer).
    pub fn skip(&self, n: usize) -> Args<'a> {
        let n = n.min(self.len());
        Args(match self.0 {
            Repr::Spans { buf, spans, first } => Repr::Spans {
                buf,
                spans,
                first: first + n,
            },
            Repr::Owned(v) => Repr::Owned(&v[n..]),
            Repr::Slices(v) => Repr::Slices(&v[n..]),
        })
    }

    pub fn iter(&self) -> Iter<'a> {
        Iter {
            args: *self,
            next: 0,
        }
    }

    /// Copies, for what must outlive the input.
    pub fn to_vecs(&self) -> Vec<Vec<u8>> {
        self.iter().map(<[u8]>::to_vec).collect()
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];
    #[inline]
    fn index(&self, i: usize) -> &[u8] {
        self.at(i)
    }
}

impl<'a> From<&'a [Vec<u8>]> for Args<'a> {
    fn from(v: &'a [Vec<u8>]) -> Args<'a> {
        Args(Repr::Owned(v))
    }
}

impl<'a> From<&'a [&'a [u8]]> for Args<'a> {
    fn from(v: &'a [&'a [u8]]) -> Args<'a> {
        Args(Repr::Slices(v))
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|a| String::from_utf8_lossy(a)))
            .finish()
    }
}

/// See [`Args::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    args: Args<'a>,
    next: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        Some(arg)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.args.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
