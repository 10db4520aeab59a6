//! Clients in blocking commands: what each waits for, until when, and how it is answered.
//!
//! Owns the registry of blocked clients ([`Blocking`]), the order of their deadlines, and every reply
//! that ends a wait: what was waited for is there, the time is over, CLIENT UNBLOCK, this node leads
//! no longer. Never: decides whether a command blocks (its handler does). A client that is held
//! ([`command::Flow::Hold`]) is not blocked: its command has not run.
//!
//! Invariants: a client stands in the registry exactly while [`Client::blocked`] is set; nothing of a
//! blocked client is executed; the reply takes its place behind those that the client has still to
//! get (T4), and CLIENT REPLY counts for it as for any other.

use super::clients::{Client, Wait};
use super::downloads::Download;
use super::platform::Platform;
use super::state::{ServerState, TurnApi};
use super::turn::Server;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use command::api::{ServerApi as _, Unblock};
use command::session::ReplyMode;
use command::{Block, BlockKind, Error};
use net::ConnId;
use resp::Reply;
use shard::{Acks, Admission};
use state::{Gate, ReadyKey};
use std::collections::BTreeMap;
use topology::{Finished, MoveId, Record};

/// A blocking command that has not been answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub on: WaitsFor,
    pub until: Option<Mono>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// C2: so many data replicas have applied this batch, the client's last write before its WAIT.
    Replicas { count: u64, batch: BatchSeq },
    /// The own disk, if `own`, and those of so many data replicas have it.
    Synced {
        own: bool,
        count: u64,
        batch: BatchSeq,
    },
    /// A key has a value of the kind that it wants. Its command stands in its input still, with so many bytes. `over`: since
    /// when its time is over, if its end can't come.
    Keys { bytes: usize, over: Option<Mono> },
    /// M1: this lend ends.
    Lend(MoveId),
    /// M24: this copy is answered.
    Copy(u64),
    /// M18: the slot is this shard's.
    HandOver(u16),
    /// M11: the slot has no mark any more.
    MarkEnd(u16),
    /// The snapshot with this number ends.
    Saved(u64),
    /// The keyspace has been made anew.
    Reload,
    /// Its file (P26): its connection ends behind that.
    Download,
    /// The process ends, or can't.
    End,
}

impl WaitsFor {
    /// C4: it has nothing to do with who leads, and ends by itself.
    fn is_of_this_process(self) -> bool {
        matches!(
            self,
            WaitsFor::Saved(_) | WaitsFor::Reload | WaitsFor::Download | WaitsFor::End
        )
    }
}

/// What WAITAOF answers.
fn write_synced(acks: Acks, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.int(i64::from(acks.own));
    reply.int(acks.synced as i64);
}

/// M11, M18: no mark of the slot is committed. That it was taken the other shard's commit has decided: the entry
/// here that notes it needs none.
fn has_ended(tail: &Record, committed: &Record, slot: u16) -> bool {
    match committed.moves.departed.contains_key(&slot) {
        true => !tail.moves.is_open(slot) && !tail.slots.contains(slot),
        false => !committed.moves.is_open(slot),
    }
}

/// The registry.
#[derive(Debug, Default)]
pub struct Blocking {
    /// Clients that wait for anything but keys, by their ids: each turn looks whether their wait has ended.
    clients: BTreeMap<u64, ConnId>,
    /// Clients that wait for keys: a key that changes ends their wait.
    waiting: BTreeMap<u64, ConnId>,
    /// By the end of their patience and their ids.
    deadlines: BTreeMap<(Mono, u64), ConnId>,
    /// Clients that have got their answers: they are flushed in this turn, and go on.
    unblocked: Vec<ConnId>,
    /// Clients that wait for keys, and for no longer: CLIENT UNBLOCK.
    pub(super) over: Vec<ConnId>,
    /// This turn's time was over before all were served that wait for keys.
    pub(super) more: bool,
    /// Keys whose first waiter's command can't run now: they are looked at again in the next turn.
    pub(super) held: Vec<ReadyKey>,
}

impl Blocking {
    pub fn add(&mut self, id: u64, key: ConnId, blocked: Blocked) {
        let Blocked { on, until } = blocked;
        let among = match on {
            WaitsFor::Keys { .. } => &mut self.waiting,
            _ => &mut self.clients,
        };
        let before = among.insert(id, key);
        assert!(before.is_none(), "a blocked client's commands don't run");
        if let Some(until) = until {
            self.deadlines.insert((until, id), key);
        }
    }

    /// The client is answered, or gone.
    pub fn remove(&mut self, id: u64, until: Option<Mono>) {
        self.clients.remove(&id);
        self.waiting.remove(&id);
        if let Some(until) = until {
            self.deadlines.remove(&(until, id));
        }
    }

