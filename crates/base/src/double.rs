//! Doubles in text: read by C's rules as Redis applies them, and printed as Redis 7.4 prints them.
//!
//! Owns: [`parse`] (arguments), [`parse_bound`] (the ends of ranges), [`push`] and [`push_g17`]. Invariant: no text gives a NaN.

use super::grisu;

/// A number that an argument has to be, all of it: decimal, hexadecimal or an infinity. What is not 0 and would be 0, or not
/// infinite and would be, is none.
pub fn parse(text: &[u8]) -> Option<f64> {
    let (value, is_exact) = read(text)?;
    is_exact.then_some(value)
}

/// The same as C reads it that asks for no more than that nothing is left over: with space before it, up to a zero byte, 0 where
/// there is no text, infinite or 0 beyond what a double can be.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_space = |b: &u8| b.is_ascii_whitespace() || *b == 0x0B;
    let start = text.iter().position(|b| !is_space(b))?;
    read(&text[start..]).map(|(value, _)| value)
}

/// The number, and whether it is neither 0 nor infinite for want of exponents.
fn read(text: &[u8]) -> Option<(f64, bool)> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (value, is_zero) = match digits {
        [] | [b'+' | b'-', ..] => return None,
        [b'0', b'x' | b'X', hex @ ..] => read_hex(hex)?,
        [b'i' | b'I', ..] => {
            let text = std::str::from_utf8(digits).ok()?;
            let value: f64 = text.parse().ok()?;
            return Some((if negative { -value } else { value }, true));
        }
        [b'0'..=b'9' | b'.', ..] => {
            let text = std::str::from_utf8(digits).ok()?;
            let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
            let is_zero = mantissa.bytes().all(|b| matches!(b, b'0' | b'.'));
            (text.parse().ok()?, is_zero)
        }
        _ => return None,
    };
    let is_exact = f64::is_finite(value) && (value != 0.0 || is_zero);
    Some((if negative { -value } else { value }, is_exact))
}

/// What follows `0x`: `digits[.digits][p[sign]digits]`. The number, and whether its digits are all 0.
fn read_hex(text: &[u8]) -> Option<(f64, bool)> {
    let (mut mantissa, mut sticky, mut exponent) = (0u64, false, 0i64);
    let (mut any, mut point, mut at) = (false, false, 0);
    while let Some(&b) = text.get(at) {
        let digit = match b {
            b'.' if !point => {
                point = true;
                at += 1;
                continue;
            }
            b => (b as char).to_digit(16),
        };
        let Some(digit) = digit else { break };
        any = true;
        if mantissa >> 58 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if point { 0 } else { 4 };
        }
        at += 1;
    }
    let more = match text.get(at) {
        _ if !any => return None,
        None => 0,
        Some(b'p' | b'P') => {
            let (negative, digits) = match &text[at + 1..] {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let add = |n: i64, b: &u8| (n * 10 + i64::from(b - b'0')).min(1 << 40);
            let power = digits.iter().fold(0, add);
            if negative {
                -power
            } else {
                power
            }
        }
        Some(_) => return None,
    };
    // Bits below those that a double has room for count only as being there.
    let value = (mantissa | u64::from(sticky)) as f64;
    Some((scale(value, exponent + more), mantissa == 0))
}

/// `value * 2^power`.
fn scale(mut value: f64, power: i64) -> f64 {
    let mut left = power.clamp(-4000, 4000);
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = left.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        left -= step;
    }
    value
}

