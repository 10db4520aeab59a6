//! Where a server listens, the Unix socket and its file, and how many files it may have.

use crate::common::resp::{decode, encode, Client, Value};
use crate::common::server::{binary, free_port, Options, START_DEADLINE};
use crate::common::wait_until;
use crate::ours_only;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// More clients than any system has files for, for the privileged as well.
const TOO_MANY: &str = "2000000000";

/// A server that need not listen at a port, killed when dropped.
struct Process {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(dir: tempfile::TempDir, files: Option<u32>, args: &[&str]) -> Process {
        let out = File::create(dir.path().join("out")).expect("a writable folder");
        let mut command = match files {
            None => Command::new(binary()),
            Some(files) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(binary());
                shell
            }
        };
        let child = command
            .args(["--save", "", "--dir"])
            .arg(dir.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("another handle"))
            .stderr(out)
            .spawn()
            .expect("the server binary starts");
        Process { child, dir }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }

    fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", MINUTE, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it was waited for")
    }

    fn is_up(&self, port: u16) -> bool {
        let pong = Client::connect(port).and_then(|mut c| c.try_cmd(&["EXISTS", "k"]));
        pong.is_ok_and(|reply| !reply.is_error())
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn ask(stream: &mut UnixStream, args: &[&str]) -> Value {
    stream.write_all(&encode(args)).expect("the server reads");
    let mut buf = Vec::new();
    loop {
        if let Some((value, _)) = decode(&buf).expect("RESP") {
            return value;
        }
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).expect("an answer");
        assert!(n > 0, "closed after {buf:?}");
        buf.extend_from_slice(&chunk[..n]);
    }
}

/// A connection to the socket once the server serves there.
fn connect(path: &Path) -> UnixStream {
    let mut found = None;
    wait_until("the server serves at its socket", START_DEADLINE, || {
        found = UnixStream::connect(path).ok();
        match &mut found {
            Some(stream) => {
                let silence = stream.set_read_timeout(Some(MINUTE));
                silence.expect("a timeout can be set");
                !ask(stream, &["EXISTS", "k"]).is_error()
            }
            None => false,
        }
    });
    found.expect("it was waited for")
}

fn terminate(process: &mut Process) -> ExitStatus {
    // SAFETY: the pid is that of our own child, which has not been waited for.
    let rc = unsafe { libc::kill(process.child.id() as i32, libc::SIGTERM) };
    assert_eq!(rc, 0);
    process.wait_exit()
}

