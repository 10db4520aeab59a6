//! The Raft log on disk (being written): the seam first.

pub mod disk;
pub mod error;
pub mod position;

pub use disk::{Disk, DiskFile, RealDisk, RealFile};
pub use error::StorageError;
pub use position::Position;
