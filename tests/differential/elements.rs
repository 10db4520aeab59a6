//! Random commands on hashes, lists, sets, sorted sets, places, and SORT.
//!
//! Owns: what is drawn for them, and the look at what they have left; `generate` mixes it with the rest. Field expiry only where
//! the reference has it, and no client waits for longer than a millisecond. Never: what is drawn at random, a scan of more than
//! one call, an encoding of sets (7.0 has no listpacks of sets), the score -0 (Redis loses its sign in listpacks), an
//! index of LSET beyond 32 bits, and inside MULTI what has no order.

use crate::generate::{keys, Args, Generator, Op};
use crate::pair::reference_has;
use rand::Rng;

const MEMBERS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "1",
    "2",
    "3",
    "10",
    "-5",
    "007",
    "",
    "aa",
    "b\0c",
    "hello world",
    "9223372036854775807",
    "1.5",
];
// Behind 1e400 Redis's next SORT fails (errno is left as it was). 7.0 prints seventeen digits of a score, 7.4 as many as it takes.
const SCORES: &[&str] = &[
    "0",
    "1",
    "-1",
    "2.5",
    "10",
    "-3.25",
    "1e3",
    "inf",
    "-inf",
    "0.5",
    "1e20",
    "17179869184.5",
    "nan",
    "abc",
    "",
    "0x10",
    " 1",
];
const BOUNDS: &[&str] = &[
    "-inf", "+inf", "0", "1", "(1", "(0.1", "5", "(-1", "abc", "", "(", "nan", "(inf",
];
const LEX: &[&str] = &[
    "-", "+", "[a", "(a", "[b", "(c", "[", "(", "a", "", "[hello",
];
const SMALL: &[&str] = &["0", "1", "2", "-1", "-2", "5", "100", "-100", "x", ""];
const COUNTS: &[&str] = &["1", "2", "0", "5", "-1", "x", "", "100"];
const PLACES: &[&str] = &[
    "13.361389",
    "38.115556",
    "15.087269",
    "37.502669",
    "0",
    "-180",
    "180",
    "85.05112878",
    "86",
    "x",
    "",
];
/// For how long clients wait: never for ever. 7.0 takes `inf` for a negative time.
const PATIENCE: &[&str] = &[
    "0.001", "0.0001", "1e-3", "-1", "-0.5", "-inf", "nan", "x", "", "0x", " 1",
];
/// When fields expire: long ago, or in the far future, in seconds and in milliseconds.
const TIMES: &[&str] = &[
    "9999999999",
    "70000000000",
    "1",
    "0",
    "-1",
    "x",
    "",
    "281474976710655",
    "9223372036854775807",
];
const UNITS: &[&str] = &["m", "km", "FT", "mi", "x", ""];

impl Generator {
    fn member(&mut self) -> Vec<u8> {
        match self.chance(8) {
            true => self.value(),
            false => self.mostly(MEMBERS, 9),
        }
    }

    fn members(&mut self, most: usize) -> Vec<Vec<u8>> {
        let count = self.rng.gen_range(1..=most);
        (0..count).map(|_| self.member()).collect()
    }

    /// `ordered`: only what has an order.
    pub fn element_command(&mut self, ordered: bool) -> Args {
        match self.rng.gen_range(0..5) {
            0 => self.hash_command(ordered),
            1 => self.list_command(),
            2 => self.set_command(ordered),
            3 => self.zset_command(ordered),
            _ => self.other_command(ordered),
        }
    }

    fn with(&mut self, name: &str, key: Vec<u8>, rest: Vec<Vec<u8>>) -> Args {
        self.words(name, [vec![key], rest].concat())
    }

