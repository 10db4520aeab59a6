//! SORT: what the elements of a container come to in an order that other keys may give.
//!
//! Owns: [`Sorting`], what a command asks for, carried out on elements; and the storing of the result where the log can't take
//! it, as another effect. Never: parses a command, knows expiry.
//!
//! Invariant: the result depends on elements, arguments and the values that are looked up, whatever a set's order is. Texts are
//! compared byte by byte: there is no locale.

use super::apply::ApplyError;
use super::breath::free;
use super::core::StateMachine;
use super::effects::effects;
use base::number::parse_i64;
use keyspace::{Digits, Element, Key, Scratch, Side, Value};
use std::cmp::Ordering;

effects! {
    /// `SORT destination source how by offset count [pattern ...]`
    62 SORT "the storing of sorted elements": read_sort, breathing apply_sort;
}

/// What SORT is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorting<'a> {
    pub by: Option<&'a [u8]>,
    pub gets: Vec<&'a [u8]>,
    pub alpha: bool,
    pub desc: bool,
    /// Nothing is sorted: BY has a pattern without a place for the element.
    pub keeps_order: bool,
    pub offset: i64,
    /// Below 0: all.
    pub count: i64,
}

/// An element, or what is to be sorted by, is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNumbers;

/// What SORT needs beside the elements.
pub trait Around {
    /// The string of a key, or the field of a hash.
    fn find(&mut self, key: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>>;

    /// T9: a step is done, which took as long as so many bytes.
    fn pace(&mut self, bytes: usize);
}

/// What of a value is sorted; nothing of one that has no such elements. Those of a set come in no order, those of a sorted set in
/// that of their scores. `pace` is told the bytes of each.
pub fn elements_of(value: Value<'_>, pace: &mut dyn FnMut(usize)) -> Option<(Vec<Vec<u8>>, bool)> {
    let own = |element: Element<'_>| {
        pace(element.text_len());
        element.to_vec()
    };
    match value {
        Value::List(list) => Some((list.iter().map(own).collect(), false)),
        Value::Set(set) => Some((set.iter().map(own).collect(), true)),
        Value::SortedSet(zset) => {
            let members = zset.iter(0..zset.len()).map(|found| found.member);
            Some((members.map(own).collect(), false))
        }
        Value::String(_) | Value::Hash(_) => None,
    }
}

/// What of a value another element is sorted by, or is shown for it.
pub fn found_in(value: Value<'_>, field: Option<&[u8]>, now_ms: i64) -> Option<Vec<u8>> {
    match (value, field) {
        (Value::String(string), None) => Some(string.text(&mut Scratch::default()).to_vec()),
        (Value::Hash(hash), Some(field)) => {
            let (found, _) = hash.get_alive(field, now_ms)?;
            Some(found.text(&mut Digits::default()).to_vec())
        }
        _ => None,
    }
}

