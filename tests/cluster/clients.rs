//! Real clients with their default retries: the `redis` crate and redis-py, at pinned versions.

use crate::harness::{report, Cluster, Lock, SOON};
use crate::slots::reshard;
use redis::cluster::{cluster_pipe, ClusterClient, ClusterConnection};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REDIS_PY: &str = "redis==5.0.8";
const KEYS: usize = 100_000;

/// The crate's cluster client, its retries as they come. A reply may take long, but not for ever: a
/// test must end.
pub fn crate_client(ports: &[u16]) -> ClusterConnection {
    let urls: Vec<String> = ports
        .iter()
        .map(|p| format!("redis://127.0.0.1:{p}"))
        .collect();
    let client = ClusterClient::builder(urls)
        .response_timeout(SOON * 2)
        .build();
    let connection = client.and_then(|c| c.get_connection());
    connection.expect("the redis crate connects")
}

/// A python with the pinned redis-py, which is installed by name into the target folder.
fn python() -> Command {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("redis-py-5.0.8");
    let _one_installs = Lock::take("redis-py");
    if !folder.join("installed").exists() {
        let out = Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--upgrade", "--target"])
            .arg(&folder)
            .arg(REDIS_PY)
            .output()
            .expect("python3 is installed (scripts/test.sh does it)");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            out.status.success(),
            "pip install {REDIS_PY} (scripts/test.sh installs pip): {said}"
        );
        std::fs::write(folder.join("installed"), "").expect("the folder is writable");
    }
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", folder)
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/redis_py.py"));
    command
}

#[test]
fn the_redis_crate_writes_and_reads_100000_keys() {
    let cluster = Cluster::formed_alone(3, 1);
    let mut connection = crate_client(&cluster.ports()[..1]);
    let started = Instant::now();
    let key = |n: usize| format!("key:{n}");
    let value = |n: usize| format!("value:{n}:{}", "x".repeat(n % 64));
    let all: Vec<usize> = (0..KEYS).collect();
    let (alone, piped) = all.split_at(5_000);
    for n in alone {
        let done: String = redis::cmd("SET")
            .arg(key(*n))
            .arg(value(*n))
            .query(&mut connection)
            .expect("a SET succeeds");
        assert_eq!(done, "OK");
    }
    for chunk in piped.chunks(1000) {
        let mut pipe = cluster_pipe();
        for n in chunk {
            pipe.set(key(*n), value(*n)).ignore();
        }
        pipe.query::<()>(&mut connection)
            .expect("a pipeline of SET succeeds");
    }
    let written = started.elapsed();
    for chunk in all.chunks(1000) {
        let mut pipe = cluster_pipe();
        for n in chunk {
            pipe.get(key(*n));
        }
        let got: Vec<String> = pipe
            .query(&mut connection)
            .expect("a pipeline of GET succeeds");
        for (n, got) in chunk.iter().zip(&got) {
            assert_eq!(*got, value(*n), "{}", key(*n));
        }
    }
    let sizes = cluster
        .shards()
        .into_iter()
        .map(|s| cluster.nodes[s.master].cmd(&["DBSIZE"]).int());
    assert_eq!(sizes.sum::<i64>(), KEYS as i64);
    let (w, all) = (written.as_secs_f32(), started.elapsed().as_secs_f32());
    report(
        "100,000 keys, redis crate",
        &format!("written in {w:.1} s, with reading {all:.1} s"),
    );
}

#[test]
fn redis_py_writes_and_reads_100000_keys() {
    let cluster = Cluster::formed_alone(3, 1);
    let started = Instant::now();
    let out = python()
        .args([
            "keys",
            &cluster.nodes[1].port.to_string(),
            &KEYS.to_string(),
        ])
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success() && text.contains("ALL THERE"), "{text}");
    let sizes = cluster
        .shards()
        .into_iter()
        .map(|s| cluster.nodes[s.master].cmd(&["DBSIZE"]).int());
    assert_eq!(sizes.sum::<i64>(), KEYS as i64);
    report(
        "100,000 keys, redis-py",
        &format!(
            "written and read in {:.1} s",
            started.elapsed().as_secs_f32()
        ),
    );
}