    fn hash_command(&mut self, ordered: bool) -> Args {
        let (k, f) = (self.key(), self.member());
        match self.rng.gen_range(0..15) {
            13 if !ordered => self.element_scan("HSCAN", k),
            14 => self.field_expiry(k),
            0..=2 => {
                let mut pairs = Vec::new();
                for _ in 0..self.rng.gen_range(1..4) {
                    pairs.extend([self.member(), self.value()]);
                }
                let name = ["HSET", "HMSET"][usize::from(self.chance(20))];
                self.with(name, k, pairs)
            }
            3 => {
                let v = self.value();
                self.with("HSETNX", k, vec![f, v])
            }
            4 => self.with("HGET", k, vec![f]),
            5 => {
                let fields = self.members(4);
                self.with("HMGET", k, fields)
            }
            6 => {
                let fields = self.members(3);
                self.with("HDEL", k, fields)
            }
            7 => self.with("HLEN", k, vec![]),
            8 => self.with("HSTRLEN", k, vec![f]),
            9 => self.with("HEXISTS", k, vec![f]),
            10 => {
                let n = self.mostly(SMALL, 7);
                self.with("HINCRBY", k, vec![f, n])
            }
            11 => {
                let n = self.mostly(SCORES, 7);
                self.with("HINCRBYFLOAT", k, vec![f, n])
            }
            _ => self.with("HGETALL", k, vec![]),
        }
    }

    fn list_command(&mut self) -> Args {
        let k = self.key();
        let side = self.mostly(&["LEFT", "right", "x", ""], 2);
        match self.rng.gen_range(0..18) {
            16 | 17 => self.waiting_list_command(k),
            0..=3 => {
                let name = ["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"][self.rng.gen_range(0..4)];
                let elements = self.members(5);
                self.with(name, k, elements)
            }
            4 | 5 => {
                let name = ["LPOP", "RPOP"][self.rng.gen_range(0..2)];
                let count = if self.chance(40) {
                    vec![self.mostly(COUNTS, 4)]
                } else {
                    vec![]
                };
                self.with(name, k, count)
            }
            6 => self.with("LLEN", k, vec![]),
            7 => {
                let at = self.mostly(SMALL, 5);
                self.with("LINDEX", k, vec![at])
            }
            8 => {
                let (at, element) = (self.mostly(SMALL, 5), self.member());
                self.with("LSET", k, vec![at, element])
            }
            9 => {
                let place = self.mostly(&["BEFORE", "after", "x"], 2);
                let (pivot, element) = (self.member(), self.member());
                self.with("LINSERT", k, vec![place, pivot, element])
            }
            10 => {
                let (count, element) = (self.mostly(SMALL, 6), self.member());
                self.with("LREM", k, vec![count, element])
            }
            11 => {
                let ends = vec![self.mostly(SMALL, 8), self.mostly(SMALL, 8)];
                self.with("LTRIM", k, ends)
            }
            12 => {
                let mut rest = vec![self.member()];
                for word in ["RANK", "COUNT", "MAXLEN"] {
                    if self.chance(25) {
                        rest.extend([word.as_bytes().to_vec(), self.mostly(COUNTS, 5)]);
                    }
                }
                self.with("LPOS", k, rest)
            }
            13 => {
                let (to, other) = (self.key(), self.mostly(&["LEFT", "RIGHT", "x"], 2));
                self.with("LMOVE", k, vec![to, side, other])
            }
            14 => {
                let to = self.key();
                self.with("RPOPLPUSH", k, vec![to])
            }
            _ => {
                let mut rest = self.counted_keys();
                rest.push(side);
                if self.chance(30) {
                    rest.extend([b"COUNT".to_vec(), self.mostly(COUNTS, 2)]);
                }
                self.words("LMPOP", rest)
            }
        }
    }

    /// BLPOP and its like: they find an element at once, or are told in a moment that there is none.
    fn waiting_list_command(&mut self, k: Vec<u8>) -> Args {
        let sides = ["LEFT", "right", "x", ""];
        match self.rng.gen_range(0..5) {
            0 | 1 => {
                let name = ["BLPOP", "BRPOP"][self.rng.gen_range(0..2)];
                self.many_with_patience(name)
            }
            2 => {
                let rest = vec![
                    self.key(),
                    self.mostly(&sides, 2),
                    self.mostly(&sides, 2),
                    self.mostly(PATIENCE, 3),
                ];
                self.with("BLMOVE", k, rest)
            }
            3 => {
                let rest = vec![self.key(), self.mostly(PATIENCE, 3)];
                self.with("BRPOPLPUSH", k, rest)
            }
            _ => {
                let mut rest = vec![self.mostly(PATIENCE, 3)];
                rest.extend(self.counted_keys());
                rest.push(self.mostly(&sides, 2));
                if self.chance(30) {
                    rest.extend([b"COUNT".to_vec(), self.mostly(COUNTS, 2)]);
                }
                self.words("BLMPOP", rest)
            }
        }
    }

