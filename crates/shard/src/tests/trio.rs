//! Three members of one group, driven by hand: the test decides what is delivered, and whole or not.

use super::*;
use crate::testing::{made, write_snapshot};
use base::ids::{BatchSeq, RaftId};
use raft::eraftpb::MessageType;
use storage::{Done, Needed, SnapshotMeta, StorageError};

/// The parts of T in which time passes.
const STEP_NS: u64 = 20_000_000;

pub(super) struct Trio {
    pub shards: Vec<Shard<RealDisk>>,
    pub clock: Hand,
    /// What has been sent and not been delivered.
    pub wires: Vec<Envelope>,
    /// Batches that each member has declared lost.
    pub failed: [Vec<RangeInclusive<BatchSeq>>; 3],
    pub released: [Gate; 3],
    /// The disks make no reads.
    pub hold_reads: bool,
    /// Nor do they replace a base, or do what comes behind that.
    pub hold_switches: bool,
    /// The threads of snapshots stand still.
    pub hold_snapshots: bool,
    /// Members whose disks have room for no more log.
    pub full: [bool; 3],
    held: [Vec<Job<RealDisk>>; 3],
    _folders: Vec<tempfile::TempDir>,
}

impl Trio {
    /// Three voters, the first of which leads.
    pub fn led() -> Trio {
        Trio::led_with(config(SyncPolicy::Always))
    }

    pub fn led_with(config: ShardConfig) -> Trio {
        let clock = Hand(Cell::new(1));
        let folders: Vec<_> = (0..3)
            .map(|_| tempfile::tempdir().expect("a folder"))
            .collect();
        let shard = |i: u64| {
            let disk = RealDisk::new(folders[i as usize].path());
            let mut base = base();
            base.identity.raft_id = RaftId(i + 1);
            base.snapshot.conf_state = ConfState::from((vec![1, 2, 3], vec![]));
            let config = ShardConfig {
                first: i == 0,
                ..config.clone()
            };
            bootstrap(disk.clone(), config.log.clone(), &base).expect("a group can be founded");
            let logger = slog::Logger::root(slog::Discard, slog::o!());
            Shard::open(disk, config, clock.now(), &logger).expect("a shard opens")
        };
        let mut trio = Trio {
            shards: (0..3).map(shard).collect(),
            clock,
            wires: Vec::new(),
            failed: Default::default(),
            released: [Gate::OPEN; 3],
            hold_reads: false,
            hold_switches: false,
            hold_snapshots: false,
            full: [false; 3],
            held: Default::default(),
            _folders: folders,
        };
        trio.until(|t| t.shards[0].admission() == Admission::Lead { writable: true });
        trio
    }

    /// Does what was held of this member; nobody hears what comes of it.
    pub fn run_held(&mut self, of: usize) {
        for job in std::mem::take(&mut self.held[of]) {
            drop(job.run());
        }
    }

    /// Rounds in which everything is delivered.
    pub fn until(&mut self, reached: impl FnMut(&mut Trio) -> bool) {
        self.until_through(|_| true, reached);
    }

    /// Rounds in which only what `passes` is delivered.
    pub fn until_through(
        &mut self,
        passes: impl Fn(&Envelope) -> bool,
        mut reached: impl FnMut(&mut Trio) -> bool,
    ) {
        for _ in 0..2_000 {
            self.clock.0.set(self.clock.0.get() + STEP_NS);
            let mut wires = std::mem::take(&mut self.wires);
            wires.retain(&passes);
            for i in 0..3 {
                let to = i as u64 + 1;
                let (mine, others) = wires.into_iter().partition(|e| e.to == RaftId(to));
                wires = others;
                self.turn(i, mine, |_| {});
            }
            if reached(self) {
                return;
            }
        }
        panic!("it was never reached");
    }

