//! P15-P17: a member that lacks a state gets its file, as a pure machine.
//!
//! Owns which file is pulled from which node, what is asked for, and when that ends. Never: a shard, a disk, a
//! clock or a link. Events and [`Facts`] go in, [`Output`]s come out, and the cluster core carries them out in
//! order.
//!
//! ```text
//! Idle      an offer that helps             Pulling
//! Pulling   all pieces are in the part      Checking
//! Checking  it has a snapshot's name        Whole
//! Whole     the state stands in the base    Idle
//! Pulling   nothing comes for 10 s, no node has it, the log has it meanwhile, another is needed    Idle
//! Pulling, Checking   the disk fails or is full, or it is another file     Resting, then Idle
//! ```
//!
//! Invariants: at most [`WINDOW`] pieces are asked for and not written; a part that is not pulled any more is
//! abandoned; a late answer of an earlier pull counts for nothing.

use super::message::{Message, StateName};
use base::clock::Mono;
use base::ids::{EntryId, GroupId, RaftId};
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::base::Base;
use storage::transfer::PIECE;
use storage::{SnapshotMeta, TransferFile};

/// Pieces that are under way to a member: 1 MiB, so that nothing else on that link waits for more.
pub(super) const WINDOW: usize = 4;
/// P15: without any progress for so long a transfer has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a disk is left alone that has failed, or a source whose file is not what it was said to be.
const REST: Duration = Duration::from_secs(10);
/// A file that is none is pulled again after that time, then after twice that, doubled so many times at most: 11 min.
const MOST_DOUBLED: u32 = 6;
/// A disk that a part has filled: the logs on it need room, too, so it is left alone for longer than it was full.
const REST_WHEN_FULL: Duration = Duration::from_secs(60);
/// When the check of a whole part is tried again (D5).
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// What the machine looks at.
pub(super) struct Facts<'a> {
    pub now: Mono,
    /// T.
    pub t: Duration,
    pub group: GroupId,
    pub me: RaftId,
    pub term: u64,
    /// The node that leads the group in this term, if it is known here.
    pub leader: Option<NodeId>,
    /// The last entry that is committed here.
    pub commit: EntryId,
    /// Whether the state as of an entry would bring this member on.
    pub lacks: &'a dyn Fn(EntryId) -> bool,
    /// Whether a state is on its way into the place of the log.
    pub is_installing: bool,
}

/// What came of a work of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// D5: it passes.
    Full(String),
    /// The disk failed, or what it has is not what was offered.
    Bad(String),
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Turn,
    Offer {
        from: NodeId,
        term: u64,
        first: u64,
        base: Box<Base>,
    },
    Piece {
        from: NodeId,
        of: StateName,
        offset: u64,
        crc32c: u32,
        bytes: Vec<u8>,
    },
    NoState {
        from: NodeId,
        of: StateName,
    },
    Written {
        pull: u64,
        offset: u64,
        result: Result<(), Fault>,
    },
    Checked {
        pull: u64,
        result: Result<(), Fault>,
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
    Write {
        pull: u64,
        of: TransferFile,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// The part is complete: it is to be checked, and to get its name.
    Check {
        pull: u64,
        of: TransferFile,
    },
    Abandon {
        of: TransferFile,
    },
    /// P17: the file is whole and durable.
    Install(Box<SnapshotMeta>),
    Warn(String),
}

#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Resting {
        until: Mono,
    },
    Pulling(Box<Pull>),
    Checking {
        pull: Box<Pull>,
        /// After a try that came to nothing; none while one is under way.
        again_at: Option<Mono>,
    },
    Whole {
        snapshot: Box<SnapshotMeta>,
        name: StateName,
    },
}

