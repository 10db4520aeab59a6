//! The words of a configuration line: splitting with quotes and escapes, and quoting.
//!
//! Works on bytes: a password may hold any byte. `quote` and `split` are inverse.

/// Splits a line into words. `None`: a quote is not closed, or text follows a closing quote.
///
/// Between double quotes `\n \r \t \b \a \xHH` are escapes and a backslash makes any other byte
/// literal; between single quotes only `\'` is one. A quote may also open inside a word.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|b| is_blank(*b)) {
            at += 1;
        }
        if at == line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        at = word_end(line, at, &mut word)?;
        words.push(word);
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Reads one word from `at` and returns where it ended.
fn word_end(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => {
                at = double_quoted(line, at + 1, word)?;
                return closed_properly(line, at);
            }
            b'\'' => {
                at = single_quoted(line, at + 1, word)?;
                return closed_properly(line, at);
            }
            b if is_blank(b) => return Some(at),
            b => word.push(b),
        }
        at += 1;
    }
    Some(at)
}

/// A closing quote ends the word: only a blank or the end may follow.
fn closed_properly(line: &[u8], at: usize) -> Option<usize> {
    match line.get(at) {
        Some(b) if !is_blank(*b) => None,
        _ => Some(at),
    }
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if at + 1 < line.len() => {
                if let Some(byte) = hex_escape(&line[at + 1..]) {
                    word.push(byte);
                    at += 4;
                    continue;
                }
                word.push(match line[at + 1] {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            other => {
                word.push(other);
                at += 1;
            }
        }
    }
}

fn hex_escape(rest: &[u8]) -> Option<u8> {
    let [b'x', high, low, ..] = rest else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    let value = digit(*high)? * 16 + digit(*low)?;
    u8::try_from(value).ok()
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match (*line.get(at)?, line.get(at + 1)) {
            (b'\\', Some(b'\'')) => {
                word.push(b'\'');
                at += 2;
            }
            (b'\'', _) => return Some(at + 1),
            (other, _) => {
                word.push(other);
                at += 1;
            }
        }
    }
}

/// Writes a word between double quotes so that [`split`] gives it back; the result is ASCII.
pub fn quote(word: &[u8]) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for &byte in word {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}
