//! Binding, accepting, the limit of open files.

use crate::sockets::{raise_open_files, Listeners, OpenFiles, Poll, PollEvent, RESERVED_FILES};
use base::clock::Mono;
use socket2::SockRef;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| s.to_string()).collect()
}

#[test]
fn all_of_ipv4_and_ipv6() {
    let bound = Listeners::bind(&strings(&["*", "-::*"]), 0, 16).expect("bind");
    let addresses = bound.listeners.addresses();
    assert!(addresses[0].is_ipv4() && addresses[0].ip().is_unspecified());
    assert_eq!(addresses.len() + bound.skipped.len(), 2);
}

#[test]
fn an_optional_address_may_be_missing_and_another_may_not() {
    // 192.0.2.0/24 is for documentation: no machine has it.
    let bound = Listeners::bind(&strings(&["127.0.0.1", "-192.0.2.1"]), 0, 16).expect("bind");
    assert_eq!((bound.listeners.len(), bound.skipped.len()), (1, 1));
    let failure = Listeners::bind(&strings(&["127.0.0.1", "192.0.2.1"]), 0, 16).err();
    let failure = failure.expect("no such address");
    assert_eq!(
        (failure.address.as_str(), failure.step),
        ("192.0.2.1", "bind")
    );
    assert_eq!(failure.error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
}

#[test]
fn a_port_in_use_is_an_error_even_when_optional() {
    let bound = Listeners::bind(&strings(&["127.0.0.1"]), 0, 16).expect("bind");
    let port = bound.listeners.addresses()[0].port();
    let failure = Listeners::bind(&strings(&["-127.0.0.1"]), port, 16)
        .err()
        .expect("in use");
    assert_eq!(failure.error.raw_os_error(), Some(libc::EADDRINUSE));
}

#[test]
fn clients_are_accepted_with_their_options_set() {
    let mut poll = Poll::new().expect("epoll");
    let bound = Listeners::bind(&strings(&["127.0.0.1", "127.0.0.2"]), 0, 16).expect("bind");
    let mut listeners = bound.listeners;
    listeners
        .register(&poll.registrar().expect("registrar"))
        .expect("register");
    let addresses = listeners.addresses();
    let clients: Vec<TcpStream> = (0..20)
        .map(|n| TcpStream::connect(addresses[n % 2]).expect("connect"))
        .collect();
    let mut accepted = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while accepted.len() < clients.len() {
        assert!(Instant::now() < deadline);
        poll.wait(Some(Duration::from_millis(100)), false)
            .expect("epoll");
        for event in poll.events() {
            if let PollEvent::Listener(n) = event {
                listeners.note(n);
            }
        }
        let take = &mut |a| accepted.push(a);
        listeners
            .accept(Mono(0), Duration::from_secs(300), take)
            .expect("accept");
        assert!(!listeners.has_work(Mono(0)));
    }
    for client in &accepted {
        let socket = SockRef::from(&client.socket);
        assert!(socket.nodelay().expect("option") && socket.keepalive().expect("option"));
        assert_eq!(
            socket.keepalive_time().expect("option"),
            Duration::from_secs(300)
        );
        assert_eq!(
            socket.keepalive_interval().expect("option"),
            Duration::from_secs(100)
        );
        assert_eq!(socket.keepalive_retries().expect("option"), 3);
    }
}

/// The limit belongs to a process: such a test runs in one of its own.
fn in_a_child(test: &str) {
    let status = std::process::Command::new(std::env::current_exe().expect("a test binary"))
        .args([
            "--exact",
            &format!("net::tests::listen::{test}"),
            "--ignored",
        ])
        .stdout(std::process::Stdio::null())
        .status()
        .expect("start");
    assert!(status.success(), "{test} failed in its process");
}

fn set_limit(soft: u64, hard: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: setrlimit reads the struct that it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn without_files_it_pauses_and_goes_on() {
    in_a_child("child_without_files");
}

#[test]
#[ignore = "run by without_files_it_pauses_and_goes_on"]
fn child_without_files() {
    let bound = Listeners::bind(&strings(&["127.0.0.1"]), 0, 16).expect("bind");
    let mut listeners = bound.listeners;
    let client = TcpStream::connect(listeners.addresses()[0]).expect("connect");
    set_limit(client.as_raw_fd() as u64 + 1, 4096);
    listeners.note(1);
    let (mut taken, start) = (0, Mono(1));
    let mut accept = |listeners: &mut Listeners, now| {
        let result = listeners.accept(now, Duration::ZERO, &mut |_| taken += 1);
        (result.err().and_then(|e| e.raw_os_error()), taken)
    };
    assert_eq!(accept(&mut listeners, start), (Some(libc::EMFILE), 0));
    // Nothing to do until the pause is over; then it is found out again.
    assert!(!listeners.has_work(start));
    assert_eq!(accept(&mut listeners, start), (None, 0));
    let later = listeners.next_deadline().expect("it is tried again");
    assert_eq!(accept(&mut listeners, later), (Some(libc::EMFILE), 0));
    set_limit(4096, 4096);
    listeners.file_freed();
    assert!(listeners.has_work(start));
    assert_eq!(accept(&mut listeners, start), (None, 1));
    assert_eq!(listeners.next_deadline(), None);
}

#[test]
fn the_limit_of_open_files() {
    in_a_child("child_raises_the_limit");
}

#[test]
#[ignore = "run by the_limit_of_open_files"]
fn child_raises_the_limit() {
    set_limit(256, 512);
    assert!(matches!(
        raise_open_files(256 - u64::from(RESERVED_FILES), RESERVED_FILES.into()),
        OpenFiles::Enough
    ));
    let raised = raise_open_files(300, RESERVED_FILES.into());
    assert!(
        matches!(raised, OpenFiles::Raised { from: 256, to: 332 }),
        "{raised:?}"
    );
    // Above the hard limit only the privileged come.
    match raise_open_files(1000, RESERVED_FILES.into()) {
        OpenFiles::Raised {
            from: 332,
            to: 1032,
        } => {}
        OpenFiles::Lowered {
            limit: 512,
            wanted: 1032,
            maxclients: 480,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}
