//! Numbers in text, with Redis's rules: strict integers, and doubles as Redis 7.4 prints them.

pub use base::number::parse_i64;

/// Appends `value` as Redis 7.4 prints a double in replies: an integer without a point, else the
/// shortest digits that read back as the same double, with an exponent where the plain form would
/// be long.
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= (1u64 << 62) as f64 && value.fract() == 0.0 {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        push_shortest(out, value);
    }
}

/// The shortest round-trip digits, laid out as an integer, a fraction or with an exponent.
fn push_shortest(out: &mut Vec<u8>, value: f64) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').expect("LowerExp always prints an e");
    let exponent: i32 = exponent
        .parse()
        .expect("LowerExp prints a decimal exponent");
    let digits: Vec<u8> = mantissa.bytes().filter(|c| *c != b'.').collect();
    let count = digits.len() as i32;
    let scale = exponent - (count - 1); // value = digits * 10^scale
    if value < 0.0 {
        out.push(b'-');
    }
    if scale >= 0 && exponent < count + 7 {
        out.extend_from_slice(&digits);
        out.resize(out.len() + scale as usize, b'0');
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let point = count + scale; // digits before the point
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(&digits);
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
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