/// A file that comes.
#[derive(Debug)]
pub(super) struct Pull {
    number: u64,
    name: StateName,
    snapshot: SnapshotMeta,
    of: TransferFile,
    source: NodeId,
    /// Another node that has offered the same file.
    spare: Option<NodeId>,
    /// The first piece that was never asked for.
    next: u64,
    /// Asked for and not written, by offset.
    open: BTreeMap<u64, Piece>,
    asks: u64,
    written: u64,
    progress_at: Mono,
    /// Since then a piece had no room (D5).
    is_disk_full: bool,
    /// When the oldest open piece is asked for again, and how long that took the last time.
    again_at: Mono,
    patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// `ask` counts up. `once`: so an answer can only be to that ask.
    Asked {
        ask: u64,
        once: bool,
    },
    Writing,
}

/// A state whose file has come and was none. A damaged one at its source stays so, and all of it would travel every
/// few seconds.
#[derive(Clone, Copy, Debug)]
struct Refused {
    name: StateName,
    times: u32,
    until: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Receiver {
    phase: Phase,
    pulls: u64,
    refused: Option<Refused>,
}

impl Receiver {
    #[cfg(test)]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Pieces that are asked for and not written.
    #[cfg(test)]
    pub fn open_pieces(&self) -> usize {
        match &self.phase {
            Phase::Pulling(pull) => pull.open.len(),
            _ => 0,
        }
    }

    /// Bytes that have come of the file that is pulled, and its length.
    pub fn progress(&self) -> Option<(u64, u64)> {
        match &self.phase {
            Phase::Pulling(pull) => Some((pull.written, pull.of.file.bytes)),
            Phase::Checking { pull, .. } => Some((pull.of.file.bytes, pull.of.file.bytes)),
            _ => None,
        }
    }

