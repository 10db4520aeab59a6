//! How bytes, numbers and moments are written for people.
//!
//! Owns the forms that both checks share. Never: decides what is said.

use base::NodeId;
use std::fmt::Write as _;

/// So many bytes of a key, of a value, and of bytes that can't be read are shown.
pub const KEY_SHOWN: usize = 64;
pub const VALUE_SHOWN: usize = 32;
pub const RAW_SHOWN: usize = 24;

/// Bytes in quotes; what is cut off is said.
pub fn quoted(bytes: &[u8], most: usize) -> String {
    let shown = &bytes[..bytes.len().min(most)];
    let cut = if shown.len() < bytes.len() { "..." } else { "" };
    format!("\"{}\"{cut}", shown.escape_ascii())
}

/// Bytes as they stand there: in hex, and what of them is text.
pub fn raw(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing: the file ends there".to_owned();
    }
    let shown = &bytes[..bytes.len().min(RAW_SHOWN)];
    let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = shown.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    format!("{}  {}", hex.join(" "), text.collect::<String>())
}

/// A number of things.
pub fn count(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

pub fn bytes(n: u64) -> String {
    count(n, "byte", "bytes")
}

/// A range of numbers that may be one.
pub fn range((low, high): (u64, u64)) -> String {
    match low == high {
        true => low.to_string(),
        false => format!("{low} to {high}"),
    }
}

/// Entries by their indexes.
pub fn entries(indexes: (u64, u64)) -> String {
    match indexes.0 == indexes.1 {
        true => format!("entry {}", indexes.0),
        false => format!("entries {}", range(indexes)),
    }
}

/// A moment in UTC, by the proleptic Gregorian calendar; what is far away is only a number.
pub fn moment(unix_seconds: i64) -> String {
    const DAY: i64 = 86_400;
    const FAR: i64 = 253_402_300_800; // the year 10000
    if !(0..FAR).contains(&unix_seconds) {
        return format!("second {unix_seconds} since 1970");
    }
    let (mut days, rest) = (unix_seconds / DAY, unix_seconds % DAY);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC",
        days + 1
    )
}

/// Slots as redis-cli shows them.
pub fn slots(ranges: &[(u16, u16)]) -> String {
    if ranges.is_empty() {
        return "no slots".to_owned();
    }
    let total: u64 = ranges
        .iter()
        .map(|(first, last)| u64::from(*last) - u64::from(*first) + 1)
        .sum();
    let mut text = count(total, "slot (", "slots (");
    for (i, (first, last)) in ranges.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}-{last}"),
        };
    }
    text + ")"
}

/// A node's id; none is said so.
pub fn node(id: &NodeId) -> String {
    match id.0.iter().all(|byte| *byte == 0) {
        true => "none".to_owned(),
        false => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_827_696, "2000-02-29 12:34:56 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (-1, "second -1 since 1970"),
            (i64::MAX, "second 9223372036854775807 since 1970"),
        ];
        for (seconds, text) in table {
            assert_eq!(moment(seconds), text);
        }
    }

    #[test]
    fn bytes_are_shown_and_cut() {
        assert_eq!(quoted(b"a\"\xff", 9), r#""a\"\xff""#);
        assert_eq!(quoted(b"abc", 2), "\"ab\"...");
        assert_eq!(raw(b"\x00A"), "00 41  .A");
        assert_eq!(slots(&[(1, 1), (5, 7)]), "4 slots (1, 5-7)");
        assert_eq!(
            (count(1, "key", "keys"), range((2, 2))),
            ("1 key".into(), "2".into())
        );
    }
}
