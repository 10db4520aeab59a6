//! The incremental parser of one connection: bytes in any cut, commands out, with Redis 7.4's
//! protocol errors.
//!
//! Owns what a half-read command needs to be continued: how many arguments are still to come, the
//! announced length of the next, the ranges found so far, and how far a line has been searched.
//! Never owns bytes. Invariants: the sequence of commands and errors does not depend on how the
//! input was cut (where Redis's does: a line that is too long is refused even when its end is
//! already there); work is linear in the input; after an error the connection is to be closed.

use super::args::{Argv, Span};
use super::inline;
use super::number::parse_i64;
use memchr::memchr2;

/// The longest line: an inline command or a length.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// What a client may send before it has authenticated.
pub const UNAUTHENTICATED_MAX_ARGS: i64 = 10;
pub const UNAUTHENTICATED_MAX_BULK_BYTES: i64 = 16384;

/// The limits in force for the client at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`
    pub max_bulk_bytes: i64,
    /// A password is required and has not been given.
    pub unauthenticated: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_bulk_bytes: 512 * 1024 * 1024,
            unauthenticated: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole command is in the Argv; it took this many bytes. Until the caller drops them the
    /// parser may be asked again and finds the same command (a held command is run later).
    Command { consumed: usize },
    /// An empty command (`*0`, `*-1`, an empty line): nothing to do, nothing to answer.
    Skip { consumed: usize },
    /// At least `need` bytes from the command's first on are needed to get further.
    Incomplete { need: usize },
}

/// Why a connection is closed. [`Self::text`] is what it is told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("too big inline request")]
    TooBigInline,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("too big mbulk count string")]
    TooBigMultibulkCount,
    #[error("too big bulk count string")]
    TooBigBulkCount,
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    #[error("invalid bulk length")]
    InvalidBulkLength,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulk,
    #[error("expected '$', got '{}'", printable(*.0))]
    ExpectedDollar(u8),
}

/// The byte as it stands in the error line; the caller writes it as one byte, see `text`.
fn printable(byte: u8) -> char {
    if byte == b'\r' || byte == b'\n' {
        ' '
    } else {
        char::from(byte)
    }
}

impl ProtocolError {
    /// The error for [`super::Reply::error`]: code and text, bytes because a byte of the input may
    /// be quoted in it.
    pub fn text(&self) -> Vec<u8> {
        if let ProtocolError::ExpectedDollar(byte) = *self {
            let byte = if byte == b'\r' || byte == b'\n' {
                b' '
            } else {
                byte
            };
            return [
                b"ERR Protocol error: expected '$', got '".as_slice(),
                &[byte],
                b"'",
            ]
            .concat();
        }
        format!("ERR Protocol error: {self}").into_bytes()
    }
}

/// See the module. All positions count from the current command's first byte.
#[derive(Debug, Default)]
pub struct Parser {
    /// The first byte that is not understood yet; 0 before the header of a command.
    pos: usize,
    /// No line ends before here (only while a line is incomplete).
    scanned: usize,
    /// Arguments still to come; 0 between commands.
    remaining: i64,
    /// The announced length of the argument at `pos`, once its line has been read.
    bulk: Option<usize>,
    /// The arguments found before the input ran out.
    found: Vec<Span>,
}

enum Line {
    /// The CR's place; at least one byte follows it.
    Complete(usize),
    Partial,
    TooLong,
}

impl Parser {
    pub fn new() -> Parser {
        Parser::default()
    }

    /// True while nothing of a further command has been seen and kept.
    pub fn is_idle(&self) -> bool {
        self.pos == 0 && self.scanned == 0
    }