    /// One or more keys, then a time.
    fn many_with_patience(&mut self, name: &str) -> Args {
        let mut rest: Vec<Vec<u8>> = (0..self.rng.gen_range(1..4)).map(|_| self.key()).collect();
        rest.push(self.mostly(PATIENCE, 3));
        self.words(name, rest)
    }

    /// A scan that shows all in one call.
    fn element_scan(&mut self, name: &str, k: Vec<u8>) -> Args {
        let mut rest = vec![b"0".to_vec()];
        if self.chance(40) {
            rest.extend([
                b"MATCH".to_vec(),
                self.mostly(&["*", "[a-c]*", "1*", "x"], 3),
            ]);
        }
        rest.extend([b"COUNT".to_vec(), b"10000".to_vec()]);
        if name == "HSCAN" && reference_has("7.4") && self.chance(30) {
            rest.push(b"NOVALUES".to_vec());
        }
        self.with(name, k, rest)
    }

    fn field_expiry(&mut self, k: Vec<u8>) -> Args {
        if !reference_has("7.4") {
            return self.with("HLEN", k, vec![]);
        }
        let name = [
            "HEXPIREAT",
            "HPEXPIREAT",
            "HEXPIREAT",
            "HPEXPIREAT",
            "HEXPIRETIME",
            "HPEXPIRETIME",
            "HPERSIST",
        ][self.rng.gen_range(0..7)];
        let mut rest = Vec::new();
        if name.ends_with("AT") {
            let good = if name == "HEXPIREAT" { 1 } else { 2 };
            rest.push(self.mostly(TIMES, good));
            if self.chance(30) {
                rest.push(self.mostly(&["NX", "XX", "gt", "LT", "x"], 4));
            }
        }
        let fields = self.members(3);
        let count = match self.chance(10) {
            true => self.mostly(COUNTS, 4),
            false => fields.len().to_string().into_bytes(),
        };
        rest.extend([b"FIELDS".to_vec(), count]);
        rest.extend(fields);
        self.with(name, k, rest)
    }

    /// How many keys, and mostly as many.
    fn counted_keys(&mut self) -> Vec<Vec<u8>> {
        let count = self.rng.gen_range(1..4usize);
        let said = match self.chance(8) {
            true => self.of(COUNTS),
            false => count.to_string().into_bytes(),
        };
        let keys = (0..count).map(|_| self.key());
        [said].into_iter().chain(keys).collect()
    }

    fn set_command(&mut self, ordered: bool) -> Args {
        let (k, m) = (self.key(), self.member());
        match self.rng.gen_range(0..13) {
            12 if !ordered => self.element_scan("SSCAN", k),
            0..=2 => {
                let members = self.members(5);
                self.with("SADD", k, members)
            }
            3 => {
                let members = self.members(3);
                self.with("SREM", k, members)
            }
            4 => self.with("SCARD", k, vec![]),
            5 => self.with("SISMEMBER", k, vec![m]),
            6 => {
                let members = self.members(4);
                self.with("SMISMEMBER", k, members)
            }
            7 => {
                let to = self.key();
                self.with("SMOVE", k, vec![to, m])
            }
            8 => {
                let name = ["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"][self.rng.gen_range(0..3)];
                self.many(name, 1)
            }
            9 => {
                let mut rest = self.counted_keys();
                if self.chance(30) {
                    rest.extend([b"LIMIT".to_vec(), self.mostly(COUNTS, 4)]);
                }
                self.words("SINTERCARD", rest)
            }
            10 if !ordered => self.with("SMEMBERS", k, vec![]),
            _ if !ordered => {
                let name = ["SINTER", "SUNION", "SDIFF"][self.rng.gen_range(0..3)];
                self.many(name, 1)
            }
            _ => self.with("SCARD", k, vec![]),
        }
    }

