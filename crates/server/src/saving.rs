//! When a snapshot is due that no client waits for.
//!
//! Owns the decision alone: how the log, the last snapshots and the configuration stand comes in, one reason
//! goes out. Never: orders, makes, or remembers one. Invariants: snapshots that nobody asked for begin at least
//! [`SPACING`] apart, but for a log that is `CROWDED`; the log's length makes none where none would let the log be trimmed (D7).

use base::clock::Mono;
use command::api::SnapshotKind;
use config::SaveRule;
use shard::Shortage;
use std::time::Duration;

/// So many times the pause is doubled before a snapshot for room that has failed is tried again: 80 s.
const MOST_DOUBLED: u64 = 4;
/// A small set of keys that is overwritten fills the log in less than a second.
pub const SPACING: Duration = Duration::from_secs(10);
/// But a log that is so many times as long as it is to get waits for nothing: at 150 MB a second the disk would
/// fill up with what nobody needs.
const CROWDED: u128 = 2;
/// How long a `save` rule leaves a disk alone after a failure: Redis's time.
pub const RETRY: Duration = Duration::from_secs(5);
/// So many failures in a row, and the log's length makes the next one after [`PATIENCE`], then after twice that
/// time, up to [`MOST_PATIENCE`]: Redis's numbers.
const FAILURES: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_PATIENCE: Duration = Duration::from_secs(3600);

/// What the decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub now: Mono,
    /// One is ordered or being made, or none could be begun now.
    pub busy: bool,
    /// What clients have asked for, and begins when nothing else is under way.
    pub save_scheduled: bool,
    pub download_scheduled: bool,
    pub rewrite_scheduled: bool,

    pub rules: &'a [SaveRule],
    /// Changes since the last save.
    pub changes: u64,
    /// When that one was done; when the server started, if none was.
    pub last_save: Mono,
    /// When the last try began, if it came to nothing.
    pub failed_save: Option<Mono>,

    /// D7: whether a snapshot lets the log be trimmed.
    pub trims: bool,
    /// P15: a member needs a state, and the base names none.
    pub needed: bool,
    /// D5: whether a snapshot gives back room that is short.
    pub shortage: Option<Shortage>,
    /// Others of the group make snapshots too.
    pub leads_others: bool,
    /// `auto-aof-rewrite-min-size`, `auto-aof-rewrite-percentage`.
    pub min_size: u64,
    pub percentage: u32,
    /// Bytes of log behind the last snapshot, and bytes of that one.
    pub log_bytes: u64,
    pub snapshot_bytes: u64,
    /// Rewrites in a row that came to nothing, and when the last one began.
    pub failures: u64,
    pub last_rewrite: Option<Mono>,

    /// When the last one began that nobody asked for.
    pub last_automatic: Option<Mono>,
}

/// Why one is to be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Scheduled(SnapshotKind),
    Rule(SaveRule),
    Growth,
    /// P15: a member needs a state, and the base names none.
    Needed,
    /// D5: it gives back room that is short.
    Room,
}

impl Due {
    pub fn kind(self) -> SnapshotKind {
        match self {
            Due::Scheduled(kind) => kind,
            Due::Rule(_) => SnapshotKind::Save,
            Due::Growth | Due::Needed | Due::Room => SnapshotKind::Rewrite,
        }
    }
}

/// The snapshot that is to be made now.
pub fn due(facts: &Facts<'_>) -> Option<Due> {
    if facts.busy {
        return None;
    }
    if gives_room(facts) {
        return Some(Due::Room);
    }
    if facts.rewrite_scheduled {
        return Some(Due::Scheduled(SnapshotKind::Rewrite));
    }
    if facts.save_scheduled {
        return Some(Due::Scheduled(SnapshotKind::Save));
    }
    if facts.download_scheduled {
        return Some(Due::Scheduled(SnapshotKind::Download));
    }
    let since = |at: Mono| facts.now.since(at);
    let spaced = facts.last_automatic.is_none_or(|at| since(at) >= SPACING);
    let retries = facts.failed_save.is_none_or(|at| since(at) > RETRY);
    let applies = |rule: &&SaveRule| {
        let old = since(facts.last_save) > Duration::from_secs(rule.seconds);
        old && facts.changes >= rule.changes
    };
    let rule = facts.rules.iter().find(applies);
    if let Some(rule) = rule.filter(|_| retries && spaced) {
        return Some(Due::Rule(*rule));
    }
    if facts.needed && facts.trims && spaced {
        return Some(Due::Needed);
    }
    let most = if spaced { 1 } else { CROWDED };
    has_grown(facts, most).then_some(Due::Growth)
}