#[test]
fn port_0_serves_at_the_unix_socket() {
    let dir = folder();
    let path = dir.path().join("s.sock");
    // A killed server's file.
    drop(UnixListener::bind(&path).expect("a short path"));
    let args = [
        "--port",
        "0",
        "--unixsocket",
        "s.sock",
        "--unixsocketperm",
        "710",
    ];
    let mut server = Process::start(dir, None, &args);
    let mut client = connect(&path);
    let mode = fs::metadata(&path)
        .expect("the file is there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o710);
    assert!(ask(&mut client, &["SET", "k", "v"]).is_ok());
    assert_eq!(ask(&mut client, &["GET", "k"]).text(), "v");
    for command in ["INFO", "LIST"] {
        let line = ask(&mut client, &["CLIENT", command]).text();
        assert!(line.contains(" addr=s.sock:0 laddr=s.sock:0 fd="), "{line}");
        assert!(line.contains(" flags=U "), "{line}");
    }
    assert!(ask(&mut client, &["INFO", "server"])
        .text()
        .contains("tcp_port:0\r\n"));
    let killed = ask(
        &mut client,
        &["CLIENT", "KILL", "SKIPME", "no", "ADDR", "s.sock:0"],
    );
    assert!(killed.int() >= 1);
    assert!(terminate(&mut server).success());
    assert!(!path.exists(), "the file stays:\n{}", server.output());
    let output = server.output();
    assert!(
        output.contains("Removing the unix socket file."),
        "{output}"
    );
}

#[test]
fn a_file_that_is_no_socket_stays() {
    if !ours_only("a_file_that_is_no_socket_stays") {
        return; // redis-server removes whatever is there
    }
    let dir = folder();
    let path = dir.path().join("data");
    fs::write(&path, "precious").expect("a writable folder");
    let mut server = Process::start(dir, None, &["--port", "0", "--unixsocket", "data"]);
    assert_eq!(server.wait_exit().code(), Some(1));
    let output = server.output();
    assert!(
        output.contains("Failed opening Unix socket: bind: Address already in use"),
        "{output}"
    );
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
}

#[test]
fn another_server_s_socket_file_stays() {
    if !ours_only("another_server_s_socket_file_stays") {
        return; // redis-server removes whatever is there
    }
    let dir = folder();
    let path = dir.path().join("s.sock");
    let mut server = Process::start(dir, None, &["--port", "0", "--unixsocket", "s.sock"]);
    connect(&path);
    fs::remove_file(&path).expect("the file is there");
    let _other = UnixListener::bind(&path).expect("the path is free");
    assert!(terminate(&mut server).success());
    assert!(path.exists(), "the other's file is gone");
}

#[test]
fn a_server_that_listens_nowhere_refuses() {
    for args in [&["--port", "0"][..], &["--port", "7000", "--bind", ""]] {
        let mut server = Process::start(folder(), None, args);
        assert_eq!(server.wait_exit().code(), Some(1));
        let output = server.output();
        let text = "Configured to not listen anywhere, exiting.";
        assert!(output.contains(text), "{args:?}: {output}");
    }
}

#[test]
fn the_unix_socket_stays_when_ports_change() {
    let dir = folder();
    let path = dir.path().join("s.sock");
    let server = Options::new(&[("unixsocket", "s.sock")])
        .dir(dir.path())
        .start();
    let (mut before, port) = (connect(&path), free_port());
    assert!(server
        .client()
        .cmd(&["CONFIG", "SET", "port", &port.to_string()])
        .is_ok());
    let moved = Client::connect(port).and_then(|mut c| c.try_cmd(&["PING"]));
    assert_eq!(moved.expect("the new port").text(), "PONG");
    assert!(Client::connect(server.port).is_err(), "the old port");
    assert_eq!(ask(&mut before, &["PING"]).text(), "PONG");
    assert_eq!(ask(&mut connect(&path), &["PING"]).text(), "PONG");
    assert!(ask(&mut before, &["CONFIG", "SET", "port", "0"]).is_ok());
    assert!(Client::connect(port).is_err(), "no port");
    assert_eq!(ask(&mut connect(&path), &["PING"]).text(), "PONG");
}

#[test]
fn a_node_without_a_port_keeps_its_bus() {
    let dir = folder();
    let path: PathBuf = dir.path().join("s.sock");
    let bus = free_port();
    let args = [
        ["--port", "0"],
        ["--unixsocket", "s.sock"],
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus.to_string()],
        ["--bind", "127.0.0.1"],
    ];
    let server = Process::start(dir, None, &args.concat());
    wait_until("the node serves at its socket", START_DEADLINE, || {
        UnixStream::connect(&path).is_ok()
    });
    let mut client = UnixStream::connect(&path).expect("it listens");
    let silence = client.set_read_timeout(Some(MINUTE));
    silence.expect("a timeout can be set");
    assert_eq!(ask(&mut client, &["CLUSTER", "MYID"]).text().len(), 40);
    let link = TcpStream::connect(("127.0.0.1", bus));
    assert!(link.is_ok(), "{link:?}\n{}", server.output());
}

#[test]
fn few_files_lower_maxclients() {
    let port = free_port();
    let args = ["--port", &port.to_string(), "--maxclients", TOO_MANY];
    let server = Process::start(folder(), Some(60), &args);
    wait_until("the server is up", START_DEADLINE, || server.is_up(port));
    for line in [
        "You requested maxclients of 2000000000 requiring at least 2000000032 max file descriptors.",
        "Server can't set maximum open files to 2000000032 because of OS error: Operation not permitted.",
        "Current maximum open files is 60. maxclients has been reduced to 28 to compensate for low \
         ulimit. If you need higher maxclients increase 'ulimit -n'.",
    ] {
        wait_until(line, MINUTE, || server.output().contains(line));
    }
    // So many do get their files, and the log has its own.
    let mut clients = Vec::new();
    wait_until("28 clients are served", MINUTE, || {
        let mut client = Client::connect(port).expect("TCP accepts");
        // Those that looked whether the server is up may not have gone yet.
        if client.try_cmd(&["SET", "k", "v"]).is_ok_and(|r| r.is_ok()) {
            clients.push(client);
        }
        clients.len() == 28
    });
    let mut refused = Client::connect(port).expect("TCP accepts");
    let reply = refused.receive().expect("a refusal").text();
    assert!(reply.contains("max number of clients reached"), "{reply}");
    let (set, client) = ("maxclients", &mut clients[0]);
    assert_eq!(client.cmd(&["CONFIG", "GET", set]).items()[1].text(), "28");
    let reply = client.cmd(&["CONFIG", "SET", set, TOO_MANY]).text();
    let reason =
        "The operating system is not able to handle the specified number of clients, try with 28";
    assert!(reply.ends_with(reason), "{reply}");
    assert_eq!(client.cmd(&["CONFIG", "GET", set]).items()[1].text(), "28");
    assert!(client.cmd(&["CONFIG", "SET", set, "20"]).is_ok());
}

