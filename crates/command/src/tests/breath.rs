//! T9: what one command, or one effect of a few bytes, does for long lets the server breathe: on the leader, and on a
//! follower that carries it out.

use crate::testing::{single, Fixture, START_MS};
use effect::{parse_entry, Staged, Stager, Unit, PART_BYTES};
use keyspace::Keyspace;
use state::{apply_unit, Pacer, StateMachine};

/// Elements of each large value.
const MANY: usize = 20_000;
/// What looking at that many comes to, where a step counts for 256 bytes.
const BREATHS: u64 = 19;

/// A command with many arguments, in which the leader breathes.
fn run(f: &mut Fixture, head: &[&str], each: &dyn Fn(usize) -> Vec<String>) {
    let mut words: Vec<String> = head.iter().map(|word| word.to_string()).collect();
    words.extend((0..MANY).flat_map(each));
    let before = f.host.breaths;
    f.run(&words);
    assert!(f.host.breaths > before, "{head:?}");
}

fn fill(f: &mut Fixture) {
    run(f, &["SADD", "a"], &|n| vec![format!("a{n}")]);
    run(f, &["SADD", "b"], &|n| vec![format!("b{n}")]);
    run(f, &["ZADD", "z"], &|n| vec![n.to_string(), format!("m{n}")]);
    run(f, &["RPUSH", "l"], &|n| vec![(n % 1000).to_string()]);
    run(f, &["HSET", "h"], &|n| {
        vec![format!("a-long-name-{n}"), "v".into()]
    });
    f.run(&[&b"SET"[..], b"s", &vec![b'x'; 6 << 20]]);
}

/// Carries the leader's log out: how often it breathed, for each batch.
fn follow(log: &[Vec<u8>]) -> (StateMachine, Vec<u64>) {
    let mut data = StateMachine::new(Keyspace::new(single(), 99), PART_BYTES);
    let (mut stager, mut pacer) = (Stager::default(), Pacer::default());
    let mut breaths = Vec::new();
    for body in log {
        let mut drawn = 0;
        let body = parse_entry(body).expect("a body");
        let mut apply = |unit: Unit<'_>| {
            apply_unit(&mut data, unit, &mut pacer, &mut || drawn += 1).expect("applies");
        };
        match stager.take(1, body).expect("in order") {
            Staged::Nothing => continue,
            Staged::Units(units) => units.for_each(|unit| apply(unit.expect("a unit"))),
            Staged::Whole(body) => apply(Unit::new(&body)),
        }
        breaths.push(drawn);
    }
    (data, breaths)
}

const LONG: &[&str] = &[
    "SUNIONSTORE d a b",
    "SINTERSTORE d a b",
    "SDIFFSTORE d a b",
    "ZUNIONSTORE d 2 z a",
    "ZINTERSTORE d 2 z z",
    "ZDIFFSTORE d 2 z a",
    "ZRANGESTORE d z 0 -2",
    "ZREMRANGEBYRANK z 0 -2",
    "LINSERT l BEFORE 999 x",
    "LREM l 0 7",
    "BITOP NOT d s",
];

/// A command of which the follower did not breathe often enough, if there is one.
fn breathless() -> Option<&'static str> {
    let mut f = Fixture::new(single());
    fill(&mut f);
    for line in LONG {
        let filled = f.log.len();
        f.line(line);
        if *line == "SINTERSTORE d a b" {
            assert_eq!(f.line("EXISTS d"), ":0\r\n", "nothing is in both");
            f.line("SINTERSTORE d a a");
        }
        assert!(f.log.len() > filled, "{line} logs nothing");
    }
    let (data, breaths) = follow(&f.log);
    assert_eq!(data.keyspace().digest_all(), f.data.keyspace().digest_all());
    // What follows the filling, without the deletion of what was in both.
    let mut of_lines = breaths[6..].to_vec();
    of_lines.remove(1);
    assert_eq!(of_lines.len(), LONG.len(), "an entry for each");
    let expected = |line: &str| match line {
        "BITOP NOT d s" => BREATHS,
        // It stops at the first one.
        "LINSERT l BEFORE 999 x" => 0,
        _ => BREATHS,
    };
    let mut lines = LONG.iter().zip(of_lines);
    lines
        .find(|(line, drawn)| *drawn < expected(line))
        .map(|(line, _)| *line)
}

#[test]
fn a_follower_breathes_within_one_effect() {
    assert_eq!(breathless(), None);
}

