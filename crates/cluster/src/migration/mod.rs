//! Slots in motion: what this shard's leader does about them, beside what clients ask for (rules M).
//!
//! Owns: the words that have come and those that are to leave, which node speaks for another shard, and
//! what a reign remembers: values on their way ([`source`]), values that have come ([`target`]), questions
//! of clients ([`questions`]), slots that are asked for or given back ([`slots`]). What must outlive the
//! reign is in the record. Never: waits, and never acts but as a leader that holds its lease and has room
//! in its log. Invariants: a word leaves when what it rests on is committed and on disk (M7); what is said
//! under one reign is not heard under another ([`Migration::follow`]).

#[cfg(test)]
mod ahead_tests;
#[cfg(test)]
mod consent_tests;
mod contact;
mod copies;
#[cfg(test)]
mod ended_tests;
mod farewell;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod outside_tests;
mod owners;
mod questions;
mod settle;
mod slots;
mod source;
mod target;
#[cfg(test)]
mod tests;
pub mod word;

use super::outbox::Outbox;
use super::{Cluster, ClusterOptions, ClusterOutput};
use base::clock::{Mono, Now};
use base::ids::{BatchSeq, Incarnation, ReadId};
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::bus::Bus;
use cluster_bus::NodeId;
use contact::{Contacts, Who};
use copies::Copies;
use outside::pool::Event as OutgoingEvent;
use outside::Outside;
use owners::Claims;
use questions::Questions;
use settle::Settling;
use shard::Shard;
use slots::Slots;
use source::Source;
use state::{Footprint, Gate, StateMachine};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;
use storage::{Disk, Position};
use target::Target;
use topology::moves::{Cargo, KeyState, MarkQuestion};
use topology::outside::{Place, Server, Unreached};
use topology::{Finished, MoveId, MoveNumber, Record};
use word::{Word, Words};

/// How soon what was not answered is said again.
const AGAIN: Duration = Duration::from_millis(200);
/// Words of other shards that wait for a turn in which this one may write, and their bytes; more are dropped,
/// and said again.
const MOST_WAITING: usize = 4096;
const MOST_WAITING_BYTES: usize = 64 << 20;
/// Bytes after which a frame is full.
const FRAME: usize = 1 << 20;

/// What waits until it may be said.
#[derive(Debug)]
enum Said {
    Word(ShardId, Word),
    /// A copy to a server outside, by its number.
    Copy(u64),
}

/// A leader's reign: ids are counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reign {
    incarnation: Incarnation,
    term: u64,
}

/// What the rooms act with in a turn.
pub(super) struct Desk<'a, D: Disk> {
    pub shard: &'a mut Shard<D>,
    pub bus: &'a Bus,
    pub now: Now,
    /// This node's shard.
    pub own: ShardId,
    /// What clients of this node have to show.
    pub requirepass: &'a [u8],
    pub node_timeout: Duration,
    ids: &'a mut Counter,
    waiting: &'a mut VecDeque<(Gate, Said)>,
    finished: &'a mut Vec<Finished>,
    warnings: &'a mut Vec<String>,
}

impl<D: Disk> Desk<'_, D> {
    /// One unit of the log, or a look at the data. None: it has no room, or meets what must wait; nothing
    /// has happened.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut StateMachine) -> R) -> Option<(R, Gate)> {
        self.shard.act(act)
    }

    /// The same, where nothing is said of it: nobody waits for its commit.
    fn act_unsaid<R>(
        &mut self,
        act: impl FnOnce(&mut StateMachine) -> R,
    ) -> Option<(R, Footprint)> {
        self.shard.act_unsaid(act)
    }

    /// For what goes to servers outside.
    fn outside(&mut self) -> outside::Desk<'_, D> {
        outside::Desk {
            shard: self.shard,
            now: self.now,
            patience: self.node_timeout,
            finished: self.finished,
            warnings: self.warnings,
        }
    }

    /// A word leaves when what it rests on has committed.
    pub fn say(&mut self, gate: Gate, to: ShardId, word: Word) {
        self.waiting.push_back((gate, Said::Word(to, word)));
    }

    /// An ask rests on nothing, or on what is committed.
    pub fn ask(&mut self, to: ShardId, word: Word) {
        self.say(Gate::OPEN, to, word);
    }

    pub fn finish(&mut self, finished: Finished) {
        self.finished.push(finished);
    }

    /// A line for the log.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub fn mint(&mut self) -> MoveId {
        let id = self.ids.mint(self.own);
        if mutation::is(Mutation::IdGivenTwice) {
            self.ids.n -= 1;
        }
        id
    }

    /// M2: what this shard has ended, for another one: below all that is open in the record or the tail.
    pub fn floor(&self, to: ShardId) -> MoveNumber {
        let (tail, committed) = (self.shard.data().record(), self.shard.record());
        match lowest_open(tail, committed, to) {
            Some(number) => MoveNumber {
                n: number.n - 1,
                ..number
            },
            None => self.ids.last(),
        }
    }
}