    /// One turn of a member, and its jobs.
    pub fn turn(
        &mut self,
        i: usize,
        messages: Vec<Envelope>,
        execute: impl FnOnce(&mut Shard<RealDisk>),
    ) {
        let (shard, clock) = (&mut self.shards[i], &self.clock);
        for envelope in messages {
            shard.step(clock.now(), envelope).expect("it is stepped");
        }
        shard.begin(clock.now()).expect("a turn begins");
        execute(shard);
        shard.finish(clock).expect("a turn ends");
        shard.walk_snapshot(clock);
        loop {
            let output = shard.take_output();
            self.wires.extend(output.messages);
            self.failed[i].extend(output.failed);
            self.released[i] = output.released;
            self.held[i].extend(output.jobs);
            let hold = |job: &Job<RealDisk>| match job {
                Job::Read(_) => self.hold_reads || self.hold_switches,
                Job::Switch(_) | Job::Slice(_) | Job::Trim(_) => self.hold_switches,
                Job::Snapshot(_) => self.hold_snapshots,
                _ => false,
            };
            let jobs = std::mem::take(&mut self.held[i]);
            let (held, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(hold);
            self.held[i] = held;
            let full = || {
                let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Done::Allocated(Err(StorageError::io("allocate", "x")(error)))
            };
            let run = |job: Job<RealDisk>| match job {
                Job::Alloc(_) if self.full[i] => Some(full()),
                job => job.run(),
            };
            let done: Vec<_> = jobs.into_iter().filter_map(run).collect();
            if done.is_empty() {
                return;
            }
            for done in done {
                let taken = shard.job_done(clock.now(), done);
                taken.expect("a job is taken in");
            }
            shard.begin(clock.now()).expect("a turn begins");
            shard.finish(clock).expect("a turn ends");
            shard.walk_snapshot(clock);
        }
    }

    /// The first member writes; its appends reach the second one cut to `entries` entries, and the
    /// third not at all. Then it is alone until another one leads, and learns what became of it.
    pub fn lose_all_but(&mut self, entries: usize, write: impl FnOnce(&mut Shard<RealDisk>)) {
        let at_rest = |t: &mut Trio| {
            let ends = |s: &Shard<RealDisk>| (s.group().last_index(), s.group().applied());
            t.shards.iter().all(|s| ends(s) == ends(&t.shards[0]))
        };
        self.until(at_rest);
        self.wires.clear();
        let end = self.shards[0].group().last_index() + entries as u64;
        self.turn(0, Vec::new(), write);
        let is_append = |e: &Envelope| e.message.get_msg_type() == MessageType::MsgAppend;
        loop {
            let mut cut = std::mem::take(&mut self.wires);
            cut.retain(|e| e.to == RaftId(2) && is_append(e));
            for envelope in &mut cut {
                let fits = end.saturating_sub(envelope.message.index);
                envelope.message.mut_entries().truncate(fits as usize);
            }
            self.turn(1, cut, |_| {});
            if self.shards[1].group().last_index() == end {
                break;
            }
            // A large append comes in several messages.
            let answers = std::mem::take(&mut self.wires);
            self.turn(0, answers, |_| {});
        }
        self.learn_of_the_loss();
        self.until(at_rest);
        self.until(|t| !t.shards[0].is_loading());
    }

    /// The same, up to the loss: what the first member had executed reaches nobody, and its keyspace is
    /// being made anew.
    pub fn lose_all_but_open(&mut self, write: impl FnOnce(&mut Shard<RealDisk>)) {
        self.wires.clear();
        self.turn(0, Vec::new(), write);
        self.learn_of_the_loss();
    }

    fn learn_of_the_loss(&mut self) {
        let apart = |e: &Envelope| e.from != RaftId(1) && e.to != RaftId(1);
        self.wires.retain(apart);
        self.until_through(apart, |t| {
            let mut others = t.shards[1..].iter();
            others.any(|shard| shard.group().is_leader())
        });
        self.until(|t| t.shards[0].tail_len() == 0);
    }

    /// The member's folder is opened anew under the same name, as its server does it.
    pub fn reopen(&mut self, i: usize) {
        let disk = RealDisk::new(self._folders[i].path());
        let config = self.shards[i].config.clone();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let shard = Shard::open(disk, config, self.clock.now(), &logger);
        let mut shard = shard.expect("a shard opens");
        shard.succeed(&mut self.shards[i]);
        self.shards[i] = shard;
    }

    /// A file of the first member's folder is in another one's too.
    pub fn give(&self, name: &str, to: usize) {
        let [from, to] = [0, to].map(|i| self._folders[i].path().join(name));
        std::fs::copy(from, to).expect("a sound disk");
    }

    /// Files of states in a member's folder.
    pub fn states(&self, of: usize) -> Vec<String> {
        let names = RealDisk::new(self._folders[of].path()).list();
        let names = names.expect("a folder").into_iter();
        names.filter(|name| name.starts_with("snapshot-")).collect()
    }

    /// The first member's state as it is, with its file.
    fn state_of_first(&self) -> SnapshotMeta {
        let shard = &self.shards[0];
        let mut snapshot = shard.state_now().expect("nothing is open");
        let disk = RealDisk::new(self._folders[0].path());
        let file = write_snapshot(&disk, shard.data().keyspace(), snapshot.entry());
        snapshot.file = Some(file.expect("a sound disk"));
        snapshot
    }

    /// The switch to the first member's state as it is has been ordered.
    pub fn second_base_of_first(&mut self) {
        let snapshot = self.state_of_first();
        let now = self.clock.now();
        let shard = &mut self.shards[0];
        shard.look_at_log_end(true);
        let taken = shard.job_done(now, made(snapshot));
        taken.expect("it is taken in");
        self.turn(0, Vec::new(), |_| {});
        let switches = |job: &Job<RealDisk>| matches!(job, Job::Switch(_));
        assert!(self.held[0].iter().any(switches));
    }

    /// The first member's base names the state as it is.
    pub fn base_of_first(&mut self) {
        let snapshot = self.state_of_first();
        let shard = &mut self.shards[0];
        let job = shard
            .log
            .switch_job(&snapshot, shard.group.applied(), Needed::NOTHING);
        let switched = job.expect("it is durable").run().expect("a sound disk");
        let now = self.clock.now();
        shard.switched(now, switched);
        assert_eq!(shard.snapshot_meta(), &snapshot);
    }

    /// What became of replies behind this gate at the first member: whether they were released as
    /// they are.
    pub fn is_ok(&self, gate: Gate) -> bool {
        assert!(gate.batch <= self.released[0].batch, "it is decided");
        !self.failed[0].iter().any(|r| r.contains(&gate.batch))
    }
}