    /// Looks for the next command in `buf`, which starts at the first unconsumed byte: after
    /// `Incomplete` the same bytes and more, after `Command` and `Skip` without the consumed ones.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        argv: &mut Argv,
    ) -> Result<Parsed, ProtocolError> {
        argv.reset();
        if self.remaining == 0 {
            match buf.first() {
                None => return Ok(Parsed::Incomplete { need: 1 }),
                Some(b'*') => {}
                Some(_) => return self.inline(buf, argv),
            }
            let Some((count, next)) = self.multibulk_header(buf, limits)? else {
                return Ok(Parsed::Incomplete {
                    need: buf.len() + 1,
                });
            };
            if count <= 0 {
                self.scanned = 0;
                return Ok(Parsed::Skip { consumed: next });
            }
            self.pos = next;
            self.remaining = count;
        } else if !self.found.is_empty() {
            argv.spans = std::mem::take(&mut self.found);
        }
        self.arguments(buf, limits, argv)
    }

    fn multibulk_header(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        let (count, next) = match short_length(buf, 0) {
            Some((count, next)) => (count as i64, next),
            None => match self.line(buf, 0) {
                Line::Partial => return Ok(None),
                Line::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
                Line::Complete(cr) => {
                    let count = parse_i64(&buf[1..cr])
                        .filter(|n| *n <= i64::from(i32::MAX))
                        .ok_or(ProtocolError::InvalidMultibulkLength)?;
                    (count, cr + 2)
                }
            },
        };
        if limits.unauthenticated && count > UNAUTHENTICATED_MAX_ARGS {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        Ok(Some((count, next)))
    }

    /// Goes on with the arguments at `pos`. The loop works on locals; they are stored only when
    /// the input runs out.
    fn arguments(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        argv: &mut Argv,
    ) -> Result<Parsed, ProtocolError> {
        let mut pos = self.pos;
        let mut bulk = self.bulk.take();
        let mut remaining = self.remaining;
        let need = loop {
            let len = match bulk {
                Some(len) => len,
                None => match self.bulk_header(buf, pos, limits)? {
                    None => break buf.len().max(pos) + 1,
                    Some((len, next)) => {
                        pos = next;
                        len
                    }
                },
            };
            // The two bytes after an argument are not looked at, as in Redis.
            let after = pos + len + 2;
            if after > buf.len() {
                bulk = Some(len);
                break after;
            }
            bulk = None;
            argv.spans.push(Span { start: pos, len });
            pos = after;
            remaining -= 1;
            if remaining == 0 {
                (self.pos, self.scanned, self.remaining) = (0, 0, 0);
                return Ok(Parsed::Command { consumed: pos });
            }
        };
        (self.pos, self.bulk, self.remaining) = (pos, bulk, remaining);
        self.found = std::mem::take(&mut argv.spans);
        Ok(Parsed::Incomplete { need })
    }

    #[inline]
    fn bulk_header(
        &mut self,
        buf: &[u8],
        at: usize,
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        let (len, next) = match buf.get(at) {
            Some(b'$') => match short_length(buf, at) {
                Some((len, next)) => (len as i64, next),
                None => match self.bulk_header_slow(buf, at)? {
                    None => return Ok(None),
                    Some(found) => found,
                },
            },
            _ => match self.bulk_header_slow(buf, at)? {
                None => return Ok(None),
                Some(found) => found,
            },
        };
        if len > limits.max_bulk_bytes {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if limits.unauthenticated && len > UNAUTHENTICATED_MAX_BULK_BYTES {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        let len = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
        Ok(Some((len, next)))
    }

    #[cold]
    fn bulk_header_slow(
        &mut self,
        buf: &[u8],
        at: usize,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        match self.line(buf, at) {
            Line::Partial => Ok(None),
            Line::TooLong => Err(ProtocolError::TooBigBulkCount),
            Line::Complete(_) if buf[at] != b'$' => Err(ProtocolError::ExpectedDollar(buf[at])),
            Line::Complete(cr) => match parse_i64(&buf[at + 1..cr]) {
                // Half of the address space: `pos + len + 2` can't overflow.
                Some(len) if (0..=i64::MAX / 2).contains(&len) => Ok(Some((len, cr + 2))),
                _ => Err(ProtocolError::InvalidBulkLength),
            },
        }
    }

    /// Finds the CR that ends the line at `at`. A NUL stops the search for good, since Redis
    /// searches C strings: such a line is complained about when it has become too long.
    fn line(&mut self, buf: &[u8], at: usize) -> Line {
        let from = self.scanned.max(at);
        let stop = find(b'\r', buf, from);
        self.scanned = stop;
        if buf.get(stop) == Some(&b'\r') {
            if stop - at > MAX_LINE_BYTES {
                return Line::TooLong;
            }
            return if stop + 1 < buf.len() {
                Line::Complete(stop)
            } else {
                Line::Partial
            };
        }
        if buf.len().saturating_sub(at) > MAX_LINE_BYTES {
            return Line::TooLong;
        }
        Line::Partial
    }

    #[cold]
    fn inline(&mut self, buf: &[u8], argv: &mut Argv) -> Result<Parsed, ProtocolError> {
        let stop = find(b'\n', buf, self.scanned);
        if buf.get(stop) != Some(&b'\n') {
            if buf.len() > MAX_LINE_BYTES {
                return Err(ProtocolError::TooBigInline);
            }
            self.scanned = stop;
            return Ok(Parsed::Incomplete {
                need: buf.len() + 1,
            });
        }
        if stop > MAX_LINE_BYTES {
            return Err(ProtocolError::TooBigInline);
        }
        self.scanned = 0;
        let line = &buf[..stop];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, argv).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        let consumed = stop + 1;
        if argv.is_empty() {
            return Ok(Parsed::Skip { consumed });
        }
        Ok(Parsed::Command { consumed })
    }
}

/// The place of the first `end` or NUL at or after `from`, or the end of `buf`.
fn find(end: u8, buf: &[u8], from: usize) -> usize {
    let rest = buf.get(from..).unwrap_or(&[]);
    memchr2(end, 0, rest).map_or(buf.len(), |i| from + i)
}

/// The common length line, read digit by digit: up to 9 digits without a leading zero after the
/// type byte at `at`, a CR, and any byte. Everything else is for the slow way.
#[inline(always)]
pub(super) fn short_length(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = buf.get(at + 1..)?;
    let first = line.first()?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut value = usize::from(first);
    let mut i = 1;
    loop {
        // Two bytes must be there: the CR, if it is one, and the LF.
        if i + 1 >= line.len() {
            return None;
        }
        let digit = line[i].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if value == 0 || i == 9 {
            return None;
        }
        value = value * 10 + usize::from(digit);
        i += 1;
    }
    (line[i] == b'\r').then_some((value, at + 1 + i + 2))
}