    pub(super) fn client(&self, id: u64) -> Option<ConnId> {
        let found = self.clients.get(&id).or_else(|| self.waiting.get(&id));
        found.copied()
    }

    fn all(&self) -> Vec<ConnId> {
        let all = self.clients.values().chain(self.waiting.values());
        all.copied().collect()
    }

    /// The client waits until then, and not until the time before.
    pub(super) fn postpone(
        &mut self,
        id: u64,
        key: ConnId,
        before: Option<Mono>,
        until: Option<Mono>,
    ) {
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        if let Some(until) = until {
            self.deadlines.insert((until, id), key);
        }
    }

    /// When the first of them has waited for long enough.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.waiting.is_empty()
    }

    /// The clients whose time is over, in the order of their deadlines.
    fn due(&self, now: Mono) -> Vec<ConnId> {
        let due = self.deadlines.range(..=(now, u64::MAX));
        due.map(|(_, key)| *key).collect()
    }
}

impl<P: Platform> ServerState<P> {
    /// Ends a client's wait with what `answer` writes; false if it does not wait.
    pub(super) fn end_block(
        &mut self,
        key: ConnId,
        answer: impl FnOnce(Blocked, &mut Reply<'_>),
    ) -> bool {
        let Some(Some(client)) = self.clients.get_mut(key) else {
            return false;
        };
        let Some(blocked) = client.wait.blocked().filter(|_| !client.doomed) else {
            return false;
        };
        client.wait = Wait::No;
        self.blocking.remove(client.session.id, blocked.until);
        if let WaitsFor::Keys { bytes, .. } = blocked.on {
            // Its command goes without an end of its own: what that would have done is done here.
            client.conn.input.consume(bytes);
            client.session.asking = false;
            if let Some(command) = client.session.last_command {
                let of = self.stats.of(command);
                (of.calls, of.failed) = (of.calls + 1, of.failed + 1);
            }
        }
        let wanted = client.session.reply_mode == ReplyMode::On;
        if client.session.reply_mode == ReplyMode::SkipThis {
            client.session.reply_mode = ReplyMode::On;
        }
        let output = &mut client.conn.output;
        if wanted {
            answer(blocked, &mut Reply::new(output.buf(), client.session.proto));
            output.seal(Gate::OPEN, None);
        }
        self.blocking.unblocked.push(key);
        true
    }

    /// The reply of a command whose time is over. `acks` counts the replicas that have applied a batch.
    fn time_out(&mut self, key: ConnId, acks: impl Fn(BatchSeq) -> Acks) -> bool {
        self.end_block(key, |blocked, reply| match blocked.on {
            WaitsFor::Replicas { batch, .. } => reply.int(acks(batch).applied as i64),
            WaitsFor::Synced { batch, .. } => write_synced(acks(batch), reply),
            WaitsFor::Lend(_) | WaitsFor::Copy(_) => {
                Error::MIGRATE_TIMEOUT.write(reply.out);
            }
            WaitsFor::HandOver(_) => Error::HAND_OVER_TIMEOUT.write(reply.out),
            // The move runs backwards, and goes on doing so.
            WaitsFor::MarkEnd(_) => reply.ok(),
            WaitsFor::Saved(_) | WaitsFor::End => Error::NOT_SAVED.write(reply.out),
            WaitsFor::Reload => Error::NOT_RELOADED.write(reply.out),
            WaitsFor::Download => Error::SYNC_FAILED.write(reply.out),
            WaitsFor::Keys { .. } => unreachable!("its command runs again"),
        })
    }

    /// What a command has waited for has come, or was refused (M1, M18).
    pub fn end_move(&mut self, finished: &Finished) {
        let waiting: Vec<ConnId> = self.blocking.clients.values().copied().collect();
        for key in waiting {
            let Some(Some(client)) = self.clients.get_mut(key) else {
                continue;
            };
            let on = client.wait.blocked().map(|blocked| blocked.on);
            let error = match (on, finished) {
                (Some(WaitsFor::Lend(of)), Finished::Lend { id, error }) if of == *id => {
                    error.as_deref().map(Error::target_error)
                }
                (Some(WaitsFor::Lend(of)), Finished::LendLost { id }) if of == *id => {
                    Some(Error::MIGRATE_TIMEOUT)
                }
                (Some(WaitsFor::Copy(of)), Finished::CopyLost { number }) if of == *number => {
                    Some(Error::MIGRATE_TIMEOUT)
                }
                (Some(WaitsFor::Copy(of)), Finished::Copy { number, error }) if of == *number => {
                    error.as_deref().map(Error::target_error)
                }
                (Some(WaitsFor::HandOver(of)), Finished::HandOver { slot, error })
                    if of == *slot =>
                {
                    Some(Error::text(String::from_utf8_lossy(error).into_owned()))
                }
                _ => continue,
            };
            match error {
                None => {
                    self.end_block(key, |_, reply| reply.ok());
                }
                Some(error) => {
                    self.fail_block(key, error);
                }
            }
        }
    }

    /// A snapshot has ended: the clients in SAVE hear of it.
    pub(super) fn end_saves(&mut self, number: u64, whole: bool) {
        let failed = (!whole).then_some(Error::NOT_SAVED);
        self.end_all(WaitsFor::Saved(number), failed.as_ref());
    }

    /// The client that waits for a reload hears what became of it.
    pub(super) fn end_reload(&mut self, failed: Option<&Error>) {
        self.end_all(WaitsFor::Reload, failed);
    }

    /// Whether a client waits for this.
    pub(super) fn is_awaited(&self, what: WaitsFor) -> bool {
        let mut keys = self.blocking.clients.values();
        keys.any(|key| self.waits_for(*key) == Some(what))
    }

    fn waits_for(&self, key: ConnId) -> Option<WaitsFor> {
        let client = self.clients.get(key)?.as_ref()?;
        client.wait.blocked().map(|blocked| blocked.on)
    }

    /// All clients that wait for this are answered: OK, or an error.
    fn end_all(&mut self, what: WaitsFor, error: Option<&Error>) {
        let waiting: Vec<ConnId> = self.blocking.clients.values().copied().collect();
        for key in waiting {
            match error {
                _ if self.waits_for(key) != Some(what) => {}
                None => {
                    self.end_block(key, |_, reply| reply.ok());
                }
                Some(error) => {
                    self.fail_block(key, error.clone());
                }
            }
        }
    }

    pub(super) fn fail_block(&mut self, key: ConnId, error: Error) -> bool {
        let code = error.code().to_vec();
        let ended = self.end_block(key, |_, reply| error.write(reply.out));
        if ended {
            self.stats.count_error(&code);
        }
        ended
    }

    /// CLIENT UNBLOCK; false if no such client is blocked.
    pub fn unblock(&mut self, id: u64, how: Unblock, acks: impl Fn(BatchSeq) -> Acks) -> bool {
        let Some(key) = self.blocking.client(id) else {
            return false;
        };
        let client = self.clients.get_mut(key).and_then(Option::as_mut);
        let on = client.and_then(|client| client.wait.blocked().map(|blocked| blocked.on));
        if on.is_some_and(WaitsFor::is_of_this_process) {
            return false;
        }
        match how {
            Unblock::Timeout if matches!(on, Some(WaitsFor::Keys { .. })) => {
                let is_new = !self.blocking.over.contains(&key);
                self.blocking.over.push(key);
                is_new
            }
            Unblock::Timeout => self.time_out(key, acks),
            Unblock::Error => self.fail_block(key, Error::UNBLOCKED_BY_CLIENT),
        }
    }
}

impl<P: Platform> Server<P> {
    /// The client's command, of so many bytes, has blocked.
    pub(super) fn block(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        block: Block,
        bytes: usize,
    ) {
        let until = block
            .timeout
            .map(|patience| self.turn_started.mono + patience);
        let on = match block.kind {
            BlockKind::Wait { replicas } => WaitsFor::Replicas {
                count: replicas,
                batch: client.session.last_write,
            },
            BlockKind::WaitAof { own, replicas } => WaitsFor::Synced {
                own,
                count: replicas,
                batch: client.session.last_write,
            },
            BlockKind::Lend { id } => WaitsFor::Lend(id),
            BlockKind::Copy { number } => WaitsFor::Copy(number),
            BlockKind::HandOver { slot } => WaitsFor::HandOver(slot),
            BlockKind::MarkEnd { slot } => WaitsFor::MarkEnd(slot),
            BlockKind::Saved { number } => WaitsFor::Saved(number),
            BlockKind::Reload => WaitsFor::Reload,
            BlockKind::Download(wanted) => {
                let download = Download::new(wanted, self.turn_started.mono);
                client.download = Some(Box::new(download));
                self.state.add_download(key);
                WaitsFor::Download
            }
            BlockKind::End => WaitsFor::End,
            BlockKind::Keys { keys, kind } => {
                let keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
                let (id, db) = (client.session.id, client.session.db);
                let (data, handle) = self.shard.split();
                let mut host = TurnApi {
                    state: &mut self.state,
                    handle,
                    own_io: client.io(),
                    own_key: key,
                };
                data.wait_for(id, db, (&keys, kind), &mut || host.breathe());
                WaitsFor::Keys { bytes, over: None }
            }
        };
        if !matches!(on, WaitsFor::Keys { .. }) {
            client.conn.input.consume(bytes);
        }
        let blocked = Blocked { on, until };
        client.wait = Wait::Blocked(blocked);
        self.state.blocking.add(client.session.id, key, blocked);
        if client.is_gone() && !client.doomed {
            // Data and end came together: the socket will not report the end once more.
            client.doomed = true;
            self.state.killed.push(key);
        }
    }

