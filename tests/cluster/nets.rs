//! A cluster of which every node has a network namespace of its own, so that any one can be cut off.
//!
//! One namespace holds a bridge; each node's is joined to it by a pair of devices. Taking a device
//! off the bridge loses packets without a word, as a broken switch does. A thread enters a
//! namespace for good ([`Nets::entry`]); processes that it starts are in there too. All is removed
//! when dropped.

use crate::common::resp::{Client, Value};
use crate::harness::{check, wait_for, SOON};
use crate::view::{self, Line};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// All nodes have the same port: addresses differ.
pub const PORT: u16 = 7000;

pub struct Nets {
    tag: String,
    count: usize,
}

fn ip(args: &str) -> Result<(), String> {
    let out = Command::new("ip").args(args.split(' ')).output();
    let out = out.map_err(|e| format!("ip: {e}"))?;
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    check(out.status.success(), || format!("ip {args}: {why}"))
}

pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node as u8 + 1)
}

impl Nets {
    /// `Err` says why this machine can't have it.
    pub fn make(count: usize) -> Result<Nets, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let tag = format!("hf{}x{made}", std::process::id());
        let nets = Nets { tag, count };
        let hub = nets.hub();
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        ip(&format!("-n {hub} link add br0 type bridge"))?;
        ip(&format!("-n {hub} addr add 10.77.0.254/24 dev br0"))?;
        ip(&format!("-n {hub} link set br0 up"))?;
        for n in 0..count {
            let name = nets.name(n);
            ip(&format!("netns add {name}"))?;
            ip(&format!(
                "-n {hub} link add v{n} type veth peer name e0 netns {name}"
            ))?;
            ip(&format!("-n {name} addr add {}/24 dev e0", address(n)))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set e0 up"))?;
            ip(&format!("-n {hub} link set v{n} up"))?;
            nets.heal(n);
        }
        Ok(nets)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn name(&self, node: usize) -> String {
        format!("{}-{node}", self.tag)
    }

    /// From now on this node and all others hear nothing of each other.
    pub fn cut(&self, node: usize) {
        ip(&format!("-n {} link set v{node} nomaster", self.hub())).expect("cut");
    }

    pub fn heal(&self, node: usize) {
        ip(&format!("-n {} link set v{node} master br0", self.hub())).expect("healed");
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub fn block(&self, from: usize, to: usize) {
        let (name, to) = (self.name(from), address(to));
        ip(&format!("-n {name} route add blackhole {to}/32")).expect("blocked");
    }

    pub fn unblock(&self, from: usize, to: usize) {
        let (name, to) = (self.name(from), address(to));
        ip(&format!("-n {name} route del blackhole {to}/32")).expect("unblocked");
    }

    /// What puts the thread that calls it into the node's namespace, for good; `None`: into that of
    /// the bridge.
    pub fn entry(&self, node: Option<usize>) -> impl FnOnce() + Send + 'static {
        let name = node.map_or_else(|| self.hub(), |n| self.name(n));
        move || {
            let file = File::open(format!("/run/netns/{name}")).expect("the namespace is there");
            // SAFETY: a call on a descriptor that we hold open; it changes this thread only.
            let rc = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(rc, 0, "setns: {}", std::io::Error::last_os_error());
        }
    }
}

impl Drop for Nets {
    fn drop(&mut self) {
        for node in 0..self.count {
            let _ = ip(&format!("netns del {}", self.name(node)));
        }
        let _ = ip(&format!("netns del {}", self.hub()));
    }
}

/// Six processes, each in its namespace. Its commands work from the bridge's.
pub struct Far {
    children: Vec<Option<Child>>,
    dirs: Vec<PathBuf>,
    pub nets: Nets,
    _temp: tempfile::TempDir,
}

/// A connection to a node from wherever this thread is.
pub fn connect(node: usize, silence: Duration) -> std::io::Result<Client> {
    Client::connect_to((address(node), PORT).into(), silence)
}

fn ask(node: usize, words: &[&str]) -> Result<Value, String> {
    let client = connect(node, Duration::from_secs(2));
    let reply = client.and_then(|mut c| c.try_cmd(words));
    reply.map_err(|e| format!("node {node}: {words:?}: {e}"))
}

/// The node whose address this is.
pub fn index(address: &str) -> usize {
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    let last = ip
        .rsplit_once('.')
        .and_then(|(_, n)| n.parse::<usize>().ok());
    last.unwrap_or_else(|| panic!("{address:?} is no address of ours")) - 1
}

