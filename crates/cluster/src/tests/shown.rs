//! What the bus shows of this node's record (M29).

use super::introductions::{knowing_master, C};
use super::*;
use state::StateMachine;
use topology::moves::Migrating;

/// The keys of this slot go to shard C.
const SLOT: u16 = 5;

struct Bed {
    played: Played,
    cluster: Cluster,
}

impl Bed {
    fn change(&mut self, change: impl FnOnce(&mut StateMachine)) {
        self.played.turn(|shard| shard.act_unsaid(change));
        self.played.beats(&OTHERS, 100);
    }

    fn marks(&mut self) -> Vec<(u16, NodeId)> {
        self.cluster.show_first(&self.played.shard);
        self.cluster.bus.self_state().migrating.clone()
    }
}

/// The record's next change may be the end of a lend, which is shown nowhere.
#[test]
fn mark_names_the_master_of_now() {
    let mut bed = Bed {
        played: Played::leading(config()),
        cluster: knowing_master(7),
    };
    bed.change(|data| {
        data.set_epoch(3, node(5));
        let mark = Migrating {
            shard: C,
            node: node(9),
            mark: None,
            closing: false,
            redis: false,
        };
        data.mark_migrating(SLOT, mark);
    });
    assert_eq!(bed.marks(), [(SLOT, node(7))]);
    let mut later = knowing_master(8);
    std::mem::swap(&mut bed.cluster.bus, &mut later.bus);
    bed.change(|data| data.set_features(1));
    assert_eq!(bed.marks(), [(SLOT, node(8))]);
}
