//! What leaves: verdicts on gates, jobs for the storage thread, bytes for sockets (T4-T6).

use super::clients::Client;
use super::platform::Platform;
use super::turn::Server;
use base::ids::BatchSeq;
use command::Error;
use net::{ConnId, Flushed, Output};
use state::Gate;
use std::ops::RangeInclusive;

/// T4: above this share of the limit of all clients, none of those that hold output is read.
const SHARE_OF_MEMORY: usize = 8;

/// Writes the answer in place of a reply to a key of this slot.
type Moved<'a> = &'a mut dyn FnMut(Option<u16>, &mut Vec<u8>);

impl<P: Platform> Server<P> {
    /// Takes what the shard has decided: jobs go to the storage thread, gates open or fail.
    pub(super) fn release(&mut self) {
        let output = self.shard.take_output();
        for job in output.jobs {
            self.state.platform.submit(job);
        }
        self.send(output.messages, output.strangers);
        for batches in output.failed {
            self.fail_words(batches.clone());
            self.state.pubsub.outbound.fail(batches.clone());
            self.fail_output(|output, moved| output.fail(batches.clone(), moved));
        }
        if let Some(reads) = output.failed_reads {
            if let Some(cluster) = &mut self.state.cluster {
                cluster.core.fail_word_reads(reads.clone());
            }
            self.state.pubsub.outbound.fail_reads(reads.clone());
            self.fail_output(|output, moved| output.fail_reads(reads.clone(), moved));
        }
        if let Some(batches) = output.unknown {
            self.fail_words(batches.clone());
            self.state.pubsub.outbound.fail(batches.clone());
            self.poison(batches);
        }
        if output.stepped_down {
            self.give_up_blocked();
        }
        if output.released != self.released {
            self.released = output.released;
            self.mark_gated_dirty();
        }
        self.release_published();
        self.send_words();
    }

    /// T6: words that rest on what did not happen, or may not have, are never said.
    fn fail_words(&mut self, batches: RangeInclusive<BatchSeq>) {
        if let Some(cluster) = &mut self.state.cluster {
            cluster.core.fail_words(batches.clone());
        }
        self.state.alone.fail(&batches);
    }

    /// M7: words leave when what they rest on has committed.
    fn send_words(&mut self) {
        let (now, released) = (self.turn_started, self.released);
        if let Some(cluster) = &mut self.state.cluster {
            cluster.core.send_words(now, released, &mut self.shard);
        }
        self.state.alone.send_copies(released);
    }

    /// Clients whose front gate may have opened are flushed in this turn.
    fn mark_gated_dirty(&mut self) {
        for key in std::mem::take(&mut self.gated) {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            client.gated = false;
            client.mark_dirty(&mut self.dirty, key);
        }
    }

    /// T6: what did not happen is answered so; the client is sent to the leader of now.
    fn fail_output(&mut self, fail: impl Fn(&mut Output, Moved<'_>)) {
        let cluster = self.state.cluster.as_ref();
        let addr = cluster.and_then(|c| c.core.routing().leader.clone());
        for (_, client) in self.state.clients.iter_mut() {
            let Some(client) = client else { continue };
            let mut moved = |slot: Option<u16>, out: &mut Vec<u8>| {
                Error::not_done(slot, addr.as_deref()).write(out);
            };
            fail(&mut client.conn.output, &mut moved);
        }
    }

    /// The shard is replaced: what waits for it is never answered, and its clients are closed.
    pub(super) fn forget_gates(&mut self, last: Gate) {
        self.give_up_blocked();
        self.state.snapshots.count_anew();
        self.give_up_reload();
        self.end_all_downloads();
        if last.read > self.released.read {
            let reads = self.released.read.next()..=last.read;
            self.state.pubsub.outbound.fail_reads(reads.clone());
            self.fail_output(|output, moved| output.fail_reads(reads.clone(), moved));
        }
        if last.batch > self.released.batch {
            let batches = self.released.batch.next()..=last.batch;
            self.fail_words(batches.clone());
            self.state.pubsub.outbound.fail(batches.clone());
            self.poison(batches);
        }
    }

    /// T6: nobody can say what became of these batches: their clients are closed unanswered.
    fn poison(&mut self, batches: RangeInclusive<BatchSeq>) {
        let mut count = 0;
        for (key, client) in self.state.clients.iter_mut() {
            let Some(client) = client else { continue };
            if client.conn.output.poison(batches.clone()) {
                count += 1;
                client.mark_dirty(&mut self.dirty, key);
            }
        }
        slog::warn!(
            self.logger,
            "The outcome of writes is unknown: closed {} clients without a reply",
            count
        );
    }

    /// One write for every client that has something to say.
    pub(super) fn flush(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            self.flush_one(key);
        }
    }

    fn flush_one(&mut self, key: ConnId) {
        let (limit, all) = (self.state.config.held_output_limit, self.held_limit());
        let Some(Some(client)) = self.state.clients.get_mut(key) else {
            return;
        };
        client.dirty = false;
        let output = &mut client.conn.output;
        output.release(self.released);
        let before = output.pending_bytes();
        let flushed = match client.conn.flush() {
            Ok(flushed) => flushed,
            Err(error) => {
                slog::debug!(self.logger, "Error writing to client: {}", error);
                self.close_client(key);
                return;
            }
        };
        let output = &mut client.conn.output;
        let written = (before - output.pending_bytes()) as u64;
        client.net_out += written;
        self.state.stats.net_output_bytes += written;
        if output.is_finished() {
            self.close_client(key);
            return;
        }
        match flushed {
            Flushed::All => client.unread_since = None,
            Flushed::Short => {
                let limits = &self.state.config.client_output_buffer_limit;
                if client.reads_too_little(limits, self.turn_started.mono) {
                    self.close_unread(key);
                    return;
                }
            }
        }
        let output = &mut client.conn.output;
        if output.pending_gate().is_some() && !client.gated {
            client.gated = true;
            self.gated.push(key);
        }
        // T4: a client above its own limit is not read; while the limit of all is exceeded, no client
        // with held output is.
        let held = output.held_bytes();
        self.held_bytes = self.held_bytes - client.counted_held + held;
        client.counted_held = held;
        let pending = output.pending_bytes();
        let over = pending > limit || (held > 0 && self.held_bytes > all);
        if over == client.conn.is_reading() {
            client.conn.set_reading(!over);
        }
        if !over && !client.must_wait() && client.conn.has_work() {
            self.ready.add(key, &mut client.conn);
        }
    }

    /// T4: whether a client that is being visited has enough to wait for.
    pub(super) fn is_over(&self, client: &Client<P::Socket>) -> bool {
        let output = &client.conn.output;
        let held = output.held_bytes();
        output.pending_bytes() > self.state.config.held_output_limit
            || (held > 0 && self.held_bytes - client.counted_held + held > self.held_limit())
    }

    /// T4: an eighth of the memory that the machine has.
    fn held_limit(&self) -> usize {
        self.memory_bytes / SHARE_OF_MEMORY
    }
}
