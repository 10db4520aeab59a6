//! What random sequences don't reach: the command table, GETKEYS, configuration, CLIENT.

use crate::common::resp::{show, Client, Value};
use crate::compare::{differs_by_version, same, VERSIONS};
use crate::pair::Pair;
use std::collections::BTreeSet;

/// The commands of this milestone that Redis 7.0 has too.
const COMMANDS: &[&str] = &[
    "ping",
    "echo",
    "hello",
    "auth",
    "select",
    "quit",
    "reset",
    "client",
    "info",
    "config",
    "command",
    "time",
    "dbsize",
    "flushall",
    "flushdb",
    "role",
    "wait",
    "debug",
    "shutdown",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "ssubscribe",
    "sunsubscribe",
    "publish",
    "spublish",
    "pubsub",
    "get",
    "set",
    "mget",
    "mset",
    "msetnx",
    "setnx",
    "setex",
    "psetex",
    "getset",
    "getdel",
    "getex",
    "append",
    "strlen",
    "incr",
    "decr",
    "incrby",
    "decrby",
    "incrbyfloat",
    "getrange",
    "setrange",
    "del",
    "unlink",
    "exists",
    "type",
    "touch",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "ttl",
    "pttl",
    "expiretime",
    "pexpiretime",
    "persist",
    "keys",
    "scan",
    "randomkey",
    "rename",
    "renamenx",
    "dump",
    "restore",
    "restore-asking",
    "copy",
    "move",
    "swapdb",
    "setbit",
    "getbit",
    "bitcount",
    "bitpos",
    "bitop",
    "bitfield",
    "bitfield_ro",
    "pfadd",
    "pfcount",
    "pfmerge",
    "pfdebug",
    "pfselftest",
    "function",
];

fn both(pair: &Pair, args: &[&str]) -> (Client, Client, Value, Value) {
    let (mut a, mut b) = (pair.reference.client(), pair.ours.client());
    let (x, y) = (a.cmd(args), b.cmd(args));
    (a, b, x, y)
}

fn words(value: &Value) -> BTreeSet<String> {
    value.items().iter().map(Value::text).collect()
}

