//! CONFIG SET: the values change in the configuration, their consequences here.

use super::host::HostState;

/// Sets all pairs or none; the error is the whole text after `ERR `.
pub(super) fn set(
    state: &mut HostState,
    pairs: &[(&[u8], &[u8])],
    local: bool,
) -> Result<(), String> {
    let changed = state.config.set(pairs, local).map_err(|error| error.to_string())?;
    state.changed.extend(changed.iter().map(|change| change.name));
    Ok(())
}

impl super::turn::Node {
    /// Makes the changes of this turn's CONFIG SETs happen.
    pub(super) fn apply_settings(&mut self) {
        for name in std::mem::take(&mut self.host.changed) {
            match name {
                "loglevel" => self.log.set_level(self.host.config.loglevel),
                "appendfsync" => self.shard.set_sync(super::start::sync_policy(&self.host.config)),
                "uncommitted-tail-limit" => {
                    self.shard.set_tail_limit(self.host.config.uncommitted_tail_limit);
                }
                // All others are read from the configuration where they are needed.
                _ => {}
            }
        }
    }
}
