//! MIGRATE from a server in no cluster: to a Redis, to another such server, and what a crash leaves.

use crate::common::resp::{Client, Value};
use crate::common::server::{free_port, Options, Server};
use crate::common::wait_until;
use crate::ours_only;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const READING: &str = "IOERR error or timeout reading to target instance";
const CONNECTING: &str = "IOERR error or timeout connecting to the client";

fn ours(pairs: &[(&str, &str)]) -> Server {
    let mut all = vec![("appendfsync", "always"), ("enable-debug-command", "yes")];
    all.extend(pairs);
    Options::new(&all).start()
}

fn redis() -> Server {
    Options::new(&[]).bin("redis-server").start()
}

/// MIGRATE of one key, or of those behind KEYS; what it says.
fn migrate(from: &mut Client, to: &Server, key: &str, db: &str, options: &[&str]) -> String {
    let port = to.port.to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, db, "5000"];
    words.extend(options);
    from.cmd(&words).text()
}

fn set(client: &mut Client, key: &str) {
    assert!(client.cmd(&["SET", key, key]).is_ok());
}

fn has(client: &mut Client, key: &str) -> bool {
    client.cmd(&["GET", key]) == Value::Bulk(key.as_bytes().to_vec())
}

fn keys_go_to(target: &Server) {
    let source = ours(&[]);
    let (mut here, mut there) = (source.client(), target.client());
    assert_eq!(migrate(&mut here, target, "a", "0", &[]), "NOKEY");
    for key in ["a", "b", "c", "d", "e"] {
        set(&mut here, key);
    }
    assert_eq!(here.cmd(&["PEXPIRE", "a", "100000"]).int(), 1);
    assert_eq!(migrate(&mut here, target, "a", "0", &[]), "OK");
    assert!(has(&mut there, "a") && !has(&mut here, "a"));
    let left = there.cmd(&["PTTL", "a"]).int();
    assert!((1..=100_000).contains(&left), "{left}");
    assert_eq!(
        source.info("migrate_cached_sockets").as_deref(),
        Some("1"),
        "the connection is kept"
    );
    // What is copied stays; what is there is not replaced unasked.
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(migrate(&mut here, target, "b", "0", &["COPY"]), "OK");
    assert!(has(&mut there, "b") && has(&mut here, "b"));
    assert_eq!(migrate(&mut here, target, "b", "0", &["COPY"]), busy);
    let replaced = migrate(&mut here, target, "b", "0", &["COPY", "REPLACE"]);
    assert_eq!(replaced, "OK");
    let some = ["KEYS", "none", "b", "c"];
    assert_eq!(migrate(&mut here, target, "", "0", &some), busy);
    assert!(has(&mut here, "b") && !has(&mut here, "c") && has(&mut there, "c"));
    // Other databases, of either side.
    assert!(here.cmd(&["SELECT", "5"]).is_ok());
    set(&mut here, "b");
    assert!(here.cmd(&["SET", "n", "-129"]).is_ok());
    let both = ["KEYS", "b", "n"];
    assert_eq!(migrate(&mut here, target, "", "3", &both), "OK");
    assert_eq!(here.cmd(&["DBSIZE"]).int(), 0);
    assert!(there.cmd(&["SELECT", "3"]).is_ok());
    assert_eq!(there.cmd(&["GET", "n"]).text(), "-129");
    assert!(has(&mut there, "b"));
    assert!(here.cmd(&["SELECT", "0"]).is_ok());
    assert!(has(&mut here, "b") && has(&mut here, "d"));
    let range = migrate(&mut here, target, "d", "99", &[]);
    let text = "ERR Target instance replied with error: ERR DB index is out of range";
    assert_eq!(range, text);
    assert!(has(&mut here, "d"));
}

#[test]
fn keys_go_to_a_redis() {
    if ours_only("keys_go_to_a_redis") {
        keys_go_to(&redis());
    }
}

#[test]
fn keys_go_to_another_server_of_ours() {
    if ours_only("keys_go_to_another_server_of_ours") {
        keys_go_to(&ours(&[]));
    }
}

#[test]
fn a_password_of_the_target_is_shown() {
    if !ours_only("a_password_of_the_target_is_shown") {
        return;
    }
    let options = Options::new(&[]).bin("redis-server").password("sesame");
    let (source, target) = (ours(&[]), options.start());
    let mut here = source.client();
    set(&mut here, "a");
    set(&mut here, "b");
    let mut refused = |options: &[&str]| {
        let said = migrate(&mut here, &target, "a", "0", options);
        let error = said.strip_prefix("ERR Target instance replied with error: ");
        error.unwrap_or(&said).to_owned()
    };
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(refused(&[]), "NOAUTH Authentication required.");
    assert_eq!(refused(&["AUTH", "other"]), wrong);
    assert_eq!(refused(&["AUTH2", "somebody", "sesame"]), wrong);
    assert_eq!(refused(&["AUTH", "sesame"]), "OK");
    let both = ["AUTH2", "default", "sesame"];
    assert_eq!(migrate(&mut here, &target, "b", "0", &both), "OK");
    assert_eq!(target.client().cmd(&["DBSIZE"]).int(), 2);
}

