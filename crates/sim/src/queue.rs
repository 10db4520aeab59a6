//! Queues: a list in each group of keys, to whose end clients push and from whose front they take, waiting if it is
//! empty (BLPOP).
//!
//! Owns: what clients have seen of them, and the verdict: what was taken was pushed, once; what was pushed and not taken is
//! there at the end; what came first goes first; nobody is told that there is nothing while there is something. Never: sends
//! or waits. An operation that was refused did not happen.

use std::collections::HashMap;

use crate::clock::True;
use crate::resp::{request, Reply};
use crate::workload::{key_name, KEYS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// An element that nobody else pushes.
    Push(u64),
    /// The first element; nothing if there is none.
    Take,
    /// The first element, as soon as there is one within so many milliseconds.
    Await { ms: u64 },
    /// All elements.
    All,
}

/// What an operation was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Pushed,
    Taken(Option<u64>),
    All(Vec<u64>),
}

#[derive(Clone, Debug)]
struct Done {
    op: Op,
    began: True,
    /// With its end; none: nobody knows whether it happened.
    seen: Option<(True, Seen)>,
}

/// The name of the list.
pub fn name(group: u8) -> Vec<u8> {
    key_name(group, KEYS)
}

pub fn encode(out: &mut Vec<u8>, group: u8, op: Op) {
    let key = name(group);
    match op {
        Op::Push(id) => request(out, &[b"RPUSH", &key, id.to_string().as_bytes()]),
        Op::Take => request(out, &[b"LPOP", &key]),
        Op::Await { ms } => {
            let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
            request(out, &[b"BLPOP", &key, seconds.as_bytes()]);
        }
        Op::All => request(out, &[b"LRANGE", &key, b"0", b"-1"]),
    }
}

fn id_of(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Bulk(Some(bytes)) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// What the reply says, or why no such reply may come.
pub fn meaning(group: u8, op: Op, reply: &Reply) -> Result<Seen, String> {
    let key = Reply::Bulk(Some(name(group)));
    let seen = match (op, reply) {
        (Op::Push(_), Reply::Int(1..)) => Some(Seen::Pushed),
        (Op::Take, Reply::Bulk(None)) | (Op::Await { .. }, Reply::Array(None)) => {
            Some(Seen::Taken(None))
        }
        (Op::Take, reply) => id_of(reply).map(|id| Seen::Taken(Some(id))),
        (Op::Await { .. }, Reply::Array(Some(pair))) => match pair.as_slice() {
            [named, element] if *named == key => id_of(element).map(|id| Seen::Taken(Some(id))),
            _ => None,
        },
        (Op::All, Reply::Array(Some(all))) => {
            all.iter().map(id_of).collect::<Option<_>>().map(Seen::All)
        }
        _ => None,
    };
    seen.ok_or_else(|| format!("{op:?} on the queue of group {group} was answered {reply:?}"))
}

/// What has been seen of all queues.
#[derive(Default)]
pub struct Queues {
    groups: HashMap<u8, Vec<Done>>,
    /// What was pushed before may be gone.
    flushes: HashMap<u8, True>,
    next_id: u64,
}

impl Queues {
    /// An element that was never pushed.
    pub fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn answered(&mut self, group: u8, op: Op, began: True, ended: True, seen: Seen) {
        let seen = Some((ended, seen));
        let done = Done { op, began, seen };
        self.groups.entry(group).or_default().push(done);
    }

    /// Nobody will know whether it happened.
    pub fn unknown(&mut self, group: u8, op: Op, began: True) {
        let seen = None;
        let done = Done { op, began, seen };
        self.groups.entry(group).or_default().push(done);
    }

    /// FLUSHALL has emptied it, at the latest now.
    pub fn flushed(&mut self, group: u8, now: True) {
        self.flushes.insert(group, now);
    }

    /// The first queue that no order of what happened explains.
    pub fn check(&self) -> Result<(), String> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(group, _)| **group);
        for (group, done) in groups {
            let flushed = self.flushes.get(group).copied().unwrap_or(0);
            verdict(done, flushed).map_err(|why| format!("the queue of group {group} {why}"))?;
        }
        Ok(())
    }
}

/// When an element was pushed, and when it left.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    began: True,
    /// The push was answered then.
    pushed: Option<True>,
    /// It was taken between these.
    taken: Option<(True, True)>,
}

fn verdict(done: &[Done], flushed: True) -> Result<(), String> {
    let mut lives: HashMap<u64, Life> = HashMap::new();
    for Done { op, began, seen } in done {
        if let Op::Push(id) = op {
            let life = lives.entry(*id).or_default();
            life.began = *began;
            life.pushed = seen.as_ref().map(|(ended, _)| *ended);
        }
    }
    let mut unknown_takes = 0;
    for Done { op, began, seen } in done {
        match (op, seen) {
            (Op::Take | Op::Await { .. }, None) => unknown_takes += 1,
            (_, Some((ended, Seen::Taken(Some(id))))) => {
                let Some(life) = lives.get_mut(id) else {
                    return Err(format!(
                        "gave {id}, which nobody pushed, or which was refused"
                    ));
                };
                if life.taken.replace((*began, *ended)).is_some() {
                    return Err(format!("gave {id} twice"));
                }
                if *ended < life.began {
                    return Err(format!("gave {id} before it was pushed"));
                }
            }
            _ => {}
        }
    }
    let rest = done.iter().rev().find_map(|done| match &done.seen {
        Some((_, Seen::All(all))) => Some(all),
        _ => None,
    });
    if let Some(rest) = rest {
        nothing_is_lost((&lives, flushed), rest, unknown_takes)?;
    }
    in_order(&lives)?;
    nothing_was_overlooked(done, &lives, rest)
}

