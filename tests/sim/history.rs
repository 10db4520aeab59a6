//! What clients have seen, by key group, and the verdict on it.

use crate::clock::{True, MS, US, WALL_SKEW_MS};
use crate::lin::{check, Answer, Cmd, Entry, Limits, Micros, Op, Ret, Val, Verdict};
use crate::workload::KEYS;
use std::collections::HashSet;

/// Steps after which a group's history counts as undecided.
const STEPS: u64 = 3_000_000;

pub struct History {
    groups: Vec<Vec<Entry>>,
}

fn micros(t: True) -> Micros {
    (t / US) as Micros
}

/// An order that does without some of the unknown operations explains the replies as well as any:
/// those whose texts nobody saw are left out at first, for each of them doubles the search.
fn verdict(entries: &[Entry], skew: Micros) -> Verdict {
    let keys = usize::from(KEYS);
    let needed = without_unseen(entries);
    if needed.len() < entries.len() {
        let limits = Limits { steps: STEPS, skew };
        if check(&needed, keys, limits) == Verdict::Linearizable {
            return Verdict::Linearizable;
        }
    }
    let steps = 4 * STEPS;
    check(entries, keys, Limits { steps, skew })
}

/// The entries but for unknown ones that write texts of which none was ever read.
fn without_unseen(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = HashSet::new();
    for entry in entries {
        let rets = entry.answer.iter().flatten().flatten();
        seen.extend(rets.filter_map(|ret| match ret {
            Ret::Val(Val::Text(id)) => Some(*id),
            _ => None,
        }));
    }
    let text = |cmd: &Cmd| match cmd {
        Cmd::Set {
            val: Val::Text(id), ..
        }
        | Cmd::SetNx {
            val: Val::Text(id), ..
        } => Some(*id),
        _ => None,
    };
    let mut place = vec![None; entries.len()];
    let mut kept: Vec<Entry> = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let mut texts = entry.op.cmds.iter().filter_map(text).peekable();
        let unseen = texts.peek().is_some() && !texts.any(|id| seen.contains(&id));
        if entry.ret.is_none() && unseen {
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
            match verdict(entries, skew) {
                Verdict::Linearizable => {}
                Verdict::Violation(why) => {
                    return Err(format!("group {group} is not linearizable: {why}"));
                }
                Verdict::Undecided => {
                    let unknown = entries.iter().filter(|e| e.ret.is_none()).count();
                    return Err(format!(
                        "group {group}: no verdict on {} operations ({unknown} unknown)",
                        entries.len()
                    ));
                }
            }
        }
        Ok(())
    }
}
