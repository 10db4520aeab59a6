//! What clients have seen, by key group, and the verdict on it.

use crate::clock::{True, MS, US, WALL_SKEW_MS};
use crate::lin::{check, Answer, Entry, Limits, Micros, Op, Verdict};
use crate::workload::KEYS;

/// Steps after which a group's history counts as undecided.
const STEPS: u64 = 3_000_000;

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
            match check(entries, usize::from(KEYS), Limits { steps: STEPS, skew }) {
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
