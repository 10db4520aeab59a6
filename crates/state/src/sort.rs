//! SORT: what the elements of a container come to in an order that other keys may give.
//!
//! Owns: [`Sorting`], what a command asks for, carried out on elements; and the storing of the result where the log can't take
//! it, as another effect. Never: parses a command, knows expiry.
//!
//! Invariant: the result depends on elements, arguments and the values that are looked up, whatever a set's order is. Texts are
//! compared byte by byte: there is no locale.

use super::apply::ApplyError;
use super::breath::{free, STEP};
use super::core::StateMachine;
use super::effects::effects;
use base::number::parse_i64;
use keyspace::{Digits, Element, Key, Scratch, Side, Value};
use std::cmp::Ordering;
use std::ops::Range;

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

/// The elements of a value, before any other key is looked at.
pub struct Chosen<'e> {
    pub elements: Vec<Element<'e>>,
    pub stage: Stage,
}

/// How far sorting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Other keys say in which order these are; those of a set come in none.
    Unsorted { is_set: bool },
    /// These are what is shown, in their order.
    Sorted,
}

impl Chosen<'_> {
    /// The same without the value. `pace` is told the bytes of each (T9).
    pub fn to_own(&self, pace: &mut dyn FnMut(usize)) -> Vec<Vec<u8>> {
        let own = |element: &Element<'_>| {
            pace(element.text_len());
            element.to_vec()
        };
        self.elements.iter().map(own).collect()
    }
}

/// Elements between two words to `pace`.
const PACED: usize = 64;

/// How many elements a value has that SORT sorts; nothing of one that has no such elements.
fn count_of(value: Value<'_>) -> Option<usize> {
    match value {
        Value::List(list) => usize::try_from(list.len()).ok(),
        Value::Set(set) => Some(set.len()),
        Value::SortedSet(zset) => Some(zset.len()),
        Value::String(_) | Value::Hash(_) => None,
    }
}

