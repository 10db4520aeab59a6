//! The HyperLogLog family: replies and bytes as Redis has them, effects that no directive changes.

use crate::testing::{single, Fixture};
use proptest::prelude::*;
use state::GateKind;

const INVALID: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
const CORRUPT: &str = "-INVALIDOBJ Corrupted HLL object detected\r\n";

fn value(f: &mut Fixture, key: &str) -> Vec<u8> {
    let (out, _) = f.outcome(&["GET", key]);
    let start = out.windows(2).position(|w| w == b"\r\n").expect("a bulk") + 2;
    out[start..out.len() - 2].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn elements_are_added_and_counted() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("PFCOUNT h", ":0\r\n"),
        ("PFADD h", ":1\r\n"),
        ("PFADD h", ":0\r\n"),
        ("PFCOUNT h", ":0\r\n"),
        ("PFADD h a b c", ":1\r\n"),
        ("PFADD h a b c", ":0\r\n"),
        ("PFCOUNT h", ":3\r\n"),
        ("PFADD i c d e ", ":1\r\n"),
        ("PFCOUNT h i none", ":6\r\n"),
        ("PFMERGE j h i", "+OK\r\n"),
        ("PFCOUNT j", ":6\r\n"),
        ("PFMERGE new", "+OK\r\n"),
        ("PFCOUNT new", ":0\r\n"),
        ("TYPE h", "+string\r\n"),
        ("PFDEBUG ENCODING h", "+sparse\r\n"),
        (
            "PFDEBUG decode h",
            "$44\r\nZ:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603\r\n",
        ),
        ("PFDEBUG TODENSE h", ":1\r\n"),
        ("PFDEBUG TODENSE h", ":0\r\n"),
        ("PFDEBUG ENCODING h", "+dense\r\n"),
        ("PFDEBUG DECODE h", "-ERR HLL encoding is not sparse\r\n"),
        ("PFCOUNT h", ":3\r\n"),
        ("STRLEN h", ":12304\r\n"),
        ("PFADD h d", ":1\r\n"),
        ("PFCOUNT h", ":4\r\n"),
        (
            "PFDEBUG ENCODING none",
            "-ERR The specified key does not exist\r\n",
        ),
        (
            "PFDEBUG what h",
            "-ERR Unknown PFDEBUG subcommand 'what'\r\n",
        ),
        ("SET s text", "+OK\r\n"),
        ("PFADD s a", INVALID),
        ("PFCOUNT s", INVALID),
        ("PFCOUNT h s", INVALID),
        ("PFMERGE s h", INVALID),
        ("PFMERGE h s", INVALID),
        ("PFDEBUG what s", INVALID),
        ("SET n 12", "+OK\r\n"),
        ("PFADD n a", INVALID),
    ]);
    assert!(f.line("PFDEBUG GETREG i").starts_with("*16384\r\n:0\r\n"));
    f.expect(&[("PFDEBUG ENCODING i", "+dense\r\n")]);
}

#[test]
fn self_test_passes() {
    let mut f = Fixture::new(single());
    f.expect(&[("PFSELFTEST", "+OK\r\n")]);
    assert!(f.host.breaths > 0, "T9");
}

/// The strings that Redis 7.4.1 made of the same commands.
#[test]
fn bytes_are_those_of_redis() {
    let mut f = Fixture::new(single());
    f.line("PFADD h");
    assert_eq!(hex(&value(&mut f, "h")), EMPTY);
    f.line("PFADD h a b c");
    assert_eq!(hex(&value(&mut f, "h")), ABC);
    f.line("PFCOUNT h");
    assert_eq!(hex(&value(&mut f, "h")), ABC_COUNTED);
}

const EMPTY: &str = "48594c4c0100000000000000000000807fff";
const ABC: &str = "48594c4c01000000000000000000008060f38050b1844bfb80425a";
const ABC_COUNTED: &str = "48594c4c01000000030000000000000060f38050b1844bfb80425a";

#[test]
fn broken_strings_are_told_from_whole_ones() {
    let mut f = Fixture::new(single());
    f.line("PFADD h a b c");
    let whole = value(&mut f, "h");
    for (at, bytes, want) in [
        (whole.len(), &b"hello"[..], CORRUPT),
        (0, b"0123", INVALID),
        (4, b"x", INVALID),
        (4, b"\0", INVALID),
        (16, b"\x7f\xff\x7f\xff", CORRUPT),
    ] {
        f.run(&[b"SET", &b"h"[..], &whole]);
        f.run(&[b"SETRANGE", &b"h"[..], at.to_string().as_bytes(), bytes]);
        assert_eq!(f.line("PFCOUNT h"), want, "{at}");
        assert_eq!(f.line("PFCOUNT h h"), want, "{at}");
        assert_eq!(f.line("PFMERGE d h"), want, "{at}");
        assert_eq!(f.line("EXISTS d"), ":0\r\n");
    }
}

/// Redis's walk of several ends at a value that goes beyond the last register.
#[test]
fn a_value_behind_all_registers_ends_the_walk() {
    let mut f = Fixture::new(single());
    f.line("PFADD h a b c");
    f.run(&[&b"APPEND"[..], b"h", b"\xe1K\xc0Y"]);
    f.expect(&[
        ("PFCOUNT h", CORRUPT),
        ("PFCOUNT h h", ":3\r\n"),
        ("PFMERGE d h", "+OK\r\n"),
    ]);
    assert_eq!(f.line("PFCOUNT d"), ":3\r\n");
}

