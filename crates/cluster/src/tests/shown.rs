//! What the bus shows of this node's record (M29).

use super::introductions::{knowing_epochs, knowing_master, C};
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
    /// A slot moves to shard C; its mark names a node that is none of C's masters.
    fn moving_to_c(cluster: Cluster) -> Bed {
        let mut bed = Bed {
            played: Played::leading(config()),
            cluster,
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
        bed
    }

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
    let mut bed = Bed::moving_to_c(knowing_master(7));
    assert_eq!(bed.marks(), [(SLOT, node(7))]);
    let mut later = knowing_master(8);
    std::mem::swap(&mut bed.cluster.bus, &mut later.bus);
    bed.change(|data| data.set_features(1));
    assert_eq!(bed.marks(), [(SLOT, node(8))]);
}

/// A master that is down, or loads its keys, has not heard of its successor (S2).
#[test]
fn newest_master_stands_for_its_shard() {
    for of_c in [[(7, 3), (8, 4)], [(7, 4), (8, 3)]] {
        let (newest, _) = of_c.into_iter().max_by_key(|of| of.1).expect("two");
        let mut bed = Bed::moving_to_c(knowing_epochs("master", &of_c));
        assert_eq!(bed.marks(), [(SLOT, node(newest))]);
        bed.cluster.follow(NOW, &mut bed.played.shard);
        let addr = format!("127.0.0.1:{}", 7000 + u16::from(newest));
        assert_eq!(bed.cluster.routing().masters.get(&C), Some(&addr));
    }
}

/// P20: others send no reads to a replica that has no keys yet.
#[test]
fn loading_member_shows_no_offset() {
    let mut bed = Bed {
        played: Played::leading(config()),
        cluster: knowing_master(7),
    };
    bed.change(|data| data.set_epoch(3, node(6)));
    bed.marks();
    assert_ne!(bed.cluster.bus.self_state().offset, 0);
    bed.played = bed.played.restarted();
    assert!(bed.played.shard.is_loading());
    bed.cluster = knowing_master(7);
    bed.marks();
    assert_eq!(bed.cluster.bus.self_state().offset, 0);
    while bed.played.shard.is_loading() {
        bed.played.work();
        bed.played.turn(|_| ());
    }
    bed.marks();
    assert_ne!(bed.cluster.bus.self_state().offset, 0);
}
