//! Writers that remember what was acknowledged, and the check that all of it is there.
//!
//! Each writer owns its keys, so the check is exact: every acknowledged write is there; of those
//! without an answer the last may be there, nothing else; a transaction is there whole or not at
//! all.

use crate::common::resp::{Client, Value};
use crate::common::server::Server;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What one writer knows.
#[derive(Clone, Copy, Default)]
pub struct Acked {
    pub sent: u64,
    pub acked: u64,
}

pub struct Load {
    writers: Vec<JoinHandle<Acked>>,
    acked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

fn key(prefix: &str, writer: usize, n: u64) -> String {
    format!("{prefix}:{writer}:{n}")
}

fn value(writer: usize, n: u64) -> String {
    format!("value-{writer}-{n}-{}", "x".repeat((n % 200) as usize))
}

impl Load {
    /// Starts `writers` clients, each with one request under way, until the connection breaks, a
    /// write is refused or [`Load::stop`].
    pub fn start(server: &Server, prefix: &str, writers: usize) -> Load {
        let acked = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |writer: usize| {
            let (mut client, prefix) = (server.client(), prefix.to_string());
            let (all, stop) = (acked.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut own = Acked::default();
                while !stop.load(Ordering::Relaxed) {
                    own.sent += 1;
                    if !write(&mut client, &prefix, writer, own.sent) {
                        break;
                    }
                    own.acked += 1;
                    all.fetch_add(1, Ordering::Relaxed);
                }
                own
            })
        };
        let writers = (0..writers).map(spawn).collect();
        Load {
            writers,
            acked,
            stop,
        }
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Lets every writer finish its request.
    pub fn stop(self) -> Vec<Acked> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits for the writers, which end when the server has gone.
    pub fn join(self) -> Vec<Acked> {
        self.writers
            .into_iter()
            .map(|w| w.join().expect("a writer does not panic"))
            .collect()
    }
}

/// One write: a key of its own, a counter, and every fourth time a transaction over two keys.
fn write(client: &mut Client, prefix: &str, writer: usize, n: u64) -> bool {
    let count = key(prefix, writer, 0);
    let commands: Vec<Vec<String>> = if n % 4 == 0 {
        let (a, b) = (
            format!("{prefix}:a:{writer}"),
            format!("{prefix}:b:{writer}"),
        );
        vec![
            vec!["MULTI".into()],
            vec!["SET".into(), a, n.to_string()],
            vec!["SET".into(), key(prefix, writer, n), value(writer, n)],
            vec!["INCR".into(), count],
            vec!["SET".into(), b, n.to_string()],
            vec!["EXEC".into()],
        ]
    } else {
        vec![
            vec!["SET".into(), key(prefix, writer, n), value(writer, n)],
            vec!["INCR".into(), count],
        ]
    };
    let bytes: Vec<u8> = commands
        .iter()
        .flat_map(|c| crate::common::resp::encode(c))
        .collect();
    if client.send_raw(&bytes).is_err() {
        return false;
    }
    let replies: Vec<_> = commands.iter().map(|_| client.receive()).collect();
    replies
        .iter()
        .all(|r| matches!(r, Ok(value) if !value.is_error()))
}

/// Panics unless the server holds everything that was acknowledged.
pub fn check(server: &Server, prefix: &str, writers: &[Acked]) {
    let mut client = server.client();
    for (writer, known) in writers.iter().enumerate() {
        for first in (1..=known.acked).step_by(500) {
            let numbers: Vec<u64> = (first..=known.acked.min(first + 499)).collect();
            let mut args = vec!["MGET".to_string()];
            args.extend(numbers.iter().map(|n| key(prefix, writer, *n)));
            let reply = client.cmd(&args);
            for (n, got) in numbers.iter().zip(reply.items()) {
                let expected = Value::Bulk(value(writer, *n).into_bytes());
                assert!(
                    *got == expected,
                    "acknowledged write {prefix}:{writer}:{n} is {got:?}"
                );
            }
        }
        let count = match client.cmd(&["GET".to_string(), key(prefix, writer, 0)]) {
            Value::Nil => 0,
            other => other.text().parse::<u64>().expect("a counter"),
        };
        let range = known.acked..=known.sent;
        assert!(
            range.contains(&count),
            "counter of {prefix}:{writer} is {count}, not in {range:?}"
        );
        let beyond = client.cmd(&["EXISTS".to_string(), key(prefix, writer, known.sent + 1)]);
        assert_eq!(beyond.int(), 0, "a write that nobody sent is there");
        let half = |name: &str| client_get(server, &format!("{prefix}:{name}:{writer}"));
        assert_eq!(
            half("a"),
            half("b"),
            "a transaction of {prefix}:{writer} is there in part"
        );
    }
}

fn client_get(server: &Server, key: &str) -> Value {
    server.client().cmd(&["GET", key])
}
