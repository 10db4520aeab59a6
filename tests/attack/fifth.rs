//! What the fifth attack has found (docs/TESTING.md): open files that run out, files that may
//! not grow.

use crate::common::resp::Client;
use crate::harness::{check, wait_for, SOON};
use crate::real::{Real, Stage};

fn pid(real: &Real) -> libc::pid_t {
    real.node.pid().try_into().expect("a process id")
}

/// What the process may have from now on.
fn limit(pid: libc::pid_t, what: libc::__rlimit_resource_t, to: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the calls write, and read, one rlimit; the process is a child of ours.
    let set = unsafe {
        libc::prlimit(pid, what, std::ptr::null(), &mut limit);
        limit.rlim_cur = to.min(limit.rlim_max);
        libc::prlimit(pid, what, &limit, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Writes until it is refused, or this many times 50 kB are there.
fn write(client: &mut Client, times: usize) -> Option<String> {
    let value = "x".repeat(50_000);
    for n in 0..times {
        match client.try_cmd(&["SET", &format!("k{n}"), &value]) {
            Ok(reply) if reply.is_ok() => {}
            Ok(reply) => return Some(reply.text()),
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

fn wait_writes(real: &Real) {
    wait_for("it writes", SOON, || {
        let reply = real.node.try_cmd(&["SET", "a", "v"]);
        let reply = reply.map_err(|e| e.to_string())?;
        check(reply.is_ok(), || reply.text())
    });
}

/// D5: a log file that may not grow any more loses lines, and nothing else.
#[test]
fn limit_of_file_size_ends_no_node() {
    let Some(mut stage) = Stage::open("limit_of_file_size_ends_no_node") else {
        return;
    };
    let args = ["--log-segment-size", "1mb", "--enable-debug-command", "yes"];
    let mut real = stage.alone(&args);
    // Above a segment's size.
    limit(pid(&real), libc::RLIMIT_FSIZE, 1_200_000);
    let mut client = real.node.client();
    for _ in 0..60 {
        let said = client.try_cmd(&["DEBUG", "LOG", &"x".repeat(50_000)]);
        assert!(said.is_ok(), "{}", real.last_lines());
    }
    assert_eq!(write(&mut client, 100), None);
    real.assert_lives("a limit of the file size");
    let written = std::fs::metadata(real.node.log_path()).expect("a log");
    assert!(written.len() > 1_000_000, "the limit was not reached");
}

/// D5: the log waits for a file as it waits for room.
#[test]
fn without_open_files_writes_wait() {
    let Some(mut stage) = Stage::open("without_open_files_writes_wait") else {
        return;
    };
    let mut real = stage.alone(&["--log-segment-size", "1mb"]);
    let pid = pid(&real);
    let mut client = real.node.client();
    assert_eq!(client.cmd(&["PING"]).text(), "PONG"); // its socket has its file
    limit(pid, libc::RLIMIT_NOFILE, 3);
    let refused = write(&mut client, 100).expect("5 MB found room");
    real.assert_lives("no more open files");
    assert!(refused.contains("left on device"), "{refused}");
    limit(pid, libc::RLIMIT_NOFILE, 1000);
    wait_writes(&real);
    real.assert_lives("open files again");
}