    /// Answers the clients whose time is over, and those that have got what they waited for.
    pub(super) fn answer_blocked(&mut self, now: Now, admission: Admission) {
        if self.state.blocking.is_empty() {
            return;
        }
        if !self.shard.group().is_leader() {
            // C4: also a command that came after the step-down, of which nobody would tell it.
            return self.give_up_blocked();
        }
        let (shard, released) = (&self.shard, self.released.batch);
        let mut waited = Vec::new();
        for key in self.state.blocking.due(now.mono) {
            match self.state.waits_for(key) {
                Some(WaitsFor::Keys { .. }) => waited.push(key),
                _ => {
                    self.state.time_out(key, |batch| shard.acks(batch));
                }
            }
        }
        // C2: WAIT ends when enough replicas have applied.
        let blocked: Vec<ConnId> = self.state.blocking.clients.values().copied().collect();
        for key in blocked {
            let Some(Some(client)) = self.state.clients.get(key) else {
                continue;
            };
            match client.wait.blocked().map(|b| b.on) {
                Some(WaitsFor::Replicas { count, batch }) => {
                    let acks = shard.replica_acks(batch);
                    if acks >= count && batch <= released {
                        self.state.end_block(key, |_, reply| reply.int(acks as i64));
                    }
                }
                Some(WaitsFor::Synced { own, count, batch }) => {
                    let acks = shard.acks(batch);
                    if acks.own >= own && acks.synced >= count && batch <= released {
                        self.state
                            .end_block(key, |_, reply| write_synced(acks, reply));
                    }
                }
                Some(WaitsFor::HandOver(slot)) if shard.record().slots.contains(slot) => {
                    self.state.end_block(key, |_, reply| reply.ok());
                }
                Some(WaitsFor::MarkEnd(slot))
                    if has_ended(shard.data().record(), shard.record(), slot) =>
                {
                    self.state.end_block(key, |_, reply| reply.ok());
                }
                _ => {}
            }
        }
        self.end_times(&waited, admission, now);
    }

