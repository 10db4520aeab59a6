//! A shard of three whose other two members are played by hand: they answer what the test wants,
//! when it wants it. Jobs for the disk wait until the test has them done.

use crate::{Admission, Shard, ShardConfig, ShardError, Sizes, SyncPolicy};
use base::clock::{Clock, Mono, Now};
use base::ids::{EntryId, GroupId, Incarnation, RaftId};
use cluster_bus::NodeId;
use keyspace::{Keyspace, Layout, Ttl};
use raft::eraftpb::{ConfState, Message, MessageType};
use raft_group::testing::answer;
use raft_group::{Envelope, LeaseEpoch};
use state::save::{save, Style};
use state::Gate;
use state::{Access, GateKind};
use std::cell::Cell;
use std::time::Duration;
use storage::base::{Member, MemberKind};
use storage::snapshot::SnapshotWriter;
use storage::{
    Base, Disk, Done, Job, Log, LogConfig, MadeSnapshot, MemberIdentity, RealDisk, SnapshotMeta,
    StateFile, StorageError,
};

/// A clock that is set by hand.
pub struct Hand(pub Cell<u64>);

impl Clock for Hand {
    fn now(&self) -> Now {
        self.0.set(self.0.get() + 1_000);
        Now {
            mono: Mono(self.0.get()),
            unix_ms: 1,
            asleep_ms: 0,
        }
    }
}

/// The member that is real.
pub const ME: u64 = 5;
pub const OTHERS: [u64; 2] = [1, 6];
pub const T_MS: u64 = 1000;
const TICK_MS: u64 = 20;

pub fn member(raft_id: u64) -> Member {
    Member {
        raft_id: RaftId(raft_id),
        node: NodeId([raft_id as u8; 20]),
        kind: MemberKind::Data,
    }
}

pub fn base() -> Base {
    Base {
        identity: MemberIdentity {
            group: GroupId(1),
            incarnation: Incarnation(1),
            raft_id: RaftId(ME),
            election_timeout_ms: T_MS,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState::from((vec![1, 5, 6], vec![])),
            members: [1, 5, 6].map(member).to_vec(),
            ..SnapshotMeta::default()
        },
        start: None,
    }
}

pub fn config() -> ShardConfig {
    ShardConfig {
        layout: Layout::Cluster,
        limits: keyspace::Limits::default(),
        seed: 7,
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 64 << 20,
        keep_bytes: 0,
        sizes: Sizes::default(),
        log: LogConfig {
            segment_size: 8 << 20,
            ..LogConfig::default()
        },
        first: true,
    }
}

pub struct Played {
    pub shard: Shard<RealDisk>,
    clock: Hand,
    asleep_ms: u64,
    _folder: tempfile::TempDir,
    config: ShardConfig,
    pub jobs: Vec<Job<RealDisk>>,
    /// What it has sent and nobody has taken.
    pub sent: Vec<Envelope>,
    pub released: Gate,
}

/// Writes a file of the keyspace as of an entry, past all orders: for tests that say what a state is.
pub fn write_snapshot<D: Disk>(
    disk: &D,
    keyspace: &Keyspace,
    at: EntryId,
) -> Result<StateFile, StorageError> {
    let mut file = SnapshotWriter::create(disk.clone(), at)?;
    let mut sink = |piece: &[u8]| file.write(piece);
    let saved = save(keyspace, &Style::default(), &mut sink, &mut |_| ())?;
    file.finish(at, saved.end.checksum.unwrap_or_default())
}

/// What a thread says that has made this snapshot.
pub fn made<D: Disk>(meta: SnapshotMeta) -> Done<D> {
    Done::Snapshot(Ok(Box::new(MadeSnapshot {
        meta,
        keys: 0,
        kept: true,
        copied: None,
        opened: None,
    })))
}

/// What carries `message`, of a lease epoch without transfers.
pub fn envelope(message: Message) -> Envelope {
    Envelope {
        group: GroupId(1),
        incarnation: Incarnation(1),
        from: RaftId(message.from),
        to: RaftId(message.to),
        lease_epoch: LeaseEpoch {
            term: message.term,
            transfers: 0,
        },
        sent_ns: 1,
        applied: 1,
        has_room: true,
        loaded: true,
        message,
    }
}

impl Played {
    /// After its start.
    pub fn new(config: ShardConfig) -> Played {
        Played::of(config, &base())
    }

    /// The same, of this base.
    pub fn of(config: ShardConfig, base: &Base) -> Played {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(folder.path());
        Log::create(disk.clone(), config.log.clone(), base).expect("an empty folder");
        let clock = Hand(Cell::new(1_000_000));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let shard = Shard::open(disk, config.clone(), clock.now(), &logger);
        Played {
            shard: shard.expect("a shard opens"),
            clock,
            asleep_ms: 0,
            _folder: folder,
            config,
            jobs: Vec::new(),
            sent: Vec::new(),
            released: Gate::OPEN,
        }
    }

    /// After another start, of which its disk has done nothing yet.
    pub fn restarted(self) -> Played {
        let Played {
            shard,
            clock,
            _folder,
            config,
            ..
        } = self;
        drop(shard);
        let disk = RealDisk::new(_folder.path());
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let shard = Shard::open(disk, config.clone(), clock.now(), &logger);
        Played {
            shard: shard.expect("a shard opens"),
            clock,
            asleep_ms: 0,
            _folder,
            config,
            jobs: Vec::new(),
            sent: Vec::new(),
            released: Gate::OPEN,
        }
    }