/// Appends `value` as Redis 7.4 prints a double in replies: an integer without a point, else few digits
/// that read back as the same double, with an exponent where the plain form would be long.
pub fn push(out: &mut Vec<u8>, value: f64) {
    match integer(value) {
        Some(0) if value.is_sign_negative() => out.extend_from_slice(b"-0"),
        Some(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
        None if value.is_finite() => push_shortest(out, value),
        None => push_special(out, value),
    }
}

/// Appends `value` as Redis's digests have it: as [`push`], but an integer, too, has no more than seventeen digits that are not 0.
pub fn push_digits(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || !value.is_finite() {
        return push(out, value);
    }
    push_shortest(out, value);
}

fn push_special(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(match value {
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        _ => b"nan",
    });
}

/// The integer that Redis takes a double for, printing it and keeping it.
pub fn integer(value: f64) -> Option<i64> {
    (value.abs() <= (1u64 << 62) as f64 && value.fract() == 0.0).then_some(value as i64)
}

/// Digits that read back, laid out as an integer, a fraction or with an exponent.
fn push_shortest(out: &mut Vec<u8>, value: f64) {
    let (digits, scale) = grisu::digits(value.abs()); // value = digits * 10^scale
    let count = digits.len() as i32;
    let exponent = scale + count - 1;
    if value < 0.0 {
        out.push(b'-');
    }
    if scale >= 0 && exponent < count + 7 {
        out.extend_from_slice(&digits);
        out.resize(out.len() + scale as usize, b'0');
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        push_fixed(out, &digits, count + scale);
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(
            itoa::Buffer::new()
                .format(exponent.unsigned_abs())
                .as_bytes(),
        );
    }
}

/// Digits with a point behind the first `point` of them, or zeros before them.
fn push_fixed(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        out.extend_from_slice(&digits[..point as usize]);
        out.push(b'.');
        out.extend_from_slice(&digits[point as usize..]);
    }
}

/// Appends `value` as C's `%.17g` prints it.
pub fn push_g17(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || !value.is_finite() {
        return push(out, value);
    }
    let text = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').expect("LowerExp always prints an e");
    let exponent: i32 = exponent
        .parse()
        .expect("LowerExp prints a decimal exponent");
    let mut digits: Vec<u8> = mantissa.bytes().filter(|c| *c != b'.').collect();
    let used = digits
        .iter()
        .rposition(|d| *d != b'0')
        .map_or(1, |at| at + 1);
    digits.truncate(used);
    if value < 0.0 {
        out.push(b'-');
    }
    if (-4..17).contains(&exponent) {
        if digits.len() as i32 <= exponent + 1 {
            digits.resize(exponent as usize + 1, b'0');
            out.extend_from_slice(&digits);
        } else {
            push_fixed(out, &digits, exponent + 1);
        }
        return;
    }
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn g17(value: f64) -> String {
        let mut out = Vec::new();
        push_g17(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arguments_are_read_as_c_reads_them() {
        for (text, want) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            ("-1e3", -1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("inf", f64::INFINITY),
            ("-INFinity", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("-0x.8p1", -1.0),
            ("0x1p-3", 0.125),
            ("0x1.8p+1", 3.0),
            ("0e999", 0.0),
            ("4.9e-324", 5e-324),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(want), "{text}");
            assert_eq!(parse_bound(text.as_bytes()), Some(want), "{text}");
        }
        assert!(parse(b"-0").unwrap().is_sign_negative());
        for text in [
            "-", "+", "nan", "-nan", "1e", "1 ", "0x", "0xg", "--1", "+-1", "1_0", "e5", ".",
            "0x1p", "i", "0x1p+-1", "infx",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
            assert_eq!(parse_bound(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bounds_are_read_leniently() {
        for (text, want) in [
            ("", 0.0),
            ("  7", 7.0),
            ("1e400", f64::INFINITY),
            ("1e-400", 0.0),
            ("3\0x", 3.0),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
            assert_eq!(parse_bound(text.as_bytes()), Some(want), "{text}");
        }
        assert_eq!(parse_bound(b"  "), None);
    }

    #[test]
    fn seventeen_digits_are_those_of_c() {
        for (value, want) in [
            (0.1, "0.10000000000000001"),
            (1.0, "1"),
            (100.0, "100"),
            (1.5, "1.5"),
            (-0.0, "-0"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(g17(value), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let mut shortest = Vec::new();
            push(&mut shortest, value);
            prop_assert_eq!(parse(&shortest).map(f64::to_bits), Some(bits));
            prop_assert_eq!(parse(g17(value).as_bytes()).map(f64::to_bits), Some(bits));
        }
    }
}
