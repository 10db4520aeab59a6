//! Scans: what SCAN and its relatives have in common.
//!
//! Owns: cursors and options as clients write them, and the reply. Never: walks anything.

use super::env::Env;
use super::error::Error;
use super::values::kind_name;
use super::words::Words;
use base::glob;
use keyspace::Entry;
use resp::number::parse_i64;

/// Which of the scans it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ScanOf {
    Keys,
    Hash,
    Members,
}

pub struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    pub count: usize,
    kind: Option<&'a [u8]>,
    /// HSCAN: fields alone.
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    pub fn parse(mut words: Words<'a>, of: ScanOf) -> Result<ScanOptions<'a>, Error> {
        let mut o = ScanOptions {
            pattern: None,
            count: 10,
            kind: None,
            no_values: false,
        };
        while !words.is_empty() {
            if words.word("match") {
                o.pattern = Some(words.need()?);
            } else if words.word("count") {
                o.count = words.count(Error::SYNTAX)?;
            } else if of == ScanOf::Keys && words.word("type") {
                o.kind = Some(words.need()?);
            } else if words.word("novalues") {
                if of != ScanOf::Hash {
                    return Err(Error::NOVALUES_OF_HSCAN);
                }
                o.no_values = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        o.pattern = o.pattern.filter(|p| *p != b"*");
        Ok(o)
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|p| glob::matches(p, name, false))
    }

    pub fn shows(&self, entry: &Entry<'_>) -> bool {
        self.matches(entry.key())
            && self
                .kind
                .is_none_or(|k| k.eq_ignore_ascii_case(kind_name(entry).as_bytes()))
    }
}

/// A cursor is any u64 in digits. What is no number by Redis's strict rule is read by C's lenient
/// one, as Redis does: space before it, a sign, zeros; a text ends at a zero byte. A minus then
/// counts down from 2^64, but a plain negative number is refused.
pub fn parse_cursor(text: &[u8]) -> Result<u64, Error> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if parse_i64(text).is_some_and(|n| n < 0) {
        return Err(Error::INVALID_CURSOR);
    }
    let start = text.iter().position(|b| !b" \t\n\x0b\x0c\r".contains(b));
    let (minus, digits) = match &text[start.unwrap_or(text.len())..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::INVALID_CURSOR);
    }
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse::<u64>().ok());
    let number = number.ok_or(Error::INVALID_CURSOR)?;
    Ok(if minus { number.wrapping_neg() } else { number })
}

/// The reply to a scan: where to go on, and so many elements, which are written already.
pub fn reply_scan(env: &mut Env<'_>, next: u64, count: usize, elements: &[u8]) {
    let mut reply = env.reply();
    reply.array(2);
    reply.bulk_fmt(format_args!("{next}"));
    reply.array(count);
    reply.raw(elements);
}
