//! One server process with a folder and a port of its own, which it keeps when it is restarted.
//! Killed by its pid when dropped; its last lines are shown when a test fails.

use crate::common::resp::{Client, Value};
use crate::common::server::{binary, info_field};
use crate::harness::{wait_for, SOON};
use crate::view::{self, Line};
use std::fs::OpenOptions;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A debug build on a busy machine needs long to start; a hang must still end.
pub const START: Duration = Duration::from_secs(60);

/// How long one answer may take before the node counts as silent.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether a port is ours from now on, until this process ends: a node that is down for a while must find
/// its port free when it comes back, and no cluster may meet nodes of another one there.
pub fn reserve(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("holdfast-test-port-{port}"));
    let socket = UnixDatagram::bind_addr(&name.expect("a short name"));
    socket.map(std::mem::forget).is_ok() // it stays open
}

/// A client port whose bus port (10000 above) is free as well; both below the range from which
/// outgoing connections take theirs. No other test is given it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    for _ in 0..5000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (pid.wrapping_mul(131).wrapping_add(n * 7) % 10_000) as u16;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if reserve(port) && free(port) && free(port + 10_000) {
            return port;
        }
    }
    panic!("no free pair of ports between 12000 and 32000");
}

pub struct Node {
    pub port: u16,
    pub dir: PathBuf,
    bin: PathBuf,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// A node that is not started yet. `dir` must exist.
    pub fn new(dir: &Path) -> Node {
        Node {
            port: free_port(),
            dir: dir.to_path_buf(),
            bin: binary(),
            args: Vec::new(),
            envs: Vec::new(),
            child: None,
        }
    }

    pub fn bin(mut self, bin: impl Into<PathBuf>) -> Node {
        self.bin = bin.into();
        self
    }

    pub fn args(mut self, args: &[&str]) -> Node {
        self.args.extend(args.iter().map(|a| a.to_string()));
        self
    }

    /// For its environment, also when it is started again.
    #[allow(dead_code)] // the attacks need it
    pub fn envs(mut self, envs: &[(String, String)]) -> Node {
        self.envs.extend_from_slice(envs);
        self
    }

    /// For the next start, in place of those before.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|a| a.to_string()).collect();
    }

    /// What it asks its clients for.
    pub fn password(&self) -> Option<&str> {
        let at = self.args.iter().position(|a| a == "--requirepass")?;
        self.args.get(at + 1).map(String::as_str)
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.port))
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts the process and does not wait for it.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the node on {} runs", self.port);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let child = Command::new(&self.bin)
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(&self.dir)
            .args(["--cluster-enabled", "yes"])
            .args(["--cluster-config-file", "nodes.conf"])
            .args(["--cluster-node-timeout", "2000"])
            // Redis needs to be told to keep a log; ours always does and accepts both.
            .args(["--appendonly", "yes", "--save", ""])
            .args(&self.args)
            .envs(self.envs.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server binary starts");
        self.child = Some(child);
    }

    /// Waits until the process answers; true when it does, false when its port was taken.
    pub fn came_up(&mut self) -> bool {
        let end = Instant::now() + START;
        let pid = self.pid();
        loop {
            if let Some(status) = self.child_mut().try_wait().expect("it can be waited for") {
                self.child = None;
                if self.log().to_lowercase().contains("address already in use") {
                    return false;
                }
                panic!("the node on {} ended: {status}\n{}", self.port, self.log());
            }
            // Another process may have taken the port first.
            let own = self.info("server", "process_id") == Some(pid.to_string());
            if own && self.info("persistence", "loading").as_deref() == Some("0") {
                return true;
            }
            let late = Instant::now() > end;
            assert!(!late, "no answer from {}\n{}", self.port, self.log());
            std::thread::sleep(Duration::from_millis(10)); // between two looks
        }
    }

    /// Starts again on the same port, or for the first time.
    pub fn start(&mut self) {
        self.spawn();
        assert!(
            self.came_up(),
            "port {} was taken\n{}",
            self.port,
            self.log()
        );
    }

    fn child_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("the node was started")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node was started").id()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the pid is that of our own child, which has not been waited for.
        let rc = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(rc, 0, "kill: {}", io::Error::last_os_error());
    }

    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether the process is there; a child that has ended is forgotten.
    pub fn is_running(&mut self) -> bool {
        let ended = match self.child.as_mut() {
            Some(child) => child.try_wait().expect("it can be waited for").is_some(),
            None => return false,
        };
        if ended {
            self.child = None;
        }
        !ended
    }

    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child_mut().try_wait().expect("it can be waited for") {
                self.child = None;
                return status;
            }
            let late = Instant::now() > end;
            assert!(
                !late,
                "{} runs after {deadline:?}\n{}",
                self.port,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn try_client(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.port)?;
        client.stream().set_read_timeout(Some(ANSWER))?;
        if let Some(password) = self.password() {
            client.try_cmd(&["AUTH", password])?;
        }
        Ok(client)
    }

    pub fn client(&self) -> Client {
        let client = self.try_client();
        client.unwrap_or_else(|e| panic!("no connection to {}: {e}\n{}", self.port, self.log()))
    }

    pub fn try_cmd(&self, words: &[&str]) -> io::Result<Value> {
        self.try_client()?.try_cmd(words)
    }

    pub fn cmd(&self, words: &[&str]) -> Value {
        let reply = self.try_cmd(words);
        reply.unwrap_or_else(|e| panic!("{}: no reply to {words:?}: {e}", self.port))
    }

    /// A command that must be answered with OK.
    pub fn ok(&self, words: &[&str]) {
        let reply = self.cmd(words);
        assert!(reply.is_ok(), "{}: {words:?} -> {reply:?}", self.port);
    }

    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        match self.try_cmd(&["INFO", section]) {
            Ok(reply @ (Value::Bulk(_) | Value::Other(_))) => info_field(&reply.text(), field),
            _ => None,
        }
    }

    pub fn cluster_info(&self, field: &str) -> Option<String> {
        match self.try_cmd(&["CLUSTER", "INFO"]) {
            Ok(reply @ (Value::Bulk(_) | Value::Other(_))) => info_field(&reply.text(), field),
            _ => None,
        }
    }

    /// CLUSTER NODES; an error when the node does not answer, or answers -LOADING.
    pub fn try_view(&self) -> io::Result<Vec<Line>> {
        match self.try_cmd(&["CLUSTER", "NODES"])? {
            reply @ (Value::Bulk(_) | Value::Other(_)) => Ok(view::parse(&reply.text())),
            reply => Err(io::Error::other(format!("CLUSTER NODES -> {reply:?}"))),
        }
    }

    /// CLUSTER NODES. A node that has lost a tail answers -LOADING for a moment (as a Redis that syncs).
    pub fn view(&self) -> Vec<Line> {
        wait_for("CLUSTER NODES", SOON, || {
            let seen = self.try_view();
            seen.map_err(|e| format!("{}: {e}\n{}", self.port, self.log()))
        })
    }

    pub fn myself(&self) -> Line {
        let mine = self.view().into_iter().find(|l| l.has("myself"));
        mine.expect("a node lists itself")
    }

    pub fn id(&self) -> String {
        self.cmd(&["CLUSTER", "MYID"]).text()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("VmRSS is listed") * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let ran = self.child.is_some();
        self.kill9();
        if std::thread::panicking() {
            let text = self.log();
            let from = text.lines().count().saturating_sub(12);
            let tail: Vec<&str> = text.lines().skip(from).collect();
            let state = if ran { "" } else { " (was not running)" };
            eprintln!("--- log of {}{state} ---\n{}", self.port, tail.join("\n"));
        }
    }
}
