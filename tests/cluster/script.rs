//! `scripts/start_cluster.sh`: whatever becomes of a start, no server is left that `stop`, `status`
//! and `clean` do not know, and the next start works.
//!
//! [`Script`] owns a folder and a run of ports. A server is one of its own if the folder stands on
//! its command line; those are ended when the test is over, whatever has become of it.

use crate::common::resp::Client;
use crate::common::server::binary;
use crate::common::wait_until;
use crate::harness::{Turn, SOON};
use crate::node::{free_port, reserve};
use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

const NODES: u16 = 3;
/// A start of a debug build on a busy machine.
const START: Duration = Duration::from_secs(120);

pub struct Script {
    pub dir: PathBuf,
    pub port: u16,
    /// What is started as a server.
    server: PathBuf,
    _temp: tempfile::TempDir,
    _turn: Turn,
}

impl Script {
    pub fn new() -> Script {
        Script::with_ports(NODES)
    }

    /// One that may have as many nodes.
    pub fn with_ports(count: u16) -> Script {
        let turn = Turn::shared();
        let temp = tempfile::tempdir().expect("a temporary folder");
        let base = temp.path().canonicalize().expect("it is there");
        Script {
            dir: base.join("c"),
            port: free_run(count),
            server: binary(),
            _temp: temp,
            _turn: turn,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scripts/start_cluster.sh"
        ));
        command.args(["--dir"]).arg(&self.dir).args(args);
        command.env("HOLDFAST_BIN", &self.server);
        command.stdin(Stdio::null());
        command
    }

    /// An action other than the first start.
    pub fn act(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the script runs")
    }

    fn start_with(&self, more: &[&str]) -> Output {
        let (nodes, port) = (NODES.to_string(), self.port.to_string());
        let mut args = vec!["--nodes", &nodes, "--replicas", "0", "--port", &port];
        args.extend(more);
        self.act(&args)
    }

    /// A first start in a process group of its own, as a terminal would have it.
    fn begin(&self) -> Start {
        let (nodes, port) = (NODES.to_string(), self.port.to_string());
        self.begin_to(&["--nodes", &nodes, "--replicas", "0", "--port", &port])
    }

    /// Any action in a process group of its own.
    pub fn begin_to(&self, args: &[&str]) -> Start {
        let errors = self.dir.with_extension("err");
        let mut child = self
            .command(args)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors).expect("a file"))
            .spawn()
            .expect("the script runs");
        let out = child.stdout.take().expect("it was asked for");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let sent = line.map(|line| send.send(line));
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Start {
            child,
            lines,
            said: RefCell::default(),
            errors,
        }
    }

    fn said_wrong(&self) -> String {
        fs::read_to_string(self.dir.with_extension("err")).expect("it is there")
    }

    /// Processes with the folder on their command line, other than the script itself.
    pub fn servers(&self) -> Vec<i32> {
        let dir = format!("{}/", self.dir.display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(&dir) {
                found.push(pid);
            }
        }
        found
    }

    fn client(&self) -> Client {
        Client::connect(self.port).expect("the first node answers")
    }

    /// After a start that came to nothing: no server runs, and a start elsewhere or here works.
    fn assert_nothing_left(&self) {
        wait_until("no server is left", SOON, || self.servers().is_empty());
        let homes = (self.port..self.port + NODES).map(|p| self.dir.join(p.to_string()));
        for home in homes {
            assert!(!home.exists(), "{} is left", home.display());
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        for pid in self.servers() {
            // SAFETY: the process has this test's own folder on its command line.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// A start at work.
pub struct Start {
    child: Child,
    lines: Receiver<String>,
    said: RefCell<Vec<String>>,
    errors: PathBuf,
}

impl Start {
    /// Waits for a line of its output that has this in it; the line.
    pub fn until_it_says(&self, part: &str) -> String {
        let end = Instant::now() + START;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|why| {
                let said = self.said.borrow().join("\n");
                let complained = fs::read_to_string(&self.errors).unwrap_or_default();
                panic!("never said {part:?}: {why}; it said\n{said}\n{complained}")
            });
            self.said.borrow_mut().push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// As the terminal does: to the whole group.
    pub fn interrupt(&self, signal: i32) {
        let group = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: the group is the one that our own child was started in.
        assert_eq!(unsafe { libc::kill(-group, signal) }, 0);
    }

    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the script ends", START, || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("it has just been seen")
    }
}

/// The first of so many ports in a row that are free, and their bus ports.
fn free_run(count: u16) -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..200 {
        let first = free_port();
        if (first + 1..first + count).all(|p| reserve(p) && free(p) && free(p + 10_000)) {
            return first;
        }
    }
    panic!("no free run of ports");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn ok(output: &Output) -> String {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    said
}

/// A socket that has the port and listens to nobody: only the server's own bind can notice.
fn bound_and_deaf(port: u16) -> OwnedFd {
    // SAFETY: plain calls on a descriptor that we own; the address is fully written.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        let size = std::mem::size_of_val(&address) as libc::socklen_t;
        let fd = OwnedFd::from_raw_fd(fd);
        let rc = libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), size);
        assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
        fd
    }
}

