//! Effects rebuild on a follower what the leader has, expiry times included.

use crate::testing::{single, Fixture, START_MS};
use cluster_bus::slot::SLOT_COUNT;
use effect::{parse_entry, Batch, Body, Effect, Op, Staged, Stager, Unit, PART_BYTES};
use keyspace::{Keyspace, Layout};
use proptest::prelude::*;
use state::{apply_unit, effects, op, ApplyError, Pacer, StateMachine};
use topology::Record;

/// Applies a leader's log to a fresh keyspace of another seed.
pub fn follow(layout: Layout, log: &[Vec<u8>]) -> StateMachine {
    // Neither the seed nor the limits of containers may matter.
    let mut keyspace = Keyspace::new(layout, 99);
    keyspace.set_limits(keyspace::Limits {
        hash_entries: 2,
        set_ints: 3,
        set_entries: 2,
        list_size: 3,
        zset_entries: 2,
        ..keyspace::Limits::default()
    });
    let mut data = StateMachine::new(Keyspace::new(layout, 99), PART_BYTES);
    // S1: effects are only applied to slots that the shard has.
    let record = Record {
        slots: (0..SLOT_COUNT).collect(),
        ..Record::default()
    };
    data.restart(keyspace, record.into());
    let mut stager = Stager::default();
    for body in log {
        let body = parse_entry(body).expect("a body");
        match stager.take(1, body).expect("in order") {
            Staged::Nothing => {}
            Staged::Units(units) => {
                for unit in units {
                    apply_unit(
                        &mut data,
                        unit.expect("a unit"),
                        &mut Pacer::default(),
                        &mut || {},
                    )
                    .expect("applies");
                }
            }
            Staged::Whole(body) => {
                apply_unit(
                    &mut data,
                    Unit::new(&body),
                    &mut Pacer::default(),
                    &mut || {},
                )
                .expect("applies");
            }
        }
    }
    data
}

