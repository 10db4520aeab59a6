//! Seeded random sequences of the commands that are implemented.
//!
//! Few keys, so that commands meet; edge values more often than ordinary ones; expiry only far
//! away or already past, so that no reply depends on how fast the machine is. Inside MULTI nothing
//! is drawn whose reply depends on time or on the order of a hash table.

use crate::common::resp::show;
use crate::dump::GOOD;
use crate::elements::look;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub type Args = Vec<Vec<u8>>;

#[derive(Clone, Debug)]
pub struct Op {
    pub conn: usize,
    pub args: Args,
}

impl Op {
    pub fn new(conn: usize, words: &[&str]) -> Op {
        Op {
            conn,
            args: words.iter().map(|w| w.as_bytes().to_vec()).collect(),
        }
    }

    /// The command as `redis-cli` would take it.
    pub fn line(&self) -> String {
        let quote = |arg: &Vec<u8>| {
            let plain = !arg.is_empty() && arg.iter().all(|b| b.is_ascii_graphic() && *b != b'"');
            if plain && arg.len() < 300 {
                show(arg)
            } else {
                format!("\"{}\"", show(arg))
            }
        };
        self.args.iter().map(quote).collect::<Vec<_>>().join(" ")
    }
}

pub const CONNECTIONS: usize = 3;

const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "-7",
    "100",
    "9223372036854775807",
    "9223372036854775806",
    "-9223372036854775808",
    "-9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "99999999999999999999999",
    "007",
    "-0",
    "+1",
    " 1",
    "1 ",
    "1.0",
    "abc",
    "",
];
const FLOATS: &[&str] = &[
    "1",
    "-1",
    "0.1",
    "1.5",
    "-2.25",
    "3.0e3",
    "1e-5",
    "1e17",
    "1e20",
    "0.000000000000000001",
    "123456789.123456789",
    "1e300",
    "1e400",
    "-0",
    "0",
    "nan",
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "0x10",
    "1e",
    "e1",
    ".5",
    "5.",
    " 1",
    "1 ",
    "abc",
    "",
    "-1.5",
    "17179869184.5",
    "9007199254740993",
];
const SECONDS: &[&str] = &[
    "100",
    "1000",
    "86400",
    "100000000",
    "0",
    "-1",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775",
    "9223372036854775808",
    "abc",
    "",
    "1.5",
    "10 ",
];
const UNIX_SECONDS: &[&str] = &[
    "4102444800",
    "4102444801",
    "7258118400",
    "1",
    "1000000000",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775808",
    "abc",
    "",
];
const UNIX_MS: &[&str] = &[
    "4102444800000",
    "4102444800001",
    "7258118400499",
    "7258118400500",
    "1",
    "1000000000000",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
];
const MS: &[&str] = &[
    "100000",
    "1000000",
    "86400000",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372000000000000",
    "abc",
    "",
    "1.5",
];
const INDEXES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "100",
    "-1",
    "-2",
    "-3",
    "-10",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "1.0",
];
const PATTERNS: &[&str] = &[
    "*", "k*", "?1", "k[1-3]", "k[^1]", "k\\1", "[", "k[", "[k]?", "**", "nomatch", "", "*\\",
    "h[a-c]*", "k[3-1]", "k[\\1]", "\\*", "?", "k**1", "[^k]*",
];

/// What a sequence has beside strings and keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Strings,
    /// Commands on bits, HyperLogLogs and databases. It watches no key: 7.0 takes a SETBIT that changes nothing for a change.
    Bits,
    /// Values with elements. It watches no key: what changes nothing is a change for some commands of Redis.
    Elements,
}

