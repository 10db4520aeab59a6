//! The server's command line as a process: versions, errors and exit codes, background, signals.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = env!("CARGO_BIN_EXE_holdfast-server");

fn server(args: &[&str]) -> Output {
    Command::new(SERVER)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `done` gives something, at most for a while that no healthy machine needs.
fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::yield_now();
    }
}

fn start_in(dir: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(SERVER);
    command
        .args([
            "--port",
            "0",
            "--unixsocket",
            "socket",
            "--logfile",
            "log",
            "--dir",
        ])
        .arg(dir)
        .args(args);
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

fn wait_for_log(dir: &Path, part: &str) -> String {
    wait_for(part, || {
        fs::read_to_string(dir.join("log"))
            .ok()
            .filter(|log| log.contains(part))
    })
}

fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: kill has no memory effects; the process is one that this test started.
    assert_eq!(
        unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) },
        0
    );
}

#[test]
fn version_and_help_succeed() {
    for flag in ["-v", "--version"] {
        let out = server(&[flag]);
        assert!(out.status.success());
        let line = text(&out.stdout);
        assert!(line.starts_with("Redis server v=7.4.1 sha="), "{line}");
        assert!(
            line.contains(" malloc=jemalloc-") && line.contains(" bits=64 build="),
            "{line}"
        );
    }
    let line = text(&server(&["-v"]).stdout);
    let (_, sha) = line.split_once(" sha=").unwrap();
    let (sha, rest) = sha.split_once(':').unwrap();
    assert!(
        ["0 ", "1 "].iter().any(|dirty| rest.starts_with(dirty)),
        "{rest}"
    );
    let known = |commit: &str| {
        let git = Command::new("git")
            .args(["rev-parse", "--quiet", "--verify", commit])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        git.is_ok_and(|out| out.status.success())
    };
    // Outside a checkout there is nothing to name.
    assert_eq!(sha != "00000000", known("HEAD^{commit}"), "{sha}");
    assert!(
        sha == "00000000" || known(&format!("{sha}^{{commit}}")),
        "{sha}"
    );
    let help = server(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).starts_with("Usage: "));
}

#[test]
fn systemd_hears_of_start_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let next = || {
        let mut buffer = [0; 200];
        let n = socket.recv(&mut buffer).expect("a message in time");
        text(&buffer[..n])
    };
    let mut command = Command::new(SERVER);
    command
        .args([
            "--port",
            "0",
            "--unixsocket",
            "socket",
            "--logfile",
            "log",
            "--supervised",
            "systemd",
            "--dir",
        ])
        .arg(dir.path())
        .env("NOTIFY_SOCKET", &path);
    let mut running = Running(command.stdin(Stdio::null()).spawn().unwrap());
    assert!(next().contains("READY=1\n"));
    signal(running.0.id(), libc::SIGTERM);
    assert_eq!(next(), "STOPPING=1\n");
    let status = wait_for("the end", || running.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 200]).is_err(), "it was told twice");
}

#[test]
fn a_bad_directive_ends_with_redis_s_text_and_status_1() {
    let out = server(&["--foo", "bar"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        text(&out.stderr),
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***\n\
         Reading the configuration file, at line 2\n>>> 'foo \"bar\"'\n\
         Bad directive or wrong number of arguments\n"
    );
    let out = server(&["--logfile", "/no/such/folder/log"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).ends_with("Can't open the log file: No such file or directory\n"));
}

#[test]
fn a_signal_ends_the_server_cleanly_and_the_pidfile_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start_in(
        dir.path(),
        &["--pidfile", "pid", "--always-show-logo", "yes"],
    );
    let pid = running.0.id();
    wait_for_log(dir.path(), "Configuration loaded");
    wait_for("the pidfile", || {
        fs::read_to_string(dir.path().join("pid"))
            .ok()
            .filter(|t| *t == format!("{pid}\n"))
    });
    assert!(wait_for_log(dir.path(), " PID: ").contains(&format!(" PID: {pid}\n")));
    wait_until_signals_are_taken(pid);
    signal(pid, libc::SIGHUP);
    signal(pid, libc::SIGTERM);
    let status = wait_for("the end", || running.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let log = wait_for_log(dir.path(), "bye bye");
    assert!(
        log.contains("# Received SIGTERM scheduling shutdown...\n"),
        "{log}"
    );
    assert!(!dir.path().join("pid").exists());
}

/// The thread that takes signals has started: before that SIGTERM just kills.
fn wait_until_signals_are_taken(pid: u32) {
    wait_for("the signal thread", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        tasks.flatten().find_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            (name.trim() == "signals").then_some(())
        })
    });
}

/// As logrotate does it, without a signal and without copying.
#[test]
fn renamed_log_gets_no_further_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start_in(dir.path(), &[]);
    let pid = running.0.id();
    wait_until_signals_are_taken(pid);
    // The last line of a start: nothing more comes by itself.
    let before = wait_for_log(dir.path(), "Ready to accept connections");
    fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
    signal(pid, libc::SIGTERM);
    assert!(wait_for("the end", || running.0.try_wait().unwrap()).success());
    let after = wait_for_log(dir.path(), "bye bye");
    assert!(after.contains("Received SIGTERM"), "{after}");
    let renamed = fs::read_to_string(dir.path().join("log.1")).unwrap();
    assert_eq!(renamed, before);
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = start_in(dir.path(), &[]);
    wait_until_signals_are_taken(first.0.id());
    let mut second = start_in(dir.path(), &[]);
    let status = wait_for("the refusal", || second.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    wait_for_log(dir.path(), "is in use by another server");
}

#[test]
fn a_daemon_leaves_its_parent_and_writes_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = start_in(dir.path(), &["--daemonize", "yes", "--pidfile", "pid"]);
    assert!(wait_for("the parent's end", || parent.0.try_wait().unwrap()).success());
    let pid: u32 = wait_for("the pidfile", || {
        fs::read_to_string(dir.path().join("pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    });
    assert_ne!(pid, parent.0.id());
    wait_until_signals_are_taken(pid);
    let stdout = fs::read_link(format!("/proc/{pid}/fd/1")).unwrap();
    assert_eq!(stdout, Path::new("/dev/null"));
    signal(pid, libc::SIGINT);
    wait_for("the daemon's end", || {
        (!dir.path().join("pid").exists()).then_some(())
    });
    wait_for_log(dir.path(), "Received SIGINT");
}

#[test]
fn the_configuration_can_come_from_stdin() {
    let mut child = Command::new(SERVER)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"# x\nhz abc\n").unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr.contains("at line 2\n>>> 'hz abc'\n"), "{stderr}");
}
