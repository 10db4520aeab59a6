//! Messages between real connections.

use crate::common::resp::{encode, Client, Value};
use crate::common::server::{Options, Server};
use crate::common::wait_until;
use crate::ours_only;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn texts(value: &Value) -> Vec<String> {
    let text = |item: &Value| match item {
        Value::Int(n) => n.to_string(),
        Value::Nil => "nil".to_owned(),
        other => other.text(),
    };
    value.items().iter().map(text).collect()
}

fn next(client: &mut Client) -> Vec<String> {
    texts(&client.receive().expect("a message"))
}

#[test]
fn messages_reach_who_listens() {
    let server = Server::fresh();
    let mut publisher = server.client();
    let (mut two, mut three) = (server.client(), server.client());
    three.cmd(&["HELLO", "3"]);
    two.send(&["SUBSCRIBE", "news", "other"]).expect("sent");
    assert_eq!(next(&mut two), ["subscribe", "news", "1"]);
    assert_eq!(next(&mut two), ["subscribe", "other", "2"]);
    for (n, (command, name)) in [
        ("SUBSCRIBE", "news"),
        ("PSUBSCRIBE", "n?w*"),
        ("SSUBSCRIBE", "news"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = three.cmd(&[command, name]);
        let count = if n == 1 { "2" } else { "1" };
        assert_eq!(texts(&reply), [&command.to_lowercase(), name, count]);
        assert!(matches!(reply, Value::Push(_)));
    }
    assert_eq!(publisher.cmd(&["PUBLISH", "news", "hello"]).int(), 3);
    assert_eq!(publisher.cmd(&["SPUBLISH", "news", "part"]).int(), 1);
    assert_eq!(publisher.cmd(&["PUBLISH", "nobody", "x"]).int(), 0);
    assert_eq!(next(&mut two), ["message", "news", "hello"]);
    assert_eq!(next(&mut three), ["message", "news", "hello"]);
    assert_eq!(next(&mut three), ["pmessage", "n?w*", "news", "hello"]);
    assert_eq!(next(&mut three), ["smessage", "news", "part"]);
    // RESP2 keeps replies and messages apart by refusing the former; RESP3 need not.
    assert!(two
        .cmd(&["GET", "k"])
        .text()
        .starts_with("ERR Can't execute 'get'"));
    assert_eq!(three.cmd(&["GET", "k"]), Value::Nil);
    if ours_only("messages_reach_who_listens: one to oneself") {
        // Since 7.2 a message to oneself follows the reply.
        assert_eq!(three.cmd(&["PUBLISH", "news", "me"]).int(), 3);
        assert_eq!(next(&mut three), ["message", "news", "me"]);
        assert_eq!(next(&mut three), ["pmessage", "n?w*", "news", "me"]);
    }
    let numsub = publisher.cmd(&["PUBSUB", "NUMSUB", "news", "other"]);
    assert_eq!(texts(&numsub), ["news", "2", "other", "1"]);
    assert_eq!(server.info("pubsub_clients").as_deref(), Some("2"));
    let list = publisher.cmd(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
    assert!(
        list.contains(" flags=P db=0 sub=2 psub=0 ssub=0 "),
        "{list}"
    );
    assert!(
        list.contains(" flags=P db=0 sub=1 psub=1 ssub=1 "),
        "{list}"
    );
}

#[test]
fn who_goes_no_longer_listens() {
    let server = Server::fresh();
    let mut publisher = server.client();
    let subscribed = || {
        let mut client = server.client();
        client.cmd(&["SUBSCRIBE", "a"]);
        client
    };
    let (gone, mut quit, mut reset, mut killed) =
        (subscribed(), subscribed(), subscribed(), subscribed());
    assert_eq!(publisher.cmd(&["PUBLISH", "a", "1"]).int(), 4);
    drop(gone);
    for client in [&mut quit, &mut reset, &mut killed] {
        assert_eq!(next(client), ["message", "a", "1"]);
    }
    assert!(quit.cmd(&["QUIT"]).is_ok());
    assert_eq!(reset.cmd(&["RESET"]).text(), "RESET");
    wait_until("both connections are forgotten", MINUTE, || {
        server.info("pubsub_clients").as_deref() == Some("1")
    });
    assert_eq!(publisher.cmd(&["PUBLISH", "a", "2"]).int(), 1);
    assert_eq!(next(&mut killed), ["message", "a", "2"]);
    assert_eq!(
        publisher.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]).int(),
        1
    );
    assert!(killed.receive().is_err());
    assert_eq!(publisher.cmd(&["PUBSUB", "CHANNELS"]).items(), []);
    assert_eq!(reset.cmd(&["PING"]).text(), "PONG");
}

