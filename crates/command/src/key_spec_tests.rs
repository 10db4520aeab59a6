//! Finding keys: by the key specs of Redis's own table, also of commands that are not here yet.

use super::*;
use crate::spec::{CommandFlags, Spec};
use crate::tests::golden;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// The keys that a row finds in a command; none if it can't tell.
fn keys_by(spec: &Spec, line: &str) -> Option<Vec<String>> {
    let line = words(line);
    let args = Args::from(line.as_slice());
    let name = |index: usize| String::from_utf8_lossy(args.at(index)).into_owned();
    let (mut keys, mut with_flags) = (Vec::new(), Vec::new());
    let found = spec.keys(args, |index| keys.push(name(index)));
    let again = spec.keys_and_flags(args, &mut |index, _| with_flags.push(name(index)));
    assert_eq!((found, &keys), (again, &with_flags), "both ways agree");
    found.ok().map(|()| keys)
}

/// The same by the row of the command's name.
fn keys(line: &str) -> Option<Vec<String>> {
    let name = line.split(' ').next().unwrap().to_ascii_lowercase();
    keys_by(&golden::spec(&name), line)
}

#[test]
fn keys_at_fixed_places() {
    for (line, want) in [
        ("GET a", "a"),
        ("SET a v GET", "a"),
        ("MGET a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("RENAME a b", "a b"),
        ("LCS a b LEN", "a b"),
        ("BITOP AND dst a b", "dst a b"),
        ("BLPOP a b 0", "a b"),
        ("OBJECT|ENCODING x a", "a"),
        ("XINFO|STREAM x a FULL", "a"),
    ] {
        let want: Vec<String> = want.split(' ').map(str::to_owned).collect();
        assert_eq!(keys(line), Some(want), "{line}");
    }
    assert_eq!(keys("PING"), Some(vec![]));
}

#[test]
fn keys_behind_their_number_or_a_word() {
    for (line, want) in [
        ("EVAL script 2 a b x y", "a b"),
        ("EVAL script 0 x", ""),
        ("EVAL_RO script 1 a", "a"),
        ("EVALSHA sha 1 a x", "a"),
        ("FCALL f 1 a 1", "a"),
        ("LMPOP 2 a b LEFT COUNT 3", "a b"),
        ("BLMPOP 0.5 1 a RIGHT", "a"),
        ("SINTERCARD 2 a b LIMIT 1", "a b"),
        ("ZUNION 2 a b WEIGHTS 1 2", "a b"),
        ("ZUNIONSTORE dst 2 a b WEIGHTS 1 2", "dst a b"),
        ("ZINTERSTORE dst 1 a", "dst a"),
        ("XREAD COUNT 5 streams a b 0 0", "a b"),
        ("XREAD BLOCK 0 STREAMS a $", "a"),
        ("XREADGROUP GROUP streams me STREAMS a b > >", "a b"),
        ("XREAD COUNT 5 a b", ""),
        ("XREAD COUNT 5 STREAMS", ""),
        ("GEORADIUS a 1 2 3 km STORE dst", "a dst"),
        ("GEORADIUS a 1 2 3 km ASC STOREDIST dst", "a dst"),
        ("GEORADIUS a 1 2 3 km", "a"),
    ] {
        let want: Vec<String> = want
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect();
        assert_eq!(keys(line), Some(want), "{line}");
    }
}

#[test]
fn bad_numbers_of_keys_name_none() {
    for line in [
        "EVAL script 3 a b",
        "EVAL script -1 a",
        "EVAL script x a",
        "EVAL script",
        "EVAL script 9223372036854775807 a",
        "EVAL script 99999999999999999999 a",
        "LMPOP 2 a",
        "ZUNIONSTORE dst 2 a",
        "ZUNION x a",
    ] {
        assert_eq!(keys(line), None, "{line}");
    }
}

/// What a SORT will need: its STORE may stand anywhere, and the last one counts.
fn sort_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    visit(1, KeyFlags::RO.and(KeyFlags::ACCESS));
    let is = |at: usize, word: &str| args.at(at).eq_ignore_ascii_case(word.as_bytes());
    let (mut at, mut store) = (2, None);
    while at < args.len() {
        if is(at, "limit") {
            at += 2;
        } else if is(at, "get") || is(at, "by") {
            at += 1;
        } else if is(at, "store") && at + 1 < args.len() {
            store = Some(at + 1);
        }
        at += 1;
    }
    store
        .into_iter()
        .for_each(|at| visit(at, KeyFlags::OW.and(KeyFlags::UPDATE)));
    Ok(())
}