/// The lowest number of what is open to a shard, in the tail or in what is committed.
fn lowest_open(tail: &Record, committed: &Record, to: ShardId) -> Option<MoveNumber> {
    let committed = match mutation::is(Mutation::FloorFromTail) {
        true => tail,
        false => committed,
    };
    let open = [tail, committed].into_iter().flat_map(|record| {
        let moves = &record.moves;
        let lends = moves.lends.iter().filter(|(_, lend)| lend.to == to);
        let departed = moves.departed.values().filter(|d| d.to == to);
        lends
            .map(|(id, _)| id.number)
            .chain(departed.map(|d| d.id.number))
    });
    open.min()
}

/// The ids of a reign (M2): one counter for marks, lends and hand-overs to all shards; gaps are fine.
#[derive(Debug, Default)]
struct Counter {
    reign: Option<Reign>,
    n: u64,
}

impl Counter {
    fn last(&self) -> MoveNumber {
        let reign = self.reign.expect("only a leader counts");
        MoveNumber {
            incarnation: reign.incarnation,
            term: reign.term,
            n: self.n,
        }
    }

    fn mint(&mut self, shard: ShardId) -> MoveId {
        self.n += 1;
        MoveId {
            shard,
            number: self.last(),
        }
    }
}

/// What a reign remembers, room by room.
struct Rooms<'a> {
    source: &'a mut Source,
    target: &'a mut Target,
    copies: &'a mut Copies,
    outside: &'a mut Outside,
    questions: &'a mut Questions,
    slots: &'a mut Slots,
    claims: &'a mut Claims,
}

#[derive(Debug)]
pub(super) struct Migration {
    ids: Counter,
    own: ShardId,
    inbox: VecDeque<(NodeId, ShardId, Word)>,
    /// What the words of the inbox weigh.
    inbox_bytes: usize,
    waiting: VecDeque<(Gate, Said)>,
    /// What may leave once the log is on disk up to there.
    released: Vec<(Position, Said)>,
    contacts: Contacts,
    source: Source,
    target: Target,
    copies: Copies,
    outside: Outside,
    questions: Questions,
    slots: Slots,
    claims: Claims,
    settling: Settling,
    finished: Vec<Finished>,
    warnings: Vec<String>,
    /// Nothing was to be done in the last turn.
    rests: bool,
}

impl Default for Migration {
    fn default() -> Migration {
        Migration {
            ids: Counter::default(),
            own: ShardId::default(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            waiting: VecDeque::new(),
            released: Vec::new(),
            contacts: Contacts::default(),
            source: Source::default(),
            target: Target::default(),
            copies: Copies::default(),
            outside: Outside::default(),
            questions: Questions::of_term(0),
            slots: Slots::default(),
            claims: Claims::default(),
            settling: Settling::default(),
            finished: Vec::new(),
            warnings: Vec::new(),
            rests: true,
        }
    }
}

impl Migration {
    /// Every turn, before the words: a new reign begins with nothing but the record.
    fn follow<D: Disk>(&mut self, shard: &mut Shard<D>) {
        let reign = reign_of(shard);
        let own = shard.record().shard;
        if self.ids.reign == reign && self.own == own {
            return;
        }
        // What is answered to a question of another reign finds none.
        let first = reign.map_or(0, |reign| reign.term << 32);
        *self = Migration {
            ids: Counter { reign, n: 0 },
            own,
            copies: Copies::numbered_from(first),
            outside: Outside::anew(std::mem::take(&mut self.outside)),
            questions: Questions::of_term(reign.map_or(0, |reign| reign.term)),
            ..Migration::default()
        };
        shard.data_mut().hide_all_lent();
    }

