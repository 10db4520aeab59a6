//! A member's folder in words: base, state, log, and what a start makes of them.
//!
//! Owns what is said, and the entries' check that a start makes behind recovery: that their bodies can be read, and what
//! the committed ones make of members and record. Recovery's own view is [`storage::survey`]. Never makes the keys of the log:
//! an effect that contradicts them is found by a start alone.

use super::begin;
use super::effects::Speaker;
use super::folder::node_of;
use super::progress::Progress;
use super::snapshot;
use super::words::{count, entries, range};
use super::Verdict;
use base::ids::RaftId;
use effect::{CodecError, Staged, Stager, Unit};
use keyspace::{Keyspace, Layout};
use raft::eraftpb::{Entry, EntryType};
use raft_group::Membership;
use state::{apply_record, check_entry, check_unit, ApplyError, StateMachine, PART_BYTES};
use std::io::{self, Write};
use std::path::Path;
use storage::base::MemberKind;
use storage::survey::{FileKind, SegmentSurvey, Survey, Tally};
use storage::trial::TrialDisk;
use storage::{Base, Disk, StorageError};

/// So many names of files are shown.
const NAMES_SHOWN: usize = 50;

/// What a check of a member is told.
pub struct Wanted<'w> {
    pub folder: &'w Path,
    pub effects: bool,
    pub progress: &'w Progress,
}

/// What was found.
pub struct Found {
    pub verdict: Verdict,
    /// Recovery refuses the log.
    pub refused: bool,
    /// This member decides alone what is committed.
    pub is_alone: bool,
}

impl Found {
    fn refused(verdict: Verdict, refused: bool) -> Found {
        Found {
            verdict,
            refused,
            is_alone: false,
        }
    }
}

/// A disk over the folder on which nothing happens.
pub fn trial(folder: &Path, progress: &Progress) -> TrialDisk {
    let progress = progress.clone();
    TrialDisk::new(folder, move |read| progress.add(read))
}

pub fn check(wanted: &Wanted<'_>, out: &mut dyn Write) -> io::Result<Found> {
    let disk = trial(wanted.folder, wanted.progress);
    writeln!(out, "{}: a member's folder", wanted.folder.display())?;
    // A log that is damaged may have lost what it says of other members: in a cluster nobody knows then.
    let mut about = About {
        base: None,
        survey: None,
        is_alone: node_of(wanted.folder).is_none(),
    };
    let base = match Base::load(&disk) {
        Ok(Some(base)) => base,
        Ok(None) => {
            let missing = StorageError::NoBase(storage::base::FILE.into());
            return say_refused(&missing, &about, out);
        }
        Err(error) => return say_refused(&error, &about, out),
    };
    about.base = Some(&base);
    say_base(&base, out)?;
    let is_whole = say_state(wanted, &base, out)?;
    let survey = match Survey::new(&disk, &base) {
        Ok(survey) => survey,
        Err(error) => {
            say_files(&disk, None, out)?;
            return say_refused(&error, &about, out);
        }
    };
    say_log(&survey, out)?;
    let committed = Committed::read(&survey)?;
    committed.say(&survey, out)?;
    if wanted.effects {
        say_effects(&survey, out)?;
    }
    say_behind(&survey, out)?;
    say_files(&disk, Some(&survey), out)?;
    wanted.progress.clear();
    if let Some(error) = &survey.refused {
        about.survey = Some(&survey);
        return say_refused(error, &about, out);
    }
    let is_alone = about.is_alone || committed.is_alone();
    say_verdict(&survey, &committed, (is_whole, is_alone), out)
}

