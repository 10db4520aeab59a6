//! COPY, MOVE, SWAPDB: replies, refusals in Redis's order, what they do to expiry and watches.

use crate::testing::{single, Fixture};
use keyspace::Layout;
use state::GateKind;

const SAME: &str = "-ERR source and destination objects are the same\r\n";
const RANGE: &str = "-ERR DB index is out of range\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";

#[test]
fn values_are_copied_with_their_expiry() {
    let mut f = Fixture::new(single());
    f.run(&["SET", "long", &"x".repeat(5000)]);
    f.expect(&[
        ("SET a 12 PX 5000", "+OK\r\n"),
        ("COPY a b", ":1\r\n"),
        ("GET b", "$2\r\n12\r\n"),
        ("PTTL b", ":5000\r\n"),
        ("COPY none b", ":0\r\n"),
        ("SET c text", "+OK\r\n"),
        ("COPY c b", ":0\r\n"),
        ("COPY c b replace", ":1\r\n"),
        ("TTL b", ":-1\r\n"),
        ("COPY c c", SAME),
        ("COPY none none", SAME),
        ("COPY c c DB 3", ":1\r\n"),
        ("COPY c b DB x", NOT_INT),
        ("COPY c b DB 16", RANGE),
        ("COPY c b DB", SYNTAX),
        ("COPY c b REPLACE WITH", SYNTAX),
        (
            "COPY c b DB 99999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        ),
        ("COPY long copy", ":1\r\n"),
        ("APPEND copy y", ":5001\r\n"),
        ("STRLEN long", ":5000\r\n"),
        ("SELECT 3", "+OK\r\n"),
        ("GET c", "$4\r\ntext\r\n"),
        ("COPY c d DB 0", ":1\r\n"),
    ]);
}

#[test]
fn expired_destination_is_no_obstacle() {
    let mut f = Fixture::new(single());
    f.line("SET a 1");
    f.line("SELECT 1");
    f.line("SET a old PX 10");
    f.line("SELECT 0");
    f.advance(20);
    f.expect(&[
        ("COPY a a DB 1", ":1\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
        ("TTL a", ":-1\r\n"),
        ("SET b old PX 10", "+OK\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SET b 2 PX 5000", "+OK\r\n"),
    ]);
    f.advance(20);
    f.expect(&[
        ("MOVE b 1", ":1\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("PTTL b", ":4980\r\n"),
    ]);
}

#[test]
fn keys_move_where_there_is_none() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SET a 1 EX 100", "+OK\r\n"),
        ("MOVE a 0", SAME),
        ("MOVE a 16", RANGE),
        ("MOVE a x", NOT_INT),
        ("MOVE none 1", ":0\r\n"),
        ("MOVE a 1", ":1\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SET a 2", "+OK\r\n"),
        ("MOVE a 1", ":0\r\n"),
        ("GET a", "$1\r\n2\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("TTL a", ":100\r\n"),
    ]);
}

#[test]
fn databases_are_swapped() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SET a 1 PX 10", "+OK\r\n"),
        ("SWAPDB x y", "-ERR invalid first DB index\r\n"),
        ("SWAPDB 0 y", "-ERR invalid second DB index\r\n"),
        ("SWAPDB 0 16", RANGE),
        ("SWAPDB -1 0", RANGE),
        ("SWAPDB 0 3", "+OK\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SELECT 3", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
    ]);
    f.advance(20);
    f.expect(&[("EXISTS a", ":0\r\n")]);
    assert_eq!(
        f.outcome(&["SWAPDB", "2", "2"]).1.gate,
        GateKind::Free,
        "nothing has happened"
    );
}

#[test]
fn watches_see_keys_of_both_swapped_databases() {
    for (watched, fails) in [("mine", true), ("theirs", true), ("none", false)] {
        let mut f = Fixture::new(single());
        f.line("SELECT 1");
        f.line("SET theirs 1");
        f.line("SELECT 0");
        f.line("SET mine 1");
        f.line(&format!("WATCH {watched}"));
        f.line("SWAPDB 0 1");
        f.line("MULTI");
        f.line("PING");
        let want = if fails { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
        assert_eq!(f.line("EXEC"), want, "{watched}");
    }
}

/// One that has expired is no key, in either database.
#[test]
fn swap_with_expired_keys_keeps_watches() {
    for (mine, theirs, fails) in [
        ("", "PX 10", false),
        ("PX 10", "PX 10", false),
        ("PX 10", "", false),
        ("PX 30", "PX 10", true),
        ("PX 30", "", true),
        ("", "PX 100", true),
    ] {
        let mut f = Fixture::new(single());
        f.line("SELECT 1");
        if !theirs.is_empty() {
            f.line(&format!("SET x 1 {theirs}"));
        }
        f.line("SELECT 0");
        if !mine.is_empty() {
            f.line(&format!("SET x 1 {mine}"));
        }
        f.advance(20);
        f.line("WATCH x");
        f.advance(20);
        f.line("SWAPDB 0 1");
        f.line("MULTI");
        f.line("PING");
        let want = if fails { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
        assert_eq!(f.line("EXEC"), want, "{mine} {theirs}");
    }
}

/// T3: what is read in either database waits for the swap.
#[test]
fn reads_after_a_swap_depend_on_it() {
    let mut f = Fixture::new(single());
    f.line("SET a 1");
    let (_, swap) = f.outcome(&["SWAPDB", "0", "1"]);
    let (_, read) = f.outcome(&["GET", "none"]);
    assert_eq!(read.footprint.depends, swap.footprint.depends);
}

#[test]
fn cluster_has_one_database() {
    let mut f = Fixture::new(Layout::Cluster);
    f.expect(&[
        ("SET {a}1 1", "+OK\r\n"),
        ("COPY {a}1 {a}2", ":1\r\n"),
        ("COPY {a}1 {a}2 DB 0", ":0\r\n"),
        ("COPY {a}1 {a}2 DB 1", RANGE),
        (
            "MOVE {a}1 1",
            "-ERR MOVE is not allowed in cluster mode\r\n",
        ),
        (
            "SWAPDB 0 1",
            "-ERR SWAPDB is not allowed in cluster mode\r\n",
        ),
    ]);
}