fn nothing_is_lost(
    (lives, flushed): (&HashMap<u64, Life>, True),
    rest: &[u64],
    unknown_takes: usize,
) -> Result<(), String> {
    for (at, id) in rest.iter().enumerate() {
        let life = lives.get(id);
        if life.is_none_or(|life| life.taken.is_some()) || rest[..at].contains(id) {
            return Err(format!(
                "has {id} at the end, which was taken, refused, or is there twice"
            ));
        }
    }
    let is_lost = |(id, life): &(&u64, &Life)| {
        let may_be_gone = life.began < flushed;
        life.pushed.is_some() && life.taken.is_none() && !rest.contains(id) && !may_be_gone
    };
    let lost: Vec<&u64> = lives.iter().filter(is_lost).map(|(id, _)| id).collect();
    match lost.len() <= unknown_takes {
        true => Ok(()),
        false => Err(format!(
            "has lost {lost:?}: pushed, never given, and only {unknown_takes} takes are unknown"
        )),
    }
}

/// What was pushed after another one had been is not taken before anybody asked for that.
fn in_order(lives: &HashMap<u64, Life>) -> Result<(), String> {
    for (first, one) in lives {
        let (Some(pushed), Some((asked, _))) = (one.pushed, one.taken) else {
            continue;
        };
        let early = lives.iter().find(|(_, other)| {
            let taken = other.taken.is_some_and(|(_, ended)| ended < asked);
            other.began > pushed && taken
        });
        if let Some((second, _)) = early {
            return Err(format!(
                "gave {second} before {first}, which was pushed earlier"
            ));
        }
    }
    Ok(())
}

/// Nobody heard that there is nothing while an element was there all the time.
fn nothing_was_overlooked(
    done: &[Done],
    lives: &HashMap<u64, Life>,
    rest: Option<&Vec<u64>>,
) -> Result<(), String> {
    for Done { op, began, seen } in done {
        let Some((ended, Seen::Taken(None))) = seen else {
            continue;
        };
        let was_there = |(id, life): &(&u64, &Life)| {
            let before = life.pushed.is_some_and(|pushed| pushed < *began);
            let after = match life.taken {
                Some((asked, _)) => asked > *ended,
                None => rest.is_some_and(|rest| rest.contains(id)),
            };
            before && after
        };
        if let Some((id, _)) = lives.iter().find(was_there) {
            return Err(format!("had {id} when {op:?} was told that it has nothing"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked, when, and what was seen of it.
    type Asked = (Op, True, Option<(True, Seen)>);

    fn queue(seen: &[Asked]) -> Result<(), String> {
        let done = seen.iter().cloned();
        let done: Vec<Done> = done
            .map(|(op, began, seen)| Done { op, began, seen })
            .collect();
        verdict(&done, 0)
    }

    fn pushed(id: u64, began: True, ended: True) -> (Op, True, Option<(True, Seen)>) {
        (Op::Push(id), began, Some((ended, Seen::Pushed)))
    }

    fn taken(id: Option<u64>, began: True, ended: True) -> (Op, True, Option<(True, Seen)>) {
        (Op::Take, began, Some((ended, Seen::Taken(id))))
    }

    fn all(ids: &[u64], at: True) -> (Op, True, Option<(True, Seen)>) {
        (Op::All, at, Some((at, Seen::All(ids.to_vec()))))
    }

    #[test]
    fn right_histories_are_accepted() {
        let unknown = (Op::Await { ms: 5 }, 30, None);
        let histories = [
            vec![pushed(1, 0, 1), taken(Some(1), 2, 3), all(&[], 9)],
            vec![pushed(1, 0, 1), unknown, all(&[], 99)],
            vec![
                pushed(1, 0, 5),
                pushed(2, 1, 4),
                taken(Some(2), 6, 7),
                all(&[1], 9),
            ],
            vec![(Op::Push(1), 0, None), taken(None, 2, 3), all(&[1], 9)],
            vec![pushed(1, 0, 5), taken(None, 2, 3), all(&[1], 9)],
        ];
        for history in histories {
            assert_eq!(queue(&history), Ok(()), "{history:?}");
        }
    }

    #[test]
    fn wrong_histories_are_refused() {
        let histories = [
            (vec![pushed(1, 0, 1), all(&[], 9)], "has lost [1]"),
            (vec![taken(Some(1), 2, 3)], "gave 1, which nobody pushed"),
            (
                vec![pushed(1, 0, 1), taken(Some(1), 2, 3), taken(Some(1), 4, 5)],
                "gave 1 twice",
            ),
            (
                vec![pushed(1, 0, 1), taken(Some(1), 2, 3), all(&[1], 9)],
                "has 1 at the end",
            ),
            (
                vec![
                    pushed(1, 0, 1),
                    pushed(2, 2, 3),
                    taken(Some(2), 4, 5),
                    taken(Some(1), 6, 7),
                ],
                "gave 2 before 1",
            ),
            (
                vec![pushed(1, 0, 1), taken(None, 2, 3), taken(Some(1), 4, 5)],
                "had 1 when",
            ),
            (
                vec![pushed(1, 0, 1), taken(None, 2, 3), all(&[1], 9)],
                "had 1 when",
            ),
        ];
        for (history, why) in histories {
            let verdict = queue(&history).expect_err("it is wrong");
            assert!(verdict.starts_with(why), "{verdict}");
        }
    }
}
