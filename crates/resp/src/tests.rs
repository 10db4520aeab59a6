//! The parser against every cut of its input, the texts and layouts of Redis 7.4.

use super::encode::{Proto, Reply};
use super::number::push_double;
use super::parse::{Limits, Parsed, Parser, ProtocolError, MAX_LINE_BYTES};
use super::{Args, Argv};
use proptest::prelude::*;

#[derive(Debug, PartialEq, Clone)]
enum Event {
    Command(Vec<Vec<u8>>),
    Error(ProtocolError),
}

/// Feeds `pieces` as they would arrive and keeps only what is unconsumed, moving it about.
fn feed(pieces: &[&[u8]], limits: &Limits) -> Vec<Event> {
    let (mut parser, mut argv) = (Parser::new(), Argv::new());
    let (mut pending, mut events) = (Vec::new(), Vec::new());
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            match parser.parse(&pending, limits, &mut argv) {
                Ok(Parsed::Command { consumed }) => {
                    let command = Event::Command(argv.bind(&pending).to_vecs());
                    // A held command is parsed again and must come out the same.
                    let again = parser.parse(&pending, limits, &mut argv);
                    assert_eq!(again, Ok(Parsed::Command { consumed }));
                    assert_eq!(command, Event::Command(argv.bind(&pending).to_vecs()));
                    events.push(command);
                    pending.drain(..consumed);
                }
                Ok(Parsed::Skip { consumed }) => {
                    assert!(consumed > 0);
                    pending.drain(..consumed);
                }
                Ok(Parsed::Incomplete { need }) => {
                    assert!(need > pending.len(), "{need} of {}", pending.len());
                    break;
                }
                Err(error) => {
                    events.push(Event::Error(error));
                    return events;
                }
            }
        }
    }
    events
}

fn whole(input: &[u8]) -> Vec<Event> {
    feed(&[input], &Limits::default())
}

fn bytewise(input: &[u8], limits: &Limits) -> Vec<Event> {
    feed(&input.chunks(1).collect::<Vec<_>>(), limits)
}

fn commands(input: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let events = whole(input);
    assert_eq!(events, bytewise(input, &Limits::default()));
    events
        .into_iter()
        .map(|e| match e {
            Event::Command(args) => args,
            Event::Error(e) => panic!("{e} for {:?}", String::from_utf8_lossy(input)),
        })
        .collect()
}

fn one(input: &[u8]) -> Vec<Vec<u8>> {
    let mut all = commands(input);
    assert_eq!(all.len(), 1, "{:?}", String::from_utf8_lossy(input));
    all.remove(0)
}

fn error(input: &[u8], limits: &Limits) -> String {
    let events = feed(&[input], limits);
    assert_eq!(events, bytewise(input, limits));
    match events.last() {
        Some(Event::Error(e)) => String::from_utf8_lossy(&e.text()).into_owned(),
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(input)),
    }
}

#[test]
fn multibulk_commands_are_found_in_any_cut() {
    assert_eq!(one(b"*1\r\n$4\r\nPING\r\n"), [b"PING"]);
    let set = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\nb\0\r\n";
    assert_eq!(
        one(set),
        [b"SET".to_vec(), b"".to_vec(), b"a\r\nb\0".to_vec()]
    );
    assert_eq!(commands(&[set.as_slice(), set].concat()).len(), 2);
    // The bytes after CR, and those after an argument, are not looked at.
    assert_eq!(one(b"*1\rX$4\rYPINGZZ"), [b"PING"]);
}

#[test]
fn empty_commands_are_skipped() {
    assert_eq!(
        one(b"*0\r\n*-1\r\n\r\n\n   \r\n*-9223372036854775808\r\nPING\r\n"),
        [b"PING"]
    );
}

