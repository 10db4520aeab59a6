//! Output that a client does not read: how much is left unread for how long before it is closed
//! (`client-output-buffer-limit`).
//!
//! Owns that decision. Bytes that wait for a gate are not unread: `held-output-limit` bounds them (T4),
//! and a slow commit is no fault of the client's.

use super::clients::Client;
use super::platform::Platform;
use super::turn::Server;
use base::clock::Mono;
use command::api::ClientKind;
use config::{OutputLimit, OutputLimits};
use net::{ConnId, Socket};
use std::time::Duration;

/// What becomes of a client that has left bytes unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// Above the soft limit, since this moment.
    Above(Mono),
    Close,
}

/// Redis's rule: at the hard limit at once, at the soft one when that has lasted for longer than its
/// seconds. A limit of 0 is none.
fn judge(limit: OutputLimit, unread: u64, since: Option<Mono>, now: Mono) -> Verdict {
    let reaches = |bytes: u64| bytes > 0 && unread >= bytes;
    if reaches(limit.hard) {
        return Verdict::Close;
    }
    if !reaches(limit.soft) {
        return Verdict::Fine;
    }
    let since = since.unwrap_or(now);
    if now.since(since) > Duration::from_secs(limit.seconds) {
        Verdict::Close
    } else {
        Verdict::Above(since)
    }
}

impl<S: Socket> Client<S> {
    /// Whether this client is to be closed for what it leaves unread.
    pub(super) fn reads_too_little(&mut self, limits: &OutputLimits, now: Mono) -> bool {
        let limit = match ClientKind::of(&self.session) {
            ClientKind::Pubsub => limits.pubsub,
            ClientKind::Normal => limits.normal,
            // A part of a file at most: how long it may stay unread is decided where that is sent.
            ClientKind::Replica | ClientKind::Master => return false,
        };
        let unread = self.conn.output.unread_bytes() as u64;
        match judge(limit, unread, self.unread_since, now) {
            Verdict::Fine => self.unread_since = None,
            Verdict::Above(since) => self.unread_since = Some(since),
            Verdict::Close => return true,
        }
        false
    }
}

impl<P: Platform> Server<P> {
    /// Once a second: a socket that is full reports nothing, so time alone closes at a soft limit; and
    /// the limits may have been changed.
    pub(super) fn close_all_unread(&mut self, now: Mono) {
        let limits = &self.state.config.client_output_buffer_limit;
        let mut closed: Vec<ConnId> = Vec::new();
        for (key, client) in self.state.clients.iter_mut() {
            let Some(client) = client else { continue };
            if client.conn.output.unread_bytes() > 0 && client.reads_too_little(limits, now) {
                closed.push(key);
            }
        }
        for key in closed {
            self.close_unread(key);
        }
    }

    /// Closes a client for what it has left unread.
    pub(super) fn close_unread(&mut self, key: ConnId) {
        if let Some(Some(client)) = self.state.clients.get_mut(key) {
            slog::warn!(
                self.logger,
                "Client id={} addr={} name={} omem={} closed for overcoming of output buffer limits.",
                client.session.id,
                client.session.endpoint.addr,
                String::from_utf8_lossy(&client.session.name),
                client.conn.output.pending_bytes()
            );
            self.state.stats.output_limit_disconnections += 1;
        }
        self.close_client(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn limits_close_as_redis_does() {
        let both = OutputLimit {
            hard: 100,
            soft: 50,
            seconds: 10,
        };
        let none = OutputLimit::default();
        let hard = OutputLimit { soft: 0, ..both };
        let soft = OutputLimit { hard: 0, ..both };
        for (limit, unread, since, now, verdict) in [
            (none, u64::MAX, None, 0, Verdict::Fine),
            (hard, 99, None, 0, Verdict::Fine),
            (hard, 100, None, 0, Verdict::Close),
            (both, 100, None, 0, Verdict::Close),
            (both, 49, Some(1), 99, Verdict::Fine),
            (both, 50, None, 3, Verdict::Above(at(3))),
            (both, 99, Some(3), 13, Verdict::Above(at(3))),
            (both, 50, Some(3), 14, Verdict::Close),
            (soft, u64::MAX, Some(3), 13, Verdict::Above(at(3))),
            (soft, 50, Some(3), 14, Verdict::Close),
        ] {
            let judged = judge(limit, unread, since.map(at), at(now));
            assert_eq!(
                judged, verdict,
                "{limit:?}: {unread} since {since:?} at {now}"
            );
        }
    }
}
