//! Registers of six bits, one behind the other, the lowest bits first.

use super::layout::{HEADER, REGISTERS};

const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;

/// The length of a string with all of them.
pub const LEN: usize = HEADER + REGISTERS * BITS / 8;

/// Where a register begins: its first byte, and the bit in that.
fn place(index: usize) -> (usize, usize) {
    (index * BITS / 8, index * BITS % 8)
}

/// Two bytes from this one on; behind the last one there is nothing.
fn pair(registers: &[u8], at: usize) -> u16 {
    let second = registers.get(at + 1).copied().unwrap_or(0);
    u16::from_le_bytes([registers[at], second])
}

pub fn get(registers: &[u8], index: usize) -> u8 {
    let (at, bit) = place(index);
    ((pair(registers, at) >> bit) & MASK) as u8
}

pub fn set(registers: &mut [u8], index: usize, to: u8) {
    let (at, bit) = place(index);
    let others = pair(registers, at) & !(MASK << bit);
    let [first, second] = (others | (u16::from(to) & MASK) << bit).to_le_bytes();
    registers[at] = first;
    if let Some(byte) = registers.get_mut(at + 1) {
        *byte = second;
    }
}

/// How many registers have each value.
pub fn histogram(registers: &[u8], counts: &mut [u32; 64]) {
    for four in registers.chunks_exact(3) {
        let four = u32::from_le_bytes([four[0], four[1], four[2], 0]);
        for nth in 0..4 {
            counts[(four >> (nth * BITS) & u32::from(MASK)) as usize] += 1;
        }
    }
}