#[cfg(feature = "mutations")]
#[test]
fn an_apply_that_does_not_breathe_is_noticed() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::ApplyDoesNotBreathe));
    let noticed = breathless();
    mutation::set(None);
    assert_eq!(noticed, Some(LONG[0]));
}

#[test]
fn commands_of_many_arguments_breathe() {
    let mut f = Fixture::new(single());
    fill(&mut f);
    let (count, at) = (MANY.to_string(), (START_MS + 5).to_string());
    let field = |n: usize| vec![format!("a-long-name-{n}")];
    let key = |n: usize| vec![format!("k{n}")];
    run(&mut f, &["HPEXPIREAT", "h", &at, "FIELDS", &count], &field);
    run(&mut f, &["HPERSIST", "h", "FIELDS", &count], &field);
    run(&mut f, &["HDEL", "h"], &field);
    run(&mut f, &["SREM", "a"], &|n| vec![format!("a{n}")]);
    run(&mut f, &["ZREM", "z"], &|n| vec![format!("m{n}")]);
    run(&mut f, &["MSET"], &|n| vec![format!("k{n}"), "v".into()]);
    run(&mut f, &["EXISTS"], &key);
    run(&mut f, &["DEL"], &key);
    let (data, breaths) = follow(&f.log);
    assert_eq!(data.keyspace().digest_all(), f.data.keyspace().digest_all());
    let drawn = breaths.iter().filter(|drawn| **drawn >= BREATHS);
    assert!(drawn.count() >= 12, "as often on a follower: {breaths:?}");
}

/// In a transaction SORT and SPOP are logged as what is to be done again.
#[test]
fn what_each_member_works_out_breathes() {
    let mut f = Fixture::new(single());
    fill(&mut f);
    for line in ["SORT l ALPHA STORE d", "SORT l STORE d", "SPOP a 19000"] {
        f.line("MULTI");
        f.line(line);
        f.line("EXEC");
        let (_, breaths) = follow(&f.log);
        assert!(breaths[breaths.len() - 1] >= BREATHS, "{line}: {breaths:?}");
    }
}

#[test]
fn long_commands_of_the_leader_breathe() {
    let mut f = Fixture::new(single());
    fill(&mut f);
    f.line("RPUSH l last");
    let (dump, _) = f.outcome(&["DUMP", "h"]);
    let begins = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let payload = &dump[begins..dump.len() - 2];
    for line in [
        "LINSERT l BEFORE last x",
        "LREM l 0 7",
        "LPOS l none",
        "SORT l ALPHA",
        "SORT a ALPHA LIMIT 0 1",
        "SORT l ALPHA STORE d",
        "BITOP NOT d s",
        "BITCOUNT s",
    ] {
        let before = f.host.breaths;
        f.line(line);
        assert!(f.host.breaths > before, "{line}");
    }
    let before = f.host.breaths;
    assert_eq!(f.run(&[&b"RESTORE"[..], b"r", b"0", payload]), "+OK\r\n");
    assert!(f.host.breaths > before, "RESTORE");
}

/// Fields that are due go in slices of a turn, the command waits, and what is logged names them.
#[test]
fn millions_of_due_fields_go_in_slices() {
    let mut f = Fixture::new(single());
    fill(&mut f);
    let fields: Vec<String> = (0..MANY).map(|n| format!("a-long-name-{n}")).collect();
    let count = MANY.to_string();
    let at = (START_MS + 5).to_string();
    let mut words = vec!["HPEXPIREAT", "h", &at, "FIELDS", &count];
    words.extend(fields.iter().map(|field| &**field));
    f.run(&words);
    f.line("HSET h stays v");
    f.advance(10);
    let (mut turns, before) = (0, f.log.len());
    loop {
        let bytes: usize = f.log.iter().map(Vec::len).sum();
        let (reply, outcome) = f.outcome(&["HRANDFIELD", "h", "5"]);
        let now: usize = f.log.iter().map(Vec::len).sum();
        assert!(now - bytes < 200 << 10, "a slice of {} bytes", now - bytes);
        if outcome.flow != crate::env::Flow::Hold {
            assert_eq!(reply, b"*1\r\n$5\r\nstays\r\n");
            break;
        }
        turns += 1;
        assert!(turns < 50, "it never ends");
    }
    assert!(turns > 0 && f.log.len() > before + 1, "{turns} slices");
    assert_eq!(f.data.counters().expired_fields, MANY as u64);
    let (data, _) = follow(&f.log);
    assert_eq!(data.keyspace().digest_all(), f.data.keyspace().digest_all());
}