    /// When [`Event::Turn`] is due.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.phase {
            Phase::Pulling(pull) => {
                let asks = pull.oldest_ask().map(|_| pull.again_at);
                Some((pull.progress_at + PATIENCE).min(asks.unwrap_or(Mono(u64::MAX))))
            }
            Phase::Checking { again_at, .. } => *again_at,
            Phase::Idle | Phase::Resting { .. } | Phase::Whole { .. } => None,
        }
    }

    /// Takes a step.
    pub fn step(&mut self, event: Event, facts: &Facts) -> Vec<Output> {
        let mut out = Vec::new();
        match event {
            Event::Turn => self.turn(facts, &mut out),
            Event::Offer {
                from,
                term,
                first,
                base,
            } => {
                if is_of_leader(from, term, facts) && is_for(&base, facts) {
                    self.offered(from, first, *base, facts, &mut out);
                }
            }
            Event::Piece {
                from,
                of,
                offset,
                crc32c,
                bytes,
            } => {
                if let Phase::Pulling(pull) = &mut self.phase {
                    if pull.name == of && pull.comes_from(from) {
                        pull.on_piece(offset, crc32c, bytes, facts, &mut out);
                    }
                }
            }
            Event::NoState { from, of } => self.on_no_state(from, of, facts, &mut out),
            Event::Written {
                pull,
                offset,
                result,
            } => self.on_written(pull, offset, result, facts, &mut out),
            Event::Checked { pull, result } => self.on_checked(pull, result, facts, &mut out),
            Event::Anew => self.begin_anew(&mut out),
        }
        out
    }

    fn turn(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Resting { until } => {
                if facts.now >= *until {
                    self.phase = Phase::Idle;
                }
            }
            // What the own log has meanwhile is no business of a transfer.
            Phase::Pulling(pull) if !(facts.lacks)(pull.name.at) => self.abandon(None, out),
            Phase::Pulling(pull) if facts.now.since(pull.progress_at) >= PATIENCE => {
                let (at, source) = (pull.name.at, pull.source);
                let until = pull.is_disk_full.then(|| facts.now + REST_WHEN_FULL);
                out.push(Output::Warn(match until {
                    Some(_) => format!(
                        "The state as of {at:?} has no room: it is given up, and tried again in a minute"
                    ),
                    None => format!(
                        "Nothing more of the state as of {at:?} comes from node {source}: it is given up"
                    ),
                }));
                self.abandon(until, out);
            }
            Phase::Pulling(pull) => pull.ask_again_if_late(facts, out),
            Phase::Checking { pull, again_at } => {
                if again_at.take_if(|at| facts.now >= *at).is_some() {
                    let (pull, of) = (pull.number, pull.of);
                    out.push(Output::Check { pull, of });
                }
            }
            Phase::Whole { .. } if facts.is_installing => {}
            Phase::Whole { snapshot, .. } => match (facts.lacks)(snapshot.entry()) {
                true => out.push(Output::Install(snapshot.clone())),
                // It stands in the base. A file that came too late goes at the next start: one with a
                // snapshot's name is never removed here.
                false => self.phase = Phase::Idle,
            },
        }
    }

    /// An offer of the group's leader for this member.
    fn offered(
        &mut self,
        from: NodeId,
        first: u64,
        base: Base,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        if facts.is_installing {
            return self.say_pulling(from, facts, out);
        }
        let at = base.snapshot.entry();
        if let Some(at) = brought_by_log(at, first, facts) {
            if matches!(self.phase, Phase::Pulling(_)) {
                self.abandon(None, out);
            }
            let message = Message::HasState {
                group: facts.group,
                raft_id: facts.me,
                at,
            };
            return out.push(Output::Tell { to: from, message });
        }
        let name = StateName::of(facts.group, &base.snapshot).expect("an offer names a file");
        let refused = self.refused.filter(|refused| refused.name == name);
        let is_refused = refused.is_some_and(|refused| facts.now < refused.until);
        match &mut self.phase {
            Phase::Resting { until } if facts.now < *until => return,
            Phase::Idle | Phase::Resting { .. } if is_refused => return,
            Phase::Pulling(pull) if pull.name == name => pull.offered_by(from),
            // P16: the log behind that one brings the rest.
            Phase::Pulling(pull) if pull.name.at.index + 1 >= first => {}
            Phase::Pulling(_) => {
                self.abandon(None, out);
                self.begin(from, name, base.snapshot, facts, out);
            }
            Phase::Whole { name: whole, .. } if *whole == name || whole.at.index + 1 >= first => {}
            Phase::Idle | Phase::Resting { .. } | Phase::Whole { .. } => {
                self.begin(from, name, base.snapshot, facts, out);
            }
            Phase::Checking { .. } => {}
        }
        self.say_pulling(from, facts, out);
    }

    fn say_pulling(&self, to: NodeId, facts: &Facts, out: &mut Vec<Output>) {
        let (at, received) = match &self.phase {
            Phase::Pulling(pull) => (pull.name.at, pull.written),
            Phase::Checking { pull, .. } => (pull.name.at, pull.of.file.bytes),
            Phase::Whole { snapshot, name } => (name.at, snapshot.file.map_or(0, |f| f.bytes)),
            Phase::Idle | Phase::Resting { .. } => return,
        };
        let message = Message::Pulling {
            group: facts.group,
            raft_id: facts.me,
            at,
            received,
        };
        out.push(Output::Tell { to, message });
    }

    fn begin(
        &mut self,
        source: NodeId,
        name: StateName,
        snapshot: SnapshotMeta,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        self.pulls += 1;
        let of = TransferFile {
            at: name.at,
            file: snapshot.file.expect("an offer names a file"),
        };
        let mut pull = Box::new(Pull {
            number: self.pulls,
            name,
            snapshot,
            of,
            source,
            spare: None,
            next: 0,
            open: BTreeMap::new(),
            asks: 0,
            written: 0,
            progress_at: facts.now,
            is_disk_full: false,
            again_at: facts.now + facts.t,
            patience: facts.t,
        });
        pull.ask_more(facts, out);
        self.phase = Phase::Pulling(pull);
    }

    /// Ends a pull; `until`: no other one begins before.
    fn abandon(&mut self, until: Option<Mono>, out: &mut Vec<Output>) {
        let phase = match until {
            Some(until) => Phase::Resting { until },
            None => Phase::Idle,
        };
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Pulling(pull) | Phase::Checking { pull, .. } => {
                out.push(Output::Abandon { of: pull.of });
            }
            _ => {}
        }
    }

    fn begin_anew(&mut self, out: &mut Vec<Output>) {
        self.abandon(None, out);
        self.phase = Phase::Idle;
    }

    fn on_no_state(&mut self, from: NodeId, of: StateName, facts: &Facts, out: &mut Vec<Output>) {
        let Phase::Pulling(pull) = &mut self.phase else {
            return;
        };
        if pull.name != of {
            return;
        }
        if pull.spare == Some(from) {
            pull.spare = None;
        } else if pull.source == from {
            match pull.spare.take() {
                Some(spare) => {
                    pull.source = spare;
                    pull.ask_all_again(facts, out);
                }
                None => self.abandon(None, out),
            }
        }
    }

    fn on_written(
        &mut self,
        number: u64,
        offset: u64,
        result: Result<(), Fault>,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        let Phase::Pulling(pull) = &mut self.phase else {
            return;
        };
        if pull.number != number || pull.open.get(&offset) != Some(&Piece::Writing) {
            return;
        }
        match result {
            Ok(()) => pull.on_written(offset, facts, out),
            Err(Fault::Full(why)) => {
                // D5: as if it had not come, so it is asked for again when others were waited for.
                let (ask, once) = (0, false);
                pull.is_disk_full = true;
                pull.open.insert(offset, Piece::Asked { ask, once });
                out.push(Output::Warn(format!("A piece of a state waits: {why}")));
            }
            Err(Fault::Bad(why)) => {
                out.push(Output::Warn(format!("A state is not pulled: {why}")));
                self.abandon(Some(facts.now + REST), out);
            }
        }
        if matches!(&self.phase, Phase::Pulling(pull) if pull.is_complete()) {
            if let Phase::Pulling(pull) = std::mem::take(&mut self.phase) {
                let (pull_number, of) = (pull.number, pull.of);
                self.phase = Phase::Checking {
                    pull,
                    again_at: None,
                };
                out.push(Output::Check {
                    pull: pull_number,
                    of,
                });
            }
        }
    }

    fn on_checked(
        &mut self,
        number: u64,
        result: Result<(), Fault>,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        let Phase::Checking { pull, again_at } = &mut self.phase else {
            return;
        };
        if pull.number != number {
            return;
        }
        match result {
            Ok(()) => {
                self.phase = Phase::Whole {
                    snapshot: Box::new(pull.snapshot.clone()),
                    name: pull.name,
                };
                self.turn(facts, out);
            }
            Err(Fault::Full(why)) => {
                *again_at = Some(facts.now + CHECK_AGAIN);
                out.push(Output::Warn(format!("The check of a state waits: {why}")));
            }
            Err(Fault::Bad(why)) => {
                out.push(Output::Warn(format!("A state that came is none: {why}")));
                let name = pull.name;
                self.refuse(name, facts);
                self.abandon(Some(facts.now + REST), out);
            }
        }
    }
}