/// What a start makes of a log that recovery takes.
fn say_verdict(
    survey: &Survey<TrialDisk>,
    committed: &Committed,
    (is_whole, is_alone): (bool, bool),
    out: &mut dyn Write,
) -> io::Result<Found> {
    let base = &survey.base;
    let found = |verdict| Found {
        is_alone,
        ..Found::refused(verdict, false)
    };
    if !is_whole {
        writeln!(
            out,
            "Verdict: a start refuses this folder: the state that base names can't be used."
        )?;
        let file = base.snapshot.file_name().unwrap_or_default();
        let without = without_copy(base, is_alone, false);
        writeln!(out, "What helps: a copy of {file}. {without}")?;
        return Ok(found(Verdict::Damaged));
    }
    if let Some(why) = &committed.wrong {
        writeln!(out, "Verdict: a start ends at {why}.")?;
        writeln!(
            out,
            "What helps: the build that wrote it, if that is a newer one. {KEEP}"
        )?;
        return Ok(found(Verdict::Damaged));
    }
    say_sound(survey, is_alone, out)?;
    Ok(found(Verdict::Whole))
}

const KEEP: &str = "Keep the folder as it is: it may be the only copy.";

fn say_base(base: &Base, out: &mut dyn Write) -> io::Result<()> {
    let id = &base.identity;
    writeln!(out, "base: member {}: {}", id.raft_id, begin::identity(id))?;
    writeln!(out, "  state: {}", begin::state(id, &base.snapshot))?;
    writeln!(out, "  log begins at {}", begin::log_start(base))?;
    writeln!(out, "  members then:")?;
    for line in begin::members(&base.snapshot.conf_state, &base.snapshot.members) {
        writeln!(out, "    {line}")?;
    }
    for line in begin::record(&base.snapshot.record) {
        writeln!(out, "  record then: {line}")?;
    }
    Ok(())
}

/// Whether the file that holds the state is the one that the base names; true where there is none.
fn say_state(wanted: &Wanted<'_>, base: &Base, out: &mut dyn Write) -> io::Result<bool> {
    let (Some(file), Some(name)) = (&base.snapshot.file, base.snapshot.file_name()) else {
        return Ok(true);
    };
    let path = wanted.folder.join(&name);
    let checked = snapshot::check_state(&path, file, &|read| wanted.progress.add(read));
    let (lines, is_whole) = match checked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (vec!["MISSING".to_owned()], false)
        }
        checked => checked?,
    };
    for line in lines {
        writeln!(out, "{name}: {line}")?;
    }
    Ok(is_whole)
}

fn say_log(survey: &Survey<TrialDisk>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "log:")?;
    for segment in &survey.segments {
        let SegmentSurvey { meta, tally, .. } = segment;
        let said = match tally.pieces {
            0 => "no records: allocated ahead".to_owned(),
            _ => of_tally(tally),
        };
        writeln!(
            out,
            "  {}: positions {} to {}, {said}",
            meta.name(),
            meta.start,
            meta.end
        )?;
    }
    let (first, last) = (survey.first(), survey.last());
    let terms: Vec<String> = survey
        .terms()
        .iter()
        .map(|at| format!("{} from entry {}", at.term, at.index))
        .collect();
    match first <= last {
        true => {
            let shown = terms.len().min(NAMES_SHOWN);
            let more = terms.len() - shown;
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let terms = terms[..shown].join(", ");
            writeln!(out, "  entries {first} to {last}; terms: {terms}{more}")?;
        }
        false => writeln!(out, "  no entries behind {last}")?,
    }
    let hard = &survey.hard_state;
    let vote = match hard.vote {
        0 => "no vote in it".to_owned(),
        id => format!("vote in it for {}", RaftId(id)),
    };
    writeln!(
        out,
        "  term {}, {vote}; committed up to entry {}",
        hard.term, hard.commit
    )?;
    writeln!(
        out,
        "  ends at position {}; known to be on disk up to position {}",
        survey.end, survey.durable
    )
}

