//! Is there an order of the operations, each at one moment between its invocation and its return,
//! that explains every reply? Wing and Gong's search with Lowe's memoisation.
//!
//! Owns: the search. Never does: know what the commands mean (that is [`super::model`]).
//!
//! A history is split by key group before it comes here: linearizability is local, so each group
//! may be checked alone. Operations with an unknown outcome have no return: they may be placed
//! anywhere after their invocation, or nowhere. Three facts keep the search short:
//!
//! - an operation that fits, and changes nothing wherever it stands, may be placed at once;
//! - of unknown operations that do the same, the one invoked first may be placed first;
//! - an unknown operation may be placed as late as possible: directly before one that could not
//!   go the same way without it.

use std::collections::HashSet;

use super::model::{successors, Answer, Micros, Op, Span, State, FOREVER};

/// One operation of a history.
#[derive(Clone, Debug)]
pub struct Entry {
    pub client: u32,
    pub inv: Micros,
    /// `None`: the connection died before the reply; it may have happened at any later time.
    pub ret: Option<Micros>,
    pub op: Op,
    /// Present exactly if `ret` is.
    pub answer: Option<Answer>,
    /// The operation before it on the same connection: it took effect earlier.
    pub after: Option<usize>,
    /// Where it is thought to stand among those that have a hint: tried in that order. A wrong
    /// hint costs time and nothing else.
    pub hint: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order exists; the text tells how far the search came.
    Violation(String),
    /// The step limit was reached: the run must be split finer. Never a pass.
    Undecided,
}

/// Limits and tolerances of a check.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub steps: u64,
    pub skew: Micros,
}

/// Checks the operations on one key group of `keys` registers.
pub fn check(entries: &[Entry], keys: usize, limits: Limits) -> Verdict {
    // Rarely is more than one operation of unknown outcome needed to explain a reply, and trying
    // every set of them is what takes long: short chains first.
    for chain in [1, 2] {
        let verdict = Search::new(entries, limits, chain).run(vec![Default::default(); keys]);
        if verdict == Verdict::Linearizable {
            return verdict;
        }
    }
    Search::new(entries, limits, u32::MAX).run(vec![Default::default(); keys])
}

const NONE: usize = usize::MAX;

/// A doubly linked list over call and return events in order of time; lifting an operation takes
/// its two events out, so that what is left begins with the candidates for the next place.
struct Events {
    next: Vec<usize>,
    prev: Vec<usize>,
    /// Event -> (operation, is it the return).
    what: Vec<(usize, bool)>,
    /// Operation -> its call and return events.
    of: Vec<(usize, usize)>,
}

impl Events {
    const HEAD: usize = 0;

    fn new(entries: &[Entry]) -> Events {
        let mut order: Vec<(Micros, bool, usize)> = Vec::with_capacity(entries.len() * 2);
        for (i, e) in entries.iter().enumerate() {
            order.push((e.inv, false, i));
            if let Some(ret) = e.ret {
                assert!(ret >= e.inv, "an operation returned before it was invoked");
                order.push((ret, true, i));
            }
        }
        // Calls sort before returns of the same moment: those two count as concurrent.
        order.sort();
        let n = order.len() + 1;
        let mut events = Events {
            next: (1..=n).map(|i| if i == n { NONE } else { i }).collect(),
            prev: (0..n).map(|i| if i == 0 { NONE } else { i - 1 }).collect(),
            what: vec![(NONE, false); n],
            of: vec![(NONE, NONE); entries.len()],
        };
        for (at, (_, is_return, op)) in order.into_iter().enumerate() {
            events.what[at + 1] = (op, is_return);
            if is_return {
                events.of[op].1 = at + 1;
            } else {
                events.of[op].0 = at + 1;
            }
        }
        events
    }

    fn unlink(&mut self, e: usize) {
        let (p, n) = (self.prev[e], self.next[e]);
        self.next[p] = n;
        if n != NONE {
            self.prev[n] = p;
        }
    }

    fn relink(&mut self, e: usize) {
        let (p, n) = (self.prev[e], self.next[e]);
        self.next[p] = e;
        if n != NONE {
            self.prev[n] = e;
        }
    }

    fn lift(&mut self, op: usize) {
        let (call, ret) = self.of[op];
        self.unlink(call);
        if ret != NONE {
            self.unlink(ret);
        }
    }

    fn unlift(&mut self, op: usize) {
        let (call, ret) = self.of[op];
        if ret != NONE {
            self.relink(ret);
        }
        self.relink(call);
    }
}

/// A place in the order: what may stand there, and how far that has been tried.
struct Frame {
    choices: Vec<(usize, State)>,
    tried: usize,
    state: State,
    /// Operations of unknown outcome placed directly before it.
    chain: u32,
}

