//! SORT and SORT_RO.
//!
//! Owns: their options, and how the keys are met that patterns name. Never: sorts (that is `state::sort`'s).
//!
//! T2: what patterns name and has expired is deleted in the log when it is met. A transaction meets nothing of that kind, as it
//! has all deleted before ([`Role::Walk`]), and stores by an effect that each member sorts for again, as no bound
//! on the result is known beforehand (D5).

use super::api::ServerApi;
use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::key_spec::{BadKeys, KeyFlags};
use super::pace::Pace;
use super::rows::rows;
use super::spec::Role;
use super::words::Words;
use base::events::Classes;
use base::slot::key_slot;
use keyspace::Digits;
use resp::args::Args;
use resp::encode::Reply;
use state::sort::{found_in, Around, NotNumbers, Sorting, Stage};
use state::{free, StateMachine};

rows! { pub static ROWS: Generic [SET SORTEDSET LIST DANGEROUS] {
    "sort" -2 [WRITE DENYOOM] "1.0.0" key(1 RO ACCESS) unknown(RO ACCESS "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort") unknown(OW UPDATE "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array") => sort: "Sorts elements, shows what belongs to them, stores it." .role(Role::Walk).keys_by(keys).new_effects();
    "sort_ro" -2 [READONLY] "7.0.0" key(1 RO ACCESS) unknown(RO ACCESS "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort") => sort_ro: "Sorts elements, shows what belongs to them." .role(Role::Walk).keys_by(source);
}}

/// The key that is sorted; of those that patterns name nothing is known.
fn source(_: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    visit(1, KeyFlags::RO.and(KeyFlags::ACCESS));
    Ok(())
}

/// STORE may stand anywhere, and the last one counts.
fn keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    source(args, visit)?;
    let is = |at: usize, word: &str| args.at(at).eq_ignore_ascii_case(word.as_bytes());
    let (mut at, mut store) = (2, None);
    while at < args.len() {
        if is(at, "limit") {
            at += 2;
        } else if is(at, "get") || is(at, "by") {
            at += 1;
        } else if is(at, "store") && at + 1 < args.len() {
            store = Some(at + 1);
        }
        at += 1;
    }
    let flags = KeyFlags::OW.and(KeyFlags::UPDATE);
    store.into_iter().for_each(|at| visit(at, flags));
    Ok(())
}

fn sort(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, true)
}

fn sort_ro(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, false)
}

/// The slot of all keys that a pattern names, if there is one.
fn slot_of(pattern: &[u8]) -> Option<u16> {
    let tag = base::slot::hash_tag(pattern);
    let has_tag = tag.len() < pattern.len();
    // What stands behind the tag does not matter.
    let end = match has_tag {
        true => pattern.iter().position(|byte| *byte == b'}')?,
        false => pattern.len(),
    };
    let is_wild = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    (!pattern[..end].iter().any(is_wild)).then(|| key_slot(pattern))
}

