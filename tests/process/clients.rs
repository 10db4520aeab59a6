//! Many clients, slow clients, unknown clients: memory stays bounded and others are served.

use crate::common::resp::{encode, Client, Value};
use crate::common::server::{Options, Server};
use crate::common::{raise_open_files, skipped, wait_until};
use crate::ours_only;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const MB: u64 = 1 << 20;

#[test]
fn ten_thousand_idle_connections() {
    const TEST: &str = "ten_thousand_idle_connections";
    let limit = raise_open_files();
    if limit < 10_500 {
        return skipped(TEST, &format!("only {limit} open files are allowed here"));
    }
    let server = Options::new(&[("maxclients", "10100"), ("appendfsync", "always")]).start();
    let before = server.rss();
    let connect = |_| TcpStream::connect(("127.0.0.1", server.port)).expect("another connection");
    let idle: Vec<TcpStream> = (0..10_000).map(connect).collect();
    let connected = || {
        server
            .info("connected_clients")
            .and_then(|n| n.parse::<u64>().ok())
    };
    wait_until("all connections are accepted", MINUTE, || {
        connected() >= Some(10_000)
    });
    let growth = server.rss().saturating_sub(before);
    println!(
        "10,000 idle connections: {} KiB each",
        growth / 10_000 / 1024
    );
    assert!(
        growth < 600 * MB,
        "10,000 idle connections take {} MB",
        growth / MB
    );
    let mut client = server.client();
    let start = Instant::now();
    for n in 0..2000 {
        let key = format!("k{n}");
        assert!(client.cmd(&["SET", &key, "v"]).is_ok());
        assert_eq!(client.cmd(&["GET", &key]).text(), "v");
    }
    let each = start.elapsed() / 4000;
    assert!(
        each < Duration::from_millis(10),
        "{each:?} a command beside idle connections"
    );
    // Every one of them is alive.
    for stream in idle.iter().step_by(997) {
        let mut stream = stream;
        stream.write_all(b"PING\r\n").expect("still connected");
        let mut reply = [0u8; 7];
        std::io::Read::read_exact(&mut stream, &mut reply).expect("an answer");
        assert_eq!(&reply, b"+PONG\r\n");
    }
    drop(idle);
    wait_until("the closed connections are forgotten", MINUTE, || {
        connected() < Some(20)
    });
}

#[test]
fn a_slow_reader_with_a_big_pipeline() {
    if !ours_only("a_slow_reader_with_a_big_pipeline") {
        return; // redis-server keeps all replies of a normal client in memory
    }
    let server = Server::fresh();
    let mut other = server.client();
    let big = vec![b'b'; MB as usize];
    assert!(other.cmd(&[b"SET".as_slice(), b"big", &big]).is_ok());
    let before = server.rss();
    let mut slow = server.client();
    const GETS: usize = 1500;
    slow.send_raw(&encode(&["GET", "big"]).repeat(GETS))
        .expect("1500 small requests fit");
    // 1.5 GB of replies are asked for and nobody reads: watch what the server takes.
    let mut most = 0;
    let watch = Instant::now();
    while watch.elapsed() < Duration::from_secs(3) {
        most = most.max(server.rss().saturating_sub(before));
        assert_eq!(other.cmd(&["PING"]).text(), "PONG");
        assert!(other.cmd(&["SET", "other", "1"]).is_ok());
    }
    println!("a slow reader of 1.5 GB costs at most {} MB", most / MB);
    assert!(most < 256 * MB, "a slow reader costs {} MB", most / MB);
    for n in 0..GETS {
        let reply = slow.receive().unwrap_or_else(|e| panic!("reply {n}: {e}"));
        assert!(
            reply == Value::Bulk(big.clone()),
            "reply {n} is not the value"
        );
    }
    assert_eq!(slow.cmd(&["PING"]).text(), "PONG");
}

/// Asks for 200 MB and reads nothing; the client, and how often the server has closed one for that.
fn unread(server: &Server) -> (Client, String) {
    let big = vec![b'b'; MB as usize];
    assert!(server
        .client()
        .cmd(&[b"SET".as_slice(), b"big", &big])
        .is_ok());
    let mut slow = server.client();
    slow.send_raw(&encode(&["GET", "big"]).repeat(200))
        .expect("200 small requests fit");
    let closed = || server.info("client_output_buffer_limit_disconnections");
    wait_until("the client is closed", MINUTE, || {
        closed().is_some_and(|n| n != "0")
    });
    (slow, closed().expect("the field was there"))
}

