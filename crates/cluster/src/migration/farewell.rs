//! The end of a shard: nobody must wait for a word that none of its nodes can say any more (M28, I9).
//!
//! Owns the question whether others wait, and the answer to it. Never: ends a shard. Invariant: what waits
//! for another shard's word stands in the record of the one that waits, so that one can tell.
//!
//! Why the answer holds. The shard that asks has handed its last slot over, has no mark, and takes none: one
//! would clear what it follows (M28). So all that it has ever decided about the moves of others, and every name of
//! a mark that it has given, was said before the question, on the same links. What begins at the other
//! shard after its answer is an unbound mark, which STABLE ends there alone.

use super::word::Word;
use super::{owners::Others, Cluster, Desk};
use base::ShardId;
use storage::Disk;
use topology::Record;

/// M28: what of this shard waits for a word of that one, by the tail's record or the committed one.
pub(super) fn asked<D: Disk>(desk: &mut Desk<'_, D>, from: ShardId, question: u64) {
    let data = desk.shard.data();
    let with_keys = |slot: u16| data.keyspace().count_in_slot(slot) > 0;
    let waits = |record: &Record| record.moves.waits_for(from, with_keys);
    let waits = waits(data.record()) || waits(desk.shard.record());
    if let Some(((), gate)) = desk.act(state::StateMachine::depends_on_all) {
        desk.say(gate, from, Word::WaitsIs { question, waits });
    }
}

impl Cluster {
    /// M28: whether every other shard has said that nothing of it waits for a word of this one's. A shard of which
    /// all nodes have failed counts too: it may come back, and wait. `question`: where the open one is kept.
    pub(crate) fn nobody_waits(&mut self, question: &mut Option<u64>) -> bool {
        let Some(Others { asked, failed }) = self.others() else {
            return false;
        };
        let mut all = [asked, failed].concat();
        all.sort_unstable();
        let questions = &mut self.migration.questions;
        questions.nobody_waits(self.now.mono, question, &all)
    }

    /// M13: the same for an operator's command, which does not wait for shards that can't be asked.
    pub fn nobody_alive_waits(&mut self, question: &mut Option<u64>) -> bool {
        let Some(Others { asked, .. }) = self.others() else {
            return false;
        };
        let questions = &mut self.migration.questions;
        questions.nobody_waits(self.now.mono, question, &asked)
    }
}