    /// A word that waits for the next turn; one too many is dropped. M8: so is a mark that is not the speaker's, or a move
    /// would wait for a third shard's word for ever.
    fn take_in(&mut self, from: NodeId, shard: ShardId, word: Word) {
        if matches!(&word, Word::MarkIs { mark: Some(mark), .. } if mark.shard != shard) {
            return;
        }
        if self.inbox.len() < MOST_WAITING && self.inbox_bytes < MOST_WAITING_BYTES {
            self.inbox_bytes += word.weight();
            self.inbox.push_back((from, shard, word));
        }
    }

    /// Whether there is nothing to do in a turn: a shard whose slots are all at rest does nothing here.
    fn is_idle<D: Disk>(&mut self, shard: &Shard<D>) -> bool {
        self.rests = self.inbox.is_empty()
            && self.waiting.is_empty()
            && self.released.is_empty()
            && !self.questions.are_open()
            && !self.copies.are_open()
            && self.outside.is_empty()
            && !self.claims.are_open()
            && self.target.is_empty()
            && !shard.data().record().moves.owes()
            && !shard.record().moves.owes();
        self.rests
    }

    /// The rooms, and the desk that they act at.
    fn open<'a, D: Disk>(
        &'a mut self,
        (bus, options): (&'a Bus, &'a ClusterOptions),
        now: Now,
        shard: &'a mut Shard<D>,
    ) -> (Desk<'a, D>, Rooms<'a>) {
        let desk = Desk {
            shard,
            bus,
            now,
            own: self.own,
            requirepass: options.requirepass.as_bytes(),
            node_timeout: Duration::from_millis(options.bus.node_timeout_ms),
            ids: &mut self.ids,
            waiting: &mut self.waiting,
            finished: &mut self.finished,
            warnings: &mut self.warnings,
        };
        let rooms = Rooms {
            source: &mut self.source,
            target: &mut self.target,
            copies: &mut self.copies,
            outside: &mut self.outside,
            questions: &mut self.questions,
            slots: &mut self.slots,
            claims: &mut self.claims,
        };
        (desk, rooms)
    }

    /// What did not happen is never said (T6); nothing of a reign that has ended is.
    pub fn fail(&mut self, batches: RangeInclusive<BatchSeq>) {
        self.waiting
            .retain(|(gate, ..)| !batches.contains(&gate.batch));
    }

    pub fn fail_reads(&mut self, reads: RangeInclusive<ReadId>) {
        self.waiting
            .retain(|(gate, ..)| !reads.contains(&gate.read));
    }

    /// Moves the words whose gates have opened to those that leave when the log is on disk up to `end`.
    fn open_gates(&mut self, released: Gate, end: Position) {
        for (gate, said) in std::mem::take(&mut self.waiting) {
            match gate.is_released_by(released) {
                true if gate == Gate::OPEN => self.released.push((Position(0), said)),
                true => self.released.push((end, said)),
                false => self.waiting.push_back((gate, said)),
            }
        }
    }

    /// M7: what may be said of which all that it rests on is on disk.
    fn take_sayable(&mut self, durable: Position) -> Vec<(Position, Said)> {
        let (go, wait) = std::mem::take(&mut self.released)
            .into_iter()
            .partition(|(at, ..)| *at <= durable || mutation::is(Mutation::WordUnsynced));
        self.released = wait;
        go
    }