impl Sorting<'_> {
    /// The result: `None` stands for what was looked up and is not there. `stores`: it is going to be a list, so a
    /// set is sorted at any rate.
    pub fn run(
        &self,
        (mut elements, is_set): (Vec<Vec<u8>>, bool),
        stores: bool,
        around: &mut dyn Around,
    ) -> Result<Vec<Option<Vec<u8>>>, NotNumbers> {
        let forced = self.keeps_order && is_set && stores;
        if !self.keeps_order || forced {
            let by = self.by.filter(|_| !forced);
            if is_set && by.is_some() {
                elements.sort_unstable_by(|a, b| {
                    around.pace(0);
                    a.cmp(b)
                });
            }
            elements = match self.alpha || forced {
                true => self.by_text(elements, by, around),
                false => self.by_number(elements, by, around)?,
            };
        } else if self.desc && !is_set {
            elements.reverse();
        }
        let (from, count) = self.range(elements.len());
        let chosen = elements.into_iter().skip(from).take(count);
        if self.gets.is_empty() {
            return Ok(chosen.map(Some).collect());
        }
        let mut shown = Vec::new();
        for element in chosen {
            for get in &self.gets {
                shown.push(find(get, &element, around));
                around.pace(0);
            }
        }
        Ok(shown)
    }

    /// The first element of so many that is shown, and how many are.
    fn range(&self, len: usize) -> (usize, usize) {
        let from = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        (from, count.min(len - from))
    }

    fn by_number(
        &self,
        elements: Vec<Vec<u8>>,
        by: Option<&[u8]>,
        around: &mut dyn Around,
    ) -> Result<Vec<Vec<u8>>, NotNumbers> {
        let mut all = Vec::with_capacity(elements.len());
        for element in elements {
            let number = match by {
                None => number_of(&element).ok_or(NotNumbers)?,
                Some(by) => match find(by, &element, around) {
                    Some(text) => number_of(&text).ok_or(NotNumbers)?,
                    None => 0.0,
                },
            };
            all.push((number, element));
            around.pace(0);
        }
        all.sort_by(|a, b| {
            around.pace(0);
            let by_number = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
            self.directed(by_number.then_with(|| a.1.cmp(&b.1)))
        });
        Ok(all.into_iter().map(|(_, element)| element).collect())
    }

    fn by_text(
        &self,
        mut elements: Vec<Vec<u8>>,
        by: Option<&[u8]>,
        around: &mut dyn Around,
    ) -> Vec<Vec<u8>> {
        let Some(by) = by else {
            elements.sort_by(|a, b| {
                around.pace(0);
                self.directed(a.cmp(b))
            });
            return elements;
        };
        let with_text = |element: Vec<u8>| (find(by, &element, around), element);
        let mut all: Vec<_> = elements.into_iter().map(with_text).collect();
        // What is not there comes first; of equals the order stays.
        all.sort_by(|a, b| {
            around.pace(0);
            self.directed(a.0.cmp(&b.0))
        });
        all.into_iter().map(|(_, element)| element).collect()
    }

    fn directed(&self, order: Ordering) -> Ordering {
        match self.desc {
            true => order.reverse(),
            false => order,
        }
    }
}

/// What a pattern names for an element: the element itself for `#`, the field behind `->`, or a string.
fn find(pattern: &[u8], element: &[u8], around: &mut dyn Around) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let at = pattern.iter().position(|byte| *byte == b'*')?;
    let (head, tail) = (&pattern[..at], &pattern[at + 1..]);
    let arrow = tail.windows(2).position(|two| two == b"->");
    let arrow = arrow.filter(|arrow| arrow + 2 < tail.len());
    let (tail, field) = match arrow {
        Some(arrow) => (&tail[..arrow], Some(&tail[arrow + 2..])),
        None => (tail, None),
    };
    around.find(&[head, element, tail].concat(), field)
}

/// The number that a text is to C's strtod, up to its first NUL. Nothing at all is 0.
fn number_of(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let text = std::str::from_utf8(text).ok()?;
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let text = text.trim_start_matches(blank);
    let digits = text.trim_start_matches(['+', '-']);
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => {
            let number = u64::from_str_radix(digits, 16).ok()? as f64;
            if text.starts_with('-') {
                -number
            } else {
                number
            }
        }
        None => text.parse::<f64>().ok()?,
    };
    // Out of range, above or below.
    let mantissa = digits.split(['e', 'E']).next().unwrap_or(digits);
    let is_zero = !mantissa.contains(|c| ('1'..='9').contains(&c));
    let has_digits = mantissa.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let lost = has_digits && (number.is_infinite() || number == 0.0 && !is_zero);
    (!number.is_nan() && !lost).then_some(number)
}

impl StateMachine {
    /// SORT with STORE where the log can't take the result: each member of the group sorts again. `texts` is what it comes
    /// to, and not empty. `pace` is told the bytes of each (T9).
    pub fn sort_store(
        &mut self,
        to: &Key<'_>,
        from: &[u8],
        sorting: &Sorting<'_>,
        texts: &[&[u8]],
        pace: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(SORT, to);
        let mut how = Vec::new();
        how.extend(sorting.alpha.then_some(b'A'));
        how.extend(sorting.desc.then_some(b'D'));
        how.extend(sorting.keeps_order.then_some(b'K'));
        how.extend(sorting.by.map(|_| b'B'));
        let (mut offset, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let args = [
            to.bytes,
            from,
            &how,
            sorting.by.unwrap_or_default(),
            offset.format(sorting.offset).as_bytes(),
            count.format(sorting.count).as_bytes(),
        ];
        if self.emit_parts(self.db, SORT, &args, &sorting.gets) {
            self.keyspace.remove(self.db, to);
            self.keyspace.edit_list(self.db, to, |list| {
                list.push_with(Side::Right, texts, pace);
            });
            self.changed(self.db, to);
            self.recount(1, texts.len());
        }
    }
}

type Asked<'a> = (&'a [u8], &'a [u8], Sorting<'a>);

