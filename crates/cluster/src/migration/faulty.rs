//! A member of another shard that says what is not so: whatever comes, no process ends (M5, M10, D6).
//!
//! Owns a leader whose slots are in every state of a move, and the words of a liar: doubled, out of order,
//! of lends and marks that there are or are not, with absurd numbers.

use super::word::{encode_cargo, Word};
use super::{Cluster, MOST_WAITING};
use crate::identity::NodeIdentity;
use base::ids::Incarnation;
use base::slot::key_slot;
use base::{NodeId, ShardId, SlotSet};
use keyspace::Ttl;
use proptest::prelude::*;
use shard::testing::{config, Played, OTHERS};
use state::StateMachine;
use topology::moves::{
    Cargo, Credentials, Importing, KeyState, Lend, MarkQuestion, Migrating, Parcel, Titles,
};
use topology::outside::Outside;
use topology::{MoveId, MoveNumber};

const B: ShardId = ShardId([2; 20]);
const C: ShardId = ShardId([3; 20]);
const LIAR: NodeId = NodeId([7; 20]);

/// The tags of slots: migrating, closing, importing, returning, lent to a server outside, departed, at rest.
const TAGS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn key(tag: usize, n: usize) -> String {
    format!("{{{}}}{n}", TAGS[tag])
}

fn slot(tag: usize) -> u16 {
    key_slot(key(tag, 0).as_bytes())
}

fn of(shard: ShardId, n: u64) -> MoveId {
    let number = MoveNumber {
        incarnation: Incarnation(1),
        term: 2,
        n,
    };
    MoveId { shard, number }
}

struct Stage {
    played: Played,
    cluster: Cluster,
    /// Ids that the leader has given out.
    own: Vec<MoveId>,
}

impl Stage {
    fn new() -> Stage {
        let mut played = Played::leading(config());
        played.beats(&OTHERS, 100);
        let mut cluster = crate::tests::cluster(NodeIdentity::default());
        cluster.upgraded = true;
        let mut stage = Stage {
            played,
            cluster,
            own: Vec::new(),
        };
        stage.hear(B, Vec::new());
        stage.own = (0..5).map(|_| stage.cluster.mint()).collect();
        let own = stage.own.clone();
        stage.change(|data| {
            let owned = [0, 1, 4, 5, 6].map(slot);
            data.add_slots(&owned.into_iter().collect());
            data.mark_importing(slot(2), importing(own[0]));
            data.mark_importing(slot(3), importing(own[1]));
        });
        stage.change(|data| open_all(data, &own));
        stage
    }

    fn change(&mut self, change: impl FnOnce(&mut StateMachine)) {
        self.played.turn(|shard| shard.act_unsaid(change));
        self.played.beats(&OTHERS, 60);
    }

    /// A turn that hears these words.
    fn hear(&mut self, from: ShardId, words: Vec<Word>) {
        let (now, cluster) = (self.played.now(), &mut self.cluster);
        self.played.turn(|shard| {
            for word in words {
                cluster.migration.take_in(LIAR, from, word);
            }
            cluster.migrate(now, true, shard);
            cluster.send_copies(now, shard);
            cluster.speak(now, shard);
        });
        let released = self.played.released;
        cluster.send_words(now, released, &mut self.played.shard);
        cluster.take_outputs();
        self.played.beats(&OTHERS, 40);
    }

    fn data(&mut self) -> &mut StateMachine {
        self.played.shard.data_mut()
    }
}

fn importing(mark: MoveId) -> Importing {
    Importing {
        shard: B,
        node: LIAR,
        mark,
        clean: true,
        returning: false,
        redis: false,
    }
}

fn lend(tag: usize, mark: Option<MoveId>, outside: Option<Outside>) -> Lend {
    Lend {
        slot: slot(tag),
        to: if outside.is_some() {
            ShardId::default()
        } else {
            B
        },
        mark,
        keys: vec![key(tag, 0).as_bytes().into()],
        db: 0,
        outside,
    }
}

