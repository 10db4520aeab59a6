//! Clusters of real processes: started, formed by redis-cli, waited for.
//!
//! [`Turn`] lets two clusters run at a time, or one that is measured. [`Cluster::formed`] returns only
//! when every node says `cluster_state:ok` and every shard with a replica is fault tolerant.

use crate::common::server::{binary, info_field, is_holdfast};
use crate::node::Node;
use crate::view::{tag_in, Line};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// For what should take a second or two, on a machine that is busy with something else.
pub const SOON: Duration = Duration::from_secs(30);

/// Polls until `condition` gives `Ok`; panics with its last complaint after `deadline`.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => {
                panic!("gave up after {deadline:?} waiting for: {what}: {why}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)), // between two looks
        }
    }
}

/// `Err(why)` unless it holds: for conditions of [`wait_for`].
pub fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(why())
    }
}

/// Of a test that chooses by chance: HOLDFAST_SEED, or 1.
pub fn seed() -> u64 {
    std::env::var("HOLDFAST_SEED").map_or(1, |s| s.parse().expect("a seed is a number"))
}

/// How often a test repeats what it does: `short`, or HOLDFAST_ROUNDS for the long form.
pub fn rounds(short: usize) -> usize {
    match std::env::var("HOLDFAST_ROUNDS") {
        Ok(text) => text.parse().expect("HOLDFAST_ROUNDS is a number"),
        Err(_) => short,
    }
}

/// A measured number, printed and added to the table of scripts/chaos.sh.
pub fn report(name: &str, text: &str) {
    println!("{name}: {text}");
    if let Some(path) = std::env::var_os("HOLDFAST_TABLE") {
        let file = File::options().create(true).append(true).open(path);
        let written = file.and_then(|mut f| writeln!(f, "{name}|{text}"));
        written.expect("the table is writable");
    }
}

pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// `median 1.2s, worst 3s of 7`
pub fn summary(times: &[Duration]) -> String {
    let worst = times.iter().max().copied().unwrap_or_default();
    let (m, w) = (median(times).as_millis(), worst.as_millis());
    format!("median {m} ms, worst {w} ms of {}", times.len())
}

/// Held while a cluster runs, across threads and processes of these tests: one of two slots, or both.
///
/// Tests that wait for a slot do so one behind the other, with the gate in their hands: so two that want
/// both slots never have one each, and none is passed for ever by those that want only one.
pub struct Turn {
    _slots: Vec<Lock>,
}

const SLOTS: [&str; 2] = ["cluster-tests-1", "cluster-tests-2"];

impl Turn {
    /// Beside another cluster: nothing is measured, so that it does no harm when each has half of the machine.
    pub fn shared() -> Turn {
        let _gate = Turn::gate();
        loop {
            if let Some(slot) = SLOTS.iter().find_map(|name| Lock::try_take(name)) {
                return Turn { _slots: vec![slot] };
            }
            std::thread::sleep(Duration::from_millis(10)); // between two looks
        }
    }

    /// With the machine to itself: it asserts times, or takes all that the machine has.
    pub fn alone() -> Turn {
        let _gate = Turn::gate();
        let _slots = SLOTS.iter().map(|name| Lock::take(name)).collect();
        Turn { _slots }
    }

    fn gate() -> Lock {
        Lock::take("cluster-tests")
    }
}

/// A lock file in the target folder, given up when dropped or when the process ends.
pub struct Lock {
    _file: File, // closing it gives it up
}

impl Lock {
    pub fn take(name: &str) -> Lock {
        let lock = Lock::with(name, libc::LOCK_EX);
        lock.unwrap_or_else(|| panic!("flock: {}", std::io::Error::last_os_error()))
    }

    /// `None` while another one has it.
    fn try_take(name: &str) -> Option<Lock> {
        Lock::with(name, libc::LOCK_EX | libc::LOCK_NB)
    }

    fn with(name: &str, how: i32) -> Option<Lock> {
        let path = format!("{}/{name}.lock", env!("CARGO_TARGET_TMPDIR"));
        let _file = File::create(path).expect("a lock file in the target folder");
        // SAFETY: a call on a descriptor that we hold open.
        let rc = unsafe { libc::flock(_file.as_raw_fd(), how) };
        (rc == 0).then_some(Lock { _file })
    }
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub temp: tempfile::TempDir,
    /// Nodes that were ever added: each has a folder of its own, also when others have gone.
    added: usize,
    holdfast: bool,
    turn: Option<Turn>, // last: given up when the nodes are gone
}