/// Strangers on the ports of clients and of other nodes, more than there are files for: the log goes on (D5).
#[test]
fn strangers_on_both_ports_leave_the_log_its_files() {
    let port = free_port();
    let text = port.to_string();
    let args = ["--port", &text, "--cluster-enabled", "yes"];
    let args = [&args[..], &["--log-segment-size", "1mb"]].concat();
    let mut server = Process::start(folder(), Some(300), &args);
    wait_until("it has all slots", START_DEADLINE, || {
        let own = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
        let reply = Client::connect(port).and_then(|mut c| c.try_cmd(&own));
        reply.is_ok_and(|reply| reply.is_ok())
    });
    wait_until("it serves", MINUTE, || server.is_up(port));
    let mut client = Client::connect(port).expect("TCP accepts");
    let value = "x".repeat(50_000);
    let mut strangers = Vec::new();
    for n in 0..200 {
        for port in [port, port + 10_000, port, port + 10_000] {
            strangers.extend(TcpStream::connect(("127.0.0.1", port)));
        }
        let reply = client.try_cmd(&["SET", &format!("k{}", n % 9), &value]);
        let serves = reply.is_ok_and(|reply| reply.is_ok());
        assert!(serves, "write {n}\n{}", server.output());
    }
    assert!(server.child.try_wait().is_ok_and(|end| end.is_none()));
    let output = server.output();
    assert!(!output.contains("Too many open files"), "{output}");
}

#[test]
fn too_few_files_for_one_client_refuse() {
    let args = ["--port", &free_port().to_string(), "--maxclients", TOO_MANY];
    let mut server = Process::start(folder(), Some(30), &args);
    assert_eq!(server.wait_exit().code(), Some(1));
    let output = server.output();
    let text =
        "Your current 'ulimit -n' of 30 is not enough for the server to start. Please increase \
                your open file limit to at least 2000000032. Exiting.";
    assert!(output.contains(text), "{output}");
}

/// The first start of many: the package's own file, with the folders moved.
#[test]
fn debian_s_redis_conf_starts() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let conf = "\
bind 127.0.0.1 -::1
protected-mode yes
port 6379
daemonize no
pidfile redis-server.pid
logfile \"\"
databases 16
set-proc-title yes
proc-title-template \"{title} {listen-addr} {server-mode}\"
stop-writes-on-bgsave-error yes
rdbcompression yes
dbfilename dump.rdb
replica-serve-stale-data yes
repl-diskless-sync yes
oom-score-adj no
oom-score-adj-values 0 200 800
appendonly no
appendfilename \"appendonly.aof\"
appenddirname \"appendonlydir\"
appendfsync everysec
notify-keyspace-events \"\"
list-max-listpack-size -2
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
jemalloc-bg-thread yes
";
    let path = at("redis.conf");
    fs::write(&path, conf).expect("a writable folder");
    let server = Options::new(&[])
        .dir(dir.path())
        .conf(Path::new(&path))
        .start();
    let limits = server
        .client()
        .cmd(&["CONFIG", "GET", "client-output-buffer-limit"]);
    assert_eq!(
        limits.items()[1].text(),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    );
    if ours_only("debian_s_redis_conf_starts: what it warns of") {
        wait_until("it is told what an OK is worth", MINUTE, || {
            server.output().contains("an OK is not yet on disk")
        });
        let output = server.output();
        let warnings: Vec<&str> = output.lines().filter(|l| l.contains(" # ")).collect();
        // The harness gives `--appendonly yes`.
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("Accepted, but without effect here: appendonly"));
    }
}
