//! The sorted set family.

use crate::testing::{session, single, Fixture};
use keyspace::Limits;
use resp::encode::Proto;

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const NOT_A_FLOAT: &str = "-ERR value is not a valid float\r\n";
const BOUND: &str = "-ERR min or max is not a float\r\n";
const LEX_BOUND: &str = "-ERR min or max not valid string range item\r\n";

fn fixture() -> Fixture {
    Fixture::new(single())
}

/// A fixture for each form: of what the lines add, packed and as a table.
fn both_forms(lines: &[&str]) -> [Fixture; 2] {
    [128, 0].map(|entries| {
        let mut f = fixture();
        f.data.keyspace_mut().set_limits(Limits {
            zset_entries: entries,
            ..Limits::default()
        });
        for line in lines {
            f.line(line);
        }
        f
    })
}

/// An array of bulk strings.
fn array(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').filter(|w| !w.is_empty()).collect();
    let bulks = words.iter().map(|w| format!("${}\r\n{w}\r\n", w.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}

#[test]
fn members_get_scores() {
    let mut f = fixture();
    f.expect(&[
        ("ZADD z 1 a 2.5 b", ":2\r\n"),
        ("TYPE z", "+zset\r\n"),
        ("OBJECT ENCODING z", "$8\r\nlistpack\r\n"),
        ("ZADD z 1 a 3 b", ":0\r\n"),
        ("ZADD z CH 1 a 4 b 5 c", ":2\r\n"),
        ("ZADD z NX 9 a 9 d", ":1\r\n"),
        ("ZADD z XX CH 7 a 7 e", ":1\r\n"),
        ("ZADD z GT CH 6 a 8 b 1 f", ":2\r\n"),
        ("ZADD z LT CH 6 a 9 b 0 f", ":2\r\n"),
        ("ZADD z INCR 1 a", "$1\r\n7\r\n"),
        ("ZADD z NX INCR 1 a", "$-1\r\n"),
        ("ZADD z XX INCR 1 none", "$-1\r\n"),
        ("ZADD z GT INCR -1 a", "$-1\r\n"),
        ("ZADD none XX 1 a", ":0\r\n"),
        ("EXISTS none", ":0\r\n"),
        ("ZADD z CH 1 g 2 g 2 g", ":2\r\n"),
        ("ZSCORE z g", "$1\r\n2\r\n"),
        ("ZSCORE z none", "$-1\r\n"),
        ("ZSCORE none a", "$-1\r\n"),
        ("ZINCRBY z 0.5 g", "$3\r\n2.5\r\n"),
        ("ZINCRBY z 3 new", "$1\r\n3\r\n"),
        ("ZCARD z", ":7\r\n"),
        ("ZCARD none", ":0\r\n"),
        ("ZMSCORE z a none b", "*3\r\n$1\r\n7\r\n$-1\r\n$1\r\n8\r\n"),
        ("ZMSCORE none a", "*1\r\n$-1\r\n"),
        ("ZREM z a none b a", ":2\r\n"),
        ("ZREM z c d f g new", ":5\r\n"),
        ("EXISTS z", ":0\r\n"),
        ("ZREM z a", ":0\r\n"),
    ]);
}

#[test]
fn wrong_options_of_zadd_are_told() {
    let mut f = fixture();
    f.line("ZADD z inf a");
    f.expect(&[
        (
            "ZADD z 1",
            "-ERR wrong number of arguments for 'zadd' command\r\n",
        ),
        ("ZADD z 1 a 2", SYNTAX),
        ("ZADD z NX 1", SYNTAX),
        (
            "ZADD z nx xx 1 a",
            "-ERR XX and NX options at the same time are not compatible\r\n",
        ),
        (
            "ZADD z gt nx x a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        ),
        (
            "ZADD z gt lt 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        ),
        (
            "ZADD z incr 1 a 2 b",
            "-ERR INCR option supports a single increment-element pair\r\n",
        ),
        ("ZADD z x a", NOT_A_FLOAT),
        ("ZADD z nan a", NOT_A_FLOAT),
        ("ZADD z 1e400 a", NOT_A_FLOAT),
        ("ZADD z 1 b x a", NOT_A_FLOAT),
        ("ZINCRBY z x a", NOT_A_FLOAT),
        ("ZINCRBY z nx a", SYNTAX),
        (
            "ZINCRBY z -inf a",
            "-ERR resulting score is not a number (NaN)\r\n",
        ),
        (
            "ZADD z incr -inf a",
            "-ERR resulting score is not a number (NaN)\r\n",
        ),
        ("ZCARD z", ":1\r\n"),
    ]);
}

#[test]
fn scores_are_printed_as_redis_does() {
    for mut f in both_forms(&[]) {
        for (given, printed) in [
            ("0.1", "0.1"),
            ("1e3", "1000"),
            ("0x10", "16"),
            ("-inf", "-inf"),
            ("+Inf", "inf"),
            ("1.0000000000000002", "1.0000000000000002"),
            ("1e21", "1e+21"),
            ("123456789012345678", "123456789012345680"),
            ("-0", "-0"),
            ("3.0", "3"),
            ("1e-7", "1e-7"),
        ] {
            assert_eq!(f.line(&format!("ZADD z {given} m")), ":1\r\n", "{given}");
            assert_eq!(f.line("ZSCORE z m"), array(printed)[4..], "{given}");
            f.line("DEL z");
        }
    }
}

#[test]
fn another_type_is_refused() {
    let mut f = fixture();
    f.line("SET s x");
    f.line("ZADD z 1 a");
    for line in [
        "ZADD s 1 a",
        "ZCARD s",
        "ZCOUNT s 0 1",
        "ZDIFF 1 s",
        "ZDIFF 2 z s",
        "ZDIFFSTORE d 1 s",
        "ZINCRBY s 1 a",
        "ZINTER 1 s",
        "ZINTERCARD 1 s",
        "ZINTERSTORE d 2 z s",
        "ZLEXCOUNT s - +",
        "ZMPOP 2 none s MIN",
        "ZMSCORE s a",
        "ZPOPMAX s",
        "ZPOPMIN s 1",
        "ZRANDMEMBER s",
        "ZRANDMEMBER s 1",
        "ZRANGE s 0 1",
        "ZRANGEBYLEX s - +",
        "ZRANGEBYSCORE s 0 1",
        "ZRANGESTORE d s 0 1",
        "ZRANK s a",
        "ZREM s a",
        "ZREMRANGEBYLEX s - +",
        "ZREMRANGEBYRANK s 0 1",
        "ZREMRANGEBYSCORE s 0 1",
        "ZREVRANGE s 0 1",
        "ZREVRANGEBYLEX s + -",
        "ZREVRANGEBYSCORE s 1 0",
        "ZREVRANK s a",
        "ZSCAN s 0",
        "ZSCORE s a",
        "ZUNION 1 s bad-option",
        "ZUNIONSTORE d 1 s",
        "GET z",
        "HGET z a",
    ] {
        assert_eq!(f.line(line), WRONG, "{line}");
    }
}

#[test]
fn ranges_are_read_both_ways() {
    for mut f in both_forms(&["ZADD z 1 a 2 b 2 bb 3 c inf d"]) {
        for (line, want) in [
            ("ZRANGE z 0 -1", "a b bb c d"),
            ("ZRANGE z 1 2", "b bb"),
            ("ZRANGE z -2 99", "c d"),
            ("ZRANGE z 3 1", ""),
            ("ZRANGE z 9 10", ""),
            ("ZRANGE z -99 -99", ""),
            ("ZRANGE none 0 -1", ""),
            ("ZRANGE z 0 1 REV", "d c"),
            ("ZREVRANGE z 0 -4", "d c"),
            ("ZREVRANGE z 1 2 WITHSCORES", "c 3 bb 2"),
            ("ZRANGE z 0 0 WITHSCORES", "a 1"),
            ("ZRANGE z 2 3 BYSCORE", "b bb c"),
            ("ZRANGE z 3 2 BYSCORE REV", "c bb b"),
            ("ZRANGE z (2 +inf BYSCORE", "c d"),
            ("ZRANGE z (2 (inf BYSCORE WITHSCORES", "c 3"),
            ("ZRANGE z 3 2 BYSCORE", ""),
            ("ZRANGE z -inf inf BYSCORE LIMIT 1 2", "b bb"),
            ("ZRANGE z inf -inf BYSCORE REV LIMIT 1 2", "c bb"),
            ("ZRANGE z -inf inf BYSCORE LIMIT 3 -1", "c d"),
            ("ZRANGE z -inf inf BYSCORE LIMIT 0 0", ""),
            ("ZRANGE z -inf inf BYSCORE LIMIT 9 1", ""),
            ("ZRANGE z -inf inf BYSCORE LIMIT -1 1", ""),
            ("ZRANGEBYSCORE z 1 (2", "a"),
            ("ZRANGEBYSCORE z 1 2 WITHSCORES LIMIT 0 2", "a 1 b 2"),
            ("ZREVRANGEBYSCORE z (3 1", "bb b a"),
            ("ZREVRANGEBYSCORE z +inf -inf LIMIT 0 1", "d"),
        ] {
            assert_eq!(f.line(line), array(want), "{line}");
        }
        f.expect(&[
            ("ZCOUNT z -inf +inf", ":5\r\n"),
            ("ZCOUNT z 2 (3", ":2\r\n"),
            ("ZCOUNT z 3 2", ":0\r\n"),
            ("ZCOUNT none 0 1", ":0\r\n"),
            ("ZRANK z bb", ":2\r\n"),
            ("ZREVRANK z bb", ":2\r\n"),
            ("ZREVRANK z a", ":4\r\n"),
            ("ZRANK z none", "$-1\r\n"),
            ("ZRANK none a", "$-1\r\n"),
            ("ZRANK z c WITHSCORE", "*2\r\n:3\r\n$1\r\n3\r\n"),
            ("ZREVRANK z d withscore", "*2\r\n:0\r\n$3\r\ninf\r\n"),
            ("ZRANK z none WITHSCORE", "*-1\r\n"),
            ("ZRANK none a WITHSCORE", "*-1\r\n"),
        ]);
    }
}

#[test]
fn ranges_of_members_are_read_both_ways() {
    for mut f in both_forms(&["ZADD z 0 a 0 b 0 bb 0 c 0 10"]) {
        for (line, want) in [
            ("ZRANGEBYLEX z - +", "10 a b bb c"),
            ("ZRANGEBYLEX z [b +", "b bb c"),
            ("ZRANGEBYLEX z (b (c", "bb"),
            ("ZRANGEBYLEX z + -", ""),
            ("ZRANGEBYLEX z [c [a", ""),
            ("ZRANGEBYLEX z - + LIMIT 1 2", "a b"),
            ("ZREVRANGEBYLEX z + - LIMIT 1 2", "bb b"),
            ("ZREVRANGEBYLEX z [bb (a", "bb b"),
            ("ZRANGE z [a (b BYLEX", "a"),
            ("ZRANGE z (c - BYLEX REV", "bb b a 10"),
        ] {
            assert_eq!(f.line(line), array(want), "{line}");
        }
        f.expect(&[
            ("ZLEXCOUNT z - +", ":5\r\n"),
            ("ZLEXCOUNT z [a (c", ":3\r\n"),
            ("ZLEXCOUNT none - +", ":0\r\n"),
            ("ZREMRANGEBYLEX z [a (c", ":3\r\n"),
            ("ZRANGE z 0 -1", "*2\r\n$2\r\n10\r\n$1\r\nc\r\n"),
            ("ZREMRANGEBYLEX z - +", ":2\r\n"),
            ("EXISTS z", ":0\r\n"),
            ("ZREMRANGEBYLEX z - +", ":0\r\n"),
        ]);
    }
}

#[test]
fn wrong_ranges_are_told() {
    let mut f = fixture();
    f.line("ZADD z 1 a");
    f.expect(&[
        ("ZRANGE z x 1", NOT_AN_INTEGER),
        ("ZRANGE z 0 1 BOGUS", SYNTAX),
        ("ZRANGE z 0 1 REV REV", SYNTAX),
        ("ZRANGE z 0 1 BYSCORE BYLEX", SYNTAX),
        ("ZRANGE z 0 1 LIMIT 1", SYNTAX),
        ("ZRANGE z 0 1 BYSCORE LIMIT x 1", NOT_AN_INTEGER),
        ("ZRANGE z 0 1 LIMIT 0 1", "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n"),
        ("ZRANGE z 0 1 LIMIT 0 -1", "*1\r\n$1\r\na\r\n"),
        ("ZRANGE z - + BYLEX WITHSCORES", "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n"),
        ("ZRANGEBYLEX z - + WITHSCORES", "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n"),
        ("ZRANGE z a b BYSCORE", BOUND),
        ("ZRANGE z (nan 1 BYSCORE", BOUND),
        ("ZRANGE z a + BYLEX", LEX_BOUND),
        ("ZRANGE z -x + BYLEX", LEX_BOUND),
        ("ZREVRANGE z 0 1 REV", SYNTAX),
        ("ZREVRANGE z 0 1 BYSCORE", SYNTAX),
        ("ZRANGEBYSCORE z 0 1 REV", SYNTAX),
        ("ZRANGEBYSCORE none x 1", BOUND),
        ("ZRANGESTORE d z 0 1 WITHSCORES", SYNTAX),
        ("ZCOUNT z x 1", BOUND),
        ("ZLEXCOUNT z a b", LEX_BOUND),
        ("ZREMRANGEBYSCORE z x 1", BOUND),
        ("ZREMRANGEBYLEX z x 1", LEX_BOUND),
        ("ZREMRANGEBYRANK z x 1", NOT_AN_INTEGER),
        ("ZRANK z a BOGUS", SYNTAX),
        ("ZRANK z a WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command\r\n"),
        ("ZREVRANK z a WITHSCORE x", "-ERR wrong number of arguments for 'zrevrank' command\r\n"),
    ]);
}

#[test]
fn ranges_are_removed_and_stored() {
    for mut f in both_forms(&["ZADD z 1 a 2 b 3 c 4 d 5 e", "SET d x"]) {
        f.expect(&[
            ("ZRANGESTORE d z 1 2", ":2\r\n"),
            ("ZRANGE d 0 -1 WITHSCORES", &array("b 2 c 3")),
            ("ZRANGESTORE d z +inf (3 BYSCORE REV LIMIT 0 1", ":1\r\n"),
            ("ZRANGE d 0 -1", &array("e")),
            ("ZRANGESTORE z2 none 0 -1", ":0\r\n"),
            ("ZRANGESTORE d z 9 10", ":0\r\n"),
            ("EXISTS d z2", ":0\r\n"),
            ("ZREMRANGEBYRANK z 1 1", ":1\r\n"),
            ("ZREMRANGEBYRANK z 9 10", ":0\r\n"),
            ("ZREMRANGEBYRANK z -1 -1", ":1\r\n"),
            ("ZREMRANGEBYSCORE z (1 3", ":1\r\n"),
            ("ZRANGE z 0 -1", &array("a d")),
            ("ZRANGESTORE z z 0 0", ":1\r\n"),
            ("ZRANGE z 0 -1", &array("a")),
            ("ZREMRANGEBYSCORE z -inf inf", ":1\r\n"),
            ("EXISTS z", ":0\r\n"),
            ("ZREMRANGEBYRANK z 0 -1", ":0\r\n"),
        ]);
    }
}

#[test]
fn members_are_popped_from_both_ends() {
    for mut f in both_forms(&["ZADD z 1 a 2 b 3 c 4 d 5 e 6 f"]) {
        f.expect(&[
            ("ZPOPMIN z", &array("a 1")),
            ("ZPOPMAX z 2", &array("f 6 e 5")),
            ("ZPOPMIN z 0", "*0\r\n"),
            ("ZPOPMIN none 5", "*0\r\n"),
            (
                "ZPOPMIN z -1",
                "-ERR value is out of range, must be positive\r\n",
            ),
            (
                "ZPOPMIN z x",
                "-ERR value is out of range, must be positive\r\n",
            ),
            ("ZPOPMIN z 1 2", SYNTAX),
            (
                "ZMPOP 2 none z MAX",
                "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nd\r\n$1\r\n4\r\n",
            ),
            ("ZMPOP 1 none MIN", "*-1\r\n"),
            ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0\r\n"),
            ("ZMPOP x z MIN", "-ERR numkeys should be greater than 0\r\n"),
            ("ZMPOP 2 z MIN", SYNTAX),
            ("ZMPOP 1 z MID", SYNTAX),
            ("ZMPOP 1 z MIN COUNT", SYNTAX),
            (
                "ZMPOP 1 z MIN COUNT 0",
                "-ERR count should be greater than 0\r\n",
            ),
            ("ZMPOP 1 z MIN COUNT 1 COUNT 1", SYNTAX),
            (
                "ZMPOP 1 z MIN COUNT 9",
                "*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n",
            ),
            ("EXISTS z", ":0\r\n"),
        ]);
    }
}

#[test]
fn sorted_sets_are_combined() {
    for mut f in both_forms(&["ZADD x 1 a 2 b 3 c", "ZADD y 10 b 20 c 30 7"]) {
        for (line, want) in [
            ("ZUNION 2 x y", "a b c 7"),
            ("ZUNION 2 x y WITHSCORES", "a 1 b 12 c 23 7 30"),
            (
                "ZUNION 3 x none y WEIGHTS 2 5 1 WITHSCORES",
                "a 2 b 14 c 26 7 30",
            ),
            (
                "ZUNION 2 x y AGGREGATE MAX WITHSCORES",
                "a 1 b 10 c 20 7 30",
            ),
            ("ZINTER 2 x y WITHSCORES AGGREGATE MIN", "b 2 c 3"),
            ("ZINTER 2 x y WEIGHTS 1 0.5 WITHSCORES", "b 7 c 13"),
            ("ZINTER 2 x none", ""),
            ("ZINTER 2 x x WITHSCORES", "a 2 b 4 c 6"),
            ("ZDIFF 2 x y WITHSCORES", "a 1"),
            ("ZDIFF 2 y x WITHSCORES", "7 30"),
            ("ZDIFF 2 x x", ""),
            ("ZDIFF 2 x none", "a b c"),
            ("ZDIFF 1 none", ""),
        ] {
            assert_eq!(f.line(line), array(want), "{line}");
        }
        f.expect(&[
            ("ZINTERCARD 2 x y", ":2\r\n"),
            ("ZINTERCARD 2 x y LIMIT 1", ":1\r\n"),
            ("ZINTERCARD 2 x y LIMIT 0", ":2\r\n"),
            ("ZINTERCARD 2 x none", ":0\r\n"),
            ("ZUNIONSTORE d 2 x y WEIGHTS 1 -1", ":4\r\n"),
            ("ZRANGE d 0 -1 WITHSCORES", &array("7 -30 c -17 b -8 a 1")),
            ("ZINTERSTORE d 2 d x AGGREGATE MAX", ":3\r\n"),
            ("ZRANGE d 0 -1 WITHSCORES", &array("a 1 b 2 c 3")),
            ("ZDIFFSTORE x 2 x y", ":1\r\n"),
            ("ZRANGE x 0 -1", &array("a")),
            ("ZDIFFSTORE x 2 x x", ":0\r\n"),
            ("EXISTS x", ":0\r\n"),
        ]);
    }
}

#[test]
fn sums_of_infinities_are_zero() {
    let mut f = fixture();
    f.line("ZADD x inf a 0 b");
    f.line("ZADD y -inf a 1 b");
    f.expect(&[
        ("ZUNION 2 x y WITHSCORES", &array("a 0 b 1")),
        ("ZINTER 2 x y WITHSCORES", &array("a 0 b 1")),
        ("ZUNION 1 x WEIGHTS 0 WITHSCORES", &array("a 0 b 0")),
        ("ZUNIONSTORE d 1 x WEIGHTS inf", ":2\r\n"),
        ("ZRANGE d 0 -1 WITHSCORES", &array("b 0 a inf")),
    ]);
}

#[test]
fn wrong_combinations_are_told() {
    let mut f = fixture();
    f.line("ZADD z 1 a");
    f.expect(&[
        (
            "ZUNION 0 z",
            "-ERR at least 1 input key is needed for 'zunion' command\r\n",
        ),
        (
            "ZDIFFSTORE d -1 z",
            "-ERR at least 1 input key is needed for 'zdiffstore' command\r\n",
        ),
        (
            "ZINTERCARD 0 z",
            "-ERR at least 1 input key is needed for 'zintercard' command\r\n",
        ),
        ("ZUNION x z", NOT_AN_INTEGER),
        ("ZUNION 2 z", SYNTAX),
        ("ZUNION 1 z WEIGHTS", SYNTAX),
        (
            "ZUNION 1 z WEIGHTS x",
            "-ERR weight value is not a float\r\n",
        ),
        (
            "ZUNION 1 z WEIGHTS nan",
            "-ERR weight value is not a float\r\n",
        ),
        ("ZUNION 1 z AGGREGATE", SYNTAX),
        ("ZUNION 1 z AGGREGATE avg", SYNTAX),
        ("ZUNIONSTORE d 1 z WITHSCORES", SYNTAX),
        ("ZDIFF 1 z WEIGHTS 1", SYNTAX),
        ("ZDIFF 1 z AGGREGATE SUM", SYNTAX),
        ("ZINTERCARD 1 z LIMIT", SYNTAX),
        (
            "ZINTERCARD 1 z LIMIT -1",
            "-ERR LIMIT can't be negative\r\n",
        ),
        ("ZINTERCARD 1 z LIMIT x", "-ERR LIMIT can't be negative\r\n"),
        ("ZINTERCARD 1 z WITHSCORES", SYNTAX),
        ("ZINTER 1 z LIMIT 1", SYNTAX),
    ]);
}

#[test]
fn random_members_are_counted() {
    for mut f in both_forms(&["ZADD z 1 a 2 b 3 c"]) {
        f.expect(&[
            ("ZRANDMEMBER none", "$-1\r\n"),
            ("ZRANDMEMBER none 3", "*0\r\n"),
            ("ZRANDMEMBER z 0", "*0\r\n"),
            ("ZRANDMEMBER z 9", &array("c b a")),
            ("ZRANDMEMBER z 9 withscores", &array("c 3 b 2 a 1")),
            ("ZRANDMEMBER z x", NOT_AN_INTEGER),
            ("ZRANDMEMBER z 1 x", SYNTAX),
            ("ZRANDMEMBER z 1 withscores x", SYNTAX),
            ("ZRANDMEMBER z -9223372036854775808", "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n"),
            ("ZRANDMEMBER z 9223372036854775807 withscores", "-ERR value is out of range\r\n"),
        ]);
        assert!(f.line("ZRANDMEMBER z -5").starts_with("*5\r\n"));
        assert!(f.line("ZRANDMEMBER z 2").starts_with("*2\r\n"));
        assert!(f.line("ZRANDMEMBER z -5 WITHSCORES").starts_with("*10\r\n"));
    }
}

#[test]
fn scans_take_options() {
    let [mut packed, mut table] = both_forms(&["ZADD z 0.1 a"]);
    let head = "*2\r\n$1\r\n0\r\n";
    for (f, score) in [(&mut packed, "0.1"), (&mut table, "0.10000000000000001")] {
        f.expect(&[
            (
                "ZSCAN z 0",
                &format!("{head}{}", array(&format!("a {score}"))),
            ),
            ("ZSCAN z 0 MATCH b* COUNT 5", &format!("{head}*0\r\n")),
            ("ZSCAN none 0 BOGUS", &format!("{head}*0\r\n")),
            ("ZSCAN z x", "-ERR invalid cursor\r\n"),
            ("ZSCAN z 0 TYPE zset", SYNTAX),
            (
                "ZSCAN z 0 NOVALUES",
                "-ERR NOVALUES option can only be used in HSCAN\r\n",
            ),
            ("SCAN 0 TYPE zset", &format!("{head}{}", array("z"))),
        ]);
    }
}

#[test]
fn resp3_has_doubles_and_pairs() {
    let mut f = fixture();
    f.line("ZADD z 1.5 a inf b");
    let mut session = session(9);
    session.proto = Proto::Resp3;
    let pairs = "*2\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\nb\r\n,inf\r\n";
    for (line, want) in [
        ("ZSCORE z a", ",1.5\r\n"),
        ("ZSCORE z none", "_\r\n"),
        ("ZRANK z none WITHSCORE", "_\r\n"),
        ("ZRANK z a WITHSCORE", "*2\r\n:0\r\n,1.5\r\n"),
        ("ZRANGE z 0 -1 WITHSCORES", pairs),
        ("ZUNION 1 z WITHSCORES", pairs),
        (
            "ZSCAN z 0",
            "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$3\r\ninf\r\n",
        ),
        ("ZADD z INCR 1 a", ",2.5\r\n"),
        ("ZPOPMIN z", "*2\r\n$1\r\na\r\n,2.5\r\n"),
        ("ZPOPMAX z 1", "*1\r\n*2\r\n$1\r\nb\r\n,inf\r\n"),
        ("ZMPOP 1 z MIN", "_\r\n"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(f.run_as(&mut session, &words), want, "{line}");
    }
}

#[test]
fn forms_change_at_the_limits() {
    let mut f = fixture();
    let pairs: Vec<String> = (0..129).map(|n| format!("{n} m{n}")).collect();
    f.line(&format!("ZADD z {}", pairs.join(" ")));
    f.line(&format!("ZADD y 1 {}", "x".repeat(65)));
    f.expect(&[
        ("OBJECT ENCODING z", "$8\r\nskiplist\r\n"),
        ("OBJECT ENCODING y", "$8\r\nskiplist\r\n"),
        ("ZREMRANGEBYRANK z 1 -1", ":128\r\n"),
        ("OBJECT ENCODING z", "$8\r\nskiplist\r\n"),
        ("ZRANGESTORE d z 0 -1", ":1\r\n"),
        ("OBJECT ENCODING d", "$8\r\nlistpack\r\n"),
    ]);
}

#[test]
fn sets_are_sources_whose_scores_are_one() {
    let mut f = fixture();
    f.line("SADD s 1 2 b");
    f.line("SADD t b x");
    f.line("ZADD z 5 b 7 c");
    f.expect(&[
        ("ZUNION 2 s z WITHSCORES", &array("1 1 2 1 b 6 c 7")),
        ("ZINTER 2 z s WITHSCORES WEIGHTS 2 3", &array("b 13")),
        ("ZDIFF 2 s z WITHSCORES", &array("1 1 2 1")),
        ("ZINTERCARD 3 s t z", ":1\r\n"),
        ("ZUNIONSTORE d 2 s t", ":4\r\n"),
        ("ZRANGE d 0 -1 WITHSCORES", &array("1 1 2 1 x 1 b 2")),
        ("ZUNIONSTORE s 2 s t AGGREGATE MAX", ":4\r\n"),
        ("TYPE s", "+zset\r\n"),
        ("ZADD t 1 a", WRONG),
    ]);
}

#[test]
fn dumps_are_restored_in_both_forms() {
    for mut f in both_forms(&["ZADD z 1 a -0 b 0.1 7 inf d"]) {
        let (reply, _) = f.outcome(&["DUMP", "z"]);
        let start = reply.iter().position(|b| *b == b'\n').unwrap() + 1;
        let payload = &reply[start..reply.len() - 2];
        let words: [&[u8]; 4] = [b"RESTORE", b"y", b"0", payload];
        assert_eq!(f.run(&words), "+OK\r\n");
        f.expect(&[
            ("ZRANGE y 0 -1 WITHSCORES", &array("b -0 7 0.1 a 1 d inf")),
            ("COPY y x", ":1\r\n"),
            ("ZADD x 9 new", ":1\r\n"),
            ("ZCARD y", ":4\r\n"),
        ]);
    }
}
