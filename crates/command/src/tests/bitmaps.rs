//! The bitmap family: replies, refusals in Redis's order, effects.

use crate::testing::{single, Fixture};
use resp::encode::Proto;
use state::GateKind;

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";
const OFFSET: &str = "-ERR bit offset is not an integer or out of range\r\n";
const BIT: &str = "-ERR bit is not an integer or out of range\r\n";
const TYPE: &str = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.\r\n";

#[test]
fn bits_are_set_and_read() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SETBIT k 1 1", ":0\r\n"),
        ("SETBIT k 1 1", ":1\r\n"),
        ("GET k", "$1\r\n@\r\n"),
        ("GETBIT k 1", ":1\r\n"),
        ("GETBIT k 0", ":0\r\n"),
        ("GETBIT k 100", ":0\r\n"),
        ("GETBIT none 5", ":0\r\n"),
        ("SETBIT k 23 0", ":0\r\n"),
        ("STRLEN k", ":3\r\n"),
        ("SET n 1", "+OK\r\n"),
        ("GETBIT n 2", ":1\r\n"),
        ("SETBIT n 6 1", ":0\r\n"),
        ("GET n", "$1\r\n3\r\n"),
        ("SETBIT n 6 0", ":1\r\n"),
        ("GET n", "$1\r\n1\r\n"),
        ("SETBIT n 6 2", BIT),
        ("SETBIT n 6 x", BIT),
        ("SETBIT n x 2", OFFSET),
        ("SETBIT n -1 1", OFFSET),
        ("SETBIT n 4294967296 1", OFFSET),
        ("GETBIT n 4294967295", ":0\r\n"),
        ("GETBIT n 4294967296", OFFSET),
    ]);
}

#[test]
fn bit_that_is_so_already_is_no_write() {
    let mut f = Fixture::new(single());
    f.line("SETBIT k 7 1");
    for line in ["SETBIT k 7 1", "SETBIT k 0 0", "BITFIELD k SET u8 0 1"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(f.outcome(&words).1.gate, GateKind::Read, "{line}");
    }
    // It becomes longer.
    assert_eq!(
        f.outcome(&["SETBIT", "k", "8", "0"]).1.gate,
        GateKind::Write
    );
}

#[test]
fn counts_in_ranges_of_bytes_and_bits() {
    let mut f = Fixture::new(single());
    f.line("SET k foobar");
    f.expect(&[
        ("BITCOUNT k", ":26\r\n"),
        ("BITCOUNT none", ":0\r\n"),
        ("BITCOUNT none 0 -1 BIT", ":0\r\n"),
        ("BITCOUNT k 0 0", ":4\r\n"),
        ("BITCOUNT k 1 1 byte", ":6\r\n"),
        ("BITCOUNT k -2 -1", ":7\r\n"),
        ("BITCOUNT k -1 -2", ":0\r\n"),
        ("BITCOUNT k -100 -200", ":0\r\n"),
        ("BITCOUNT k -100 -10", ":4\r\n"),
        ("BITCOUNT k 5 30 BIT", ":17\r\n"),
        ("BITCOUNT k 0 -1 bit", ":26\r\n"),
        ("BITCOUNT k 7 7 BIT", ":0\r\n"),
        ("BITCOUNT k 6 5", ":0\r\n"),
        ("BITCOUNT k 0", SYNTAX),
        ("BITCOUNT k 0 1 BITS", SYNTAX),
        ("BITCOUNT k 0 1 BIT 1", SYNTAX),
        ("BITCOUNT k x 1 BITS", NOT_INT),
        ("BITCOUNT k 0 x BITS", NOT_INT),
        ("BITCOUNT k 0 9223372036854775807 BIT", ":26\r\n"),
        (
            "BITCOUNT k -9223372036854775808 9223372036854775807",
            ":26\r\n",
        ),
    ]);
}

