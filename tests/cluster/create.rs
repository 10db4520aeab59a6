//! The cluster as redis-cli and Redis's own create-cluster script make it.

use crate::common::resp::Client;
use crate::common::server::{binary, info_field};
use crate::harness::{check, redis_cli, wait_for, Cluster, Turn, SOON};
use crate::node::free_port;
use crate::routed::Routed;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// `create`, then `check`, `info` and `call` of the packaged redis-cli; every slot is served.
#[test]
fn redis_cli_makes_a_cluster() {
    let cluster = Cluster::bare(6);
    let said = cluster.create(1);
    assert!(said.contains("[OK] All 16384 slots covered."), "{said}");
    cluster.wait_well();
    let address = format!("127.0.0.1:{}", cluster.nodes[0].port);

    let said = redis_cli(&["--cluster", "check", &address]);
    assert!(
        said.contains("[OK] All nodes agree about slots configuration."),
        "{said}"
    );
    assert!(said.contains("[OK] All 16384 slots covered."), "{said}");
    assert_eq!(said.matches("1 additional replica(s)").count(), 3, "{said}");

    let mut client = Routed::new(&cluster.ports());
    for n in 0..300 {
        let key = format!("key:{n}");
        assert!(client.until(SOON, &key, &["SET", &key, "v"]).value.is_ok());
    }
    let said = redis_cli(&["--cluster", "info", &address]);
    assert!(said.contains("[OK] 300 keys in 3 masters."), "{said}");
    let said = redis_cli(&["--cluster", "call", &address, "PING"]);
    assert_eq!(said.matches("PONG").count(), 6, "{said}");

    let shards = cluster.shards();
    assert_eq!(shards.len(), 3, "{shards:?}");
    let covered: u32 = shards
        .iter()
        .flat_map(|s| &s.slots)
        .map(|(a, b)| u32::from(b - a) + 1)
        .sum();
    assert_eq!(covered, 16384);
    for shard in &shards {
        assert_eq!(shard.replicas.len(), 1, "{shards:?}");
        let epoch = cluster.nodes[shard.master].myself().epoch;
        assert!(epoch > 0, "set-config-epoch gave every master one");
    }
}

/// A node without replicas, and a cluster without: what users of --cluster-replicas 0 get.
#[test]
fn three_masters_without_replicas() {
    let cluster = Cluster::formed(3, 0);
    let mut client = Routed::new(&cluster.ports());
    for n in 0..100 {
        let key = format!("key:{n}");
        assert!(client.until(SOON, &key, &["SET", &key, "v"]).value.is_ok());
        assert_eq!(client.until(SOON, &key, &["GET", &key]).value.text(), "v");
    }
    // The wrong node says who is right, with Redis's text.
    let shards = cluster.shards();
    let key = format!("{{{}}}k", shards[0].tag(0));
    let slot = crate::view::slot_of(&key);
    let (right, wrong) = (shards[0].master, shards[1].master);
    let reply = cluster.nodes[wrong].cmd(&["GET", &key]);
    let text = format!("MOVED {slot} 127.0.0.1:{}", cluster.nodes[right].port);
    assert_eq!(reply.text(), text);
    let reply = cluster.nodes[right].cmd(&["MGET", &key, "another"]);
    assert_eq!(
        reply.text(),
        "CROSSSLOT Keys in request don't hash to the same slot"
    );
}

/// Daemons as create-cluster starts them, all in one folder; ended by pid whatever happens.
struct Folder<'a> {
    dir: &'a Path,
    ports: Vec<u16>,
}

