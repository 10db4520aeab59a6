//! Commands on slots in motion: MOVED, ASK, TRYAGAIN, and what waits (M5, M11, M14-M17).
//!
//! Owns the second look of the dispatcher at a slot that has a mark, a lend or an open hand-over: what the
//! command's keys are here decides, by one table ([`decide`]). Never: changes a key, but that one which has
//! expired is deleted in the log first: absence is final only when it is logged (M10).

use super::env::Env;
use super::error::Error;
use base::mutation::{self, Mutation};
use base::ShardId;
use state::SlotMotion;
use topology::moves::KeyState;
use topology::MoveId;

/// The keys of a command as they are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    pub present: usize,
    pub missing: usize,
    /// M5: one of them is lent, and the command may not see or not change it now.
    pub frozen: bool,
}

/// What becomes of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// A lend of one of its keys is open.
    Hold,
    /// The other shard has what it asks for, or may make it.
    Ask(ShardId),
    TryAgain,
    /// To the slot's owner.
    Moved,
    /// M15, M11: the one key is not here: how it stands at the other shard decides.
    Question(ShardId, MoveId),
}

/// M14-M16. `owned`: the slot is this shard's, by the tail's record. `asking`: ASKING was said.
pub fn decide(motion: &SlotMotion, owned: bool, asking: bool, keys: Keys) -> Verdict {
    let single = keys.present + keys.missing == 1;
    match motion {
        SlotMotion::Migrating(_) | SlotMotion::Still if owned && keys.frozen => Verdict::Hold,
        SlotMotion::Migrating(_) | SlotMotion::Still if owned && keys.missing == 0 => {
            Verdict::Serve
        }
        SlotMotion::Still if owned => Verdict::Serve,
        SlotMotion::Migrating(mark) if owned && mark.closing => match mark.mark {
            Some(id) if single => Verdict::Question(mark.shard, id),
            Some(_) => Verdict::TryAgain,
            None => Verdict::Serve,
        },
        SlotMotion::Migrating(mark) if owned && keys.present == 0 => Verdict::Ask(mark.shard),
        SlotMotion::Migrating(_) if owned => Verdict::TryAgain,
        SlotMotion::Departed(departed) => Verdict::Ask(departed.to),
        // M15: what a real Redis says with ASK can't be checked.
        SlotMotion::Importing(mark) if asking && mark.redis => match keys {
            _ if keys.frozen => Verdict::Hold,
            _ if single || keys.missing == 0 => Verdict::Serve,
            _ => Verdict::TryAgain,
        },
        SlotMotion::Importing(mark) if asking && mark.clean => match keys {
            _ if keys.frozen => Verdict::Hold,
            Keys { missing: 0, .. } => Verdict::Serve,
            _ if mark.returning && single => Verdict::Moved,
            _ if single => Verdict::Question(mark.shard, mark.mark),
            _ => Verdict::TryAgain,
        },
        _ if owned => Verdict::Serve,
        _ => Verdict::Moved,
    }
}

/// A command on keys of a slot in motion.
pub struct Asked<'k> {
    pub slot: u16,
    pub owned: bool,
    pub asking: bool,
    /// It may change a key.
    pub write: bool,
    /// MIGRATE skips keys that are missing.
    pub migrates: bool,
    /// Its distinct keys.
    pub keys: &'k [&'k [u8]],
}

/// What the slot check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    Serve,
    Hold,
    /// It is for the slot's owner.
    Moved,
}

/// Whether the command may run here now.
pub fn admit(env: &mut Env<'_>, asked: &Asked<'_>) -> Result<Admitted, Error> {
    let motion = env.data.motion_of(asked.slot);
    // M15: whether it could be served here at all; else its keys are nobody's business.
    let elsewhere = !asked.owned && !asked.asking && matches!(motion, SlotMotion::Importing(_));
    // M22: keys of an earlier ownership may be sent to the slot's owner.
    let unclean = matches!(&motion, SlotMotion::Importing(m) if !m.clean);
    let leftover = asked.migrates && !asked.owned && unclean;
    if elsewhere && !leftover {
        return Ok(Admitted::Moved);
    }
    let mut keys = look_at(env, asked);
    if env.data.footprint().hold {
        return Ok(Admitted::Hold);
    }
    if asked.migrates {
        keys.missing = 0;
    }
    let mut verdict = match leftover {
        true if keys.frozen => Verdict::Hold,
        true => Verdict::Serve,
        false => decide(&motion, asked.owned, asked.asking, keys),
    };
    let asks = matches!(verdict, Verdict::Question(..)) && !asked.owned;
    if asks && mutation::is(Mutation::AskingUnchecked) {
        verdict = Verdict::Serve;
    }
    let leaves = matches!(verdict, Verdict::Ask(_)) && asked.owned;
    if leaves && mutation::is(Mutation::CreateWhileMigrating) {
        verdict = Verdict::Serve;
    }
    let goes_back = matches!(&motion, SlotMotion::Importing(mark) if mark.returning && mark.clean);
    if goes_back && verdict == Verdict::Moved && mutation::is(Mutation::CreateWhileReturning) {
        verdict = Verdict::Serve;
    }
    settle(env, asked, verdict)
}

