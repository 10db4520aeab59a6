//! P15, P16: a leader offers its state to members behind its log, and any member gives pieces of its state's
//! file, as a pure machine.
//!
//! Owns what was offered to which member, which pieces are wanted, and how fast they leave. Never: a shard, a
//! disk, a clock or a link; events and [`Facts`] go in, [`Output`]s come out.
//!
//! Invariants: Raft is told how every offer ended, or makes an end of it itself; at most [`WINDOW`] pieces a
//! member are wanted at once and [`READS`] are read at once; `rate` bytes a second leave, and not more.

use super::message::{Message, StateName};
use super::receive::{Fault, PATIENCE, WINDOW};
use base::clock::Mono;
use base::ids::{EntryId, GroupId, RaftId};
use cluster_bus::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use storage::base::Base;
use storage::{PieceRead, TransferFile};

/// Pieces that are read at once, whichever members they are for: 4 MiB.
pub(super) const READS: usize = 16;
/// Pieces that wait to be read.
const WAITING: usize = 256;
/// A member that has all of a state is offered it so many times in T: what tells that it stands there.
const LOOKS: u32 = 10;
/// A loop that was late by so much may make up for it.
const SLACK: Duration = Duration::from_millis(10);

/// What the machine looks at.
pub(super) struct Facts<'a> {
    pub now: Mono,
    /// T.
    pub t: Duration,
    pub group: GroupId,
    pub term: u64,
    /// The own base, and the log's first index.
    pub base: &'a Base,
    pub first: u64,
    /// P15: the members that this leader can bring up by a state alone, and their nodes; none if it does not
    /// lead.
    pub behind: &'a [(RaftId, NodeId)],
    /// Whether the node speaks for that member of the group, or for one that was accepted into it.
    pub may_pull: &'a dyn Fn(RaftId, NodeId) -> bool,
    /// `repl-snapshot-rate`, bytes a second; 0: no limit.
    pub rate: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Turn,
    Pull {
        from: NodeId,
        of: StateName,
        raft_id: RaftId,
        offset: u64,
    },
    Pulling {
        from: NodeId,
        raft_id: RaftId,
        at: EntryId,
        received: u64,
    },
    HasState {
        from: NodeId,
        raft_id: RaftId,
        at: EntryId,
    },
    Read {
        want: Want,
        result: Result<PieceRead, Fault>,
    },
    /// The folder was opened anew: what was under way in it never ends.
    Anew,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    Tell {
        to: NodeId,
        message: Message,
    },
    Read {
        want: Want,
        file: TransferFile,
    },
    /// P15: how an offer ended.
    Report {
        raft_id: RaftId,
        has_it: bool,
    },
    Warn(String),
}

/// A piece that a member wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub raft_id: RaftId,
    pub node: NodeId,
    pub of: StateName,
    pub offset: u64,
}

/// What a member behind the log was offered.
#[derive(Debug)]
struct Offered {
    again_at: Mono,
    /// The most that has come there, of the state as of that entry.
    received: (EntryId, u64),
    /// The highest piece that it has asked for.
    asked: Option<(StateName, u64)>,
    progress_at: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Sender {
    offers: BTreeMap<RaftId, Offered>,
    /// Members that have got the state, and need more of the log than is kept for one: up to where they have it,
    /// and since when.
    given: BTreeMap<RaftId, (u64, Mono)>,
    /// What a member was given last, and how often another state has taken the place of one before the log had
    /// brought the member up.
    again: BTreeMap<RaftId, (StateName, u32)>,
    waiting: VecDeque<Want>,
    reading: Vec<Want>,
    /// When the rate admits the next piece.
    ready_at: Mono,
}

impl Sender {
    /// When [`Event::Turn`] is due.
    pub fn deadline(&self) -> Option<Mono> {
        let offers = self.offers.values();
        let offers = offers.map(|o| o.again_at.min(o.progress_at + PATIENCE));
        let reads =
            (!self.waiting.is_empty() && self.reading.len() < READS).then_some(self.ready_at);
        offers.chain(reads).min()
    }

