//! The digits of doubles by Grisu2 (Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers"), which Redis
//! prints doubles with.
//!
//! Hazard: its digits always read back as the double, but one double in a thousand has shorter ones. Clients compare texts, so
//! ours are those, and not the shortest.

/// A number `mantissa * 2^exponent`.
#[derive(Clone, Copy)]
struct Float {
    mantissa: u64,
    exponent: i32,
}

impl Float {
    /// The same number with the highest bit set.
    fn normal(self) -> Float {
        let shift = self.mantissa.leading_zeros();
        Float {
            mantissa: self.mantissa << shift,
            exponent: self.exponent - shift as i32,
        }
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Float) -> Float {
        let product = u128::from(self.mantissa) * u128::from(other.mantissa) + (1 << 63);
        Float {
            mantissa: (product >> 64) as u64,
            exponent: self.exponent + other.exponent + 64,
        }
    }
}

const FIRST_POWER: i32 = -348;
const STEP: i32 = 8;

/// The power of ten that is number `at` of those in [`POWERS`], and which one it is.
fn power(at: i32) -> (Float, i32) {
    let ten = FIRST_POWER + STEP * at;
    let mantissa = POWERS[usize::try_from(at).expect("no double needs another")];
    // ten * log2(10), rounded down
    let exponent = ((i64::from(ten) * 1_741_647) >> 19) as i32 - 63;
    (Float { mantissa, exponent }, ten)
}

/// A power of ten that brings an exponent between -60 and -32.
fn power_for(exponent: i32) -> (Float, i32) {
    let about = (f64::from(-(exponent + POWERS.len() as i32)) * 0.301_029_995_663_981_14) as i32;
    let mut at = (about - FIRST_POWER) / STEP;
    loop {
        let (found, ten) = power(at);
        match exponent + found.exponent + 64 {
            ..-60 => at += 1,
            -31.. => at -= 1,
            _ => return (found, ten),
        }
    }
}

/// The digits of a positive number, and the power of ten of the last one.
pub fn digits(value: f64) -> (Vec<u8>, i32) {
    const HIDDEN: u64 = 1 << 52;
    let bits = value.to_bits();
    let (fraction, biased) = (bits & (HIDDEN - 1), (bits >> 52 & 0x7FF) as i32);
    let own = match biased {
        0 => Float {
            mantissa: fraction,
            exponent: -1074,
        },
        _ => Float {
            mantissa: fraction | HIDDEN,
            exponent: biased - 1075,
        },
    };
    // Halfway to the next double on both sides; below a power of two that is nearer.
    let upper = Float {
        mantissa: (own.mantissa << 1) + 1,
        exponent: own.exponent - 1,
    }
    .normal();
    let shift = if own.mantissa == HIDDEN { 2 } else { 1 };
    let lower = Float {
        mantissa: (own.mantissa << shift) - 1,
        exponent: own.exponent - shift,
    };
    let lower = Float {
        mantissa: lower.mantissa << (lower.exponent - upper.exponent),
        exponent: upper.exponent,
    };
    let (power, ten) = power_for(upper.exponent);
    let own = own.normal().times(power);
    let (mut upper, mut lower) = (upper.times(power), lower.times(power));
    // The product may be one off.
    upper.mantissa -= 1;
    lower.mantissa += 1;
    let (digits, more) = generate(own, upper, lower);
    (digits, more - ten)
}

/// Digits of `upper`, as few as stay above `lower`, then brought near `own`; and the power of ten of the last one.
fn generate(own: Float, upper: Float, lower: Float) -> (Vec<u8>, i32) {
    let distance = upper.mantissa - own.mantissa;
    let mut room = upper.mantissa - lower.mantissa;
    let shift = -upper.exponent as u32;
    let one = 1u64 << shift;
    let (mut whole, mut part) = (upper.mantissa >> shift, upper.mantissa & (one - 1));
    let mut digits = Vec::with_capacity(18);
    let push = |digits: &mut Vec<u8>, digit: u64| {
        if digit > 0 || !digits.is_empty() {
            digits.push(b'0' + digit as u8);
        }
    };
    for power in (0..10).rev() {
        let unit = 10u64.pow(power);
        push(&mut digits, whole / unit);
        whole %= unit;
        let rest = (whole << shift) + part;
        if rest <= room {
            approach(&mut digits, room, rest, unit << shift, distance);
            return (digits, power as i32);
        }
    }
    let (mut power, mut scale) = (0, 1u64);
    loop {
        part *= 10;
        room *= 10;
        scale = scale.wrapping_mul(10);
        power -= 1;
        push(&mut digits, part >> shift);
        part &= one - 1;
        if part < room {
            approach(&mut digits, room, part, one, distance.wrapping_mul(scale));
            return (digits, power);
        }
    }
}

/// Lowers the last digit as long as that brings it nearer.
fn approach(digits: &mut [u8], room: u64, mut rest: u64, unit: u64, distance: u64) {
    let last = digits.last_mut().expect("there is a digit");
    while rest < distance
        && room - rest >= unit
        && (rest.wrapping_add(unit) < distance
            || distance - rest > rest.wrapping_add(unit).wrapping_sub(distance))
    {
        *last -= 1;
        rest += unit;
    }
}