fn look_at(env: &mut Env<'_>, asked: &Asked<'_>) -> Keys {
    let mut keys = Keys::default();
    for bytes in asked.keys {
        let lent = env.data.frozen(bytes);
        let waits = asked.write && !mutation::is(Mutation::WriteToLentKey);
        keys.frozen |= lent.is_some_and(|lent| waits || asked.migrates || !lent.readable);
        let there = lent.is_some() || env.data.exists(&env.data.key(bytes));
        match there {
            true => keys.present += 1,
            false => keys.missing += 1,
        }
    }
    keys
}

fn settle(env: &mut Env<'_>, asked: &Asked<'_>, verdict: Verdict) -> Result<Admitted, Error> {
    match verdict {
        Verdict::Serve => Ok(Admitted::Serve),
        Verdict::Hold => hold(env),
        Verdict::Moved => Ok(Admitted::Moved),
        Verdict::TryAgain => {
            let single = asked.keys.len() == 1;
            env.server.stats_mut().tryagain_single_key += u64::from(single);
            Err(Error::TRYAGAIN)
        }
        Verdict::Ask(shard) => Err(ask(env, asked.slot, shard)?),
        Verdict::Question(shard, mark) => {
            let Some(cluster) = env.server.cluster() else {
                return Ok(Admitted::Moved);
            };
            let [key] = asked.keys else {
                return Err(Error::TRYAGAIN);
            };
            let question = &mut env.session.question;
            let state = cluster.key_elsewhere(question, shard, asked.slot, mark, key);
            answered(env, asked, shard, state)
        }
    }
}

/// What the other shard has said of the one key that is missing here.
fn answered(
    env: &mut Env<'_>,
    asked: &Asked<'_>,
    shard: ShardId,
    state: Option<KeyState>,
) -> Result<Admitted, Error> {
    match state {
        None => hold(env),
        // It is nowhere: this side makes it, or shows that it is missing.
        Some(KeyState::Absent) => Ok(Admitted::Serve),
        // M11: the move runs backwards, and the key has not come back yet.
        Some(KeyState::Present) if asked.owned => Err(ask(env, asked.slot, shard)?),
        Some(KeyState::NoMark) if asked.owned => hold(env),
        Some(KeyState::Present | KeyState::NoMark) => Ok(Admitted::Moved),
        Some(KeyState::Lent(id)) => match env.data.record().moves.decision(id) {
            // Amendment 13: it came and was deleted since.
            topology::moves::Decision::Done(refused) if !asked.owned && refused.is_empty() => {
                Ok(Admitted::Serve)
            }
            _ => hold(env),
        },
    }
}

fn ask(env: &Env<'_>, slot: u16, shard: ShardId) -> Result<Error, Error> {
    let addr = env.routing.and_then(|routing| routing.masters.get(&shard));
    let addr = addr.ok_or(Error::SLOT_NOT_SERVED)?;
    Ok(Error::ask(slot, addr))
}

/// A hold keeps the command in its connection's order, for so long as a command may be held.
pub fn hold(env: &mut Env<'_>) -> Result<Admitted, Error> {
    match env.overdue {
        true => {
            env.session.question = None;
            Err(Error::SLOT_NOT_SERVED)
        }
        false => Ok(Admitted::Hold),
    }
}

/// What an operator sees of slots in motion, as the record that is committed has it.
pub fn moving(env: &Env<'_>) -> [(&'static str, u64); 5] {
    let record = env.data.committed_record();
    let moves = &record.moves;
    // M22: of a slot that is neither this shard's nor imported with nothing of before.
    let stray = |slot: &u16| {
        let arrives = moves.importing.get(slot).is_some_and(|mark| mark.clean);
        !record.slots.contains(*slot) && !arrives
    };
    let keyspace = env.data.keyspace();
    let leftover = match env.server.config().cluster_enabled {
        true => (0..base::slot::SLOT_COUNT)
            .filter(stray)
            .map(|slot| keyspace.count_in_slot(slot))
            .sum(),
        false => 0,
    };
    let leaving = moves.migrating.len() + moves.departed.len();
    [
        ("cluster_slots_migrating", leaving as u64),
        ("cluster_slots_importing", moves.importing.len() as u64),
        ("cluster_open_lends", moves.lends.len() as u64),
        ("cluster_leftover_keys", leftover),
        (
            "cluster_tryagain_single_key",
            env.server.stats().tryagain_single_key,
        ),
    ]
}

