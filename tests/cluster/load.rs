//! Writers on every shard that remember what was acknowledged, when and by whom; and the proof that
//! all of it is there.
//!
//! Each writer owns its keys: unique ones, written once each and tried again until acknowledged (a
//! SET may be done twice), and a counter (an INCR may not), of which is known how often it surely
//! was and how often it perhaps was incremented.

use crate::common::resp::Value;
use crate::harness::{Cluster, Shard, SOON};
use crate::routed::{Failure, Routed};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    pub sent: Instant,
    pub at: Instant,
    pub port: u16,
}

/// What one writer knows.
#[derive(Default)]
struct Book {
    acks: Vec<Ack>,
    keys: u64,      // unique keys acknowledged: 1..=keys
    counted: u64,   // INCRs acknowledged
    uncertain: u64, // INCRs whose outcome nobody knows
    failures: Vec<(Instant, String)>,
}

struct Writer {
    shard: usize,
    tag: String,
    book: Arc<Mutex<Book>>,
    thread: Option<JoinHandle<()>>,
}

pub struct Load {
    ports: Vec<u16>,
    writers: Vec<Writer>,
    stop: Arc<AtomicBool>,
}

fn key(tag: &str, n: u64) -> String {
    format!("{{{tag}}}:{n}")
}

fn counter(tag: &str) -> String {
    format!("{{{tag}}}:count")
}

fn value(tag: &str, n: u64) -> String {
    format!("{tag}-{n}-{}", "v".repeat((n % 100) as usize))
}

impl Load {
    /// `writers` clients on each of these shards, each with one request under way.
    pub fn start(cluster: &Cluster, shards: &[Shard], writers: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let ports = cluster.ports();
        let mut load = Load {
            ports: ports.clone(),
            writers: Vec::new(),
            stop: stop.clone(),
        };
        for (shard, which) in shards.iter().enumerate() {
            for _ in 0..writers {
                // Keys of an earlier load of the same test must not be met again.
                static LOADS: AtomicUsize = AtomicUsize::new(0);
                let tag = which.tag(1000 + LOADS.fetch_add(1, Ordering::Relaxed));
                let book = Arc::new(Mutex::new(Book::default()));
                let (stop, own, name) = (stop.clone(), book.clone(), tag.clone());
                let client = Routed::new(&ports);
                let thread = std::thread::spawn(move || write(client, &name, &own, &stop));
                load.writers.push(Writer {
                    shard,
                    tag,
                    book,
                    thread: Some(thread),
                });
            }
        }
        load
    }

    /// The hash tags of all its keys.
    pub fn tags(&self) -> Vec<String> {
        self.writers.iter().map(|w| w.tag.clone()).collect()
    }

    /// All acknowledged writes of a shard from `from` on, in order.
    pub fn acks(&self, shard: usize, from: Instant) -> Vec<Ack> {
        let mut all = Vec::new();
        for writer in self.writers.iter().filter(|w| w.shard == shard) {
            let book = writer.book.lock().expect("no writer panicked");
            let start = book.acks.partition_point(|a| a.at < from);
            all.extend_from_slice(&book.acks[start..]);
        }
        all.sort_by_key(|a| a.at);
        all
    }

    /// Waits until each writer of the shard has had `count` more writes acknowledged.
    pub fn wait_acks(&self, shard: usize, count: usize) {
        let from = Instant::now();
        for writer in self.writers.iter().filter(|w| w.shard == shard) {
            crate::common::wait_until("writes go on", SOON, || {
                let book = writer.book.lock().expect("no writer panicked");
                book.acks.iter().rev().take_while(|a| a.at > from).count() >= count
            });
        }
    }

    pub fn wait_acks_everywhere(&self, count: usize) {
        let shards = self
            .writers
            .iter()
            .map(|w| w.shard)
            .max()
            .map_or(0, |s| s + 1);
        (0..shards).for_each(|shard| self.wait_acks(shard, count));
    }

    /// The first acknowledged write that was sent after `from` and not answered by `not_by`.
    pub fn first_ack(&self, shard: usize, from: Instant, not_by: u16) -> Option<Ack> {
        let acks = self.acks(shard, from);
        acks.into_iter().find(|a| a.sent > from && a.port != not_by)
    }

