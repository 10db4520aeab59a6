//! Keys that go to servers outside this cluster, a real Redis's or another cluster's (M26).
//!
//! Owns the lends and copies to such servers, and through [`pool`] the connections. Such a server decides by
//! no log, so the course is: the lend commits; the values leave as RESTORE; its answer ends the lend. An answer
//! that is lost is told to the client at once, and found out behind it ([`settle`]). Never: a socket. Invariants:
//! RESTORE of a lend leaves once, after the lend has committed; while it may still be carried out the keys
//! stay frozen, unless the server can't be asked.

pub mod pool;
mod reply;
mod settle;
#[cfg(test)]
mod tests;

use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use keyspace::Keyspace;
use pool::{LinkId, Pool};
use reply::{command, Reply};
use settle::{Settle, Verdict};
use shard::Shard;
use state::{Gate, StateMachine};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::moves::{Cargo, Credentials, Lend, Parcel};
use topology::outside::Outside as Server;
use topology::{Finished, MoveId};

/// What is acted with in a turn.
pub struct Desk<'a, D: Disk> {
    pub shard: &'a mut Shard<D>,
    pub now: Now,
    /// How long a server is asked what it has.
    pub patience: Duration,
    pub finished: &'a mut Vec<Finished>,
    /// Lines for the log.
    pub warnings: &'a mut Vec<String>,
}

impl<D: Disk> Desk<'_, D> {
    fn act<R>(&mut self, act: impl FnOnce(&mut StateMachine) -> R) -> Option<(R, Gate)> {
        self.shard.act(act)
    }

    fn finish(&mut self, finished: Finished) {
        self.finished.push(finished);
    }
}

/// Bytes of DUMP beyond the values that were sent: a server may have other ones of the same names.
const MOST_OTHER: usize = 16 << 20;

/// Numbers of copies, apart from those between shards.
const COPIES: u64 = 1 << 63;

/// What goes to a server, and on which connection.
#[derive(Debug)]
struct Load {
    link: LinkId,
    is_cluster: bool,
    replace: bool,
    parcels: Vec<Parcel>,
}

/// How far a lend is.
#[derive(Debug)]
enum Course {
    /// Its entry is not committed; until when it may be begun.
    Begun(Load, Mono),
    /// RESTORE of the keys at these positions has left; until when the answer counts.
    Going(LinkId, Vec<u32>, Mono),
    Settling(Settle),
    /// It ends as soon as the log has room: with the keys at these positions still here, or returned.
    Ended(Option<Vec<u32>>, Option<Finished>),
}

#[derive(Debug)]
struct Job {
    course: Course,
    patience: Duration,
    credentials: Credentials,
}

#[derive(Debug)]
enum Copying {
    /// To be sent when what its command has seen is committed.
    Begun(Load),
    Gated(Load),
    Going(LinkId),
}

#[derive(Debug, Default)]
pub struct Outside {
    pub pool: Pool,
    jobs: BTreeMap<MoveId, Job>,
    copies: BTreeMap<u64, (Copying, Mono)>,
    last_copy: u64,
    /// Lends that have ended in the tail, and what their clients are told when that has committed: a later
    /// leader that knew nothing of an end would ask a server where all may have changed since.
    ended: Vec<(MoveId, Option<Finished>)>,
}

