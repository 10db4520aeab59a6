//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: the 80-bit floating-point numbers of x86-64, on which Redis
//! computes there (`long double`: 64 bits of mantissa).
//!
//! Owns: reading as `strtold`, adding with one rounding to nearest even, printing as `%.17Lf`
//! without trailing zeros. Never: uses the machine's own floats, so every member and platform
//! gets the same digits.

use dashu_int::ops::{BitTest, DivRem};
use dashu_int::UBig;

/// A text is no number for Redis if it is this long.
const MAX_TEXT_BYTES: usize = 5 * 1024;
/// The exponent (of the mantissa's last bit) of the smallest number there is.
const MIN_EXPONENT: i64 = -16445;
/// The exponent of the mantissa's last bit in the largest numbers.
const MAX_EXPONENT: i64 = 16384 - 64;
/// Decimal exponents beyond this overflow or vanish whatever the digits are (10^4933 overflows).
const FAR_DECIMAL: i64 = 5200;

/// A number, or what is left of one that was too large (`Infinite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDouble {
    /// `mantissa * 2^exponent`; the mantissa's top bit is set unless the number is zero or too
    /// small for that.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
}

use LongDouble::{Finite, Infinite};

impl LongDouble {
    pub const ZERO: LongDouble = Finite {
        negative: false,
        mantissa: 0,
        exponent: MIN_EXPONENT,
    };

    pub fn from_i64(n: i64) -> LongDouble {
        round(n < 0, u128::from(n.unsigned_abs()), 0, false)
    }

    pub fn is_finite(&self) -> bool {
        matches!(self, Finite { .. })
    }

    /// Reads a decimal or hexadecimal number or an infinity, all of `text`; `None` also for what
    /// is not a number or does not fit.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= MAX_TEXT_BYTES {
            return None;
        }
        let (negative, body) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(Infinite);
        }
        let number = match body {
            [b'0', b'x' | b'X', hex @ ..] => Number::read(hex, 16)?.to_binary(negative),
            _ => Number::read(body, 10)?.to_binary(negative),
        };
        number.filter(LongDouble::is_finite)
    }

    /// The sum, rounded once.
    pub fn add(self, other: LongDouble) -> LongDouble {
        let (Finite { exponent: e1, .. }, Finite { exponent: e2, .. }) = (self, other) else {
            return Infinite;
        };
        let (high, low) = if e1 >= e2 {
            (self, other)
        } else {
            (other, self)
        };
        let (
            Finite {
                negative: n1,
                mantissa: m1,
                exponent: e1,
            },
            Finite {
                negative: n2,
                mantissa: m2,
                exponent: e2,
            },
        ) = (high, low)
        else {
            return Infinite;
        };
        // 62 guard bits; what is shifted out below them only matters as being there or not.
        let a = u128::from(m1) << 62;
        let full = u128::from(m2) << 62;
        let distance = u32::try_from(e1 - e2).unwrap_or(u32::MAX);
        let b = full.checked_shr(distance).unwrap_or(0);
        let lost = b.checked_shl(distance).unwrap_or(0) != full;
        if n1 == n2 {
            return round(n1, a + b, e1 - 62, lost);
        }
        match a.checked_sub(b) {
            Some(0) if !lost => LongDouble::ZERO,
            // a - (b + a little) lies just below a - b.
            Some(difference) => round(n1, difference - u128::from(lost), e1 - 62, lost),
            None => round(n2, b - a, e1 - 62, lost),
        }
    }

    /// A thousand times the number, rounded as it would be if it were kept, then up to an integer; `None`: there is no such
    /// integer.
    pub fn ceil_of_thousandths(self) -> Option<i64> {
        let Finite {
            negative,
            mantissa,
            exponent,
        } = self
        else {
            return None;
        };
        let Finite {
            mantissa, exponent, ..
        } = round(negative, u128::from(mantissa) * 1000, exponent, false)
        else {
            return None;
        };
        let (whole, rest) = match u32::try_from(-exponent) {
            Ok(places) => {
                let whole = mantissa.checked_shr(places).unwrap_or(0);
                (whole, whole.checked_shl(places).unwrap_or(0) != mantissa)
            }
            Err(_) if mantissa == 0 => (0, false),
            Err(_) => {
                let shift = u32::try_from(exponent).ok()?;
                let fits = shift < mantissa.leading_zeros();
                (fits.then(|| mantissa << shift)?, false)
            }
        };
        let whole = i64::try_from(whole).ok()?;
        match negative {
            true => Some(-whole),
            false => whole.checked_add(i64::from(rest)),
        }
    }

    /// The number with 17 digits after the point, rounded to even, without trailing zeros. Finite
    /// numbers only.
    pub fn to_text(self) -> String {
        let Finite {
            negative,
            mantissa,
            exponent,
        } = self
        else {
            unreachable!("only finite numbers are printed")
        };
        let mut text = match u32::try_from(-exponent) {
            Ok(places) => fixed(mantissa, places),
            Err(_) => {
                let shift = usize::try_from(exponent).expect("it is positive");
                (UBig::from(mantissa) << shift).to_string()
            }
        };
        if negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }
}

