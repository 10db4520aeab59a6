//! What clients have seen, by key group, and the verdict on it.

use crate::clock::{True, MS, US, WALL_SKEW_MS};
use crate::lin::{check, Answer, Cmd, Entry, Limits, Micros, Op, Ret, Val, Verdict};
use crate::queue::Queues;
use crate::workload::KEYS;
use std::collections::{HashMap, HashSet};

/// Steps after which a group's history counts as undecided.
const STEPS: u64 = 500_000;

pub struct History {
    pub queues: Queues,
    groups: Vec<Vec<Entry>>,
}

fn micros(t: True) -> Micros {
    (t / US) as Micros
}

/// The texts in the log that all members agree on, and where each stands.
pub type Logged = HashMap<u64, u64>;

/// An order that does without some of the unknown operations explains the replies as well as any,
/// and each of them that is left out halves the search: first go those whose texts nobody saw, then
/// those whose texts are not in the log. The log's order is tried first, but only as a hint: what
/// decides is whether some order explains the replies.
fn verdict(entries: &[Entry], logged: &Logged, skew: Micros) -> Verdict {
    let keys = usize::from(KEYS);
    let seen = seen_texts(entries);
    let mut entries = entries.to_vec();
    for entry in &mut entries {
        let places = entry.op.cmds.iter().filter_map(text);
        entry.hint = places.filter_map(|id| logged.get(&id).copied()).min();
    }
    let mut steps = STEPS;
    let was_seen = |id: u64| seen.contains(&id);
    let is_logged = |id: u64| logged.contains_key(&id);
    for wanted in [&was_seen as &dyn Fn(u64) -> bool, &is_logged] {
        let fewer = with_texts(&entries, wanted);
        if check(&fewer, keys, Limits { steps, skew }) == Verdict::Linearizable {
            return Verdict::Linearizable;
        }
        steps = 2 * STEPS;
    }
    let steps = 4 * STEPS;
    check(&entries, keys, Limits { steps, skew })
}

fn seen_texts(entries: &[Entry]) -> HashSet<u64> {
    let rets = entries
        .iter()
        .flat_map(|e| e.answer.iter().flatten().flatten());
    rets.filter_map(|ret| match ret {
        Ret::Val(Val::Text(id)) => Some(*id),
        _ => None,
    })
    .collect()
}

/// The text that a command writes.
fn text(cmd: &Cmd) -> Option<u64> {
    match cmd {
        Cmd::Set {
            val: Val::Text(id), ..
        }
        | Cmd::SetNx {
            val: Val::Text(id), ..
        } => Some(*id),
        _ => None,
    }
}

/// The entries but for unknown ones that write texts of which none is wanted.
fn with_texts(entries: &[Entry], wanted: &dyn Fn(u64) -> bool) -> Vec<Entry> {
    let mut place = vec![None; entries.len()];
    let mut kept: Vec<Entry> = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let mut texts = entry.op.cmds.iter().filter_map(text).peekable();
        let unwanted = texts.peek().is_some() && !texts.any(wanted);
        if entry.ret.is_none() && unwanted {
            continue;
        }
        place[i] = Some(kept.len());
        let after = entry.after.and_then(|before| place[before]);
        kept.push(Entry {
            after,
            ..entry.clone()
        });
    }
    kept
}

impl History {
    pub fn new(groups: u8) -> History {
        History {
            queues: Queues::default(),
            groups: vec![Vec::new(); usize::from(groups)],
        }
    }

    pub fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// An operation was answered; gives its place.
    #[allow(clippy::too_many_arguments, reason = "an entry has these parts")]
    pub fn answered(
        &mut self,
        client: u32,
        group: u8,
        op: Op,
        inv: True,
        ret: True,
        answer: Answer,
        after: Option<usize>,
    ) -> usize {
        let entries = &mut self.groups[usize::from(group)];
        let (inv, ret) = (micros(inv), Some(micros(ret) + 1));
        entries.push(Entry {
            client,
            inv,
            ret,
            op,
            answer: Some(answer),
            after,
            hint: None,
        });
        entries.len() - 1
    }

