//! CONFIG SET: the values change in the configuration, their consequences here.
//!
//! Owns what follows from a changed directive. Never reads a directive for its own sake: most are
//! read from the configuration where they are needed.

use super::clustered;
use super::platform::Platform;
use super::start;
use super::state::ServerState;
use super::turn::Server;
use base::clock::Clock;
use config::ConfigError;

/// Sets all pairs, with what follows from them, or none.
pub(super) fn set<P: Platform>(
    state: &mut ServerState<P>,
    pairs: &[(&[u8], &[u8])],
    local: bool,
) -> Result<(), ConfigError> {
    let changed = state.config.set(pairs, local)?;
    let names: Vec<&'static str> = changed.iter().map(|change| change.name).collect();
    // First what can be refused without a trace.
    if names.contains(&"maxclients") {
        if let Some(possible) = state.platform.make_room(&state.config) {
            state.config.restore(changed);
            return Err(ConfigError::SetFailed {
                name: "maxclients".to_owned(),
                reason: too_many_clients(possible),
            });
        }
    }
    if let Some(&name) = names.iter().find(|name| matches!(**name, "port" | "bind")) {
        if let Err(failure) = state.platform.listen(&state.config) {
            slog::warn!(state.logger, "Could not listen as configured: {}", failure);
            state.config.restore(changed);
            if let Err(failure) = state.platform.listen(&state.config) {
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
    for warning in state.config.warnings_of(&names) {
        slog::warn!(state.logger, "{}", warning);
    }
    state.changed.extend(names);
    Ok(())
}

fn too_many_clients(possible: u32) -> String {
    format!(
        "The operating system is not able to handle the specified number of clients, try with {possible}"
    )
}

impl<P: Platform> Server<P> {
    /// Makes the changes of this turn's CONFIG SETs happen.
    pub(super) fn apply_settings(&mut self) {
        let (mut cluster, mut passwords) = (false, false);
        for name in std::mem::take(&mut self.state.changed) {
            match name {
                "loglevel" => {
                    let level = self.state.config.loglevel;
                    self.state.platform.set_log_level(level);
                }
                "appendfsync" => self.shard.set_sync(start::sync_policy(&self.state.config)),
                "uncommitted-tail-limit" => {
                    let limit = self.state.config.uncommitted_tail_limit;
                    self.shard.set_tail_limit(limit);
                }
                "cluster-outcome-timeout" => {
                    let timeout = start::outcome_timeout(&self.state.config);
                    self.shard.set_outcome_timeout(timeout);
                }
                name if name.contains("-max-listpack-") || name.contains("-max-intset-") => {
                    self.shard.set_limits(start::limits(&self.state.config));
                }
                name if name.starts_with("cluster-") || name == "port" => cluster = true,
                "masterauth" | "requirepass" => passwords = true,
                // All others are read from the configuration where they are needed.
                _ => {}
            }
        }
        if !cluster && !passwords {
            return;
        }
        let now = self.state.clock.now();
        let ServerState {
            cluster: around,
            config,
            rng,
            ..
        } = &mut self.state;
        let Some(around) = around else {
            return;
        };
        if passwords {
            around.set_passwords(clustered::link_passwords(config));
            around.core.set_requirepass(config.requirepass.clone());
        }
        if cluster {
            let mut options = clustered::cluster_options(config, rng);
            // The bus listens where it did at the start.
            options.bus.cport = around.core.bus().options().cport;
            around.core.set_options(now, options);
        }
    }
}
