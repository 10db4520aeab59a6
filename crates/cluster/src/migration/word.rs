//! What the leaders of two shards say to each other about slots in motion (M7).
//!
//! Owns the words and their bytes. Never: decides what a word leads to, or whether it may be said.
//! Invariant: decoding is total, and makes nothing larger than what it reads, but for one table of slots.

use base::ids::Incarnation;
use base::{NodeId, ShardId, SlotSet};
use topology::moves::{Cargo, Credentials, KeyState, Parcel, Titles};
use topology::record::{decode_ranges, encode_ranges};
use topology::{MoveId, MoveNumber};

/// A word. *Asks* go to the leader of the other shard, and are said again every 200 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Asks for the mark under which the other shard imports a slot from the speaker's.
    AskMark {
        slot: u16,
    },
    /// M18: the same, from the owner, which gives the slot away: where there is no mark yet the other shard
    /// sets one, if no key of the slot is there.
    WantMark {
        slot: u16,
    },
    /// The answer, a hint.
    MarkIs {
        slot: u16,
        mark: Option<MoveId>,
    },
    /// M1: a piece of what a lend brings ([`encode_cargo`]), from `at` on, of so many bytes in all. `floor`:
    /// what the speaker has ended, for this shard (M2).
    Begin {
        id: MoveId,
        floor: MoveNumber,
        total: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    /// M25: so much of it is here.
    Have {
        id: MoveId,
        bytes: u64,
    },
    /// M1: the lend is committed: it may be decided.
    Go {
        id: MoveId,
        floor: MoveNumber,
    },
    /// M4: it must be decided, and is refused if it was not taken.
    Decide {
        id: MoveId,
        floor: MoveNumber,
    },
    /// M3: its values are not here (any more).
    Again {
        id: MoveId,
    },
    /// M1: the other shard has the keys but for these positions.
    Done {
        id: MoveId,
        refused: Vec<u32>,
    },
    /// M3: it has not, and never will; why, as a client is told.
    Void {
        id: MoveId,
        text: Vec<u8>,
    },
    /// M3: the speaker has been told that it has ended.
    Closed {
        id: MoveId,
    },
    /// M15, M11: asks how a key stands.
    AskKey {
        question: u64,
        slot: u16,
        mark: MoveId,
        key: Box<[u8]>,
    },
    KeyIs {
        question: u64,
        state: KeyState,
    },
    /// M12, M21: asks which of these slots the shard has, or may get.
    AskOwn {
        question: u64,
        slots: SlotSet,
    },
    OwnIs {
        question: u64,
        owned: SlotSet,
        /// The shard hands them over, or may take them.
        reserved: SlotSet,
        titles: Titles,
    },
    /// M18: asks for a slot under this mark.
    HandOver {
        slot: u16,
        mark: MoveId,
    },
    /// M18: it is refused; why, as a client is told.
    Kept {
        slot: u16,
        mark: MoveId,
        text: Vec<u8>,
    },
    /// M18: the slot has left the speaker's shard.
    Gone {
        slot: u16,
        id: MoveId,
        floor: MoveNumber,
        title: u32,
        epoch: u64,
    },
    /// M19: the speaker's shard has it.
    Taken {
        slot: u16,
        id: MoveId,
    },
    /// M11: asks that the keys under this mark go back.
    Return {
        slot: u16,
        mark: MoveId,
    },
    /// M11: they do.
    Returning {
        slot: u16,
        mark: MoveId,
    },
    /// M11: the mark's other side is closing, and none of its lends of the slot is open.
    Settled {
        slot: u16,
        mark: MoveId,
    },
    /// M11: no such mark is here that the speaker's shard would take anything back under.
    NoMark {
        slot: u16,
        mark: MoveId,
    },
    /// M11: the mark has ended.
    MarkClosed {
        slot: u16,
        mark: MoveId,
    },
    /// M24: MIGRATE COPY: keys to be restored, once, as [`encode_cargo`] has them.
    Copy {
        question: u64,
        cargo: Vec<u8>,
    },
    /// M24: what became of that: nothing, or the first error as a client is told.
    Copied {
        question: u64,
        text: Vec<u8>,
    },
    /// M28: asks whether anything of the other shard waits for a word of the speaker's, which is about to end.
    AskWaits {
        question: u64,
    },
    WaitsIs {
        question: u64,
        waits: bool,
    },
    /// The speaker does not lead its shard; this node does, if known.
    NotLeader {
        leader: Option<NodeId>,
    },
}

/// All that one node has to say to another in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The speaker's shard, and the one that it speaks to.
    pub from: ShardId,
    pub to: ShardId,
    pub words: Vec<Word>,
}

