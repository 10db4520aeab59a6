use super::*;
use crate::types::test_cut::read_cut;
use crate::{Key, Keyspace, Layout};
use containers::listpack::Builder;
use proptest::prelude::*;
use std::collections::VecDeque;

type Model = VecDeque<Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Push(Side, Vec<Vec<u8>>),
    PushPacked(Vec<Vec<u8>>),
    Pop(Side, u64),
    Set(usize, Vec<u8>),
    Insert(Vec<u8>, bool, Vec<u8>),
    Remove(Vec<u8>, i64),
    Trim(usize, usize),
    Turn(Side, Side, Vec<u8>),
    Limit(i32),
    /// A cut begins, if none is under way; or what it has is read.
    Cut,
    Rename,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..9u8).prop_map(|n| format!("t{n}").into_bytes()),
        2 => (0..9i64).prop_map(|n| (n * 1_000_003).to_string().into_bytes()),
        2 => (0..700usize).prop_map(|n| vec![b'x'; n]),
        1 => (4_000..9_000usize).prop_map(|n| vec![b'y'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let side = || prop_oneof![Just(Side::Left), Just(Side::Right)];
    let texts = || prop::collection::vec(text(), 1..12);
    prop_oneof![
        8 => (side(), texts()).prop_map(|(side, texts)| Op::Push(side, texts)),
        1 => texts().prop_map(Op::PushPacked),
        4 => (side(), 0..9u64).prop_map(|(side, n)| Op::Pop(side, n)),
        3 => (0..60usize, text()).prop_map(|(at, text)| Op::Set(at, text)),
        3 => (text(), any::<bool>(), text()).prop_map(|(p, before, t)| Op::Insert(p, before, t)),
        2 => (text(), -3..4i64).prop_map(|(text, count)| Op::Remove(text, count)),
        1 => (0..20usize, 0..90usize).prop_map(|(from, to)| Op::Trim(from, to)),
        1 => (side(), side(), text()).prop_map(|(take, put, text)| Op::Turn(take, put, text)),
        1 => prop_oneof![-5..9i32, Just(128)].prop_map(Op::Limit),
        1 => Just(Op::Cut),
        1 => Just(Op::Rename),
    ]
}

fn model_of(list: ListRef<'_>) -> Model {
    let model: Model = list.iter().map(Element::to_vec).collect();
    assert_eq!(model.len() as u64, list.len());
    model
}

fn packed(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Builder::default();
    texts.iter().for_each(|text| packed.push(Element::of(text)));
    packed.finish()
}

struct Bed {
    keyspace: Keyspace,
    names: [&'static [u8]; 2],
    model: Model,
    /// The cut's other end, and what it has to read.
    cut: Option<(crate::CutReader, Model)>,
}

impl Bed {
    fn key(&self) -> Key<'static> {
        self.keyspace.key(self.names[0])
    }

    fn list(&self) -> Option<ListRef<'_>> {
        Some(self.keyspace.get(0, &self.key())?.value().list().unwrap())
    }

    fn edit<R>(&mut self, edit: impl FnOnce(&mut ListMut<'_>) -> R) -> R {
        let key = self.key();
        self.keyspace.edit_list(0, &key, edit)
    }

    fn read_cut(&mut self) {
        let Some((reader, want)) = self.cut.take() else {
            return;
        };
        let mut read = Model::new();
        read_cut(&mut self.keyspace, reader, |entry| {
            read = model_of(entry.value.list().unwrap());
        });
        assert_eq!(read, want);
    }

    fn remove(&mut self, text: &[u8], count: i64) -> u64 {
        let mut at: Vec<usize> = (0..self.model.len())
            .filter(|at| self.model[*at] == text)
            .collect();
        let most = match count {
            0 => at.len(),
            count => at.len().min(count.unsigned_abs() as usize),
        };
        if count < 0 {
            at.reverse();
        }
        at.truncate(most);
        at.sort_unstable();
        for at in at.iter().rev() {
            self.model.remove(*at);
        }
        most as u64
    }

    fn apply(&mut self, op: Op) {
        let key = self.key();
        match op {
            Op::Push(side, texts) => {
                let all: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
                self.edit(|list| list.push(side, &all));
                for text in texts {
                    match side {
                        Side::Left => self.model.push_front(text),
                        Side::Right => self.model.push_back(text),
                    }
                }
            }
            Op::PushPacked(texts) => {
                self.edit(|list| list.push_packed(&packed(&texts)));
                self.model.extend(texts);
            }
            Op::Limit(list_size) => self.keyspace.set_limits(Limits {
                list_size,
                ..Limits::default()
            }),
            Op::Cut if self.cut.is_some() => self.read_cut(),
            Op::Cut if self.keyspace.may_cut() => {
                self.cut = Some((self.keyspace.begin_cut(), self.model.clone()));
            }
            Op::Rename => {
                let to = self.keyspace.key(self.names[1]);
                let renamed = self.keyspace.rename(0, &key, &to);
                assert_eq!(renamed, !self.model.is_empty());
                self.names.swap(0, 1);
            }
            op if !self.model.is_empty() => self.change(op),
            _ => {}
        }
    }

    /// What needs a list that is there.
    fn change(&mut self, op: Op) {
        match op {
            Op::Pop(side, count) => {
                self.edit(|list| list.pop(side, count));
                for _ in 0..count {
                    match side {
                        Side::Left => self.model.pop_front(),
                        Side::Right => self.model.pop_back(),
                    };
                }
            }
            Op::Set(at, text) => {
                let done = self.edit(|list| list.set(at as u64, &text));
                let place = self.model.get_mut(at);
                assert_eq!(done, place.is_some());
                if let Some(place) = place {
                    *place = text;
                }
            }
            Op::Insert(pivot, before, text) => {
                let done = self.edit(|list| list.insert_beside(&pivot, before, &text, &mut |_| {}));
                let found = self.model.iter().position(|of| *of == pivot);
                assert_eq!(done, found.is_some());
                if let Some(found) = found {
                    self.model.insert(found + usize::from(!before), text);
                }
            }
            Op::Remove(text, count) => {
                let removed = self.edit(|list| list.remove_value(&text, count, &mut |_| {}));
                assert_eq!(removed, self.remove(&text, count));
            }
            Op::Turn(take, put, text) => {
                self.edit(|list| list.turn(take, (put, &text)));
                match take {
                    Side::Left => self.model.pop_front(),
                    Side::Right => self.model.pop_back(),
                };
                match put {
                    Side::Left => self.model.push_front(text),
                    Side::Right => self.model.push_back(text),
                }
            }
            Op::Trim(from, to) => {
                self.edit(|list| list.trim(from as u64, to as u64));
                let (from, to) = (from.min(self.model.len()), to.min(self.model.len()));
                self.model = match from < to {
                    true => self.model.range(from..to).cloned().collect(),
                    false => Model::new(),
                };
            }
            _ => {}
        }
    }

    fn check(&self) {
        let Some(list) = self.list() else {
            assert!(self.model.is_empty());
            return;
        };
        assert_eq!(model_of(list), self.model);
        let len = self.model.len();
        for at in [0, len / 3, len - 1, len] {
            let found = list.get(at as u64).map(Element::to_vec);
            assert_eq!(found.as_ref(), self.model.get(at));
            let ahead: Vec<_> = list.iter_from(at as u64).map(Element::to_vec).collect();
            assert!(ahead.iter().eq(self.model.iter().skip(at)));
            let back: Vec<_> = list
                .iter_back_from(at as u64)
                .map(Element::to_vec)
                .collect();
            assert!(back.iter().eq(self.model.iter().take(at + 1).rev()));
        }
        let pivot = &self.model[len / 2];
        let found = self.model.iter().position(|text| text == pivot);
        assert_eq!(list.find(pivot, &mut |_| {}), found.map(|at| at as u64));
        assert_eq!(list.end(Side::Right).unwrap().to_vec(), self.model[len - 1]);
    }
}

proptest! {
    #[test]
    fn lists_are_what_the_model_is(ops in prop::collection::vec(op(), 0..120)) {
        let mut bed = Bed {
            keyspace: Keyspace::new(Layout::Single { databases: 1 }, 5),
            names: [b"a", b"b"],
            model: Model::new(),
            cut: None,
        };
        for op in ops {
            bed.apply(op);
            bed.check();
        }
        bed.read_cut();
    }
}

fn with_limit(list_size: i32) -> Keyspace {
    let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, 3);
    keyspace.set_limits(Limits {
        list_size,
        ..Limits::default()
    });
    keyspace
}

