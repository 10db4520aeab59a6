//! The owner of a slot gives it away to this shard, which has no mark of it (M18).

use super::word::Word;
use crate::tests::knowing;
use base::slot::key_slot;
use base::{NodeId, ShardId};
use keyspace::Ttl;
use shard::testing::{config, Played, OTHERS};
use state::StateMachine;
use topology::moves::Importing;
use topology::MoveId;

/// The shard of node 7, which is known, and one that none is known of.
const OWNER: ShardId = ShardId([0xc; 20]);
const OTHER: ShardId = ShardId([0xe; 20]);
const MASTER: NodeId = NodeId([7; 20]);

fn importing(shard: ShardId) -> Importing {
    Importing {
        shard,
        node: NodeId(shard.0),
        mark: MoveId::default(),
        clean: true,
        returning: false,
        redis: false,
    }
}

fn slot() -> u16 {
    key_slot(b"a")
}

/// The mark that stands when the word of that shard was heard. `shown`: the table shows its node as the owner.
fn mark_after(shown: bool, change: impl FnOnce(&mut StateMachine)) -> Option<Importing> {
    let (mut played, mut cluster) = (Played::leading(config()), knowing());
    played.beats(&OTHERS, 100);
    cluster.upgraded = true;
    if shown {
        let now = played.now();
        assert!(cluster
            .bus
            .set_owner(crate::bus_now(now), slot(), Some(MASTER)));
    }
    played.turn(|own| own.act_unsaid(change));
    played.beats(&OTHERS, 100);
    for words in [vec![], vec![Word::WantMark { slot: slot() }]] {
        let now = played.now();
        played.turn(|shard| {
            for word in words {
                cluster.migration.take_in(MASTER, OWNER, word);
            }
            cluster.migrate(now, true, shard);
            cluster.speak(now, shard);
        });
        played.beats(&OTHERS, 100);
    }
    played.shard.record().moves.importing.get(&slot()).cloned()
}

fn with_key(data: &mut StateMachine) {
    let key = data.key(b"a");
    data.set(&key, b"left", Ttl::Clear);
}

#[test]
fn given_slot_gets_clean_mark() {
    let mark = mark_after(true, |_| ()).expect("it is set");
    assert_eq!((mark.shard, mark.node), (OWNER, MASTER));
    assert!(mark.clean && !mark.returning && !mark.redis);
    assert_ne!(mark.mark, MoveId::default(), "an id of this reign");
}

#[test]
fn slot_not_at_rest_gets_no_mark() {
    assert_eq!(mark_after(false, |_| ()), None, "it is another one's");
    assert_eq!(mark_after(true, with_key), None, "leftovers are here");
    let own = |data: &mut StateMachine| data.add_slots(&[slot()].into_iter().collect());
    assert_eq!(mark_after(true, own), None);
    let marked = |data: &mut StateMachine| data.mark_importing(slot(), importing(OTHER));
    assert_eq!(mark_after(true, marked), Some(importing(OTHER)));
}

/// M22: what is left of an earlier ownership would be read as the slot's own.
#[cfg(feature = "mutations")]
#[test]
fn unclean_counted_as_clean_takes_leftovers() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::UncleanCountsAsClean));
    let mark = mark_after(true, with_key);
    mutation::set(None);
    assert!(mark.is_some_and(|mark| mark.clean));
}
