//! Owns the structures that values with elements are made of: how elements lie in memory, are found, ordered and
//! counted. Never knows keys of the keyspace, expiry, time, commands or Redis's files.
//!
//! Invariant: what is cloned shares all that it does not change. To clone a structure takes no time that
//! grows with its elements but by a count for hundreds of them at once, and the first that edits a shared part copies that part
//! alone. So a snapshot has a value as it was by a clone, whatever happens to the value after it.

pub mod blob;
pub mod intset;
pub mod list;
pub mod listpack;
mod memory;
mod pair;
mod shared;
pub mod splice;
pub mod table;
pub mod tree;

pub use memory::size_class;
pub use pair::Pair;
pub use shared::SharedBytes;
pub use splice::Splice;
pub use table::{tag_of, Element, ElementMut, Table};
pub use tree::{Item, Tree};

/// How far a check of foreign bytes goes between two calls of `pace`.
pub const PACE_BYTES: usize = 1 << 18;

// A snapshot reads clones on another thread, and frees them there.
const _: fn() = || {
    fn holds<T: Send + Sync>() {}
    holds::<blob::Blob>();
    holds::<list::List>();
};
