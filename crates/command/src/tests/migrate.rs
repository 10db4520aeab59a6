//! MIGRATE: its refusals in Redis's order, before anything is sent.

use crate::testing::{single, Fixture};

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";
const KEYS: &str =
    "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string\r\n";
const NOKEY: &str = "+NOKEY\r\n";

#[test]
fn options_are_refused_before_numbers() {
    let mut f = Fixture::new(single());
    f.expect(&[("SET a 1", "+OK\r\n")]);
    let table = [
        (
            "MIGRATE h 1 a 0",
            "-ERR wrong number of arguments for 'migrate' command\r\n",
        ),
        ("MIGRATE h 1 a x y COPYY", SYNTAX),
        ("MIGRATE h 1 a x y COPY REPLACE AUTH", SYNTAX),
        ("MIGRATE h 1 a x y AUTH2 user", SYNTAX),
        ("MIGRATE h 1 a x y KEYS b", KEYS),
        ("MIGRATE h 1 a x y COPY KEYS b", KEYS),
        ("MIGRATE h 1 a 0 y", NOT_INT),
        ("MIGRATE h 1 a x 1", NOT_INT),
        ("MIGRATE h 1 a x 1 AUTH2 KEYS b", NOT_INT),
        ("MIGRATE h 1 none x y", NOT_INT),
    ];
    f.expect(&table);
}

#[test]
fn without_a_key_nothing_is_sent() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MIGRATE h 1 none 0 0", NOKEY),
        (
            "MIGRATE h junk none 0 -1 COPY REPLACE AUTH x AUTH2 x y",
            NOKEY,
        ),
        ("MIGRATE h 1  0 1 KEYS", NOKEY),
        ("MIGRATE h 1  0 1 KEYS none other", NOKEY),
    ]);
}