/// What records say.
fn of_tally(tally: &Tally) -> String {
    let mut said = count(tally.records, "record", "records");
    match (tally.indexes, tally.terms) {
        (Some(indexes), Some(terms)) => {
            let number = count(tally.entries, "entry", "entries");
            said += &format!(" with {number} ({}), term {}", range(indexes), range(terms));
        }
        _ => said += " without an entry",
    }
    if tally.changes > 0 {
        said += &format!(
            ", {}",
            count(tally.changes, "change of members", "changes of members")
        );
    }
    said
}

/// What the committed entries make of members and record; and whether all bodies can be read.
struct Committed {
    members: Membership,
    state: StateMachine,
    /// Why a start would end.
    wrong: Option<String>,
}

/// What stops the way through the entries.
enum Stop {
    Disk(StorageError),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Stop {
        Stop::Disk(error)
    }
}

impl Committed {
    fn read(survey: &Survey<TrialDisk>) -> io::Result<Committed> {
        let (base, commit) = (&survey.base, survey.hard_state.commit);
        let id = base.identity.raft_id;
        let members = Membership::new(
            base.snapshot.conf_state.clone(),
            base.snapshot.members.clone(),
            id,
            base.snapshot.index,
        );
        // No effect of a key is carried out: the keyspace stays empty.
        let keyspace = Keyspace::new(Layout::Single { databases: 1 }, 0);
        let mut state = StateMachine::new(keyspace, PART_BYTES);
        state.begin_record(topology::Record::decode(&base.snapshot.record).unwrap_or_default());
        let mut committed = Committed {
            members,
            state,
            wrong: None,
        };
        let mut stager = Stager::default();
        let from = base.snapshot.index + 1;
        let read = survey.entries((from, u64::MAX), |entry| {
            if committed.wrong.is_none() {
                let checked = committed.entry(&entry, entry.index <= commit, id, &mut stager, base);
                let place = format!("entry {}", entry.index);
                committed.wrong = checked.err().map(|why| format!("{place}: {why}"));
            }
            Ok::<(), Stop>(())
        });
        match read {
            Ok(()) => committed.state.commit_record(),
            Err(Stop::Disk(StorageError::Io { source, .. })) => return Err(source),
            Err(Stop::Disk(error)) => committed.wrong = Some(error.to_string()),
        }
        Ok(committed)
    }

    fn entry(
        &mut self,
        entry: &Entry,
        is_committed: bool,
        me: RaftId,
        stager: &mut Stager,
        base: &Base,
    ) -> Result<(), String> {
        if entry.entry_type != EntryType::EntryNormal {
            if !is_committed {
                return Ok(());
            }
            return self.members.replay(entry, me).map_err(|e| e.to_string());
        }
        if base.identity.kind == MemberKind::Witness {
            return Ok(()); // W1
        }
        check_entry(&entry.data, u32::MAX).map_err(|e| e.to_string())?;
        if !is_committed {
            return Ok(());
        }
        let body = effect::parse_entry(&entry.data).map_err(|e| e.to_string())?;
        let units = match stager.take(entry.term, body) {
            Err(CodecError::PartOutOfOrder { .. }) => return Ok(()), // T8: void
            staged => staged.map_err(|e| e.to_string())?,
        };
        match units {
            Staged::Nothing => Ok(()),
            Staged::Units(mut units) => units.try_for_each(|unit| {
                let unit = unit.map_err(|e| e.to_string())?;
                apply_record(&mut self.state, unit).map_err(|e| e.to_string())
            }),
            Staged::Whole(body) => match check_unit(Unit::new(&body), u32::MAX) {
                Err(ApplyError::Codec(_)) => Ok(()), // T8: void
                Err(why) => Err(why.to_string()),
                Ok(()) => {
                    apply_record(&mut self.state, Unit::new(&body)).map_err(|e| e.to_string())
                }
            },
        }
    }

    fn is_alone(&self) -> bool {
        self.members.conf.voters.len() == 1 && self.members.conf.voters_outgoing.is_empty()
    }