#[test]
fn inline_quoting() {
    let cases: &[(&[u8], &[&[u8]])] = &[
        (b"SET k v\n", &[b"SET", b"k", b"v"]),
        (b"  SET\tk  v \r\n", &[b"SET", b"k", b"v"]),
        (b"ECHO \"a b\" 'c d'\r\n", &[b"ECHO", b"a b", b"c d"]),
        (b"\"\" ''\r\n", &[b"", b""]),
        (
            b"\"\\x41\\xfF\\xg0\\n\\r\\t\\b\\a\\\\\\\"\\q\"\n",
            &[b"A\xffxg0\n\r\t\x08\x07\\\"q"],
        ),
        (b"'it\\'s \\n'\n", &[b"it's \\n"]),
        (b"foo\"bar\" x\\y\n", &[b"foobar", b"x\\y"]),
        (b"a\x0bb\x0c\n", &[b"a\x0bb\x0c"]),
        (b"\x0b\x0ca\n", &[b"a"]),
        (b"\"a\"\x0bb\n", &[b"a", b"b"]),
        (b"GET a\rb\n", &[b"GET", b"a", b"b"]),
    ];
    for (line, args) in cases {
        assert_eq!(one(line), *args, "{:?}", String::from_utf8_lossy(line));
    }
    for line in [
        "\"a\n",
        "'a\n",
        "\"a\"b\n",
        "'a'b\n",
        "'a\\'\n",
        "\"a\\\"\n",
        "x\"\n",
    ] {
        let text = error(line.as_bytes(), &Limits::default());
        assert_eq!(
            text, "ERR Protocol error: unbalanced quotes in request",
            "{line:?}"
        );
    }
}

#[test]
fn errors_have_redis_texts() {
    let open = Limits::default();
    let check = |input: &[u8], text: &str| {
        assert_eq!(
            error(input, &open),
            format!("ERR Protocol error: {text}"),
            "{input:?}"
        );
    };
    for count in [
        "",
        "x",
        "+1",
        "01",
        "-0",
        "1 ",
        "2147483648",
        "9223372036854775808",
        "-",
    ] {
        check(
            format!("*{count}\r\n").as_bytes(),
            "invalid multibulk length",
        );
    }
    for len in [
        "",
        "-1",
        "00",
        "a",
        "536870913",
        "9223372036854775807",
        "99999999999999999999",
    ] {
        check(
            format!("*1\r\n${len}\r\n").as_bytes(),
            "invalid bulk length",
        );
    }
    check(b"*1\r\nPING\r\n", "expected '$', got 'P'");
    check(b"*1\r\n\r\n", "expected '$', got ' '");
    check(b"*1\r\n\n\r\n", "expected '$', got ' '");
    assert_eq!(
        feed(&[b"*1\r\n\xff\r\n"], &open),
        [Event::Error(ProtocolError::ExpectedDollar(0xff))]
    );
    assert_eq!(
        ProtocolError::ExpectedDollar(0xff).text(),
        b"ERR Protocol error: expected '$', got '\xff'"
    );
}

#[test]
fn lines_are_bounded() {
    let open = Limits::default();
    let long = |prefix: &str, n: usize| [prefix.as_bytes(), &vec![b'1'; n]].concat();
    let cases = [
        ("*", 0, "too big mbulk count string"),
        ("*1\r\n$", 4, "too big bulk count string"),
        ("X", 0, "too big inline request"),
    ];
    for (prefix, start, text) in cases {
        let fits = long(prefix, MAX_LINE_BYTES - (prefix.len() - start));
        assert_eq!(whole(&fits), []);
        let mut over = fits.clone();
        over.push(b'1');
        assert_eq!(error(&over, &open), format!("ERR Protocol error: {text}"));
        // As much, with its end there already.
        over.extend_from_slice(b"\r\n");
        assert_eq!(error(&over, &open), format!("ERR Protocol error: {text}"));
    }
    // A NUL hides the end of the line.
    assert_eq!(whole(b"PI\0NG\r\nPING\r\n"), []);
    assert_eq!(whole(b"*1\0\r\n$4\r\nPING\r\n"), []);
    let stuck = [b"PI\0NG\r\n".as_slice(), &vec![b'\n'; MAX_LINE_BYTES]].concat();
    assert_eq!(
        error(&stuck, &open),
        "ERR Protocol error: too big inline request"
    );
}