impl Words {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.to.0);
        let mut out = Out(out);
        self.words.iter().for_each(|word| out.word(word));
    }

    /// Reads words that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Words> {
        let mut from = In(bytes);
        let (speaker, to) = (from.shard()?, from.shard()?);
        let mut words = Vec::new();
        while !from.0.is_empty() {
            words.push(from.word()?);
        }
        Some(Words {
            from: speaker,
            to,
            words,
        })
    }
}

impl Word {
    /// About how many bytes it is on its way.
    pub fn weight(&self) -> usize {
        let bytes = match self {
            Word::Begin { bytes, .. } | Word::Copy { cargo: bytes, .. } => bytes.len(),
            Word::Void { text, .. } | Word::Kept { text, .. } | Word::Copied { text, .. } => {
                text.len()
            }
            Word::AskKey { key, .. } => key.len(),
            Word::AskOwn { .. } | Word::OwnIs { .. } => 64 << 10,
            Word::Done { refused, .. } => 4 * refused.len(),
            _ => 0,
        };
        128 + bytes
    }
}

/// What a lend brings, as bytes.
pub fn encode_cargo(cargo: &Cargo) -> Vec<u8> {
    let mut bytes = Vec::new();
    Out(&mut bytes).cargo(cargo);
    bytes
}

/// Reads what fills `bytes`; none if it is not that.
pub fn decode_cargo(bytes: &[u8]) -> Option<Cargo> {
    let mut from = In(bytes);
    let cargo = from.cargo()?;
    from.0.is_empty().then_some(cargo)
}

struct Out<'a>(&'a mut Vec<u8>);

