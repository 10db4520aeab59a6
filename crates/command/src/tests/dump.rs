//! DUMP and RESTORE: replies, refusals in Redis's order, expiry, effects.

use crate::testing::{single, Fixture, START_MS};
use crate::Flow;
use config::Config;

const BUSY: &str = "-BUSYKEY Target key name already exists.\r\n";
const FOOTER: &str = "-ERR DUMP payload version or checksum are wrong\r\n";
const VALUE: &str = "-ERR Bad data format\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";

/// What DUMP of Redis 7.0.15 said of "hello".
const HELLO: &[u8] = b"\x00\x05hello\n\x00cr\xdfve4 \n";

fn dump(f: &mut Fixture, key: &str) -> Vec<u8> {
    let (out, _) = f.outcome(&["DUMP", key]);
    let start = out.windows(2).position(|w| w == b"\r\n").expect("a bulk") + 2;
    out[start..out.len() - 2].to_vec()
}

/// `RESTORE key ttl payload` and options.
fn restore(f: &mut Fixture, key: &str, ttl: &str, payload: &[u8], options: &str) -> String {
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
    args.extend(
        options
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(str::as_bytes),
    );
    f.run(&args)
}

#[test]
fn dumped_values_are_restored() {
    let mut f = Fixture::new(single());
    f.expect(&[("DUMP none", "$-1\r\n"), ("SET a hello", "+OK\r\n")]);
    assert_eq!(dump(&mut f, "a")[..9], *b"\x00\x05hello\x0c\x00");
    let long = "long ".repeat(1000);
    for value in [
        "hello",
        "12",
        "-129",
        "70000",
        "9223372036854775807",
        "",
        &long,
    ] {
        f.run(&["SET", "a", value]);
        let payload = dump(&mut f, "a");
        assert!(payload.len() < 200, "{value} is compressed");
        assert_eq!(restore(&mut f, "b", "0", &payload, "REPLACE"), "+OK\r\n");
        let (a, b) = (f.line("GET a"), f.line("GET b"));
        assert_eq!(a, b);
        assert_eq!(f.line("OBJECT ENCODING a"), f.line("OBJECT ENCODING b"));
    }
    f.run(&["SET", "a", &long]);
    let (config, _) = Config::from_args(["--rdbcompression", "no"]).expect("a config");
    f.host.config = config;
    assert!(dump(&mut f, "a").len() > long.len());
}

#[test]
fn restore_refuses_in_the_order_of_redis() {
    let mut f = Fixture::new(single());
    f.line("SET a 1");
    for (key, ttl, payload, options, want) in [
        ("a", "x", &b""[..], "NX", SYNTAX),
        ("a", "0", b"", "IDLETIME", SYNTAX),
        ("a", "0", b"", "REPLACE FREQ", SYNTAX),
        ("a", "0", b"", "IDLETIME 1 FREQ 1", SYNTAX),
        ("a", "0", b"", "FREQ 1 IDLETIME 1", SYNTAX),
        ("a", "0", b"", "IDLETIME x", NOT_INT),
        (
            "a",
            "0",
            b"",
            "IDLETIME -1",
            "-ERR Invalid IDLETIME value, must be >= 0\r\n",
        ),
        ("a", "0", b"", "FREQ x", NOT_INT),
        (
            "a",
            "0",
            b"",
            "FREQ 256",
            "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n",
        ),
        (
            "a",
            "0",
            b"",
            "FREQ -1",
            "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n",
        ),
        ("a", "x", b"", "IDLETIME 1 IDLETIME 2", BUSY),
        ("a", "x", b"", "REPLACE", NOT_INT),
        ("b", "x", b"", "", NOT_INT),
        (
            "b",
            "-1",
            b"",
            "absttl",
            "-ERR Invalid TTL value, must be >= 0\r\n",
        ),
        ("b", "0", b"", "", FOOTER),
        ("b", "0", b"123456789", "", FOOTER),
        ("b", "0", &HELLO[..HELLO.len() - 1], "", FOOTER),
        // Ten zeros have the right checksum; nothing is before them.
        ("b", "0", &[0; 10], "", VALUE),
        ("b", "0", HELLO, "freq 255", "+OK\r\n"),
        ("b", "0", HELLO, "", BUSY),
        ("b", "0", HELLO, "replace idletime 1000", "+OK\r\n"),
    ] {
        let got = restore(&mut f, key, ttl, payload, options);
        assert_eq!(got, want, "{key} {ttl} {payload:?} {options}");
    }
    f.expect(&[("GET a", "$1\r\n1\r\n"), ("GET b", "$5\r\nhello\r\n")]);
    f.expect(&[(
        "RESTORE-ASKING a 0",
        "-ERR wrong number of arguments for 'restore-asking' command\r\n",
    )]);
    let mut args: Vec<&[u8]> = vec![b"RESTORE-ASKING", b"c", b"0", HELLO];
    assert_eq!(f.run(&args), "+OK\r\n");
    args[1] = b"a";
    assert_eq!(f.run(&args), BUSY);
}