    /// The words that leave, a frame for each node. Whether others wait for the disk.
    fn send(&mut self, now: Now, durable: Position, who: Who<'_>, out: &mut Outbox) -> bool {
        let mut frames: BTreeMap<NodeId, (ShardId, usize, Vec<Word>)> = BTreeMap::new();
        for (_, said) in self.take_sayable(durable) {
            let (to, word) = match said {
                Said::Word(to, word) => (to, word),
                Said::Copy(number) => {
                    self.outside.send_copy(now, number);
                    continue;
                }
            };
            // Of a shard that no node is known of nothing can be asked now.
            if let Some(node) = self.contacts.of(now.mono, who, to) {
                let frame = frames.entry(node).or_insert((to, 0, Vec::new()));
                frame.1 += word.weight();
                frame.2.push(word);
                if frame.1 >= FRAME {
                    let words = std::mem::take(&mut frame.2);
                    frame.1 = 0;
                    let from = self.own;
                    out.words(node, &Words { from, to, words });
                }
            }
        }
        for (node, (to, _, words)) in frames {
            let from = self.own;
            if !words.is_empty() {
                out.words(node, &Words { from, to, words });
            }
        }
        !self.released.is_empty()
    }
}

fn reign_of<D: Disk>(shard: &Shard<D>) -> Option<Reign> {
    let group = shard.group();
    group.is_leader().then(|| Reign {
        incarnation: shard.identity().incarnation,
        term: group.term(),
    })
}

impl Cluster {
    /// Takes in the words of a node of another shard, when it is proved that it has said them. For which shard
    /// it speaks it says in the same frame: what the bus shows of it may be anybody's word.
    pub(super) fn hear<D: Disk>(
        &mut self,
        from: NodeId,
        proved: bool,
        words: Words,
        shard: &Shard<D>,
    ) {
        if !proved {
            return; // said again: the links are asking that node whether they are its own
        }
        let own = shard.record().shard;
        let by_the_bus = mutation::is(Mutation::BusNamesTheSpeaker);
        let strange = by_the_bus && self.bus.shard_of(from) != Some(words.from);
        if words.to != own || words.from == own || strange {
            return;
        }
        let leads = shard.group().is_leader();
        let leader = self.leader_node(shard);
        for word in words.words {
            match word {
                Word::NotLeader { leader } => {
                    let who = (&self.bus, &self.introductions);
                    self.migration.contacts.told(who, words.from, from, leader);
                }
                word if leads => {
                    let migration = &mut self.migration;
                    migration.contacts.heard(self.now.mono, words.from, from);
                    migration.take_in(from, words.from, word);
                }
                _ => {
                    let answer = Words {
                        from: own,
                        to: words.from,
                        words: vec![Word::NotLeader { leader }],
                    };
                    return self.out.words(from, &answer);
                }
            }
        }
    }

    /// Whether there is something to do for the moves in this turn.
    fn begin_moves<D: Disk>(&mut self, now: Now, writable: bool, shard: &mut Shard<D>) -> bool {
        self.now = now;
        self.migration.follow(shard);
        if writable {
            self.settle_slots(shard);
        }
        writable && !self.migration.is_idle(shard)
    }