    fn zset_command(&mut self, ordered: bool) -> Args {
        let (k, m) = (self.key(), self.member());
        match self.rng.gen_range(0..22) {
            19 if !ordered => self.element_scan("ZSCAN", k),
            20 => {
                let name = ["BZPOPMIN", "BZPOPMAX"][self.rng.gen_range(0..2)];
                self.many_with_patience(name)
            }
            21 => {
                let mut rest = vec![self.mostly(PATIENCE, 3)];
                rest.extend(self.counted_keys());
                rest.push(self.mostly(&["MIN", "max", "x"], 2));
                if self.chance(30) {
                    rest.extend([b"COUNT".to_vec(), self.mostly(COUNTS, 2)]);
                }
                self.words("BZMPOP", rest)
            }
            0..=3 => {
                let mut rest = Vec::new();
                for word in ["NX", "XX", "GT", "LT", "CH", "INCR"] {
                    if self.chance(10) {
                        rest.push(word.as_bytes().to_vec());
                    }
                }
                for _ in 0..self.rng.gen_range(1..4) {
                    rest.extend([self.mostly(SCORES, 12), self.member()]);
                }
                self.with("ZADD", k, rest)
            }
            4 => {
                let by = self.mostly(SCORES, 10);
                self.with("ZINCRBY", k, vec![by, m])
            }
            5 => {
                let members = self.members(3);
                self.with("ZREM", k, members)
            }
            6 => self.with("ZSCORE", k, vec![m]),
            7 => {
                let members = self.members(3);
                self.with("ZMSCORE", k, members)
            }
            8 => {
                let name = ["ZRANK", "ZREVRANK"][self.rng.gen_range(0..2)];
                self.with(name, k, vec![m])
            }
            9 => {
                let name = ["ZPOPMIN", "ZPOPMAX"][self.rng.gen_range(0..2)];
                let count = if self.chance(50) {
                    vec![self.mostly(COUNTS, 4)]
                } else {
                    vec![]
                };
                self.with(name, k, count)
            }
            10 => {
                let name = ["ZCOUNT", "ZREMRANGEBYSCORE"][self.rng.gen_range(0..2)];
                let ends = vec![self.mostly(BOUNDS, 8), self.mostly(BOUNDS, 8)];
                self.with(name, k, ends)
            }
            11 => {
                let name = ["ZLEXCOUNT", "ZREMRANGEBYLEX", "ZRANGEBYLEX"][self.rng.gen_range(0..3)];
                let ends = vec![self.mostly(LEX, 6), self.mostly(LEX, 6)];
                self.with(name, k, ends)
            }
            12 => {
                let ends = vec![self.mostly(SMALL, 8), self.mostly(SMALL, 8)];
                self.with("ZREMRANGEBYRANK", k, ends)
            }
            13 | 14 => self.zrange(k, "ZRANGE"),
            15 => {
                let from = self.key();
                let mut args = self.zrange(from, "ZRANGESTORE");
                args.insert(1, k);
                args
            }
            16 => {
                let name = ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"][self.rng.gen_range(0..2)];
                let mut rest = vec![self.mostly(BOUNDS, 8), self.mostly(BOUNDS, 8)];
                if self.chance(40) {
                    rest.push(b"WITHSCORES".to_vec());
                }
                if self.chance(30) {
                    rest.extend([b"LIMIT".to_vec(), self.of(SMALL), self.of(SMALL)]);
                }
                self.with(name, k, rest)
            }
            _ => self.combine(k),
        }
    }

