//! Networks that break in part: a replica whose links to its leader carry nothing, a leader that is
//! cut off together with its clients. Needs root, for network namespaces (`nets.rs`).

use crate::common::resp::Value;
use crate::common::skipped;
use crate::harness::{check, report, rounds, summary, wait_for, Turn, SOON};
use crate::nets::{connect, Far, Nets};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SILENCE: Duration = Duration::from_millis(300);
/// Longer than any lease or promise, and than the bus waits before it says FAIL.
const APART: Duration = Duration::from_secs(4);

/// Runs a test in a thread of its own: a thread that has entered a namespace does not come back.
fn apart(name: &str, test: fn(Far)) {
    let _turn = Turn::shared();
    let nets = match Nets::make(6) {
        Ok(nets) => nets,
        Err(why) => return skipped(name, &why),
    };
    let ended = std::thread::spawn(move || test(Far::formed(nets))).join();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn is_refusal(value: &Value) -> bool {
    value.is_error()
}

/// The reply of the first of these nodes that does not refuse, and which that was.
fn write_one(nodes: &[usize], words: &[&str]) -> Option<(usize, Value)> {
    nodes.iter().find_map(|node| {
        let client = connect(*node, SILENCE);
        let reply = client.and_then(|mut c| c.try_cmd(words)).ok()?;
        (!is_refusal(&reply)).then_some((*node, reply))
    })
}

/// Asks the witness's host for a key of the shard, over and over; how often it refused.
fn never_served(far: &Far, host: usize, key: String, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    let enter = far.nets.entry(None);
    std::thread::spawn(move || {
        enter();
        let open = || connect(host, Duration::from_secs(10)).expect("the host is up");
        let (mut plain, mut readonly) = (open(), open());
        assert!(readonly.cmd(&["READONLY"]).is_ok());
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            for client in [&mut plain, &mut readonly] {
                for words in [vec!["GET", &key], vec!["SET", &key, "by the witness"]] {
                    let reply = client.cmd(&words);
                    assert!(is_refusal(&reply), "{words:?} -> {reply:?}");
                    asked += 1;
                }
            }
        }
        asked
    })
}

#[test]
fn entries_on_leader_and_witness_only_behind_a_broken_link() {
    apart("entries_on_leader_and_witness_only", |mut far| {
        let mut times = Vec::new();
        for round in 0..rounds(2) {
            far.wait_well();
            let (master, replica, host) = far.shard(round % 3).expect("a shard");
            let tag = far.tag(master, round);
            let stop = Arc::new(AtomicBool::new(false));
            let key = |n: usize| format!("{{{tag}}}:{round}:{n}");
            let asking = never_served(&far, host, key(0), stop.clone());
            let term: u64 = number(&far, replica, "raft_term");
            let behind: u64 = number(&far, replica, "raft_last");
            far.nets.block(master, replica);
            far.nets.block(replica, master);
            let mut client = connect(master, SOON).expect("the leader is up");
            for n in 0..200 {
                let reply = client.cmd(&["SET", &key(n), "v"]);
                assert!(reply.is_ok(), "{n}: {reply:?}");
            }
            let last = number(&far, replica, "raft_last");
            assert!(
                last < behind + 100,
                "the replica has them: {behind}, {last}"
            );
            let killed = Instant::now();
            far.kill9(master);
            let mut led = Vec::new();
            wait_for("the replica has all and serves", SOON, || {
                led.push(far.info(replica, "raft_leader")?);
                let served = write_one(&[replica], &["SET", &key(0), "v"]);
                check(served.is_some(), || format!("{:?}", led.last()))
            });
            times.push(killed.elapsed());
            led.dedup();
            let now = number(&far, replica, "raft_term");
            assert!(
                now >= term + 2,
                "term {term}, then {now}: nobody led between"
            );
            let mut client = connect(replica, SOON).expect("it serves");
            for n in 0..200 {
                assert_eq!(
                    client.cmd(&["GET", &key(n)]).text(),
                    "v",
                    "{n} was acknowledged"
                );
            }
            stop.store(true, Ordering::Relaxed);
            let asked = asking.join().expect("nobody was served by the witness");
            println!(
                "round {round}: {:?}, term {term} to {now}, leaders seen {led:?}, {asked} refused",
                times.last()
            );
            far.nets.unblock(master, replica);
            far.nets.unblock(replica, master);
            far.start(master);
        }
        far.wait_well();
        report(
            "entries on leader and witness only, broken link",
            &summary(&times),
        );
    });
}

fn number(far: &Far, node: usize, field: &str) -> u64 {
    let text = far.info(node, field).expect("it answers");
    text.parse().expect("a number")
}