    /// Whether a member is getting the state, or the log behind it: something of it was asked for, or has come
    /// there, lately. A state is of no use where the log does not go on from it. `matched`: up to where a member
    /// has the log, if that is more than is kept for one. What comes back is how often such a member was given another one in vain.
    pub fn gives(&mut self, now: Mono, matched: &dyn Fn(RaftId) -> Option<u64>) -> Option<u32> {
        self.given.retain(|raft_id, (before, progress_at)| {
            let matched = matched(*raft_id);
            if matched.is_some_and(|index| index > *before) {
                (*before, *progress_at) = (matched.unwrap_or_default(), now);
            }
            matched.is_some() && now.since(*progress_at) < PATIENCE
        });
        let (offers, given) = (&self.offers, &self.given);
        self.again
            .retain(|id, _| offers.contains_key(id) || given.contains_key(id));
        let asked = |o: &Offered| o.asked.is_some() && now.since(o.progress_at) < PATIENCE;
        let gets = |id: &RaftId| given.contains_key(id) || offers.get(id).is_some_and(asked);
        let times = self.again.iter().filter(|(id, _)| gets(id));
        let times = times.map(|(_, (_, again))| *again).max();
        let gives = !given.is_empty() || offers.values().any(asked);
        gives.then(|| times.unwrap_or(0))
    }

    /// Takes a step.
    pub fn step(&mut self, event: Event, facts: &Facts) -> Vec<Output> {
        let mut out = Vec::new();
        match event {
            Event::Turn => self.offer(facts, &mut out),
            Event::Pull {
                from,
                of,
                raft_id,
                offset,
            } => {
                let want = Want {
                    raft_id,
                    node: from,
                    of,
                    offset,
                };
                self.on_pull(want, facts, &mut out);
            }
            Event::Pulling {
                from,
                raft_id,
                at,
                received,
            } => self.on_pulling(from, raft_id, (at, received), facts),
            Event::HasState { from, raft_id, at } => {
                self.on_has_state(from, raft_id, at, facts, &mut out);
            }
            Event::Read { want, result } => self.on_read(want, result, facts, &mut out),
            Event::Anew => self.reading.clear(),
        }
        self.read(facts, &mut out);
        out
    }

    /// Every T, to each member that needs it. One that does not move has failed: Raft looks where it is now.
    fn offer(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        let behind = |id: &RaftId| facts.behind.iter().any(|(behind, _)| behind == id);
        for (raft_id, offered) in &self.offers {
            if !behind(raft_id) && offered.asked.is_some() {
                self.given.insert(*raft_id, (0, facts.now));
            }
        }
        self.offers.retain(|id, _| behind(id));
        if StateName::of(facts.group, &facts.base.snapshot).is_none() {
            return self.offers.clear(); // there is nothing to offer, and nothing is due
        }
        for (raft_id, node) in facts.behind {
            let offered = self.offers.entry(*raft_id).or_insert(Offered {
                again_at: facts.now,
                received: Default::default(),
                asked: None,
                progress_at: facts.now,
            });
            if facts.now.since(offered.progress_at) >= PATIENCE {
                self.offers.remove(raft_id);
                let (raft_id, has_it) = (*raft_id, false);
                out.push(Output::Report { raft_id, has_it });
                continue;
            }
            if facts.now < offered.again_at {
                continue;
            }
            offered.again_at = facts.now + facts.t;
            let message = offer_for(*raft_id, facts);
            out.push(Output::Tell { to: *node, message });
        }
    }

    fn on_pulling(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        received: (EntryId, u64),
        facts: &Facts,
    ) {
        let bytes = facts.base.snapshot.file.map_or(0, |file| file.bytes);
        if let Some(offered) = self.offered(from, raft_id, facts) {
            // All of it is there: it is being checked, or takes the log's place.
            let is_all = received == (facts.base.snapshot.entry(), bytes);
            let other = received.0 != offered.received.0;
            if other || received.1 > offered.received.1 || is_all {
                (offered.received, offered.progress_at) = (received, facts.now);
            }
            if is_all {
                let soon = facts.now + facts.t / LOOKS;
                offered.again_at = offered.again_at.min(soon);
            }
        }
    }

    fn on_has_state(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        at: EntryId,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        let reaches = at.index.saturating_add(1) >= facts.first;
        if reaches && self.offered(from, raft_id, facts).is_some() {
            self.offers.remove(&raft_id);
            self.given.insert(raft_id, (0, facts.now));
            let has_it = true;
            out.push(Output::Report { raft_id, has_it });
        }
    }