#[test]
fn unread_output_above_the_hard_limit_closes() {
    let limit = ("client-output-buffer-limit", "normal 2mb 0 0");
    let server = Options::new(&[limit, ("appendfsync", "always")]).start();
    let (mut slow, closed) = unread(&server);
    assert_eq!(closed, "1");
    let text = "overcoming of output buffer limits";
    wait_until("the log says so", MINUTE, || server.output().contains(text));
    let got = slow.read_to_end().len() as u64;
    assert!(got < 200 * MB, "{got} bytes came");
    // One that reads is served, also where a reply is larger than what a socket takes at once.
    let mut good = server.client();
    for _ in 0..50 {
        assert_eq!(good.cmd(&["GET", "big"]).text().len() as u64, MB);
    }
    assert_eq!(server.info("connected_clients").as_deref(), Some("2"));
    // Without the limit nobody is closed any more.
    let none = [
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "normal 0 0 0",
    ];
    assert!(good.cmd(&none).is_ok());
    good.send_raw(&encode(&["GET", "big"]).repeat(20))
        .expect("sent");
    for _ in 0..20 {
        assert_eq!(good.receive().expect("a reply").text().len() as u64, MB);
    }
}

#[test]
fn unread_output_above_the_soft_limit_closes() {
    let limit = ("client-output-buffer-limit", "normal 0 1mb 2");
    let server = Options::new(&[limit, ("appendfsync", "always")]).start();
    let start = Instant::now();
    let (_slow, closed) = unread(&server);
    assert_eq!(closed, "1");
    assert!(start.elapsed() > Duration::from_secs(2), "too early");
}

/// Many requests, half read: replies stay whole and in order.
#[test]
fn a_long_pipeline_is_answered_in_order() {
    let server = Server::fresh();
    let client = server.client();
    let mut writer = client.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for n in 0..50_000u32 {
            let n = n.to_string();
            writer
                .write_all(&encode(&["ECHO", &n]))
                .expect("the server reads on");
            if n.ends_with("00") {
                writer
                    .write_all(&encode(&["SET", "last", &n]))
                    .expect("the server reads on");
            }
        }
    });
    let mut client = client;
    for n in 0..50_000u32 {
        let n = n.to_string();
        assert_eq!(client.receive().expect("a reply").text(), n);
        if n.ends_with("00") {
            assert!(client.receive().expect("a reply").is_ok());
        }
    }
    sender.join().expect("the sender ends");
    assert_eq!(client.cmd(&["GET", "last"]).text(), "49900");
}

#[test]
fn maxclients_is_enforced() {
    let server = Options::new(&[("maxclients", "5"), ("appendfsync", "always")]).start();
    let mut clients: Vec<Client> = Vec::new();
    let refusal = loop {
        let mut client = Client::connect(server.port).expect("TCP accepts");
        match client.try_cmd(&["PING"]) {
            Ok(Value::Error(text)) => break String::from_utf8_lossy(&text).into_owned(),
            Ok(_) => clients.push(client),
            // The close may overtake the refusal when our PING was not read.
            Err(_) => continue,
        }
        assert!(clients.len() <= 5, "a sixth client was taken");
    };
    assert_eq!(refusal, "ERR max number of clients reached");
    clients.pop();
    wait_until("a place becomes free", MINUTE, || {
        Client::connect(server.port)
            .and_then(|mut c| c.try_cmd(&["PING"]))
            .is_ok_and(|reply| !reply.is_error())
    });
}

#[test]
fn requirepass_guards() {
    let server = Options::new(&[("appendfsync", "always")])
        .password("s3cret")
        .start();
    let mut client = Client::connect(server.port).expect("TCP accepts");
    assert_eq!(
        client.cmd(&["GET", "k"]).text(),
        "NOAUTH Authentication required."
    );
    let wrong = client.cmd(&["AUTH", "wrong"]).text();
    assert!(wrong.starts_with("WRONGPASS"), "{wrong}");
    assert!(client.cmd(&["AUTH", "s3cret"]).is_ok());
    assert!(client.cmd(&["SET", "k", "v"]).is_ok());
    // Taken away at run time: those who are in stay in, newcomers need none.
    assert!(client.cmd(&["CONFIG", "SET", "requirepass", ""]).is_ok());
    let mut client = Client::connect(server.port).expect("TCP accepts");
    assert_eq!(client.cmd(&["GET", "k"]).text(), "v");
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    let server = Options::new(&[("timeout", "1")]).start();
    let mut client = server.client();
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    let start = Instant::now();
    assert!(client.receive().is_err(), "the server closes");
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn client_kill_ends_a_connection() {
    let server = Server::fresh();
    let mut victim = server.client();
    let id = victim.cmd(&["CLIENT", "ID"]).int().to_string();
    assert_eq!(
        server.client().cmd(&["CLIENT", "KILL", "ID", &id]),
        Value::Int(1)
    );
    assert!(
        victim.try_cmd(&["PING"]).is_err(),
        "the connection is closed"
    );
}

#[test]
fn a_large_value_goes_in_and_out_and_survives() {
    let mut server = Server::fresh();
    let big: Vec<u8> = (0..40 * MB).map(|n| (n % 251) as u8).collect();
    let mut client = server.client();
    assert!(client.cmd(&[b"SET".as_slice(), b"big", &big]).is_ok());
    assert!(
        client.cmd(&["GET", "big"]) == Value::Bulk(big.clone()),
        "the value comes back"
    );
    server.kill9();
    let server = server.restart();
    assert!(
        server.client().cmd(&["GET", "big"]) == Value::Bulk(big),
        "it survives a kill"
    );
}
