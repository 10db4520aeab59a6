//! How often a leader writes to each member.
//!
//! Owns two decisions and nothing else: how many appends with entries may be on their way to a
//! member, and when one that has everything but the newest commit index is told of it. Both change
//! only how messages are cut, never what may be acknowledged.
//!
//! A follower writes and syncs one batch after another. More and smaller appends than it has syncs
//! only cost messages, wake-ups and answers: with one on its way at a time, what is proposed
//! meanwhile goes as one. Where an answer takes long, more may be on their way.

use super::group::Group;
use base::clock::{Mono, Now};
use base::ids::RaftId;
use raft::Progress;
use std::time::Duration;

/// A member is sent about one append in so much time.
const APPEND_EVERY: Duration = Duration::from_millis(2);
/// Appends on their way to one member, before it has answered and at most.
pub(super) const FIRST_WINDOW: usize = 1;
const WIDEST_WINDOW: usize = 256;
/// A sample's weight in the time that answers take.
const SAMPLE: u32 = 8;
/// How long a commit index waits for entries to ride with, where entries come that soon.
const COMMIT_RIDE: Duration = Duration::from_micros(100);

/// What a leader remembers of the way to a member, in its lease epoch.
struct Path {
    to: RaftId,
    /// The commit index in the newest append.
    told: u64,
    /// From an append to its answer, on average.
    takes: Option<Duration>,
    window: usize,
}

#[derive(Default)]
pub(super) struct Flow {
    paths: Vec<Path>,
    /// When members that have not heard of the newest commit are told without entries.
    due: Option<Mono>,
    /// Since when a commit has waited for entries, or whether none came with it in time.
    waits_since: Option<Mono>,
    /// Whether entries are expected to come in time for the next commit.
    rides: bool,
}

impl Flow {
    /// A new lease epoch.
    pub fn begin(&mut self) {
        *self = Flow::default();
    }

    /// When [`Group::tell_commit`] is to be called.
    pub fn due(&self) -> Option<Mono> {
        self.due
    }

    fn path(&mut self, to: RaftId) -> &mut Path {
        let at = self.paths.iter().position(|path| path.to == to);
        let at = at.unwrap_or_else(|| {
            self.paths.push(Path {
                to,
                told: 0,
                takes: None,
                window: FIRST_WINDOW,
            });
            self.paths.len() - 1
        });
        &mut self.paths[at]
    }

    /// An append with this commit index leaves.
    pub fn told(&mut self, to: RaftId, commit: u64) {
        self.path(to).told = commit;
    }

    /// Entries leave at `now`: whether the last commit could have ridden with them says whether the
    /// next one waits. On an idle group none would come, and replicas would show old data for nothing.
    pub fn entries_leave(&mut self, now: Mono) {
        if let Some(since) = self.waits_since.take() {
            self.rides = now.since(since) <= COMMIT_RIDE;
        }
    }

    /// A commit of which some member was not told.
    fn commit_waits(&mut self, now: Mono) {
        self.waits_since.get_or_insert(now);
        let ride = if self.rides {
            COMMIT_RIDE
        } else {
            Duration::ZERO
        };
        self.due.get_or_insert(now + ride);
    }

    /// Whether members are to be told now. One after the other at that distance at most: with answers
    /// that come one by one there would be an append for each.
    fn tells(&mut self, now: Mono) -> bool {
        let due = self.due.take_if(|at| now >= *at).is_some();
        self.rides |= due;
        due
    }

    fn was_told(&self, to: RaftId) -> u64 {
        let path = self.paths.iter().find(|path| path.to == to);
        path.map_or(0, |path| path.told)
    }

    /// An append was answered after `sample`; the member's window, if it is another one now.
    fn answered(&mut self, from: RaftId, sample: Duration) -> Option<usize> {
        let path = self.path(from);
        let takes = path
            .takes
            .map_or(sample, |takes| (takes * (SAMPLE - 1) + sample) / SAMPLE);
        path.takes = Some(takes);
        let more = takes.as_nanos() / APPEND_EVERY.as_nanos();
        let more = usize::try_from(more).unwrap_or(WIDEST_WINDOW);
        let window = (FIRST_WINDOW + more).min(WIDEST_WINDOW);
        let before = std::mem::replace(&mut path.window, window);
        (before != window).then_some(window)
    }
}