impl Folder<'_> {
    /// The command line of Redis's create-cluster, and a pidfile.
    fn start(&self) {
        for port in &self.ports {
            let of = |kind: &str, end: &str| format!("{kind}{port}{end}");
            let status = Command::new(binary())
                .current_dir(self.dir)
                .args(["--port", &port.to_string(), "--protected-mode", "yes"])
                .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])
                .args(["--cluster-config-file", &of("nodes-", ".conf")])
                .args([
                    "--appendonly",
                    "yes",
                    "--appendfilename",
                    &of("appendonly-", ".aof"),
                ])
                .args(["--appenddirname", &of("appendonlydir-", "")])
                .args([
                    "--dbfilename",
                    &of("dump-", ".rdb"),
                    "--logfile",
                    &of("", ".log"),
                ])
                .args(["--daemonize", "yes", "--pidfile"])
                .arg(self.dir.join(of("", ".pid")))
                .status()
                .expect("the server binary runs");
            assert!(status.success(), "{port}: {status}");
        }
        for port in &self.ports {
            wait_for(&format!("{port} answers"), SOON * 2, || {
                let pid = self.info(*port, "process_id").ok_or("no answer")?;
                check(Some(pid) == self.pid(*port).map(|p| p.to_string()), || {
                    "another pid".into()
                })
            });
        }
    }

    fn pid(&self, port: u16) -> Option<i32> {
        let text = std::fs::read_to_string(self.dir.join(format!("{port}.pid"))).ok()?;
        text.trim().parse().ok()
    }

    fn command(&self, port: u16, words: &[&str]) -> Option<crate::common::resp::Value> {
        Client::connect(port).ok()?.try_cmd(words).ok()
    }

    fn info(&self, port: u16, field: &str) -> Option<String> {
        let reply = self.command(port, &["INFO"])?;
        (!reply.is_error()).then(|| info_field(&reply.text(), field))?
    }

    fn wait_ok(&self) {
        for port in &self.ports {
            wait_for(&format!("cluster_state:ok of {port}"), SOON, || {
                let text = self
                    .command(*port, &["CLUSTER", "INFO"])
                    .ok_or("no answer")?
                    .text();
                check(text.contains("cluster_state:ok"), || text)
            });
        }
    }

    /// As `create-cluster stop` does it.
    fn stop(&self) {
        let pids: Vec<i32> = self.ports.iter().filter_map(|p| self.pid(*p)).collect();
        for port in &self.ports {
            let _ = self.command(*port, &["SHUTDOWN", "NOSAVE"]);
        }
        crate::common::wait_until("the nodes end", SOON, || !pids.iter().any(|pid| runs(*pid)));
    }

    fn logs(&self) -> String {
        let read = |port: &u16| std::fs::read_to_string(self.dir.join(format!("{port}.log")));
        self.ports.iter().filter_map(|p| read(p).ok()).collect()
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        for pid in self.ports.iter().filter_map(|port| self.pid(*port)) {
            // The pidfile of a process that was killed may outlive it: only a process that still
            // works in our temporary folder is ours.
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd"));
            if cwd.is_ok_and(|cwd| cwd == self.dir) {
                // SAFETY: a pid that was just shown to be our own server's.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        if std::thread::panicking() {
            eprintln!("--- logs ---\n{}", self.logs());
        }
    }
}

/// Whether a process is there that is no zombie: nobody may take in a daemon's.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z'))
}

#[test]
fn create_cluster_with_six_nodes_in_one_folder() {
    let _turn = Turn::shared();
    let temp = tempfile::tempdir().expect("a temporary folder");
    let dir = temp.path().canonicalize().expect("it is there");
    let folder = Folder {
        dir: &dir,
        ports: (0..6).map(|_| free_port()).collect(),
    };
    folder.start();
    let addresses: Vec<String> = folder
        .ports
        .iter()
        .map(|p| format!("127.0.0.1:{p}"))
        .collect();
    let mut args = vec!["--cluster", "create"];
    args.extend(addresses.iter().map(String::as_str));
    args.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let said = redis_cli(&args);
    assert!(said.contains("[OK] All 16384 slots covered."), "{said}");
    folder.wait_ok();
    let mut client = Routed::new(&folder.ports);
    for n in 0..1000 {
        let key = format!("key:{n}");
        let value = format!("value:{n}");
        assert!(client
            .until(SOON, &key, &["SET", &key, &value])
            .value
            .is_ok());
    }
    folder.stop();
    folder.start();
    folder.wait_ok();
    let mut client = Routed::new(&folder.ports).silence(Duration::from_secs(5));
    for n in 0..1000 {
        let key = format!("key:{n}");
        let value = client.until(SOON, &key, &["GET", &key]).value;
        assert_eq!(value.text(), format!("value:{n}"));
    }
    folder.stop();
}
