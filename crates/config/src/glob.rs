//! Redis's glob patterns for names of directives (`*`, `?`, `[a-z]`, `[^a]`, `\`), without case.
//!
//! Linear in the pattern times the text: a `*` never backtracks past the one before it.

/// Whether `text` matches the whole of `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume if a later part fails: just after the last `*`, one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            Some(&byte) => one(&pattern[p..], byte),
            None if p == pattern.len() => return true,
            None => return false,
        };
        match (step, retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                t = from + 1;
                retry = Some((after, t));
            }
            (None, None) => return false,
        }
    }
}

/// Matches one byte; the length of the pattern's element if it does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    let lower = byte.to_ascii_lowercase();
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, lower),
        b'\\' if pattern.len() > 1 => (pattern[1].to_ascii_lowercase() == lower).then_some(2),
        literal => (literal.to_ascii_lowercase() == lower).then_some(1),
    }
}

/// `[...]`: an unclosed class reaches to the pattern's end, as in Redis.
fn class(pattern: &[u8], lower: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match (pattern.get(at), pattern.get(at + 1), pattern.get(at + 2)) {
            (None, ..) => break,
            (Some(b']'), ..) => {
                at += 1;
                break;
            }
            (Some(b'\\'), Some(escaped), _) => {
                found |= escaped.to_ascii_lowercase() == lower;
                at += 2;
            }
            (Some(a), Some(b'-'), Some(b)) => {
                let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
                found |= (a.min(b)..=a.max(b)).contains(&lower);
                at += 3;
            }
            (Some(literal), ..) => {
                found |= literal.to_ascii_lowercase() == lower;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}
