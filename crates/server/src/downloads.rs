//! Files on their way to clients that have said SYNC or PSYNC (P26).
//!
//! Owns how far each of them is, from the wait for its snapshot to the end of its connection, and which
//! replicas had a file a moment ago. Never reads a file: another thread does, piece by piece, as the
//! client takes them. Invariants: of a file at most two pieces are in memory, however little its client reads; what
//! follows `$<bytes>` is the file, or the connection ends; no command of such a client runs any more.

use super::import::origin;
use super::platform::Platform;
use super::snapshots::Making;
use super::state::ServerState;
use super::turn::Server;
use base::clock::{Clock, Mono};
use command::api::SnapshotKind;
use command::env::Download as Wanted;
use command::Error;
use net::{ConnId, Output};
use state::save::without_keys;
use state::Gate;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::{DownloadDone, DownloadJob, Job, OpenState};

/// How often a client hears that its file is still being made: others give up after seconds of silence.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// Behind the file the connection stays for so long, so that the client has read all before it ends.
const LINGER: Duration = Duration::from_secs(1);
/// A client that takes nothing of its file for so long is closed: Redis's `repl-timeout`.
const PATIENCE: Duration = Duration::from_secs(60);
/// A piece is read when less than this is still to be taken.
const WINDOW: usize = 256 * 1024;
/// A replica that nothing is streamed to loses its link and comes again at once: it gets a file that often.
const REPLICA_EVERY: Duration = Duration::from_secs(60);
/// Replicas that are remembered; beyond them the one that came first is forgotten.
const REPLICAS: usize = 1000;

/// One client's file.
#[derive(Debug)]
pub struct Download {
    /// PSYNC's, until it is told.
    history: Option<String>,
    replica: Option<String>,
    stage: Stage,
    /// When the client was given a sign, or has taken something.
    moved: Mono,
}

#[derive(Debug)]
enum Stage {
    /// The snapshot with this number is not there yet; none: it wants no keys.
    Waits(Option<u64>),
    Sends(Sending),
    /// All of it was taken; since when.
    Taken(Mono),
    /// There is no file.
    Failed,
}

#[derive(Debug)]
struct Sending {
    file: OpenState,
    /// What is put into the output.
    sent: u64,
    /// A piece is being read.
    reads: bool,
    /// Bytes that the client has not taken, when that was last looked at.
    left: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Downloads {
    /// Their clients, some of which may be gone.
    clients: Vec<ConnId>,
    /// When replicas were last given a file.
    replicas: BTreeMap<String, Mono>,
}

impl Downloads {
    /// Whether a replica may have a file now; if so it is noted.
    pub fn admit(&mut self, replica: &str, now: Mono) -> bool {
        self.replicas.retain(|_, at| now.since(*at) < REPLICA_EVERY);
        if self.replicas.contains_key(replica) {
            return false;
        }
        self.note(replica, now);
        true
    }

    fn note(&mut self, replica: &str, now: Mono) {
        if self.replicas.len() >= REPLICAS {
            let first = self.replicas.iter().min_by_key(|(_, at)| **at);
            if let Some(first) = first.map(|(name, _)| name.clone()) {
                self.replicas.remove(&first);
            }
        }
        self.replicas.insert(replica.to_owned(), now);
    }
}

fn seal(output: &mut Output) {
    output.seal(Gate::OPEN, None);
}

impl Download {
    pub fn new(wanted: Wanted, now: Mono) -> Download {
        let Wanted {
            number,
            history,
            replica,
        } = wanted;
        Download {
            history,
            replica,
            stage: Stage::Waits(number),
            moved: now,
        }
    }

    fn waits_for(&self) -> Option<u64> {
        match self.stage {
            Stage::Waits(number) => number,
            _ => None,
        }
    }

    /// PSYNC: where in its history the file will end; false: there is nothing to tell.
    fn tell_history(&mut self, index: u64, output: &mut Output) -> bool {
        let Some(history) = self.history.take() else {
            return false;
        };
        let line = format!("+FULLRESYNC {history} {index}\r\n");
        output.buf().extend_from_slice(line.as_bytes());
        seal(output);
        true
    }

    /// The whole of a short file.
    fn give(&mut self, file: &[u8], now: Mono, output: &mut Output) {
        head(file.len() as u64, output);
        output.buf().extend_from_slice(file);
        seal(output);
        (self.stage, self.moved) = (Stage::Taken(now), now);
    }

