//! SORT and SORT_RO.

use crate::testing::{session, single, Fixture};
use keyspace::Layout;
use resp::encode::Proto;

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const NUMBERS: &str = "-ERR One or more scores can't be converted into double\r\n";

fn fixture() -> Fixture {
    Fixture::new(single())
}

#[test]
fn elements_are_sorted_as_numbers_or_texts() {
    let mut f = fixture();
    f.line("RPUSH l 3 -1 10 2");
    f.line("SADD s b a c");
    f.line("SET k x");
    f.expect(&[
        (
            "SORT l",
            "*4\r\n$2\r\n-1\r\n$1\r\n2\r\n$1\r\n3\r\n$2\r\n10\r\n",
        ),
        (
            "SORT_RO l desc",
            "*4\r\n$2\r\n10\r\n$1\r\n3\r\n$1\r\n2\r\n$2\r\n-1\r\n",
        ),
        (
            "SORT l DESC ASC ALPHA",
            "*4\r\n$2\r\n-1\r\n$2\r\n10\r\n$1\r\n2\r\n$1\r\n3\r\n",
        ),
        ("SORT l LIMIT 1 2", "*2\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("SORT l LIMIT -5 1", "*1\r\n$2\r\n-1\r\n"),
        ("SORT l LIMIT 3 -1", "*1\r\n$2\r\n10\r\n"),
        ("SORT l LIMIT 4 1", "*0\r\n"),
        ("SORT l LIMIT 1 0", "*0\r\n"),
        (
            "SORT l BY nosort",
            "*4\r\n$1\r\n3\r\n$2\r\n-1\r\n$2\r\n10\r\n$1\r\n2\r\n",
        ),
        (
            "SORT l BY nosort DESC LIMIT 0 2",
            "*2\r\n$1\r\n2\r\n$2\r\n10\r\n",
        ),
        ("SORT s", NUMBERS),
        ("SORT s ALPHA", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("SORT s ALPHA DESC LIMIT 0 1", "*1\r\n$1\r\nc\r\n"),
        ("SORT none", "*0\r\n"),
        ("SORT none LIMIT 0 5 GET #", "*0\r\n"),
        ("SORT k", WRONG),
        ("SORT_RO k ALPHA", WRONG),
        ("SORT l LIMIT 1", SYNTAX),
        ("SORT l LIMIT a 1", NOT_AN_INTEGER),
        ("SORT l LIMIT 0 a", NOT_AN_INTEGER),
        ("SORT l BY", SYNTAX),
        ("SORT l GET", SYNTAX),
        ("SORT l STORE", SYNTAX),
        ("SORT_RO l STORE d", SYNTAX),
        ("SORT k UP", SYNTAX),
    ]);
}

#[test]
fn patterns_give_order_and_values() {
    let mut f = fixture();
    f.line("RPUSH l 1 2 3");
    f.line("MSET w_1 30 w_2 20 w_3 10 o_1 one o_3 three n_2 x");
    f.line("HSET h_1 f c g u");
    f.line("HSET h_2 f b");
    f.line("HSET h_3 f a");
    f.expect(&[
        ("SORT l BY w_*", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n"),
        ("SORT l BY w_* DESC LIMIT 0 1", "*1\r\n$1\r\n1\r\n"),
        (
            "SORT l BY w_* GET # GET o_*",
            "*6\r\n$1\r\n3\r\n$5\r\nthree\r\n$1\r\n2\r\n$-1\r\n$1\r\n1\r\n$3\r\none\r\n",
        ),
        (
            "SORT l BY h_*->f ALPHA",
            "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n",
        ),
        (
            "SORT l BY h_*->f ALPHA DESC",
            "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n",
        ),
        (
            "SORT l BY o_* ALPHA GET #",
            "*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n3\r\n",
        ),
        ("SORT l GET h_*->g", "*3\r\n$1\r\nu\r\n$-1\r\n$-1\r\n"),
        ("SORT l GET h_*->", "*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
        ("SORT l GET h_*", "*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
        ("SORT l GET w_1", "*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
        ("SORT l BY o_*", NUMBERS),
        ("SORT l BY n_*", NUMBERS),
        (
            "SORT l BY nosort BY w_*",
            "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n",
        ),
        (
            "SORT l BY none_* DESC",
            "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n",
        ),
    ]);
    let mut resp3 = session(9);
    resp3.proto = Proto::Resp3;
    assert_eq!(
        f.run_as(&mut resp3, &["SORT", "l", "GET", "o_*"]),
        "*3\r\n$3\r\none\r\n_\r\n$5\r\nthree\r\n"
    );
}

#[test]
fn what_is_sorted_is_stored() {
    let mut f = fixture();
    f.line("RPUSH l 3 1 2");
    f.line("SADD s b a c");
    f.line("MSET d x w_1 30 w_2 20");
    f.expect(&[
        ("SORT l STORE d", ":3\r\n"),
        ("TYPE d", "+list\r\n"),
        ("LRANGE d 0 -1", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("OBJECT ENCODING d", "$8\r\nlistpack\r\n"),
        ("SORT l BY nosort GET w_* STORE d", ":3\r\n"),
        ("LRANGE d 0 -1", "*3\r\n$0\r\n\r\n$2\r\n30\r\n$2\r\n20\r\n"),
        ("SORT s BY nosort STORE d", ":3\r\n"),
        ("LRANGE d 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("SORT none STORE d", ":0\r\n"),
        ("EXISTS d", ":0\r\n"),
        ("SORT l DESC STORE l", ":3\r\n"),
        ("LRANGE l 0 -1", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SORT l GET # GET w_* STORE d", "+QUEUED\r\n"),
        ("SORT l LIMIT 5 1 STORE none", "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:6\r\n:0\r\n"),
        (
            "LRANGE d 0 -1",
            "*6\r\n$1\r\n1\r\n$2\r\n30\r\n$1\r\n2\r\n$2\r\n20\r\n$1\r\n3\r\n$0\r\n\r\n",
        ),
    ]);
}

#[test]
fn cluster_allows_patterns_of_one_slot() {
    let mut f = Fixture::new(Layout::Cluster);
    f.line("RPUSH {t}l 2 1");
    f.line("SET {t}w_1 x");
    let by = "-ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.\r\n";
    let get = "-ERR GET option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.\r\n";
    f.expect(&[
        ("SORT {t}l BY w_*", by),
        ("SORT {t}l GET w_*", get),
        ("SORT {t}l GET #", get),
        ("SORT {t}l BY nosort", "*2\r\n$1\r\n2\r\n$1\r\n1\r\n"),
        ("SORT {t}l GET {t}w_*", "*2\r\n$1\r\nx\r\n$-1\r\n"),
        ("SORT {t}l BY {t}w_* ALPHA", "*2\r\n$1\r\n2\r\n$1\r\n1\r\n"),
    ]);
}
