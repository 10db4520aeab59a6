//! From registers to a cardinality: the estimator of Otmar Ertl (arXiv:1702.01284), in the order of
//! operations in which Redis does it, so that both say the same number.

use super::hash::RUN_BITS;
use super::layout::{Corrupt, HEADER, REGISTERS};
use super::value::Encoding;
use super::{dense, sparse};

/// 0.5 / ln(2)
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many elements a HyperLogLog has seen, about.
pub fn of_value(value: &[u8], encoding: Encoding) -> Result<u64, Corrupt> {
    let mut counts = [0; 64];
    let body = &value[HEADER..];
    match encoding {
        Encoding::Dense => dense::histogram(body, &mut counts),
        Encoding::Sparse => sparse::histogram(body, &mut counts)?,
    }
    Ok(of_histogram(&counts))
}

pub fn of_registers(registers: &[u8; REGISTERS]) -> u64 {
    let mut counts = [0; 64];
    for register in registers {
        counts[usize::from(*register)] += 1;
    }
    of_histogram(&counts)
}

fn of_histogram(counts: &[u32; 64]) -> u64 {
    let all = REGISTERS as f64;
    let longest = RUN_BITS as usize;
    let mut z = all * tau((all - f64::from(counts[longest + 1])) / all);
    for count in counts[1..=longest].iter().rev() {
        z += f64::from(*count);
        z *= 0.5;
    }
    z += all * sigma(f64::from(counts[0]) / all);
    (ALPHA * all * all / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
