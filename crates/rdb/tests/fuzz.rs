//! Damaged files, as many as one likes: they are read without a panic, the same in slices of any size, and take
//! no more memory than they can fill.
//!
//!     RDB_FUZZ_ROUNDS=10000000 cargo test -p rdb --test fuzz
//!
//! `RDB_FUZZ_SEED` begins with another file. A failure names the seed of its round.

#[path = "common/counting.rs"]
mod counting;

use counting::most_held;
use rdb::file::{FileError, Reader};

const GOLDEN: [&[u8]; 5] = [
    include_bytes!("golden/idle.rdb"),
    include_bytes!("golden/frequent.rdb"),
    include_bytes!("golden/library.rdb"),
    include_bytes!("golden/list.rdb"),
    SEEDS,
];
/// Names of keys, and the digits of the payloads of their values, which have elements.
const ELEMENTS: &str = include_str!("golden/elements.txt");
/// Longer ones are left out: what can be wrong with them can be so with short ones.
const ELEMENTS_MAX: usize = 300;
/// Items of every kind, small ones.
const SEEDS: &[u8] = b"REDIS0012\xfa\x08hf-stage\x03\0\xff\x80\xf5\xc3\x05\x0a\0a\xe0\0\0\xfe\0\xfb\x02\x40\x01\
    \xf4\x7f\xff\x01\x80\0\0\0\x01\xfc\x02\x01\0\0\0\0\0\0\xf8\x41\x2c\0\x01a\x03val\xf9\x07\0\xc0\x07\xc1\x07\x07\
    \xfd\x01\x01\x01\x01\0\xc3\x05\x0a\0a\xe0\0\0\xc2\x01\x02\x03\x04\0\x01l\x80\0\x01\0\x01xxx\xff\0\0\0\0\0\0\0\0";
/// Bytes that mean something where an item, a length or a string begins.
const TELLING: &[u8] = &[
    0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 14, 16, 17, 18, 20, 22, 23, 24, 25, 0x3f, 0x40, 0x7f, 0x80,
    0x81, 0xc0, 0xc1, 0xc2, 0xc3, 0xe0, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255,
];
const LIMIT: usize = 1 << 20;
const ROUNDS: u64 = 20_000;

/// A generator of numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        match self.below(2) {
            0 => TELLING[self.below(TELLING.len())],
            _ => self.next() as u8,
        }
    }
}

/// The golden files, and files of the values that have elements: of each, and of all.
fn golden() -> Vec<Vec<u8>> {
    let values = ELEMENTS.lines().filter_map(|line| {
        let (name, digits) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let payload: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let (kind, body) = payload[..payload.len() - 10].split_first().unwrap();
        let key = [&[name.len() as u8], name.as_bytes()].concat();
        (body.len() < ELEMENTS_MAX).then(|| [&[*kind], &key[..], body].concat())
    });
    let values: Vec<Vec<u8>> = values.collect();
    let file = |items: &[u8]| [b"REDIS0012", items, &[255, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let mut files: Vec<Vec<u8>> = GOLDEN.map(<[u8]>::to_vec).to_vec();
    files.extend(values.iter().map(|value| file(value)));
    files.push(file(&values.concat()));
    files
}

fn damaged(golden: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut file = golden[chance.below(golden.len())].clone();
    for _ in 0..=chance.below(6) {
        // The header seldom: behind it is more to find.
        let from = if chance.below(20) == 0 { 0 } else { 9 };
        let at = from + chance.below(file.len().saturating_sub(from));
        let at = at.min(file.len());
        let length = chance.below(20).min(file.len() - at);
        match chance.below(6) {
            0 if at < file.len() => file[at] ^= 1 << chance.below(8),
            1 if at < file.len() => file[at] = chance.byte(),
            2 => file.insert(at, chance.byte()),
            3 => drop(file.drain(at..at + length)),
            4 => {
                let part = file[at..at + length].to_vec();
                let to = chance.below(file.len() + 1);
                file.splice(to..to, part);
            }
            _ => {
                let other = &golden[chance.below(golden.len())];
                let start = chance.below(other.len());
                let end = start + chance.below(60).min(other.len() - start);
                file.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    // Mostly without a checksum, which would end most files.
    if file.len() > 8 && chance.below(4) > 0 {
        let end = file.len() - 8;
        file[end..].fill(0);
    }
    file
}

/// A number for all that is read, and the error at the end.
fn read(file: &[u8], chance: Option<&mut Chance>) -> (u64, Result<(), FileError>) {
    let mut reader = Reader::new(LIMIT);
    let mut sum = 0;
    let all = || {
        let mut rest = file;
        let mut chance = chance;
        while !rest.is_empty() {
            let length = chance.as_mut().map_or(rest.len(), |chance| {
                let most = [2, 20, 200][chance.below(3)];
                (1 + chance.below(most)).min(rest.len())
            });
            let (mut slice, behind) = rest.split_at(length);
            rest = behind;
            while let Some(item) = reader.next(&mut slice, &mut || {})? {
                sum = rdb::crc64::crc64(sum, format!("{item:?}").as_bytes());
            }
        }
        reader.finish()
    };
    let result = all();
    (sum, result)
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn damaged_files_give_items_or_an_error() {
    let first = number("RDB_FUZZ_SEED", 0);
    let (mut whole, golden) = (0, golden());
    for seed in first..first + number("RDB_FUZZ_ROUNDS", ROUNDS) {
        let mut chance = Chance(seed);
        let file = damaged(&golden, &mut chance);
        let (once, most) = most_held(|| read(&file, None));
        // Strings are shown as text here: up to four digits a byte, twice while it grows.
        let bound = file.len() * 88 * 16 + 4096;
        assert!(
            most <= bound,
            "seed {seed}: {most} bytes for {}",
            file.len()
        );
        let sliced = read(&file, Some(&mut chance));
        assert_eq!(once, sliced, "seed {seed}: {file:x?}");
        whole += u64::from(once.1.is_ok());
    }
    println!("{whole} files had an end");
}
