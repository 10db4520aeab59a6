//! FUNCTION without libraries, as Redis 7.4.1 answers.

use crate::testing::{single, Fixture};
use resp::encode::Proto;
use state::GateKind;

/// What FUNCTION DUMP of Redis 7.4.1 says where there are none.
const NOTHING: &[u8] = b"\x0c\x00\x96\xedh\x80\xf5U<\x93";

fn restore(f: &mut Fixture, payload: &[u8], more: &[&str]) -> String {
    let mut args: Vec<&[u8]> = vec![b"FUNCTION", b"RESTORE", payload];
    args.extend(more.iter().map(|word| word.as_bytes()));
    f.run(&args)
}

#[test]
fn set_of_libraries_is_empty() {
    let mut f = Fixture::new(single());
    let (out, _) = f.outcome(&["FUNCTION", "DUMP"]);
    assert_eq!(out, [b"$10\r\n", NOTHING, b"\r\n"].concat());
    f.expect(&[
        ("FUNCTION LIST", "*0\r\n"),
        ("FUNCTION LIST WITHCODE LIBRARYNAME x*", "*0\r\n"),
        ("FUNCTION LIST x", "-ERR Unknown argument x\r\n"),
        ("FUNCTION LIST withcode Withcode", "-ERR Unknown argument Withcode\r\n"),
        (
            "FUNCTION LIST LIBRARYNAME",
            "-ERR library name argument was not given\r\n",
        ),
        ("FUNCTION FLUSH", "+OK\r\n"),
        ("FUNCTION FLUSH async", "+OK\r\n"),
        (
            "FUNCTION FLUSH x",
            "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option\r\n",
        ),
        (
            "FUNCTION flush SYNC x",
            "-ERR unknown subcommand or wrong number of arguments for 'flush'. Try FUNCTION HELP.\r\n",
        ),
        ("FUNCTION DELETE x", "-ERR Library not found\r\n"),
        (
            "FUNCTION KILL",
            "-NOTBUSY No scripts in execution right now.\r\n",
        ),
        (
            "FUNCTION LOAD code",
            "-ERR unknown subcommand 'LOAD'. Try FUNCTION HELP.\r\n",
        ),
        (
            "FUNCTION STATS",
            "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n\
             *4\r\n$15\r\nlibraries_count\r\n:0\r\n$15\r\nfunctions_count\r\n:0\r\n",
        ),
    ]);
    assert!(f.line("FUNCTION HELP").contains("+STATS\r\n"));
    f.session.proto = Proto::Resp3;
    f.expect(&[(
        "FUNCTION STATS",
        "%2\r\n$14\r\nrunning_script\r\n_\r\n$7\r\nengines\r\n%1\r\n$3\r\nLUA\r\n\
         %2\r\n$15\r\nlibraries_count\r\n:0\r\n$15\r\nfunctions_count\r\n:0\r\n",
    )]);
}

#[test]
fn only_the_empty_payload_is_restored() {
    let mut f = Fixture::new(single());
    for policy in [&[][..], &["FLUSH"], &["append"], &["REPLACE"]] {
        assert_eq!(restore(&mut f, NOTHING, policy), "+OK\r\n");
    }
    assert_eq!(
        restore(&mut f, NOTHING, &["x"]),
        "-ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.\r\n"
    );
    assert_eq!(
        restore(&mut f, b"", &[]),
        "-ERR DUMP payload version or checksum are wrong\r\n"
    );
    // FUNCTION DUMP of Redis 7.4.1 with a library; and DUMP of a string.
    for (payload, want) in [
        (
            LIBRARY,
            "-ERR the payload has libraries, and Holdfast does not run functions yet: nothing was restored\r\n",
        ),
        (
            b"\x00\x05hello\n\x00cr\xdfve4 \n",
            "-ERR given type is not a function\r\n",
        ),
    ] {
        assert_eq!(restore(&mut f, payload, &[]), want);
    }
    let (_, outcome) = f.outcome(&["FUNCTION", "FLUSH"]);
    assert!(outcome.gate != GateKind::Write, "nothing is logged");
}

const LIBRARY: &[u8] =
    b"\xf5@A#!lua name=l\nredis.register_function(\"f\",function() return 1 end)\
    \x0c\x00\xcby\x77\x9c`\xaf\xa0Z";