#[test]
fn finds_bits_in_ranges() {
    let mut f = Fixture::new(single());
    f.run(&[b"SET", &b"k"[..], b"\x00\xff\xf0"]);
    f.run(&[b"SET", &b"ones"[..], b"\xff\xff\xff"]);
    f.line("SET empty ");
    f.expect(&[
        ("BITPOS k 1", ":8\r\n"),
        ("BITPOS k 0", ":0\r\n"),
        ("BITPOS k 0 1", ":20\r\n"),
        ("BITPOS k 0 1 1", ":-1\r\n"),
        ("BITPOS k 1 0 0", ":-1\r\n"),
        ("BITPOS k 1 10 19 BIT", ":10\r\n"),
        ("BITPOS k 0 10 19 BIT", ":-1\r\n"),
        ("BITPOS k 0 10 20 BIT", ":20\r\n"),
        ("BITPOS ones 0", ":24\r\n"),
        ("BITPOS ones 0 1", ":24\r\n"),
        ("BITPOS ones 0 0 -1", ":-1\r\n"),
        ("BITPOS ones 0 5", ":-1\r\n"),
        ("BITPOS empty 0", ":-1\r\n"),
        ("BITPOS empty 1", ":-1\r\n"),
        ("BITPOS none 0", ":0\r\n"),
        ("BITPOS none 1", ":-1\r\n"),
        ("BITPOS none 0 5 6", ":0\r\n"),
        ("BITPOS k 2", "-ERR The bit argument must be 1 or 0.\r\n"),
        ("BITPOS k x", NOT_INT),
        ("BITPOS k 1 x", NOT_INT),
        ("BITPOS k 1 0 x", NOT_INT),
        ("BITPOS k 1 0 x WORD", SYNTAX),
        ("BITPOS k 1 0 1 BIT 1", SYNTAX),
    ]);
}

#[test]
fn strings_are_combined() {
    let mut f = Fixture::new(single());
    f.line("SET a abc");
    f.line("SET b ab");
    f.line("SET n 12");
    f.expect(&[
        ("BITOP AND d a b", ":3\r\n"),
        ("GET d", "$3\r\nab\0\r\n"),
        ("BITOP or d a n", ":3\r\n"),
        ("GET d", "$3\r\nqrc\r\n"),
        ("BITOP XOR d a a", ":3\r\n"),
        ("GET d", "$3\r\n\0\0\0\r\n"),
        ("BITOP NOT n n", ":2\r\n"),
        ("SET d x EX 100", "+OK\r\n"),
        ("BITOP OR d none a", ":3\r\n"),
        ("TTL d", ":-1\r\n"),
        ("BITOP AND d none b", ":2\r\n"),
        ("GET d", "$2\r\n\0\0\r\n"),
        ("BITOP NOT d none", ":0\r\n"),
        ("EXISTS d", ":0\r\n"),
        ("BITOP XOR d none gone", ":0\r\n"),
        (
            "BITOP NOT d a b",
            "-ERR BITOP NOT must be called with a single source key.\r\n",
        ),
        ("BITOP NAND d a b", SYNTAX),
        (
            "BITOP AND d",
            "-ERR wrong number of arguments for 'bitop' command\r\n",
        ),
    ]);
}

