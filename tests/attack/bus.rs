//! A played node's part on the cluster bus: the crate `cluster-bus` over real sockets, so that real
//! nodes learn the played node's name and address as they learn any other's.

use crate::wire;
use cluster_bus::bus::{Action, Bus, IpAddr, Now, Options, SelfState, INCOMING};
use cluster_bus::NodeId;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type MembershipRequest = Box<dyn FnOnce(&mut Bus, Now) + Send>;

enum Event {
    Accepted(TcpStream),
    Connected(u64, TcpStream),
    Packet(u64, Vec<u8>),
    Closed(u64),
    Do(MembershipRequest),
}

/// The handle. Its threads end with the process: they only move bytes.
#[derive(Clone)]
pub struct BusHandle(Sender<Event>);

impl BusHandle {
    /// Has something done with the state machine.
    pub fn with(&self, request: impl FnOnce(&mut Bus, Now) + Send + 'static) {
        let _ = self.0.send(Event::Do(Box::new(request)));
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        mono_ms: crate::played::mono_ns() / 1_000_000,
        unix_ms: unix.expect("after 1970").as_millis() as i64,
    }
}

/// Listens on the bus port. Raft links that come there are given to `raft`, their magic read.
pub fn start(
    listener: TcpListener,
    id: NodeId,
    port: u16,
    state: SelfState,
    raft: impl Fn(TcpStream) + Send + 'static,
) -> BusHandle {
    let (sender, events) = channel();
    let options = Options {
        node_timeout_ms: 2000,
        port,
        cport: listener.local_addr().expect("it listens").port(),
        seed: u64::from(port),
        ..Options::default()
    };
    let mut bus = Bus::new(options, id, None, now());
    bus.set_self(now(), state);
    let to_loop = sender.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut magic = [0; 4];
            let limit = Some(Duration::from_secs(10));
            if stream.set_read_timeout(limit).is_err() || stream.read_exact(&mut magic).is_err() {
                continue;
            }
            let _ = stream.set_read_timeout(None);
            let _ = stream.set_nodelay(true);
            if magic == wire::MAGIC {
                raft(stream);
            } else if to_loop.send(Event::Accepted(stream)).is_err() {
                return;
            }
        }
    });
    let to_self = sender.clone();
    std::thread::spawn(move || run(bus, &events, &to_self));
    BusHandle(sender)
}

fn run(mut bus: Bus, events: &Receiver<Event>, to_self: &Sender<Event>) {
    let mut links: HashMap<u64, TcpStream> = HashMap::new();
    let mut taken = 0;
    loop {
        match events.recv_timeout(Duration::from_millis(20)) {
            Ok(Event::Accepted(stream)) => {
                taken += 1;
                let link = INCOMING | taken;
                bus.accepted(now(), link, LOCALHOST, LOCALHOST);
                read(link, &stream, *b"RCmb", true, to_self);
                links.insert(link, stream);
            }
            Ok(Event::Connected(link, stream)) => {
                read(link, &stream, [0; 4], false, to_self);
                links.insert(link, stream);
                bus.connected(now(), link, LOCALHOST);
            }
            Ok(Event::Packet(link, bytes)) => bus.received(now(), link, &bytes),
            Ok(Event::Closed(link)) => {
                if links.remove(&link).is_some() || link & INCOMING == 0 {
                    bus.closed(now(), link);
                }
            }
            Ok(Event::Do(request)) => request(&mut bus, now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        bus.tick(now());
        for action in bus.actions() {
            carry_out(action, &mut links, to_self);
        }
    }
}

fn carry_out(action: Action, links: &mut HashMap<u64, TcpStream>, to_self: &Sender<Event>) {
    match action {
        Action::Connect { link, ip, port } => {
            let to_self = to_self.clone();
            std::thread::spawn(move || {
                let _ = to_self.send(match TcpStream::connect((ip, port)) {
                    Ok(stream) => Event::Connected(link, stream),
                    Err(_) => Event::Closed(link),
                });
            });
        }
        Action::Send { link, bytes } => {
            if let Some(stream) = links.get_mut(&link) {
                // A link that breaks is told by its reader.
                let _ = stream.write_all(&bytes);
            }
        }
        Action::Close { link } => {
            if let Some(stream) = links.remove(&link) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        _ => {}
    }
}

/// Reads packets of a link; of the first one `magic` has been read already if `begun`.
fn read(link: u64, stream: &TcpStream, magic: [u8; 4], begun: bool, to_self: &Sender<Event>) {
    let mut stream = stream.try_clone().expect("a second handle");
    let to_self = to_self.clone();
    std::thread::spawn(move || {
        let mut begun = begun.then_some(magic);
        let mut next = || -> std::io::Result<Vec<u8>> {
            let mut packet = vec![0; 8];
            match begun.take() {
                Some(magic) => {
                    packet[..4].copy_from_slice(&magic);
                    stream.read_exact(&mut packet[4..])?;
                }
                None => stream.read_exact(&mut packet)?,
            }
            let length = u32::from_be_bytes(packet[4..8].try_into().expect("four bytes"));
            packet.resize((length as usize).clamp(8, 1 << 26), 0);
            stream.read_exact(&mut packet[8..])?;
            Ok(packet)
        };
        while let Ok(packet) = next() {
            if to_self.send(Event::Packet(link, packet)).is_err() {
                return;
            }
        }
        let _ = to_self.send(Event::Closed(link));
    });
}