/// A shard as its nodes in `Cluster::nodes`.
#[derive(Clone, Debug)]
pub struct Shard {
    pub master: usize,
    pub replicas: Vec<usize>,
    pub slots: Vec<(u16, u16)>,
}

impl Shard {
    /// A hash tag whose keys this shard owns.
    pub fn tag(&self, salt: usize) -> String {
        tag_in(&self.slots, salt)
    }
}

impl Cluster {
    /// `count` nodes that know nothing of each other.
    pub fn bare(count: usize) -> Cluster {
        Cluster::with_args(count, &[])
    }

    pub fn with_args(count: usize, args: &[&str]) -> Cluster {
        Cluster::in_turn(Turn::shared(), count, args)
    }

    pub fn in_turn(turn: Turn, count: usize, args: &[&str]) -> Cluster {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let mut cluster = Cluster {
            nodes: Vec::new(),
            temp,
            added: 0,
            holdfast: is_holdfast(),
            turn: Some(turn),
        };
        for _ in 0..count {
            cluster.add_node(args);
        }
        cluster
    }

    /// From here on the test only waits for time to pass: its idle nodes are in nobody's way.
    pub fn let_others_run(&mut self) {
        self.turn = None;
    }

    /// One more node that knows nobody; its index.
    pub fn add_node(&mut self, args: &[&str]) -> usize {
        self.add(binary(), args)
    }

    /// A real Redis.
    pub fn add_redis(&mut self) -> usize {
        self.add("redis-server".into(), &[])
    }

    pub fn add_redis_with(&mut self, args: &[&str]) -> usize {
        self.add("redis-server".into(), args)
    }

    fn add(&mut self, bin: PathBuf, args: &[&str]) -> usize {
        let dir = self.temp.path().join(format!("n{}", self.added));
        self.added += 1;
        std::fs::create_dir_all(&dir).expect("a folder for the node");
        for _ in 0..5 {
            let mut node = Node::new(&dir).bin(&bin).args(args);
            node.spawn();
            if node.came_up() {
                self.nodes.push(node);
                return self.nodes.len() - 1;
            }
        }
        panic!("five ports in a row were taken");
    }

    /// Masters with `replicas` replicas each, formed by `redis-cli --cluster create`, all well.
    pub fn formed(masters: usize, replicas: usize) -> Cluster {
        Cluster::formed_in(Turn::shared(), masters, replicas)
    }

    /// The same with the machine to itself ([`Turn::alone`]).
    pub fn formed_alone(masters: usize, replicas: usize) -> Cluster {
        Cluster::formed_in(Turn::alone(), masters, replicas)
    }