#[test]
fn unauthenticated_limits() {
    let limits = Limits {
        unauthenticated: true,
        ..Limits::default()
    };
    assert_eq!(
        error(b"*11\r\n", &limits),
        "ERR Protocol error: unauthenticated multibulk length"
    );
    assert_eq!(
        error(b"*1\r\n$16385\r\n", &limits),
        "ERR Protocol error: unauthenticated bulk length"
    );
    assert_eq!(feed(&[b"*10\r\n$16384\r\n"], &limits), []);
    assert_eq!(whole(b"*11\r\n$16385\r\n"), []);
}

#[test]
fn an_announcement_takes_no_memory() {
    let (mut parser, mut argv) = (Parser::new(), Argv::new());
    let input = b"*2147483647\r\n$536870912\r\nabc";
    let parsed = parser.parse(input, &Limits::default(), &mut argv);
    assert_eq!(
        parsed,
        Ok(Parsed::Incomplete {
            need: 25 + 536870912 + 2
        })
    );
    assert!(argv.spans.capacity() < 64);
}

#[test]
fn a_dribbled_line_and_a_dribbled_bulk_are_linear() {
    // Quadratic work would take minutes here.
    let (mut parser, mut argv) = (Parser::new(), Argv::new());
    let limits = Limits::default();
    let mut input = b"*100001\r\n$3\r\nDEL\r\n".to_vec();
    for _ in 0..100_000 {
        input.extend_from_slice(b"$1\r\nk\r\n");
    }
    for end in 1..input.len() {
        let parsed = parser.parse(&input[..end], &limits, &mut argv);
        assert!(matches!(parsed, Ok(Parsed::Incomplete { .. })));
    }
    let parsed = parser.parse(&input, &limits, &mut argv);
    assert_eq!(
        parsed,
        Ok(Parsed::Command {
            consumed: input.len()
        })
    );
    assert_eq!(argv.bind(&input).len(), 100_001);
    assert!(parser.is_idle());
}

#[test]
fn args_views_agree() {
    let vecs = [b"SET".to_vec(), b"k".to_vec(), b"v".to_vec()];
    let slices: Vec<&[u8]> = vecs.iter().map(Vec::as_slice).collect();
    for args in [Args::from(vecs.as_slice()), Args::from(slices.as_slice())] {
        assert_eq!(
            (args.len(), &args[1], args.get(3)),
            (3, b"k".as_slice(), None)
        );
        assert_eq!(args.skip(1).to_vecs(), vecs[1..]);
        assert_eq!(args.skip(9).len(), 0);
        assert_eq!(args.iter().len(), 3);
    }
}

#[test]
fn doubles_as_redis_prints_them() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-17.0, "-17"),
        (3.1, "3.1"),
        (0.1, "0.1"),
        (-0.5, "-0.5"),
        (0.001, "0.001"),
        (0.0001, "0.0001"),
        (0.00001, "0.00001"),
        (1.5e-7, "1.5e-7"),
        (1e-7, "1e-7"),
        (123456.789, "123456.789"),
        (4611686018427387904.0, "4611686018427387904"),
        (1e19, "1e+19"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ];
    for (value, text) in cases {
        let mut out = Vec::new();
        push_double(&mut out, value);
        assert_eq!(String::from_utf8_lossy(&out), text);
    }
}

fn written(proto: Proto, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, proto));
    String::from_utf8(out).expect("replies here are text")
}