#[test]
fn clients_write_on_while_slots_move() {
    let cluster = Cluster::formed(3, 1);
    let masters: Vec<usize> = cluster.shards().iter().map(|s| s.master).collect();
    let clients = Clients::start(&cluster);
    for round in 0..masters.len() {
        let (from, to) = (masters[round], masters[(round + 1) % masters.len()]);
        // Replicas hear of the last move from their masters: redis-cli begins none before all agree.
        cluster.wait_well();
        let (fine, said) = reshard(&cluster, from, to, 100);
        assert!(fine, "{said}");
    }
    clients.finish(&cluster);
    for master in masters {
        let info = cluster.nodes[master].info("cluster", "cluster_tryagain_single_key");
        assert_eq!(info.as_deref(), Some("0"));
    }
}

/// Both clients writing in the background; every write must succeed.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<CrateBook>>,
    python: Child,
    python_says: BufReader<std::process::ChildStdout>,
    python_stdin: Option<ChildStdin>,
}

struct CrateBook {
    name: String,
    written: usize,
    worst: Duration,
    failed: Vec<String>,
}

impl Clients {
    pub fn start(cluster: &Cluster) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let ports = cluster.ports();
        let spawn = |n: usize| {
            let (stop, ports) = (stop.clone(), ports.clone());
            std::thread::spawn(move || crate_writer(&format!("crate:{n}"), &ports, &stop))
        };
        let threads = (0..2).map(spawn).collect();
        let mut python = python()
            .args(["load", &ports[0].to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut says = BufReader::new(python.stdout.take().expect("it is piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("python says something");
        assert_eq!(line.trim(), "WRITING", "redis-py did not start");
        Clients {
            stop,
            threads,
            python_stdin: python.stdin.take(),
            python,
            python_says: says,
        }
    }

    /// Ends both; panics when a write failed or is not there.
    pub fn finish(mut self, cluster: &Cluster) {
        self.stop.store(true, Ordering::Relaxed);
        let mut stdin = self.python_stdin.take().expect("only taken here");
        let _ = stdin.write_all(b"stop\n"); // it has ended when a write failed, and says so
        let mut connection = crate_client(&cluster.ports());
        for thread in std::mem::take(&mut self.threads) {
            let book = thread.join().expect("a writer does not panic");
            assert!(book.failed.is_empty(), "{}: {:?}", book.name, book.failed);
            assert!(book.written > 0, "{} wrote nothing", book.name);
            let all: Vec<usize> = (0..book.written).collect();
            for chunk in all.chunks(500) {
                let mut pipe = cluster_pipe();
                for n in chunk {
                    pipe.get(format!("{}:{n}", book.name));
                }
                let got: Vec<Option<usize>> = pipe.query(&mut connection).expect("reads succeed");
                let wanted: Vec<Option<usize>> = chunk.iter().copied().map(Some).collect();
                assert_eq!(got, wanted, "{}", book.name);
            }
            let (n, worst) = (book.written, book.worst.as_millis());
            report(
                &format!("writes meanwhile, {}", book.name),
                &format!("{n} writes, none failed, slowest {worst} ms"),
            );
        }
        let mut line = String::new();
        self.python_says
            .read_line(&mut line)
            .expect("python says how it went");
        assert!(line.starts_with("ALL THERE"), "redis-py: {line}");
        report("writes meanwhile, redis-py", line.trim());
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

/// The crate's asynchronous client, its retries as they come. (Its blocking one gives up a command
/// when the connection on which it refreshes its slots belongs to a node that was restarted since:
/// no server can help that.)
fn crate_writer(name: &str, ports: &[u16], stop: &AtomicBool) -> CrateBook {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(write_until(name, ports, stop))
}

async fn write_until(name: &str, ports: &[u16], stop: &AtomicBool) -> CrateBook {
    let urls: Vec<String> = ports
        .iter()
        .map(|p| format!("redis://127.0.0.1:{p}"))
        .collect();
    let client = ClusterClient::builder(urls)
        .response_timeout(SOON * 2)
        .build()
        .expect("the client is made");
    let mut connection = client
        .get_async_connection()
        .await
        .expect("the redis crate connects");
    let mut book = CrateBook {
        name: name.into(),
        written: 0,
        worst: Duration::ZERO,
        failed: Vec::new(),
    };
    while !stop.load(Ordering::Relaxed) {
        let (n, from) = (book.written, Instant::now());
        let set: redis::RedisResult<()> = redis::cmd("SET")
            .arg(format!("{name}:{n}"))
            .arg(n)
            .query_async(&mut connection)
            .await;
        book.worst = book.worst.max(from.elapsed());
        match set {
            Ok(()) => book.written += 1,
            Err(e) => {
                book.failed
                    .push(format!("{name}:{n} after {:?}: {e}", from.elapsed()));
                return book;
            }
        }
    }
    book
}