    fn formed_in(turn: Turn, masters: usize, replicas: usize) -> Cluster {
        let cluster = Cluster::in_turn(turn, masters * (replicas + 1), &[]);
        cluster.create(replicas);
        cluster.wait_well();
        cluster
    }

    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|n| n.port).collect()
    }

    pub fn index_of(&self, port: u16) -> usize {
        let at = self.nodes.iter().position(|n| n.port == port);
        at.unwrap_or_else(|| panic!("no node of ours has port {port}"))
    }

    pub fn create(&self, replicas: usize) -> String {
        let addresses: Vec<String> = self
            .ports()
            .iter()
            .map(|p| format!("127.0.0.1:{p}"))
            .collect();
        let replicas = replicas.to_string();
        let mut args = Vec::new();
        if let Some(password) = self.nodes[0].password() {
            args.extend(["--no-auth-warning", "-a", password]);
        }
        args.extend(["--cluster", "create"]);
        args.extend(addresses.iter().map(String::as_str));
        args.extend(["--cluster-replicas", &replicas, "--cluster-yes"]);
        redis_cli(&args)
    }

    /// The shards as the first node that answers sees them; masters that own no slot are left out.
    pub fn shards(&self) -> Vec<Shard> {
        let view = self.nodes.iter().find_map(|n| n.try_view().ok());
        self.shards_in(&view.expect("some node answers"))
    }

    fn shards_in(&self, view: &[Line]) -> Vec<Shard> {
        let masters = view
            .iter()
            .filter(|l| l.has("master") && !l.slots.is_empty());
        let shard = |master: &Line| Shard {
            master: self.index_of(master.port),
            replicas: view
                .iter()
                .filter(|l| l.master.as_ref() == Some(&master.id))
                .map(|l| self.index_of(l.port))
                .collect(),
            slots: master.slots.clone(),
        };
        masters.map(shard).collect()
    }

    /// The shard that this node belongs to, as the node itself says.
    pub fn shard_of(&self, index: usize) -> Shard {
        let shards = self.shards_in(&self.nodes[index].view());
        let is_in = |s: &&Shard| s.master == index || s.replicas.contains(&index);
        let found = shards.iter().find(is_in).cloned();
        found.unwrap_or_else(|| panic!("node {index} is in no shard: {shards:?}"))
    }

    /// Every running node says `cluster_state:ok` and all of them say the same of each other.
    pub fn agreed(&self) -> Result<Vec<Line>, String> {
        let mut first: Option<Vec<_>> = None;
        let mut answer = Vec::new();
        for node in &self.nodes {
            let state = node.cluster_info("cluster_state");
            check(state.as_deref() == Some("ok"), || {
                format!("cluster_state of {} is {state:?}", node.port)
            })?;
            let view = node.try_view().map_err(|e| format!("{}: {e}", node.port))?;
            let bad = view
                .iter()
                .find(|l| l.has("fail?") || l.has("fail") || l.has("handshake"));
            check(bad.is_none(), || format!("{} lists {bad:?}", node.port))?;
            let mut claims: Vec<_> = view.iter().map(Line::claim).collect();
            claims.sort();
            match &first {
                None => first = Some(claims),
                Some(seen) => check(*seen == claims, || {
                    format!("{} says {claims:?}, another {seen:?}", node.port)
                })?,
            }
            answer = view;
        }
        Ok(answer)
    }

    /// Agreed, and every shard with a replica survives the loss of any node.
    pub fn well(&self) -> Result<(), String> {
        let view = self.agreed()?;
        for shard in self.shards_in(&view) {
            if shard.replicas.is_empty() {
                continue;
            }
            if self.holdfast {
                self.tolerates_a_loss(&shard)?;
                continue;
            }
            for replica in &shard.replicas {
                let link = self.nodes[*replica].info("replication", "master_link_status");
                check(link.as_deref() == Some("up"), || {
                    format!("a replica's link is {link:?}")
                })?;
            }
        }
        Ok(())
    }

    /// The leader says so (`raft_ha:1`), and lists as a voter what each node of the shard is now: it
    /// counts who was heard within its election timeout, so a node that was killed and wiped a
    /// moment ago may still be in that count as the member that it was.
    fn tolerates_a_loss(&self, shard: &Shard) -> Result<(), String> {
        let master = &self.nodes[shard.master];
        let status = master
            .try_cmd(&["INFO", "raft"])
            .map_err(|e| e.to_string())?;
        let status = status.text();
        let leader = info_field(&status, "raft_id");
        for index in std::iter::once(&shard.master).chain(&shard.replicas) {
            let node = &self.nodes[*index];
            let id = node.info("raft", "raft_id").ok_or("no raft_id")?;
            let voter = status.contains(&format!(":id={id},kind=data,voter=1"));
            check(voter, || {
                format!("{} ({id}) is no voter: {status}", node.port)
            })?;
            // A node that has just started knows no leader until it has heard it.
            let follows = node.info("raft", "raft_leader");
            check(follows == leader, || {
                format!("{} follows {follows:?}, not {leader:?}", node.port)
            })?;
        }
        let ha = info_field(&status, "raft_ha");
        check(ha.as_deref() == Some("1"), || {
            format!("raft_ha of {} is {ha:?}: {status}", master.port)
        })
    }

    pub fn wait_well(&self) {
        wait_for(
            "all nodes agree, every shard is fault tolerant",
            SOON * 2,
            || self.well(),
        );
    }

    /// Waits until this node is a master in its own eyes.
    pub fn wait_role(&self, index: usize, role: &str) {
        let node = &self.nodes[index];
        wait_for(&format!("{} is {role}", node.port), SOON, || {
            let is = node.info("replication", "role");
            check(is.as_deref() == Some(role), || format!("it is {is:?}"))
        });
    }
}

/// redis-cli with a deadline; its output, when it ends well.
pub fn redis_cli(args: &[&str]) -> String {
    let (status, text) = try_redis_cli(args);
    assert!(status, "redis-cli {}\n{text}", args.join(" "));
    text
}

pub fn try_redis_cli(args: &[&str]) -> (bool, String) {
    let out = Command::new("timeout")
        .args(["90", "redis-cli"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("redis-cli is installed (scripts/test.sh does it)");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.success(), text)
}