    /// The turn's part of the moves, before clients are served, when this node leads its shard and holds
    /// its lease. `writable`: and its log has room.
    pub fn migrate<D: Disk>(&mut self, now: Now, writable: bool, shard: &mut Shard<D>) {
        if !self.begin_moves(now, writable, shard) {
            return;
        }
        let words = std::mem::take(&mut self.migration.inbox);
        let upgraded = self.upgraded;
        self.migration.inbox_bytes = 0;
        let (mut desk, rooms) = self
            .migration
            .open((&self.bus, &self.config.options), now, shard);
        for (_, from, word) in words {
            // M9: the answer would be an entry that an older build can't read.
            let logs = matches!(
                word,
                Word::Go { .. } | Word::Decide { .. } | Word::WantMark { .. }
            );
            let said = desk.shard.data().record().moves.features;
            if logs && said & topology::features::SLOTS_MOVE == 0 {
                if !upgraded {
                    continue;
                }
                desk.act(|data| data.set_features(topology::features::SLOTS_MOVE));
            }
            match word {
                Word::Begin { .. } | Word::Go { .. } | Word::Decide { .. } => {
                    rooms.target.hear(&mut desk, from, word);
                }
                Word::Done { .. }
                | Word::Void { .. }
                | Word::Closed { .. }
                | Word::Have { .. }
                | Word::Again { .. } => {
                    rooms.source.hear(&mut desk, from, word);
                }
                Word::MarkIs { .. }
                | Word::KeyIs { .. }
                | Word::Returning { .. }
                | Word::MarkClosed { .. }
                | Word::HandOver { .. } => {
                    rooms.questions.hear(now.mono, from, word.clone());
                    rooms.slots.hear(&mut desk, from, word);
                }
                Word::Copy { question, cargo } => copies::asked(&mut desk, from, question, &cargo),
                Word::Copied { .. } => rooms.copies.hear(&mut desk, from, word),
                Word::OwnIs { .. } | Word::WaitsIs { .. } => {
                    rooms.questions.hear(now.mono, from, word);
                }
                Word::AskWaits { question } => {
                    rooms.questions.forget_marks_of(from);
                    farewell::asked(&mut desk, from, question);
                }
                Word::AskOwn { question, slots } => {
                    owners::asked(&mut desk, rooms.questions, from, (question, slots));
                }
                Word::NotLeader { .. } => {}
                word => rooms.slots.hear(&mut desk, from, word),
            }
        }
        if mutation::is(Mutation::ReturnOnTimeout) {
            rooms.source.give_up(&mut desk);
        }
        rooms.claims.proceed(&mut desk, rooms.questions);
        rooms.slots.proceed(&mut desk);
        let known = |shard| contact::is_known((&self.bus, &self.introductions), shard);
        rooms.slots.send_back(&mut desk, rooms.source, known);
        rooms.outside.hear(&mut desk.outside());
        rooms.target.proceed(&mut desk);
    }