#[test]
fn a_server_out_of_reach_freezes_nothing() {
    if !ours_only("a_server_out_of_reach_freezes_nothing") {
        return;
    }
    let source = ours(&[]);
    let mut here = source.client();
    set(&mut here, "a");
    let mut to = |port: u16| {
        let port = port.to_string();
        let said = here.cmd(&["MIGRATE", "127.0.0.1", &port, "a", "0", "500"]);
        assert!(has(&mut here, "a"));
        said.text()
    };
    assert_eq!(to(free_port()), CONNECTING);
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = mute.local_addr().expect("it is bound").port();
    assert_eq!(to(port), READING, "it takes connections, and says nothing");
    let began = Instant::now();
    assert_eq!(to(source.port), READING, "it would wait for itself");
    assert!(began.elapsed() < SOON / 2);
}

/// A MIGRATE whose answer does not come: the connection stands from another one, and the target has stopped.
fn lose_an_answer(here: &mut Client, target: &Server, key: &str) {
    let first = format!("{key}:first");
    set(here, &first);
    assert_eq!(migrate(here, target, &first, "0", &["REPLACE"]), "OK");
    set(here, key);
    target.signal(libc::SIGSTOP);
    let port = target.port.to_string();
    let said = here.cmd(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
    assert_eq!(said.text(), READING);
}

/// The key can be read, and is on one side.
fn on_one_side(source: &Server, target: &Server, key: &str) {
    let (here, there) = (
        has(&mut source.client(), key),
        has(&mut target.client(), key),
    );
    assert!(here != there, "here: {here}, there: {there}");
}

#[test]
fn a_lost_answer_is_settled_behind_its_error() {
    if !ours_only("a_lost_answer_is_settled_behind_its_error") {
        return;
    }
    for mut target in [redis(), ours(&[])] {
        let source = ours(&[("cluster-node-timeout", "60000")]);
        let mut here = source.client();
        lose_an_answer(&mut here, &target, "y");
        // The key alone waits: others are served, and so is one of its name in another database.
        let mut waits = source.client();
        waits.send(&["GET", "y"]).expect("it is sent");
        set(&mut here, "z");
        assert!(here.cmd(&["SELECT", "1"]).is_ok());
        set(&mut here, "y");
        target.signal(libc::SIGCONT);
        waits.receive().expect("it is answered");
        on_one_side(&source, &target, "y");
        // Gone for good: the keys stay here, after the node timeout.
        let timeout = ["CONFIG", "SET", "cluster-node-timeout", "1000"];
        assert!(here.cmd(&timeout).is_ok());
        assert!(here.cmd(&["SELECT", "0"]).is_ok());
        lose_an_answer(&mut here, &target, "z");
        target.kill9();
        assert!(has(&mut here, "z"));
        assert!(here.cmd(&["SET", "z", "new"]).is_ok());
        wait_until("the log says so", Duration::from_secs(60), || {
            source.output().contains("is not known")
        });
    }
}

#[test]
fn a_crash_before_the_answer_is_settled_at_the_start() {
    if !ours_only("a_crash_before_the_answer_is_settled_at_the_start") {
        return;
    }
    let mut source = ours(&[("cluster-node-timeout", "60000")]);
    let mut target = redis();
    lose_an_answer(&mut source.client(), &target, "y");
    source.kill9();
    source = source.restart();
    let mut waits = source.client();
    waits.send(&["GET", "y"]).expect("it is sent");
    set(&mut source.client(), "z");
    target.signal(libc::SIGCONT);
    waits.receive().expect("it is answered");
    on_one_side(&source, &target, "y");
    // The same with a target that never comes back.
    let mut here = source.client();
    assert!(here.cmd(&["SELECT", "4"]).is_ok());
    lose_an_answer(&mut here, &target, "x");
    target.kill9();
    source.kill9();
    source = source.restart();
    let mut here = source.client();
    assert!(here
        .cmd(&["CONFIG", "SET", "cluster-node-timeout", "500"])
        .is_ok());
    assert!(here.cmd(&["SELECT", "4"]).is_ok());
    assert!(has(&mut here, "x"), "it stays, where it was");
    wait_until("the log says so", SOON, || {
        source.output().contains("is not known")
    });
}