impl Outside {
    /// For another reign: which lend a connection served is not known any more.
    pub fn anew(mut before: Outside) -> Outside {
        before.pool.close_all();
        Outside {
            pool: before.pool,
            last_copy: before.last_copy,
            ..Outside::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        let idle = self.jobs.is_empty() && self.copies.is_empty() && self.ended.is_empty();
        idle && self.pool.is_empty()
    }

    pub fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// A lend that was executed in this turn.
    pub fn begin(
        &mut self,
        now: Mono,
        (id, patience): (MoveId, Duration),
        (link, is_cluster): (LinkId, bool),
        cargo: Cargo,
    ) {
        let load = Load {
            link,
            is_cluster,
            replace: cargo.replace,
            parcels: cargo.parcels,
        };
        let job = Job {
            course: Course::Begun(load, now + patience),
            patience,
            credentials: cargo.credentials,
        };
        self.jobs.insert(id, job);
    }

    /// A copy of this turn; its number.
    pub fn begin_copy(
        &mut self,
        until: Mono,
        (link, is_cluster): (LinkId, bool),
        cargo: Cargo,
    ) -> u64 {
        self.last_copy += 1;
        let load = Load {
            link,
            is_cluster,
            replace: cargo.replace,
            parcels: cargo.parcels,
        };
        let number = COPIES | self.last_copy;
        self.copies.insert(number, (Copying::Begun(load), until));
        number
    }

    /// Before the turn's proposal: the gates of its copies.
    pub fn gate_copies<D: Disk>(&mut self, desk: &mut Desk<'_, D>) -> Vec<(Gate, u64)> {
        let mut gates = Vec::new();
        for (number, (copying, _)) in &mut self.copies {
            let Copying::Begun(load) = copying else {
                continue;
            };
            if let Some(((), gate)) = desk.act(StateMachine::depends_on_all) {
                let load = Load {
                    parcels: std::mem::take(&mut load.parcels),
                    ..*load
                };
                *copying = Copying::Gated(load);
                gates.push((gate, *number));
            }
        }
        gates
    }

    /// What a copy rests on is committed.
    pub fn send_copy(&mut self, now: Now, number: u64) {
        let Some((copying, _)) = self.copies.get_mut(&number) else {
            return;
        };
        if let Copying::Gated(load) = copying {
            let (bytes, sent) = load.commands(now.unix_ms);
            let link = load.link;
            *copying = Copying::Going(link);
            self.pool.send(link, bytes, sent.len(), 0);
        }
    }

    /// What servers have answered, and what time has brought; before clients are served.
    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        self.hear_copies(desk);
        self.tell_ended(desk);
        let record = desk.shard.data().record().clone();
        let lends = &record.moves.lends;
        let now = desk.now.mono;
        let open = |id: &MoveId| lends.get(id).is_some_and(|lend| lend.outside.is_some());
        let pool = &mut self.pool;
        self.jobs
            .retain(|id, job| open(id) || job.drop_it(now, pool));
        for (id, lend) in lends {
            let Some(server) = &lend.outside else {
                continue;
            };
            let job = self.jobs.entry(*id).or_insert_with(|| Job::of_before(now));
            let warning = job.hear(desk, &mut self.pool, *id, (lend, server));
            desk.warnings.extend(warning);
            if let Some(finished) = job.end(desk, *id) {
                self.jobs.remove(id);
                self.ended.push((*id, finished));
            }
        }
    }

    fn tell_ended<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let committed = desk.shard.record().clone();
        for (id, finished) in std::mem::take(&mut self.ended) {
            match committed.moves.lends.contains_key(&id) {
                true => self.ended.push((id, finished)),
                false => finished.into_iter().for_each(|f| desk.finish(f)),
            }
        }
    }

    fn hear_copies<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        let (pool, mut ended) = (&mut self.pool, Vec::new());
        for (number, (copying, until)) in &self.copies {
            let (link, answers) = match copying {
                Copying::Begun(load) | Copying::Gated(load) => (load.link, None),
                Copying::Going(link) => (*link, pool.answers(now, *link)),
            };
            let number = *number;
            let finished = match answers {
                Some(Ok(replies)) => {
                    pool.release(now, link);
                    let error = replies.into_iter().find_map(error_of);
                    Finished::Copy { number, error }
                }
                None if now < *until => continue,
                _ => {
                    pool.close(link);
                    Finished::CopyLost { number }
                }
            };
            ended.push(number);
            desk.finish(finished);
        }
        ended.iter().for_each(|number| {
            self.copies.remove(number);
        });
    }

    /// What a committed lend lets leave.
    pub fn speak<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let committed = desk.shard.record().clone();
        for (id, job) in &mut self.jobs {
            let is_committed = committed.moves.lends.contains_key(id)
                || mutation::is(Mutation::GoBeforeLendCommits);
            if let (Course::Begun(load, _), true) = (&job.course, is_committed) {
                if !self.pool.stands(load.link) {
                    continue; // it is returned: nothing has left
                }
                let (bytes, sent) = load.commands(desk.now.unix_ms);
                // M5: from here on the server may have the keys.
                desk.shard.data_mut().hide_lent(*id);
                let until = desk.now.mono + job.patience;
                self.pool.send(load.link, bytes, sent.len(), 0);
                job.course = Course::Going(load.link, sent, until);
            }
        }
    }
}

impl Load {
    /// RESTORE of every key that has not expired, and the positions of those.
    fn commands(&self, now_ms: i64) -> (Vec<u8>, Vec<u32>) {
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        let name: &[u8] = match self.is_cluster {
            true => b"RESTORE-ASKING",
            false => b"RESTORE",
        };
        for (at, parcel) in (0u32..).zip(&self.parcels) {
            let ttl = match parcel.expiry {
                None => 0,
                Some(expiry) if expiry < now_ms => continue,
                Some(expiry) => (expiry - now_ms).max(1),
            };
            let ttl = ttl.to_string();
            let words: [&[u8]; 5] = [
                name,
                &parcel.key,
                ttl.as_bytes(),
                &parcel.payload,
                b"REPLACE",
            ];
            command(&mut out, &words[..4 + usize::from(self.replace)]);
            sent.push(at);
        }
        (out, sent)
    }
}

fn error_of(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Error(text) => Some(text),
        _ => None,
    }
}