/// Every slot but the last two has three keys, of which the first one may be lent.
fn open_all(data: &mut StateMachine, own: &[MoveId]) {
    let migrating = |n: u64| Migrating {
        shard: B,
        node: LIAR,
        mark: Some(of(B, n)),
        closing: false,
        redis: false,
    };
    for (tag, n) in (0..5).flat_map(|tag| (0..3).map(move |n| (tag, n))) {
        let (key, value) = (key(tag, n), n.to_string());
        let key = data.key(key.as_bytes());
        data.set(&key, value.as_bytes(), Ttl::Clear);
    }
    data.mark_migrating(slot(0), migrating(1));
    data.lend(own[2], lend(0, Some(of(B, 1)), None));
    data.mark_migrating(slot(1), migrating(2));
    data.close_migrating(slot(1));
    data.return_importing(slot(3));
    data.lend(own[3], lend(3, Some(own[1]), None));
    let server = Outside {
        host: b"127.0.0.1".as_slice().into(),
        port: 1,
        db: 0,
        client: Some(3),
        run: b"r".as_slice().into(),
    };
    data.lend(own[4], lend(4, None, Some(server)));
    data.mark_migrating(slot(5), migrating(3));
    data.hand_off(slot(5), own[0]);
}

fn payload(text: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    let kind = (rdb::Type::String, rdb::VERSION);
    rdb::dump(&mut payload, kind, false, &mut || {}, |to| {
        to.string(text.as_bytes());
    });
    payload
}

fn parcel(tag: usize, n: usize) -> Parcel {
    Parcel {
        key: key(tag, n).as_bytes().into(),
        expiry: None,
        payload: payload("lie"),
    }
}

fn begin(id: MoveId, cargo: &Cargo) -> Word {
    let bytes = encode_cargo(cargo);
    Word::Begin {
        id,
        floor: MoveNumber::default(),
        total: bytes.len() as u64,
        at: 0,
        bytes,
    }
}

fn go(id: MoveId) -> Word {
    let floor = MoveNumber::default();
    Word::Go { id, floor }
}

/// M22, M26: a leftover of another shard, in place of a key that is on its way to a server outside.
#[test]
fn cold_lend_replaces_no_lent_key() {
    let mut stage = Stage::new();
    let cargo = Cargo {
        slot: slot(4),
        mark: None,
        replace: true,
        credentials: Credentials::None,
        parcels: vec![parcel(4, 0)],
    };
    let id = of(B, 9);
    stage.hear(B, vec![begin(id, &cargo), go(id)]);
    assert_eq!(
        stage.data().record().moves.decision(id),
        topology::moves::Decision::Open
    );
    let lent = stage.own[4];
    stage.change(|data| assert!(data.return_lend(lent)));
    stage.hear(B, vec![go(id)]);
    let done = topology::moves::Decision::Done(Vec::new());
    assert_eq!(stage.data().record().moves.decision(id), done);
}

/// M19: the new owner's epoch is above the former one's, or a Redis would go on believing that one.
fn epoch_after_a_hand_over(epoch: u64) -> u64 {
    let mut stage = Stage::new();
    let gone = Word::Gone {
        slot: slot(2),
        id: of(B, 9),
        floor: MoveNumber::default(),
        title: 3,
        epoch,
    };
    stage.hear(B, vec![gone]);
    let record = stage.data().record();
    assert!(record.slots.contains(slot(2)));
    record.epoch
}

#[test]
fn hand_over_raises_the_epoch_above_the_owners() {
    assert!(epoch_after_a_hand_over(1000) > 1000);
}

#[cfg(feature = "mutations")]
#[test]
fn hand_over_without_a_higher_epoch_is_caught() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::EpochNotRaised));
    let epoch = epoch_after_a_hand_over(1000);
    mutation::set(None);
    assert!(epoch <= 1000);
}

/// M19: an epoch that can't be is not taken over.
#[test]
fn hand_over_of_absurd_epoch_raises_no_epoch() {
    for epoch in [u64::MAX, u64::MAX - 1, 1 << 60] {
        let mut stage = Stage::new();
        let gone = Word::Gone {
            slot: slot(2),
            id: of(B, 9),
            floor: MoveNumber::default(),
            title: u32::MAX,
            epoch,
        };
        stage.hear(B, vec![gone]);
        let record = stage.data().record();
        assert!(record.slots.contains(slot(2)));
        assert!(record.epoch < 1 << 32, "{}", record.epoch);
    }
}