/// Every eighth power of ten from 10^-348 on: the highest 64 bits, rounded.
static POWERS: [u64; 87] = [
    0xFA8F_D5A0_081C_0288,
    0xBAAE_E17F_A23E_BF76,
    0x8B16_FB20_3055_AC76,
    0xCF42_894A_5DCE_35EA,
    0x9A6B_B0AA_5565_3B2D,
    0xE61A_CF03_3D1A_45DF,
    0xAB70_FE17_C79A_C6CA,
    0xFF77_B1FC_BEBC_DC4F,
    0xBE56_91EF_416B_D60C,
    0x8DD0_1FAD_907F_FC3C,
    0xD351_5C28_3155_9A83,
    0x9D71_AC8F_ADA6_C9B5,
    0xEA9C_2277_23EE_8BCB,
    0xAECC_4991_4078_536D,
    0x823C_1279_5DB6_CE57,
    0xC210_9436_4DFB_5637,
    0x9096_EA6F_3848_984F,
    0xD774_85CB_2582_3AC7,
    0xA086_CFCD_97BF_97F4,
    0xEF34_0A98_172A_ACE5,
    0xB238_67FB_2A35_B28E,
    0x84C8_D4DF_D2C6_3F3B,
    0xC5DD_4427_1AD3_CDBA,
    0x936B_9FCE_BB25_C996,
    0xDBAC_6C24_7D62_A584,
    0xA3AB_6658_0D5F_DAF6,
    0xF3E2_F893_DEC3_F126,
    0xB5B5_ADA8_AAFF_80B8,
    0x8762_5F05_6C7C_4A8B,
    0xC9BC_FF60_34C1_3053,
    0x964E_858C_91BA_2655,
    0xDFF9_7724_7029_7EBD,
    0xA6DF_BD9F_B8E5_B88F,
    0xF8A9_5FCF_8874_7D94,
    0xB944_7093_8FA8_9BCF,
    0x8A08_F0F8_BF0F_156B,
    0xCDB0_2555_6531_31B6,
    0x993F_E2C6_D07B_7FAC,
    0xE45C_10C4_2A2B_3B06,
    0xAA24_2499_6973_92D3,
    0xFD87_B5F2_8300_CA0E,
    0xBCE5_0864_9211_1AEB,
    0x8CBC_CC09_6F50_88CC,
    0xD1B7_1758_E219_652C,
    0x9C40_0000_0000_0000,
    0xE8D4_A510_0000_0000,
    0xAD78_EBC5_AC62_0000,
    0x813F_3978_F894_0984,
    0xC097_CE7B_C907_15B3,
    0x8F7E_32CE_7BEA_5C70,
    0xD5D2_38A4_ABE9_8068,
    0x9F4F_2726_179A_2245,
    0xED63_A231_D4C4_FB27,
    0xB0DE_6538_8CC8_ADA8,
    0x83C7_088E_1AAB_65DB,
    0xC45D_1DF9_4271_1D9A,
    0x924D_692C_A61B_E758,
    0xDA01_EE64_1A70_8DEA,
    0xA26D_A399_9AEF_774A,
    0xF209_787B_B47D_6B85,
    0xB454_E4A1_79DD_1877,
    0x865B_8692_5B9B_C5C2,
    0xC835_53C5_C896_5D3D,
    0x952A_B45C_FA97_A0B3,
    0xDE46_9FBD_99A0_5FE3,
    0xA59B_C234_DB39_8C25,
    0xF6C6_9A72_A398_9F5C,
    0xB7DC_BF53_54E9_BECE,
    0x88FC_F317_F222_41E2,
    0xCC20_CE9B_D35C_78A5,
    0x9816_5AF3_7B21_53DF,
    0xE2A0_B5DC_971F_303A,
    0xA8D9_D153_5CE3_B396,
    0xFB9B_7CD9_A4A7_443C,
    0xBB76_4C4C_A7A4_4410,
    0x8BAB_8EEF_B640_9C1A,
    0xD01F_EF10_A657_842C,
    0x9B10_A4E5_E991_3129,
    0xE710_9BFB_A19C_0C9D,
    0xAC28_20D9_623B_F429,
    0x8044_4B5E_7AA7_CF85,
    0xBF21_E440_03AC_DD2D,
    0x8E67_9C2F_5E44_FF8F,
    0xD433_179D_9C8C_B841,
    0x9E19_DB92_B4E3_1BA9,
    0xEB96_BF6E_BADF_77D9,
    0xAF87_023B_9BF0_EE6B,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        let (digits, power) = digits(value);
        format!("{}e{power}", String::from_utf8(digits).unwrap())
    }

    #[test]
    fn digits_are_those_of_redis() {
        for (value, want) in [
            (0.1, "1e-1"),
            (1.0, "1e0"),
            (9.9999e20, "9999900000000001e5"),
            (5e-324, "5e-324"),
            (f64::MAX, "17976931348623157e292"),
            (f64::MIN_POSITIVE, "22250738585072014e-324"),
            (123_456.789, "123456789e-3"),
        ] {
            assert_eq!(text(value), want);
        }
    }

    proptest! {
        #[test]
        fn digits_read_back(bits in 1..0x7FF0_0000_0000_0000u64) {
            let value = f64::from_bits(bits);
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
