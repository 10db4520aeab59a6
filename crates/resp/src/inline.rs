//! Inline commands: a line as a person types it, split into arguments with Redis's quoting rules.

use super::args::{Argv, Span};

/// A quote that is not closed, or not followed by a space.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// C's isspace in the C locale.
fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Splits `line` into `argv` (its scratch holds the unquoted bytes).
///
/// Outside quotes an argument ends at blank, tab, CR or LF; a quote may start in the middle of an
/// argument, and the one that closes it ends the argument, so a space must follow. Double quotes
/// know `\n \r \t \b \a \xHH` and take any other escaped byte as it is; single quotes know `\'`.
pub(super) fn split(line: &[u8], argv: &mut Argv) -> Result<(), Unbalanced> {
    argv.inline = true;
    let mut at = 0;
    loop {
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = argv.scratch.len();
        at = argument(line, at, &mut argv.scratch)?;
        argv.spans.push(Span {
            start,
            len: argv.scratch.len() - start,
        });
    }
}

/// Appends the argument that begins at `at`; returns where it ended.
fn argument(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    while let Some(&c) = line.get(at) {
        match c {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' | b'\'' => {
                let after = quoted(line, at + 1, c, out)?;
                return match line.get(after) {
                    Some(&next) if !is_space(next) => Err(Unbalanced),
                    _ => Ok(after),
                };
            }
            _ => out.push(c),
        }
        at += 1;
    }
    Ok(at)
}

/// Appends what stands between quotes from `at` on; returns the place after the closing one.
fn quoted(line: &[u8], mut at: usize, quote: u8, out: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        let rest = line.get(at..).unwrap_or(&[]);
        let taken = match (quote, rest) {
            (_, []) => return Err(Unbalanced),
            (q, [c, ..]) if *c == q => return Ok(at + 1),
            (b'"', [b'\\', b'x', high, low, ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(*high) * 16 + hex(*low));
                4
            }
            (b'"', [b'\\', c, ..]) => {
                out.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                2
            }
            (b'\'', [b'\\', b'\'', ..]) => {
                out.push(b'\'');
                2
            }
            (_, [c, ..]) => {
                out.push(*c);
                1
            }
        };
        at += taken;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
