//! The bus in a cluster of real Redis servers: it joins, owns slots, hears and sends messages, votes.
//!
//! Needs `redis-server` (7.0 or later) in the path, so it only runs when asked for:
//! `cargo test -p cluster-bus --test real_redis -- --ignored`.

// This test is the driver.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use cluster_bus::bus::{Action, Bus, LinkId, NodeRole, Now, Options, SelfState, INCOMING};
use cluster_bus::wire::{self, Flags};
use cluster_bus::{NodeId, ShardId};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const NODE_TIMEOUT_MS: u64 = 2000;
const IP: &str = "127.0.0.1";

/// A real server; dies with the test.
struct Redis {
    child: Child,
    port: u16,
    dir: std::path::PathBuf,
}

impl Redis {
    fn start(port: u16) -> Redis {
        let dir = std::env::temp_dir().join(format!("bus-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", IP, "--save", ""])
            .args(["--cluster-enabled", "yes", "--cluster-node-timeout"])
            .arg(NODE_TIMEOUT_MS.to_string())
            .current_dir(&dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        Redis { child, port, dir }
    }

    /// A command and all that comes back within a moment; empty if the server is not there yet.
    fn call(&self, line: &str) -> String {
        let Ok(mut stream) = TcpStream::connect((IP, self.port)) else {
            return String::new();
        };
        let timeout = Some(Duration::from_millis(300));
        stream.set_read_timeout(timeout).expect("a timeout");
        let mut reply = Vec::new();
        let _ = stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes());
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn id(&self) -> NodeId {
        let reply = self.call("CLUSTER MYID");
        let line = reply.lines().nth(1).expect("an id");
        line.parse().expect("an id")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A bus with sockets.
struct Driver {
    bus: Bus,
    me: SelfState,
    listener: TcpListener,
    streams: BTreeMap<LinkId, (TcpStream, Vec<u8>)>,
    accepted: u64,
    seen: Vec<Action>,
    start: Instant,
}

impl Driver {
    fn new(id: NodeId, port: u16, me: SelfState) -> Driver {
        let listener = TcpListener::bind((IP, port + 10_000)).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let options = Options {
            node_timeout_ms: NODE_TIMEOUT_MS,
            port,
            cport: port + 10_000,
            ..Options::default()
        };
        let start = Instant::now();
        let mut bus = Bus::new(options, id, None, now(start));
        bus.set_self(now(start), me.clone());
        Driver {
            bus,
            me,
            listener,
            streams: BTreeMap::new(),
            accepted: 0,
            seen: Vec::new(),
            start,
        }
    }

    fn now(&self) -> Now {
        now(self.start)
    }

    /// Runs the bus until `done`, which is asked ten times a second.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Driver) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let mut ask = Instant::now();
        loop {
            if Instant::now() >= ask {
                if done(self) {
                    println!("{what}: after {:?}", self.start.elapsed());
                    return;
                }
                ask = Instant::now() + Duration::from_millis(100);
            }
            assert!(Instant::now() < deadline, "too late: {what}");
            self.turn();
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        while let Ok((stream, peer)) = self.listener.accept() {
            self.accepted += 1;
            let link = INCOMING | self.accepted;
            let local = stream.local_addr().expect("an address");
            stream.set_nonblocking(true).expect("non-blocking");
            self.streams.insert(link, (stream, Vec::new()));
            self.bus.accepted(now, link, peer.ip(), local.ip());
        }
        let links: Vec<LinkId> = self.streams.keys().copied().collect();
        links.into_iter().for_each(|link| self.read(link));
        self.bus.tick(now);
        self.carry_out();
    }

    fn read(&mut self, link: LinkId) {
        let now = self.now();
        let Some((stream, buffer)) = self.streams.get_mut(&link) else {
            return;
        };
        let mut piece = [0; 65536];
        match stream.read(&mut piece) {
            Ok(0) => return self.lost(link),
            Ok(n) => buffer.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.lost(link),
        }
        while let Some(length) = wire::frame_len(buffer).expect("real packets") {
            if buffer.len() < length {
                break;
            }
            let packet: Vec<u8> = buffer.drain(..length).collect();
            wire::decode(&packet).expect("a real packet");
            self.bus.received(now, link, &packet);
        }
        self.carry_out();
    }

    fn lost(&mut self, link: LinkId) {
        self.streams.remove(&link);
        self.bus.closed(self.now(), link);
    }

    fn carry_out(&mut self) {
        let mut actions = self.bus.actions();
        while !actions.is_empty() {
            for action in actions {
                match &action {
                    Action::Connect { link, ip, port } => self.connect(*link, (*ip, *port).into()),
                    Action::Send { link, bytes } => {
                        if let Some((stream, _)) = self.streams.get_mut(link) {
                            let _ = stream.write_all(bytes);
                        }
                    }
                    Action::Close { link } => drop(self.streams.remove(link)),
                    Action::EpochCollision { .. } => {
                        // What the shard's log would do.
                        self.me.config_epoch = self.bus.max_epoch() + 1;
                        self.bus.set_self(self.now(), self.me.clone());
                    }
                    Action::Log(level, text) => println!("{level:?}: {text}"),
                    _ => (),
                }
                self.seen.push(action);
            }
            actions = self.bus.actions();
        }
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr) {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => {
                let local = stream.local_addr().expect("an address").ip();
                stream.set_nonblocking(true).expect("non-blocking");
                self.streams.insert(link, (stream, Vec::new()));
                self.bus.connected(self.now(), link, local);
            }
            Err(_) => self.bus.closed(self.now(), link),
        }
    }
}

fn now(start: Instant) -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Now {
        mono_ms: start.elapsed().as_millis() as u64 + 1,
        unix_ms: unix.expect("after 1970").as_millis() as i64,
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_member_of_a_real_cluster() {
    let base = 21_000 + (std::process::id() % 500) as u16 * 4;
    let mut servers: Vec<Redis> = (0..3).map(|n| Redis::start(base + n)).collect();
    let me = SelfState {
        shard: ShardId([9; 20]),
        slots: (10_923..16_384).collect(),
        ..SelfState::default()
    };
    let mut driver = Driver::new(NodeId([1; 20]), base + 3, me);
    driver.until("the servers are up", |_| {
        servers
            .iter()
            .all(|redis| redis.call("PING").contains("PONG"))
    });
    servers[0].call("CLUSTER ADDSLOTSRANGE 0 5460");
    servers[1].call("CLUSTER ADDSLOTSRANGE 5461 10922");
    let ids: Vec<NodeId> = servers.iter().map(Redis::id).collect();
    for redis in &servers {
        let at = IP.parse().expect("an address");
        assert!(driver
            .bus
            .meet(driver.now(), at, redis.port, redis.port + 10_000));
    }
    driver.until("one cluster", |driver| {
        driver.bus.state_ok()
            && driver.bus.nodes().count() == 4
            && servers.iter().all(|redis| {
                let info = redis.call("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            })
    });
    driver.until("epochs differ", |driver| {
        let mut epochs: Vec<u64> = driver.bus.nodes().map(|n| n.config_epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs.len() == 4
    });
    let reply = servers[2].call(&format!("CLUSTER REPLICATE {}", ids[0]));
    assert!(reply.contains("+OK"), "{reply}");
    driver.until("a replica", |driver| {
        driver
            .bus
            .node(ids[2])
            .is_some_and(|node| node.master == Some(ids[0]))
            && servers[2]
                .call("INFO replication")
                .contains("master_link_status:up")
    });

    driver.until("a message for us", |driver| {
        servers[1].call("PUBLISH news hello");
        driver.seen.contains(&Action::Publish {
            sharded: false,
            channel: b"news".to_vec(),
            message: b"hello".to_vec(),
        })
    });
    let now = driver.now();
    driver
        .bus
        .publish(now, false, b"news".to_vec(), b"back".to_vec());
    driver.until("a message from us", |_| {
        let info = servers[1].call("CLUSTER INFO");
        info.contains("cluster_stats_messages_publish_received:1")
    });

    // Two of three masters are left: the replica needs our vote.
    servers[0].child.kill().expect("killed");
    driver.until("a failover by our vote", |driver| {
        let failed = driver
            .bus
            .node(ids[0])
            .is_some_and(|n| n.flags.has(Flags::FAIL));
        failed && driver.bus.owner(0) == Some(ids[2]) && driver.bus.state_ok()
    });
    let vote =
        |action: &Action| matches!(action, Action::Save(text) if !text.contains("lastVoteEpoch 0"));
    assert!(driver.seen.iter().any(vote));
    assert_eq!(driver.me.role, NodeRole::Master);
    let nodes = servers[1].call("CLUSTER NODES");
    let line = nodes
        .lines()
        .find(|l| l.starts_with("0101"))
        .expect("we are there");
    assert!(line.contains("connected 10923-16383"), "{line}");
}
