//! What clients do: key groups, the choice of operations, their bytes, the meaning of replies.
//!
//! Owns: the translation between the model's operations and RESP. Never does: send or wait.
//!
//! Keys come in groups of a few that share a hash tag; an operation touches one group, and the
//! histories of the groups are checked apart. In a group key 0 and 1 are plain registers, key 2 is
//! a counter, key 3 lives with deadlines. In every second group key 0 is a field of a hash and key 2 a member of a sorted
//! set, whose score counts: the same registers to the model, other values to the servers.

use crate::lin::{Cmd, Op, Ret, Val, When};
use crate::resp::{request, Reply};
use crate::rng::Rng;

pub const KEYS: u8 = 4;
/// A field of a hash, where the group has values with elements.
const FIELD: u8 = 0;
const COUNTER: u8 = 2;
const MORTAL: u8 = 3;

/// What the clients of a run like to do.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    pub groups: u8,
    pub reads: f64,
    pub transactions: f64,
    pub expiry: f64,
    /// Deadlines are up to this far away.
    pub ttl_ms: u64,
    /// Largest padding of a value.
    pub padding: u64,
}

pub fn key_name(group: u8, key: u8) -> Vec<u8> {
    format!("{{g{group}}}k{key}").into_bytes()
}

/// The names of all keys of a run: registers and queues.
pub fn all_keys(taste: &Taste) -> impl Iterator<Item = Vec<u8>> {
    (0..taste.groups).flat_map(|group| (0..=KEYS).map(move |key| key_name(group, key)))
}

/// A value as it travels: the padding makes records span sectors.
pub fn value_bytes(val: Val, padding: usize) -> Vec<u8> {
    match val {
        Val::Int(n) => n.to_string().into_bytes(),
        Val::Text(id) => {
            let mut text = format!("v{id}").into_bytes();
            if padding > 0 {
                text.push(b'.');
                text.resize(text.len() + padding, b'a' + (id % 26) as u8);
            }
            text
        }
    }
}