    fn zrange(&mut self, k: Vec<u8>, name: &str) -> Args {
        let (by, ends): (&[u8], _) = match self.rng.gen_range(0..3) {
            0 => (b"", vec![self.mostly(SMALL, 8), self.mostly(SMALL, 8)]),
            1 => (
                b"BYSCORE",
                vec![self.mostly(BOUNDS, 8), self.mostly(BOUNDS, 8)],
            ),
            _ => (b"BYLEX", vec![self.mostly(LEX, 6), self.mostly(LEX, 6)]),
        };
        let mut rest = ends;
        if !by.is_empty() {
            rest.push(by.to_vec());
        }
        if self.chance(30) {
            rest.push(b"REV".to_vec());
        }
        if self.chance(25) {
            rest.extend([b"LIMIT".to_vec(), self.of(SMALL), self.of(SMALL)]);
        }
        if name == "ZRANGE" && self.chance(30) {
            rest.push(b"WITHSCORES".to_vec());
        }
        self.with(name, k, rest)
    }

    fn combine(&mut self, k: Vec<u8>) -> Args {
        let name = [
            "ZUNIONSTORE",
            "ZINTERSTORE",
            "ZDIFFSTORE",
            "ZUNION",
            "ZINTER",
            "ZDIFF",
            "ZINTERCARD",
        ][self.rng.gen_range(0..7)];
        let mut rest = self.counted_keys();
        let sources = rest.len() - 1;
        let weighs = name.starts_with("ZUNION") || matches!(name, "ZINTER" | "ZINTERSTORE");
        if weighs && self.chance(30) {
            rest.push(b"WEIGHTS".to_vec());
            for _ in 0..sources {
                let weight = self.mostly(SCORES, 7);
                rest.push(weight);
            }
        }
        if weighs && self.chance(30) {
            rest.extend([
                b"AGGREGATE".to_vec(),
                self.mostly(&["SUM", "min", "MAX", "x"], 3),
            ]);
        }
        if matches!(name, "ZUNION" | "ZINTER" | "ZDIFF") && self.chance(50) {
            rest.push(b"WITHSCORES".to_vec());
        }
        match name.ends_with("STORE") {
            true => self.with(name, k, rest),
            false => self.words(name, rest),
        }
    }

    fn other_command(&mut self, ordered: bool) -> Args {
        let k = self.key();
        // A score that is no place's becomes a number that C does not define.
        let place = b"places".to_vec();
        match self.rng.gen_range(0..7) {
            0 | 1 => {
                let mut rest = Vec::new();
                for _ in 0..self.rng.gen_range(1..3) {
                    rest.extend([
                        self.mostly(PLACES, 4),
                        self.mostly(PLACES, 4),
                        self.member(),
                    ]);
                }
                self.with("GEOADD", place, rest)
            }
            2 => {
                let name = ["GEOPOS", "GEOHASH"][self.rng.gen_range(0..2)];
                let members = self.members(3);
                self.with(name, place, members)
            }
            3 => {
                let (a, b, unit) = (self.member(), self.member(), self.mostly(UNITS, 4));
                self.with("GEODIST", place, vec![a, b, unit])
            }
            4 | 5 => {
                let mut rest = vec![self.mostly(&["ASC", "desc"], 2)];
                if self.chance(60) {
                    rest.push(b"ALPHA".to_vec());
                }
                if self.chance(30) {
                    rest.extend([b"LIMIT".to_vec(), self.of(SMALL), self.of(SMALL)]);
                }
                if self.chance(40) {
                    rest.extend([b"STORE".to_vec(), self.key()]);
                }
                self.with("SORT", k, rest)
            }
            _ if ordered => self.with("TYPE", k, vec![]),
            _ => self.with("HKEYS", k, vec![]),
        }
    }
}

/// A look at everything that a key may hold.
pub fn look() -> impl Iterator<Item = Op> {
    let commands: [&[&[u8]]; 5] = [
        &[b"TYPE"],
        &[b"HGETALL"],
        &[b"LRANGE", b"0", b"-1"],
        &[b"SMEMBERS"],
        &[b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
    ];
    keys().into_iter().flat_map(move |key| {
        commands.map(|words| {
            let mut args: Args = words.iter().map(|word| word.to_vec()).collect();
            args.insert(1, key.clone());
            Op { conn: 0, args }
        })
    })
}