/// The operation placed last had an unknown outcome: what comes next must need it.
struct Owing {
    op: usize,
    before: State,
    /// How many of that kind have been placed in a row.
    chain: u32,
}

struct Search<'a> {
    entries: &'a [Entry],
    limits: Limits,
    /// Most operations of unknown outcome that may be placed in a row.
    chain: u32,
    events: Events,
    placed: Vec<bool>,
    /// Operations that must be placed and are not yet.
    missing: usize,
    /// For an unknown operation: the one before it that does the same.
    twin: Vec<Option<usize>>,
    /// Random words per operation: the xor over the placed ones names the set.
    names: Vec<u128>,
    set: u128,
    seen: HashSet<u128, std::hash::BuildHasherDefault<Fold>>,
    steps: u64,
    deepest: (usize, String),
}

impl<'a> Search<'a> {
    fn new(entries: &'a [Entry], limits: Limits, chain: u32) -> Search<'a> {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(word)
        };
        let names = entries
            .iter()
            .map(|_| (u128::from(next()) << 64) | u128::from(next()))
            .collect();
        Search {
            entries,
            limits,
            chain,
            events: Events::new(entries),
            placed: vec![false; entries.len()],
            twin: twins(entries),
            missing: entries.iter().filter(|e| e.ret.is_some()).count(),
            names,
            set: 0,
            seen: HashSet::default(),
            steps: 0,
            deepest: (NONE, String::new()),
        }
    }

    fn run(mut self, start: State) -> Verdict {
        let mut stack: Vec<(Frame, usize)> = Vec::new();
        let mut frame = self.frame(start, None);
        loop {
            if self.missing == 0 {
                return Verdict::Linearizable;
            }
            if self.steps > self.limits.steps {
                return Verdict::Undecided;
            }
            if frame.tried < frame.choices.len() {
                let (op, state) = frame.choices[frame.tried].clone();
                frame.tried += 1;
                self.place(op);
                let unknown = self.entries[op].ret.is_none();
                let (before, chain) = (frame.state.clone(), frame.chain + 1);
                let owing = unknown.then_some(Owing { op, before, chain });
                let below = self.frame(state, owing);
                stack.push((frame, op));
                frame = below;
                continue;
            }
            let Some((above, op)) = stack.pop() else {
                return Verdict::Violation(self.deepest.1);
            };
            self.take_back(op);
            frame = above;
        }
    }

    fn place(&mut self, op: usize) {
        self.events.lift(op);
        self.placed[op] = true;
        self.set ^= self.names[op];
        self.missing -= usize::from(self.entries[op].ret.is_some());
    }

    fn take_back(&mut self, op: usize) {
        self.events.unlift(op);
        self.placed[op] = false;
        self.set ^= self.names[op];
        self.missing += usize::from(self.entries[op].ret.is_some());
    }

    /// The choices for the next place, the most promising first.
    fn frame(&mut self, state: State, owing: Option<Owing>) -> Frame {
        self.steps += 1;
        let mut choices: Vec<(usize, State)> = Vec::new();
        if self.missing > 0 && self.is_new(&state, owing.as_ref()) {
            self.collect(&state, owing.as_ref(), &mut choices);
            if self.deepest.0 > self.missing {
                self.deepest = (self.missing, self.describe(&state));
            }
        }
        Frame {
            choices,
            chain: owing.map_or(0, |o| o.chain),
            tried: 0,
            state,
        }
    }

    /// Remembers where the search has been. A place with a debt is tried less thoroughly than the
    /// same place without one, so it has a name of its own.
    fn is_new(&mut self, state: &State, owing: Option<&Owing>) -> bool {
        let free = self.set ^ state_name(state);
        match owing {
            None => self.seen.insert(free),
            Some(o) => {
                let debt = self.names[o.op].rotate_left(1 + o.chain % 64);
                let name = free ^ debt ^ state_name(&o.before).rotate_left(7);
                !self.seen.contains(&free) && self.seen.insert(name)
            }
        }
    }