/// `mantissa / 2^places` in at most 17 digits after the point.
fn fixed(mantissa: u64, places: u32) -> String {
    const SCALE: u128 = 10u128.pow(17);
    let wide = u128::from(mantissa);
    let mut whole = wide.checked_shr(places).unwrap_or(0);
    let scaled = (wide - whole.checked_shl(places).unwrap_or(0)) * SCALE;
    // Below 2^-128 there is nothing within 17 digits.
    let mut digits = scaled.checked_shr(places).unwrap_or(0);
    if (1..128).contains(&places) {
        let rest = scaled - (digits << places);
        let half = 1u128 << (places - 1);
        if rest > half || (rest == half && digits % 2 == 1) {
            digits += 1;
        }
    }
    if digits == SCALE {
        whole += 1;
        digits = 0;
    }
    if digits == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{digits:017}");
    text.trim_end_matches('0').to_owned()
}

/// `value * 2^exponent` (and a little more, if `sticky`) to 64 bits of mantissa, nearest even.
fn round(negative: bool, value: u128, exponent: i64, sticky: bool) -> LongDouble {
    if value == 0 {
        return Finite {
            negative,
            mantissa: 0,
            exponent: MIN_EXPONENT,
        };
    }
    let bits = i64::from(128 - value.leading_zeros());
    let target = (exponent + bits - 64).max(MIN_EXPONENT);
    let drop = target - exponent;
    if drop <= 0 {
        // It fits: shift it up to its place.
        let up = u32::try_from(-drop).expect("at most 63 places");
        let mantissa = u64::try_from(value << up).expect("64 bits by the choice of the target");
        return in_range(negative, mantissa, target);
    }
    let drop = u32::try_from(drop).unwrap_or(u32::MAX);
    let kept = value.checked_shr(drop).unwrap_or(0);
    let rest = value - kept.checked_shl(drop).unwrap_or(0);
    let half = 1u128.checked_shl(drop - 1).unwrap_or(u128::MAX);
    let up = rest > half || (rest == half && (sticky || kept % 2 == 1));
    let rounded = kept + u128::from(up);
    match u64::try_from(rounded) {
        Ok(mantissa) => in_range(negative, mantissa, target),
        Err(_) => in_range(negative, 1 << 63, target + 1), // all ones carried over
    }
}

fn in_range(negative: bool, mantissa: u64, exponent: i64) -> LongDouble {
    if exponent > MAX_EXPONENT {
        return Infinite;
    }
    Finite {
        negative,
        mantissa,
        exponent,
    }
}

/// A number as it is written: digits without a point, and the power of the base (of two, for
/// hexadecimal numbers) that they are multiplied with.
struct Number {
    digits: String,
    exponent: i64,
    radix: u32,
}

impl Number {
    /// `digits[.digits][e[sign]digits]` (with a `p` for hexadecimal numbers), all of `text`.
    fn read(text: &[u8], radix: u32) -> Option<Number> {
        let mark: &[u8] = if radix == 16 { b"pP" } else { b"eE" };
        let split = text
            .iter()
            .position(|c| mark.contains(c))
            .unwrap_or(text.len());
        let (number, power) = text.split_at(split);
        let mut exponent = match power {
            [] => 0,
            [_, sign @ (b'+' | b'-'), digits @ ..] => read_power(digits, *sign == b'-')?,
            [_, digits @ ..] => read_power(digits, false)?,
        };
        let mut digits = String::with_capacity(number.len());
        let mut point = false;
        for &c in number {
            if c == b'.' && !point {
                point = true;
                continue;
            }
            let c = char::from(c);
            c.to_digit(radix)?;
            digits.push(c);
            if point {
                exponent -= if radix == 16 { 4 } else { 1 };
            }
        }
        if digits.is_empty() {
            return None;
        }
        Some(Number {
            digits,
            exponent,
            radix,
        })
    }

