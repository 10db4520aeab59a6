//! The shard in the cluster: its record, where slots are, what CLUSTER shows.
//!
//! Reading order: [`view`] (the cluster as replies show it). Knows `cluster-bus` and nothing of
//! sockets.

pub mod view;

pub use view::{ClusterView, Health, LinkView, NodeView, PreferredEndpoint};
