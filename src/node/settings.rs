//! CONFIG SET: the values change in the configuration, their consequences here.

use super::host::HostState;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::net::{BindFailure, Listeners};

/// Sets all pairs, with what follows from them, or none.
pub(super) fn set(
    state: &mut HostState,
    pairs: &[(&[u8], &[u8])],
    local: bool,
) -> Result<(), ConfigError> {
    let changed = state.config.set(pairs, local)?;
    let names: Vec<&'static str> = changed.iter().map(|change| change.name).collect();
    if let Some(&name) = names.iter().find(|name| matches!(**name, "port" | "bind")) {
        // The old sockets go first: old and new addresses may overlap.
        state.listeners = Listeners::default();
        if let Err(failure) = listen(state) {
            slog::warn!(state.logger, "Could not listen as configured: {}", failure);
            state.config.restore(changed);
            if let Err(failure) = listen(state) {
                slog::crit!(state.logger, "Could not listen as before: {}", failure);
            }
            let reason = match name {
                "port" => "Unable to listen on this port. Check server logs.",
                _ => "Failed to bind to specified addresses.",
            };
            let (name, reason) = (name.to_owned(), reason.to_owned());
            return Err(ConfigError::SetFailed { name, reason });
        }
    }
    state.changed.extend(names);
    Ok(())
}

fn listen(state: &mut HostState) -> Result<(), BindFailure> {
    state.listeners = bind(&state.config, &state.logger)?;
    state.listeners_fresh = true;
    Ok(())
}

/// Listens as the configuration says; addresses that may be missing are logged.
pub(super) fn bind(config: &Config, logger: &slog::Logger) -> Result<Listeners, BindFailure> {
    if config.port == 0 {
        return Ok(Listeners::default());
    }
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX);
    let bound = Listeners::bind(&config.bind, config.port, backlog)?;
    for skipped in &bound.skipped {
        slog::warn!(logger, "Not listening on {}", skipped);
    }
    Ok(bound.listeners)
}

impl super::turn::Node {
    /// Makes the changes of this turn's CONFIG SETs happen.
    pub(super) fn apply_settings(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.host.listeners_fresh) {
            self.host.listeners.register(&self.poll)?;
        }
        let (mut cluster, mut passwords) = (false, false);
        for name in std::mem::take(&mut self.host.changed) {
            match name {
                "loglevel" => self.log.set_level(self.host.config.loglevel),
                "appendfsync" => self
                    .shard
                    .set_sync(super::start::sync_policy(&self.host.config)),
                "uncommitted-tail-limit" => {
                    self.shard
                        .set_tail_limit(self.host.config.uncommitted_tail_limit);
                }
                name if name.starts_with("cluster-") => cluster = true,
                "masterauth" | "requirepass" => passwords = true,
                // All others are read from the configuration where they are needed.
                _ => {}
            }
        }
        let now = self.host.clock.now();
        let HostState {
            cluster: around,
            config,
            ..
        } = &mut self.host;
        let Some(around) = around else {
            return Ok(());
        };
        if passwords {
            around.set_passwords(super::clustered::link_passwords(config));
        }
        if cluster {
            let options = super::clustered::bus_options(config);
            around
                .agent
                .set_options(now, options, config.cluster_raft_witness);
        }
        Ok(())
    }
}