pub fn parse_value(bytes: &[u8]) -> Result<Val, String> {
    let shown = || {
        format!(
            "no client wrote {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| shown())?;
    if let Some(rest) = text.strip_prefix('v') {
        let (digits, padding) = rest.split_once('.').unwrap_or((rest, ""));
        let id: u64 = digits.parse().map_err(|_| shown())?;
        let want = b'a' + (id % 26) as u8;
        if padding.bytes().any(|b| b != want) {
            return Err(shown());
        }
        return Ok(Val::Text(id));
    }
    text.parse().map(Val::Int).map_err(|_| shown())
}

/// Draws operations; every written text is unique in the run.
pub struct Workload {
    pub taste: Taste,
    next_id: u64,
}

impl Workload {
    pub fn new(taste: Taste) -> Workload {
        Workload { taste, next_id: 1 }
    }

    pub fn group(&self, rng: &mut Rng) -> u8 {
        rng.below(u64::from(self.taste.groups)) as u8
    }

    fn text(&mut self) -> Val {
        self.next_id += 1;
        Val::Text(self.next_id)
    }

    /// A single command.
    pub fn command(&mut self, rng: &mut Rng) -> Cmd {
        let taste = self.taste;
        if rng.chance(taste.reads) {
            let key = rng.below(u64::from(KEYS)) as u8;
            return if rng.chance(0.1) {
                Cmd::Exists { key }
            } else {
                Cmd::Get { key }
            };
        }
        if rng.chance(taste.expiry) {
            return self.mortal_command(rng);
        }
        let key = rng.below(u64::from(COUNTER)) as u8;
        match rng.below(10) {
            0..=3 => {
                let when = *rng.pick(&[
                    When::Always,
                    When::Always,
                    When::Always,
                    When::Absent,
                    When::Present,
                ]);
                // No command writes a field only if it is there.
                let when = match (key, when) {
                    (FIELD, When::Present) => When::Always,
                    (_, when) => when,
                };
                Cmd::Set {
                    key,
                    val: self.text(),
                    ttl_ms: None,
                    when,
                }
            }
            4 => Cmd::SetNx {
                key,
                val: self.text(),
            },
            5..=7 => Cmd::Incr {
                key: COUNTER,
                by: 1,
            },
            8 => Cmd::Del { keys: vec![key] },
            _ => Cmd::Del { keys: vec![0, 1] },
        }
    }

    /// A command on the key that lives with deadlines.
    fn mortal_command(&mut self, rng: &mut Rng) -> Cmd {
        let key = MORTAL;
        let ttl_ms = rng.range(1, self.taste.ttl_ms) as i64;
        match rng.below(8) {
            0..=2 => Cmd::Set {
                key,
                val: self.text(),
                ttl_ms: Some(ttl_ms),
                when: When::Always,
            },
            3 | 4 => Cmd::Expire { key, ttl_ms },
            5 => Cmd::SetNx {
                key,
                val: self.text(),
            },
            6 => Cmd::Persist { key },
            _ => Cmd::Get { key },
        }
    }

    /// The commands of a transaction.
    pub fn transaction(&mut self, rng: &mut Rng) -> Vec<Cmd> {
        if rng.chance(0.4) {
            // All of it at once: a write of several keys that happened in part shows here.
            return (0..KEYS).map(|key| Cmd::Get { key }).collect();
        }
        if rng.chance(0.5) {
            let val = self.text();
            return (0..COUNTER)
                .map(|key| Cmd::Set {
                    key,
                    val,
                    ttl_ms: None,
                    when: When::Always,
                })
                .chain([Cmd::Incr {
                    key: COUNTER,
                    by: 1,
                }])
                .collect();
        }
        (0..rng.range(1, 4)).map(|_| self.command(rng)).collect()
    }
}

/// Whether the group has values with elements.
fn has_elements(group: u8) -> bool {
    group % 2 == 1
}

/// The same command on a field of a hash or on the score of a member, where the group has such.
fn encode_element(out: &mut Vec<u8>, group: u8, cmd: &Cmd, padding: usize) -> bool {
    if !has_elements(group) {
        return false;
    }
    let name = |key: &u8| key_name(group, *key);
    match cmd {
        Cmd::Get { key: FIELD } => request(out, &[b"HGET", &name(&FIELD), b"f"]),
        Cmd::Exists { key: FIELD } => request(out, &[b"HEXISTS", &name(&FIELD), b"f"]),
        Cmd::Set {
            key: FIELD,
            val,
            when,
            ..
        } => {
            let verb: &[u8] = match when {
                When::Always => b"HSET",
                When::Absent => b"HSETNX",
                When::Present => unreachable!("none is drawn"),
            };
            let val = value_bytes(*val, padding);
            request(out, &[verb, &name(&FIELD), b"f", &val]);
        }
        Cmd::SetNx { key: FIELD, val } => {
            let val = value_bytes(*val, padding);
            request(out, &[b"HSETNX", &name(&FIELD), b"f", &val]);
        }
        Cmd::Get { key: COUNTER } => request(out, &[b"ZSCORE", &name(&COUNTER), b"m"]),
        Cmd::Incr { key: COUNTER, by } => {
            let by = by.to_string();
            request(out, &[b"ZINCRBY", &name(&COUNTER), by.as_bytes(), b"m"]);
        }
        _ => return false,
    }
    true
}

/// Appends the command's request.
pub fn encode(out: &mut Vec<u8>, group: u8, cmd: &Cmd, padding: usize) {
    if encode_element(out, group, cmd, padding) {
        return;
    }
    let name = |key: &u8| key_name(group, *key);
    match cmd {
        Cmd::Get { key } => request(out, &[b"GET", &name(key)]),
        Cmd::Exists { key } => request(out, &[b"EXISTS", &name(key)]),
        Cmd::Set {
            key,
            val,
            ttl_ms,
            when,
        } => {
            let (key, val) = (name(key), value_bytes(*val, padding));
            let ttl = ttl_ms.map(|t| t.to_string());
            let mut args: Vec<&[u8]> = vec![b"SET", &key, &val];
            if let Some(ttl) = &ttl {
                args.extend([&b"PX"[..], ttl.as_bytes()]);
            }
            match when {
                When::Always => {}
                When::Absent => args.push(b"NX"),
                When::Present => args.push(b"XX"),
            }
            request(out, &args);
        }
        Cmd::SetNx { key, val } => {
            request(out, &[b"SETNX", &name(key), &value_bytes(*val, padding)])
        }
        Cmd::Incr { key, by: 1 } => request(out, &[b"INCR", &name(key)]),
        Cmd::Incr { key, by } => request(out, &[b"INCRBY", &name(key), by.to_string().as_bytes()]),
        Cmd::Del { keys } => {
            let names: Vec<Vec<u8>> = keys.iter().map(name).collect();
            let mut args: Vec<&[u8]> = vec![b"DEL"];
            args.extend(names.iter().map(Vec::as_slice));
            request(out, &args);
        }
        Cmd::Expire { key, ttl_ms } if ttl_ms % 1000 == 0 => {
            request(
                out,
                &[
                    b"EXPIRE",
                    &name(key),
                    (ttl_ms / 1000).to_string().as_bytes(),
                ],
            );
        }
        Cmd::Expire { key, ttl_ms } => {
            request(
                out,
                &[b"PEXPIRE", &name(key), ttl_ms.to_string().as_bytes()],
            );
        }
        Cmd::Persist { key } => request(out, &[b"PERSIST", &name(key)]),
    }
}

/// What a reply to `cmd` says, or why no such reply may come.
pub fn meaning(group: u8, cmd: &Cmd, reply: &Reply) -> Result<Ret, String> {
    let unexpected = || format!("{cmd:?} was answered {reply:?}");
    if has_elements(group) {
        match (cmd, reply) {
            (
                Cmd::Set {
                    key: FIELD, when, ..
                },
                Reply::Int(new @ (0 | 1)),
            ) => {
                let is_refused = *when == When::Absent && *new == 0;
                return Ok(if is_refused { Ret::Nil } else { Ret::Ok });
            }
            (Cmd::Incr { key: COUNTER, .. }, Reply::Bulk(Some(bytes))) => {
                return match parse_value(bytes)? {
                    Val::Int(n) => Ok(Ret::Int(n)),
                    Val::Text(_) => Err(unexpected()),
                };
            }
            _ => {}
        }
    }
    match (cmd, reply) {
        (Cmd::Get { .. }, Reply::Bulk(None)) => Ok(Ret::Nil),
        (Cmd::Get { .. }, Reply::Bulk(Some(bytes))) => parse_value(bytes).map(Ret::Val),
        (Cmd::Set { .. }, Reply::Simple(ok)) if ok == "OK" => Ok(Ret::Ok),
        (
            Cmd::Set {
                when: When::Absent | When::Present,
                ..
            },
            Reply::Bulk(None),
        ) => Ok(Ret::Nil),
        (Cmd::Get { .. } | Cmd::Set { .. }, _) => Err(unexpected()),
        (_, Reply::Int(n)) => Ok(Ret::Int(*n)),
        (Cmd::Incr { .. }, Reply::Error(e)) if e.starts_with("ERR value is not an integer") => {
            Ok(Ret::NotAnInteger)
        }
        _ => Err(unexpected()),
    }
}

/// A whole transaction's request.
pub fn encode_transaction(out: &mut Vec<u8>, group: u8, op: &Op, padding: usize) {
    request(out, &[b"MULTI"]);
    op.cmds
        .iter()
        .for_each(|cmd| encode(out, group, cmd, padding));
    request(out, &[b"EXEC"]);
}
