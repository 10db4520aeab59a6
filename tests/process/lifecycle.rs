//! Starting and ending: the command line, second servers, daemons.

use crate::common::resp::Client;
use crate::common::server::{binary, free_port, Options, Server, START_DEADLINE};
use crate::common::wait_until;
use crate::ours_only;
use std::process::Command;
use std::time::Duration;

fn run(args: &[&str]) -> (i32, String) {
    let out = Command::new(binary())
        .args(args)
        .output()
        .expect("the server binary runs");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.code().unwrap_or(-1), text)
}

#[test]
fn version_and_help() {
    for flag in ["--version", "-v"] {
        let (code, text) = run(&[flag]);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("Redis server v=7."), "{text}");
    }
    for flag in ["--help", "-h"] {
        let (_, text) = run(&[flag]);
        assert!(text.contains("Usage"), "{text}");
    }
}

#[test]
fn a_second_server_on_the_same_folder_refuses() {
    if !ours_only("a_second_server_on_the_same_folder_refuses") {
        return;
    }
    let server = Server::fresh();
    assert!(server.client().cmd(&["SET", "k", "v"]).is_ok());
    let second = Options::new(&[("appendfsync", "always")]).dir(server.dir());
    let (status, output) = Server::start_refused(second);
    assert!(!status.success(), "{output}");
    let text = output.to_lowercase();
    assert!(
        text.contains("lock") || text.contains("in use") || text.contains("already"),
        "{output}"
    );
    assert_eq!(server.client().cmd(&["GET", "k"]).text(), "v");
    // Another log folder in the same `dir` is fine: six nodes of create-cluster share one.
    let mut neighbour =
        Options::new(&[("appenddirname", "other"), ("appendfsync", "always")]).dir(server.dir());
    neighbour.out_name = "neighbour.out";
    let neighbour = neighbour.start();
    assert_eq!(neighbour.client().cmd(&["DBSIZE"]).int(), 0);
}

#[test]
fn a_taken_port_is_refused() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir_name = dir.path().to_str().expect("a plain path");
    let (code, text) = run(&["--port", &server.port.to_string(), "--dir", dir_name]);
    assert_ne!(code, 0);
    assert!(text.to_lowercase().contains("in use"), "{text}");
    assert!(text.contains(&server.port.to_string()), "{text}");
}

#[test]
fn daemonize_writes_a_pidfile() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| {
        dir.path()
            .join(name)
            .to_str()
            .expect("a plain path")
            .to_string()
    };
    let port = free_port();
    let status = Command::new(binary())
        .args([
            "--port",
            &port.to_string(),
            "--dir",
            &at(""),
            "--daemonize",
            "yes",
        ])
        .args(["--pidfile", &at("d.pid"), "--logfile", &at("d.log")])
        .status()
        .expect("the server binary runs");
    assert!(
        status.success(),
        "the parent ends well once the daemon is on its way"
    );
    let ready = || {
        let pong = Client::connect(port).and_then(|mut c| c.try_cmd(&["EXISTS", "k"]));
        pong.is_ok_and(|reply| !reply.is_error())
    };
    wait_until("the daemon answers", START_DEADLINE, ready);
    let pid: i32 = std::fs::read_to_string(at("d.pid"))
        .expect("the pidfile is there")
        .trim()
        .parse()
        .expect("it holds a pid");
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).expect("that process runs");
    let same = std::fs::canonicalize(&exe).ok() == std::fs::canonicalize(which(binary())).ok();
    assert!(same, "the pidfile names {}", exe.display());
    // The log has a thread of its own: a line may reach the file after the answer the client.
    wait_until("the log says that it is ready", START_DEADLINE, || {
        std::fs::read_to_string(at("d.log"))
            .is_ok_and(|log| log.contains("Ready to accept connections"))
    });
    // SAFETY: a pid that was just shown to be our own server's.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    wait_until("the daemon ends", Duration::from_secs(15), || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    wait_until("the pidfile goes", Duration::from_secs(5), || {
        !std::path::Path::new(&at("d.pid")).exists()
    });
}

/// The full path of a program that may be given by its name only.
fn which(program: std::path::PathBuf) -> std::path::PathBuf {
    if program.components().count() > 1 {
        return program;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(&program))
        .find(|p| p.exists());
    found.unwrap_or(program)
}

/// TIME is of this moment, to the microsecond, in a transaction too.
#[test]
fn time_moves_by_microseconds() {
    let server = Server::fresh();
    let mut client = server.client();
    let unix = || {
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        i64::try_from(since.as_micros()).expect("it fits")
    };
    let mut told = Vec::new();
    for _ in 0..100 {
        let before = unix();
        let reply = client.cmd(&["TIME"]);
        let number = |at: usize| -> i64 { reply.items()[at].text().parse().expect("digits") };
        let (seconds, micros) = (number(0), number(1));
        assert!((0..1_000_000).contains(&micros), "{micros}");
        let at = seconds * 1_000_000 + micros;
        assert!((before..=unix()).contains(&at), "{before} {at} {}", unix());
        told.push(at);
    }
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    assert!(told.iter().any(|at| at % 1000 != 0), "{told:?}");
}
