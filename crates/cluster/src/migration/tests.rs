//! Words travel whole or not at all, and no bytes break the reader; what an unasked word is worth.

use super::questions::Questions;
use super::word::{decode_cargo, encode_cargo, Word, Words};
use base::clock::Mono;
use base::ids::Incarnation;
use base::{NodeId, ShardId, SlotSet};
use proptest::prelude::*;
use std::time::Duration;
use topology::moves::{Cargo, Credentials, KeyState, MarkQuestion, Parcel, Titles};
use topology::{MoveId, MoveNumber};

const WHICH: MarkQuestion = MarkQuestion::Which;

fn number() -> impl Strategy<Value = MoveNumber> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(incarnation, term, n)| MoveNumber {
        incarnation: Incarnation(incarnation),
        term,
        n,
    })
}

fn id() -> impl Strategy<Value = MoveId> {
    (any::<[u8; 20]>(), number()).prop_map(|(shard, number)| MoveId {
        shard: ShardId(shard),
        number,
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..40)
}

fn credentials() -> impl Strategy<Value = Credentials> {
    prop_oneof![
        Just(Credentials::None),
        Just(Credentials::Shard),
        bytes().prop_map(Credentials::Password),
        (bytes(), bytes()).prop_map(|(user, password)| Credentials::User(user, password)),
    ]
}

fn cargo() -> impl Strategy<Value = Cargo> {
    let parcel =
        (bytes(), any::<Option<i64>>(), bytes()).prop_map(|(key, expiry, payload)| Parcel {
            key: key.into(),
            expiry,
            payload,
        });
    let parcels = proptest::collection::vec(parcel, 0..4);
    (
        0u16..16384,
        proptest::option::of(id()),
        any::<bool>(),
        credentials(),
        parcels,
    )
        .prop_map(|(slot, mark, replace, credentials, parcels)| Cargo {
            slot,
            mark,
            replace,
            credentials,
            parcels,
        })
}

fn key_state() -> impl Strategy<Value = KeyState> {
    prop_oneof![
        Just(KeyState::Absent),
        Just(KeyState::Present),
        Just(KeyState::NoMark),
        id().prop_map(KeyState::Lent),
    ]
}

fn of_lend() -> impl Strategy<Value = Word> {
    prop_oneof![
        (id(), number(), any::<u64>(), any::<u64>(), bytes()).prop_map(
            |(id, floor, total, at, bytes)| Word::Begin {
                id,
                floor,
                total,
                at,
                bytes
            }
        ),
        (id(), any::<u64>()).prop_map(|(id, bytes)| Word::Have { id, bytes }),
        (id(), number()).prop_map(|(id, floor)| Word::Go { id, floor }),
        (id(), number()).prop_map(|(id, floor)| Word::Decide { id, floor }),
        id().prop_map(|id| Word::Again { id }),
        id().prop_map(|id| Word::Closed { id }),
        (id(), proptest::collection::vec(any::<u32>(), 0..5))
            .prop_map(|(id, refused)| Word::Done { id, refused }),
        (id(), bytes()).prop_map(|(id, text)| Word::Void { id, text }),
    ]
}

fn slots() -> impl Strategy<Value = SlotSet> {
    let slots = proptest::collection::vec(0u16..16384, 0..20);
    slots.prop_map(|slots| slots.into_iter().collect())
}

fn titles() -> impl Strategy<Value = Titles> {
    let some = proptest::collection::vec((0u16..16384, any::<u32>()), 0..20);
    some.prop_map(|some| {
        let mut titles = Titles::default();
        some.into_iter()
            .for_each(|(slot, title)| titles.set(slot, title));
        titles
    })
}

fn of_owners() -> impl Strategy<Value = Word> {
    prop_oneof![
        (any::<u64>(), slots()).prop_map(|(question, slots)| Word::AskOwn { question, slots }),
        (any::<u64>(), slots(), slots(), titles()).prop_map(
            |(question, owned, reserved, titles)| {
                Word::OwnIs {
                    question,
                    owned,
                    reserved,
                    titles,
                }
            }
        ),
    ]
}

fn of_slot() -> impl Strategy<Value = Word> {
    let slot = 0u16..16384;
    prop_oneof![
        slot.clone().prop_map(|slot| Word::AskMark { slot }),
        slot.clone().prop_map(|slot| Word::WantMark { slot }),
        (slot.clone(), proptest::option::of(id()))
            .prop_map(|(slot, mark)| Word::MarkIs { slot, mark }),
        (any::<u64>(), slot.clone(), id(), bytes()).prop_map(|(question, slot, mark, key)| {
            let key = key.into();
            Word::AskKey {
                question,
                slot,
                mark,
                key,
            }
        }),
        (any::<u64>(), key_state()).prop_map(|(question, state)| Word::KeyIs { question, state }),
        (slot.clone(), id()).prop_map(|(slot, mark)| Word::HandOver { slot, mark }),
        (slot.clone(), id(), bytes()).prop_map(|(slot, mark, text)| Word::Kept {
            slot,
            mark,
            text
        }),
        (slot.clone(), id(), number(), any::<u32>(), any::<u64>()).prop_map(
            |(slot, id, floor, title, epoch)| Word::Gone {
                slot,
                id,
                floor,
                title,
                epoch
            }
        ),
        (slot.clone(), id()).prop_map(|(slot, id)| Word::Taken { slot, id }),
        (slot.clone(), id()).prop_map(|(slot, mark)| Word::Return { slot, mark }),
        (slot.clone(), id()).prop_map(|(slot, mark)| Word::Returning { slot, mark }),
        (slot.clone(), id()).prop_map(|(slot, mark)| Word::Settled { slot, mark }),
        (slot.clone(), id()).prop_map(|(slot, mark)| Word::NoMark { slot, mark }),
        (slot, id()).prop_map(|(slot, mark)| Word::MarkClosed { slot, mark }),
        (any::<u64>(), bytes()).prop_map(|(question, cargo)| Word::Copy { question, cargo }),
        (any::<u64>(), bytes()).prop_map(|(question, text)| Word::Copied { question, text }),
        any::<u64>().prop_map(|question| Word::AskWaits { question }),
        (any::<u64>(), any::<bool>())
            .prop_map(|(question, waits)| Word::WaitsIs { question, waits }),
        proptest::option::of(any::<[u8; 20]>()).prop_map(|node| Word::NotLeader {
            leader: node.map(NodeId)
        }),
    ]
}

fn words() -> impl Strategy<Value = Words> {
    let word = prop_oneof![of_lend(), of_slot(), of_owners()];
    let all = proptest::collection::vec(word, 0..6);
    (any::<[u8; 20]>(), any::<[u8; 20]>(), all).prop_map(|(from, to, words)| Words {
        from: ShardId(from),
        to: ShardId(to),
        words,
    })
}

proptest! {
    #[test]
    fn words_round_trip(words in words()) {
        let mut bytes = Vec::new();
        words.encode(&mut bytes);
        prop_assert_eq!(Words::decode(&bytes), Some(words));
    }

    #[test]
    fn a_cargo_round_trips(cargo in cargo()) {
        let mut bytes = encode_cargo(&cargo);
        prop_assert_eq!(decode_cargo(&bytes), Some(cargo));
        bytes.push(0);
        prop_assert_eq!(decode_cargo(&bytes), None);
    }

    #[test]
    fn cut_words_are_refused(words in words(), cut in 1usize..60) {
        let mut bytes = Vec::new();
        words.encode(&mut bytes);
        bytes.truncate(bytes.len().saturating_sub(cut));
        let read = Words::decode(&bytes);
        prop_assert!(read.as_ref() != Some(&words), "{:?}", read);
    }

    #[test]
    fn any_bytes_give_words_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Words::decode(&bytes);
    }
}