    /// Nobody will ever know whether this happened. A read tells nothing then.
    pub fn unknown(&mut self, client: u32, group: u8, op: Op, inv: True) {
        if op.is_read() {
            return;
        }
        let inv = micros(inv);
        let entry = Entry {
            client,
            inv,
            ret: None,
            op,
            answer: None,
            after: None,
            hint: None,
        };
        self.groups[usize::from(group)].push(entry);
    }

    /// The first group whose history no order explains.
    /// `logged`: the texts in the log that all members agree on at the end. `explain`: look for the
    /// first reply that can't be explained, which takes long.
    pub fn check(&self, logged: &Logged, explain: bool) -> Result<(), String> {
        self.queues.check()?;
        // Two wall clocks differ by twice the skew, and show whole milliseconds.
        let skew = (2 * WALL_SKEW_MS + 2) * (MS / US) as Micros;
        for (group, entries) in self.groups.iter().enumerate() {
            let explained = |why| match explain {
                true => first_contradiction(entries, logged, skew),
                false => why,
            };
            match verdict(entries, logged, skew) {
                Verdict::Linearizable => {}
                Verdict::Violation(why) => {
                    let why = explained(why);
                    return Err(format!("group {group} is not linearizable: {why}"));
                }
                Verdict::Undecided => {
                    let unknown = entries.iter().filter(|e| e.ret.is_none()).count();
                    let why = explained(format!("{} operations", entries.len()));
                    return Err(format!(
                        "group {group}: no verdict ({unknown} unknown): {why}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The history as it was known at `cutoff`: what had not returned is of unknown outcome.
fn known_at(entries: &[Entry], cutoff: Micros) -> Vec<Entry> {
    let mut place = vec![None; entries.len()];
    let mut known: Vec<Entry> = Vec::new();
    for (i, entry) in entries.iter().enumerate().filter(|(_, e)| e.inv <= cutoff) {
        let mut entry = entry.clone();
        entry.after = entry.after.and_then(|p| place[p]);
        if entry.ret.is_some_and(|ret| ret > cutoff) {
            if entry.op.is_read() {
                continue;
            }
            entry.ret = None;
            entry.answer = None;
        }
        place[i] = Some(known.len());
        known.push(entry);
    }
    known
}

/// Finds the reply with which the history became impossible, and shows what led to it.
fn first_contradiction(entries: &[Entry], logged: &Logged, skew: Micros) -> String {
    let mut returns: Vec<Micros> = entries.iter().filter_map(|e| e.ret).collect();
    returns.sort_unstable();
    let fails =
        |at: &Micros| verdict(&known_at(entries, *at), logged, skew) != Verdict::Linearizable;
    let at = returns.partition_point(|at| !fails(at));
    let Some(cutoff) = returns.get(at.min(returns.len() - 1)) else {
        return String::new();
    };
    let mut lines = vec![format!("no order explains what was known at {cutoff} us")];
    let keys_of = |e: &Entry| format!("{:?}", e.op.cmds);
    let mut known = known_at(entries, *cutoff);
    known.sort_by_key(|e| e.ret.unwrap_or(Micros::MAX));
    let unknown = known.iter().filter(|e| e.ret.is_none());
    let last: Vec<&Entry> = known.iter().filter(|e| e.ret.is_some()).collect();
    for e in last[last.len().saturating_sub(30)..]
        .iter()
        .copied()
        .chain(unknown)
    {
        lines.push(format!(
            "[{}..{}] client {} {} guard {:?} -> {:?}",
            e.inv,
            e.ret.map_or("?".to_string(), |r| r.to_string()),
            e.client,
            keys_of(e),
            e.op.guard,
            e.answer
        ));
    }
    lines.join("\n  ")
}
