//! Random commands on bits, HyperLogLogs and databases.
//!
//! Owns: what is drawn for them; `generate` mixes it with the rest. Never: an offset that would make a string
//! of megabytes, and for BITCOUNT and BITPOS a range that is none (see `compare::VERSIONS`).

use crate::generate::{Args, Generator};
use rand::Rng;

const OFFSETS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "9",
    "63",
    "100",
    "1000",
    "-1",
    "x",
    "",
    "4294967296",
    "01",
];
const RANGE: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "11",
    "100",
    "-1",
    "-2",
    "-7",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
];
const WIDTHS: &[&str] = &[
    "u1", "u8", "i8", "i5", "u13", "i16", "u32", "i64", "u63", "u64", "i65", "u0", "x8", "", "i",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "7",
    "100",
    "127",
    "128",
    "255",
    "256",
    "-128",
    "-129",
    "65535",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "",
];

impl Generator {
    pub fn bit_command(&mut self) -> Args {
        let k = self.key();
        match self.rng.gen_range(0..20) {
            0..=2 => {
                let (offset, bit) = (
                    self.mostly(OFFSETS, 8),
                    self.mostly(&["0", "1", "2", "x"], 2),
                );
                self.words("SETBIT", vec![k, offset, bit])
            }
            3 => {
                let offset = self.mostly(OFFSETS, 8);
                self.words("GETBIT", vec![k, offset])
            }
            4 => {
                let range = self.range(2);
                self.words("BITCOUNT", [vec![k], range].concat())
            }
            5 => {
                let bit = self.of(&["0", "1"]);
                let range = self.range(1);
                self.words("BITPOS", [vec![k, bit], range].concat())
            }
            6 | 7 => {
                let name = self.mostly(&["AND", "or", "XOR", "Not", "NAND", ""], 4);
                let sources = self.many("", 1);
                let count = if name == b"Not" && self.chance(80) {
                    1
                } else {
                    4
                };
                let sources = sources.into_iter().skip(1).take(count);
                let rest = [name, k].into_iter().chain(sources).collect();
                self.words("BITOP", rest)
            }
            8..=10 => self.bitfield(k),
            11 | 12 => {
                let mut rest = vec![k];
                for _ in 0..[0, 1, 2, 5, 300][self.rng.gen_range(0..5)] {
                    rest.push(self.rng.gen_range(0..1000).to_string().into_bytes());
                }
                self.words("PFADD", rest)
            }
            13 | 14 => self.many("PFCOUNT", 1),
            15 => self.many("PFMERGE", 1),
            16 => {
                let word = self.mostly(&["DECODE", "encoding", "TODENSE", "GETREG", "x"], 3);
                self.words("PFDEBUG", vec![word, k])
            }
            17 | 18 => self.copy(k),
            _ if self.chance(50) => {
                let db = self.mostly(DATABASES, 2);
                self.words("MOVE", vec![k, db])
            }
            _ => {
                let (a, b) = (self.mostly(DATABASES, 2), self.mostly(DATABASES, 2));
                self.words("SWAPDB", vec![a, b])
            }
        }
    }

    /// No range, or both ends (one is enough where `least` is 1), with a unit or without.
    fn range(&mut self, least: usize) -> Vec<Vec<u8>> {
        let ends = [0, least, 2, 2][self.rng.gen_range(0..4)];
        let mut range: Vec<Vec<u8>> = (0..ends).map(|_| self.of(RANGE)).collect();
        if ends == 2 && self.chance(50) {
            range.push(self.of(&["BIT", "byte", "Bit"]));
        }
        range
    }

    fn bitfield(&mut self, k: Vec<u8>) -> Args {
        let mut rest = vec![k];
        for _ in 0..self.rng.gen_range(0..4) {
            if self.chance(40) {
                let word = self.mostly(&["WRAP", "sat", "FAIL", "x"], 3);
                rest.extend([b"OVERFLOW".to_vec(), word]);
            }
            let (name, more) = [("GET", 0), ("set", 1), ("INCRBY", 1)][self.rng.gen_range(0..3)];
            rest.extend([name.as_bytes().to_vec(), self.mostly(WIDTHS, 9)]);
            let mut offset = self.mostly(OFFSETS, 8);
            if self.chance(30) && offset.len() < 4 {
                offset.insert(0, b'#');
            }
            rest.push(offset);
            if more == 1 {
                rest.push(self.mostly(NUMBERS, 14));
            }
        }
        let name = if self.chance(85) {
            "BITFIELD"
        } else {
            "BITFIELD_RO"
        };
        self.words(name, rest)
    }

    fn copy(&mut self, k: Vec<u8>) -> Args {
        let mut rest = vec![k, self.key()];
        if self.chance(50) {
            rest.push(self.keyword("REPLACE"));
        }
        if self.chance(40) {
            rest.push(self.keyword("DB"));
            rest.push(self.mostly(DATABASES, 2));
        }
        self.words("COPY", rest)
    }
}

const DATABASES: &[&str] = &["0", "1", "15", "16", "-1", "x", "", "99999999999"];