    fn say(&self, survey: &Survey<TrialDisk>, out: &mut dyn Write) -> io::Result<()> {
        if self.wrong.is_some() || survey.hard_state.commit <= survey.base.snapshot.index {
            return Ok(());
        }
        writeln!(out, "as of the commit:")?;
        for line in begin::members(&self.members.conf, &self.members.list) {
            writeln!(out, "  member {line}")?;
        }
        for line in begin::of_record(self.state.committed_record()) {
            writeln!(out, "  record: {line}")?;
        }
        Ok(())
    }
}

fn say_effects(survey: &Survey<TrialDisk>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "entries:")?;
    let (mut speaker, commit) = (Speaker::default(), survey.hard_state.commit);
    let said = survey.entries((survey.first(), u64::MAX), |entry| {
        speaker
            .entry(&entry, entry.index <= commit, out)
            .map_err(Said::Out)
    });
    match said {
        Ok(()) => Ok(()),
        Err(Said::Out(error)) => Err(error),
        Err(Said::Disk(error)) => writeln!(out, "  {error}"),
    }
}

enum Said {
    Out(io::Error),
    Disk(StorageError),
}

impl From<StorageError> for Said {
    fn from(error: StorageError) -> Said {
        Said::Disk(error)
    }
}

fn say_behind(survey: &Survey<TrialDisk>, out: &mut dyn Write) -> io::Result<()> {
    for segment in &survey.segments {
        let Some((from, to)) = segment.behind else {
            continue;
        };
        let name = segment.meta.name();
        let stray = match segment.stray.pieces {
            0 => "nothing in it can be read".to_owned(),
            _ => format!("of it can be read: {}", of_tally(&segment.stray)),
        };
        writeln!(
            out,
            "behind the end: {name}, offsets {from} to {to}; {stray}"
        )?;
    }
    Ok(())
}

fn say_files(
    disk: &TrialDisk,
    survey: Option<&Survey<TrialDisk>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut names = disk.list()?;
    names.sort();
    let of_kind = |kind: FileKind| names.iter().filter(move |name| FileKind::of(name) == kind);
    let mut list = |what: &str, some: Vec<&String>| -> io::Result<()> {
        let shown: Vec<&str> = some.iter().take(NAMES_SHOWN).map(|n| n.as_str()).collect();
        if shown.is_empty() {
            return Ok(());
        }
        let more = some.len() - shown.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        writeln!(out, "{what}: {}{more}", shown.join(", "))
    };
    if let Some(survey) = survey {
        let to_go = survey.below.iter().chain(&survey.unnamed).collect();
        list("no longer named by base; a start removes", to_go)?;
    }
    let left = "left over by a crash; a start removes";
    list(left, of_kind(FileKind::Temporary).collect())?;
    list(
        "cut off by hand; nothing reads",
        of_kind(FileKind::Kept).collect(),
    )?;
    list(
        "kept for a full disk; nothing reads",
        of_kind(FileKind::Reserve).collect(),
    )?;
    let other = of_kind(FileKind::Other);
    list("no file of a member; nothing reads", other.collect())
}

fn say_sound(survey: &Survey<TrialDisk>, is_alone: bool, out: &mut dyn Write) -> io::Result<()> {
    let (commit, last) = (survey.hard_state.commit, survey.last());
    if commit < last {
        let which = entries((commit + 1, last));
        let what = match is_alone {
            true => "this member is the only voter and commits that when it starts",
            false => "whether it happened is decided by the group",
        };
        writeln!(out, "Not known to be committed: {which}; {what}.")?;
    }
    let Some(torn) = survey.segments.iter().find(|s| s.behind.is_some()) else {
        return writeln!(out, "Verdict: whole. A start takes it as it is.");
    };
    let stray = survey
        .segments
        .iter()
        .fold(Tally::default(), |mut sum, segment| {
            sum.add(&segment.stray);
            sum
        });
    writeln!(
        out,
        "Verdict: whole, with a torn end: a write that a crash has interrupted. A start cuts it off behind entry \
         {last}, in {} at offset {}; nothing that was known to be on disk goes with it{}. (Damage of the \
         very last record looks the same: nothing bears witness of it.)",
        torn.meta.name(),
        torn.behind.map_or(0, |(from, _)| from),
        match stray.indexes {
            Some(indexes) => format!(", but what can be read of {}", entries(indexes)),
            None => String::new(),
        }
    )
}

