//! Glob patterns, as KEYS, SCAN and CONFIG GET take them.
//!
//! Owns: [`matches`]. `*`, `?`, `[...]` with ranges and `^`, and `\` to take a sign as it is.
//! Invariant: the time is at most pattern times text, whatever the pattern: a star is never tried
//! again once a later one has been reached, so no pattern makes the server stand still.

/// A pattern with more stars than this before its last sign fits nothing, as in Redis, which goes one level down for each.
const MOST_STARS: usize = 1000;

/// Whether the whole `text` fits `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty(); // as in Redis: no star takes in nothing of nothing
    }
    // Each of them needs a sign behind it.
    if pattern.len() > 2 * MOST_STARS && stars(pattern) > MOST_STARS {
        return false;
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: it takes in one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            // Only stars may be left, and those have been passed over.
            return p == pattern.len();
        }
        match step(&pattern[p..], text[t], ignore_case) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => {
                let Some((after, from)) = star else {
                    return false;
                };
                p = after;
                t = from + 1;
                star = Some((after, t));
            }
        }
    }
}

/// How many runs of stars have something behind them.
fn stars(pattern: &[u8]) -> usize {
    let (mut stars, mut at) = (0, 0);
    while at < pattern.len() {
        at += match pattern[at] {
            b'*' => {
                let run = pattern[at..].iter().take_while(|c| **c == b'*').count();
                stars += usize::from(at + run < pattern.len());
                run
            }
            b'[' => class(&pattern[at..], &|_, _| false).1,
            b'\\' => 2,
            _ => 1,
        };
    }
    stars
}

/// Matches one byte against the head of `pattern`; how much of it was used.
fn step(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |c: u8| {
        if ignore_case {
            c.to_ascii_lowercase()
        } else {
            c
        }
    };
    let same = |c: u8| fold(c) == fold(byte);
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let (found, used) = class(pattern, &|low, high| {
                let (low, high) = (fold(low).min(fold(high)), fold(low).max(fold(high)));
                (low..=high).contains(&fold(byte))
            });
            found.then_some(used)
        }
        b'\\' if pattern.len() >= 2 => same(pattern[1]).then_some(2),
        c => same(c).then_some(1),
    }
}

/// Reads the `[...]` at the head of `pattern`; one that is not closed ends with the pattern.
/// Whether it takes the byte that `within` tests ranges for, and how long it is.
fn class(pattern: &[u8], within: &dyn Fn(u8, u8) -> bool) -> (bool, usize) {
    let mut i = 1;
    let negated = pattern.get(i) == Some(&b'^');
    i += usize::from(negated);
    let mut found = false;
    while let Some(&c) = pattern.get(i) {
        match (c, pattern.get(i + 1), pattern.get(i + 2)) {
            (b'\\', Some(&next), _) => {
                found |= within(next, next);
                i += 2;
            }
            (b']', _, _) => return (found != negated, i + 1),
            (low, Some(b'-'), Some(&high)) => {
                found |= within(low, high);
                i += 3;
            }
            (c, _, _) => {
                found |= within(c, c);
                i += 1;
            }
        }
    }
    (found != negated, i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn patterns_fit_as_in_redis() {
        for (pattern, text) in [
            ("*", "a"),
            ("", ""),
            ("h?llo", "hallo"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hello"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("a\\*b", "a*b"),
            ("[\\]]", "]"),
            ("*foo*bar", "xfoofoobazbar"),
            ("***", "abc"),
            ("a[bc", "ab"),
            ("a\\", "a\\"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("*", ""),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("a*b", "ac"),
            ("foo", "foobar"),
            ("*foo", "foob"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        assert!(matches(b"H[A-Z]LLO*", b"hello world", true));
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!fits(&pattern, &"a".repeat(5000)));
    }

    #[test]
    fn too_many_stars_fit_nothing() {
        let text = "a".repeat(5000);
        for (one, tail, most) in [
            ("*?", "", 1000),
            ("*?", "*", 1000),
            ("**?", "", 1000),
            ("[*]*?", "", 1000),
        ] {
            let text = text.replace('a', if one.starts_with('[') { "*" } else { "a" });
            assert!(fits(&(one.repeat(most) + tail), &text), "{one}");
            assert!(!fits(&(one.repeat(most + 1) + tail), &text), "{one}");
        }
        assert!(fits(&"\\*?".repeat(2000), &"*a".repeat(2000)));
    }

    proptest::proptest! {
        #[test]
        fn globs_agree_with_a_plain_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{1,8}") {
            fn plain(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, _) => t.is_empty(),
                    (Some(b'*'), _) => plain(&p[1..], t) || (!t.is_empty() && plain(p, &t[1..])),
                    (Some(b'?'), Some(_)) => plain(&p[1..], &t[1..]),
                    (Some(a), Some(b)) => a == b && plain(&p[1..], &t[1..]),
                    (Some(_), None) => false,
                }
            }
            let agrees = fits(&pattern, &text) == plain(pattern.as_bytes(), text.as_bytes());
            proptest::prop_assert!(agrees, "{} {}", pattern, text);
        }
    }
}