#[test]
fn order_counts_in_digests_but_form_does_not() {
    let digest = |limit: i32, texts: &[&[u8]]| {
        let mut keyspace = with_limit(limit);
        let key = keyspace.key(b"k");
        keyspace.edit_list(0, &key, |list| list.push(Side::Right, texts));
        keyspace.digest_all()
    };
    let texts: [&[u8]; 3] = [b"a", b"12", b"c"];
    assert_eq!(digest(-2, &texts), digest(1, &texts));
    assert_ne!(digest(-2, &texts), digest(-2, &[b"12", b"a", b"c"]));
}

/// What Redis 7.4 reports.
#[test]
fn forms_follow_the_limit_with_a_gap() {
    let mut keyspace = with_limit(4);
    let key = keyspace.key(b"k");
    let mut after = |edit: &mut dyn FnMut(&mut ListMut<'_>)| {
        keyspace.edit_list(0, &key, |list| {
            edit(list);
            list.as_ref().encoding()
        })
    };
    assert_eq!(
        after(&mut |l| l.push(Side::Right, &[&b"a"[..]; 4])),
        "listpack"
    );
    assert_eq!(after(&mut |l| l.push(Side::Left, &[b"b"])), "quicklist");
    assert_eq!(after(&mut |l| l.pop(Side::Left, 2)), "quicklist");
    assert_eq!(after(&mut |l| l.pop(Side::Left, 1)), "listpack");
    let long = [b'x'; 8200];
    let push = &mut |l: &mut ListMut<'_>| l.push(Side::Right, &[&long]);
    assert_eq!(after(push), "quicklist");
    assert_eq!(after(&mut |l| l.pop(Side::Left, 2)), "quicklist");
    assert_eq!(after(&mut |l| assert!(l.set(0, b"a"))), "listpack");
}

#[test]
fn long_chunks_that_were_cut_out_are_garbage() {
    let mut keyspace = with_limit(-2);
    let key = keyspace.key(b"k");
    let text = [b'x'; 1000];
    keyspace.edit_list(0, &key, |list| list.push(Side::Right, &[&text[..]; 1000]));
    assert!(keyspace.take_garbage().is_none());
    keyspace.edit_list(0, &key, |list| list.trim(3, 5));
    assert!(keyspace.take_garbage().is_some());
    let list = keyspace.get(0, &key).unwrap().value().list().unwrap();
    assert_eq!((list.len(), list.encoding()), (2, "listpack"));
}