/// Name, arity, flags, first, last, step and ACL categories.
#[test]
fn command_info() {
    let Some(pair) = Pair::start("command_info", &[]) else {
        return;
    };
    let mut wrong = Vec::new();
    for name in COMMANDS {
        let (_, _, a, b) = both(&pair, &["COMMAND", "INFO", name]);
        let (Value::Array(a), Value::Array(b)) = (&a.items()[0], &b.items()[0]) else {
            wrong.push(format!("{name}: not in both"));
            continue;
        };
        for (field, at) in [
            ("name", 0),
            ("arity", 1),
            ("first", 3),
            ("last", 4),
            ("step", 5),
        ] {
            if a[at] != b[at] {
                wrong.push(format!("{name}: {field} is {:?}, not {:?}", b[at], a[at]));
            }
        }
        for (field, at) in [("flags", 2), ("categories", 6)] {
            // The row of WAIT in VERSIONS: those of 7.4 are checked beside the table itself.
            if *name != "wait" && words(&a[at]) != words(&b[at]) {
                let (x, y) = (words(&a[at]), words(&b[at]));
                wrong.push(format!("{name}: {field} are {y:?}, not {x:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn text(answer: &Result<(Value, Vec<u8>), String>) -> String {
    answer
        .as_ref()
        .map_or_else(Clone::clone, |(_, raw)| show(raw))
}

/// Whole conversations on one connection, every reply equal.
#[test]
fn conversations() {
    let Some(pair) = Pair::start("conversations", &[]) else {
        return;
    };
    let mut wrong = Vec::new();
    for hello in ["2", "3"] {
        for line in CONVERSATIONS
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
        {
            let (mut a, mut b) = (pair.reference.client(), pair.ours.client());
            a.cmd(&["HELLO", hello]);
            b.cmd(&["HELLO", hello]);
            for command in line.split(" ; ") {
                let args: Vec<Vec<u8>> = command
                    .split(' ')
                    .map(|w| w.replace("<>", "").into_bytes())
                    .collect();
                let sub = args
                    .get(1)
                    .map(|s| String::from_utf8_lossy(s).into_owned())
                    .unwrap_or_default();
                let full = format!("{}|{sub}", String::from_utf8_lossy(&args[0]));
                assert!(
                    !differs_by_version(&full),
                    "{full} is in the table of versions: {VERSIONS:?}"
                );
                let ask = |c: &mut Client| {
                    let _ = c.send(&args);
                    c.receive_raw().map_err(|_| String::from("closed"))
                };
                let (x, y) = (ask(&mut a), ask(&mut b));
                if !same(&args, &x, &y) {
                    let (x, y) = (text(&x), text(&y));
                    wrong.push(format!(
                        "RESP{hello} [{line}] at {command}\n  redis:    {x}\n  holdfast: {y}"
                    ));
                    break; // what follows differs because of this
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// One conversation a line; commands are separated by " ; ", `<>` is the empty word.
const CONVERSATIONS: &str = r"
    COMMAND GETKEYS GET k ; COMMAND GETKEYS MSET a 1 b 2 ; COMMAND GETKEYS PING x ; COMMAND GETKEYS NOSUCH a
    COMMAND GETKEYS GET a b ; COMMAND GETKEYS ; COMMAND GETKEYS MGET a b c ; COMMAND GETKEYS RENAME x y ; COMMAND GETKEYS SET a
    COMMAND NOSUCH ; COMMAND INFO nosuch ; COMMAND COUNT x
    CONFIG ; CONFIG NOSUCH ; CONFIG GET ; CONFIG SET ; CONFIG SET a ; CONFIG SET a b c ; CONFIG RESETSTAT x
    CONFIG GET nosuchdirective ; CONFIG SET nosuchdirective 1 ; CONFIG SET port abc ; CONFIG SET maxclients abc
    CONFIG SET appendfsync sometimes ; CONFIG SET hz 1000 ; CONFIG GET hz ; CONFIG SET hz 10
    CONFIG GET databases ; CONFIG GET maxclients ; CONFIG GET timeout ; CONFIG GET tcp-keepalive ; CONFIG GET proto-max-bulk-len
    CONFIG GET appendonly ; CONFIG GET save ; CONFIG GET protected-mode ; CONFIG GET cluster-enabled ; CONFIG GET tcp-backlog
    CONFIG SET timeout -1 ; CONFIG SET timeout 5 ; CONFIG GET timeout ; CONFIG SET timeout 0 ; CONFIG SET databases 3
    CONFIG SET timeout 1 timeout 2 ; CONFIG SET proto-max-bulk-len 1 ; CONFIG SET proto-max-bulk-len 512mb ; CONFIG SET daemonize yes
    SAVE ; SAVE x ; BGSAVE nosuch ; BGSAVE SCHEDULE x ; BGREWRITEAOF x ; LASTSAVE x ; MULTI ; SAVE ; EXEC
    REPLCONF ; REPLCONF capa ; REPLCONF CAPA eof capa nosuch ; REPLCONF listening-port 6379 ; REPLCONF listening-port x ; REPLCONF nosuch 1
    REPLCONF ip-address 1.2.3.4 ; REPLCONF rdb-only 1 ; REPLCONF rdb-only 2 ; REPLCONF rdb-only x ; REPLCONF rdb-only 0
    REPLCONF rdb-filter-only nosuch ; REPLCONF rdb-filter-only 'x ; REPLCONF rdb-filter-only functions ; REPLCONF rdb-filter-only <> ; SYNC
    PSYNC ; PSYNC ? ; PSYNC ? x ; SYNC x ; MULTI ; SYNC ; PSYNC ? -1 ; REPLCONF capa eof ; EXEC ; PSYNC ? -1 failover
    CLIENT KILL TYPE replica ; CLIENT KILL TYPE slave ; CLIENT KILL TYPE master ; CLIENT LIST TYPE replica
    CLIENT ; CLIENT NOSUCH ; CLIENT ID x ; CLIENT GETNAME x ; CLIENT SETNAME ; CLIENT REPLY ; CLIENT REPLY MAYBE
    CLIENT SETNAME a ; CLIENT GETNAME ; CLIENT SETNAME <> ; CLIENT GETNAME ; CLIENT INFO ; CLIENT LIST
    CLIENT KILL ; CLIENT KILL 1.2.3.4:5 ; CLIENT KILL ID 0 ; CLIENT KILL ID abc ; CLIENT KILL ID 99999999 ; CLIENT KILL TYPE nosuch
    CLIENT KILL ADDR 1.2.3.4:5 ; CLIENT KILL LADDR 1.2.3.4:5 ; CLIENT KILL USER nosuch ; CLIENT KILL SKIPME maybe ; CLIENT KILL ID 1 ADDR
    CLIENT LIST TYPE nosuch ; CLIENT LIST ID ; CLIENT LIST ID abc ; CLIENT LIST ID 99999999 ; CLIENT LIST NOSUCH
    SELECT 0 ; SELECT 15 ; SELECT 16 ; SELECT -1 ; SELECT x ; SELECT
    AUTH ; AUTH x ; AUTH default x ; AUTH nobody x ; AUTH a b c
    HELLO ; HELLO 1 ; HELLO 4 ; HELLO x ; HELLO 2 SETNAME ; HELLO 2 NOSUCH ; HELLO 3 AUTH default x ; HELLO 2 SETNAME me ; CLIENT GETNAME
    PING a b ; ECHO ; ECHO a b ; TIME x ; DBSIZE x ; ROLE x ; RANDOMKEY x
    WAIT ; WAIT 0 0 ; WAIT -1 0 ; WAIT 1 1 ; WAIT x 0 ; WAIT 0 x ; WAIT 0 -1 ; MULTI ; WAIT 1 0 ; EXEC
    FLUSHALL NOW ; FLUSHALL SYNC ASYNC ; FLUSHDB x y ; FLUSHALL sync ; FLUSHDB async
    SCAN ; SCAN x ; SCAN 0 COUNT ; SCAN 0 COUNT x ; SCAN 0 COUNT 0 ; SCAN 0 MATCH ; SCAN 0 NOSUCH x ; SCAN 0 TYPE ; SCAN 18446744073709551616
    MULTI ; MULTI ; EXEC ; EXEC ; DISCARD ; MULTI ; DISCARD ; MULTI ; GET ; SET a ; EXEC ; MULTI x ; EXEC x
    WATCH ; UNWATCH x ; WATCH a ; MULTI ; UNWATCH ; EXEC ; WATCH a ; SET a 1 ; MULTI ; GET a ; EXEC ; DEL a
    WATCH k ; SET k v PXAT 1 ; MULTI ; PING ; EXEC ; WATCH nokey ; DEL nokey ; MULTI ; PING ; EXEC
    MULTI ; SELECT 3 ; SET q 1 ; EXEC ; GET q ; DEL q ; SELECT 0 ; GET q
    MULTI ; NOSUCH ; EXEC ; MULTI ; INCR n ; INCR n ; GETRANGE n x y ; EXEC ; GET n ; DEL n
    MULTI ; MULTI ; EXEC ; MULTI ; WATCH x ; EXEC ; MULTI ; HELLO 3 ; PING ; EXEC
    DEBUG ; DEBUG NOSUCH ; DEBUG SLEEP ; DEBUG SLEEP x
    SHUTDOWN NOSUCH ; SHUTDOWN SAVE NOSAVE ; SHUTDOWN ABORT ; SHUTDOWN NOSAVE SAVE ; SHUTDOWN ABORT NOW
    SET a 1 NX XX ; SET a 1 EX ; SET a 1 EX 10 PX 10 ; SET a 1 KEEPTTL EX 10 ; SET a 1 GET GET ; SET a 1 NOSUCH ; SET a 1 NX GET ; DEL a
    EXPIRE a 10 NX XX ; EXPIRE a 10 GT LT ; EXPIRE a 10 NX GT ; EXPIRE a 10 NOSUCH ; EXPIRE a 10 XX GT
    RENAME nosuch x ; RENAMENX nosuch x ; SET a 1 ; RENAME a a ; RENAMENX a a ; DEL a
    MSET a ; MSET a 1 b ; MSETNX a ; MSETNX a 1 b 2 ; MSETNX b 3 c 4 ; GET b ; EXISTS c ; DEL a b
    GETEX a EX 10 PERSIST ; GETEX a EX 0 ; GETEX a PERSIST PERSIST ; GETEX a NOSUCH ; GETEX a EX
    INCRBYFLOAT f 1e308 ; INCRBYFLOAT f 1e308 ; INCRBYFLOAT f nan ; INCRBYFLOAT f inf ; DEL f ; INCRBYFLOAT f 0.1 ; INCRBYFLOAT f 0.2 ; DEL f
    SET a abc ; SETRANGE a 536870912 x ; SETRANGE a 536870910 xyz ; SETRANGE a -1 x ; GETRANGE a 0 -1 ; SETRANGE a 5 x ; GET a ; DEL a
    SET a 1 ; MIGRATE ; MIGRATE h 1 a 0 ; MIGRATE h 1 a x y COPYY ; MIGRATE h 1 a x y COPY REPLACE AUTH ; MIGRATE h 1 a x y AUTH2 u
    SET a 1 ; MIGRATE h 1 a x y KEYS b ; MIGRATE h 1 a 0 y ; MIGRATE h 1 a x 1 ; MIGRATE h 1 a x 1 AUTH2 KEYS b ; MIGRATE h 1 a 0 1 KEYS <> ; DEL a
    MIGRATE h 1 none x y ; MIGRATE h 1 none 0 0 ; MIGRATE h junk none 0 -1 COPY REPLACE AUTH x AUTH2 x y ; MIGRATE h 1 <> 0 1 KEYS ; MIGRATE h 1 <> 0 1 KEYS none
    RESET ; CLIENT GETNAME ; QUIT
    RESET x ; QUIT x
";