    /// After the turn's commands, before its proposal: what they copy leaves when what they have seen is
    /// committed.
    pub fn send_copies<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let copies = self.migration.copies.are_open() || self.migration.outside.has_copies();
        if !copies || self.migration.ids.reign != reign_of(shard) {
            return;
        }
        let around = (&self.bus, &self.config.options);
        let (mut desk, rooms) = self.migration.open(around, now, shard);
        rooms.copies.send(&mut desk);
        let gates = rooms.outside.gate_copies(&mut desk.outside());
        let said = gates.into_iter().map(|(gate, n)| (gate, Said::Copy(n)));
        self.migration.waiting.extend(said);
    }

    /// After the turn's commands: what they and the log have made sayable.
    pub fn speak<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let reign = self.migration.ids.reign;
        if reign.is_none() || reign != reign_of(shard) || self.migration.is_idle(shard) {
            return;
        }
        let (mut desk, rooms) = self
            .migration
            .open((&self.bus, &self.config.options), now, shard);
        rooms.slots.speak(&mut desk);
        rooms.source.proceed(&mut desk);
        rooms.outside.speak(&mut desk.outside());
        rooms.questions.proceed(&mut desk);
        rooms.copies.proceed(now.mono);
    }

    /// What may leave leaves: `released` are the gates that have opened. M7: what a word rests on is on
    /// disk, whatever the policy of syncs.
    pub fn send_words<D: Disk>(&mut self, now: Now, released: Gate, shard: &mut Shard<D>) {
        self.migration.open_gates(released, shard.sync_point());
        if self.migration.released.is_empty() {
            return;
        }
        let durable = shard.log().durable();
        let who = (&self.bus, &self.introductions);
        let waits = self.migration.send(now, durable, who, &mut self.out);
        if waits {
            shard.want_sync();
        }
    }

    /// When something is to be said again.
    pub(super) fn words_deadline(&self) -> Option<Mono> {
        (!self.migration.rests).then(|| self.now.mono + AGAIN / 4)
    }

    /// T6: these batches did not happen.
    pub fn fail_words(&mut self, batches: RangeInclusive<BatchSeq>) {
        self.migration.fail(batches);
    }

    /// These reads can't be confirmed any more.
    pub fn fail_word_reads(&mut self, reads: RangeInclusive<ReadId>) {
        self.migration.fail_reads(reads);
    }

    // ---- for commands, between `migrate` and `speak` --------------------------------------

    /// A new id of this reign (M2).
    pub fn mint(&mut self) -> MoveId {
        self.migration.ids.mint(self.migration.own)
    }

    /// How a key stands at another shard; none: not known yet. `question`: the session's.
    pub fn key_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        of: (u16, MoveId),
        key: &[u8],
    ) -> Option<KeyState> {
        let (now, questions) = (self.now.mono, &mut self.migration.questions);
        questions.key(now, question, shard, of, key)
    }

    /// The mark under which another shard imports a slot from this one; the outer none: not known yet.
    pub fn mark_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        slot: u16,
        asks: MarkQuestion,
    ) -> Option<Option<MoveId>> {
        let (now, questions) = (self.now.mono, &mut self.migration.questions);
        questions.mark(now, question, shard, slot, asks)
    }

    /// A lend that has been executed in this turn, of which so many keys the client has named.
    pub fn begin_lend(&mut self, id: MoveId, (cargo, named): (Cargo, usize), patience: Duration) {
        let until = self.now.mono + patience;
        let source = &mut self.migration.source;
        source.begin(id, (&cargo, named), Some(until));
    }

    /// MIGRATE COPY, in this turn; its number.
    pub fn begin_copy(&mut self, to: ShardId, cargo: &Cargo, patience: Duration) -> u64 {
        let until = self.now.mono + patience;
        self.migration.copies.begin(to, cargo, until)
    }

    /// A server outside, for one use; none: not reached yet. `question`: the session's (M26).
    pub fn reach(
        &mut self,
        question: &mut Option<u64>,
        place: &Place,
        patience: Duration,
    ) -> Option<Result<(u64, Server), Unreached>> {
        let pool = &mut self.migration.outside.pool;
        pool.reach(self.now.mono, question, place, patience)
    }

    pub fn outside_connections(&self) -> usize {
        self.migration.outside.pool.len()
    }

    /// What was reached is not used.
    pub fn leave(&mut self, link: u64) {
        self.migration.outside.pool.release(self.now.mono, link);
    }

    /// A lend to a server outside that has been executed in this turn.
    pub fn begin_outside(&mut self, id: MoveId, to: (u64, bool), cargo: Cargo, patience: Duration) {
        let now = self.now.mono;
        self.migration.outside.begin(now, (id, patience), to, cargo);
    }

    /// MIGRATE COPY to such a server, in this turn; its number.
    pub fn copy_outside(&mut self, to: (u64, bool), cargo: Cargo, patience: Duration) -> u64 {
        let until = self.now.mono + patience;
        self.migration.outside.begin_copy(until, to, cargo)
    }

    /// What has happened to a connection to a server outside.
    pub fn outgoing(&mut self, now: Mono, link: u64, event: OutgoingEvent) {
        self.migration.outside.pool.hear(now, link, event);
    }

    /// In every turn, whoever leads: connections without use end; what is to be done with sockets.
    pub(super) fn follow_outgoing(&mut self, now: Mono) {
        let pool = &mut self.migration.outside.pool;
        if !pool.is_empty() {
            pool.proceed(now);
        }
        for order in pool.take_orders() {
            self.out.push(ClusterOutput::Outgoing(order));
        }
    }

    /// SETSLOT IMPORTING: this mark was set in this turn.
    pub fn announce_mark(&mut self, slot: u16, mark: MoveId) {
        self.migration.slots.announce(slot, mark);
    }

    /// SETSLOT NODE: a slot is asked for.
    pub fn want_slot(&mut self, slot: u16, from: ShardId, mark: MoveId, patience: Duration) {
        let until = self.now.mono + patience;
        self.migration.slots.want(slot, from, mark, until);
    }

    /// M13: moves with this shard, or with any, are turned back: to be asked again until they have ended.
    pub fn end_moves(&mut self, with: Option<ShardId>) {
        let until = self.now.mono + AGAIN;
        self.migration.slots.end_moves(with, until);
    }

    /// Lines for the log.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.migration.warnings)
    }

    /// What commands have waited for and has come.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.migration.finished)
    }
}