    fn offered(&mut self, from: NodeId, raft_id: RaftId, facts: &Facts) -> Option<&mut Offered> {
        let is_behind = facts.behind.contains(&(raft_id, from));
        self.offers.get_mut(&raft_id).filter(|_| is_behind)
    }

    fn on_pull(&mut self, want: Want, facts: &Facts, out: &mut Vec<Output>) {
        if !(facts.may_pull)(want.raft_id, want.node) {
            return;
        }
        let Some(file) = held(want.of, facts) else {
            return out.push(no_state(want));
        };
        if file.piece_at(want.offset).is_none() {
            return; // no file has a piece there
        }
        let of_member = |w: &&Want| w.raft_id == want.raft_id;
        let mine = self.waiting.iter().chain(&self.reading).filter(of_member);
        if mine.clone().any(|w| *w == want) || mine.count() >= WINDOW {
            return;
        }
        if self.waiting.len() >= WAITING {
            return; // it asks again
        }
        self.waiting.push_back(want);
        if let Some(offered) = self.offered(want.node, want.raft_id, facts) {
            let farther = offered
                .asked
                .is_none_or(|(of, offset)| of != want.of || offset < want.offset);
            if farther {
                offered.asked = Some((want.of, want.offset));
                offered.progress_at = facts.now;
            }
            let (of, again) = self.again.entry(want.raft_id).or_insert((want.of, 0));
            if *of != want.of {
                (*of, *again) = (want.of, *again + 1);
                out.push(Output::Warn(format!(
                    "Member {} is given another state, for the log went on faster than the last one; this one is kept \
                     for twice as long",
                    want.raft_id.0
                )));
            }
        }
    }

    /// Orders reads as fast as the rate admits.
    fn read(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        while self.reading.len() < READS {
            if facts.rate > 0 && facts.now < self.ready_at {
                return;
            }
            let Some(want) = self.waiting.pop_front() else {
                return;
            };
            let Some(file) = held(want.of, facts) else {
                out.push(no_state(want));
                continue;
            };
            let bytes = file.piece_at(want.offset).expect("it was looked at");
            self.ready_at = match facts.rate {
                0 => Mono(0),
                rate => {
                    let slack = u64::try_from(SLACK.as_nanos()).expect("it is short");
                    let from = self.ready_at.0.max(facts.now.0.saturating_sub(slack));
                    Mono(from.saturating_add(bytes.saturating_mul(1_000_000_000) / rate))
                }
            };
            self.reading.push(want);
            out.push(Output::Read { want, file });
        }
    }

    fn on_read(
        &mut self,
        want: Want,
        result: Result<PieceRead, Fault>,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        let Some(at) = self.reading.iter().position(|w| *w == want) else {
            return;
        };
        self.reading.swap_remove(at);
        if !(facts.may_pull)(want.raft_id, want.node) {
            return;
        }
        match result {
            Ok(PieceRead { bytes, crc32c }) => out.push(Output::Tell {
                to: want.node,
                message: Message::Piece {
                    of: want.of,
                    raft_id: want.raft_id,
                    offset: want.offset,
                    crc32c,
                    bytes,
                },
            }),
            // D5: it asks again.
            Err(Fault::Full(why)) => out.push(Output::Warn(format!("A piece waits: {why}"))),
            Err(Fault::Bad(why)) => {
                out.push(Output::Warn(format!("A state can't be given: {why}")));
                out.push(no_state(want));
            }
        }
    }
}

/// The leader's base, with the id of the member that is to begin with it; where a log begins says nothing to
/// another disk.
fn offer_for(raft_id: RaftId, facts: &Facts) -> Message {
    let mut base = Box::new(facts.base.clone());
    base.identity.raft_id = raft_id;
    base.start = None;
    Message::Offer {
        term: facts.term,
        first: facts.first,
        base,
    }
}

/// The file of this name, if it is the one that the own base names.
fn held(of: StateName, facts: &Facts) -> Option<TransferFile> {
    let snapshot = &facts.base.snapshot;
    let own = StateName::of(facts.group, snapshot)?;
    let (at, file) = (snapshot.entry(), snapshot.file?);
    (own == of).then_some(TransferFile { at, file })
}

fn no_state(want: Want) -> Output {
    Output::Tell {
        to: want.node,
        message: Message::NoState {
            of: want.of,
            raft_id: want.raft_id,
        },
    }
}
