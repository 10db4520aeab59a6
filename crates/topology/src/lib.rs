//! The shard in the cluster: its record, where slots are, what CLUSTER shows.
//!
//! Reading order: [`record`] (what the shard's log says of slots and epoch), [`moves`] (of slots in
//! motion), [`routing`] (which
//! node serves a slot), [`view`] (the cluster as replies show it). Knows `cluster-bus` and nothing
//! of sockets.

mod bytes;
pub mod features;
pub mod finished;
pub mod moves;
pub mod outside;
pub mod record;
pub mod routing;
pub mod view;

pub use finished::Finished;
pub use moves::{MoveId, MoveNumber, Moves};
pub use record::Record;
pub use routing::{Route, Routing};
pub use view::{ClusterView, Health, LinkView, NodeView, PreferredEndpoint};
