//! A mark that outlives its other shard: no word of that comes any more (M11).

use super::Cluster;
use crate::tests::knowing;
use base::slot::key_slot;
use base::{NodeId, ShardId};
use keyspace::Ttl;
use shard::testing::{config, Played, OTHERS};
use state::StateMachine;
use topology::moves::Importing;

/// Of the shard of a node that is known, and of one that none is known of.
const KNOWN: ShardId = ShardId([0xc; 20]);
const ENDED: ShardId = ShardId([0xe; 20]);

/// Whether a returning mark that names this shard ends by itself.
fn ends(shard: ShardId, key: bool, clean: bool) -> bool {
    let (mut played, mut cluster) = (Played::leading(config()), knowing());
    played.beats(&OTHERS, 100);
    let slot = key_slot(b"a");
    turn(&mut played, &mut cluster);
    let mark = cluster.mint();
    let import = |data: &mut StateMachine| {
        data.mark_importing(
            slot,
            Importing {
                shard,
                node: NodeId(shard.0),
                mark,
                clean,
                returning: false,
                redis: false,
            },
        );
        if key {
            let key = data.key(b"a");
            data.set(&key, b"value", Ttl::Clear);
        }
        data.return_importing(slot);
    };
    played.turn(|own| own.act_unsaid(import));
    played.beats(&OTHERS, 100);
    for _ in 0..10 {
        turn(&mut played, &mut cluster);
        played.beats(&OTHERS, 100);
    }
    let record = played.shard.record();
    !record.moves.importing.contains_key(&slot)
}

fn turn(played: &mut Played, cluster: &mut Cluster) {
    let now = played.now();
    played.turn(|shard| {
        cluster.migrate(now, true, shard);
        cluster.speak(now, shard);
    });
}

#[test]
fn an_empty_return_to_nobody_ends() {
    assert!(ends(ENDED, false, true));
    assert!(ends(ENDED, true, false), "what is left is a leftover");
    assert!(!ends(ENDED, true, true), "that takes an operator's word");
    assert!(!ends(KNOWN, false, true), "that shard says when");
}
