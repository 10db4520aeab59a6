//! `scripts/start_cluster.sh grow` and `shrink`: under load, interrupted in the middle, forwards and back.
//! Nothing acknowledged is lost, no process and no folder is left over, and a client sees no error but of the
//! node that is removed: an old map of the slots may name it until it is gone.

use crate::common::resp::{Client, Value};
use crate::harness::{check, report, try_redis_cli, wait_for, SOON};
use crate::routed::Routed;
use crate::script::{ok, text, Script};
use crate::view::slot_of;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MASTERS: u16 = 3;

/// A client that writes keys of all slots, each once, and later reads them all.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    /// The node that is being removed.
    leaving: Arc<AtomicU16>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(seeds: Vec<u16>) -> Writer {
        let (stop, written) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let leaving = Arc::new(AtomicU16::new(0));
        let (over, count, gone) = (stop.clone(), written.clone(), leaving.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Routed::new(&seeds).silence(SOON);
            while !over.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed).to_string();
                let key = format!("key:{n}");
                match client.once(&key, &["SET", &key, &n]) {
                    Ok(answer) => {
                        assert!(answer.value.is_ok(), "{key}: {:?}", answer.value);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    // A removed node refuses, resets the connection, or answers as one that is alone: as
                    // clients do, another node is asked.
                    Err(why) => {
                        let of = format!(": {}: ", gone.load(Ordering::Relaxed));
                        let why = why.to_string();
                        assert!(why.contains(&of), "{key}: {why}\n{}", told(&seeds, &key));
                    }
                }
                std::thread::sleep(Duration::from_millis(1)); // the load's pace
            }
        });
        Writer {
            stop,
            written,
            leaving,
            thread,
        }
    }

    fn leaves(&self, port: u16) {
        self.leaving.store(port, Ordering::Relaxed);
    }

    /// Waits for some more writes, so that there is load now.
    fn go_on(&self) {
        let before = self.written.load(Ordering::Relaxed);
        wait_for("writes go on", SOON, || {
            let now = self.written.load(Ordering::Relaxed);
            check(now >= before + 20, || format!("{before}, then {now}"))
        });
    }

    fn all_there(self, seed: u16) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no write failed");
        let written = self.written.load(Ordering::Relaxed);
        let mut client = Routed::new(&[seed]);
        for n in 0..written {
            let key = format!("key:{n}");
            let value = client.until(SOON, &key, &["GET", &key]).value;
            assert_eq!(value, Value::Bulk(n.to_string().into_bytes()), "{key}");
        }
        written
    }
}

fn is_whole(script: &Script) {
    let address = format!("127.0.0.1:{}", script.port);
    wait_for("redis-cli finds every slot in its place", SOON, || {
        let (fine, said) = try_redis_cli(&["--cluster", "check", &address]);
        check(fine, || said)
    });
}

/// Begins, is interrupted when some slots have moved, and says how to go on. How many were to move.
fn interrupted(script: &Script, verb: &str) -> u32 {
    let mut work = script.begin_to(&[verb, "1"]);
    let said = work.until_it_says("moving ");
    let total = said.split(' ').find_map(|word| word.parse().ok());
    work.until_it_says("  0 of ");
    work.until_it_says(" slots");
    work.interrupt(libc::SIGINT);
    assert!(!work.end().success());
    let status = script.act(&["status"]);
    let shown = text(&status.stdout);
    assert!(shown.contains("slots on the move: "), "{shown}");
    let how = format!("{verb} 1 has not ended");
    assert!(shown.contains(&how), "{shown}");
    let other = script.act(&[verb, "2"]);
    assert!(!other.status.success());
    assert!(text(&other.stderr).contains("one change at a time"));
    total.expect("it says how many slots move")
}

/// What every node says of a key's slot, for the report of a failure.
fn told(seeds: &[u16], key: &str) -> String {
    let slot = slot_of(key);
    let last = seeds.last().expect("there are nodes") + 1;
    let mut all = format!("slot {slot}\n");
    for port in seeds.iter().copied().chain([last]) {
        let said = Client::connect(port).and_then(|mut client| {
            let nodes = client.try_cmd(&["CLUSTER", "NODES"])?;
            let info = client.try_cmd(&["CLUSTER", "INFO"])?;
            Ok(format!("{}\n{}", nodes.text(), info.text()))
        });
        let said = said.unwrap_or_else(|e| e.to_string());
        all.push_str(&format!("--- {port}\n{said}\n"));
    }
    all
}

/// A whole `grow` would move 4,096 slots: what it does after the last of them is what `shrink` does.
#[test]
fn interrupted_grow_goes_on_and_back() {
    let script = Script::with_ports(MASTERS + 1);
    let (nodes, port) = (MASTERS.to_string(), script.port.to_string());
    ok(&script.act(&["--nodes", &nodes, "--replicas", "0", "--port", &port]));
    let writer = Writer::start((script.port..script.port + MASTERS).collect());
    let from = Instant::now();
    writer.go_on();
    let first = interrupted(&script, "grow");
    let second = interrupted(&script, "grow");
    assert_eq!(first, 4096);
    assert!(second < first, "it begins anew: {second}");
    writer.go_on();
    writer.leaves(script.port + MASTERS);
    let said = ok(&script.act(&["shrink", "1"]));
    assert!(said.contains("going back on grow 1"), "{said}");
    assert!(said.contains("has 3 masters now"), "{said}");
    is_whole(&script);
    let took = from.elapsed();
    assert_eq!(script.servers().len(), usize::from(MASTERS));
    let home = script.dir.join((script.port + MASTERS).to_string());
    assert!(!home.exists(), "{} is left", home.display());
    writer.go_on();
    let refused = script.act(&["shrink", "1"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("at least 3 masters"));
    let written = writer.all_there(script.port);
    ok(&script.act(&["clean"]));
    report(
        "a cluster grows, is interrupted twice, and shrinks under load",
        &format!("{} ms, {written} writes, none failed", took.as_millis()),
    );
}