#[test]
fn words_beyond_the_inbox_are_dropped() {
    let mut stage = Stage::new();
    let migration = &mut stage.cluster.migration;
    for _ in 0..2 * MOST_WAITING {
        migration.take_in(LIAR, B, Word::AskMark { slot: 1 });
    }
    let weights = migration.inbox.iter().map(|(.., word)| word.weight());
    assert_eq!(weights.sum::<usize>(), migration.inbox_bytes);
    assert_eq!(migration.inbox.len(), MOST_WAITING);
    stage.hear(B, Vec::new());
    assert_eq!(stage.cluster.migration.inbox_bytes, 0);
}

/// M8: a mark is that of the shard that names it, or a move would wait for a third one's word for ever.
#[test]
fn mark_of_a_third_shard_is_not_believed() {
    for (of_whom, believed) in [(B, true), (C, false)] {
        let mark = of(of_whom, 9);
        for asked in [false, true] {
            let mut stage = Stage::new();
            let slot = slot(6);
            let mut question = None;
            let mut ask = |stage: &mut Stage| {
                let wanted = MarkQuestion::Wanted;
                stage.cluster.mark_elsewhere(&mut question, B, slot, wanted)
            };
            if asked {
                assert_eq!(ask(&mut stage), None);
            }
            let mark = Some(mark);
            stage.hear(B, vec![Word::MarkIs { slot, mark }]);
            let known = ask(&mut stage);
            assert_eq!(known, believed.then_some(mark), "{of_whom} {asked}");
        }
    }
}

// ---- anything ----------------------------------------------------------------------------------

/// An id: of the leader's by position, of the liar's shard, of a third one, or absurd.
#[derive(Clone, Debug)]
enum Id {
    Own(usize),
    Said(MoveId),
}

impl Id {
    fn of(&self, own: &[MoveId]) -> MoveId {
        match self {
            Id::Own(at) => own[*at],
            Id::Said(id) => *id,
        }
    }
}

fn any_id() -> impl Strategy<Value = Id> {
    let far = MoveNumber {
        incarnation: Incarnation(u64::MAX),
        term: u64::MAX,
        n: u64::MAX,
    };
    let own = MoveId {
        shard: ShardId::default(),
        number: far,
    };
    prop_oneof![
        4 => (0usize..5).prop_map(Id::Own),
        4 => (0u64..8).prop_map(|n| Id::Said(of(B, n))),
        1 => (0u64..4).prop_map(|n| Id::Said(of(C, n))),
        1 => Just(Id::Said(own)),
        1 => Just(Id::Said(MoveId { shard: B, number: far })),
    ]
}

fn any_floor() -> impl Strategy<Value = MoveNumber> {
    prop_oneof![
        6 => Just(MoveNumber::default()),
        2 => (0u64..8).prop_map(|n| of(B, n).number),
        1 => any_id().prop_map(|id| match id {
            Id::Said(id) => id.number,
            Id::Own(_) => MoveNumber::default(),
        }),
    ]
}

fn any_cargo() -> impl Strategy<Value = (usize, Option<Id>, bool, Vec<Parcel>)> {
    let made = (0usize..7, 0usize..4, any::<bool>(), any::<bool>());
    let made = made.prop_map(|(tag, n, broken, dead)| {
        let parcel = parcel(tag, n);
        let payload = match broken && n == 3 {
            true => b"broken".to_vec(),
            false => parcel.payload.clone(),
        };
        let expiry = dead.then_some(-5);
        Parcel {
            payload,
            expiry,
            ..parcel
        }
    });
    (
        0usize..7,
        proptest::option::of(any_id()),
        any::<bool>(),
        proptest::collection::vec(made, 0..4),
    )
}

fn any_lend() -> impl Strategy<Value = Vec<(Id, MoveNumber, Cargo, Option<Id>)>> {
    let one = (any_id(), any_floor(), any_cargo(), any::<bool>());
    let one = one.prop_map(|(id, floor, (tag, mark, replace, mut parcels), fits)| {
        if fits {
            let own = TAGS[tag];
            for parcel in &mut parcels {
                let name = String::from_utf8_lossy(&parcel.key).into_owned();
                let n = name.chars().last().unwrap_or('0');
                parcel.key = format!("{{{own}}}{n}").as_bytes().into();
            }
        }
        let cargo = Cargo {
            slot: slot(tag),
            mark: None,
            replace,
            credentials: Credentials::Shard,
            parcels,
        };
        (id, floor, cargo, mark)
    });
    proptest::collection::vec(one, 1..2)
}