fn effects_of(body: &[u8]) -> Vec<String> {
    let Body::Units(units) = parse_entry(body).expect("a body") else {
        panic!("units")
    };
    let mut texts = vec![];
    for unit in units {
        let (mut unit, mut effect) = (unit.expect("a unit"), Effect::default());
        while unit.next_into(&mut effect).expect("an effect") {
            let args: Vec<_> = effect
                .args
                .iter()
                .map(|a| String::from_utf8_lossy(a))
                .collect();
            texts.push(
                format!("{} {}", effects::name(effect.op), args.join(" "))
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    texts
}

#[test]
fn effects_contain_nothing_relative() {
    let mut f = Fixture::new(single());
    let at = START_MS + 10_000;
    for (line, want) in [
        ("SET k v", vec!["SET k v".to_owned()]),
        ("SET k v EX 10", vec![format!("SET k v PXAT {at}")]),
        ("SET k w KEEPTTL", vec!["SET k w KEEPTTL".to_owned()]),
        ("SETEX k 10 v", vec![format!("SET k v PXAT {at}")]),
        ("GETEX k PERSIST", vec!["PERSIST k".to_owned()]),
        ("GETEX k PX 10000", vec![format!("PEXPIREAT k {at}")]),
        ("GETEX k EXAT 1", vec!["DEL k".to_owned()]),
        ("SETNX k 1", vec!["SET k 1".to_owned()]),
        ("DECRBY k 5", vec!["INCRBY k -5".to_owned()]),
        ("INCRBYFLOAT k 0.5", vec!["SET k -3.5 KEEPTTL".to_owned()]),
        ("GETSET k a", vec!["SET k a".to_owned()]),
        ("APPEND k b", vec!["APPEND k b".to_owned()]),
        ("SETRANGE k 1 c", vec!["SETRANGE k 1 c".to_owned()]),
        ("SETBIT k 3 1", vec!["SETBIT k 3 1".to_owned()]),
        ("SETBIT k 3 1", vec![]),
        (
            "BITFIELD k GET u8 0 INCRBY u4 8 1 OVERFLOW FAIL INCRBY u8 0 255 SET u8 #3 65",
            vec!["BITFIELD k 3 \0 1 s 3 A".to_owned()],
        ),
        (
            "BITOP or k a k none a",
            vec!["BITOP OR k a k none".to_owned()],
        ),
        ("BITOP NOT k none", vec!["DEL k".to_owned()]),
        ("SET k v", vec!["SET k v".to_owned()]),
        ("EXPIRE k 10", vec![format!("PEXPIREAT k {at}")]),
        ("RENAMENX k l", vec!["RENAME k l".to_owned()]),
        ("EXPIRE l -1", vec!["DEL l".to_owned()]),
        ("MSETNX a 1 b 2", vec!["MSET a 1 b 2".to_owned()]),
        ("DEL a b none", vec!["DEL a".to_owned(), "DEL b".to_owned()]),
        ("SET g 1", vec!["SET g 1".to_owned()]),
        ("GETDEL g", vec!["DEL g".to_owned()]),
        ("SADD s a b", vec!["SADD s a b".to_owned()]),
        ("SADD s a b", vec![]),
        ("SADD s c a", vec!["SADD s c a".to_owned()]),
        ("SREM s c x c", vec!["SREM s c".to_owned()]),
        ("SMOVE s t b", vec!["SMOVE s t b".to_owned()]),
        ("SMOVE s s a", vec![]),
        (
            "SUNIONSTORE u s t",
            vec!["the storing of combined sets UNION u s t".to_owned()],
        ),
        ("SINTERSTORE u s t", vec!["DEL u".to_owned()]),
        ("SINTERSTORE u s t", vec![]),
        ("SPOP s", vec!["DEL s".to_owned()]),
        ("SADD s a a", vec!["SADD s a a".to_owned()]),
        ("SPOP s 7", vec!["DEL s".to_owned()]),
        (
            "LPUSH l a 1",
            vec!["the pushing of elements l LEFT a 1".to_owned()],
        ),
        ("LPUSHX n a", vec![]),
        (
            "RPUSHX l a b",
            vec!["the pushing of elements l RIGHT a b".to_owned()],
        ),
        (
            "RPOP l",
            vec!["the popping of elements l RIGHT 1".to_owned()],
        ),
        ("LPOP l 0", vec![]),
        (
            "LMPOP 2 n l LEFT",
            vec!["the popping of elements l LEFT 1".to_owned()],
        ),
        ("LMOVE n l LEFT LEFT", vec![]),
        ("RPOPLPUSH l m", vec!["LMOVE l m RIGHT LEFT".to_owned()]),
        ("LSET l -1 b", vec!["LSET l 0 b".to_owned()]),
        (
            "LINSERT l after b c",
            vec!["LINSERT l AFTER b c".to_owned()],
        ),
        ("LINSERT l after x c", vec![]),
        ("LREM l -1 x", vec![]),
        ("LREM l -1 c", vec!["LREM l -1 c".to_owned()]),
        ("LTRIM l 0 -1", vec![]),
        (
            "RPUSH l d",
            vec!["the pushing of elements l RIGHT d".to_owned()],
        ),
        ("LTRIM l -1 -1", vec!["LTRIM l 1 1".to_owned()]),
        ("LTRIM l 9 -1", vec!["LTRIM l 1 0".to_owned()]),
        ("LTRIM l 9 -1", vec![]),
        (
            "LPOP m 9",
            vec!["the popping of elements m LEFT 1".to_owned()],
        ),
        (
            "RPUSH l 2 1",
            vec!["the pushing of elements l RIGHT 2 1".to_owned()],
        ),
        ("SORT l", vec![]),
        (
            "SORT l STORE m",
            vec!["the pushing of elements m RIGHT 1 2".to_owned()],
        ),
        (
            "SORT l GET # LIMIT 0 1 STORE m",
            vec![
                "DEL m".to_owned(),
                "the pushing of elements m RIGHT 1".to_owned(),
            ],
        ),
        ("SORT n STORE m", vec!["DEL m".to_owned()]),
        ("SORT n STORE m", vec![]),
        ("MULTI", vec![]),
        ("SORT l ALPHA DESC BY x GET # STORE m", vec![]),
        (
            "EXEC",
            vec!["the storing of sorted elements m l ADKB x 0 -1 #".to_owned()],
        ),
        ("SET g 1", vec!["SET g 1".to_owned()]),
        ("FLUSHDB ASYNC", vec!["FLUSHDB".to_owned()]),
        ("SET g 1", vec!["SET g 1".to_owned()]),
        ("FLUSHALL", vec!["FLUSHALL".to_owned()]),
        ("SET g 1", vec!["SET g 1".to_owned()]),
        ("COPY g h", vec!["COPY g h 0".to_owned()]),
        ("COPY g h DB 2 REPLACE", vec!["COPY g h 2".to_owned()]),
        ("MOVE g 1", vec!["MOVE g 1".to_owned()]),
        ("SWAPDB 0 2", vec!["SWAPDB 0 2".to_owned()]),
    ] {
        let before = f.log.len();
        f.line(line);
        let effects: Vec<String> = f.log[before..].iter().flat_map(|b| effects_of(b)).collect();
        assert_eq!(effects, want, "{line}");
    }
}

#[test]
fn of_sorted_sets_only_changes_are_logged() {
    let mut f = Fixture::new(single());
    let logged = |f: &mut Fixture, line: &str| {
        let before = f.log.len();
        f.line(line);
        let all = f.log[before..].iter().flat_map(|body| effects_of(body));
        let names = all.map(|effect| effect.split(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    for (line, want) in [
        ("ZADD z 1 a 2 b 3 c 4 d", "ZADD"),
        ("ZADD z 1 a 2 b", ""),
        ("ZADD z NX 9 a", ""),
        ("ZADD z GT 0 a", ""),
        ("ZADD none XX 1 a", ""),
        ("ZINCRBY z 0 a", ""),
        ("ZINCRBY z 1 a", "ZINCRBY"),
        ("ZREM z none", ""),
        ("ZPOPMIN z 0", ""),
        ("ZPOPMAX z", "ZPOP"),
        ("ZREMRANGEBYSCORE z 7 8", ""),
        ("ZREMRANGEBYLEX z [b [b", "ZREMRANGE"),
        ("ZUNIONSTORE d 1 none", ""),
        ("ZUNIONSTORE d 1 z", "ZSTORE"),
        ("ZRANGESTORE d z 0 0", "ZRANGESTORE"),
        ("ZINTERSTORE d 2 z none", "DEL"),
        ("GEOSEARCHSTORE d z FROMLONLAT 0 0 BYRADIUS 1 m", ""),
        ("ZMPOP 2 none z MIN COUNT 9", "ZPOP"),
    ] {
        assert_eq!(logged(&mut f, line), want, "{line}");
    }
}

#[test]
fn restore_is_logged_as_the_set_that_it_comes_to() {
    let mut f = Fixture::new(single());
    // What DUMP of Redis 7.0.15 said of "hello".
    let payload = b"\x00\x05hello\n\x00cr\xdfve4 \n";
    let at = START_MS + 10_000;
    let gone = START_MS.to_string();
    for (ttl, option, want) in [
        ("0", "REPLACE", vec!["SET k hello".to_owned()]),
        ("10000", "REPLACE", vec![format!("SET k hello PXAT {at}")]),
        ("10000", "ABSTTL", vec![]), // the key is there
        (&gone, "ABSTTL", vec![]),
    ] {
        let before = f.log.len();
        let args: [&[u8]; 5] = [b"RESTORE", b"k", ttl.as_bytes(), payload, option.as_bytes()];
        f.run(&args);
        let effects: Vec<String> = f.log[before..].iter().flat_map(|b| effects_of(b)).collect();
        assert_eq!(effects, want, "{ttl} {option}");
    }
    let before = f.log.len();
    let words: [&[u8]; 4] = [b"RESTORE", b"k", b"1", payload];
    f.run(&[&words[..], &[b"ABSTTL", b"REPLACE"]].concat());
    assert_eq!(effects_of(&f.log[before]), ["DEL k"]);
    let follower = follow(single(), &f.log);
    let (ours, leads) = (
        follower.keyspace().digest_all(),
        f.data.keyspace().digest_all(),
    );
    assert_eq!(ours, leads);
}

#[test]
fn a_follower_stops_at_what_it_cannot_apply() {
    let unit = |op, args: &[&[u8]]| {
        let mut batch = Batch::new(PART_BYTES);
        batch.begin_unit();
        batch.push(0, op, args);
        batch.end_unit();
        batch.take()
    };
    let mut data = StateMachine::new(Keyspace::new(single(), 1), PART_BYTES);
    for (bodies, want) in [
        (unit(op::SET, &[b"k"]), ApplyError::Arguments(op::SET)),
        (
            unit(op::SET, &[b"k", b"v", b"PX", b"1"]),
            ApplyError::Arguments(op::SET),
        ),
        (
            unit(op::PEXPIREAT, &[b"k", b"soon"]),
            ApplyError::Arguments(op::PEXPIREAT),
        ),
        (unit(Op::SELECT, &[b"16"]), ApplyError::Database(16)),
        (
            unit(Op::SELECT, &[b"one"]),
            ApplyError::Arguments(Op::SELECT),
        ),
        (
            unit(op::RENAME, &[b"none", b"k"]),
            ApplyError::Mismatch(op::RENAME),
        ),
        (unit(op::MSET, &[b"k"]), ApplyError::Arguments(op::MSET)),
        (
            unit(op::SETRANGE, &[b"k", b"-1", b"x"]),
            ApplyError::Arguments(op::SETRANGE),
        ),
        (
            unit(op::INCRBY, &[b"k", b"x"]),
            ApplyError::Arguments(op::INCRBY),
        ),
    ] {
        let Ok(Body::Units(mut units)) = parse_entry(&bodies[0]) else {
            panic!("units")
        };
        assert_eq!(
            apply_unit(
                &mut data,
                units.next().unwrap().unwrap(),
                &mut Pacer::default(),
                &mut || {}
            ),
            Err(want)
        );
    }
    let bodies = unit(op::SET, &[b"k", b"abc"]);
    let Ok(Body::Units(mut units)) = parse_entry(&bodies[0]) else {
        panic!("units")
    };
    apply_unit(
        &mut data,
        units.next().unwrap().unwrap(),
        &mut Pacer::default(),
        &mut || {},
    )
    .unwrap();
    let bodies = unit(op::INCRBY, &[b"k", b"1"]);
    let Ok(Body::Units(mut units)) = parse_entry(&bodies[0]) else {
        panic!("units")
    };
    assert_eq!(
        apply_unit(
            &mut data,
            units.next().unwrap().unwrap(),
            &mut Pacer::default(),
            &mut || {}
        ),
        Err(ApplyError::Mismatch(op::INCRBY))
    );
    let unknown = Unit::new(&[200, 0]);
    assert_eq!(
        apply_unit(&mut data, unknown, &mut Pacer::default(), &mut || {}),
        Err(ApplyError::Unknown(Op::numbered(200)))
    );
}

#[test]
fn a_unit_above_a_megabyte_arrives_whole() {
    let mut f = Fixture::new(single());
    f.run(&[&b"SET"[..], b"big", &vec![b'x'; 3 << 20]]);
    f.line("APPEND big y");
    assert!(f.log.len() > 2);
    let follower = follow(single(), &f.log);
    assert_eq!(
        follower.keyspace().digest_all(),
        f.data.keyspace().digest_all()
    );
}

/// As members in several effects, as a number where a transaction has no room for them.
#[test]
fn large_draws_reach_followers() {
    let mut f = Fixture::new(single());
    let members: Vec<String> = (0..20_000).map(|n| format!("member{n}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(members.iter().map(|member| &**member));
    f.run(&words);
    let before = f.log.len();
    assert!(f.line("SPOP s 12000").starts_with("*12000\r\n"));
    let pieces: Vec<String> = f.log[before..].iter().flat_map(|b| effects_of(b)).collect();
    assert!(pieces.len() > 1);
    for piece in &pieces {
        assert!(piece.starts_with("SREM s member") && piece.len() <= 64 << 10);
    }
    f.line("MULTI");
    f.line("SPOP s 5000");
    f.line("EXEC");
    assert_eq!(f.line("SCARD s"), ":3000\r\n");
    let follower = follow(single(), &f.log);
    assert_eq!(
        follower.keyspace().digest_all(),
        f.data.keyspace().digest_all()
    );
}

const SCORES: [&str; 8] = ["0", "-0", "1", "0.1", "-3.3", "inf", "-inf", "1e300"];

const KEYS: [&str; 6] = ["a", "b", "c", "{t}1", "{t}2", "{t}3"];

fn command() -> impl Strategy<Value = Vec<String>> {
    let key = || prop::sample::select(&KEYS[..]);
    let value = prop_oneof![
        (-1000i64..1000).prop_map(|n| n.to_string()),
        "[a-z]{0,80}",
        Just("9223372036854775807".to_owned()),
        Just("1.25".to_owned()),
    ];
    let ms = -50i64..200;
    let template = prop::sample::select(
        &[
            "SET K V",
            "SET K V",
            "SET K V PX N",
            "SET K V KEEPTTL",
            "SET K V NX GET",
            "SET K V XX",
            "SETNX K V",
            "PSETEX K N V",
            "GETSET K V",
            "GETDEL K",
            "GETEX K PX N",
            "GETEX K PERSIST",
            "MSET K V J V",
            "MSETNX K V J V",
            "APPEND K V",
            "SETRANGE K 7 V",
            "SETBIT K 77 1",
            "SETBIT K 5 0",
            "BITFIELD K INCRBY u5 #9 N SET i16 3 N GET u8 1",
            "BITFIELD K OVERFLOW FAIL INCRBY i8 9 N OVERFLOW SAT INCRBY u3 2 N",
            "BITOP AND K J K",
            "BITOP OR K J b",
            "BITOP XOR J J K J",
            "BITOP NOT K J",
            "COPY K J",
            "COPY K J REPLACE DB 1",
            "MOVE K 1",
            "SWAPDB 0 1",
            "PFADD K V N x",
            "PFADD K",
            "PFCOUNT K",
            "PFMERGE K J b",
            "PFDEBUG TODENSE K",
            "INCR K",
            "DECRBY K N",
            "INCRBYFLOAT K V",
            "DEL K J",
            "UNLINK K",
            "EXISTS K",
            "RENAME K J",
            "RENAMENX K J",
            "PEXPIRE K N",
            "PEXPIRE K N GT",
            "PEXPIRE K N LT",
            "PERSIST K",
            "GET K",
            "HSET K F V",
            "HSET K F V 7 V f V",
            "HSETNX K F V",
            "HDEL K F",
            "HDEL K 7 f F",
            "HINCRBY K F N",
            "HINCRBYFLOAT K F V",
            "HPEXPIRE K W FIELDS 1 F",
            "HPEXPIRE K W FIELDS 3 F f 7",
            "HPEXPIRE K W GT FIELDS 1 F",
            "HPERSIST K FIELDS 2 F 7",
            "HGET K F",
            "HGETALL K",
            "HRANDFIELD K 2",
            "HMGET K F f 7",
            "HLEN K",
            "SADD K F",
            "SADD K 7 8 N",
            "SADD K N",
            "SADD J V N F",
            "SREM K F",
            "SREM K N 7 V",
            "SMOVE K J F",
            "SMOVE K J 7",
            "SINTERSTORE J K J",
            "SINTERSTORE a K J",
            "SUNIONSTORE J K",
            "SUNIONSTORE K J b",
            "SDIFFSTORE K K J",
            "SDIFFSTORE J K J b",
            "SPOP K",
            "SPOP K 2",
            "SPOP K 0",
            "SRANDMEMBER K -3",
            "SINTER K J",
            "SMEMBERS K",
            "RPUSH K F",
            "RPUSH K 7 8 N V",
            "LPUSH K F f V",
            "LPUSHX K N",
            "RPUSHX J V N",
            "LPOP K",
            "RPOP K 2",
            "LMPOP 2 K J LEFT COUNT 2",
            "LMOVE K J LEFT RIGHT",
            "LMOVE K K RIGHT RIGHT",
            "RPOPLPUSH K K",
            "LSET K 1 V",
            "LSET K -1 F",
            "LINSERT K BEFORE 7 V",
            "LINSERT K AFTER F N",
            "LREM K 1 7",
            "LREM K -2 F",
            "LTRIM K 1 -1",
            "LTRIM K 0 5",
            "LRANGE K 0 -1",
            "SORT K ALPHA",
            "SORT K ALPHA STORE J",
            "SORT K BY nosort STORE J",
            "SORT K BY nosort DESC LIMIT 1 2 STORE K",
            "SORT K STORE J",
            "SORT K ALPHA DESC LIMIT 1 4 STORE J",
            "SORT K ALPHA BY * GET # GET * GET *->7 STORE J",
            "SORT K BY {t}*->7 GET {t}* STORE J",
            "SADD K 1 2 3 a b",
            "RPUSH K 1 2 3 a b",
            "ZADD K S F",
            "ZADD K S F S 7 0.1 f",
            "ZADD K GT S F S 7",
            "ZADD K NX S F 1 F",
            "ZINCRBY K S F",
            "ZREM K F 7",
            "ZPOPMIN K",
            "ZPOPMAX K 2",
            "ZMPOP 2 K J MAX",
            "ZREMRANGEBYRANK K 1 2",
            "ZREMRANGEBYSCORE K (S inf",
            "ZREMRANGEBYLEX K [f1 (f4",
            "ZUNIONSTORE K 2 J K WEIGHTS 0.3 S",
            "ZUNIONSTORE K 3 J K J AGGREGATE MIN",
            "ZINTERSTORE K 2 J K",
            "ZDIFFSTORE J 2 J K",
            "ZRANGESTORE K J 1 3",
            "ZRANGESTORE K J S -inf BYSCORE REV",
            "ZRANGE K 0 -1 WITHSCORES",
            "ZUNION 2 K J",
            "ZUNIONSTORE J 3 K b {t}2 AGGREGATE MAX",
            "GEOADD K 13.361389 38.115556 F 15.08 37.5 7",
            "GEOSEARCHSTORE K J FROMLONLAT 13 38 BYRADIUS 300 km STOREDIST",
            "GEORADIUS K 13 38 300 km STORE J",
            "KEYS *",
            "SCAN 0",
            "RANDOMKEY",
            "FLUSHDB",
            "FLUSHALL",
            "SELECT 1",
            "SELECT 0",
            "MULTI",
            "EXEC",
            "WATCH K",
            "DISCARD",
            "DBSIZE",
            "EXPIRE-DUE",
        ][..],
    );
    (template, key(), key(), value, ms).prop_map(|(template, k, j, v, n)| {
        let word = |w: &str| match w {
            "K" => k.to_owned(),
            "J" => j.to_owned(),
            "V" => v.clone(),
            "F" => format!("f{}", n % 7),
            "W" => n.max(0).to_string(),
            "S" | "(S" => w.replace('S', SCORES[n.unsigned_abs() as usize % SCORES.len()]),
            "N" => n.to_string(),
            other => other.to_owned(),
        };
        template.split(' ').map(word).collect()
    })
}

fn expiries(data: &StateMachine) -> Vec<(u32, Vec<u8>, Option<i64>)> {
    let mut all = vec![];
    for db in 0..data.keyspace().databases() {
        data.keyspace().for_each(db, &mut |entry| {
            all.push((db, entry.key().to_vec(), entry.expiry()));
            std::ops::ControlFlow::Continue(())
        });
    }
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn a_follower_has_what_the_leader_has(
        commands in prop::collection::vec((command(), 0i64..30), 1..120),
        cluster in any::<bool>(),
    ) {
        let layout = if cluster { Layout::Cluster } else { single() };
        let mut leader = Fixture::new(layout);
        for (command, wait_ms) in &commands {
            leader.advance(*wait_ms);
            if command[0] == "EXPIRE-DUE" {
                let now = leader.host.now.unix_ms;
                leader.data.begin_turn(leader.next_batch, now, true, usize::MAX);
                leader.data.expire_due(now, 3);
                leader.data.expire_due_fields(now, 3);
                if let Some(bodies) = leader.data.take_batch() {
                    leader.log.extend(bodies);
                    leader.next_batch = leader.next_batch.next();
                }
                continue;
            }
            leader.run(command);
        }
        let follower = follow(layout, &leader.log);
        prop_assert_eq!(expiries(&follower), expiries(&leader.data));
        prop_assert_eq!(follower.keyspace().digest_all(), leader.data.keyspace().digest_all());
    }
}