    /// Rounded to a long double; `None` if it is too small for one. Too large gives `Infinite`.
    fn to_binary(&self, negative: bool) -> Option<LongDouble> {
        let digits = self.digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Finite {
                negative,
                mantissa: 0,
                exponent: MIN_EXPONENT,
            });
        }
        let value = UBig::from_str_radix(digits, self.radix).expect("only digits were kept");
        let number = if self.radix == 16 {
            let far = self.exponent.clamp(-FAR_DECIMAL * 8, FAR_DECIMAL * 8);
            round_big(negative, &value, far, false)
        } else {
            let places = i64::try_from(digits.len()).expect("a text's length fits") + self.exponent;
            if places > FAR_DECIMAL {
                return Some(Infinite);
            }
            if places < -FAR_DECIMAL {
                return None;
            }
            decimal(negative, value, self.exponent)
        };
        let vanished = matches!(number, Finite { mantissa: 0, .. });
        (!vanished).then_some(number)
    }
}

fn read_power(digits: &[u8], negative: bool) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let mut power = 0i64;
    for c in digits {
        let digit = char::from(*c).to_digit(10)?;
        power = power
            .saturating_mul(10)
            .saturating_add(digit.into())
            .min(i64::from(i32::MAX));
    }
    Some(if negative { -power } else { power })
}

/// `value * 10^exponent`.
fn decimal(negative: bool, value: UBig, exponent: i64) -> LongDouble {
    let power = usize::try_from(exponent.unsigned_abs()).expect("checked to be near");
    let power = UBig::from(10u8).pow(power);
    if exponent >= 0 {
        return round_big(negative, &(value * power), 0, false);
    }
    // A quotient of at least 128 bits, and whether anything is left over.
    let shift = (128 + power.bit_len()).saturating_sub(value.bit_len());
    let (quotient, rest) = (value << shift).div_rem(&power);
    let exponent = -i64::try_from(shift).expect("a text's length fits");
    round_big(negative, &quotient, exponent, rest != UBig::ZERO)
}

/// As [`round`], from any number of bits.
fn round_big(negative: bool, value: &UBig, exponent: i64, sticky: bool) -> LongDouble {
    let excess = value.bit_len().saturating_sub(128);
    let lost = value.trailing_zeros().is_some_and(|zeros| zeros < excess);
    let top = u128::try_from(value >> excess).expect("128 bits are left");
    let exponent = exponent + i64::try_from(excess).expect("a text's length fits");
    round(negative, top, exponent, sticky || lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let [a, b] = [a, b].map(|t| LongDouble::parse(t.as_bytes()).expect("a number"));
        a.add(b).to_text()
    }

    #[test]
    fn sums_have_the_digits_of_x87() {
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("3", "-3"), "0");
        assert_eq!(sum("-0", "-0.0"), "0");
        assert_eq!(sum("1", "1e-17"), "1.00000000000000001");
        assert_eq!(sum("1e18", "0.1"), "1000000000000000000.125");
        assert_eq!(sum("1e20", "0.1"), "100000000000000000000");
        assert_eq!(sum("-1.5", "1"), "-0.5");
        assert_eq!(sum("0x10", "0x.8p1"), "17");
        assert_eq!(sum("9223372036854775807", "1"), "9223372036854775808");
        assert_eq!(sum("1e-4940", "0"), "0");
    }

    #[test]
    fn only_whole_numbers_in_range_are_read() {
        for bad in [
            "", " 1", "1 ", "abc", "1e", "1e+", ".", "-", "+", "nan", "1.2.3", "0x", "1e5000",
            "1e-5000", "--1", "1_0", "infinit",
        ] {
            assert_eq!(LongDouble::parse(bad.as_bytes()), None, "{bad:?}");
        }
        for good in [
            ".5",
            "5.",
            "+1",
            "-1",
            "1E5",
            "00012",
            "0e999999999999999999999",
            "0x1p-2",
        ] {
            assert!(LongDouble::parse(good.as_bytes()).is_some(), "{good:?}");
        }
        assert!(LongDouble::parse(b"1e4932").is_some());
        assert_eq!(LongDouble::parse(b"1e4933"), None);
        assert_eq!(LongDouble::parse(b"-Infinity"), Some(Infinite));
        assert!(LongDouble::parse(&[b'1'; 4000]).is_some());
        assert_eq!(LongDouble::parse(&[b'1'; 5120]), None);
    }
}