    /// C4: nobody acknowledges anything to a node that leads no longer: blocking commands are given
    /// up, and as in Redis the connections with them.
    pub(super) fn give_up_blocked(&mut self) {
        for key in self.state.blocking.all() {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            let on = client.wait.blocked().map(|blocked| blocked.on);
            if on.is_some_and(WaitsFor::is_of_this_process) {
                continue;
            }
            self.state.fail_block(key, Error::UNBLOCKED);
            if let Some(Some(client)) = self.state.clients.get_mut(key) {
                client.conn.output.close_after();
            }
        }
        self.resume_unblocked();
    }

    /// Clients that were answered are flushed, and their next commands run.
    #[inline]
    pub(super) fn resume_unblocked(&mut self) {
        if !self.state.blocking.unblocked.is_empty() {
            self.resume_all_unblocked();
        }
    }

    fn resume_all_unblocked(&mut self) {
        for key in std::mem::take(&mut self.state.blocking.unblocked) {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            self.shard.data_mut().leave(client.session.id);
            client.session.last_command_at = self.turn_started.mono;
            client.mark_dirty(&mut self.dirty, key);
            if !client.must_wait() && client.conn.has_work() {
                self.ready.add(key, &mut client.conn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Nowhere, TestPlatform};
    use command::testing::session;
    use net::Conn;

    const WAIT: WaitsFor = WaitsFor::Replicas {
        count: 2,
        batch: BatchSeq(7),
    };

    /// As many replicas as the batch has in its number.
    fn applied(batch: BatchSeq) -> Acks {
        Acks {
            applied: batch.0,
            ..Acks::default()
        }
    }

    struct Fixture(ServerState<TestPlatform>);

    impl Fixture {
        fn new() -> Fixture {
            Fixture(testing::state())
        }

        /// A client that waits, maybe until `until`.
        fn waits(&mut self, id: u64, until: Option<Mono>) -> ConnId {
            self.waits_for(id, WAIT, until)
        }

        fn waits_for(&mut self, id: u64, on: WaitsFor, until: Option<Mono>) -> ConnId {
            let mut client = Client::new(Conn::new(Nowhere), session(id));
            client.wait = Wait::Blocked(Blocked { on, until });
            let key = self.0.clients.insert(Some(Box::new(client)));
            self.0.blocking.add(id, key, Blocked { on, until });
            key
        }

        fn client(&mut self, key: ConnId) -> &mut Client<Nowhere> {
            self.0.clients.get_mut(key).unwrap().as_mut().unwrap()
        }

        fn sent(&mut self, key: ConnId) -> String {
            let mut bytes = Vec::new();
            let output = &mut self.client(key).conn.output;
            while output.wants_write() {
                output.write_to(&mut bytes).unwrap();
            }
            String::from_utf8(bytes).unwrap()
        }
    }

    #[test]
    fn deadlines_come_in_their_order() {
        let mut f = Fixture::new();
        let keys = [30, 10, 20].map(|at| f.waits(at, Some(Mono(at))));
        let forever = f.waits(40, None);
        let blocking = &f.0.blocking;
        assert_eq!(blocking.next_deadline(), Some(Mono(10)));
        assert_eq!(blocking.due(Mono(9)), []);
        assert_eq!(blocking.due(Mono(20)), [keys[1], keys[2]]);
        assert!(f.0.unblock(10, Unblock::Timeout, applied));
        assert_eq!(f.sent(keys[1]), ":7\r\n", "how many have batch 7");
        assert_eq!(f.0.blocking.next_deadline(), Some(Mono(20)));
        for id in [20, 30] {
            assert!(f.0.unblock(id, Unblock::Error, |_| Acks::default()));
        }
        assert_eq!(f.0.blocking.next_deadline(), None);
        assert!(f.client(forever).wait.blocked().is_some());
    }

    #[test]
    fn waitaof_tells_what_the_disks_have() {
        let mut f = Fixture::new();
        let on = WaitsFor::Synced {
            own: true,
            count: 3,
            batch: BatchSeq(7),
        };
        let key = f.waits_for(5, on, Some(Mono(10)));
        let acks = Acks {
            applied: 1,
            synced: 2,
            own: true,
        };
        assert!(f.0.unblock(5, Unblock::Timeout, |_| acks));
        assert_eq!(f.sent(key), "*2\r\n:1\r\n:2\r\n");
    }

    #[test]
    fn unblock_ends_one_wait_once() {
        let mut f = Fixture::new();
        let key = f.waits(5, None);
        assert!(!f.0.unblock(6, Unblock::Error, |_| Acks::default()));
        assert!(f.0.unblock(5, Unblock::Error, |_| Acks::default()));
        assert!(!f.0.unblock(5, Unblock::Error, |_| Acks::default()));
        let text = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
        assert_eq!(f.sent(key), text);
        assert!(!f.client(key).must_wait());
        assert_eq!(f.0.blocking.unblocked, [key]);
        assert_eq!(f.0.stats.errors.get(b"UNBLOCKED".as_slice()), Some(&1));
    }

    #[test]
    fn save_ends_with_its_own_snapshot_alone() {
        let mut f = Fixture::new();
        let good = f.waits_for(5, WaitsFor::Saved(3), None);
        let bad = f.waits_for(6, WaitsFor::Saved(4), None);
        assert!(!f.0.unblock(5, Unblock::Error, |_| Acks::default()));
        assert!(!f.0.unblock(6, Unblock::Timeout, |_| Acks::default()));
        f.0.end_saves(2, true);
        assert_eq!(f.0.blocking.unblocked, []);
        f.0.end_saves(3, true);
        f.0.end_saves(4, false);
        assert_eq!(f.sent(good), "+OK\r\n");
        assert_eq!(f.sent(bad), "-ERR\r\n");
        assert_eq!(f.0.blocking.unblocked, [good, bad]);
    }

    #[test]
    fn a_killed_client_is_not_unblocked() {
        let mut f = Fixture::new();
        let key = f.waits(5, None);
        f.client(key).doomed = true;
        assert!(!f.0.unblock(5, Unblock::Timeout, |_| Acks::default()));
        assert_eq!(f.sent(key), "");
    }

    #[test]
    fn skip_drops_the_reply_of_a_wait() {
        let mut f = Fixture::new();
        let key = f.waits(5, None);
        f.client(key).session.reply_mode = ReplyMode::SkipThis;
        assert!(f.0.unblock(5, Unblock::Timeout, |_| Acks::default()));
        assert_eq!(f.sent(key), "");
        assert_eq!(f.client(key).session.reply_mode, ReplyMode::On);
    }
}