/// What the clients on the leader's side did.
#[derive(Default)]
struct Inside {
    /// Writes of their own that were acknowledged.
    acked: Vec<String>,
    reads: usize,
    /// Requests without a reply, or refused.
    refused: usize,
}

/// A client on the leader's side: writes keys of its own, and reads what is written on the other
/// side. A value older than the newest that was acknowledged before the read was sent is stale.
fn inside(
    far: &Far,
    leader: usize,
    tag: String,
    name: usize,
    newest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Inside> {
    let enter = far.nets.entry(Some(leader));
    std::thread::spawn(move || {
        enter();
        let mut seen = Inside::default();
        let shared = format!("{{{tag}}}shared");
        let mut client = None;
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if client.is_none() {
                client = connect(leader, APART * 3).ok();
            }
            let Some(open) = client.as_mut() else {
                continue;
            };
            let own = format!("{{{tag}}}:{name}:{n}");
            let known = newest.load(Ordering::SeqCst);
            let (words, is_read) = match n % 2 {
                0 => (vec!["GET", &shared], true),
                _ => (vec!["SET", &own, "mine"], false),
            };
            match open.try_cmd(&words) {
                Ok(Value::Bulk(value)) if is_read => {
                    let value = String::from_utf8_lossy(&value).into_owned();
                    let value: u64 = value.parse().expect("a number");
                    assert!(
                        value >= known,
                        "stale: {value}, though {known} was acknowledged"
                    );
                    seen.reads += 1;
                }
                Ok(reply) if reply.is_ok() => seen.acked.push(own),
                Ok(reply) => {
                    assert!(is_refusal(&reply), "{words:?} -> {reply:?}");
                    seen.refused += 1;
                    std::thread::sleep(Duration::from_millis(5)); // between two tries
                }
                Err(_) => {
                    seen.refused += 1;
                    client = None;
                }
            }
        }
        seen
    })
}

#[test]
fn a_leader_cut_off_with_its_clients() {
    apart("a_leader_cut_off_with_its_clients", |far| {
        let mut times = Vec::new();
        for round in 0..rounds(2) {
            far.wait_well();
            let (master, replica, _) = far.shard(round % 3).expect("a shard");
            let tag = far.tag(master, 50 + round);
            let shared = format!("{{{tag}}}shared");
            let (newest, stop) = (
                Arc::new(AtomicU64::new(0)),
                Arc::new(AtomicBool::new(false)),
            );
            let mut n = 0;
            let mut write = |nodes: &[usize]| -> Option<usize> {
                n += 1;
                let (node, _) = write_one(nodes, &["SET", &shared, &n.to_string()])?;
                newest.store(n, Ordering::SeqCst);
                Some(node)
            };
            assert_eq!(write(&[master]), Some(master));
            let clients: Vec<_> = (0..4)
                .map(|name| {
                    inside(
                        &far,
                        master,
                        tag.clone(),
                        name,
                        newest.clone(),
                        stop.clone(),
                    )
                })
                .collect();
            for _ in 0..50 {
                wait_for("the leader takes it", SOON, || {
                    check(write(&[master]).is_some(), || "refused".into())
                });
            }
            far.nets.cut(master);
            let cut = Instant::now();
            let mut elsewhere = 0;
            while cut.elapsed() < APART || elsewhere < 50 {
                assert!(cut.elapsed() < SOON, "{elsewhere} writes elsewhere");
                if write(&[replica]).is_some() {
                    if elsewhere == 0 {
                        times.push(cut.elapsed());
                    }
                    elsewhere += 1;
                }
            }
            far.nets.heal(master);
            far.wait_well();
            for _ in 0..20 {
                wait_for("writes go on", SOON, || {
                    check(write(&[replica, master]).is_some(), || "refused".into())
                });
            }
            stop.store(true, Ordering::Relaxed);
            let mut reader = connect(far.shard(replica).expect("a shard").0, SOON).expect("up");
            let (mut acked, mut reads, mut refused) = (0, 0, 0);
            for client in clients {
                let seen = client.join().expect("no stale read");
                for key in &seen.acked {
                    assert_eq!(reader.cmd(&["GET", key]).text(), "mine", "{key} is lost");
                }
                acked += seen.acked.len();
                reads += seen.reads;
                refused += seen.refused;
            }
            assert!(acked > 0 && reads > 0, "its clients did nothing");
            println!(
                "round {round}: {acked} writes, {reads} reads, {refused} refused on the leader's \
                 side; {elsewhere} writes elsewhere, the first after {:?}",
                times.last()
            );
        }
        report(
            "a leader cut off with its clients, to first write",
            &summary(&times),
        );
    });
}