    fn begin(&mut self, file: OpenState, now: Mono, output: &mut Output) {
        head(file.bytes(), output);
        let sending = Sending {
            left: file.bytes(),
            file,
            sent: 0,
            reads: false,
        };
        (self.stage, self.moved) = (Stage::Sends(sending), now);
    }

    fn fail(&mut self, output: &mut Output) {
        Error::SYNC_FAILED.write(output.buf());
        seal(output);
        output.close_after();
        self.stage = Stage::Failed;
    }

    /// What is to be done next; the ticket names this one.
    fn proceed(&mut self, now: Mono, ticket: u64, output: &mut Output) -> Next {
        let waited = now.since(self.moved);
        match &mut self.stage {
            Stage::Waits(_) if waited >= SIGN_EVERY => {
                self.moved = now;
                output.buf().push(b'\n');
                seal(output);
                Next::Flush
            }
            Stage::Sends(sending) => {
                let pending = output.pending_bytes();
                let left = sending.file.bytes() - sending.sent + pending as u64;
                if left < sending.left {
                    (sending.left, self.moved) = (left, now);
                } else if waited >= PATIENCE && !sending.reads {
                    return Next::Drop;
                }
                if left == 0 {
                    self.stage = Stage::Taken(now);
                } else if !sending.reads && sending.sent < sending.file.bytes() && pending < WINDOW
                {
                    sending.reads = true;
                    return Next::Read(DownloadJob {
                        ticket,
                        of: sending.file.clone(),
                        offset: sending.sent,
                    });
                }
                Next::Wait
            }
            Stage::Taken(since) if output.pending_bytes() > 0 => {
                // A short file is not even written.
                *since = now;
                match waited >= PATIENCE {
                    true => Next::Drop,
                    false => Next::Wait,
                }
            }
            Stage::Taken(since) if now.since(*since) >= LINGER => {
                output.close_after();
                Next::Flush
            }
            Stage::Waits(_) | Stage::Taken(_) | Stage::Failed => Next::Wait,
        }
    }

    /// A piece has been read.
    fn put(&mut self, piece: &[u8], output: &mut Output) {
        if let Stage::Sends(sending) = &mut self.stage {
            sending.reads = false;
            sending.sent += piece.len() as u64;
            output.buf().extend_from_slice(piece);
            seal(output);
        }
    }
}

/// Its length is all that tells a file's end.
fn head(bytes: u64, output: &mut Output) {
    let line = format!("${bytes}\r\n");
    output.buf().extend_from_slice(line.as_bytes());
    seal(output);
}

enum Next {
    Wait,
    /// The output has something for the client, or has ended.
    Flush,
    Read(DownloadJob),
    /// It takes nothing.
    Drop,
}

impl<P: Platform> ServerState<P> {
    /// The client's command waits for its file from now on.
    pub(super) fn add_download(&mut self, key: ConnId) {
        self.downloads.clients.push(key);
    }
}

impl<P: Platform> Server<P> {
    /// Carries out `act` for each client that waits for this snapshot, with its output; it says whether there is
    /// something to flush.
    fn each_waiting(
        &mut self,
        number: u64,
        mut act: impl FnMut(&mut Download, &mut Output) -> bool,
    ) {
        for key in &self.state.downloads.clients {
            let Some(Some(client)) = self.state.clients.get_mut(*key) else {
                continue;
            };
            let Some(download) = client.download.as_mut().filter(|_| !client.doomed) else {
                continue;
            };
            let waits = download.waits_for() == Some(number);
            if waits && act(download, &mut client.conn.output) {
                client.mark_dirty(&mut self.dirty, *key);
            }
        }
    }

    /// A snapshot for clients is there, with its index and its file, or is not.
    pub(super) fn end_downloads(&mut self, number: u64, made: Option<(u64, OpenState)>) {
        let now = self.state.clock.now().mono;
        let mut turned_away = Vec::new();
        self.each_waiting(number, |download, output| {
            match &made {
                Some((index, file)) => {
                    download.tell_history(*index, output);
                    download.begin(file.clone(), now, output);
                }
                None => {
                    download.fail(output);
                    turned_away.extend(download.replica.take());
                }
            }
            true
        });
        // A replica that was given nothing may ask again.
        for replica in turned_away {
            self.state.downloads.replicas.remove(&replica);
        }
    }

    /// After what could be written was: what each needs next.
    pub(super) fn advance_downloads(&mut self) {
        if !self.state.downloads.clients.is_empty() {
            self.advance_all_downloads();
        }
    }