/// M8: a mark that was told unasked is an answer once, from that shard, while it is fresh.
#[test]
fn announced_mark_answers_one_command() {
    let (b, c) = (ShardId([2; 20]), ShardId([3; 20]));
    let mark = MoveId {
        shard: b,
        ..MoveId::default()
    };
    let told = |questions: &mut Questions, slot| {
        let mark = Some(mark);
        questions.hear(Mono(1), b, Word::MarkIs { slot, mark });
    };
    let late = Mono(1) + Duration::from_secs(5);
    let table = [
        (b, Mono(2), Some(Some(mark))),
        (c, Mono(2), None),
        (b, late, None),
    ];
    for (of, now, answer) in table {
        let mut questions = Questions::of_term(1);
        told(&mut questions, 5);
        let mut question = None;
        assert_eq!(questions.mark(now, &mut question, of, 5, WHICH), answer);
        assert_eq!(question.is_some(), answer.is_none(), "else it is asked");
        let mut second = None;
        assert_eq!(questions.mark(now, &mut second, of, 5, WHICH), None);
    }
}

/// M8: under a mark that has ended since, the first lend would be void, and its client told of an error.
#[test]
fn announced_mark_that_ends_is_forgotten() {
    let b = ShardId([2; 20]);
    let (slot, mark) = (5, MoveId::default());
    let table = [
        Word::Returning { slot, mark },
        Word::MarkClosed { slot, mark },
        Word::HandOver { slot, mark },
        Word::MarkIs { slot, mark: None },
    ];
    for word in table {
        let mut questions = Questions::of_term(1);
        let told = Word::MarkIs {
            slot,
            mark: Some(mark),
        };
        questions.hear(Mono(1), b, told);
        questions.hear(Mono(1), b, word.clone());
        let mut question = None;
        let answer = questions.mark(Mono(2), &mut question, b, slot, WHICH);
        assert_eq!(answer, None, "{word:?}");
    }
}