#[test]
fn replies_in_both_protocols() {
    type Case = (fn(&mut Reply<'_>), &'static str, &'static str);
    let cases: &[Case] = &[
        (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
        (|r| r.simple("QUEUED"), "+QUEUED\r\n", "+QUEUED\r\n"),
        (
            |r| r.error("ERR a\r\nb\n\r"),
            "-ERR a  b\r\n",
            "-ERR a  b\r\n",
        ),
        (|r| r.int(7), ":7\r\n", ":7\r\n"),
        (|r| r.int(-12), ":-12\r\n", ":-12\r\n"),
        (
            |r| r.int(i64::MIN),
            ":-9223372036854775808\r\n",
            ":-9223372036854775808\r\n",
        ),
        (|r| r.bulk(b"abc"), "$3\r\nabc\r\n", "$3\r\nabc\r\n"),
        (|r| r.bulk_int(42), "$2\r\n42\r\n", "$2\r\n42\r\n"),
        (
            |r| r.bulk_fmt(format_args!("{}-{}", 1, 2)),
            "$3\r\n1-2\r\n",
            "$3\r\n1-2\r\n",
        ),
        (|r| r.null(), "$-1\r\n", "_\r\n"),
        (|r| r.null_array(), "*-1\r\n", "_\r\n"),
        (|r| r.array(12), "*12\r\n", "*12\r\n"),
        (|r| r.map(3), "*6\r\n", "%3\r\n"),
        (|r| r.set(3), "*3\r\n", "~3\r\n"),
        (|r| r.push(3), "*3\r\n", ">3\r\n"),
        (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
        (|r| r.boolean(false), ":0\r\n", "#f\r\n"),
        (|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (|r| r.big_number("123"), "$3\r\n123\r\n", "(123\r\n"),
        (
            |r| r.verbatim("txt", b"hi"),
            "$2\r\nhi\r\n",
            "=6\r\ntxt:hi\r\n",
        ),
        (
            |r| {
                let list = r.deferred();
                r.int(1);
                r.int(2);
                r.set_array(list, 2);
                let map = r.deferred();
                r.int(1);
                r.int(2);
                r.set_map(map, 1);
            },
            "*2\r\n:1\r\n:2\r\n*2\r\n:1\r\n:2\r\n",
            "*2\r\n:1\r\n:2\r\n%1\r\n:1\r\n:2\r\n",
        ),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(written(Proto::Resp2, write), *resp2);
        assert_eq!(written(Proto::Resp3, write), *resp3);
    }
}

/// Bytes that a parser of this protocol finds interesting, with plain noise between.
fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6).prop_map(|args| {
            let mut out = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                out.extend_from_slice(&arg);
                out.extend_from_slice(b"\r\n");
            }
            out
        }),
        4 => prop::sample::select(vec![
            "*", "$", "\r\n", "\r", "\n", "-1", "0", "1", "2", "10", "999999999", "1000000000",
            "\"", "'", "\\", "\\x4", " ", "\0", "PING", "*1\r\n", "$1\r\n", "$4\r\nPING\r\n",
            "*-1\r\n", "*0\r\n", "get k\r\n", "set k \"a b\"\n", "$01\r\n", "*1",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_cut_gives_the_same_events(
        input in protocol_like(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        unauthenticated in any::<bool>(),
    ) {
        let limits = Limits { unauthenticated, max_bulk_bytes: 1_000_000 };
        let expected = feed(&[&input], &limits);
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        prop_assert_eq!(&feed(&pieces, &limits), &expected);
        prop_assert_eq!(&bytewise(&input, &limits), &expected);
    }

    #[test]
    fn commands_come_back_as_sent(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8), 0..8),
    ) {
        let mut input = Vec::new();
        for args in &commands {
            let mut reply = Reply::new(&mut input, Proto::Resp2);
            reply.array(args.len());
            args.iter().for_each(|a| reply.bulk(a));
        }
        let events: Vec<Event> = commands.into_iter().map(Event::Command).collect();
        prop_assert_eq!(whole(&input), events);
    }

    #[test]
    fn doubles_read_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let mut out = Vec::new();
        push_double(&mut out, value);
        let text = String::from_utf8(out).expect("digits");
        prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), bits);
    }
}

#[test]
fn bulk_strings_of_every_length_have_their_header() {
    for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12345] {
        let (mut out, text) = (Vec::new(), vec![b'x'; len]);
        Reply::new(&mut out, Proto::Resp2).bulk(&text);
        let wanted = [format!("${len}\r\n").as_bytes(), &text, b"\r\n"].concat();
        assert_eq!(out, wanted, "{len}");
    }
}
