//! From a disk to a running process, as `src/node/clustered/start.rs` does it, and what it writes.
//!
//! Owns: the first seat, the opening of members, the file nodes.conf.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_bus::bus;
use cluster_bus::nodes_conf::{self, NodesConf};
use cluster_bus::NodeId;
use holdfast::agent::folders::{self, Begin, Found};
use holdfast::agent::seat::{self, Seat};
use holdfast::agent::witnesses::Witnesses;
use holdfast::agent::{self, Agent, AgentConfig};
use holdfast::clock::Now;
use holdfast::cluster::Record;
use holdfast::command::Stats;
use holdfast::config::Config;
use holdfast::keyspace::Layout;
use holdfast::net::Gate;
use holdfast::shard::{Shard, ShardConfig, ShardError, SyncPolicy};
use holdfast::storage::{Base, Disk, DiskFile, Log, LogConfig};

use super::node::{bus_now, Node, Setup, SimShelf, CONF};
use crate::disk::SimDisk;
use crate::rng::Rng;

fn options(setup: &Setup, rng: &mut Rng) -> bus::Options {
    bus::Options {
        node_timeout_ms: setup.node_timeout_ms,
        port: 7000 + setup.index as u16,
        cport: 17_000 + setup.index as u16,
        require_full_coverage: setup.full_coverage,
        seed: rng.next(),
        ..bus::Options::default()
    }
}

fn random_id(rng: &mut Rng) -> NodeId {
    let mut id = [0; 20];
    id.iter_mut().for_each(|b| *b = rng.next() as u8);
    NodeId(id)
}

/// The logger that a witness host gets: what it says loudly is looked at.
pub fn loud(said: &Arc<Mutex<Vec<String>>>) -> slog::Logger {
    struct Ear(Arc<Mutex<Vec<String>>>);
    impl slog::Drain for Ear {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, r: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
            if r.level() == slog::Level::Critical {
                let mut said = self.0.lock().expect("nobody panics with it");
                said.push(r.msg().to_string());
            }
            Ok(())
        }
    }
    slog::Logger::root(Ear(Arc::clone(said)), slog::o!())
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn load_conf(disk: &SimDisk) -> io::Result<Option<NodesConf>> {
    if !disk.list()?.iter().any(|n| n == CONF) {
        return Ok(None);
    }
    let file = disk.open(CONF)?;
    let mut bytes = vec![0; file.len()? as usize];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let conf = nodes_conf::parse(&text)
        .map_err(|e| io::Error::other(format!("nodes.conf: {} in\n{text}", e.what)))?;
    Ok(Some(conf))
}

/// Replaces nodes.conf, as `src/node/clustered/conf.rs` does.
pub fn save_conf(disk: &SimDisk, text: &str) -> io::Result<()> {
    let temp = format!("{CONF}.tmp");
    let file = disk.create(&temp)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&temp, CONF)?;
    disk.sync_dir()
}

pub fn make_member(disk: &SimDisk, log: &LogConfig, base: &Base) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let name = seat::folder(base.raft_id);
    folders::announce(disk, base.raft_id).map_err(|e| text(&e))?;
    let folder = disk.make_folder(&name).map_err(|e| text(&e))?;
    Log::create(folder, log.clone(), base).map_err(|e| text(&e))?;
    Ok(())
}

fn first_seat(
    disk: &SimDisk,
    setup: &Setup,
    myself: NodeId,
    conf: Option<&NodesConf>,
    rng: &mut Rng,
) -> Result<Seat, String> {
    let record = Record::founded(random_id(rng), myself);
    let base = agent::birth(rng.next() | 1, rng.next() | 1, record, setup.t_ms);
    make_member(disk, &setup.log, &base)?;
    let seat = Seat::first(base.raft_id, conf, || rng.next() | 1);
    seat.save(disk).map_err(|e| e.to_string())?;
    Ok(seat)
}

pub fn open_member(
    disk: &SimDisk,
    raft_id: u64,
    setup: &Setup,
    first: bool,
    now: Now,
    rng: &mut Rng,
) -> Result<Shard<SimDisk>, ShardError> {
    let config = ShardConfig {
        layout: Layout::Cluster,
        seed: rng.next(),
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_millis(5 * setup.t_ms),
        tail_limit: 64 << 20,
        keep_bytes: 4 << 10,
        log: setup.log.clone(),
        first,
    };
    let io = |source| holdfast::storage::StorageError::Io {
        action: "open the folder of",
        file: seat::folder(raft_id),
        source,
    };
    let folder = disk.make_folder(&seat::folder(raft_id)).map_err(io)?;
    Shard::open(folder, config, now, &quiet())
}

impl Node {
    /// Starts the process on what the disk holds. `said`: where a witness that stops complains.
    pub fn start(
        disk: SimDisk,
        setup: Setup,
        now: Now,
        said: &Arc<Mutex<Vec<String>>>,
        rng: &mut Rng,
    ) -> Result<Node, String> {
        let conf = load_conf(&disk).map_err(|e| e.to_string())?;
        let mine = conf.as_ref().and_then(NodesConf::myself);
        let myself = mine.map_or_else(|| random_id(rng), |line| line.id);
        if conf.is_none() {
            // The name is on disk before anything is born under it.
            let bus = bus::Bus::new(options(&setup, rng), myself, None, bus_now(now));
            save_conf(&disk, &bus.conf().render()).map_err(|e| e.to_string())?;
        }
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let seat = Seat::load(&disk).map_err(|e| text(&e))?;
        let open = |name: &str| disk.make_folder(name).expect("it is there");
        let found = Found::look(&disk, open).map_err(|e| text(&e))?;
        let plan = folders::decide(&found, seat.as_ref()).map_err(|e| text(&e))?;
        for raft_id in plan.remove.iter().chain(&plan.set_aside) {
            let name = seat::folder(*raft_id);
            disk.remove_folder(&name).map_err(|e| text(&e))?;
        }
        let seat = match (plan.begin, seat) {
            (Begin::Open, Some(seat)) => seat,
            _ => first_seat(&disk, &setup, myself, conf.as_ref(), rng)?,
        };
        let shard = open_member(&disk, seat.member, &setup, true, now, rng);
        let shard = shard.map_err(|e| e.to_string())?;
        let small = LogConfig {
            segment_size: 64 << 10,
            spare_segments: 2,
            ..setup.log.clone()
        };
        let shelf = SimShelf(disk.clone());
        let witnesses = Witnesses::open(shelf, small, rng.next(), now, loud(said));
        let witnesses = witnesses.map_err(|e| e.to_string())?;
        let agent_config = AgentConfig {
            bus: options(&setup, rng),
            seed: rng.next(),
            election_timeout_ms: setup.t_ms,
            witness: setup.witness,
        };
        let saved_vote = conf.as_ref().map_or(0, |c| c.last_vote_epoch);
        let agent = Agent::new(agent_config, seat, myself, conf.as_ref(), now);
        Ok(Node {
            hosted: witnesses.len(),
            shard,
            agent,
            witnesses,
            orders: Vec::new(),
            setup,
            shard_no: 1,
            conns: BTreeMap::new(),
            config: Config::default(),
            stats: Stats::new(),
            ops: Vec::new(),
            released: Gate { batch: 0, read: 0 },
            disk,
            rng: rng.fork(),
            name: myself,
            peers: BTreeMap::new(),
            callers: BTreeMap::new(),
            conf_next: None,
            conf_writing: false,
            saved_vote,
            held: VecDeque::new(),
            served: Vec::new(),
            seen: Vec::new(),
            done_ops: Vec::new(),
        })
    }
}