impl Receiver {
    fn refuse(&mut self, name: StateName, facts: &Facts) {
        let before = self.refused.filter(|refused| refused.name == name);
        let times = before.map_or(0, |refused| refused.times + 1);
        let until = facts.now + REST * (1 << times.min(MOST_DOUBLED));
        self.refused = Some(Refused { name, times, until });
    }
}

/// P15: a leader of another term, or one that has been deposed, knows less of the log's beginning than this
/// member's leader.
fn is_of_leader(from: NodeId, term: u64, facts: &Facts) -> bool {
    let leads = facts.leader == Some(from) && term == facts.term;
    leads || mutation::is(Mutation::OfferOfDeposedLeader)
}

/// The entry up to which the own log has what the leader's log goes on from; none: only a state helps.
fn brought_by_log(at: EntryId, first: u64, facts: &Facts) -> Option<EntryId> {
    if facts.commit.index + 1 >= first {
        return Some(facts.commit);
    }
    // It may have the entry beyond its commit.
    (!(facts.lacks)(at)).then_some(at)
}

fn is_for(base: &Base, facts: &Facts) -> bool {
    let identity = &base.identity;
    (identity.group, identity.raft_id) == (facts.group, facts.me) && base.snapshot.file.is_some()
}

impl Pull {
    fn comes_from(&self, node: NodeId) -> bool {
        self.source == node || self.spare == Some(node)
    }

