//! Two holders and a member behind the log, over a network that loses, doubles and reorders what is said, with
//! links that are cut, holders that start anew, files that go, leaders that change, disks that are full.

use super::*;
use crate::transfer::receive::{self, Phase, WINDOW};
use crate::transfer::send;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use storage::PieceRead;

const MS: u64 = 1_000_000;
/// Faults end then.
const HEALS: u64 = 20_000 * MS;
const ENDS: u64 = 200_000 * MS;
const TICK: u64 = 250 * MS;
/// The one that lacks the state.
const R: usize = 2;

fn node_of(n: usize) -> NodeId {
    node(b"ABR"[n])
}

/// What the file with this checksum holds.
fn content(crc64: u64, of: u64, offset: u64) -> Vec<u8> {
    let length = (of - offset).min(PIECE);
    let byte = (crc64 ^ (offset / PIECE)) as u8;
    vec![byte; usize::try_from(length).unwrap()]
}

#[derive(Clone, Debug)]
enum Happens {
    Arrives {
        from: usize,
        to: usize,
        message: Message,
    },
    Read {
        holder: usize,
        boot: u64,
        want: Want,
    },
    Disk(Work),
    Installed(EntryId),
    Tick,
}

#[derive(Clone, Debug)]
enum Work {
    Write {
        pull: u64,
        of: TransferFile,
        offset: u64,
        bytes: Vec<u8>,
    },
    Check {
        pull: u64,
        of: TransferFile,
    },
    Abandon {
        of: TransferFile,
    },
}

struct Holder {
    sender: Sender,
    base: Base,
    first: u64,
    boot: u64,
    /// Since its start: when that was, and how many bytes have left.
    sent: (u64, u64),
    /// Raft probes until then.
    behind_at: u64,
    /// It reads in order, one piece after the other.
    disk_free_at: u64,
}