/// M21: slots that a stray could take by its epoch.
pub fn untitled(env: &Env<'_>) -> usize {
    let record = env.data.committed_record();
    let titles = &record.moves.titles;
    record.slots.iter().filter(|s| titles.of(*s) == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;
    use topology::moves::{Departed, Importing, Migrating};

    const B: ShardId = ShardId([2; 20]);

    fn id(n: u64) -> MoveId {
        let mut id = MoveId::default();
        id.number.n = n;
        id
    }

    fn migrating(mark: Option<MoveId>, closing: bool) -> SlotMotion {
        SlotMotion::Migrating(Migrating {
            shard: B,
            node: NodeId([2; 20]),
            mark,
            closing,
            redis: false,
        })
    }

    fn importing(clean: bool, returning: bool) -> SlotMotion {
        SlotMotion::Importing(Importing {
            shard: B,
            node: NodeId([2; 20]),
            mark: id(7),
            clean,
            returning,
            redis: false,
        })
    }

    fn keys(present: usize, missing: usize) -> Keys {
        Keys {
            present,
            missing,
            frozen: false,
        }
    }

    #[test]
    fn the_owner_serves_asks_or_says_tryagain() {
        use Verdict::{Ask, Hold, Question, Serve, TryAgain};
        let (open, back) = (migrating(None, false), migrating(Some(id(7)), true));
        let table = [
            (&open, keys(1, 0), Serve),
            (&open, keys(3, 0), Serve),
            (&open, keys(0, 1), Ask(B)),
            (&open, keys(0, 3), Ask(B)),
            (&open, keys(1, 1), TryAgain),
            (&back, keys(1, 0), Serve),
            (&back, keys(0, 1), Question(B, id(7))),
            (&back, keys(0, 2), TryAgain),
            (&back, keys(1, 1), TryAgain),
            (&SlotMotion::Still, keys(0, 2), Serve),
        ];
        for (motion, keys, verdict) in table {
            assert_eq!(
                decide(motion, true, false, keys),
                verdict,
                "{motion:?} {keys:?}"
            );
            let frozen = Keys {
                frozen: true,
                ..keys
            };
            assert_eq!(
                decide(motion, true, true, frozen),
                Hold,
                "{motion:?} {keys:?}"
            );
        }
    }

    #[test]
    fn after_the_hand_over_every_key_is_asked_for() {
        let departed = SlotMotion::Departed(Departed {
            id: id(9),
            to: B,
            node: NodeId([2; 20]),
            mark: None,
            title: 1,
        });
        for asking in [false, true] {
            let verdict = decide(&departed, false, asking, keys(0, 1));
            assert_eq!(verdict, Verdict::Ask(B));
        }
    }

    #[test]
    fn an_importer_serves_only_who_asks() {
        use Verdict::{Moved, Question, Serve, TryAgain};
        let (clean, back, unclean) = (
            importing(true, false),
            importing(true, true),
            importing(false, false),
        );
        let SlotMotion::Importing(mark) = importing(false, false) else {
            unreachable!("it is one");
        };
        let redis = SlotMotion::Importing(Importing {
            redis: true,
            ..mark
        });
        let table = [
            (&clean, false, keys(1, 0), Moved),
            (&clean, true, keys(1, 0), Serve),
            (&clean, true, keys(2, 0), Serve),
            (&clean, true, keys(0, 1), Question(B, id(7))),
            (&clean, true, keys(0, 2), TryAgain),
            (&clean, true, keys(1, 1), TryAgain),
            (&back, true, keys(1, 0), Serve),
            (&back, true, keys(0, 1), Moved),
            (&back, true, keys(1, 1), TryAgain),
            (&unclean, true, keys(1, 0), Moved),
            (&SlotMotion::Still, true, keys(0, 1), Moved),
            (&redis, true, keys(1, 0), Serve),
            (&redis, true, keys(0, 1), Serve),
            (&redis, true, keys(2, 0), Serve),
            (&redis, true, keys(1, 1), TryAgain),
            (&redis, false, keys(1, 0), Moved),
        ];
        for (motion, asking, keys, verdict) in table {
            let decided = decide(motion, false, asking, keys);
            assert_eq!(decided, verdict, "{motion:?} {asking} {keys:?}");
        }
    }
}
