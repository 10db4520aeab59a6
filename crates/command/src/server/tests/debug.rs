//! DEBUG.

use super::*;

#[test]
fn debug_needs_its_switch() {
    let mut c = Client::new();
    let refused = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \
                   \"local\", you can run it from a local connection, otherwise you need to set \
                   this option in the configuration file, and then restart the server.\\r\\n";
    c.host.config.enable_debug_command = ProtectedAction::No;
    assert_eq!(c.reply("DEBUG SLEEP 0"), refused);
    c.host.config.enable_debug_command = ProtectedAction::Local;
    assert_eq!(c.reply("DEBUG SLEEP 0"), "+OK\\r\\n");
    c.session.endpoint.loopback = false;
    assert_eq!(c.reply("DEBUG SLEEP 0"), refused);
}

/// T9: heartbeats are answered at least every 5 ms.
#[test]
fn a_sleep_breathes() {
    let mut c = Client::new();
    let before = c.host.now.mono;
    assert_eq!(c.reply("DEBUG SLEEP 5.0"), "+OK\\r\\n");
    assert_eq!(c.host.now.mono.since(before), Duration::from_secs(5));
    assert_eq!(c.host.breaths, 1000);
    assert_eq!(c.reply("DEBUG SLEEP 0.0071x"), "+OK\\r\\n");
    assert_eq!(c.host.breaths, 1002);
    assert_eq!(c.reply("DEBUG SLEEP nan"), "+OK\\r\\n");
}

#[test]
fn populate_writes_like_a_client() {
    let mut c = Client::new();
    assert_eq!(c.reply("SET key:1 mine"), "+OK\\r\\n");
    let (outcome, _) = c.outcome("DEBUG POPULATE 3");
    assert!(outcome.footprint.wrote);
    assert_eq!(outcome.gate, GateKind::Write);
    assert_eq!(
        c.reply("MGET key:0 key:1"),
        "*2\\r\\n$7\\r\\nvalue:0\\r\\n$4\\r\\nmine\\r\\n"
    );
    // T2: what can't be logged now does not happen.
    c.serving = Serving::Lead { writable: false };
    assert_eq!(c.flow("DEBUG POPULATE 9"), Flow::Hold);
    c.serving = Serving::Hold;
    assert_eq!(c.flow("DEBUG POPULATE 9"), Flow::Hold);
    assert_eq!(c.flow("DEBUG DIGEST"), Flow::Hold);
    c.serving = Serving::Lead { writable: true };
    c.reply("MULTI");
    c.reply("DEBUG DIGEST");
    c.serving = Serving::Hold;
    assert_eq!(c.flow("EXEC"), Flow::Hold);
    c.serving = Serving::Lead { writable: true };
    assert!(
        c.reply("EXEC").starts_with("*1\\r\\n+"),
        "an EXEC that was held is whole"
    );
    c.serving = Serving::Redirect {
        addr: None,
        own_copy: true,
    };
    assert!(c.reply("DEBUG POPULATE 9").starts_with("-READONLY "));
    assert_eq!(c.data.keyspace().len(0), 3);
}

#[test]
fn digests_follow_the_data() {
    let mut c = Client::new();
    c.reply("SET a 1");
    let one = c.reply("DEBUG DIGEST");
    let value = c.reply("DEBUG DIGEST-VALUE a b");
    assert!(value.ends_with("+0000000000000000000000000000000000000000\\r\\n"));
    c.reply("SET a 2");
    assert_ne!(c.reply("DEBUG DIGEST"), one);
    assert_ne!(c.reply("DEBUG DIGEST-VALUE a b"), value);
    c.reply("SET a 1");
    let (outcome, out) = c.outcome("DEBUG DIGEST");
    assert_eq!(escape(&out), one);
    assert_eq!(outcome.gate, GateKind::Read, "T3: a digest shows data");
    assert_eq!(outcome.footprint.depends, BatchSeq(1));
}

#[test]
fn object_tells_how_a_value_is_kept() {
    let mut c = Client::new();
    c.reply("SET s hello");
    let want = "+Value at:0x0 refcount:1 encoding:embstr serializedlength:6 lru:0 lru_seconds_idle:0\\r\\n";
    assert_eq!(c.reply("DEBUG OBJECT s"), want);
    assert_eq!(c.reply("DEBUG OBJECT none"), "-ERR no such key\\r\\n");
    c.reply("RPUSH l 1 2 3");
    assert!(!c.reply("DEBUG OBJECT l").contains("ql_"));
    let long = "x".repeat(5000);
    c.reply(&format!("RPUSH l {long} {long}"));
    let reply = c.reply("DEBUG OBJECT l");
    let want =
        " ql_nodes:2 ql_avg_node:2.50 ql_listpack_max:-2 ql_compressed:0 ql_uncompressed_size:";
    assert!(reply.contains(want), "{reply}");
}

#[test]
fn elements_of_a_listpack_are_logged() {
    let mut c = Client::new();
    c.reply("HSET h a 1 b xyz");
    c.reply("SET s 1");
    assert_eq!(
        c.reply("DEBUG LISTPACK s"),
        "-ERR Not a listpack encoded object.\\r\\n"
    );
    let want = "+Listpack structure printed on stdout\\r\\n";
    assert_eq!(c.reply("DEBUG LISTPACK h"), want);
    assert_eq!(c.host.logged.len(), 5, "{:?}", c.host.logged);
    assert!(c.host.logged[4].ends_with("xyz"));
    c.reply("HPEXPIRE h 1000 FIELDS 1 a");
    assert_eq!(c.reply("DEBUG LISTPACK h"), want);
}

/// F17: a list with an element of its own chunk is a quicklist, however short it is.
#[test]
fn packed_threshold_keeps_elements_apart() {
    let mut c = Client::new();
    let wrong = "-ERR argument must be a memory value bigger than 1 and smaller than 4gb\\r\\n";
    for size in ["x", "-1", "4gb", "5tb"] {
        assert_eq!(
            c.reply(&format!("DEBUG QUICKLIST-PACKED-THRESHOLD {size}")),
            wrong
        );
    }
    let long = "x".repeat(5000);
    for (size, want) in [
        ("10b", "$9\\r\\nquicklist\\r\\n"),
        ("0", "$8\\r\\nlistpack\\r\\n"),
    ] {
        assert_eq!(
            c.reply(&format!("DEBUG QUICKLIST-PACKED-THRESHOLD {size}")),
            "+OK\\r\\n"
        );
        c.reply("DEL l");
        c.reply(&format!("RPUSH l {long} {long}"));
        c.reply("LSET l 0 0123456789");
        c.reply("LTRIM l 0 0");
        assert_eq!(c.reply("OBJECT ENCODING l"), want, "{size}");
        assert_eq!(
            c.reply("LRANGE l 0 -1"),
            "*1\\r\\n$10\\r\\n0123456789\\r\\n"
        );
    }
}

#[test]
fn cron_is_paused_by_a_number() {
    let mut c = Client::new();
    for (word, want) in [("1", true), ("0", false), ("7", true), ("x", false)] {
        assert_eq!(c.reply(&format!("DEBUG PAUSE-CRON {word}")), "+OK\\r\\n");
        assert_eq!(c.host.cron_paused, want, "{word}");
    }
}
