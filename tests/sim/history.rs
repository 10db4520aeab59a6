//! What clients have seen, by key group, and the verdict on it.

use std::collections::BTreeSet;

use crate::clock::{True, MS, US, WALL_SKEW_MS};
use crate::lin::{check, Answer, Cmd, Entry, Limits, Micros, Op, Ret, Val, Verdict};
use crate::workload::KEYS;

/// Steps after which a group's history counts as undecided.
const STEPS: u64 = 1_000_000;

pub struct History {
    groups: Vec<Vec<Entry>>,
}

fn micros(t: True) -> Micros {
    (t / US) as Micros
}

impl History {
    pub fn new(groups: u8) -> History {
        History {
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
        };
        self.groups[usize::from(group)].push(entry);
    }

    /// The first group whose history no order explains.
    pub fn check(&self) -> Result<(), String> {
        // Two wall clocks differ by twice the skew, and show whole milliseconds.
        let skew = (2 * WALL_SKEW_MS + 2) * (MS / US) as Micros;
        for (group, entries) in self.groups.iter().enumerate() {
            let limits = Limits { steps: STEPS, skew };
            // What was never seen again may be taken not to have happened; only if no order is
            // found without it must the search go on with it.
            let seen = without_unseen(entries);
            if check(&seen, usize::from(KEYS), limits) == Verdict::Linearizable {
                continue;
            }
            match check(entries, usize::from(KEYS), limits) {
                Verdict::Linearizable => {}
                Verdict::Violation(_) => {
                    let why = first_contradiction(entries, limits);
                    return Err(format!("group {group} is not linearizable: {why}"));
                }
                Verdict::Undecided => {
                    let unknown = entries.iter().filter(|e| e.ret.is_none()).count();
                    return Err(format!(
                        "group {group}: no verdict on {} operations ({unknown} unknown): {}",
                        entries.len(),
                        first_contradiction(entries, limits)
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The history without those operations of unknown outcome that wrote nothing but texts that no
/// reply ever showed.
fn without_unseen(entries: &[Entry]) -> Vec<Entry> {
    let mut shown = BTreeSet::new();
    for entry in entries {
        let rets = entry.answer.iter().flatten().flatten();
        shown.extend(rets.filter_map(|ret| match ret {
            Ret::Val(Val::Text(id)) => Some(*id),
            _ => None,
        }));
    }
    let unseen = |cmd: &Cmd| match cmd {
        Cmd::Get { .. } | Cmd::Exists { .. } => true,
        Cmd::Set { val: Val::Text(id), .. } | Cmd::SetNx { val: Val::Text(id), .. } => {
            !shown.contains(id)
        }
        _ => false,
    };
    let keep = |e: &Entry| e.ret.is_some() || !e.op.cmds.iter().all(unseen);
    let mut place = vec![None; entries.len()];
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        if keep(entry) {
            place[i] = Some(kept.len());
            let after = entry.after.and_then(|p| place[p]);
            kept.push(Entry { after, ..entry.clone() });
        }
    }
    kept
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
fn first_contradiction(entries: &[Entry], limits: Limits) -> String {
    let mut returns: Vec<Micros> = entries.iter().filter_map(|e| e.ret).collect();
    returns.sort_unstable();
    let fails = |at: &Micros| {
        let known = without_unseen(&known_at(entries, *at));
        check(&known, usize::from(KEYS), limits) != Verdict::Linearizable
    };
    let at = returns.partition_point(|at| !fails(at));
    let Some(cutoff) = returns.get(at.min(returns.len() - 1)) else { return String::new() };
    let mut lines = vec![format!("no order explains what was known at {cutoff} us")];
    let keys_of = |e: &Entry| format!("{:?}", e.op.cmds);
    let mut known = known_at(entries, *cutoff);
    known.sort_by_key(|e| e.ret.unwrap_or(Micros::MAX));
    let unknown = known.iter().filter(|e| e.ret.is_none());
    let last: Vec<&Entry> = known.iter().filter(|e| e.ret.is_some()).collect();
    for e in last[last.len().saturating_sub(30)..].iter().copied().chain(unknown) {
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
