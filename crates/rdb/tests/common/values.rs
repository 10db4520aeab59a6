//! Values with elements, drawn at random.

use containers::listpack::{Builder, Element};
use containers::{intset, listpack};
use proptest::prelude::*;
use rdb::{Form, Piece, Type, EXPIRY_MAX};
use std::borrow::Cow;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        1 => (any::<u8>(), 0..300usize).prop_map(|(byte, n)| vec![byte; n]),
        1 => prop::collection::vec(any::<u8>(), 60..5000),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(f64::from),
        any::<f64>().prop_filter("a number", |score| !score.is_nan()),
        prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.1]),
    ]
}

fn expiry() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        Just(None),
        (1..=EXPIRY_MAX).prop_map(Some),
        (4_102_444_800_000..4_102_444_900_000i64).prop_map(Some),
    ]
}

fn packed(form: Form, texts: &[Vec<u8>]) -> Piece<'static> {
    let mut builder = Builder::default();
    texts
        .iter()
        .for_each(|text| builder.push(Element::of(text)));
    Piece::Packed(form, Cow::Owned(builder.finish()))
}

fn member() -> impl Strategy<Value = Piece<'static>> {
    text().prop_map(|text| Piece::Member(Cow::Owned(text)))
}

fn node() -> impl Strategy<Value = Piece<'static>> {
    prop_oneof![
        text()
            .prop_filter("of some length", |text| !text.is_empty())
            .prop_map(|text| Piece::Member(Cow::Owned(text))),
        prop::collection::vec(text(), 1..20).prop_map(|texts| packed(Form::List, &texts)),
    ]
}

fn scored() -> impl Strategy<Value = (Vec<u8>, f64)> {
    (text(), score())
}

fn field(expires: bool) -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Option<i64>)> {
    (text(), text(), expiry())
        .prop_map(move |(field, value, expiry)| (field, value, expiry.filter(|_| expires)))
}

fn field_of((field, value, expiry): (Vec<u8>, Vec<u8>, Option<i64>)) -> Piece<'static> {
    Piece::Field {
        field: Cow::Owned(field),
        value: Cow::Owned(value),
        expiry,
    }
}

fn triples(mut fields: Vec<(Vec<u8>, Vec<u8>, Option<i64>)>) -> Piece<'static> {
    fields.sort_by_key(|(.., expiry)| expiry.unwrap_or(i64::MAX));
    let texts = fields.into_iter().flat_map(|(field, value, expiry)| {
        let expiry = expiry.unwrap_or(0).to_string().into_bytes();
        [field, value, expiry]
    });
    packed(Form::HashExpiring, &texts.collect::<Vec<_>>())
}

fn ints(ints: &[i64]) -> Piece<'static> {
    let mut set = intset::EMPTY.to_vec();
    for n in ints {
        intset::add(&mut set, *n);
    }
    Piece::Packed(Form::Intset, Cow::Owned(set))
}

/// A value of every type that is written. An element may be there twice: nothing here minds.
pub fn value() -> impl Strategy<Value = (Type, Vec<Piece<'static>>)> {
    use prop::collection::vec;
    let of = |encoding, pieces| (encoding, pieces);
    prop_oneof![
        vec(member(), 1..20).prop_map(move |all| of(Type::List, all)),
        vec(member(), 1..20).prop_map(move |all| of(Type::Set, all)),
        vec(node(), 1..8).prop_map(move |all| of(Type::ListNodes, all)),
        vec(scored(), 1..20).prop_map(move |all| {
            let scored = all.into_iter();
            let scored = scored.map(|(member, score)| Piece::Scored(Cow::Owned(member), score));
            of(Type::SortedSet, scored.collect())
        }),
        vec(field(false), 1..20)
            .prop_map(move |all| of(Type::Hash, all.into_iter().map(field_of).collect())),
        vec(field(true), 1..20)
            .prop_map(move |all| of(Type::HashExpiring, all.into_iter().map(field_of).collect())),
        vec(any::<i64>(), 1..50).prop_map(move |all| of(Type::SetIntset, vec![ints(&all)])),
        vec(any::<i16>().prop_map(i64::from), 1..50)
            .prop_map(move |all| of(Type::SetIntset, vec![ints(&all)])),
        vec(text(), 1..20)
            .prop_map(move |all| of(Type::SetListpack, vec![packed(Form::Set, &all)])),
        vec(scored(), 1..20).prop_map(move |all| {
            let texts = all.into_iter();
            let texts = texts.flat_map(|(member, score)| [member, score.to_string().into_bytes()]);
            let texts: Vec<_> = texts.collect();
            of(
                Type::SortedSetListpack,
                vec![packed(Form::SortedSet, &texts)],
            )
        }),
        vec(field(false), 1..20).prop_map(move |all| {
            let texts = all.into_iter().flat_map(|(field, value, _)| [field, value]);
            let texts: Vec<_> = texts.collect();
            of(Type::HashListpack, vec![packed(Form::Hash, &texts)])
        }),
        vec(field(true), 1..20)
            .prop_map(move |all| of(Type::HashExpiringListpack, vec![triples(all)])),
    ]
}

/// A listpack of these texts.
#[allow(dead_code)] // not every test file makes one
pub fn listpack(texts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = listpack::EMPTY.to_vec();
    for text in texts {
        listpack::append(&mut bytes, [Element::of(text)]);
    }
    bytes
}