/// Writes and messages in one pipeline: the order stays, and nothing is told before it is written.
#[test]
fn messages_keep_their_order_among_writes() {
    let server = Server::fresh();
    let (mut publisher, mut listener, mut reader) =
        (server.client(), server.client(), server.client());
    listener.cmd(&["SUBSCRIBE", "a"]);
    const MESSAGES: usize = 2000;
    let mut pipeline = Vec::new();
    for n in 0..MESSAGES {
        let n = n.to_string();
        pipeline.extend(encode(&["SET", "k", &n]));
        pipeline.extend(encode(&["MULTI"]));
        pipeline.extend(encode(&["PUBLISH", "a", &n]));
        pipeline.extend(encode(&["INCR", "count"]));
        pipeline.extend(encode(&["EXEC"]));
    }
    publisher.send_raw(&pipeline).expect("the server reads");
    for n in 0..MESSAGES {
        assert_eq!(next(&mut listener), ["message", "a", &n.to_string()]);
        if n % 97 == 0 {
            let count: usize = reader
                .cmd(&["GET", "count"])
                .text()
                .parse()
                .expect("a number");
            assert!(count > n, "told of {n}, but only {count} happened");
        }
    }
    for n in 0..MESSAGES {
        assert!(publisher.receive().expect("a reply").is_ok());
        assert!(publisher.receive().expect("a reply").is_ok());
        assert_eq!(publisher.receive().expect("a reply").text(), "QUEUED");
        assert_eq!(publisher.receive().expect("a reply").text(), "QUEUED");
        let exec = publisher.receive().expect("a reply");
        assert_eq!(texts(&exec), ["1", &(n + 1).to_string()]);
    }
}

#[test]
fn a_listener_that_does_not_read_is_closed() {
    if !ours_only("a_listener_that_does_not_read_is_closed") {
        return; // the directive is ours
    }
    let pairs = [("held-output-limit", "4mb"), ("appendfsync", "always")];
    let server = Options::new(&pairs).start();
    let (mut publisher, mut slow, mut good) = (server.client(), server.client(), server.client());
    slow.cmd(&["SUBSCRIBE", "a"]);
    good.cmd(&["SUBSCRIBE", "a"]);
    let before = server.rss();
    let message = "x".repeat(100_000);
    let mut sent = 0;
    let deadline = std::time::Instant::now() + MINUTE;
    while publisher.cmd(&["PUBLISH", "a", &message]).int() == 2 {
        sent += 1;
        assert_eq!(next(&mut good)[2].len(), message.len());
        assert!(
            std::time::Instant::now() < deadline,
            "still there after {sent} messages"
        );
    }
    let growth = server.rss().saturating_sub(before) >> 20;
    assert!(growth < 64, "{growth} MB for {sent} messages");
    assert_eq!(next(&mut good)[2].len(), message.len());
    let mut got = 0;
    while slow.receive().is_ok() {
        got += 1;
    }
    assert!(got <= sent, "what is read is whole");
}

#[test]
fn a_listener_above_its_class_s_limit_closes() {
    let limit = ("client-output-buffer-limit", "pubsub 1mb 0 0");
    let server = Options::new(&[limit, ("appendfsync", "always")]).start();
    let (mut publisher, mut slow) = (server.client(), server.client());
    slow.cmd(&["SUBSCRIBE", "a"]);
    let message = "x".repeat(100_000);
    let mut sent = 0;
    // A socket's own buffers take some megabytes.
    while publisher.cmd(&["PUBLISH", "a", &message]).int() == 1 {
        sent += 1;
        assert!(sent < 300, "30 MB and still there");
    }
    let closed = server.info("client_output_buffer_limit_disconnections");
    assert_eq!(closed.as_deref(), Some("1"));
}

#[test]
fn listeners_may_be_silent() {
    let server = Options::new(&[("timeout", "1")]).start();
    let mut listener = server.client();
    listener.cmd(&["SUBSCRIBE", "a"]);
    let mut idle = server.client();
    assert!(idle.receive().is_err(), "who does not listen is closed");
    assert_eq!(server.client().cmd(&["PUBLISH", "a", "still"]).int(), 1);
    assert_eq!(next(&mut listener), ["message", "a", "still"]);
}
