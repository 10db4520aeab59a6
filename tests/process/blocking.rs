//! Commands that wait, on real connections: how they end, and what comes after them.

use crate::common::resp::Client;
use crate::common::server::Server;
use crate::common::wait_until;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

fn blocked(server: &Server) -> Option<String> {
    server.info("blocked_clients")
}

/// A client in a WAIT that nobody answers, a PING behind it, and its id.
fn waiting(server: &Server, patience: &str) -> (Client, i64) {
    let mut client = server.client();
    let id = client.cmd(&["CLIENT", "ID"]).int();
    client.send(&["WAIT", "1", patience]).expect("sent");
    client.send(&["PING"]).expect("sent");
    wait_until("the client waits", MINUTE, || {
        blocked(server).as_deref() == Some("1")
    });
    (client, id)
}

#[test]
fn unblock_ends_a_wait() {
    let server = Server::fresh();
    let mut other = server.client();
    for (how, end) in [
        ("TIMEOUT", "0"),
        ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let (mut client, id) = waiting(&server, "0");
        let id = id.to_string();
        assert_eq!(other.cmd(&["CLIENT", "UNBLOCK", &id, how]).int(), 1);
        assert_eq!(other.cmd(&["CLIENT", "UNBLOCK", &id, how]).int(), 0);
        let reply = client.receive().expect("the end of WAIT");
        let text = match reply.is_error() {
            true => reply.text(),
            false => reply.int().to_string(),
        };
        assert_eq!(text, end);
        assert_eq!(client.receive().expect("a reply").text(), "PONG");
        assert_eq!(blocked(&server).as_deref(), Some("0"));
    }
}

#[test]
fn a_killed_waiter_is_forgotten() {
    let server = Server::fresh();
    let (mut client, id) = waiting(&server, "0");
    let mut other = server.client();
    let id = id.to_string();
    assert_eq!(other.cmd(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    assert!(client.receive().is_err(), "the connection is closed");
    assert_eq!(other.cmd(&["CLIENT", "UNBLOCK", &id]).int(), 0);
    assert_eq!(blocked(&server).as_deref(), Some("0"));
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let server = Server::fresh();
    let mut client = server.client();
    client.send(&["CLIENT", "REPLY", "SKIP"]).expect("sent");
    client.send(&["WAIT", "1", "20"]).expect("sent");
    let begun = Instant::now();
    assert_eq!(
        client.cmd(&["PING"]).text(),
        "PONG",
        "WAIT's reply is skipped"
    );
    assert!(begun.elapsed() >= Duration::from_millis(20));
    let begun = Instant::now();
    assert_eq!(client.cmd(&["WAIT", "1", "100"]).int(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(100));
}
