//! `scripts/start_cluster.sh grow` and `shrink`: under load, interrupted in the middle, forwards and back.
//! Nothing acknowledged is lost, no client sees an error, no process and no folder is left over.

use crate::common::resp::Value;
use crate::harness::{check, report, try_redis_cli, wait_for, SOON};
use crate::routed::Routed;
use crate::script::{ok, text, Script};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

const MASTERS: u16 = 3;

/// A client that writes keys of all slots, each once, and later reads them all.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(seeds: Vec<u16>) -> Writer {
        let (stop, written) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (over, count) = (stop.clone(), written.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Routed::new(&seeds).silence(SOON);
            while !over.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed).to_string();
                let key = format!("key:{n}");
                let answer = client.once(&key, &["SET", &key, &n]);
                let answer = answer.unwrap_or_else(|why| panic!("{key}: {why}"));
                assert!(answer.value.is_ok(), "{key}: {:?}", answer.value);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Writer {
            stop,
            written,
            thread,
        }
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

/// Begins, is interrupted when some slots have moved, and says how to go on.
fn interrupted(script: &Script, verb: &str) {
    let mut work = script.begin_to(&[verb, "1"]);
    work.until_it_says("  0 of ");
    work.until_it_says(" slots");
    work.interrupt(libc::SIGINT);
    assert!(!work.end().success());
    let status = script.act(&["status"]);
    let shown = text(&status.stdout);
    assert!(shown.contains("slots on the move: "), "{shown}");
    assert!(
        shown.contains(&format!("{verb} 1 has not ended")),
        "{shown}"
    );
    let other = script.act(&[verb, "2"]);
    assert!(!other.status.success());
    assert!(text(&other.stderr).contains("one change at a time"));
}

#[test]
fn interrupted_grow_and_shrink_go_on_under_load() {
    let script = Script::with_ports(MASTERS + 1);
    let (nodes, port) = (MASTERS.to_string(), script.port.to_string());
    ok(&script.act(&["--nodes", &nodes, "--replicas", "0", "--port", &port]));
    let writer = Writer::start((script.port..script.port + MASTERS).collect());
    let from = Instant::now();
    writer.go_on();
    interrupted(&script, "grow");
    let said = ok(&script.act(&["grow", "1"]));
    let took = from.elapsed();
    assert!(said.contains("has 4 masters now"), "{said}");
    is_whole(&script);
    writer.go_on();
    interrupted(&script, "shrink");
    // Back, and then to its end.
    let said = ok(&script.act(&["grow", "1"]));
    assert!(said.contains("going back on shrink 1"), "{said}");
    let said = ok(&script.act(&["shrink", "1"]));
    assert!(said.contains("has 3 masters now"), "{said}");
    is_whole(&script);
    assert_eq!(script.servers().len(), usize::from(MASTERS));
    assert!(!script
        .dir
        .join((script.port + MASTERS).to_string())
        .exists());
    writer.go_on();
    let refused = script.act(&["shrink", "1"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("at least 3 masters"));
    let written = writer.all_there(script.port);
    ok(&script.act(&["clean"]));
    report(
        "a cluster grows by a master under load",
        &format!("{} ms, {written} writes, none failed", took.as_millis()),
    );
}
