//! Binding, accepting, the limit of open files.

use crate::clock::Mono;
use crate::net::{Event, Listeners, Poll};
use socket2::SockRef;
use std::net::TcpStream;
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
    listeners.register(&poll).expect("register");
    let addresses = listeners.addresses();
    let clients: Vec<TcpStream> = (0..20)
        .map(|n| TcpStream::connect(addresses[n % 2]).expect("connect"))
        .collect();
    let mut accepted = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while accepted.len() < clients.len() {
        assert!(Instant::now() < deadline);
        poll.wait(Some(Duration::from_millis(100))).expect("epoll");
        for event in poll.events() {
            if let Event::Listener(n) = event {
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
