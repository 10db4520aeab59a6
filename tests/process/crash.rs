//! kill -9, SIGSTOP and orderly ends: nothing that was acknowledged is lost.

use crate::common::resp::Value;
use crate::common::server::{Options, Server};
use crate::common::wait_until;
use crate::load::{check, Load};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn kill9_under_load_loses_no_acknowledged_write() {
    let mut server = Server::fresh();
    let mut history = Vec::new();
    for round in 0..6u64 {
        let prefix = format!("round{round}");
        let load = Load::start(&server, &prefix, 8);
        // Kill at another moment each time: early, and well under way.
        let enough = [1, 50, 400, 1000, 2000, 3000][round as usize];
        wait_until("writes are acknowledged", MINUTE, || load.acked() >= enough);
        server.kill9();
        history.push((prefix, load.join()));
        server = server.restart();
        for (prefix, writers) in &history {
            check(&server, prefix, writers);
        }
    }
    let all: u64 = history.iter().flat_map(|(_, w)| w).map(|w| w.acked).sum();
    println!("{all} acknowledged writes through 6 kills, all there");
}

#[test]
fn kill9_again_during_recovery() {
    let mut server = Server::fresh();
    let load = Load::start(&server, "again", 4);
    wait_until("writes are acknowledged", MINUTE, || load.acked() >= 1500);
    server.kill9();
    let writers = load.join();
    let dir = server.dir().to_path_buf();
    for pause_ms in [0, 1, 3, 10, 30] {
        let mut child = std::process::Command::new(crate::common::server::binary())
            .args([
                "--port",
                &crate::common::server::free_port().to_string(),
                "--dir",
            ])
            .arg(&dir)
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the server binary starts");
        std::thread::sleep(Duration::from_millis(pause_ms)); // how far it gets is the variation
        let _ = child.kill();
        let _ = child.wait();
    }
    let server = server.restart();
    check(&server, "again", &writers);
}

/// SIGTERM, SIGINT and SHUTDOWN: an end within seconds, and everything there, whatever the sync
/// policy.
fn ends_cleanly(how: impl Fn(&Server), appendfsync: &str) {
    let mut server = Options::new(&[("appendfsync", appendfsync)]).start();
    let load = Load::start(&server, "clean", 4);
    wait_until("writes are acknowledged", MINUTE, || load.acked() >= 500);
    how(&server);
    let status = server.wait_exit(Duration::from_secs(15));
    assert!(status.success(), "ended with {status}\n{}", server.output());
    let writers = load.join();
    let server = server.restart();
    check(&server, "clean", &writers);
}

#[test]
fn sigterm_ends_cleanly() {
    ends_cleanly(|s| s.signal(libc::SIGTERM), "always");
    ends_cleanly(|s| s.signal(libc::SIGTERM), "everysec");
}

#[test]
fn sigint_ends_cleanly() {
    ends_cleanly(|s| s.signal(libc::SIGINT), "no");
}

#[test]
fn shutdown_ends_cleanly() {
    let shutdown = |args: &'static [&'static str]| {
        move |server: &Server| {
            // The connection ends without a reply; an error would be a reply.
            let reply = server.client().try_cmd(args);
            assert!(reply.is_err(), "{args:?} answered {reply:?}");
        }
    };
    ends_cleanly(shutdown(&["SHUTDOWN"]), "everysec");
    ends_cleanly(shutdown(&["SHUTDOWN", "NOSAVE", "NOW", "FORCE"]), "always");
}

#[test]
fn restart_keeps_expiry_times() {
    let mut server = Server::fresh();
    let mut client = server.client();
    assert!(client.cmd(&["SET", "long", "v", "PX", "100000000"]).is_ok());
    assert!(client.cmd(&["SET", "plain", "v"]).is_ok());
    assert!(client.cmd(&["SET", "short", "v", "PX", "700"]).is_ok());
    assert!(client.cmd(&["SET", "persisted", "v", "EX", "1000"]).is_ok());
    assert_eq!(client.cmd(&["PERSIST", "persisted"]), Value::Int(1));
    let at = client.cmd(&["PEXPIRETIME", "long"]).int();
    let due = Instant::now() + Duration::from_millis(700);
    server.kill9();
    wait_until("the short key is due", MINUTE, || Instant::now() > due);
    let server = server.restart();
    let mut client = server.client();
    assert_eq!(client.cmd(&["PEXPIRETIME", "long"]).int(), at);
    assert_eq!(client.cmd(&["TTL", "plain"]), Value::Int(-1));
    assert_eq!(client.cmd(&["TTL", "persisted"]), Value::Int(-1));
    assert_eq!(client.cmd(&["GET", "short"]), Value::Nil);
    wait_until("the expired key is not counted", MINUTE, || {
        server.client().cmd(&["DBSIZE"]) == Value::Int(3)
    });
}

#[test]
fn databases_and_deletions_survive_a_restart() {
    let mut server = Server::fresh();
    let mut client = server.client();
    for line in [
        "SET a 1",
        "SET b 2",
        "SELECT 3",
        "SET c 3",
        "APPEND c 4",
        "SETRANGE c 4 xyz",
        "SELECT 5",
        "SET gone 1",
        "FLUSHDB",
        "SELECT 0",
        "DEL a",
        "RENAME b d",
        "INCRBYFLOAT d 0.5",
        "MSET e 1 f 2",
        "GETDEL e",
        "SETNX f 9",
        "GETEX f EX 10000",
        "INCRBY big 9223372036854775807",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!client.cmd(&words).is_error(), "{line}");
    }
    server.kill9();
    let server = server.restart();
    let mut client = server.client();
    let mut get = |key: &str| match client.cmd(&["GET", key]) {
        Value::Nil => "nil".into(),
        other => other.text(),
    };
    let found: Vec<String> = ["a", "b", "d", "e", "f", "big"].map(&mut get).to_vec();
    assert_eq!(
        found,
        ["nil", "nil", "2.5", "nil", "2", "9223372036854775807"]
    );
    assert!(client.cmd(&["TTL", "f"]).int() > 9000);
    assert!(client.cmd(&["SELECT", "3"]).is_ok());
    assert_eq!(client.cmd(&["GET", "c"]).text(), "34\0\0xyz");
    assert!(client.cmd(&["SELECT", "5"]).is_ok());
    assert_eq!(client.cmd(&["DBSIZE"]), Value::Int(0));
}

/// Longer than an election timeout: the lease must be had again before anything is answered.
#[test]
fn sigstop_and_sigcont() {
    let server = Server::fresh();
    let mut client = server.client();
    assert!(client.cmd(&["SET", "k", "1"]).is_ok());
    server.signal(libc::SIGSTOP);
    client.send(&["INCR", "k"]).expect("the kernel takes it");
    std::thread::sleep(Duration::from_millis(2500)); // the stop itself is what is tested
    server.signal(libc::SIGCONT);
    assert_eq!(
        client.receive().expect("an answer after SIGCONT"),
        Value::Int(2)
    );
    assert_eq!(client.cmd(&["GET", "k"]).text(), "2");
}
