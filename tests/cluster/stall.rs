//! A leader that is stopped and wakes up: what it answers is never stale.
//!
//! The requests lie in its sockets before it wakes, sent after others had been answered elsewhere:
//! they are the first thing it sees, before any message from its group.

use crate::common::resp::{Client, Value};
use crate::harness::{report, rounds, summary, Cluster, SOON};
use crate::routed::Routed;
use std::time::{Duration, Instant};

const STOPPED: Duration = Duration::from_secs(3);

/// What the old connection asks, and whether an answer is stale.
type Question = (Vec<String>, fn(&Value) -> bool);

fn questions(tag: &str) -> Vec<Question> {
    let words = |text: &str| -> Vec<String> {
        let with_tag = text.replace('@', &format!("{{{tag}}}"));
        with_tag.split(' ').map(String::from).collect()
    };
    vec![
        // Written elsewhere.
        (words("GET @value"), |v| *v == Value::Bulk(b"old".to_vec())),
        // Made elsewhere: it can't be made again.
        (words("SETNX @made mine"), |v| *v == Value::Int(1)),
        (words("EXISTS @made"), |v| *v == Value::Int(0)),
        // Deleted elsewhere: "it is there already" would be stale; nothing is written by this one.
        (words("SETNX @gone mine"), |v| *v == Value::Int(0)),
        (words("GET @gone"), |v| *v == Value::Bulk(b"x".to_vec())),
        // Counted elsewhere, to 10.
        (
            words("INCR @count"),
            |v| matches!(v, Value::Int(n) if *n <= 10),
        ),
        (words("SET @value2 mine XX GET"), |v| {
            *v == Value::Bulk(b"old".to_vec())
        }),
    ]
}

/// A reply, `None` when the connection was closed instead (which is never stale).
fn receive(client: &mut Client) -> Option<Value> {
    match client.receive() {
        Ok(value) => Some(value),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer: {e}"),
        Err(_) => None,
    }
}

#[test]
fn a_leader_that_slept_is_never_stale() {
    let cluster = Cluster::formed(3, 1);
    let mut elsewhere = Vec::new();
    for round in 0..rounds(3) {
        cluster.wait_well();
        let shards = cluster.shards();
        let shard = &shards[round % shards.len()];
        let old = &cluster.nodes[shard.master];
        let tag = shard.tag(round * 1000);
        let key = |name: &str| format!("{{{tag}}}{name}");
        for words in [
            ["SET", &key("value"), "old"],
            ["SET", &key("value2"), "old"],
            ["SET", &key("gone"), "x"],
        ] {
            old.ok(&words);
        }
        let connections = || -> Vec<(Client, Question)> {
            let open = |q: Question| {
                let mut client = old.client();
                assert_eq!(client.cmd(&["GET", &key("value")]).text(), "old");
                client
                    .stream()
                    .set_read_timeout(Some(SOON))
                    .expect("a socket option");
                (client, q)
            };
            questions(&tag).into_iter().map(open).collect()
        };
        let mut asleep = connections();
        let mut awake = connections();

        old.signal(libc::SIGSTOP);
        let stopped = Instant::now();
        let mut client = Routed::new(&cluster.ports()).silence(Duration::from_millis(300));
        let mut write = |words: &[&str]| client.until(SOON, &key(""), words);
        let first = write(&["SET", &key("value"), "new"]);
        elsewhere.push(stopped.elapsed());
        assert_ne!(first.port, old.port, "it is stopped");
        write(&["SET", &key("value2"), "new"]);
        write(&["SET", &key("made"), "theirs"]);
        write(&["DEL", &key("gone")]);
        write(&["SET", &key("count"), "10"]);
        for (client, (words, _)) in &mut asleep {
            client.send(words).expect("its socket still takes bytes");
        }
        // It is the time asleep that is tested: longer than any lease or promise.
        std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
        old.signal(libc::SIGCONT);

        for (client, (words, _)) in &mut awake {
            let _ = client.send(words); // closed already: never stale
        }
        for (client, (words, stale)) in asleep.iter_mut().chain(awake.iter_mut()) {
            let reply = receive(client);
            let wrong = reply.as_ref().is_some_and(&*stale);
            assert!(!wrong, "round {round}: {words:?} -> {reply:?} is stale");
        }
        let made = client.until(SOON, &key(""), &["GET", &key("made")]).value;
        assert_eq!(made.text(), "theirs");
    }
    cluster.wait_well();
    report(
        "SIGSTOP of a leader, to first write elsewhere",
        &summary(&elsewhere),
    );
}

/// A replica that sleeps does not hold up its master, nor does it end as one.
#[test]
fn a_replica_that_sleeps_is_not_noticed() {
    let cluster = Cluster::formed_alone(3, 1);
    let shards = cluster.shards();
    let load = crate::load::Load::start(&cluster, &shards, 1);
    load.wait_acks_everywhere(10);
    let replica = &cluster.nodes[shards[0].replicas[0]];
    replica.signal(libc::SIGSTOP);
    let stopped = Instant::now();
    std::thread::sleep(STOPPED); // it is the time asleep that is tested
    let gap = load.gap(0, stopped, Instant::now());
    replica.signal(libc::SIGCONT);
    assert!(
        gap < Duration::from_secs(1),
        "writes stood still for {gap:?}"
    );
    cluster.wait_well();
    assert_eq!(cluster.shard_of(shards[0].master).master, shards[0].master);
    let failures = load.failures(0, stopped);
    assert!(failures.is_empty(), "{failures:?}");
    load.verify();
}
