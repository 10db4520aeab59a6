//! What became of a lend to a server outside, when its answer was lost (M26).
//!
//! Owns the asking of one lend. The connection that the values went on is ended first: from then on nothing
//! of it is carried out any more, and what the server has is what it will have had of this lend. Never: ends
//! a lend (it gives a verdict). Invariant: without that certainty the verdict says so, and the keys stay
//! here, as they would with a real Redis.

use super::pool::{LinkId, Pool};
use super::reply::{command, Reply};
use base::clock::Mono;
use std::time::Duration;
use topology::moves::{Credentials, Lend};
use topology::outside::{Outside, Server, Unreached};

/// How soon a server that was not reached is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has the keys but for these positions.
    Has(Vec<u32>),
    /// It can't be known; why.
    Unknown(String),
}

#[derive(Debug)]
pub struct Settle {
    since: Mono,
    again: Mono,
    link: Option<LinkId>,
    /// The questions are on their way, until then.
    asked: Option<Mono>,
    credentials: Credentials,
}

impl Settle {
    pub fn begin(now: Mono, credentials: Credentials) -> Settle {
        Settle {
            since: now,
            again: now,
            link: None,
            asked: None,
            credentials,
        }
    }

    /// `most`: bytes of all values that the server is asked for. `is_same`: whether a payload is the value of the key at this position.
    pub fn step(
        &mut self,
        now: Mono,
        (patience, most): (Duration, usize),
        pool: &mut Pool,
        (lend, outside): (&Lend, &Outside),
        is_same: impl Fn(usize, &[u8]) -> bool,
    ) -> Option<Verdict> {
        let verdict = self
            .look((now, most), pool, (lend, outside), is_same)
            .or_else(|| {
                let late = now.since(self.since) >= patience;
                late.then(|| Verdict::Unknown("it was not reached".to_owned()))
            });
        if verdict.is_some() {
            self.give_back(now, pool);
        }
        verdict
    }

    fn look(
        &mut self,
        (now, most): (Mono, usize),
        pool: &mut Pool,
        (lend, outside): (&Lend, &Outside),
        is_same: impl Fn(usize, &[u8]) -> bool,
    ) -> Option<Verdict> {
        let Some(client) = outside.client else {
            return unknown("it does not tell which connection was this one");
        };
        let Some(link) = self.link else {
            if now >= self.again {
                let place = outside.place(self.credentials.clone());
                self.link = pool.take(now, &place, ATTEMPT);
                self.again = now + AGAIN;
            }
            return None;
        };
        let Some(until) = self.asked else {
            return match pool.ready(now, link)? {
                Err(Unreached::Refused(text)) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    unknown(&format!("it refuses to tell: {text}"))
                }
                Err(_) => self.try_again(now, pool),
                Ok(server) if server.run != *outside.run || server.run.is_empty() => {
                    unknown("it was started anew")
                }
                Ok(server) => {
                    let (bytes, expects) = questions(client, &server, &lend.keys);
                    if now >= self.again && pool.send(link, bytes, expects, most) {
                        self.asked = Some(now + ATTEMPT);
                    }
                    None
                }
            };
        };
        match pool.answers(now, link) {
            None if now >= until => self.try_again(now, pool),
            None => None,
            Some(Err(_)) => self.try_again(now, pool),
            Some(Ok(replies)) => match verdict(replies, lend.keys.len(), is_same) {
                Some(verdict) => Some(verdict),
                None => {
                    self.asked = None;
                    self.again = now + AGAIN;
                    None
                }
            },
        }
    }

    fn try_again(&mut self, now: Mono, pool: &mut Pool) -> Option<Verdict> {
        if let Some(link) = self.link.take() {
            pool.close(link);
        }
        self.asked = None;
        self.again = now + AGAIN;
        None
    }

    /// The lend has ended.
    pub fn give_back(&mut self, now: Mono, pool: &mut Pool) {
        if let Some(link) = self.link.take() {
            pool.release(now, link);
        }
    }
}

fn unknown(why: &str) -> Option<Verdict> {
    Some(Verdict::Unknown(why.to_owned()))
}

fn questions(client: u64, server: &Server, keys: &[Box<[u8]>]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let id = client.to_string();
    command(&mut out, &[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
    for key in keys {
        if server.is_cluster {
            command(&mut out, &[b"ASKING"]);
        }
        command(&mut out, &[b"DUMP", key]);
    }
    let each = 1 + usize::from(server.is_cluster);
    (out, 1 + each * keys.len())
}

/// None: it can't answer now.
fn verdict(
    replies: Vec<Reply>,
    keys: usize,
    is_same: impl Fn(usize, &[u8]) -> bool,
) -> Option<Verdict> {
    let (killed, dumps) = replies.split_first()?;
    if let Reply::Error(text) = killed {
        let text = String::from_utf8_lossy(text);
        return unknown(&format!("it does not end connections: {text}"));
    }
    let each = dumps.len() / keys.max(1);
    let mut missing = Vec::new();
    for (at, replies) in (0u32..).zip(dumps.chunks(each.max(1))) {
        match replies.last()? {
            Reply::Bulk(Some(payload)) if is_same(at as usize, payload) => {}
            Reply::Bulk(_) => missing.push(at),
            _ => return None,
        }
    }
    Some(Verdict::Has(missing))
}