impl Out<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn kind(&mut self, kind: u8, slot: u16) {
        self.raw(&[kind]);
        self.raw(&slot.to_le_bytes());
    }

    fn number(&mut self, n: u64) {
        self.raw(&n.to_le_bytes());
    }

    fn count(&mut self, n: usize) {
        let n = u32::try_from(n).expect("a frame is smaller than 4 GiB");
        self.raw(&n.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    fn id(&mut self, id: &MoveId) {
        self.raw(&id.encode());
    }

    fn option(&mut self, id: Option<&MoveId>) {
        self.raw(&[u8::from(id.is_some())]);
        if let Some(id) = id {
            self.id(id);
        }
    }

    fn floor(&mut self, floor: &MoveNumber) {
        self.number(floor.incarnation.0);
        self.number(floor.term);
        self.number(floor.n);
    }

    fn of_lend(&mut self, kind: u8, id: &MoveId) {
        self.raw(&[kind]);
        self.id(id);
    }

    fn of_mark(&mut self, kind: u8, slot: u16, mark: &MoveId) {
        self.kind(kind, slot);
        self.id(mark);
    }

    fn cargo(&mut self, cargo: &Cargo) {
        self.kind(u8::from(cargo.replace), cargo.slot);
        self.option(cargo.mark.as_ref());
        match &cargo.credentials {
            Credentials::None => self.raw(&[0]),
            Credentials::Password(password) => {
                self.raw(&[1]);
                self.bytes(password);
            }
            Credentials::User(user, password) => {
                self.raw(&[2]);
                self.bytes(user);
                self.bytes(password);
            }
            Credentials::Shard => self.raw(&[3]),
        }
        self.count(cargo.parcels.len());
        for parcel in &cargo.parcels {
            self.bytes(&parcel.key);
            self.raw(&[u8::from(parcel.expiry.is_some())]);
            if let Some(at) = parcel.expiry {
                self.raw(&at.to_le_bytes());
            }
            self.bytes(&parcel.payload);
        }
    }

    fn word(&mut self, word: &Word) {
        match word {
            Word::AskMark { slot } => self.kind(1, *slot),
            Word::WantMark { slot } => self.kind(27, *slot),
            Word::MarkIs { slot, mark } => {
                self.kind(2, *slot);
                self.option(mark.as_ref());
            }
            Word::Begin { .. }
            | Word::Have { .. }
            | Word::Go { .. }
            | Word::Decide { .. }
            | Word::Again { .. }
            | Word::Done { .. }
            | Word::Void { .. }
            | Word::Closed { .. } => self.word_of_lend(word),
            Word::AskKey { .. }
            | Word::KeyIs { .. }
            | Word::AskOwn { .. }
            | Word::OwnIs { .. }
            | Word::Copy { .. }
            | Word::Copied { .. }
            | Word::AskWaits { .. }
            | Word::WaitsIs { .. } => self.word_of_question(word),
            Word::NotLeader { leader } => {
                self.raw(&[21, u8::from(leader.is_some())]);
                leader.iter().for_each(|node| self.raw(&node.0));
            }
            word => self.word_of_slot(word),
        }
    }

    fn word_of_lend(&mut self, word: &Word) {
        match word {
            Word::Begin {
                id,
                floor,
                total,
                at,
                bytes,
            } => {
                self.of_lend(3, id);
                self.floor(floor);
                self.number(*total);
                self.number(*at);
                self.bytes(bytes);
            }
            Word::Have { id, bytes } => {
                self.of_lend(22, id);
                self.number(*bytes);
            }
            Word::Go { id, floor } => {
                self.of_lend(4, id);
                self.floor(floor);
            }
            Word::Decide { id, floor } => {
                self.of_lend(5, id);
                self.floor(floor);
            }
            Word::Again { id } => self.of_lend(6, id),
            Word::Done { id, refused } => {
                self.of_lend(7, id);
                self.count(refused.len());
                refused.iter().for_each(|at| self.raw(&at.to_le_bytes()));
            }
            Word::Void { id, text } => {
                self.of_lend(8, id);
                self.bytes(text);
            }
            Word::Closed { id } => self.of_lend(9, id),
            _ => unreachable!("a word of a lend"),
        }
    }

    fn word_of_question(&mut self, word: &Word) {
        match word {
            Word::AskKey {
                question,
                slot,
                mark,
                key,
            } => {
                self.of_mark(10, *slot, mark);
                self.number(*question);
                self.bytes(key);
            }
            Word::KeyIs { question, state } => {
                self.raw(&[11]);
                self.number(*question);
                let (kind, id) = match state {
                    KeyState::Absent => (0, None),
                    KeyState::Present => (1, None),
                    KeyState::Lent(id) => (2, Some(id)),
                    KeyState::NoMark => (3, None),
                };
                self.raw(&[kind]);
                id.into_iter().for_each(|id| self.id(id));
            }
            Word::AskOwn { question, slots } => {
                self.raw(&[23]);
                self.number(*question);
                self.bytes(&encode_ranges(slots));
            }
            Word::OwnIs {
                question,
                owned,
                reserved,
                titles,
            } => {
                self.raw(&[24]);
                self.number(*question);
                self.bytes(&encode_ranges(owned));
                self.bytes(&encode_ranges(reserved));
                let runs = titles.runs();
                self.count(runs.len());
                for (first, last, title) in runs {
                    self.raw(&first.to_le_bytes());
                    self.raw(&last.to_le_bytes());
                    self.raw(&title.to_le_bytes());
                }
            }
            Word::Copy { question, cargo } => {
                self.raw(&[25]);
                self.number(*question);
                self.bytes(cargo);
            }
            Word::Copied { question, text } => {
                self.raw(&[26]);
                self.number(*question);
                self.bytes(text);
            }
            Word::AskWaits { question } => {
                self.raw(&[28]);
                self.number(*question);
            }
            Word::WaitsIs { question, waits } => {
                self.raw(&[29]);
                self.number(*question);
                self.raw(&[u8::from(*waits)]);
            }
            _ => unreachable!("a word of a question"),
        }
    }

    fn word_of_slot(&mut self, word: &Word) {
        match word {
            Word::HandOver { slot, mark } => self.of_mark(12, *slot, mark),
            Word::Kept { slot, mark, text } => {
                self.of_mark(13, *slot, mark);
                self.bytes(text);
            }
            Word::Gone {
                slot,
                id,
                floor,
                title,
                epoch,
            } => {
                self.of_mark(14, *slot, id);
                self.floor(floor);
                self.raw(&title.to_le_bytes());
                self.number(*epoch);
            }
            Word::Taken { slot, id } => self.of_mark(15, *slot, id),
            Word::Return { slot, mark } => self.of_mark(16, *slot, mark),
            Word::Returning { slot, mark } => self.of_mark(17, *slot, mark),
            Word::Settled { slot, mark } => self.of_mark(18, *slot, mark),
            Word::NoMark { slot, mark } => self.of_mark(19, *slot, mark),
            Word::MarkClosed { slot, mark } => self.of_mark(20, *slot, mark),
            _ => unreachable!("a word of a slot"),
        }
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn shard(&mut self) -> Option<ShardId> {
        self.array().map(ShardId)
    }

    fn slot(&mut self) -> Option<u16> {
        let slot = self.array().map(u16::from_le_bytes)?;
        (slot < base::slot::SLOT_COUNT).then_some(slot)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.count()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn id(&mut self) -> Option<MoveId> {
        MoveId::decode(&self.array::<{ MoveId::LEN }>()?)
    }

    fn option(&mut self) -> Option<Option<MoveId>> {
        match self.flag()? {
            false => Some(None),
            true => self.id().map(Some),
        }
    }

    fn floor(&mut self) -> Option<MoveNumber> {
        Some(MoveNumber {
            incarnation: Incarnation(self.number()?),
            term: self.number()?,
            n: self.number()?,
        })
    }

    /// Runs in order, so that a few bytes do not cost thousands of steps each.
    fn titles(&mut self) -> Option<Titles> {
        let (mut titles, mut next) = (Titles::default(), 0);
        for _ in 0..self.count()? {
            let (first, last, title) = (self.slot()?, self.slot()?, self.count()?);
            if first < next || first > last {
                return None;
            }
            next = last + 1;
            (first..=last).for_each(|slot| titles.set(slot, title));
        }
        Some(titles)
    }

    fn cargo(&mut self) -> Option<Cargo> {
        let replace = self.flag()?;
        let (slot, mark) = (self.slot()?, self.option()?);
        let credentials = match self.byte()? {
            0 => Credentials::None,
            1 => Credentials::Password(self.bytes()?.to_vec()),
            2 => Credentials::User(self.bytes()?.to_vec(), self.bytes()?.to_vec()),
            3 => Credentials::Shard,
            _ => return None,
        };
        let count = self.count()?;
        let parcels = (0..count).map(|_| {
            Some(Parcel {
                key: self.bytes()?.into(),
                expiry: match self.flag()? {
                    false => None,
                    true => Some(i64::from_le_bytes(self.array()?)),
                },
                payload: self.bytes()?.to_vec(),
            })
        });
        let parcels = parcels.collect::<Option<Vec<Parcel>>>()?;
        Some(Cargo {
            slot,
            mark,
            replace,
            credentials,
            parcels,
        })
    }

    fn word(&mut self) -> Option<Word> {
        Some(match self.byte()? {
            1 => Word::AskMark { slot: self.slot()? },
            27 => Word::WantMark { slot: self.slot()? },
            2 => Word::MarkIs {
                slot: self.slot()?,
                mark: self.option()?,
            },
            kind @ (3..=9 | 22) => {
                let id = self.id()?;
                self.of_lend(kind, id)?
            }
            11 => Word::KeyIs {
                question: self.number()?,
                state: match self.byte()? {
                    0 => KeyState::Absent,
                    1 => KeyState::Present,
                    2 => KeyState::Lent(self.id()?),
                    3 => KeyState::NoMark,
                    _ => return None,
                },
            },
            23 => Word::AskOwn {
                question: self.number()?,
                slots: decode_ranges(self.bytes()?)?,
            },
            24 => Word::OwnIs {
                question: self.number()?,
                owned: decode_ranges(self.bytes()?)?,
                reserved: decode_ranges(self.bytes()?)?,
                titles: self.titles()?,
            },
            kind @ (10 | 12..=20) => {
                let (slot, mark) = (self.slot()?, self.id()?);
                self.of_mark(kind, slot, mark)?
            }
            25 => Word::Copy {
                question: self.number()?,
                cargo: self.bytes()?.to_vec(),
            },
            26 => Word::Copied {
                question: self.number()?,
                text: self.bytes()?.to_vec(),
            },
            28 => Word::AskWaits {
                question: self.number()?,
            },
            29 => Word::WaitsIs {
                question: self.number()?,
                waits: self.flag()?,
            },
            21 => Word::NotLeader {
                leader: match self.flag()? {
                    false => None,
                    true => Some(NodeId(self.array()?)),
                },
            },
            _ => return None,
        })
    }

    fn of_lend(&mut self, kind: u8, id: MoveId) -> Option<Word> {
        Some(match kind {
            3 => Word::Begin {
                id,
                floor: self.floor()?,
                total: self.number()?,
                at: self.number()?,
                bytes: self.bytes()?.to_vec(),
            },
            22 => Word::Have {
                id,
                bytes: self.number()?,
            },
            4 => Word::Go {
                id,
                floor: self.floor()?,
            },
            5 => Word::Decide {
                id,
                floor: self.floor()?,
            },
            6 => Word::Again { id },
            7 => {
                let count = self.count()?;
                let refused = (0..count).map(|_| self.count());
                Word::Done {
                    id,
                    refused: refused.collect::<Option<Vec<u32>>>()?,
                }
            }
            8 => Word::Void {
                id,
                text: self.bytes()?.to_vec(),
            },
            9 => Word::Closed { id },
            _ => return None,
        })
    }

    fn of_mark(&mut self, kind: u8, slot: u16, mark: MoveId) -> Option<Word> {
        Some(match kind {
            10 => Word::AskKey {
                question: self.number()?,
                slot,
                mark,
                key: self.bytes()?.into(),
            },
            12 => Word::HandOver { slot, mark },
            13 => Word::Kept {
                slot,
                mark,
                text: self.bytes()?.to_vec(),
            },
            14 => Word::Gone {
                slot,
                id: mark,
                floor: self.floor()?,
                title: self.count()?,
                epoch: self.number()?,
            },
            15 => Word::Taken { slot, id: mark },
            16 => Word::Return { slot, mark },
            17 => Word::Returning { slot, mark },
            18 => Word::Settled { slot, mark },
            19 => Word::NoMark { slot, mark },
            20 => Word::MarkClosed { slot, mark },
            _ => return None,
        })
    }
}