/// The same for MIGRATE: with KEYS the one key has to be empty, and is none.
fn migrate_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    let flags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
    let list = behind("keys", -2, args).filter(|_| args.at(3).is_empty());
    let (first, end) = list.map_or((3, 4), |first| (first, args.len()));
    (first..end).for_each(|index| visit(index, flags));
    Ok(())
}

#[test]
fn finders_say_what_specs_cannot() {
    let sort = || golden::spec("sort");
    let migrate = || golden::spec("migrate");
    for vague in [sort(), migrate()] {
        assert!(vague.flags.has(CommandFlags::MOVABLE_KEYS));
        assert!(!vague.key_specs.iter().all(KeySpec::is_complete));
    }
    assert_eq!(
        keys("SORT a STORE b"),
        None,
        "without a finder nothing is guessed"
    );
    let (sort, migrate) = (sort().keys_by(sort_keys), migrate().keys_by(migrate_keys));
    for (spec, line, want) in [
        (&sort, "SORT a", "a"),
        (&sort, "SORT a BY w_* GET o_* LIMIT 0 5 STORE dst", "a dst"),
        (&sort, "SORT a STORE b STORE c", "a c"),
        (&sort, "SORT a BY store GET store", "a"),
        (&sort, "SORT a STORE", "a"),
        (&migrate, "MIGRATE h 1 a 0 9", "a"),
        (&migrate, "MIGRATE h 1  0 9 COPY KEYS a b", "a b"),
        (&migrate, "MIGRATE h 1 a 0 9 AUTH keys", "a"),
    ] {
        let want: Vec<String> = want.split(' ').map(str::to_owned).collect();
        assert_eq!(keys_by(spec, line), Some(want), "{line}");
    }
}

/// What older clients are told follows from the key specs, for every command that Redis has.
#[test]
fn ranges_and_movable_keys_are_those_of_redis() {
    for command in golden::commands() {
        let spec = golden::spec(command);
        let KeyRange { first, last, step } = spec.range;
        let range = format!("{first},{last},{step}");
        assert_eq!(range, golden::column(command, "keys"), "{command}");
        let movable = golden::column(command, "flags").contains("movablekeys");
        assert_eq!(
            spec.flags.has(CommandFlags::MOVABLE_KEYS),
            movable,
            "{command}"
        );
        let written: Vec<String> = spec.key_specs.iter().map(golden::key_spec).collect();
        assert_eq!(
            written.join(";"),
            golden::column(command, "key_specs"),
            "{command}"
        );
    }
}

proptest! {
    /// Commands that Redis has, with arguments that anybody could send.
    #[test]
    fn no_key_lies_beyond_the_arguments(
        command in select(golden::commands().collect::<Vec<_>>()),
        words in vec(select(vec!["a", "0", "1", "3", "-1", "99999999999", "STREAMS", "KEYS", "STORE"]), 0..7),
    ) {
        let mut args = vec![command.as_bytes()];
        args.extend(words.iter().map(|word| word.as_bytes()));
        let args = Args::from(args.as_slice());
        let mut visit = |index: usize, _: KeyFlags| assert!((1..args.len()).contains(&index));
        let spec = golden::spec(command);
        let _told_or_not = spec.keys_and_flags(args, &mut visit);
        let _told_or_not = spec.keys(args, |index| visit(index, KeyFlags::RO));
    }
}

#[test]
fn key_ranges_follow_the_arguments() {
    let all = |first, last, step, argc| {
        KeyRange { first, last, step }
            .indexes(argc)
            .collect::<Vec<_>>()
    };
    assert_eq!(all(0, 0, 0, 3), Vec::<usize>::new());
    assert_eq!(all(1, 1, 1, 3), vec![1]);
    assert_eq!(all(1, -1, 1, 4), vec![1, 2, 3]);
    assert_eq!(all(1, -1, 2, 5), vec![1, 3]);
    assert_eq!(all(1, 2, 1, 3), vec![1, 2]);
    assert_eq!(
        all(1, 2, 1, 2),
        vec![1],
        "a short command names only the keys it has"
    );
    assert_eq!(all(1, -1, 1, 1), Vec::<usize>::new());
}