/// What is asked for, and where it is to be stored.
fn parse<'a>(
    args: Args<'a>,
    may_store: bool,
    is_cluster: bool,
) -> Result<(Sorting<'a>, Option<&'a [u8]>), Error> {
    let slot = key_slot(args.at(1));
    let strays = |pattern: &[u8]| is_cluster && slot_of(pattern) != Some(slot);
    let (mut words, mut store) = (Words::new(args, 2), None);
    let mut sorting = Sorting {
        count: -1,
        ..Sorting::default()
    };
    while !words.is_empty() {
        let left = words.len() - 1;
        if words.word("asc") {
            sorting.desc = false;
        } else if words.word("desc") {
            sorting.desc = true;
        } else if words.word("alpha") {
            sorting.alpha = true;
        } else if left >= 2 && words.word("limit") {
            sorting.offset = words.int()?;
            sorting.count = words.int()?;
        } else if may_store && left >= 1 && words.word("store") {
            store = words.next();
        } else if left >= 1 && words.word("by") {
            let pattern = words.need()?;
            if !pattern.contains(&b'*') {
                sorting.keeps_order = true;
            } else if strays(pattern) {
                return Err(Error::SORT_BY_IN_CLUSTER);
            }
            sorting.by = Some(pattern);
        } else if left >= 1 && words.word("get") {
            let pattern = words.need()?;
            if strays(pattern) {
                return Err(Error::SORT_GET_IN_CLUSTER);
            }
            sorting.gets.push(pattern);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((sorting, store))
}

/// What a key, or a field of a hash, is to SORT; what has expired is deleted first.
fn look(data: &mut StateMachine, name: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
    let key = data.key(name);
    let now = data.now_ms();
    let due = data.with_counted(&key, |entry| {
        let hash = entry.and_then(|entry| entry.value().hash());
        hash.and_then(|hash| hash.first_expiry())
    });
    if let Some(field) = field.filter(|_| data.is_field_due(due)) {
        data.expire_fields(&key, &mut [field].into_iter(), state::ExpiryCount::Counted);
    }
    data.with(&key, |entry| found_in(entry?.value(), field, now))
}

/// A command that sorts, at the leader or a replica.
struct Leading<'a, 'e> {
    data: &'a mut StateMachine,
    server: &'a mut &'e mut dyn ServerApi,
    pace: Pace,
}

impl Around for Leading<'_, '_> {
    fn find(&mut self, key: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
        let found = look(self.data, key, field);
        self.pace(found.as_ref().map_or(0, Vec::len));
        found
    }

    fn pace(&mut self, bytes: usize) {
        self.pace.step(&mut **self.server, bytes);
    }
}

/// Stores what SORT has come to, by an effect that sorts a key again where it is given. False: there is no room now.
fn store_texts(
    data: &mut StateMachine,
    to: &[u8],
    texts: &[&[u8]],
    effect: Option<(&[u8], &Sorting<'_>)>,
    breathe: &mut dyn FnMut(usize),
) -> bool {
    let to = data.key(to);
    let was_there = data.exists(&to);
    match effect {
        Some((from, sorting)) => data.sort_store(&to, from, sorting, texts, breathe),
        // D5: they are one unit.
        None if !data.room_for(StateMachine::bytes_of_store(&to, texts)) => return false,
        None => data.list_store(&to, texts, breathe),
    }
    match texts.is_empty() {
        false => data.event(Classes::LIST, "sortstore", &to),
        true if was_there => data.event(Classes::GENERIC, "del", &to),
        true => {}
    }
    true
}

fn run(env: &mut Env<'_>, args: Args<'_>, may_store: bool) -> Done {
    let (sorting, store) = parse(args, may_store, env.data.is_cluster())?;
    let key = env.data.key(args.at(1));
    let in_transaction = env.session.transaction.open;
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let mut pace = Pace::default();
    let mut reply = Reply::new(out, session.proto);
    let is_plain = store.is_none() && sorting.gets.is_empty();
    let rest = data.with_counted(&key, |entry| {
        let breathe = &mut |bytes| pace.step(&mut **server, bytes);
        let Some(entry) = entry else {
            return Ok(Some((Vec::new(), Stage::Sorted)));
        };
        let chosen = sorting.choose(entry.value(), store.is_some(), breathe);
        let chosen = chosen.ok_or(Error::WRONG_TYPE)?;
        let chosen = chosen.map_err(|NotNumbers| Error::SORT_NUMBERS)?;
        if !is_plain || chosen.stage != Stage::Sorted {
            return Ok(Some((chosen.to_own(breathe), chosen.stage)));
        }
        reply.array(chosen.elements.len());
        for element in &chosen.elements {
            reply.bulk(element.text(&mut Digits::default()));
            breathe(element.text_len());
        }
        Ok(None)
    })?;
    let Some((elements, stage)) = rest else {
        return DONE;
    };
    let mut leading = Leading { data, server, pace };
    let found = sorting.run(elements, stage, &mut leading);
    let Leading {
        data,
        server,
        mut pace,
    } = leading;
    if data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let found = found.map_err(|NotNumbers| Error::SORT_NUMBERS)?;
    let Some(to) = store else {
        reply.array(found.len());
        for text in &found {
            match text {
                Some(text) => reply.bulk(text),
                None => reply.null(),
            }
            pace.step(&mut **server, text.as_ref().map_or(0, Vec::len));
        }
        free(found, &mut |bytes| pace.step(&mut **server, bytes));
        return DONE;
    };
    let texts = found.iter().map(|text| text.as_deref().unwrap_or_default());
    let texts: Vec<&[u8]> = texts.collect();
    let breathe = &mut |bytes| pace.step(&mut **server, bytes);
    let logged_whole = in_transaction && !texts.is_empty();
    let effect = logged_whole.then_some((key.bytes, &sorting));
    if !store_texts(data, to, &texts, effect, breathe) {
        return Ok(Flow::Hold);
    }
    reply.int(texts.len() as i64);
    free(found, &mut |bytes| pace.step(&mut **server, bytes));
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_a_slot_if_all_their_keys_have() {
        for (pattern, want) in [
            ("w_*", None),
            ("{a}_*", Some("a")),
            ("w_*{a}", None),
            ("{a*}", None),
            ("{a\\}", None),
            ("plain", Some("plain")),
            ("{}x", Some("{}x")),
            ("{}*", None),
            ("#", Some("#")),
        ] {
            let want = want.map(|key| key_slot(key.as_bytes()));
            assert_eq!(slot_of(pattern.as_bytes()), want, "{pattern}");
        }
    }
}
