//! Keyspace events, on real connections: which ones a command makes, in which order, on which channels. The same tests
//! hold for Redis.

use crate::common::resp::{Client, Value};
use crate::common::server::{Options, Server};

struct Bed {
    server: Server,
    client: Client,
    listens: Client,
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

impl Bed {
    fn new(classes: &str) -> Bed {
        let pairs = [
            ("notify-keyspace-events", classes),
            ("enable-debug-command", "yes"),
        ];
        let server = Options::new(&pairs).start();
        let client = server.client();
        let mut listens = server.client();
        listens.cmd(&["PSUBSCRIBE", "__key*", "end"]);
        listens.receive().expect("the second pattern");
        Bed {
            server,
            client,
            listens,
        }
    }

    fn run(&mut self, line: &str) -> Value {
        self.client.cmd(&words(line))
    }

    /// What the lines made: events and their keys, one behind the other.
    fn told(&mut self) -> String {
        assert_eq!(self.run("PUBLISH end now").int(), 1);
        let mut told = Vec::new();
        loop {
            let message = self.listens.receive().expect("a message");
            let texts: Vec<String> = message.items().iter().map(Value::text).collect();
            match texts[2].strip_prefix("__keyevent@0__:") {
                Some(event) => told.push(format!("{event} {}", texts[3])),
                None if texts[2] == "end" => return told.join(", "),
                None => told.push(format!("{} {}", texts[2], texts[3])),
            }
        }
    }
}

/// What comes before, the line, its events.
const CASES: &[(&[&str], &str, &str)] = &[
    (&[], "SET k v", "new k, set k"),
    (&["SET k v"], "SET k w EX 100", "set k, expire k"),
    (&["SET k v"], "SET k w NX", ""),
    (&[], "SETNX k v", "new k, set k"),
    (&[], "SETEX k 10 v", "new k, set k, expire k"),
    (&["SET k v"], "GETSET k w", "set k"),
    (&["SET k v"], "GETDEL k", "del k"),
    (&["SET k v"], "GETEX k EX 10", "expire k"),
    (&["SETEX k 10 v"], "GETEX k PERSIST", "persist k"),
    (&["SET k v"], "GETEX k PXAT 1", "del k"),
    (&["SET k v"], "APPEND k w", "append k"),
    (&["SET k v"], "SETRANGE k 3 w", "setrange k"),
    (&[], "SETRANGE k 3 w", "new k, setrange k"),
    (&[], "INCR k", "new k, incrby k"),
    (&[], "DECRBY k 3", "new k, incrby k"),
    (&[], "INCRBYFLOAT k 1.5", "new k, incrbyfloat k"),
    (&["SET k v"], "MSET k 1 j 2", "set k, new j, set j"),
    (&[], "MSETNX k 1", "new k, set k"),
    (&[], "SETBIT k 3 1", "new k, setbit k"),
    (&["SETBIT k 3 1"], "SETBIT k 3 1", ""),
    (
        &["SETBIT k 3 1"],
        "BITFIELD k SET u8 0 3 SET u8 0 4",
        "setbit k",
    ),
    (&["SET k v"], "BITOP NOT j k", "new j, set j"),
    (&["SET j v"], "BITOP NOT j k", "del j"),
    (&[], "PFADD k a", "new k, pfadd k"),
    (&["PFADD k a"], "PFADD k a", ""),
    (&["PFADD k a"], "PFMERGE j k", "new j, pfadd j"),
    (&["SET k v", "SET j v"], "DEL k j no", "del k, del j"),
    (&["SET k v"], "UNLINK k", "del k"),
    (
        &["SET k v"],
        "RENAME k j",
        "new j, rename_from k, rename_to j",
    ),
    (
        &["SET k v", "SET j w"],
        "RENAME k j",
        "new j, rename_from k, rename_to j",
    ),
    (&["SET k v"], "RENAME k k", ""),
    (&["SET k v"], "COPY k j", "new j, copy_to j"),
    (
        &["SET k v", "SET j w"],
        "COPY k j REPLACE",
        "new j, copy_to j",
    ),
    (
        &["SET k v"],
        "MOVE k 1",
        "__keyevent@1__:new k, move_from k, __keyevent@1__:move_to k",
    ),
    (&["SET k v"], "EXPIRE k 100", "expire k"),
    (&["SET k v"], "EXPIRE k -1", "del k"),
    (&["SETEX k 10 v"], "PERSIST k", "persist k"),
    (&["SET k v"], "PERSIST k", ""),
    (&["RPUSH k 2 1"], "SORT k STORE j", "new j, sortstore j"),
    (&["SET j v"], "SORT k STORE j", "del j"),
    (&[], "LPUSH k a b", "new k, lpush k"),
    (&["LPUSH k a"], "RPUSHX k b", "rpush k"),
    (&[], "LPUSHX k b", ""),
    (&["RPUSH k a b"], "LPOP k", "lpop k"),
    (&["RPUSH k a b"], "RPOP k 2", "rpop k, del k"),
    (&["RPUSH k a b"], "LMPOP 1 k RIGHT COUNT 2", "rpop k, del k"),
    (&["RPUSH k a b"], "BLPOP k 0", "lpop k"),
    (
        &["RPUSH k a"],
        "LMOVE k j LEFT RIGHT",
        "new j, rpush j, lpop k, del k",
    ),
    (&["RPUSH k a b"], "RPOPLPUSH k k", "lpush k, rpop k"),
    (&["RPUSH k a"], "LSET k 0 b", "lset k"),
    (&["RPUSH k a"], "LINSERT k BEFORE a b", "linsert k"),
    (&["RPUSH k a"], "LREM k 0 a", "lrem k, del k"),
    (&["RPUSH k a"], "LREM k 0 b", ""),
    (&["RPUSH k a b"], "LTRIM k 0 0", "ltrim k"),
    (&["RPUSH k a b"], "LTRIM k 0 -1", "ltrim k"),
    (&["RPUSH k a b"], "LTRIM k 5 6", "ltrim k, del k"),
    (&[], "SADD k a", "new k, sadd k"),
    (&["SADD k a"], "SADD k a", ""),
    (&["SADD k a"], "SREM k a b", "srem k, del k"),
    (&["SADD k a"], "SMOVE k j a", "srem k, del k, new j, sadd j"),
    (&["SADD k a b", "SADD j a"], "SMOVE k j a", "srem k"),
    (&["SADD k a b"], "SPOP k", "spop k"),
    (&["SADD k a b"], "SPOP k 2", "spop k, del k"),
    (&["SADD k a b"], "SPOP k 0", ""),
    (&["SADD k a"], "SINTERSTORE j k k", "new j, sinterstore j"),
    (&["SADD k a", "SET j v"], "SUNIONSTORE j k", "sunionstore j"),
    (&["SADD j a"], "SDIFFSTORE j k", "del j"),
    (&[], "HSET k f v g w", "new k, hset k"),
    (&[], "HMSET k f v", "new k, hset k"),
    (&["HSET k f v"], "HSETNX k f w", ""),
    (&["HSET k f v"], "HSETNX k g w", "hset k"),
    (&[], "HINCRBY k f 1", "new k, hincrby k"),
    (&[], "HINCRBYFLOAT k f 1", "new k, hincrbyfloat k"),
    (&["HSET k f v"], "HDEL k f", "hdel k, del k"),
    (&["ZADD k 1 a"], "ZADD k 1 a", ""),
    (&[], "ZADD k 1 a 2 b", "new k, zadd k"),
    (&["ZADD k 1 a"], "ZADD k INCR 2 a", "zincr k"),
    (&[], "ZINCRBY k 2 a", "new k, zincr k"),
    (&["ZADD k 1 a"], "ZREM k a", "zrem k, del k"),
    (
        &["ZADD k 1 a 2 b"],
        "ZREMRANGEBYSCORE k 1 1",
        "zremrangebyscore k",
    ),
    (
        &["ZADD k 1 a 2 b"],
        "ZREMRANGEBYRANK k 0 -1",
        "zremrangebyrank k, del k",
    ),
    (
        &["ZADD k 1 a 1 b"],
        "ZREMRANGEBYLEX k [a [a",
        "zremrangebylex k",
    ),
    (&["ZADD k 1 a 2 b"], "ZPOPMIN k", "zpopmin k"),
    (&["ZADD k 1 a 2 b"], "ZPOPMAX k 2", "zpopmax k, del k"),
    (&["ZADD k 1 a 2 b"], "ZMPOP 1 k MAX", "zpopmax k"),
    (&["ZADD k 1 a 2 b"], "BZPOPMIN k 0", "zpopmin k"),
    (&["ZADD k 1 a"], "ZUNIONSTORE j 1 k", "new j, zunionstore j"),
    (&["SET j v"], "ZINTERSTORE j 1 k", "del j"),
    (&["ZADD k 1 a"], "ZDIFFSTORE j 1 k", "new j, zdiffstore j"),
    (
        &["ZADD k 1 a"],
        "ZRANGESTORE j k 0 -1",
        "new j, zrangestore j",
    ),
    (&[], "GEOADD k 1 1 a", "new k, zadd k"),
    (
        &["GEOADD k 1 1 a"],
        "GEOSEARCHSTORE j k FROMMEMBER a BYRADIUS 1 m",
        "new j, geosearchstore j",
    ),
    (
        &["GEOADD k 1 1 a"],
        "GEORADIUSBYMEMBER k a 1 m STORE j",
        "new j, georadiusstore j",
    ),
    (&["SET k v"], "FLUSHALL", ""),
    (&["SET k v"], "SWAPDB 0 1", ""),
];

/// Of commands that a packaged server may not have yet.
const FIELDS: &[(&[&str], &str, &str)] = &[
    (&["HSET k f v"], "HEXPIRE k 100 FIELDS 1 f", "hexpire k"),
    (&["HSET k f v"], "HEXPIREAT k 1 FIELDS 1 f", "hdel k, del k"),
    (&["HSET k f v"], "HPERSIST k FIELDS 1 f", ""),
    (
        &["HSET k f v", "HEXPIRE k 100 FIELDS 1 f"],
        "HPERSIST k FIELDS 1 f",
        "hpersist k",
    ),
];

fn check(cases: &[(&[&str], &str, &str)]) {
    let mut bed = Bed::new("KEAn");
    bed.run("CONFIG SET notify-keyspace-events EAn");
    let mut wrong = Vec::new();
    for (before, line, events) in cases {
        for line in *before {
            let reply = bed.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        bed.told();
        let reply = bed.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        let told = bed.told();
        if told != *events {
            wrong.push(format!("{before:?}, {line}: {told:?}, not {events:?}"));
        }
        bed.run("FLUSHALL");
        bed.told();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn commands_tell_their_events_in_order() {
    check(CASES);
}

#[test]
fn field_expiry_tells_its_events() {
    let mut server = Server::fresh();
    let known = !server
        .client()
        .cmd(&["HTTL", "k", "FIELDS", "1", "f"])
        .is_error();
    server.kill9();
    if known {
        check(FIELDS);
    }
}

#[test]
fn both_channels_tell_of_an_event() {
    let mut bed = Bed::new("KEg$");
    bed.run("SET k v");
    let told = bed.told();
    assert_eq!(told, "__keyspace@0__:k set, set k");
    bed.run("CONFIG SET notify-keyspace-events Kg");
    bed.run("SET k v");
    bed.run("DEL k");
    assert_eq!(bed.told(), "__keyspace@0__:k del");
    bed.run("CONFIG SET notify-keyspace-events gA");
    bed.run("SET k v");
    assert_eq!(bed.told(), "", "no channel is named");
}

#[test]
fn what_has_expired_is_told() {
    let mut bed = Bed::new("EAm");
    bed.run("DEBUG SET-ACTIVE-EXPIRE 0");
    bed.run("SET k v PX 1");
    bed.run("DEBUG SLEEP 0.01");
    bed.told();
    bed.run("GET k");
    assert_eq!(bed.told(), "expired k, keymiss k");
    bed.run("GET k");
    bed.run("EXISTS k");
    assert_eq!(bed.told(), "keymiss k, keymiss k");
    bed.run("SET k v PX 1");
    bed.told();
    bed.run("DEBUG SET-ACTIVE-EXPIRE 1");
    let message = bed.listens.receive().expect("the cycle finds it");
    assert_eq!(message.items()[2].text(), "__keyevent@0__:expired");
}

#[test]
fn a_transaction_tells_its_events() {
    let mut bed = Bed::new("EA");
    for line in ["MULTI", "RPUSH k a", "LPOP k", "SET k v", "EXEC"] {
        bed.run(line);
    }
    assert_eq!(bed.told(), "rpush k, lpop k, del k, set k");
}

#[test]
fn a_served_waiter_tells_its_event_last() {
    let mut bed = Bed::new("EA");
    let mut waits = bed.server.client();
    waits.send(&words("BLMOVE k j LEFT LEFT 0")).expect("sent");
    crate::common::wait_until("it waits", std::time::Duration::from_secs(60), || {
        bed.server.info("blocked_clients").as_deref() == Some("1")
    });
    bed.run("RPUSH k a");
    assert_eq!(waits.receive().expect("an element").text(), "a");
    assert_eq!(bed.told(), "rpush k, lpush j, lpop k, del k");
}
