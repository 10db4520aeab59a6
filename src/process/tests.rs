//! Tests of the process shell's parts that need no process of their own.

use super::*;
use config::{Config, Supervised};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

#[test]
fn the_version_line_has_what_clients_parse() {
    let line = version();
    assert!(line.starts_with("Redis server v=7.4.1 sha="), "{line}");
    for part in [" malloc=jemalloc-", " bits=64 ", " build="] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn the_logo_says_the_process_id_when_it_is_wanted() {
    let pid = format!(" PID: {}", std::process::id());
    let mut config = Config::default();
    assert!(!banner(&config, false).concat().contains(&pid));
    assert!(banner(&config, true).concat().contains(&pid));
    config.always_show_logo = true;
    assert!(banner(&config, false).concat().contains(&pid));
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/log");
    let first = lock_dir(&path).unwrap();
    let error = lock_dir(&path).unwrap_err();
    assert!(
        matches!(&error, LockError::InUse(p) if *p == path),
        "{error}"
    );
    drop(first);
    lock_dir(&path).unwrap();
    let file = dir.path().join("nodes.conf.lock");
    let _held = lock_file(&file).unwrap();
    assert!(lock_file(&file).is_err());
    assert!(matches!(lock_dir(&file), Err(LockError::Failed(..))));
}

#[test]
fn a_pidfile_lives_as_long_as_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pid");
    let pidfile = PidFile::create(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));
    drop(pidfile);
    assert!(!path.exists());
}

#[test]
fn a_signal_wakes_whoever_listens_even_later() {
    let shutdown = Shutdown::default();
    let woken = Arc::new(AtomicU32::new(0));
    assert_eq!(shutdown.asked(), None);
    shutdown.ask(Signal::Term);
    let count = woken.clone();
    shutdown.on_signal(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(
        (shutdown.asked(), woken.load(Ordering::SeqCst)),
        (Some(Signal::Term), 1)
    );
    shutdown.clone().ask(Signal::Int);
    assert_eq!(
        (shutdown.asked(), woken.load(Ordering::SeqCst)),
        (Some(Signal::Int), 2)
    );
}

#[test]
fn open_files_suffice_for_few_clients() {
    assert_eq!(raise_for_bus(10, 20), 20);
    // What clients leave, but some in any case.
    for (limit, left) in [(0, 1), (1152, 256), (2000, 872), (20_000, 10_000)] {
        assert_eq!(daemon::for_bus(limit, 1128, 10_000), left);
    }
    assert_eq!(daemon::for_bus(1152, 1128, 20), 20);
}

#[test]
fn clients_and_links_share_what_is_left() {
    for limit in [140, 200, 300, 1024, 1152, 5000] {
        let kept = daemon::fewest_for_bus(limit);
        let clients = limit - 128 - kept;
        assert!(clients > 0, "{limit}");
        assert_eq!(daemon::for_bus(limit, clients + 128, 10_000), kept);
    }
}

#[test]
fn systemd_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let supervisor = Supervisor::systemd_at(path.to_str().unwrap());
    assert!(supervisor.is_present());
    supervisor.ready().unwrap();
    let mut buffer = [0; 100];
    let n = socket.recv(&mut buffer).unwrap();
    assert!(std::str::from_utf8(&buffer[..n])
        .unwrap()
        .contains("READY=1"));
    assert!(!Supervisor::detect(Supervised::No).is_present());
    Supervisor::none().ready().unwrap();
}

/// Set in the child that is to die.
const VICTIM_LOG: &str = "HOLDFAST_TEST_VICTIM_LOG";

#[test]
fn a_panic_in_any_thread_is_logged_and_kills_the_process() {
    use crate::log::{Log, Output};
    use config::LogLevel;
    use std::os::unix::process::ExitStatusExt;
    if let Some(path) = std::env::var_os(VICTIM_LOG) {
        let (logger, log) = Log::start(Output::file(path.as_ref()).unwrap(), LogLevel::Notice);
        die_on_panic(log);
        slog::info!(logger, "before");
        let thread = std::thread::Builder::new().name("worker".to_owned());
        let _ = thread
            .spawn(|| panic!("an invariant broke"))
            .unwrap()
            .join();
        unreachable!("the process has ended");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "process::tests::a_panic_in_any_thread_is_logged_and_kills_the_process",
        ])
        .env(VICTIM_LOG, &path)
        .output()
        .unwrap();
    assert_eq!(out.status.signal(), Some(libc::SIGABRT), "{out:?}");
    let log = std::fs::read_to_string(&path).unwrap();
    let (before, report) = log.split_once('\n').unwrap();
    assert!(before.ends_with("* before"), "{log}");
    assert!(report.contains("# === REDIS BUG REPORT START"), "{log}");
    assert!(
        report.contains("thread 'worker'") && report.contains("an invariant broke"),
        "{log}"
    );
}
