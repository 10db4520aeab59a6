//! What a witness hears of the member of its group on its own node, which no link leads to.
//!
//! Owns: when that ends it (G4). Never: asks. Invariant: it ends only what has lost its leader.

use super::Hosted;
use base::ids::{GroupId, RaftId};
use storage::Disk;

impl<D: Disk> Hosted<D> {
    /// `own`: this node's own group, its members, and up to which index of its log that is known.
    pub(super) fn hear_of_own_node(&mut self, own: Option<&(GroupId, Vec<RaftId>, u64)>) {
        let me = self.shard.identity().raft_id;
        let Some((group, members, applied)) = own else {
            return;
        };
        let let_go = self.is_of(*group) && !members.contains(&me);
        if let_go && self.shard.not_a_member(*applied) {
            self.log_is_kept |= !self.leaves && !self.is_empty();
        }
    }
}