    fn is_complete(&self) -> bool {
        self.next >= self.of.file.bytes && self.open.is_empty()
    }

    /// Another leader has the same file.
    fn offered_by(&mut self, node: NodeId) {
        if node != self.source {
            self.spare = Some(node);
        }
    }

    /// The offset that was asked for longest ago.
    fn oldest_ask(&self) -> Option<u64> {
        let asked = self.open.iter().filter_map(|(offset, piece)| match piece {
            Piece::Asked { ask, .. } => Some((*ask, *offset)),
            Piece::Writing => None,
        });
        asked.min().map(|(_, offset)| offset)
    }

    fn ask_more(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        while self.open.len() < WINDOW && self.next < self.of.file.bytes {
            let offset = self.next;
            self.next += PIECE;
            self.ask(offset, true, facts, out);
        }
    }

    fn ask(&mut self, offset: u64, once: bool, facts: &Facts, out: &mut Vec<Output>) {
        self.asks += 1;
        let ask = self.asks;
        self.open.insert(offset, Piece::Asked { ask, once });
        let message = Message::Pull {
            of: self.name,
            raft_id: facts.me,
            offset,
        };
        let to = self.source;
        out.push(Output::Tell { to, message });
    }

    /// The pieces that were asked for before this ask.
    fn asked_before(&self, ask: u64) -> Vec<u64> {
        let before = self.open.iter().filter(
            |(_, piece)| matches!(piece, Piece::Asked { ask: earlier, .. } if *earlier < ask),
        );
        before.map(|(offset, _)| *offset).collect()
    }

    fn ask_all_again(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        for offset in self.asked_before(u64::MAX) {
            self.ask(offset, false, facts, out);
        }
        self.again_at = facts.now + self.patience;
    }

    /// A slow link must not fill with what was asked for twice: only one piece is asked for again, and more
    /// seldom each time. Its answer tells whether the others were lost as well.
    fn ask_again_if_late(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        let Some(oldest) = self.oldest_ask().filter(|_| facts.now >= self.again_at) else {
            return;
        };
        if let Some(spare) = self.spare {
            self.spare = Some(std::mem::replace(&mut self.source, spare));
        }
        self.ask(oldest, false, facts, out);
        self.patience = (self.patience * 2).min(facts.t * 4);
        self.again_at = facts.now + self.patience;
    }

    fn on_piece(
        &mut self,
        offset: u64,
        crc32c: u32,
        bytes: Vec<u8>,
        facts: &Facts,
        out: &mut Vec<Output>,
    ) {
        let Some(Piece::Asked { ask, once }) = self.open.get(&offset).copied() else {
            return; // it has come before
        };
        let whole = self.of.piece_at(offset) == Some(bytes.len() as u64);
        let sound = crc32c::crc32c(&bytes) == crc32c || mutation::is(Mutation::PieceUnchecked);
        if !whole || !sound {
            let source = self.source;
            return out.push(Output::Warn(format!(
                "A piece of node {source} is not what it says, at {offset} of a state"
            )));
        }
        self.open.insert(offset, Piece::Writing);
        self.again_at = facts.now + self.patience;
        // A link keeps its order: what was asked for before this one, and has not come, is lost.
        if once {
            for lost in self.asked_before(ask) {
                self.ask(lost, false, facts, out);
            }
        }
        out.push(Output::Write {
            pull: self.number,
            of: self.of,
            offset,
            bytes,
        });
    }

    fn on_written(&mut self, offset: u64, facts: &Facts, out: &mut Vec<Output>) {
        self.open.remove(&offset);
        self.written += self.of.piece_at(offset).unwrap_or_default();
        self.progress_at = facts.now;
        self.is_disk_full = false;
        self.patience = facts.t;
        self.again_at = facts.now + self.patience;
        self.ask_more(facts, out);
    }
}