impl Far {
    /// Formed as 3 + 3; this thread is in the bridge's namespace afterwards.
    pub fn formed(nets: Nets) -> Far {
        let temp = tempfile::tempdir().expect("a temporary folder");
        nets.entry(None)();
        let mut far = Far {
            children: (0..nets.count).map(|_| None).collect(),
            dirs: (0..nets.count)
                .map(|n| temp.path().join(format!("n{n}")))
                .collect(),
            nets,
            _temp: temp,
        };
        for n in 0..far.nets.count {
            std::fs::create_dir_all(&far.dirs[n]).expect("a folder");
            far.start(n);
        }
        let all: Vec<String> = (0..far.nets.count)
            .map(|n| format!("{}:{PORT}", address(n)))
            .collect();
        let mut args = vec!["--cluster", "create"];
        args.extend(all.iter().map(String::as_str));
        args.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        crate::harness::redis_cli(&args);
        far.wait_well();
        far
    }

    pub fn start(&mut self, node: usize) {
        let log = log_file(&self.dirs[node]);
        let again = log.try_clone().expect("a second handle");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.nets.name(node)])
            .arg(crate::common::server::binary())
            .args(["--port", &PORT.to_string(), "--dir"])
            .arg(&self.dirs[node])
            .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])
            .args(["--protected-mode", "no"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn();
        self.children[node] = Some(child.expect("ip starts it"));
        wait_for("the node answers", crate::node::START, || {
            let reply = ask(node, &["PING"])?;
            check(reply.text() == "PONG", || format!("{reply:?}"))
        });
    }

    pub fn kill9(&mut self, node: usize) {
        if let Some(mut child) = self.children[node].take() {
            // `ip netns exec` has become the server: the same pid.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// CLUSTER NODES. A node that has lost a tail answers -LOADING for a moment (as a Redis that syncs).
    pub fn view(&self, node: usize) -> Result<Vec<Line>, String> {
        match ask(node, &["CLUSTER", "NODES"])? {
            reply @ (Value::Bulk(_) | Value::Other(_)) => Ok(view::parse(&reply.text())),
            reply => Err(format!("CLUSTER NODES -> {reply:?}")),
        }
    }

    pub fn info(&self, node: usize, field: &str) -> Result<String, String> {
        let text = ask(node, &["INFO", "raft"])?.text();
        crate::common::server::info_field(&text, field).ok_or_else(|| format!("no {field}"))
    }

    /// A hash tag of a shard that `master` owns.
    pub fn tag(&self, master: usize, salt: usize) -> String {
        wait_for("the node shows its slots", SOON, || {
            let view = self.view(master)?;
            let mine = view.iter().find(|l| l.has("myself"));
            Ok(view::tag_in(&mine.ok_or("itself")?.slots, salt))
        })
    }

    /// Master, replica and host of the witness of the shard that `node` belongs to.
    pub fn shard(&self, node: usize) -> Result<(usize, usize, usize), String> {
        let text = ask(node, &["INFO", "raft"])?.text();
        let leader = crate::common::server::info_field(&text, "raft_leader_addr");
        let leader = leader.filter(|l| !l.is_empty()).ok_or("no leader")?;
        let master = index(&leader);
        let member = |witness: bool| {
            let kind = if witness { "kind=witness" } else { "kind=data" };
            let lines = text.lines().filter(|l| l.starts_with("raft_member"));
            let all = lines.filter(|l| l.contains(kind) && l.contains("voter=1"));
            let mut at =
                all.filter_map(|l| Some(index(l.split_once("addr=")?.1.split_once(',')?.0)));
            at.find(|at| *at != master).ok_or_else(|| text.clone())
        };
        Ok((master, member(false)?, member(true)?))
    }

    pub fn wait_well(&self) {
        wait_for(
            "every node's state is ok, every shard whole",
            SOON * 2,
            || {
                for node in 0..self.nets.count {
                    let text = ask(node, &["CLUSTER", "INFO"])?.text();
                    check(text.contains("cluster_state:ok"), || text.clone())?;
                    let view = self.view(node)?;
                    let bad = view.iter().any(|l| l.has("fail") || l.has("fail?"));
                    check(!bad, || format!("{view:?}"))?;
                    let (master, ..) = self.shard(node)?;
                    let ha = self.info(master, "raft_ha")?;
                    check(ha == "1", || format!("raft_ha of {master} is {ha}"))?;
                }
                Ok(())
            },
        );
    }

    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.dirs[node].join("log")).unwrap_or_default()
    }
}

fn log_file(dir: &Path) -> File {
    let options = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"));
    options.expect("a log file")
}

impl Drop for Far {
    fn drop(&mut self) {
        for node in 0..self.children.len() {
            self.kill9(node);
            if std::thread::panicking() {
                let text = self.log(node);
                let from = text.lines().count().saturating_sub(8);
                let tail: Vec<&str> = text.lines().skip(from).collect();
                eprintln!("--- log of node {node} ---\n{}", tail.join("\n"));
            }
        }
    }
}