/// Whether one is due for the room that it gives back; before what clients have asked for, which may find none else.
fn gives_room(facts: &Facts<'_>) -> bool {
    // What fails costs a core and the memory of all keys, and a disk may stay full for days.
    let pause = RETRY * (1 << facts.failures.saturating_sub(1).min(MOST_DOUBLED));
    let rested = facts
        .last_rewrite
        .is_none_or(|at| facts.now.since(at) > pause);
    let due = match facts.shortage {
        None => false,
        Some(Shortage::Pays) => rested || facts.failures == 0,
        Some(Shortage::Full) => rested,
    };
    due && facts.trims
}

/// Whether the log is so many times as long as it is to get.
fn has_grown(facts: &Facts<'_>, times: u128) -> bool {
    if !facts.trims || facts.percentage == 0 {
        return false;
    }
    let rests = |at: Mono| facts.now.since(at) < pause_after(facts.failures);
    if facts.last_rewrite.is_some_and(rests) {
        return false;
    }
    let share = u128::from(facts.snapshot_bytes) * u128::from(facts.percentage) / 100;
    let limit = share.max(facts.min_size.into());
    // The leader comes last: it has the commands to run, and the others' snapshots may do.
    let limit = match facts.leads_others {
        true => limit + limit / 4,
        false => limit,
    };
    u128::from(facts.log_bytes) >= limit.max(1) * times
}

