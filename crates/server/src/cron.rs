//! What is due without anybody asking: expiry, rehashing, idle clients, the end of blocking commands.

use super::platform::Platform;
use super::state::ServerState;
use super::turn::Server;
use base::clock::Now;
use net::ConnId;
use shard::Admission;
use std::time::Duration;

/// Keys that active expiry deletes in one turn: a burst of deadlines is spread over turns.
const EXPIRE_PER_TURN: usize = 200;
/// Buckets that one turn moves for tables that grow or shrink.
const REHASH_PER_TURN: usize = 64;
/// How long after its last command a client counts as idle.
const IDLE: Duration = Duration::from_secs(1);

impl<P: Platform> Server<P> {
    pub(super) fn cron(&mut self, now: Now, admission: Admission) {
        self.answer_blocked(now, admission);
        if now.mono < self.next_cron {
            return;
        }
        let period = Duration::from_millis(1000 / u64::from(self.state.config.hz.max(1)));
        self.next_cron = now.mono + period;
        if self.state.cron_paused {
            return;
        }
        self.cron_runs += 1;
        self.shard.note_memory(self.state.platform.memory().used);
        self.begin_due_snapshot();
        self.send_waiting_on(admission, now);
        let mut more = false;
        let deletes = match admission {
            Admission::Lead { writable } => writable || self.shard.data().only_frees(),
            _ => false,
        };
        if self.state.active_expire && deletes {
            // T2: the leader's deletions are effects like all others.
            more |= self
                .shard
                .data_mut()
                .expire_due(now.unix_ms, EXPIRE_PER_TURN)
                == EXPIRE_PER_TURN;
            more |= self
                .shard
                .data_mut()
                .expire_due_fields(now.unix_ms, EXPIRE_PER_TURN)
                == EXPIRE_PER_TURN;
        }
        more |= self
            .shard
            .data_mut()
            .keyspace_mut()
            .maintain(REHASH_PER_TURN);
        if more {
            self.next_cron = now.mono;
        }
        if self.cron_runs % u64::from(self.state.config.hz.max(1)) == 0 {
            self.close_idle(now);
            self.close_all_unread(now.mono);
            self.retry_conf(now);
            self.trim_idle(now);
            let ServerState {
                about,
                stats,
                platform,
                ..
            } = &mut self.state;
            about.count(stats);
            platform.sample_memory();
        }
    }

    fn close_idle(&mut self, now: Now) {
        let limit = Duration::from_secs(self.state.config.timeout);
        if limit.is_zero() {
            return;
        }
        let idle: Vec<ConnId> = self
            .state
            .clients
            .iter()
            .filter(|(_, client)| {
                client.as_ref().is_some_and(|c| {
                    // A subscriber may be silent.
                    !c.must_wait()
                        && !c.session.subscriptions.any()
                        && now.mono.since(c.session.last_command_at) > limit
                })
            })
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            slog::debug!(self.logger, "Closing idle client");
            self.close_client(key);
        }
    }

    /// A client that asks again keeps its output's memory; one that has fallen silent does not.
    fn trim_idle(&mut self, now: Now) {
        for (_, client) in self.state.clients.iter_mut() {
            let Some(client) = client else { continue };
            if now.mono.since(client.session.last_command_at) >= IDLE {
                client.conn.output.trim();
            }
        }
    }
}