    /// After both others have helped it to lead.
    pub fn leading(config: ShardConfig) -> Played {
        Played::leading_with(config, &OTHERS)
    }

    /// After these have.
    pub fn leading_with(config: ShardConfig, who: &[u64]) -> Played {
        Played::new(config).led(who)
    }

    /// After these have helped it to lead.
    pub fn led(self, who: &[u64]) -> Played {
        let mut played = self;
        for _ in 0..4 * T_MS / TICK_MS {
            played.beat(who);
            if played.leads() {
                return played;
            }
        }
        panic!("it was not elected");
    }

    pub fn leads(&mut self) -> bool {
        self.shard.admission() == Admission::Lead { writable: true }
    }

    pub fn now(&self) -> Now {
        Now {
            asleep_ms: self.asleep_ms,
            ..self.clock.now()
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.clock.0.set(self.clock.0.get() + ms * 1_000_000);
    }

    /// The machine was suspended.
    pub fn sleep(&mut self, ms: u64) {
        self.asleep_ms += ms;
    }

    /// A turn in which `run` executes.
    pub fn turn<R>(&mut self, run: impl FnOnce(&mut Shard<RealDisk>) -> R) -> R {
        self.try_turn(run).expect("a turn goes well")
    }

    pub fn try_turn<R>(
        &mut self,
        run: impl FnOnce(&mut Shard<RealDisk>) -> R,
    ) -> Result<R, ShardError> {
        let now = self.now();
        self.shard.begin(now)?;
        let result = run(&mut self.shard);
        self.shard.finish(&self.clock)?;
        self.shard.walk_snapshot(&self.clock);
        let output = self.shard.take_output();
        self.jobs.extend(output.jobs);
        self.sent.extend(output.messages);
        self.released = output.released;
        Ok(result)
    }

    /// Its disk does what it was asked to do.
    pub fn work(&mut self) {
        self.work_but(|_| false);
    }

    /// The same, but for the jobs that hang.
    pub fn work_but(&mut self, hangs: impl Fn(&Job<RealDisk>) -> bool) {
        let (hung, jobs): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.jobs).into_iter().partition(hangs);
        self.jobs = hung;
        for job in jobs {
            if let Some(done) = job.run() {
                let taken = self.shard.job_done(self.now(), done);
                taken.expect("a job is taken in");
            }
        }
    }

    /// These members answer what was sent to them; what was sent to others is lost.
    pub fn answer(&mut self, who: &[u64]) {
        for sent in std::mem::take(&mut self.sent) {
            if let Some(answer) = answer(&sent).filter(|a| who.contains(&a.from.0)) {
                self.step(answer);
            }
        }
    }

    pub fn step(&mut self, envelope: Envelope) {
        let stepped = self.shard.step(self.now(), envelope);
        stepped.expect("it is taken, or dropped");
    }

    /// A little while in which these members and the disk do what they are asked.
    pub fn beat(&mut self, who: &[u64]) {
        self.pass(TICK_MS);
        self.turn(|_| ());
        self.work();
        self.answer(who);
        self.turn(|_| ());
    }

    /// So many milliseconds of that.
    pub fn beats(&mut self, who: &[u64], ms: u64) {
        (0..ms.div_ceil(TICK_MS)).for_each(|_| self.beat(who));
    }

    /// A write, in a turn of its own; what its reply waits for.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Gate {
        self.turn(|shard| {
            let data = shard.data_mut();
            data.begin_command(0, Access::Lead);
            let key = data.key(key);
            data.set(&key, value, Ttl::Clear);
            let footprint = data.end_command();
            shard.gate(GateKind::Write, footprint.depends)
        })
    }

    pub fn matched(&self, id: u64) -> u64 {
        let members = self.shard.group().members();
        let member = members.iter().find(|m| m.id == RaftId(id));
        member.expect("it is a member").matched
    }

    /// An answer of `from` to a heartbeat that left at `sent_ns`.
    pub fn ack_of_send_time(&self, from: u64, sent: Mono) -> Envelope {
        let message = Message {
            msg_type: MessageType::MsgHeartbeatResponse,
            from,
            to: ME,
            term: self.shard.group().term(),
            ..Message::default()
        };
        Envelope {
            lease_epoch: self.shard.group().lease_epoch(),
            sent_ns: sent.0,
            ..envelope(message)
        }
    }
}

impl Played {
    /// The first of the others leads a later term, and sends so many entries of which it commits none.
    pub fn follows(&mut self, entries: u64) {
        let term = self.shard.group().term() + 1;
        let last = self.shard.group().last_index();
        let log_term = self.shard.group().term_at(last).expect("the own log");
        let entry = |index| raft::eraftpb::Entry {
            index,
            term,
            ..raft::eraftpb::Entry::default()
        };
        let message = Message {
            msg_type: MessageType::MsgAppend,
            from: OTHERS[0],
            to: ME,
            term,
            index: last,
            log_term,
            commit: self.shard.group().commit(),
            entries: (last + 1..=last + entries)
                .map(entry)
                .collect::<Vec<_>>()
                .into(),
            ..Message::default()
        };
        while self.shard.is_loading() {
            self.work();
            self.turn(|_| ());
        }
        self.step(envelope(message));
        self.turn(|_| ());
        self.work();
    }
}