impl Group {
    /// A member has answered an append that left at `sent`.
    pub(super) fn note_answer(&mut self, now: Now, from: RaftId, sent: Mono) {
        if let Some(window) = self.flow.answered(from, now.mono.since(sent)) {
            self.node.raft.adjust_max_inflight_msgs(from.0, window);
        }
    }

    /// Whether this member has been sent all entries and not the newest commit index. One that lacks
    /// entries gets it with them.
    fn lacks_commit(&self, id: RaftId, progress: &Progress) -> bool {
        id != self.config.id
            && progress.next_idx > self.last_index()
            && !progress.is_paused()
            && self.flow.was_told(id) < self.commit()
    }

    /// A commit of which a member was not told waits for entries to ride with, if they are likely to
    /// come.
    pub(super) fn note_commit(&mut self, now: Now) {
        let mut progress = self.node.raft.prs().iter();
        if !self.is_leader() || !progress.any(|(id, p)| self.lacks_commit(RaftId(*id), p)) {
            self.flow.due = None;
        } else {
            self.flow.commit_waits(now.mono);
        }
    }

    /// Appends without entries for members that have not heard of the newest commit, when it is time.
    pub(super) fn tell_commit(&mut self, now: Now) {
        if !self.flow.tells(now.mono) {
            return;
        }
        let progress = self.node.raft.prs().iter();
        let behind = progress.filter(|(id, p)| self.lacks_commit(RaftId(**id), p));
        let behind: Vec<u64> = behind.map(|(id, _)| *id).collect();
        for id in behind {
            self.node.raft.send_append(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_answers_widen_the_window_and_quick_ones_narrow_it() {
        let mut flow = Flow::default();
        let ms = Duration::from_millis;
        assert_eq!(flow.answered(RaftId(2), ms(1)), None);
        assert_eq!(flow.answered(RaftId(3), ms(50)), Some(26));
        assert_eq!(flow.answered(RaftId(2), ms(1)), None);
        assert_eq!(flow.answered(RaftId(3), ms(50)), None);
        let windows: Vec<usize> = (0..100)
            .filter_map(|_| flow.answered(RaftId(3), ms(0)))
            .collect();
        assert_eq!(windows.last(), Some(&FIRST_WINDOW));
        assert_eq!(
            flow.answered(RaftId(3), Duration::from_secs(3600)),
            Some(WIDEST_WINDOW)
        );
    }

    #[test]
    fn an_idle_group_tells_a_commit_at_once() {
        let mut flow = Flow::default();
        let (us, mut now) = (Duration::from_micros, Mono(1));
        for _ in 0..3 {
            flow.entries_leave(now);
            now = now + us(300);
            flow.commit_waits(now);
            assert_eq!(flow.due(), Some(now));
            assert!(flow.tells(now));
            assert!(!flow.tells(now), "once");
            now = now + us(101);
        }
    }

    #[test]
    fn a_busy_group_lets_commits_ride() {
        let mut flow = Flow::default();
        let (us, mut now) = (Duration::from_micros, Mono(1));
        flow.commit_waits(now);
        assert!(flow.tells(now), "nothing is known yet");
        for _ in 0..3 {
            now = now + us(60);
            flow.entries_leave(now);
            flow.due = None; // they say it to all
            now = now + us(300);
            flow.commit_waits(now);
            assert!(!flow.tells(now + us(99)));
            assert_eq!(flow.due(), Some(now + COMMIT_RIDE));
        }
        // The last of them is told all the same.
        now = now + COMMIT_RIDE;
        assert!(flow.tells(now));
        now = now + us(1);
        flow.entries_leave(now);
        flow.commit_waits(now);
        assert!(flow.tells(now), "entries came too late for the last one");
    }

    #[test]
    fn commits_in_a_row_share_an_append() {
        let mut flow = Flow::default();
        let (us, now) = (Duration::from_micros, Mono(1));
        flow.commit_waits(now);
        assert!(flow.tells(now));
        flow.commit_waits(now + us(5));
        assert!(!flow.tells(now + us(50)));
        assert!(flow.tells(now + us(105)));
    }

    #[test]
    fn a_new_reign_has_told_nobody() {
        let mut flow = Flow::default();
        flow.told(RaftId(2), 7);
        assert_eq!((flow.was_told(RaftId(2)), flow.was_told(RaftId(3))), (7, 0));
        flow.begin();
        assert_eq!(flow.was_told(RaftId(2)), 0);
    }
}