    fn collect(&self, state: &State, owing: Option<&Owing>, choices: &mut Vec<(usize, State)>) {
        let mut event = self.events.next[Events::HEAD];
        let mut after = Vec::new();
        while event != NONE {
            let (op, is_return) = self.events.what[event];
            if is_return {
                break;
            }
            event = self.events.next[event];
            let entry = &self.entries[op];
            if entry.ret.is_none() && owing.is_some_and(|o| o.chain >= self.chain) {
                continue;
            }
            let waits = |p: usize| !self.placed[p] && self.entries[p].ret.is_some();
            if entry.ret.is_some() && entry.after.is_some_and(waits) {
                continue;
            }
            if self.twin[op].is_some_and(|t| !self.placed[t]) {
                continue;
            }
            self.outcomes(state, op, &mut after);
            while let Some(next) = after.pop() {
                if owing.is_some_and(|o| self.has_no_need(o, op, &next)) {
                    continue;
                }
                if next == *state
                    && entry.ret.is_some()
                    && entry.op.changes_nothing(entry.answer.as_ref())
                {
                    // It fits here and changes nothing wherever it stands: any order of the rest
                    // stays possible behind it, so no other choice need be tried.
                    choices.clear();
                    choices.push((op, next));
                    return;
                }
                if next != *state || entry.ret.is_some() {
                    choices.push((op, next));
                }
            }
        }
        // Those that must return first, first; those that may never have happened, last.
        choices.sort_by_key(|(op, _)| self.entries[*op].ret.unwrap_or(FOREVER));
        self.follow_hints(choices);
    }

    /// Puts the choices that have hints into the order of their hints, in the places that they have
    /// among the others.
    fn follow_hints(&self, choices: &mut [(usize, State)]) {
        let hint = |choice: &(usize, State)| self.entries[choice.0].hint;
        let places: Vec<usize> = (0..choices.len())
            .filter(|i| hint(&choices[*i]).is_some())
            .collect();
        for (i, place) in places.iter().enumerate() {
            let first = places[i..].iter().min_by_key(|p| hint(&choices[**p]));
            choices.swap(*place, *first.expect("the place itself at least"));
        }
    }

    fn outcomes(&self, state: &State, op: usize, out: &mut Vec<State>) {
        let entry = &self.entries[op];
        let ret = entry.ret.unwrap_or(FOREVER);
        let span = Span {
            inv: entry.inv,
            ret,
            skew: self.limits.skew,
        };
        successors(state, &entry.op, entry.answer.as_ref(), span, out);
    }

    /// True if `op` could as well go before the unknown operation placed last, or without it.
    fn has_no_need(&self, owing: &Owing, op: usize, next: &State) -> bool {
        let mut without = Vec::new();
        self.outcomes(&owing.before, op, &mut without);
        if without.contains(next) {
            return true;
        }
        // Two unknown ones that commute go in the order of their invocations, which is also the
        // order that twins keep: two different orders would forbid both.
        let rank = |i: usize| (self.entries[i].inv, i);
        if self.entries[op].ret.is_none() && rank(op) > rank(owing.op) {
            return false;
        }
        let mut swapped = Vec::new();
        without.iter().any(|s| {
            self.outcomes(s, owing.op, &mut swapped);
            swapped.contains(next)
        })
    }

    fn describe(&self, state: &State) -> String {
        let mut text = format!("{} operations unplaced; registers {state:?}", self.missing);
        let mut event = self.events.next[Events::HEAD];
        let mut lines = 0;
        while event != NONE && lines < 24 {
            let (op, is_return) = self.events.what[event];
            let e = &self.entries[op];
            let kind = if is_return {
                "must be placed by now"
            } else {
                "open"
            };
            text += &format!(
                "\n  {kind}: #{op} client {} [{}..{}] {:?} guard {:?} -> {:?}",
                e.client,
                e.inv,
                e.ret.map_or("?".to_string(), |r| r.to_string()),
                e.op.cmds,
                e.op.guard,
                e.answer,
            );
            if is_return {
                break;
            }
            lines += 1;
            event = self.events.next[event];
        }
        text
    }
}

/// Finds for each unknown operation the latest one before it that does exactly the same.
fn twins(entries: &[Entry]) -> Vec<Option<usize>> {
    let mut by_time: Vec<usize> = (0..entries.len()).collect();
    by_time.retain(|i| entries[*i].ret.is_none());
    by_time.sort_by_key(|i| (entries[*i].inv, *i));
    let mut twin = vec![None; entries.len()];
    for (at, &i) in by_time.iter().enumerate() {
        twin[i] = by_time[..at]
            .iter()
            .rev()
            .copied()
            .find(|j| entries[*j].op == entries[i].op);
    }
    twin
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn state_name(state: &State) -> u128 {
    use std::hash::{Hash, Hasher};
    let mut a = Fold(0x1234_5678_9abc_def1);
    let mut b = Fold(0x0fed_cba9_8765_4321);
    state.hash(&mut a);
    state.hash(&mut b);
    (u128::from(a.finish()) << 64) | u128::from(b.finish())
}

/// A small deterministic hasher: a run must not depend on a process's random hash keys.
struct Fold(u64);

impl Default for Fold {
    fn default() -> Fold {
        Fold(0x517c_c1b7_2722_0a95)
    }
}

impl std::hash::Hasher for Fold {
    fn finish(&self) -> u64 {
        mix(self.0)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0.rotate_left(23) ^ n).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}