    /// The longest time without an acknowledged write on a shard between two moments.
    pub fn gap(&self, shard: usize, from: Instant, to: Instant) -> Duration {
        let acks = self.acks(shard, from);
        let inside = acks.iter().map(|a| a.at).filter(|at| *at < to);
        let ends: Vec<Instant> = std::iter::once(from).chain(inside).chain([to]).collect();
        let gaps = ends.windows(2).map(|w| w[1] - w[0]);
        gaps.max().unwrap_or_default()
    }

    /// What writers of a shard were refused or lost since `from`.
    pub fn failures(&self, shard: usize, from: Instant) -> Vec<String> {
        let mut all = Vec::new();
        for writer in self.writers.iter().filter(|w| w.shard == shard) {
            let book = writer.book.lock().expect("no writer panicked");
            let late = book.failures.iter().filter(|(at, _)| *at >= from);
            all.extend(late.map(|(_, why)| why.clone()));
        }
        all
    }

    fn finish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in &mut self.writers {
            if let Some(thread) = writer.thread.take() {
                assert!(
                    thread.join().is_ok() || std::thread::panicking(),
                    "a writer panicked"
                );
            }
        }
    }

    /// Ends the writers and panics unless everything acknowledged is there. Returns how much that
    /// was.
    pub fn verify(mut self) -> u64 {
        self.finish();
        let mut client = Routed::new(&self.ports).silence(SOON);
        let mut total = 0;
        for writer in &self.writers {
            let book = writer.book.lock().expect("no writer panicked");
            verify_keys(&mut client, &writer.tag, book.keys);
            let name = counter(&writer.tag);
            let count = client.until(SOON, &name, &["GET", &name]).value;
            let count: u64 = match &count {
                Value::Nil => 0,
                other => other.text().parse().expect("a counter is a number"),
            };
            let (low, high) = (book.counted, book.counted + book.uncertain);
            assert!(
                (low..=high).contains(&count),
                "{name} is {count}; {low} increments were acknowledged, {} are uncertain",
                book.uncertain
            );
            total += book.keys + book.counted;
        }
        total
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

fn verify_keys(client: &mut Routed, tag: &str, keys: u64) {
    let mut lost = Vec::new();
    let all: Vec<u64> = (1..=keys).collect();
    for chunk in all.chunks(500) {
        let gets = chunk.iter().map(|n| vec!["GET".into(), key(tag, *n)]);
        let replies = client.pipeline(SOON, &key(tag, 0), &gets.collect::<Vec<_>>());
        for (n, reply) in chunk.iter().zip(replies) {
            if reply != Value::Bulk(value(tag, *n).into_bytes()) {
                lost.push((*n, reply));
            }
        }
    }
    assert!(
        lost.is_empty(),
        "{} of {keys} acknowledged writes of {tag} are lost or wrong, the first: {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
}

fn write(mut client: Routed, tag: &str, book: &Mutex<Book>, stop: &AtomicBool) {
    let mut n = 1;
    let count = counter(tag);
    while !stop.load(Ordering::Relaxed) {
        let name = key(tag, n);
        let outcome = client.once(&name, &["SET", &name, &value(tag, n)]);
        if note(book, outcome, |book, value| {
            assert!(value.is_ok(), "SET -> {value:?}");
            book.keys = n;
        }) {
            n += 1;
        }
        let outcome = client.once(&count, &["INCR", &count]);
        if matches!(outcome, Err(Failure::Unknown(_))) {
            book.lock().expect("no panic while it is held").uncertain += 1;
        }
        note(book, outcome, |book, _| book.counted += 1);
    }
}

/// Enters an outcome; true when it was an acknowledgement.
fn note(
    book: &Mutex<Book>,
    outcome: Result<crate::routed::Answer, Failure>,
    acknowledged: impl FnOnce(&mut Book, &Value),
) -> bool {
    let mut book = book.lock().expect("no panic while it is held");
    match outcome {
        Ok(answer) => {
            acknowledged(&mut book, &answer.value);
            book.acks.push(Ack {
                sent: answer.sent,
                at: Instant::now(),
                port: answer.port,
            });
            true
        }
        Err(why) => {
            book.failures.push((Instant::now(), why.to_string()));
            drop(book);
            std::thread::sleep(Duration::from_millis(5)); // between two tries
            false
        }
    }
}