/// What `of` makes of each of `count` elements; nothing if it makes nothing of one. `pace` is told their bytes.
#[inline]
fn collect<'e, T>(
    (value, count): (Value<'e>, usize),
    pace: &mut dyn FnMut(usize),
    of: impl Fn(Element<'e>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Vec::with_capacity(count);
    let (mut failed, mut bytes) = (false, 0);
    let mut add = |element: Element<'e>| {
        if let Element::Bytes(text) = element {
            bytes += text.len();
        }
        match of(element) {
            Some(one) => all.push(one),
            None => failed = true,
        }
        if all.len() % PACED == 0 {
            pace(std::mem::take(&mut bytes) + PACED * STEP);
        }
    };
    match value {
        Value::List(list) => list.iter().for_each(&mut add),
        Value::Set(set) => set.iter().for_each(&mut add),
        Value::SortedSet(zset) => zset.iter(0..count).for_each(|found| add(found.member)),
        Value::String(_) | Value::Hash(_) => {}
    }
    (!failed).then_some(all)
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

/// Comparisons between two words to `pace`.
const COMPARISONS: usize = 256;

/// The part of `all` that is in this range once all are sorted. `pace` is told of the comparisons.
fn sort_part<T>(
    all: &mut Vec<T>,
    range: Range<usize>,
    pace: &mut dyn FnMut(usize),
    cmp: impl Fn(&T, &T) -> Ordering,
) {
    let mut compared = 0;
    let mut cmp = |a: &T, b: &T| {
        compared += 1;
        if compared % COMPARISONS == 0 {
            pace(COMPARISONS * STEP);
        }
        cmp(a, b)
    };
    if range.end < all.len() {
        all.select_nth_unstable_by(range.end, &mut cmp);
        all.truncate(range.end);
    }
    if 0 < range.start && range.start < all.len() {
        all.select_nth_unstable_by(range.start, &mut cmp);
    }
    all.drain(..range.start);
    all.sort_unstable_by(cmp);
}

impl Sorting<'_> {
    /// The pattern of the keys that elements are sorted by. `forced`: they are sorted by themselves.
    fn by_keys(&self, forced: bool) -> Option<&[u8]> {
        self.by.filter(|_| !self.keeps_order && !forced)
    }

    /// What of a value is shown, in its order, as far as it says so itself; nothing of one that has no such elements. `stores`:
    /// the result is going to be a list, so a set is sorted at any rate.
    pub fn choose<'e>(
        &self,
        value: Value<'e>,
        stores: bool,
        pace: &mut dyn FnMut(usize),
    ) -> Option<Result<Chosen<'e>, NotNumbers>> {
        let count = count_of(value)?;
        let is_set = matches!(value, Value::Set(_));
        let forced = self.keeps_order && is_set && stores;
        let (from, range) = ((value, count), self.range(count));
        let (elements, stage) = if self.by_keys(forced).is_some() {
            (collect(from, pace, Some), Stage::Unsorted { is_set })
        } else if self.keeps_order && !forced {
            let all = collect(from, pace, Some);
            (all.map(|all| self.part(all, range, is_set)), Stage::Sorted)
        } else if self.alpha || forced {
            let all = collect(from, pace, Some);
            let sorted = all.map(|mut all| {
                sort_part(&mut all, range, pace, |a, b| {
                    self.directed(cmp_texts(*a, *b))
                });
                all
            });
            (sorted, Stage::Sorted)
        } else {
            let all = collect(from, pace, |element| {
                Some((number_of_element(element)?, element))
            });
            let sorted = all.map(|mut all| {
                sort_part(&mut all, range, pace, |a, b| {
                    let by_number = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
                    self.directed(by_number.then_with(|| cmp_texts(a.1, b.1)))
                });
                all.into_iter().map(|(_, element)| element).collect()
            });
            (sorted, Stage::Sorted)
        };
        let chosen = elements.map(|elements| Chosen { elements, stage });
        Some(chosen.ok_or(NotNumbers))
    }

    /// Elements that keep their order.
    fn part<'e>(
        &self,
        mut all: Vec<Element<'e>>,
        range: Range<usize>,
        is_set: bool,
    ) -> Vec<Element<'e>> {
        if self.desc && !is_set {
            all.reverse();
        }
        all.truncate(range.end);
        all.drain(..range.start);
        all
    }

    /// The result of elements that were chosen: `None` stands for what was looked up and is not there.
    pub fn run(
        &self,
        mut elements: Vec<Vec<u8>>,
        stage: Stage,
        around: &mut dyn Around,
    ) -> Result<Vec<Option<Vec<u8>>>, NotNumbers> {
        if let (Stage::Unsorted { is_set }, Some(by)) = (stage, self.by) {
            let range = self.range(elements.len());
            if is_set {
                let all = 0..elements.len();
                sort_part(&mut elements, all, &mut |n| around.pace(n), Vec::cmp);
            }
            elements = match self.alpha {
                true => self.by_text(elements, by, range, around),
                false => self.by_number(elements, by, range, around)?,
            };
        }
        if self.gets.is_empty() {
            return Ok(elements.into_iter().map(Some).collect());
        }
        let mut shown = Vec::new();
        for element in elements {
            for get in &self.gets {
                shown.push(find(get, &element, around));
                around.pace(0);
            }
        }
        Ok(shown)
    }

    /// Which of so many elements are shown.
    fn range(&self, len: usize) -> Range<usize> {
        let from = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        from..from + count.min(len - from)
    }

    fn by_number(
        &self,
        elements: Vec<Vec<u8>>,
        by: &[u8],
        range: Range<usize>,
        around: &mut dyn Around,
    ) -> Result<Vec<Vec<u8>>, NotNumbers> {
        let mut all = Vec::with_capacity(elements.len());
        for element in elements {
            let number = match find(by, &element, around) {
                Some(text) => number_of(&text).ok_or(NotNumbers)?,
                None => 0.0,
            };
            all.push((number, element));
            around.pace(0);
        }
        sort_part(&mut all, range, &mut |n| around.pace(n), |a, b| {
            let by_number = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
            self.directed(by_number.then_with(|| a.1.cmp(&b.1)))
        });
        Ok(all.into_iter().map(|(_, element)| element).collect())
    }

    fn by_text(
        &self,
        elements: Vec<Vec<u8>>,
        by: &[u8],
        range: Range<usize>,
        around: &mut dyn Around,
    ) -> Vec<Vec<u8>> {
        let with_text = |(at, element): (usize, Vec<u8>)| {
            let text = find(by, &element, around);
            around.pace(0);
            (text, at, element)
        };
        let mut all: Vec<_> = elements.into_iter().enumerate().map(with_text).collect();
        // What is not there comes first; of equals the order stays.
        sort_part(&mut all, range, &mut |n| around.pace(n), |a, b| {
            self.directed(a.0.cmp(&b.0)).then(a.1.cmp(&b.1))
        });
        all.into_iter().map(|(_, _, element)| element).collect()
    }

    fn directed(&self, order: Ordering) -> Ordering {
        match self.desc {
            true => order.reverse(),
            false => order,
        }
    }
}

fn cmp_texts(a: Element<'_>, b: Element<'_>) -> Ordering {
    match (a, b) {
        (Element::Bytes(a), Element::Bytes(b)) => a.cmp(b),
        (Element::Int(a), Element::Int(b)) if a == b => Ordering::Equal,
        _ => a.cmp_text(b.text(&mut Digits::default())),
    }
}

fn number_of_element(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Int(n) => Some(n as f64),
        Element::Bytes(text) => number_of(text),
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
    if let Some(number) = parse_i64(text) {
        return Some(number as f64);
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let text = std::str::from_utf8(text).ok()?;
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let text = text.trim_start_matches(blank);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => return None,
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
    let lost =
        has_digits && (number.is_infinite() || number.is_subnormal() || number == 0.0 && !is_zero);
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
    let chosen = entry.and_then(|entry| sorting.choose(entry.value(), true, pace));
    let chosen = chosen.ok_or(mismatch)?.map_err(|NotNumbers| mismatch)?;
    let (own, stage) = (chosen.to_own(pace), chosen.stage);
    let mut around = Applied { state, pace };
    let found = sorting.run(own, stage, &mut around);
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
            ("0x+5", None),
            ("+-0x5", None),
            ("--0x5", None),
            ("0x", None),
            ("1e-310", None),
            ("-5e-324", None),
            ("2.3e-308", Some(2.3e-308)),
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