    #[inline(never)]
    fn advance_all_downloads(&mut self) {
        self.tell_histories();
        self.give_without_keys();
        let now = self.state.clock.now().mono;
        for key in std::mem::take(&mut self.state.downloads.clients) {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            let Some(download) = client.download.as_mut().filter(|_| !client.doomed) else {
                continue;
            };
            let next = download.proceed(now, key.bits(), &mut client.conn.output);
            if let (Stage::Taken(since), Some(replica)) = (&download.stage, &download.replica) {
                if *since == now {
                    // It begins to load what it has got.
                    self.state.downloads.note(replica, now);
                }
            }
            match next {
                Next::Wait => {}
                Next::Flush => client.mark_dirty(&mut self.dirty, key),
                Next::Read(job) => self.state.platform.submit(Job::Download(job)),
                Next::Drop => {
                    slog::warn!(
                        self.logger,
                        "Closing a client that takes nothing of its file: id={} addr={}",
                        client.session.id,
                        client.session.endpoint.addr
                    );
                    client.doomed = true;
                    self.state.killed.push(key);
                    continue;
                }
            }
            self.state.downloads.clients.push(key);
        }
        self.give_up_unwanted();
    }

    /// A client of PSYNC hears at once where its file will end.
    fn tell_histories(&mut self) {
        let (number, at) = match self.state.snapshots.making() {
            Some(Making {
                kind: SnapshotKind::Download,
                number,
                ordered: true,
            }) => (number, self.shard.snapshot_at()),
            _ => return,
        };
        if let Some(at) = at {
            self.each_waiting(number, |download, output| {
                download.tell_history(at.index, output)
            });
        }
    }

    fn give_without_keys(&mut self) {
        let now = self.state.clock.now();
        let index = self.shard.group().applied();
        for key in self.state.downloads.clients.clone() {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            let Some(download) = client.download.as_mut().filter(|_| !client.doomed) else {
                continue;
            };
            if let Stage::Waits(None) = download.stage {
                let file = without_keys(origin(&self.state.platform, now));
                let output = &mut client.conn.output;
                download.tell_history(index, output);
                download.give(&file, now.mono, output);
                client.mark_dirty(&mut self.dirty, key);
            }
        }
    }

    /// The clients that a snapshot was for are gone.
    fn give_up_unwanted(&mut self) {
        let clients = &self.state.clients;
        let is_wanted = |number: u64| {
            self.state.downloads.clients.iter().any(|key| {
                let client = clients.get(*key).and_then(Option::as_ref);
                let download = client.and_then(|client| client.download.as_ref());
                download.is_some_and(|download| download.waits_for() == Some(number))
            })
        };
        let unwanted = |number: &u64| !is_wanted(*number);
        let scheduled = self.state.snapshots.scheduled_download();
        let forget = scheduled.as_ref().is_some_and(unwanted);
        let making = self.state.snapshots.making();
        let is_download = |m: &Making| m.kind == SnapshotKind::Download;
        match making.filter(is_download).filter(|m| unwanted(&m.number)) {
            None => {}
            Some(Making { ordered: true, .. }) => self.shard.give_up_snapshot(),
            Some(_) => self.state.snapshots.forget_new(),
        }
        if forget {
            self.state.snapshots.forget_download();
        }
    }

    /// A piece has been read for the client that the ticket names.
    pub(super) fn downloaded(&mut self, done: DownloadDone) {
        let key = ConnId::of_bits(done.ticket);
        let Some(key) = key else { return };
        let Some(Some(client)) = self.state.clients.get_mut(key) else {
            return;
        };
        let Some(download) = client.download.as_mut().filter(|_| !client.doomed) else {
            return;
        };
        match done.piece {
            Ok(piece) => {
                download.put(&piece, &mut client.conn.output);
                client.mark_dirty(&mut self.dirty, key);
            }
            // Nothing but the file may follow its length.
            Err(error) => {
                slog::warn!(self.logger, "Reading a file for a client: {}", error);
                client.doomed = true;
                self.state.killed.push(key);
            }
        }
    }

    /// The shard is replaced: files of the old one are nobody's, and pieces that are being read never come.
    pub(super) fn end_all_downloads(&mut self) {
        let snapshots = &mut self.state.snapshots;
        snapshots.forget_download();
        let is_new = |m: &Making| m.kind == SnapshotKind::Download && !m.ordered;
        if snapshots.making().as_ref().is_some_and(is_new) {
            snapshots.forget_new();
        }
        for key in std::mem::take(&mut self.state.downloads.clients) {
            if let Some(Some(client)) = self.state.clients.get_mut(key) {
                if !client.doomed {
                    client.doomed = true;
                    self.state.killed.push(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