/// What else is known of a folder that is refused.
struct About<'a> {
    base: Option<&'a Base>,
    survey: Option<&'a Survey<TrialDisk>>,
    is_alone: bool,
}

fn say_refused(error: &StorageError, about: &About<'_>, out: &mut dyn Write) -> io::Result<Found> {
    if let StorageError::Io { .. } = error {
        writeln!(out, "Verdict: it can't be told: {error}.")?;
        return Ok(Found::refused(Verdict::Failed, false));
    }
    writeln!(out, "Verdict: a start refuses this folder: {error}.")?;
    if let Some(survey) = about.survey {
        say_loss(survey, out)?;
    }
    writeln!(out, "What helps: {}", help(error, about))?;
    Ok(Found {
        is_alone: about.is_alone,
        ..Found::refused(Verdict::Damaged, true)
    })
}

/// What is left, and what can be seen of the rest.
fn say_loss(survey: &Survey<TrialDisk>, out: &mut dyn Write) -> io::Result<()> {
    let mut stray = Tally::default();
    for segment in &survey.segments {
        stray.add(&segment.stray);
    }
    let commit = survey.hard_state.commit.max(stray.commit);
    writeln!(
        out,
        "  Readable up to entry {}, committed at least up to entry {commit}.",
        survey.last()
    )?;
    match stray.indexes {
        Some((low, high)) => writeln!(
            out,
            "  Behind the damage {} can be read, but not all between that and entry {}.",
            entries((low, high)),
            survey.last()
        ),
        None => writeln!(out, "  Behind the damage no entry can be read."),
    }
}

/// What an operator can do.
fn help(error: &StorageError, about: &About<'_>) -> String {
    let can_cut = !matches!(error, StorageError::StateLost(_));
    let without = about.base.map_or(KEEP.to_owned(), |base| {
        without_copy(base, about.is_alone, can_cut)
    });
    match error {
        StorageError::Version { .. } | StorageError::Unread { .. } => {
            "start the build that wrote it.".to_owned()
        }
        StorageError::NoBase(_) => {
            format!("if its log is here, a copy of the file base of this very member. {KEEP}")
        }
        StorageError::BadFile { file, .. } if FileKind::of(file) == FileKind::Base => {
            format!("a copy of the file base of this very member, as old as the log's newest trim. {KEEP}")
        }
        StorageError::StateLost(file) => format!("a copy of {file}. {without}"),
        StorageError::BadFile { file, .. } => {
            format!("a copy of {file}, or of the whole folder. {without}")
        }
        _ => format!("a copy of the whole folder. {without}"),
    }
}

/// What can be done if there is no copy.
fn without_copy(base: &Base, is_alone: bool, can_cut: bool) -> String {
    let id = base.identity.raft_id;
    if base.identity.kind == MemberKind::Witness {
        return format!(
            "Without one: rename the folder to lost-{id}; the shard's leader finds another witness. {KEEP}"
        );
    }
    let cut = match can_cut {
        true => "check-log --fix says what can be cut, and what is lost then",
        false => "the keys of that state are lost",
    };
    match is_alone {
        true => format!("Without one: {cut} (nobody else has what this member has). {KEEP}"),
        false => format!(
            "Without one, if other members of the shard live: they have the data. Rename the folder to \
             lost-{id}, remove the file identity beside it and start: the node joins its shard anew. If \
             there are none: {cut}. {KEEP}"
        ),
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