/// How long after a rewrite that came to nothing the log's length makes the next one.
fn pause_after(failures: u64) -> Duration {
    match failures.checked_sub(FAILURES) {
        None => Duration::ZERO,
        Some(more) => MOST_PATIENCE.min(PATIENCE * (1 << more.min(16))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;
    const RULE: SaveRule = SaveRule {
        seconds: 60,
        changes: 100,
    };
    const RULES: &[SaveRule] = &[
        SaveRule {
            seconds: 3600,
            changes: 1,
        },
        RULE,
    ];

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// A quiet server, a day after its start.
    fn quiet() -> Facts<'static> {
        Facts {
            now: at(100_000),
            busy: false,
            save_scheduled: false,
            download_scheduled: false,
            rewrite_scheduled: false,
            rules: &[],
            changes: 0,
            last_save: at(90_000),
            failed_save: None,
            trims: true,
            needed: false,
            shortage: None,
            leads_others: false,
            min_size: 64 * MB,
            percentage: 100,
            log_bytes: 0,
            snapshot_bytes: 0,
            failures: 0,
            last_rewrite: None,
            last_automatic: None,
        }
    }

    #[test]
    fn quiet_server_makes_none() {
        assert_eq!(due(&quiet()), None);
        let mut facts = quiet();
        facts.changes = u64::MAX;
        assert_eq!(due(&facts), None, "no rule is set");
    }

    #[test]
    fn scheduled_ones_go_first_and_one_at_a_time() {
        let mut facts = quiet();
        (facts.save_scheduled, facts.rewrite_scheduled) = (true, true);
        facts.download_scheduled = true;
        facts.log_bytes = 100 * MB;
        facts.last_automatic = Some(facts.now);
        let scheduled = |kind| Some(Due::Scheduled(kind));
        assert_eq!(due(&facts), scheduled(SnapshotKind::Rewrite));
        facts.rewrite_scheduled = false;
        assert_eq!(due(&facts), scheduled(SnapshotKind::Save));
        facts.save_scheduled = false;
        assert_eq!(due(&facts), scheduled(SnapshotKind::Download));
        facts.busy = true;
        assert_eq!(due(&facts), None);
    }

    #[test]
    fn growth_is_of_the_last_snapshot_or_the_least_size() {
        for (log, snapshot, percentage, min_size, want) in [
            (64 * MB - 1, 0, 100, 64 * MB, false),
            (64 * MB, 0, 100, 64 * MB, true),
            (64 * MB, 64 * MB, 100, 64 * MB, true),
            (99 * MB, 100 * MB, 100, 64 * MB, false),
            (100 * MB, 100 * MB, 100, 64 * MB, true),
            (199 * MB, 100 * MB, 200, 64 * MB, false),
            (200 * MB, 100 * MB, 200, 64 * MB, true),
            (10 * MB, 100 * MB, 1, 10 * MB, true),
            (u64::MAX, 100 * MB, 0, 0, false),
            (0, 0, 100, 0, false),
            (1, 0, 100, 0, true),
            (u64::MAX - 1, u64::MAX, i32::MAX as u32, 0, false),
        ] {
            let facts = Facts {
                log_bytes: log,
                snapshot_bytes: snapshot,
                percentage,
                min_size,
                ..quiet()
            };
            let found = due(&facts);
            let what = format!("{log} of {snapshot} at {percentage} %, at least {min_size}");
            assert_eq!(found, want.then_some(Due::Growth), "{what}");
        }
    }

    #[test]
    fn leader_of_others_waits_for_a_quarter_more() {
        let mut facts = quiet();
        facts.leads_others = true;
        facts.log_bytes = 80 * MB - 1;
        assert_eq!(due(&facts), None);
        facts.log_bytes = 80 * MB;
        assert_eq!(due(&facts), Some(Due::Growth));
    }

    /// P15: with a log that has grown little there may never be one otherwise, and the member would wait.
    #[test]
    fn a_member_that_needs_a_state_makes_one() {
        let mut facts = Facts {
            needed: true,
            ..quiet()
        };
        assert_eq!(due(&facts), Some(Due::Needed));
        facts.last_automatic = Some(facts.now);
        assert_eq!(due(&facts), None, "nobody makes one after the other");
    }

    /// D5: where a snapshot costs more than it gives back, nothing but refused writes makes one, and not in a row.
    #[test]
    fn a_shortage_of_room_makes_one() {
        for (shortage, failures, seconds, want) in [
            (None, 0, 100, false),
            (Some(Shortage::Pays), 0, 0, true),
            (Some(Shortage::Pays), 1, 5, false),
            (Some(Shortage::Pays), 1, 6, true),
            (Some(Shortage::Pays), 9, 80, false),
            (Some(Shortage::Pays), 9, 81, true),
            (Some(Shortage::Full), 0, 5, false),
            (Some(Shortage::Full), 0, 6, true),
            (Some(Shortage::Full), 2, 10, false),
            (Some(Shortage::Full), 2, 11, true),
            (Some(Shortage::Full), 9, 81, true),
        ] {
            let mut facts = Facts {
                shortage,
                failures,
                last_rewrite: Some(at(100_000 - seconds)),
                save_scheduled: true,
                ..quiet()
            };
            let what = format!("{shortage:?}, {failures} failures, {seconds} s ago");
            let save = Some(Due::Scheduled(SnapshotKind::Save));
            let want = if want { Some(Due::Room) } else { save };
            assert_eq!(due(&facts), want, "{what}");
            facts.trims = false;
            assert_eq!(due(&facts), save, "{what}, and it frees nothing");
        }
    }

    #[test]
    fn growth_makes_none_that_frees_nothing() {
        let facts = Facts {
            log_bytes: u64::MAX,
            trims: false,
            needed: true,
            ..quiet()
        };
        assert_eq!(due(&facts), None);
    }

    #[test]
    fn rules_ask_for_time_and_changes() {
        for (changes, seconds, want) in [
            (0, 100_000, None),
            (1, 3600, None),
            (1, 3601, Some(RULES[0])),
            (99, 61, None),
            (100, 60, None),
            (100, 61, Some(RULE)),
            (100, 3601, Some(RULES[0])),
        ] {
            let facts = Facts {
                rules: RULES,
                changes,
                last_save: at(100_000 - seconds),
                ..quiet()
            };
            let want = want.map(Due::Rule);
            assert_eq!(due(&facts), want, "{changes} changes in {seconds} s");
        }
    }

    #[test]
    fn a_rule_leaves_a_failing_disk_alone() {
        let mut facts = Facts {
            rules: RULES,
            changes: 100,
            failed_save: Some(at(100_000 - 5)),
            ..quiet()
        };
        assert_eq!(due(&facts), None);
        facts.failed_save = Some(at(100_000 - 6));
        assert_eq!(due(&facts), Some(Due::Rule(RULES[0])));
        // What the log's length asks for is another matter.
        facts.failed_save = Some(facts.now);
        facts.log_bytes = 64 * MB;
        assert_eq!(due(&facts), Some(Due::Growth));
    }

    #[test]
    fn automatic_ones_are_spaced() {
        let mut facts = Facts {
            rules: RULES,
            changes: 100,
            log_bytes: 64 * MB,
            last_automatic: Some(at(100_000 - 9)),
            ..quiet()
        };
        assert_eq!(due(&facts), None);
        facts.last_automatic = Some(at(100_000 - 10));
        assert_eq!(due(&facts), Some(Due::Rule(RULES[0])));
        facts.rules = &[];
        assert_eq!(due(&facts), Some(Due::Growth));
    }

    #[test]
    fn a_log_that_is_crowded_waits_for_nothing() {
        for (log_bytes, want) in [(128 * MB - 1, None), (128 * MB, Some(Due::Growth))] {
            let facts = Facts {
                log_bytes,
                last_automatic: Some(at(100_000)),
                ..quiet()
            };
            assert_eq!(due(&facts), want, "{log_bytes}");
        }
    }

    #[test]
    fn rewrites_that_fail_again_and_again_get_rarer() {
        for (failures, seconds, want) in [
            (2, 0, true),
            (3, 59, false),
            (3, 60, true),
            (4, 119, false),
            (4, 120, true),
            (9, 3599, false),
            (9, 3600, true),
            (u64::MAX, 3600, true),
        ] {
            let facts = Facts {
                log_bytes: 64 * MB,
                failures,
                last_rewrite: Some(at(100_000 - seconds)),
                ..quiet()
            };
            let what = format!("{failures} failures, {seconds} s ago");
            assert_eq!(due(&facts), want.then_some(Due::Growth), "{what}");
        }
    }
}