pub struct Generator {
    pub rng: StdRng,
    in_multi: [bool; CONNECTIONS],
    mix: Mix,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            rng: StdRng::seed_from_u64(seed),
            in_multi: [false; CONNECTIONS],
            mix: Mix::Strings,
        }
    }

    /// `len` commands and a look at everything that they can have left behind.
    pub fn sequence(&mut self, len: usize, resp3: bool, one_connection: bool) -> Vec<Op> {
        self.in_multi = [false; CONNECTIONS];
        self.mix = [Mix::Strings, Mix::Bits, Mix::Elements][self.rng.gen_range(0..3)];
        let mut ops = Vec::new();
        if resp3 {
            ops.extend((0..CONNECTIONS).map(|conn| Op::new(conn, &["HELLO", "3"])));
        }
        let connections = if one_connection { 1 } else { CONNECTIONS };
        for _ in 0..len {
            // Mostly the first connection; the others are there to disturb WATCH and MULTI.
            let conn = if self.chance(70) {
                0
            } else {
                self.rng.gen_range(0..connections)
            };
            let args = self.command(conn);
            ops.push(Op { conn, args });
        }
        ops.push(Op::new(0, &["RESET"]));
        for db in ["0", "1"] {
            ops.push(Op::new(0, &["SELECT", db]));
            ops.push(Op::new(0, &["DBSIZE"]));
            ops.push(Op::new(0, &["KEYS", "*"]));
            for key in keys() {
                ops.push(Op {
                    conn: 0,
                    args: vec![b"GET".to_vec(), key.clone()],
                });
                ops.push(Op {
                    conn: 0,
                    args: vec![b"TTL".to_vec(), key],
                });
            }
            ops.extend(look());
        }
        ops
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.gen_range(0..100) < percent
    }

    pub fn of(&mut self, words: &[&str]) -> Vec<u8> {
        words[self.rng.gen_range(0..words.len())]
            .as_bytes()
            .to_vec()
    }

    /// Usually one of the first `good` words, sometimes any.
    pub fn mostly(&mut self, words: &[&str], good: usize) -> Vec<u8> {
        if self.chance(75) {
            self.of(&words[..good])
        } else {
            self.of(words)
        }
    }

    pub fn key(&mut self) -> Vec<u8> {
        let all = keys();
        let at = if self.chance(80) {
            self.rng.gen_range(0..4)
        } else {
            self.rng.gen_range(0..all.len())
        };
        all[at].clone()
    }

    pub fn value(&mut self) -> Vec<u8> {
        match self.rng.gen_range(0..12) {
            0..=3 => self.of(INTS),
            4 | 5 => self.of(FLOATS),
            6 => self
                .rng
                .gen_range(-100_000i64..100_000)
                .to_string()
                .into_bytes(),
            7 => (0..self.rng.gen_range(0..24))
                .map(|_| self.rng.gen())
                .collect(),
            8 => vec![b'x'; [11, 12, 43, 44, 45, 64, 100, 600][self.rng.gen_range(0..8)]],
            9 => b"a\r\nb\0c".to_vec(),
            _ => self.of(&["", "a", "hello", "hello world", "value"]),
        }
    }

    pub fn keyword(&mut self, word: &str) -> Vec<u8> {
        match self.rng.gen_range(0..4) {
            0 => word.to_lowercase().into_bytes(),
            1 => word
                .bytes()
                .enumerate()
                .map(|(i, b)| {
                    if i % 2 == 0 {
                        b.to_ascii_lowercase()
                    } else {
                        b
                    }
                })
                .collect(),
            _ => word.as_bytes().to_vec(),
        }
    }

    fn command(&mut self, conn: usize) -> Args {
        let mut args = match self.rng.gen_range(0..100) {
            0..=35 if self.mix == Mix::Bits => self.bit_command(),
            0..=44 if self.mix == Mix::Elements => {
                let ordered = self.in_multi[conn];
                self.element_command(ordered)
            }
            0..=44 => self.string_command(),
            45..=72 => self.key_command(conn),
            73..=87 => self.transaction_command(conn),
            _ => self.connection_command(conn),
        };
        let name = args[0].to_ascii_uppercase();
        // A WAIT for replicas that never come would stop the test, and an odd HELLO or CLIENT can
        // change what the other end may be asked.
        let fragile: &[&[u8]] = &[
            b"WAIT",
            b"HELLO",
            b"CLIENT",
            b"MULTI",
            b"EXEC",
            b"DISCARD",
            b"RESET",
            // 7.0 looks for the key before it looks at the range.
            b"BITCOUNT",
            // WITHSCORE is new in 7.2.
            b"ZRANK",
            b"ZREVRANK",
            b"BITPOS",
        ];
        if !fragile.contains(&name.as_slice()) && self.chance(5) {
            self.spoil(&mut args);
        }
        if self.chance(10) {
            let name = String::from_utf8_lossy(&args[0]).into_owned();
            args[0] = self.keyword(&name);
        }
        args
    }

    fn spoil(&mut self, args: &mut Args) {
        match self.rng.gen_range(0..5) {
            0 if args.len() > 1 => drop(args.pop()),
            // A number would be the time that a command waits, and that may be hours.
            1 if !ends_with_time(&args[0]) => args.push(self.value()),
            1 | 2 => {
                let key = self.key();
                args.push(key)
            }
            3 => args[0].push(b'x'),
            _ => args.truncate(1),
        }
    }

    pub fn words(&mut self, name: &str, rest: Vec<Vec<u8>>) -> Args {
        let mut args = vec![name.as_bytes().to_vec()];
        args.extend(rest);
        args
    }

    fn string_command(&mut self) -> Args {
        let (k, v) = (self.key(), self.value());
        match self.rng.gen_range(0..26) {
            0..=4 => self.set_with_options(k, v),
            5 | 6 => self.words("GET", vec![k]),
            7 => self.many("MGET", 1),
            8 => self.many("MSET", 2),
            9 => self.many("MSETNX", 2),
            10 => self.words("SETNX", vec![k, v]),
            11 => {
                let t = self.mostly(SECONDS, 3);
                self.words("SETEX", vec![k, t, v])
            }
            12 => {
                let t = self.mostly(MS, 3);
                self.words("PSETEX", vec![k, t, v])
            }
            13 => self.words("GETSET", vec![k, v]),
            14 => self.words("GETDEL", vec![k]),
            15 => self.getex(k),
            16 => self.words("APPEND", vec![k, v]),
            17 => self.words("STRLEN", vec![k]),
            18 => self.words("INCR", vec![k]),
            19 => self.words("DECR", vec![k]),
            20 | 21 => {
                let n = self.mostly(INTS, 11);
                let name = if self.chance(50) { "INCRBY" } else { "DECRBY" };
                self.words(name, vec![k, n])
            }
            22 | 23 => {
                let f = self.mostly(FLOATS, 11);
                self.words("INCRBYFLOAT", vec![k, f])
            }
            24 => {
                let (from, to) = (self.mostly(INDEXES, 12), self.mostly(INDEXES, 12));
                let name = if self.chance(85) {
                    "GETRANGE"
                } else {
                    "SUBSTR"
                };
                self.words(name, vec![k, from, to])
            }
            _ => {
                let offset = self.of(&[
                    "0",
                    "1",
                    "5",
                    "20",
                    "63",
                    "-1",
                    "536870912",
                    "9223372036854775807",
                    "x",
                    "",
                ]);
                self.words("SETRANGE", vec![k, offset, v])
            }
        }
    }

    /// A command over one to four keys, each followed by a value where `width` is 2.
    pub fn many(&mut self, name: &str, width: usize) -> Args {
        let mut rest = Vec::new();
        for _ in 0..self.rng.gen_range(1..5) {
            rest.push(self.key());
            if width == 2 {
                rest.push(self.value());
            }
        }
        self.words(name, rest)
    }

    fn expiry_option(&mut self) -> Vec<Vec<u8>> {
        let (word, time) = match self.rng.gen_range(0..4) {
            0 => ("EX", self.mostly(SECONDS, 4)),
            1 => ("PX", self.mostly(MS, 3)),
            2 => ("EXAT", self.mostly(UNIX_SECONDS, 5)),
            _ => ("PXAT", self.mostly(UNIX_MS, 6)),
        };
        let mut option = vec![self.keyword(word)];
        if !self.chance(3) {
            option.push(time);
        }
        option
    }

    fn set_with_options(&mut self, k: Vec<u8>, v: Vec<u8>) -> Args {
        let mut rest = vec![k, v];
        let options = [0, 0, 1, 1, 1, 2, 2, 3][self.rng.gen_range(0..8)];
        for _ in 0..options {
            match self.rng.gen_range(0..9) {
                0 | 1 => rest.push(self.keyword("NX")),
                2 | 3 => rest.push(self.keyword("XX")),
                4 => rest.push(self.keyword("GET")),
                5 => rest.push(self.keyword("KEEPTTL")),
                _ => rest.extend(self.expiry_option()),
            }
        }
        self.words("SET", rest)
    }

    fn getex(&mut self, k: Vec<u8>) -> Args {
        let mut rest = vec![k];
        match self.rng.gen_range(0..6) {
            0 => {}
            1 => rest.push(self.keyword("PERSIST")),
            2 => {
                rest.extend(self.expiry_option());
                rest.push(self.keyword("PERSIST"));
            }
            _ => rest.extend(self.expiry_option()),
        }
        self.words("GETEX", rest)
    }

    fn key_command(&mut self, conn: usize) -> Args {
        let k = self.key();
        match self.rng.gen_range(0..29) {
            // A set's encoding is another one since 7.2.
            26 if !self.in_multi[conn] && self.mix != Mix::Elements => self.words("DUMP", vec![k]),
            27 | 28 => self.restore(k),
            0 | 1 => self.many("DEL", 1),
            2 => self.many("UNLINK", 1),
            3 => self.many("EXISTS", 1),
            4 => self.many("TOUCH", 1),
            5 => self.words("TYPE", vec![k]),
            6..=10 => self.expire(k),
            11 | 12 => self.words("TTL", vec![k]),
            13 if !self.in_multi[conn] => self.words("PTTL", vec![k]),
            14 if !self.in_multi[conn] => self.words("EXPIRETIME", vec![k]),
            15 if !self.in_multi[conn] => self.words("PEXPIRETIME", vec![k]),
            16 | 17 => self.words("PERSIST", vec![k]),
            18 if !self.in_multi[conn] => {
                let p = self.of(PATTERNS);
                self.words("KEYS", vec![p])
            }
            19 | 20 if !self.in_multi[conn] => self.scan(),
            21 if !self.in_multi[conn] => self.words("RANDOMKEY", vec![]),
            22 | 23 => {
                let to = self.key();
                let name = if self.chance(50) {
                    "RENAME"
                } else {
                    "RENAMENX"
                };
                self.words(name, vec![k, to])
            }
            24 if !self.in_multi[conn] => self.words("DBSIZE", vec![]),
            _ => {
                let name = if self.chance(50) {
                    "FLUSHDB"
                } else {
                    "FLUSHALL"
                };
                let rest = match self.rng.gen_range(0..4) {
                    0 => vec![],
                    1 => vec![self.keyword("SYNC")],
                    2 => vec![self.keyword("ASYNC")],
                    _ => vec![b"LATER".to_vec()],
                };
                self.words(name, rest)
            }
        }
    }

    fn expire(&mut self, k: Vec<u8>) -> Args {
        let (name, time) = match self.rng.gen_range(0..4) {
            0 => ("EXPIRE", self.mostly(SECONDS, 4)),
            1 => ("PEXPIRE", self.mostly(MS, 3)),
            2 => ("EXPIREAT", self.mostly(UNIX_SECONDS, 5)),
            _ => ("PEXPIREAT", self.mostly(UNIX_MS, 6)),
        };
        let mut rest = vec![k, time];
        let options = [0, 0, 1, 1, 2][self.rng.gen_range(0..5)];
        for _ in 0..options {
            let word = self.of(&["NX", "XX", "GT", "LT", "nx", "gt", "ZZ"]);
            rest.push(word);
        }
        let compares = rest
            .iter()
            .any(|w| w.eq_ignore_ascii_case(b"GT") || w == b"LT");
        if compares && !name.ends_with("AT") && rest[1].len() >= 3 {
            // "In 100 s" twice is the same moment or not, as the clock will have it: no two of
            // these are near each other.
            let time = self.rng.gen_range(200..900_000u64) * 1000 + 500;
            rest[1] = time.to_string().into_bytes();
        }
        self.words(name, rest)
    }

    /// A time that is not absolute is never so far away that its sum with now wraps around: there the
    /// two differ (docs/DIFFERENCES.md).
    fn restore(&mut self, k: Vec<u8>) -> Args {
        let mut payload = GOOD[self.rng.gen_range(0..GOOD.len())].to_vec();
        if self.chance(10) {
            let at = self.rng.gen_range(0..payload.len());
            payload[at] ^= 1 << self.rng.gen_range(0..8);
        }
        let absolute = self.chance(40);
        let ttl = if absolute {
            self.mostly(UNIX_MS, 6)
        } else {
            let near = &["0", "0", "100000", "86400000", "-1", "x", "", "1.5", "+1"];
            self.mostly(near, 4)
        };
        let mut rest = vec![k, ttl, payload];
        if absolute {
            rest.push(self.keyword("ABSTTL"));
        }
        if self.chance(60) {
            rest.push(self.keyword("REPLACE"));
        }
        if self.chance(30) {
            let word = if self.chance(50) { "IDLETIME" } else { "FREQ" };
            rest.push(self.keyword(word));
            rest.push(self.of(&["0", "1", "255", "256", "-1", "x", "1000000"]));
        }
        if self.chance(5) {
            let word = self.of(&["IDLETIME", "FREQ", "NX", ""]);
            rest.push(word);
        }
        let name = if self.chance(85) {
            "RESTORE"
        } else {
            "RESTORE-ASKING"
        };
        self.words(name, rest)
    }

    /// Without a cursor: the runner iterates to the end and compares what came as a set.
    fn scan(&mut self) -> Args {
        let mut rest = Vec::new();
        if self.chance(50) {
            rest.push(self.keyword("MATCH"));
            rest.push(self.of(PATTERNS));
        }
        if self.chance(50) {
            rest.push(self.keyword("COUNT"));
            rest.push(self.of(&["1", "2", "10", "100", "0", "-1", "x"]));
        }
        if self.chance(30) {
            rest.push(self.keyword("TYPE"));
            rest.push(self.of(&["string", "STRING", "list", "hash", "nosuchtype"]));
        }
        self.words("SCAN", rest)
    }

    fn transaction_command(&mut self, conn: usize) -> Args {
        if self.in_multi[conn] && self.chance(60) {
            return match self.mix {
                Mix::Bits => self.bit_command(),
                Mix::Elements => self.element_command(true),
                Mix::Strings => self.string_command(),
            };
        }
        match self.rng.gen_range(0..12) {
            0..=3 => {
                self.in_multi[conn] = true;
                self.words("MULTI", vec![])
            }
            4..=7 => {
                self.in_multi[conn] = false;
                self.words("EXEC", vec![])
            }
            8 => {
                self.in_multi[conn] = false;
                self.words("DISCARD", vec![])
            }
            9 | 10 if self.mix == Mix::Strings => self.many("WATCH", 1),
            _ => self.words("UNWATCH", vec![]),
        }
    }

    fn connection_command(&mut self, conn: usize) -> Args {
        let v = self.value();
        let free = !self.in_multi[conn];
        match self.rng.gen_range(0..18) {
            0 | 1 => self.words("PING", vec![]),
            2 => self.words("PING", vec![v]),
            3 => self.words("ECHO", vec![v]),
            4..=6 => {
                let db = self.of(&[
                    "0",
                    "0",
                    "0",
                    "1",
                    "1",
                    "15",
                    "16",
                    "-1",
                    "abc",
                    "",
                    "99999999999",
                ]);
                self.words("SELECT", vec![db])
            }
            7 => self.words("CLIENT", vec![b"GETNAME".to_vec()]),
            8 => {
                let name = self.of(&["conn-1", "", "a b", "x\n", "name:with:colons"]);
                self.words("CLIENT", vec![b"SETNAME".to_vec(), name])
            }
            9 => {
                let sub = self.of(&["NOSUCH", "ID", "SETNAME", "GETNAME", "", "KILL", "REPLY"]);
                let sub = if free || sub != b"ID" {
                    sub
                } else {
                    b"NOSUCH".to_vec()
                };
                let rest = if sub == b"ID" || sub == b"GETNAME" {
                    vec![sub]
                } else {
                    vec![sub, b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]
                };
                self.words("CLIENT", rest)
            }
            // An EXEC in which a password is wrong Redis since 7.2 leaves without a reply now and then.
            10 if free => self.words("AUTH", vec![v]),
            11 if free => self.words("AUTH", vec![b"default".to_vec(), v]),
            12 if free => self.hello(),
            13 => {
                let (n, t) = (
                    self.of(&["0", "-1", "abc"]),
                    self.of(&["0", "1", "-1", "x"]),
                );
                self.words("WAIT", vec![n, t])
            }
            14 if free => self.words("TIME", vec![]),
            15 if free => self.words("ROLE", vec![]),
            16 if self.chance(30) => {
                self.in_multi[conn] = false;
                self.words("RESET", vec![])
            }
            _ => {
                let name = self.of(&["NOSUCHCOMMAND", "foo\r\nbar", "GETT", "", "se t", "HGETAL"]);
                let mut args = vec![name];
                args.extend((0..self.rng.gen_range(0..4)).map(|_| v.clone()));
                args
            }
        }
    }

    fn hello(&mut self) -> Args {
        let rest: &[&str] = match self.rng.gen_range(0..8) {
            0 => &[],
            1 => &["4"],
            2 => &["abc"],
            3 => &["3", "SETNAME", "x"],
            4 => &["3", "SETNAME", "x y"],
            5 => &["3", "AUTH", "nobody", "x"],
            6 => &["3", "AUTH", "nobody"],
            _ => &["2"],
        };
        let rest = rest.iter().map(|w| w.as_bytes().to_vec()).collect();
        self.words("HELLO", rest)
    }
}

/// The keys of all sequences: plain, a hash tag, binary, empty, long.
/// Whether the last argument of a command is how long it waits.
fn ends_with_time(name: &[u8]) -> bool {
    let names = [
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BLMOVE",
        "BZPOPMIN",
        "BZPOPMAX",
    ];
    names
        .iter()
        .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

pub fn keys() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["k1", "k2", "k3", "k4", "{tag}a", "hallo", "hello", ""]
        .iter()
        .map(|k| k.as_bytes().to_vec())
        .collect();
    all.push(b"bin\0\r\n\xff".to_vec());
    all.push(vec![b'L'; 300]);
    all
}