/// PFCOUNT notes what it has counted, where it may.
#[test]
fn counts_are_noted_only_where_writes_are_admitted() {
    use crate::Serving;
    let mut f = Fixture::new(single());
    f.line("PFADD h a");
    f.serving = Serving::Lead { writable: false };
    let (out, outcome) = f.outcome(&["PFCOUNT", "h"]);
    assert_eq!((&out[..], outcome.gate), (&b":1\r\n"[..], GateKind::Read));
    f.serving = Serving::Lead { writable: true };
    f.grant = 10;
    assert_eq!(f.outcome(&["PFCOUNT", "h"]).1.gate, GateKind::Read);
    f.expect(&[("MULTI", "+OK\r\n"), ("PFCOUNT h", "+QUEUED\r\n")]);
    assert_eq!(f.outcome(&["EXEC"]).1.flow, crate::Flow::Hold);
    f.grant = usize::MAX;
    assert_eq!(f.outcome(&["EXEC"]).1.gate, GateKind::Write);
    f.line("PFADD h b");
    f.expect(&[("WATCH h", "+OK\r\n")]);
    assert_eq!(f.outcome(&["PFCOUNT", "h"]).1.gate, GateKind::Write);
    assert_eq!(f.outcome(&["PFCOUNT", "h"]).1.gate, GateKind::Read);
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "*-1\r\n"),
    ]);
    f.serving = Serving::Redirect {
        addr: Some("other:1"),
        own_copy: true,
    };
    f.session.readonly = true;
    assert_eq!(f.line("PFCOUNT h"), ":2\r\n");
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, u16, u16),
    Count(u8, u8),
    Merge(u8, u8, u8),
    Dense(u8),
    Scribble(u8, u16, u8),
    Limit(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, any::<u16>(), 0..400u16).prop_map(|(k, from, n)| Step::Add(k, from, n)),
        2 => (0..4u8, 0..4u8).prop_map(|(a, b)| Step::Count(a, b)),
        2 => (0..4u8, 0..4u8, 0..4u8).prop_map(|(a, b, c)| Step::Merge(a, b, c)),
        1 => (0..4u8).prop_map(Step::Dense),
        1 => (0..4u8, any::<u16>(), any::<u8>()).prop_map(|(k, at, b)| Step::Scribble(k, at, b)),
        1 => prop_oneof![Just(0), Just(100), Just(3000), Just(20_000)].prop_map(Step::Limit),
    ]
}

fn run(f: &mut Fixture, step: &Step) {
    let key = |k: &u8| format!("{{h}}{k}");
    let args: Vec<Vec<u8>> = match step {
        Step::Add(k, from, n) => {
            let elements = (0..*n).map(|i| (u32::from(*from) * 7 + u32::from(i)).to_string());
            let words = ["PFADD".to_owned(), key(k)].into_iter().chain(elements);
            words.map(String::into_bytes).collect()
        }
        Step::Count(a, b) if a == b => vec![b"PFCOUNT".into(), key(a).into()],
        Step::Count(a, b) => vec![b"PFCOUNT".into(), key(a).into(), key(b).into()],
        Step::Merge(a, b, c) => vec![
            b"PFMERGE".into(),
            key(a).into(),
            key(b).into(),
            key(c).into(),
        ],
        Step::Dense(k) => vec![b"PFDEBUG".into(), b"TODENSE".into(), key(k).into()],
        Step::Scribble(k, at, byte) => {
            let at = (16 + at % 2000).to_string();
            vec![b"SETRANGE".into(), key(k).into(), at.into(), vec![*byte]]
        }
        Step::Limit(limit) => {
            f.host.config.hll_sparse_max_bytes = usize::from(*limit);
            return;
        }
    };
    f.run(&args);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A follower knows no directive: it has what the leader has after each command.
    #[test]
    fn twin_without_directive_has_the_same(steps in prop::collection::vec(step(), 1..40)) {
        for cluster in [false, true] {
            let layout = if cluster { keyspace::Layout::Cluster } else { single() };
            let mut leader = Fixture::new(layout);
            for step in &steps {
                run(&mut leader, step);
            }
            let twin = super::effects::follow(layout, &leader.log);
            prop_assert_eq!(twin.keyspace().digest_all(), leader.data.keyspace().digest_all());
        }
    }

    /// D5: what a command puts into the log is within what a transaction asks for.
    #[test]
    fn effects_take_no_more_than_was_asked_for(steps in prop::collection::vec(step(), 1..20)) {
        let mut f = Fixture::new(single());
        for step in &steps {
            f.grant = usize::MAX;
            f.line("MULTI");
            run(&mut f, step);
            f.grant = 0;
            let (_, outcome) = f.outcome(&["EXEC"]);
            if outcome.flow == crate::Flow::Hold {
                f.grant = f.data.take_wanted().expect("room is asked for");
                let (_, outcome) = f.outcome(&["EXEC"]);
                prop_assert!(outcome.flow != crate::Flow::Hold, "{step:?}");
            }
        }
    }
}