#[test]
fn fields_are_read_and_changed() {
    let mut f = Fixture::new(single());
    f.expect(&[
        (
            "BITFIELD k SET u8 0 255 GET i8 0 GET u4 4",
            "*3\r\n:0\r\n:-1\r\n:15\r\n",
        ),
        ("BITFIELD k INCRBY u8 #0 10", "*1\r\n:9\r\n"),
        (
            "BITFIELD k OVERFLOW SAT INCRBY u8 #0 1000 OVERFLOW WRAP INCRBY u8 0 2",
            "*2\r\n:255\r\n:1\r\n",
        ),
        (
            "BITFIELD k OVERFLOW fail INCRBY i8 0 127 SET i8 0 127 INCRBY i8 0 1",
            "*3\r\n$-1\r\n:1\r\n$-1\r\n",
        ),
        ("BITFIELD k OVERFLOW SAT SET u4 0 -5", "*1\r\n:7\r\n"),
        ("BITFIELD k GET u4 0", "*1\r\n:15\r\n"),
        ("BITFIELD k SET i64 3 -2", "*1\r\n:-576460752303423488\r\n"),
        (
            "BITFIELD k OVERFLOW SAT INCRBY i64 3 -9223372036854775808",
            "*1\r\n:-9223372036854775808\r\n",
        ),
        (
            "BITFIELD k INCRBY i64 3 -1",
            "*1\r\n:9223372036854775807\r\n",
        ),
        ("STRLEN k", ":9\r\n"),
        ("BITFIELD k", "*0\r\n"),
        ("BITFIELD none GET u8 1000", "*1\r\n:0\r\n"),
        ("EXISTS none", ":0\r\n"),
        ("BITFIELD_RO k GET u63 0", "*1\r\n:8646911284551352319\r\n"),
        (
            "BITFIELD_RO k SET u8 0 1",
            "-ERR BITFIELD_RO only supports the GET subcommand\r\n",
        ),
        ("BITFIELD k GET u64 0", TYPE),
        ("BITFIELD k GET i65 0", TYPE),
        ("BITFIELD k GET x8 0", TYPE),
        ("BITFIELD k GET u 0", TYPE),
        ("BITFIELD k GET u8 x", OFFSET),
        ("BITFIELD k GET u8 -1", OFFSET),
        ("BITFIELD k GET u8 #-1", OFFSET),
        ("BITFIELD k GET u8 4294967295", "*1\r\n:0\r\n"),
        ("BITFIELD k GET u8 4294967296", OFFSET),
        ("BITFIELD k SET u8 0 x", NOT_INT),
        ("BITFIELD k GET u8", SYNTAX),
        ("BITFIELD k SET u8 0", SYNTAX),
        ("BITFIELD k OVERFLOW", SYNTAX),
        (
            "BITFIELD k OVERFLOW NEVER",
            "-ERR Invalid OVERFLOW type specified\r\n",
        ),
        ("BITFIELD k SET u8 0 1 FLIP", SYNTAX),
    ]);
    f.session.proto = Proto::Resp3;
    f.expect(&[("BITFIELD k OVERFLOW FAIL SET u1 0 7", "*1\r\n_\r\n")]);
}

/// What Redis 7.4.1 answers.
#[test]
fn set_far_below_saturates_at_the_upper_end() {
    let mut f = Fixture::new(single());
    f.expect(&[
        (
            "BITFIELD k OVERFLOW SAT SET i16 0 -9223372036854775808 GET i16 0",
            "*2\r\n:0\r\n:32767\r\n",
        ),
        (
            "BITFIELD k OVERFLOW SAT SET i16 0 -40000 GET i16 0",
            "*2\r\n:32767\r\n:-32768\r\n",
        ),
        (
            "BITFIELD k SET i16 0 -9223372036854775808 GET i16 0",
            "*2\r\n:-32768\r\n:0\r\n",
        ),
    ]);
}

#[test]
fn failed_field_makes_the_string_longer() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("BITFIELD k OVERFLOW FAIL SET u8 24 256", "*1\r\n$-1\r\n"),
        ("STRLEN k", ":4\r\n"),
    ]);
}

#[test]
fn keys_of_bitfield_say_whether_it_writes() {
    use crate::key_spec::KeyFlags;
    for (line, writes) in [
        ("BITFIELD k", false),
        ("BITFIELD k GET u8 0 OVERFLOW SAT GET u8 0", false),
        ("BITFIELD k GET u8 0 SET u8 0 1", true),
        ("BITFIELD k INCRBY u8 0 1", true),
        ("BITFIELD k GET u8", true),
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let row = crate::table().get(b"bitfield").expect("it is there");
        let mut seen = Vec::new();
        let mut see = |index, flags: KeyFlags| seen.push((index, flags.has(KeyFlags::RW)));
        let args = resp::args::Args::from(&words[..]);
        row.spec.keys_and_flags(args, &mut see).expect("keys");
        assert_eq!(seen, [(1, writes)], "{line}");
    }
}