fn any_word() -> impl Strategy<Value = Vec<Sent>> {
    let lends = any_lend().prop_map(|lends| {
        let sent = lends.into_iter();
        sent.map(|(id, floor, cargo, mark)| Sent::Lend(id, floor, cargo, mark))
            .collect()
    });
    let plain = (
        0u8..20,
        any_id(),
        any_id(),
        any_floor(),
        0usize..7,
        0usize..4,
        any::<u64>(),
    );
    let plain = plain.prop_map(|(kind, id, other, floor, tag, n, number)| {
        vec![Sent::Plain(kind, id, other, floor, tag, n, number)]
    });
    prop_oneof![1 => lends, 3 => plain]
}

#[derive(Clone, Debug)]
enum Sent {
    Lend(Id, MoveNumber, Cargo, Option<Id>),
    Plain(u8, Id, Id, MoveNumber, usize, usize, u64),
}

impl Sent {
    fn words(&self, own: &[MoveId]) -> Vec<Word> {
        match self {
            Sent::Lend(id, floor, cargo, mark) => {
                let (id, mark) = (id.of(own), mark.as_ref().map(|mark| mark.of(own)));
                let cargo = Cargo {
                    mark,
                    ..cargo.clone()
                };
                let go = Word::Go { id, floor: *floor };
                let copied = Word::Copy {
                    question: id.number.n,
                    cargo: encode_cargo(&cargo),
                };
                vec![begin(id, &cargo), go.clone(), copied, go]
            }
            Sent::Plain(kind, id, other, floor, tag, n, number) => {
                let (id, other) = (id.of(own), other.of(own));
                vec![plain(*kind, (id, other), *floor, (*tag, *n), *number)]
            }
        }
    }
}

fn plain(
    kind: u8,
    (id, other): (MoveId, MoveId),
    floor: MoveNumber,
    (tag, n): (usize, usize),
    number: u64,
) -> Word {
    let (slot, mark, text) = (slot(tag), id, b"ERR a lie".to_vec());
    let slots: SlotSet = [slot, 5].into_iter().collect();
    let mut titles = Titles::default();
    titles.set(slot, u32::MAX);
    let question = number % 4;
    match kind {
        0 if n == 0 => Word::AskMark { slot },
        0 => Word::WantMark { slot },
        1 => Word::MarkIs {
            slot,
            mark: Some(mark),
        },
        2 => Word::Have { id, bytes: number },
        3 => Word::Go { id, floor },
        4 => Word::Decide { id, floor },
        5 => Word::Again { id },
        6 => Word::Done {
            id,
            refused: (0..n as u32).collect(),
        },
        7 => Word::Void { id, text },
        8 => Word::Closed { id },
        9 => Word::AskKey {
            question,
            slot,
            mark,
            key: key(tag, n).as_bytes().into(),
        },
        10 => Word::KeyIs {
            question,
            state: KeyState::Lent(other),
        },
        11 => Word::HandOver { slot, mark },
        12 => Word::Kept { slot, mark, text },
        13 => Word::Gone {
            slot,
            id,
            floor,
            title: u32::MAX - n as u32,
            epoch: number,
        },
        14 => Word::Taken { slot, id },
        15 => Word::Return { slot, mark },
        16 => Word::Returning { slot, mark },
        17 => Word::Settled { slot, mark },
        18 => Word::NoMark { slot, mark },
        19 if n == 0 => Word::MarkClosed { slot, mark },
        19 if n == 1 => Word::AskOwn { question, slots },
        _ => Word::OwnIs {
            question,
            owned: slots.clone(),
            reserved: slots,
            titles,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn lies_end_no_leader(turns in proptest::collection::vec(
        (any::<bool>(), proptest::collection::vec(any_word(), 1..12)), 1..10,
    )) {
        let mut stage = Stage::new();
        for (third, said) in turns {
            let own = stage.own.clone();
            let words = said.iter().flatten().flat_map(|sent| sent.words(&own)).collect();
            stage.hear(if third { C } else { B }, words);
        }
        prop_assert!(stage.played.leads());
    }
}
