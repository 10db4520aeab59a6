//! Names for people: opcodes, types, modules.
//!
//! Owns: what the numbers of a file are called in an error. Never: decides what is read.

use super::opcode;

pub(super) fn opcode_name(number: u8) -> Option<&'static str> {
    Some(match number {
        opcode::SLOT_INFO => "SLOT_INFO",
        opcode::FUNCTION2 => "FUNCTION2",
        opcode::FUNCTION_PRE_GA => "FUNCTION_PRE_GA",
        opcode::MODULE_AUX => "MODULE_AUX",
        opcode::IDLE => "IDLE",
        opcode::FREQ => "FREQ",
        opcode::AUX => "AUX",
        opcode::RESIZEDB => "RESIZEDB",
        opcode::EXPIRETIME_MS => "EXPIRETIME_MS",
        opcode::EXPIRETIME => "EXPIRETIME",
        opcode::SELECTDB => "SELECTDB",
        opcode::EOF => "EOF",
        _ => return None,
    })
}

/// The type that a number stands for in some version of Redis up to 7.4, and how it is stored.
pub(super) fn type_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "string",
        1 => "list",
        2 => "set",
        3 => "sorted set, scores as text",
        4 => "hash",
        5 => "sorted set",
        MODULE_PRE_GA => "module's value of a release candidate of 4.0",
        MODULE => "module's value",
        9 => "hash as zipmap",
        10 => "list as ziplist",
        11 => "set of integers",
        12 => "sorted set as ziplist",
        13 => "hash as ziplist",
        14 => "list of ziplists",
        15 => "stream",
        16 => "hash as listpack",
        17 => "sorted set as listpack",
        18 => "list of listpacks",
        19 => "stream of 7.0",
        20 => "set as listpack",
        21 => "stream of 7.2",
        22 => "hash with expiring fields of a release candidate of 7.4",
        23 => "hash as listpack with expiring fields of a release candidate of 7.4",
        24 => "hash with expiring fields",
        25 => "hash as listpack with expiring fields",
        _ => return None,
    })
}

pub(super) const MODULE_PRE_GA: u8 = 6;
pub(super) const MODULE: u8 = 7;

/// A module's number is its name, nine characters of six bits, the first one highest; then ten bits of the
/// version of its encoding.
const VERSION_BITS: u32 = 10;
const CHARACTER_BITS: u32 = 6;
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NAME_LENGTH: u32 = 9;

pub(super) fn module_name(number: u64) -> String {
    let character = |at: u32| {
        let shift = VERSION_BITS + at * CHARACTER_BITS;
        let [.., low] = (number >> shift).to_be_bytes();
        char::from(CHARACTERS[usize::from(low & 0x3f)])
    };
    (0..NAME_LENGTH).rev().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_their_names_in_their_numbers() {
        let number = |name: &[u8; 9], version: u64| {
            let place = |byte: &u8| CHARACTERS.iter().position(|c| c == byte).unwrap() as u64;
            let all = name.iter().fold(0, |sum, byte| sum << 6 | place(byte));
            all << 10 | version
        };
        for name in [b"ReJSON-RL", b"MBbloom--", b"AAAAAAAAA", b"_________"] {
            let text = std::str::from_utf8(name).unwrap();
            assert_eq!(module_name(number(name, 3)), text);
        }
        assert_eq!(module_name(u64::MAX), "_________");
    }
}