/// A program that is the server, but where `when` holds for the shell: there it does `then`.
fn odd_server(dir: &Path, port: u16, then: &str) -> PathBuf {
    let path = dir.join("server");
    let server = binary();
    let body = format!(
        "#!/bin/sh\ncase \" $* \" in *\" --port {port} \"*) {then} ;; esac\nexec '{}' \"$@\"\n",
        server.display()
    );
    fs::write(&path, body).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    path
}

#[test]
fn start_takes_password_config_and_options() {
    let script = Script::new();
    let config = script.dir.with_extension("conf");
    fs::write(&config, "maxclients 321\nport 1\nloglevel verbose\n").expect("a file");
    let config = config.to_str().expect("a plain path").to_owned();
    let word = r#"a "b" \c 'd'"#;
    let more = ["--password", word, "--config", &config];
    let options = ["--", "--slowlog-max-len", "77"];
    ok(&script.start_with(&[&more[..], &options[..]].concat()));
    let ask = |wanted: [&str; 2]| {
        let mut client = script.client();
        assert!(client.cmd(&["PING"]).text().contains("NOAUTH"));
        assert!(client.cmd(&["AUTH", word]).is_ok());
        for (name, value) in ["maxclients", "slowlog-max-len"].iter().zip(wanted) {
            assert_eq!(
                client.cmd(&["CONFIG", "GET", name]).items()[1].text(),
                value
            );
        }
        assert_eq!(
            client.cmd(&["CONFIG", "GET", "masterauth"]).items()[1].text(),
            word
        );
        client
    };
    let mut client = ask(["321", "77"]);
    let status = ok(&script.act(&["status"]));
    assert_eq!(
        status.matches(" ok ").count(),
        usize::from(NODES),
        "{status}"
    );
    // What the process list shows is no secret.
    for pid in script.servers() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!text(&line).contains(word));
    }
    // Changed at run time and written down; the script does not know.
    assert!(client
        .cmd(&["CONFIG", "SET", "requirepass", "other"])
        .is_ok());
    let locked = script.act(&["status"]);
    assert!(!locked.status.success());
    assert!(
        text(&locked.stdout).contains("locked"),
        "{}",
        text(&locked.stdout)
    );
    let unlocked = script.act(&["status", "--password", "other"]);
    let shown = text(&unlocked.stdout);
    assert!(shown
        .lines()
        .any(|l| l.starts_with(&script.port.to_string()) && l.contains(" ok ")));

    // The next start needs none of it, and takes other options.
    ok(&script.act(&["stop"]));
    assert!(script.servers().is_empty());
    ok(&script.act(&["start", "--", "--slowlog-max-len", "78"]));
    ask(["321", "78"]);
    ok(&script.act(&["clean"]));
    assert!(script.servers().is_empty() && !script.dir.exists());
}