struct World {
    rng: StdRng,
    now: u64,
    events: BTreeMap<(u64, u64), Happens>,
    count: u64,
    holders: [Holder; 2],
    leader: Option<usize>,
    term: u64,
    rate: u64,
    /// Nothing is doubled, nothing overtakes.
    is_calm: bool,
    /// Links are cut until then.
    cut: [u64; 2],
    forsaken: bool,
    last_arrival: BTreeMap<(usize, usize), u64>,
    /// Pieces of a file on their way from a holder.
    travelling: BTreeMap<(usize, u64), usize>,
    receiver: Receiver,
    commit: EntryId,
    installing: bool,
    /// Unfinished files: the pieces that are there, of which file.
    parts: BTreeMap<u64, BTreeSet<u64>>,
    named: BTreeSet<u64>,
    disk_free_at: u64,
    full_until: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let bytes = rng.gen_range(1..9) * PIECE - rng.gen_range(0..PIECE);
        let same = rng.gen_bool(0.5);
        let rates = [0, 0, PIECE, 3 * PIECE, 20 * PIECE];
        let holder = |n: u64| Holder {
            sender: Sender::default(),
            base: base_at(100, if same { 7 } else { 7 + n }, bytes),
            first: 101 - 30 * n,
            boot: 0,
            sent: (0, 0),
            behind_at: 0,
            disk_free_at: 0,
        };
        World {
            now: 0,
            events: BTreeMap::new(),
            count: 0,
            holders: [holder(0), holder(1)],
            leader: Some(0),
            term: 7,
            rate: rates[rng.gen_range(0..rates.len())],
            is_calm: rng.gen_bool(0.3),
            cut: [0; 2],
            forsaken: false,
            last_arrival: BTreeMap::new(),
            travelling: BTreeMap::new(),
            receiver: Receiver::default(),
            commit: at(5),
            installing: false,
            parts: BTreeMap::new(),
            named: BTreeSet::new(),
            disk_free_at: 0,
            full_until: 0,
            rng,
        }
    }

    fn at(&mut self, time: u64, happens: Happens) {
        self.count += 1;
        self.events.insert((time, self.count), happens);
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        let holder = a.min(b);
        self.forsaken || self.now < self.cut[holder]
    }

    // ---- the network ----------------------------------------------------------------------

    fn send(&mut self, from: usize, to: NodeId, message: Message) {
        let Some(to) = (0..3).find(|n| node_of(*n) == to) else {
            panic!("to a stranger");
        };
        let faulty = self.now < HEALS;
        if self.is_cut(from, to) || (faulty && self.rng.gen_bool(0.05)) {
            return;
        }
        let mut copies = 1;
        if faulty && !self.is_calm && self.rng.gen_bool(0.05) {
            copies = 2;
        }
        for _ in 0..copies {
            let slow = faulty && !self.is_calm && self.rng.gen_bool(0.02);
            let delay = self.rng.gen_range(1..20) * if slow { 100 } else { 1 };
            let mut arrives = self.now + delay * MS;
            if self.is_calm {
                let last = self.last_arrival.entry((from, to)).or_default();
                arrives = arrives.max(*last);
                *last = arrives;
            }
            if let Message::Piece { of, .. } = &message {
                let travelling = self.travelling.entry((from, of.crc64)).or_default();
                *travelling += 1;
                assert!(!self.is_calm || *travelling <= WINDOW, "more than 1 MiB");
            }
            let message = message.clone();
            self.at(arrives, Happens::Arrives { from, to, message });
        }
    }

    fn arrive(&mut self, from: usize, to: usize, mut message: Message) {
        if let Message::Piece { of, .. } = &message {
            *self.travelling.get_mut(&(from, of.crc64)).expect("sent") -= 1;
        }
        if self.is_cut(from, to) {
            return;
        }
        if let Message::Piece { bytes, .. } = &mut message {
            if self.now < HEALS && self.rng.gen_bool(0.03) {
                bytes[0] ^= 64;
            }
        }
        let from = node_of(from);
        match message {
            Message::Offer { term, first, base } => self.receive(receive::Event::Offer {
                from,
                term,
                first,
                base,
            }),
            Message::Piece {
                of,
                offset,
                crc32c,
                bytes,
                ..
            } => self.receive(receive::Event::Piece {
                from,
                of,
                offset,
                crc32c,
                bytes,
            }),
            Message::NoState { of, .. } => self.receive(receive::Event::NoState { from, of }),
            Message::Pull {
                of,
                raft_id,
                offset,
            } => {
                let event = send::Event::Pull {
                    from,
                    of,
                    raft_id,
                    offset,
                };
                self.give(to, event);
            }
            Message::Pulling {
                raft_id,
                at,
                received,
                ..
            } => {
                let event = send::Event::Pulling {
                    from,
                    raft_id,
                    at,
                    received,
                };
                self.give(to, event);
            }
            Message::HasState { raft_id, at, .. } => {
                self.give(to, send::Event::HasState { from, raft_id, at });
            }
        }
    }

    // ---- the two machines -----------------------------------------------------------------

    fn give(&mut self, n: usize, event: send::Event) {
        let leads = self.leader == Some(n);
        let (commit, now) = (self.commit.index, self.now);
        let holder = &mut self.holders[n];
        let is_behind = leads && commit + 1 < holder.first && now >= holder.behind_at;
        let behind: &[(RaftId, NodeId)] = &[(ME, node_of(R))];
        let facts = send::Facts {
            now: Mono(now),
            t: T,
            group: GROUP,
            term: self.term,
            base: &holder.base,
            first: holder.first,
            behind: if is_behind { behind } else { &[] },
            may_pull: &|id, node| (id, node) == (ME, node_of(R)),
            rate: self.rate,
        };
        for output in holder.sender.step(event, &facts) {
            match output {
                send::Output::Tell { to, message } => {
                    if let Message::Piece { bytes, .. } = &message {
                        self.keeps_rate(n, bytes.len() as u64);
                    }
                    self.send(n, to, message);
                }
                send::Output::Read { want, .. } => {
                    let boot = self.holders[n].boot;
                    let takes = self.rng.gen_range(1..5) * MS;
                    let free_at = &mut self.holders[n].disk_free_at;
                    *free_at = (*free_at).max(self.now) + takes;
                    let (at, holder) = (*free_at, n);
                    self.at(at, Happens::Read { holder, boot, want });
                }
                send::Output::Report { has_it, .. } => {
                    let holder = &mut self.holders[n];
                    // Raft probes, and asks for the state again if that was no help.
                    holder.behind_at = self.now + self.rng.gen_range(1..300) * MS;
                    let helps = self.commit.index + 1 >= holder.first;
                    assert!(helps || !has_it, "it was said to have what it lacks");
                }
                send::Output::Warn(_) => {}
            }
        }
    }

    fn keeps_rate(&mut self, n: usize, bytes: u64) {
        let (since, sent) = &mut self.holders[n].sent;
        *sent += bytes;
        let may = self.rate * (self.now - *since + 10 * MS) / (1000 * MS) + PIECE;
        assert!(self.rate == 0 || *sent <= may, "{sent} bytes, {may} may");
    }

    fn read(&mut self, n: usize, boot: u64, want: Want) {
        let holder = &self.holders[n];
        if holder.boot != boot {
            return;
        }
        let file = holder.base.snapshot.file.expect("it has a state");
        let result = match StateName::of(GROUP, &holder.base.snapshot) == Some(want.of) {
            true => {
                let bytes = content(file.crc64, file.bytes, want.offset);
                let crc32c = crc32c::crc32c(&bytes);
                Ok(PieceRead { bytes, crc32c })
            }
            false => Err(Fault::Bad("no such file".to_owned())),
        };
        self.give(n, send::Event::Read { want, result });
    }

    fn receive(&mut self, event: receive::Event) {
        let commit = self.commit;
        let facts = receive::Facts {
            now: Mono(self.now),
            t: T,
            group: GROUP,
            me: ME,
            term: self.term,
            leader: self.leader.map(node_of),
            commit,
            lacks: &|at| at.index > commit.index,
            is_installing: self.installing,
        };
        for output in self.receiver.step(event, &facts) {
            let work = match output {
                receive::Output::Tell { to, message } => {
                    self.send(R, to, message);
                    continue;
                }
                receive::Output::Install(snapshot) => {
                    let crc64 = snapshot.file.expect("a state").crc64;
                    assert!(self.named.contains(&crc64), "it is whole");
                    assert!(!self.installing, "once");
                    self.installing = true;
                    let takes = self.rng.gen_range(1..400) * MS;
                    self.at(self.now + takes, Happens::Installed(snapshot.entry()));
                    continue;
                }
                receive::Output::Warn(_) => continue,
                receive::Output::Write {
                    pull,
                    of,
                    offset,
                    bytes,
                } => {
                    let want = content(of.file.crc64, of.file.bytes, offset);
                    assert!(bytes == want, "a piece that is none is written");
                    Work::Write {
                        pull,
                        of,
                        offset,
                        bytes,
                    }
                }
                receive::Output::Check { pull, of } => Work::Check { pull, of },
                receive::Output::Abandon { of } => Work::Abandon { of },
            };
            assert!(self.receiver.open_pieces() <= WINDOW, "more than 1 MiB");
            // In order, one after the other.
            let takes = self.rng.gen_range(1..6) * MS;
            self.disk_free_at = self.disk_free_at.max(self.now) + takes;
            self.at(self.disk_free_at, Happens::Disk(work));
        }
    }

    fn work(&mut self, work: Work) {
        let full = self.now < self.full_until;
        let fault = || Err(Fault::Full("the disk is full".to_owned()));
        match work {
            Work::Write {
                pull,
                of,
                offset,
                bytes,
            } => {
                let result = if full {
                    fault()
                } else {
                    assert!(!bytes.is_empty());
                    self.parts.entry(of.file.crc64).or_default().insert(offset);
                    Ok(())
                };
                self.receive(receive::Event::Written {
                    pull,
                    offset,
                    result,
                });
            }
            Work::Check { pull, of } => {
                let result = if full {
                    fault()
                } else {
                    let part = self.parts.remove(&of.file.crc64).expect("a part");
                    let pieces = of.file.bytes.div_ceil(PIECE);
                    assert_eq!(part.len() as u64, pieces, "it is complete");
                    self.named.insert(of.file.crc64);
                    Ok(())
                };
                self.receive(receive::Event::Checked { pull, result });
            }
            Work::Abandon { of } => {
                self.parts.remove(&of.file.crc64);
            }
        }
    }

    // ---- time -----------------------------------------------------------------------------

    fn fault(&mut self) {
        let n = self.rng.gen_range(0..2);
        let seconds = |world: &mut World, most: u64| {
            let long = world.rng.gen_range(100..most * 1000);
            world.now + long * MS
        };
        match self.rng.gen_range(0..100) {
            0..=5 => self.cut[n] = seconds(self, 4),
            6..=7 => self.cut = [seconds(self, 14); 2],
            8..=10 => {
                let boot = self.holders[n].boot + 1;
                (self.holders[n].sender, self.holders[n].boot) = (Sender::default(), boot);
                self.holders[n].sent = (self.now, 0);
            }
            11..=12 => {
                // Its state moves on, and the file before it goes.
                let snapshot = &mut self.holders[n].base.snapshot;
                snapshot.index += 50;
                let file = snapshot.file.as_mut().expect("a state");
                file.crc64 = self.count + 1000;
                file.bytes = self.rng.gen_range(1..9) * PIECE;
                let back = self.rng.gen_range(0..80);
                let index = snapshot.index;
                let first = self.holders[n].first;
                self.holders[n].first = first.max(index + 1 - back);
            }
            13..=16 => {
                self.leader = [None, Some(0), Some(1)][self.rng.gen_range(0..3)];
                self.term += 1;
            }
            17..=18 => self.full_until = seconds(self, 6),
            _ => {}
        }
    }

    fn tick(&mut self) {
        if self.now < HEALS {
            self.fault();
        } else if self.leader.is_none() {
            (self.leader, self.term) = (Some(0), self.term + 1);
        }
        self.turn();
        self.at(self.now + TICK, Happens::Tick);
    }

    fn turn(&mut self) {
        for n in 0..2 {
            self.give(n, send::Event::Turn);
        }
        self.receive(receive::Event::Turn);
    }

    /// The next time at which something happens, or a machine wants a turn.
    fn step(&mut self) {
        let senders = self.holders.iter().map(|h| h.sender.deadline());
        let due = senders.chain([self.receiver.deadline()]).flatten().min();
        let (&(time, count), _) = self.events.first_key_value().expect("a tick");
        if let Some(Mono(due)) = due.filter(|due| due.0 < time && due.0 > self.now) {
            self.now = due;
            return self.turn();
        }
        self.now = self.now.max(time);
        match self.events.remove(&(time, count)).expect("the first one") {
            Happens::Arrives { from, to, message } => self.arrive(from, to, message),
            Happens::Read { holder, boot, want } => self.read(holder, boot, want),
            Happens::Disk(work) => self.work(work),
            Happens::Installed(at) => {
                (self.installing, self.commit) = (false, at);
            }
            Happens::Tick => self.tick(),
        }
    }

    /// Whether the leader knows that its log goes on from what the member has.
    fn is_brought_up(&self) -> bool {
        let leader = self.leader.map(|n| &self.holders[n]);
        leader.is_some_and(|l| self.commit.index + 1 >= l.first)
    }

    fn rests(&self) -> bool {
        let is_idle = matches!(self.receiver.phase(), Phase::Idle);
        is_idle && self.parts.is_empty() && !self.installing
    }
}

/// A member that is brought up in the end, whatever has happened.
fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    world.at(0, Happens::Tick);
    while !(world.is_brought_up() && world.rests() && world.now > HEALS) {
        assert!(world.now < ENDS, "seed {seed}: it is not brought up");
        world.step();
    }
    world.commit.index
}

#[test]
fn a_bad_network_brings_a_member_up_in_the_end() {
    let mut indexes = BTreeSet::new();
    for seed in 0..4000 {
        indexes.insert(run(seed));
    }
    assert!(indexes.len() > 5, "{indexes:?}");
}

/// Every node that has a state goes for good.
#[test]
fn a_member_that_is_forsaken_keeps_no_part() {
    let mut given_up = 0;
    for seed in 0..500 {
        let mut world = World::new(seed);
        world.rate = PIECE;
        world.at(0, Happens::Tick);
        let goes_at = world.rng.gen_range(0..6000) * MS;
        while world.now < goes_at {
            world.step();
        }
        world.forsaken = true;
        given_up += u64::from(world.receiver.progress().is_some());
        while world.now < goes_at + 90_000 * MS {
            world.step();
        }
        assert!(world.rests(), "seed {seed}: {:?}", world.receiver.phase());
    }
    assert!(given_up > 50, "{given_up}");
}
