//! Why a server can't start, or go on: the process ends.

use cluster::folders::Refused;
use cluster::identity::IdentityError;
use cluster_bus::nodes_conf::ConfError;
use shard::ShardError;
use std::io;
use storage::{is_full, StorageError};

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("Can't start in {0}: {1}")]
    Folders(String, Refused),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("Can't start with the member in {0}: {1}")]
    Member(String, StorageError),
    #[error("can't read or write the cluster configuration {name}: {source}")]
    Conf { name: String, source: io::Error },
    #[error(
        "Unrecoverable error: corrupted cluster config file \"{name}\", line {}: {}",
        .source.line,
        .source.what
    )]
    DamagedConf { name: String, source: ConfError },
    #[error("The log in {0} was made with cluster-enabled {1}; give this node another folder")]
    OtherMode(String, &'static str),
}

impl ServerError {
    /// Whether the disk or the quota was full: what failed can be tried again when there is room (D5).
    pub fn is_full(&self) -> bool {
        match self {
            ServerError::Io(error) | ServerError::Identity(IdentityError::Io(error)) => {
                is_full(error)
            }
            ServerError::Storage(error) | ServerError::Shard(ShardError::Storage(error)) => {
                error.is_full()
            }
            _ => false,
        }
    }
}