#[test]
fn interrupted_start_leaves_no_server() {
    let script = Script::new();
    let moments = ["starting", "is up", "forming", "waiting for"];
    for (n, moment) in moments.into_iter().enumerate() {
        let mut start = script.begin();
        start.until_it_says(moment);
        start.interrupt(if n % 2 == 0 {
            libc::SIGINT
        } else {
            libc::SIGTERM
        });
        let status = start.end();
        assert!(!status.success(), "{moment}: {status}");
        wait_until("no server is left", SOON, || script.servers().is_empty());
        // Once it was formed it has slots, and those stay.
        if script.dir.join("formed").exists() {
            ok(&script.act(&["clean"]));
        }
        script.assert_nothing_left();
    }
    // In the middle of the begin of a node: any time after the first was begun.
    for pause in [0, 5, 20, 60] {
        let mut start = script.begin();
        start.until_it_says("starting");
        std::thread::sleep(Duration::from_millis(pause)); // another moment each time
        start.interrupt(libc::SIGINT);
        assert!(!start.end().success());
        script.assert_nothing_left();
    }
    ok(&script.start_with(&[]));
    ok(&script.act(&["clean"]));
}

#[test]
fn killed_start_leaves_servers_that_stop_knows() {
    let script = Script::new();
    let mut start = script.begin();
    start.until_it_says("starting");
    wait_until("a server runs", SOON, || !script.servers().is_empty());
    start.interrupt(libc::SIGKILL);
    assert_eq!(start.end().signal(), Some(libc::SIGKILL));
    ok(&script.act(&["stop"]));
    assert!(script.servers().is_empty());
    ok(&script.act(&["clean"]));
    ok(&script.start_with(&[]));
    ok(&script.act(&["clean"]));
}

#[test]
fn port_taken_at_bind_ends_the_start() {
    let script = Script::new();
    let taken = bound_and_deaf(script.port + 1);
    let output = script.start_with(&[]);
    let wrong = text(&output.stderr);
    assert!(!output.status.success(), "{wrong}");
    assert_eq!(wrong.matches("error: ").count(), 1, "{wrong}");
    assert!(
        wrong.contains(&format!("node on port {} has ended", script.port + 1)),
        "{wrong}"
    );
    assert!(
        wrong.to_lowercase().contains("in use"),
        "its last words: {wrong}"
    );
    script.assert_nothing_left();
    let log = script
        .dir
        .join("failed")
        .join(format!("{}.log", script.port + 1));
    assert!(fs::read_to_string(log)
        .expect("its log stays")
        .contains("in use"));
    drop(taken);
    ok(&script.start_with(&[]));
    // One that somebody listens to is seen before anything is begun.
    let second = script.act(&[
        "start",
        "--dir",
        &format!("{}-2", script.dir.display()),
        "--nodes",
        "3",
        "--replicas",
        "0",
        "--port",
        &script.port.to_string(),
    ]);
    assert!(!second.status.success());
    assert!(text(&second.stderr).contains("is in use by something else"));
    ok(&script.act(&["clean"]));
}

#[test]
fn server_that_ends_while_forming_is_noticed() {
    let mut script = Script::new();
    let base = script.dir.parent().expect("a folder").to_owned();
    // It listens, takes part, and ends when redis-cli is at work.
    let then = format!(
        "'{}' \"$@\" & until [ -e '{}/create.log' ]; do sleep 0.02; done; kill -9 $!; wait; echo sorry; exit 3",
        binary().display(),
        script.dir.display()
    );
    script.server = odd_server(&base, script.port + 2, &then);
    let mut start = script.begin();
    start.until_it_says("forming");
    let from = Instant::now();
    assert!(!start.end().success());
    let wrong = script.said_wrong();
    assert!(
        wrong.contains(&format!("node on port {} has ended", script.port + 2)),
        "{wrong}"
    );
    assert!(wrong.contains("| sorry"), "{wrong}");
    assert_eq!(wrong.matches("error: ").count(), 1, "{wrong}");
    // The end is seen within a second; the rest is the ending of two others on a busy machine.
    assert!(
        from.elapsed() < Duration::from_secs(20),
        "{:?}",
        from.elapsed()
    );
    script.assert_nothing_left();
}

#[test]
fn server_that_refuses_its_options_is_told_once() {
    let script = Script::new();
    let output = script.start_with(&["--", "--no-such-directive", "1"]);
    let wrong = text(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(wrong.matches("error: ").count(), 1, "{wrong}");
    assert!(wrong.contains("no-such-directive"), "{wrong}");
    script.assert_nothing_left();
    let owned = script.start_with(&["--", "--port", "1"]);
    assert!(text(&owned.stderr).contains("--port is not for the options"));
    // Forgotten with the next.
    ok(&script.start_with(&["--"]));
    ok(&script.act(&["clean"]));
}
