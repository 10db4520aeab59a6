//! An RDB file in `dir`, at the start of a node (P22).
//!
//! Owns looking for it, and what the server's log says of it. Never decides whether it is taken: the shard knows
//! whether anything of the kind was ever here. Where it can't be read the start is refused: an empty server in place of
//! the keys that somebody has put there would be taken for the loss of them.

use super::error::ServerError;
use super::platform::Platform;
use base::clock::Now;
use config::{Config, REDIS_VERSION};
use shard::{ImportFile, Opening};
use slog::Logger;
use state::save::Origin;
use storage::Disk;

/// The file of the configuration's `dbfilename`, if it is there.
pub(super) struct Import<'a, D: Disk> {
    file: Option<ImportFile<D>>,
    pub logger: &'a Logger,
}

impl<'a, D: Disk> Import<'a, D> {
    pub fn look<P: Platform<Disk = D>>(
        config: &Config,
        platform: &P,
        now: Now,
        logger: &'a Logger,
    ) -> Result<Import<'a, D>, ServerError> {
        let (folder, name) = (platform.dir(config), &config.dbfilename);
        let file = folder.list()?.contains(name).then(|| ImportFile {
            folder,
            name: name.clone(),
            path: config.dir.join(name).display().to_string(),
            origin: origin(platform, now),
            compress: config.rdbcompression,
            features: 0,
            has_others: false,
        });
        Ok(Import { file, logger })
    }

    /// What only a node of a cluster has.
    pub fn in_cluster(&mut self, config: &Config, has_others: bool) {
        if let Some(file) = &mut self.file {
            file.has_others = has_others;
            file.features = config.cluster_feature_bits;
        }
    }

    /// The member, with the file's keys if it takes them.
    pub fn into_member(self, opening: Opening<D>) -> Result<Opening<D>, ServerError> {
        let Import { file, logger } = self;
        let Some(file) = file else {
            return Ok(opening);
        };
        let path = &file.path;
        if let Some(why) = opening.why_not_import(&file)? {
            slog::info!(logger, "{} is not imported: {}", path, why);
            return Ok(opening);
        }
        slog::info!(
            logger,
            "Importing {}: nothing is answered until that is done",
            path
        );
        let (opening, imported) = opening.import(&file)?;
        match imported {
            Ok(imported) => {
                slog::info!(logger, "{} is imported: {} keys", path, imported.keys);
                if imported.slots > 0 {
                    slog::info!(
                        logger,
                        "This node has {} slots more: those of the imported keys",
                        imported.slots
                    );
                }
            }
            Err(why) => slog::info!(logger, "{} is not imported: {}", path, why),
        }
        Ok(opening)
    }
}

/// What a file that is written now says of the program that has written it.
pub(super) fn origin<P: Platform>(platform: &P, now: Now) -> Origin {
    Origin {
        redis_version: REDIS_VERSION.to_owned(),
        unix_seconds: u64::try_from(now.unix_ms / 1000).unwrap_or(0),
        used_memory: platform.memory().used,
    }
}