fn read_sort<'a>(args: &[&'a [u8]]) -> Option<Asked<'a>> {
    let [to, from, how, by, offset, count, gets @ ..] = args else {
        return None;
    };
    let is = |letter: u8| how.contains(&letter);
    let sorting = Sorting {
        by: is(b'B').then_some(*by),
        gets: gets.to_vec(),
        alpha: is(b'A'),
        desc: is(b'D'),
        keeps_order: is(b'K'),
        offset: parse_i64(offset)?,
        count: parse_i64(count)?,
    };
    Some((to, from, sorting))
}

/// A state that carries out the log.
struct Applied<'s, 'p> {
    state: &'s StateMachine,
    pace: &'p mut dyn FnMut(usize),
}

impl Around for Applied<'_, '_> {
    fn find(&mut self, key: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
        let keyspace = &self.state.keyspace;
        let entry = keyspace.get(self.state.db, &keyspace.key(key))?;
        // What was due is gone: the leader has deleted it in the log.
        let found = found_in(entry.value(), field, i64::MIN)?;
        (self.pace)(found.len());
        Some(found)
    }

    fn pace(&mut self, bytes: usize) {
        (self.pace)(bytes);
    }
}

fn apply_sort(
    state: &mut StateMachine,
    (to, from, sorting): Asked<'_>,
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    let mismatch = ApplyError::Mismatch(SORT);
    let (db, source) = (state.db, state.key(from));
    let entry = state.keyspace.get(db, &source);
    let elements = entry.and_then(|entry| elements_of(entry.value(), pace));
    let mut around = Applied { state, pace };
    let found = sorting.run(elements.ok_or(mismatch)?, true, &mut around);
    let found = found.map_err(|NotNumbers| mismatch)?;
    let texts: Vec<&[u8]> = found
        .iter()
        .map(|text| text.as_deref().unwrap_or_default())
        .collect();
    if texts.is_empty() {
        return Err(mismatch);
    }
    let to = state.key(to);
    state.sort_store(&to, from, &sorting, &texts, pace);
    free(found, pace);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_strtod() {
        for (text, want) in [
            ("", Some(0.0)),
            ("12", Some(12.0)),
            (" \t-1.5e3", Some(-1500.0)),
            ("+.5", Some(0.5)),
            ("5.", Some(5.0)),
            ("0x1F", Some(31.0)),
            ("-0x10", Some(-16.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1\0x", Some(1.0)),
            ("0e99999", Some(0.0)),
            ("1e999", None),
            ("1e-999", None),
            ("nan", None),
            ("1x", None),
            ("1 ", None),
            (" ", None),
            ("x", None),
            ("+-1", None),
        ] {
            assert_eq!(number_of(text.as_bytes()), want, "{text:?}");
        }
    }

    /// Shows what was looked for.
    struct Echo;

    impl Around for Echo {
        fn find(&mut self, key: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
            Some([key, b"|", field.unwrap_or_default()].concat())
        }

        fn pace(&mut self, _: usize) {}
    }

    #[test]
    fn patterns_name_keys_and_fields() {
        for (pattern, want) in [
            ("#", Some("e")),
            ("w_*", Some("w_e|")),
            ("w_*_x", Some("w_e_x|")),
            ("w_*->f", Some("w_e|f")),
            ("w_*->", Some("w_e->|")),
            ("w->*", Some("w->e|")),
            ("w_*_*", Some("w_e_*|")),
            ("w", None),
        ] {
            let found = find(pattern.as_bytes(), b"e", &mut Echo);
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{pattern}");
        }
    }
}