#[test]
fn restored_keys_expire_when_they_are_told_to() {
    let mut f = Fixture::new(single());
    let at = (START_MS + 5000).to_string();
    for (ttl, options, want) in [
        ("0", "REPLACE", ":-1\r\n".to_owned()),
        ("0", "REPLACE ABSTTL", ":-1\r\n".to_owned()),
        ("5000", "REPLACE", format!(":{at}\r\n")),
        (&at, "REPLACE ABSTTL", format!(":{at}\r\n")),
        (
            "9223372036854775807",
            "REPLACE",
            format!(":{}\r\n", i64::MAX),
        ),
    ] {
        f.line("SET k old EX 77");
        assert_eq!(restore(&mut f, "k", ttl, HELLO, options), "+OK\r\n");
        assert_eq!(f.line("PEXPIRETIME k"), want, "{ttl} {options}");
        assert_eq!(f.line("GET k"), "$5\r\nhello\r\n");
    }
}

#[test]
fn a_time_that_has_passed_leaves_no_key() {
    let mut f = Fixture::new(single());
    let now = START_MS.to_string();
    assert_eq!(restore(&mut f, "k", &now, HELLO, "ABSTTL"), "+OK\r\n");
    f.expect(&[("EXISTS k", ":0\r\n"), ("SET k old", "+OK\r\n")]);
    assert_eq!(restore(&mut f, "k", "1", HELLO, "ABSTTL"), BUSY);
    assert_eq!(
        restore(&mut f, "k", "1", HELLO, "ABSTTL REPLACE"),
        "+OK\r\n"
    );
    f.expect(&[("EXISTS k", ":0\r\n")]);
}

#[test]
fn restore_fails_what_watches_the_key() {
    let mut f = Fixture::new(single());
    f.expect(&[("SET k v", "+OK\r\n"), ("WATCH k", "+OK\r\n")]);
    restore(&mut f, "k", "0", HELLO, "REPLACE");
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "*-1\r\n"),
    ]);
}

#[test]
fn strings_above_the_limit_are_bad_data() {
    let mut f = Fixture::new(single());
    f.run(&["SET", "a", &"a".repeat(100)]);
    let payload = dump(&mut f, "a");
    f.host.config.proto_max_bulk_len = 99;
    assert_eq!(restore(&mut f, "b", "0", &payload, ""), VALUE);
    f.host.config.proto_max_bulk_len = 100;
    assert_eq!(restore(&mut f, "b", "0", &payload, ""), "+OK\r\n");
}

/// D5: what a transaction asks for before it runs is enough for strings that were compressed.
#[test]
fn compressed_strings_ask_for_their_length() {
    let mut f = Fixture::new(single());
    f.run(&["SET", "a", &"a".repeat(50_000)]);
    let payload = dump(&mut f, "a");
    f.grant = 10_000;
    f.line("MULTI");
    assert_eq!(restore(&mut f, "b", "0", &payload, ""), "+QUEUED\r\n");
    f.line("INCR n");
    let (_, outcome) = f.outcome(&["EXEC"]);
    assert_eq!(outcome.flow, Flow::Hold);
    f.grant = f.data.take_wanted().expect("room is asked for");
    assert!(f.grant > 50_000);
    assert_eq!(f.line("EXEC"), "*2\r\n+OK\r\n:1\r\n");
}
