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