impl Job {
    /// Of another reign: what had left is not known.
    fn of_before(now: Mono) -> Job {
        Job {
            course: Course::Settling(Settle::begin(now, Credentials::None)),
            patience: Duration::ZERO,
            credentials: Credentials::None,
        }
    }

    /// The lend has ended otherwise. Always false.
    fn drop_it(&mut self, now: Mono, pool: &mut Pool) -> bool {
        match &mut self.course {
            Course::Begun(load, _) => pool.release(now, load.link),
            Course::Going(link, ..) => pool.close(*link),
            Course::Settling(settle) => settle.give_back(now, pool),
            Course::Ended(..) => {}
        }
        false
    }

    /// What has come of it; a warning for the log.
    fn hear<D: Disk>(
        &mut self,
        desk: &mut Desk<'_, D>,
        pool: &mut Pool,
        id: MoveId,
        (lend, server): (&Lend, &Server),
    ) -> Option<String> {
        let now = desk.now.mono;
        match &mut self.course {
            Course::Begun(load, until) => {
                let gone = !pool.stands(load.link);
                if gone || now >= *until {
                    // Nothing has left, and nothing will.
                    pool.close(load.link);
                    self.course = Course::Ended(None, Some(Finished::LendLost { id }));
                }
                None
            }
            Course::Going(link, sent, until) => {
                let (link, late) = (*link, now >= *until);
                match pool.answers(now, link) {
                    None if !late => {}
                    Some(Ok(replies)) => {
                        pool.release(now, link);
                        self.course = answered(id, sent, replies, lend.keys.len());
                    }
                    _ => {
                        pool.close(link);
                        desk.finish(Finished::LendLost { id });
                        let settle = Settle::begin(now, self.credentials.clone());
                        self.course = match mutation::is(Mutation::ThawUnsettled) {
                            true => Course::Ended(None, None),
                            false => Course::Settling(settle),
                        };
                    }
                }
                None
            }
            Course::Settling(settle) => {
                let keyspace = desk.shard.data().keyspace();
                let is_same = |at: usize, theirs: &[u8]| {
                    let entry = keyspace.get(lend.db, &keyspace.key(&lend.keys[at]));
                    entry.is_some_and(|entry| has_value(keyspace, &entry, theirs))
                };
                let patience = desk.patience;
                let sizes = lend.keys.iter().map(|key| {
                    let entry = keyspace.get(lend.db, &keyspace.key(key));
                    entry.map_or(0, |entry| state::size_of(&entry))
                });
                let most = sizes.sum::<usize>() + MOST_OTHER;
                match settle.step(now, (patience, most), pool, (lend, server), is_same)? {
                    Verdict::Has(missing) => {
                        self.course = ended(missing, lend.keys.len(), None);
                        None
                    }
                    Verdict::Unknown(why) => {
                        self.course = Course::Ended(None, None);
                        let host = String::from_utf8_lossy(&server.host);
                        Some(format!(
                            "MIGRATE to {host}:{}: whether {} keys have come is not known ({why}): they \
                             stay here, and may be there as well",
                            server.port,
                            lend.keys.len()
                        ))
                    }
                }
            }
            Course::Ended(..) => None,
        }
    }

    /// Ends the lend, if it is to end; what its client is told then. None: not now.
    fn end<D: Disk>(&mut self, desk: &mut Desk<'_, D>, id: MoveId) -> Option<Option<Finished>> {
        let Course::Ended(outcome, finished) = &mut self.course else {
            return None;
        };
        let acted = match outcome {
            Some(refused) => desk.act(|data| data.end_lend(id, refused)),
            None => desk.act(|data| data.return_lend(id)),
        };
        acted.map(|_| finished.take())
    }
}

/// All replies to RESTORE are there: those keys that it has refused stay.
fn answered(id: MoveId, sent: &[u32], replies: Vec<Reply>, keys: usize) -> Course {
    let refused = sent.iter().zip(&replies);
    let refused = refused.filter(|(_, reply)| matches!(reply, Reply::Error(_)));
    let refused: Vec<u32> = refused.map(|(at, _)| *at).collect();
    let error = replies.into_iter().find_map(error_of);
    ended(refused, keys, Some(Finished::Lend { id, error }))
}

fn ended(refused: Vec<u32>, keys: usize, finished: Option<Finished>) -> Course {
    let some = refused.len() < keys;
    Course::Ended(some.then_some(refused), finished)
}

/// Whether a payload has the value of a key, however it is encoded.
fn has_value(keyspace: &Keyspace, entry: &keyspace::Entry<'_>, theirs: &[u8]) -> bool {
    let limit = state::size_of(entry).max(theirs.len()).max(32);
    let theirs = rdb::load(theirs, limit, &mut || {});
    theirs.is_ok_and(|theirs| state::is_value_of(keyspace, entry, &theirs))
}
