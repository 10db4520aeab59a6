//! `check-log --fix`: what may be cut, asked for and done.
//!
//! Owns the question. What is cut, and what is lost with it, is found by [`storage::mend`] on a disk that only tries things; the
//! server's own recovery has to take the result there before anything is touched. Never cuts what may be committed
//! unless that was said beforehand.

use super::member::{trial, Found};
use super::progress::Progress;
use super::words::{bytes, count, range};
use super::Verdict;
use base::ids::RaftId;
use std::io::{self, BufRead, Write};
use std::path::Path;
use storage::mend::{CantMend, Plan, Step};
use storage::{Log, LogConfig, RealDisk};

/// What was agreed to on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fix {
    /// Nobody is asked.
    pub yes: bool,
    /// Entries that are committed may go.
    pub lose_committed: bool,
}

pub fn fix(
    folder: &Path,
    how: &Fix,
    found: &Found,
    progress: &Progress,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    if !found.refused {
        match found.verdict {
            Verdict::Whole => writeln!(out, "Nothing to fix: a start takes this log.")?,
            _ => writeln!(
                out,
                "Nothing can be cut: it is not the log that a start refuses."
            )?,
        }
        return Ok(found.verdict);
    }
    let Some(plan) = plan_of(folder, progress, out)? else {
        return Ok(Verdict::Damaged);
    };
    progress.clear();
    say(&plan, found.is_alone, out)?;
    if plan.loses_committed() && !how.lose_committed {
        writeln!(
            out,
            "Refused, and nothing was changed. Who accepts that says so: --fix --yes-lose-committed"
        )?;
        return Ok(Verdict::Damaged);
    }
    if !how.yes && !is_agreed(out)? {
        writeln!(out, "Nothing was changed.")?;
        return Ok(Verdict::Damaged);
    }
    for step in &plan.steps {
        let taken = step.take(&RealDisk::new(folder));
        taken.map_err(|error| io::Error::other(error.to_string()))?;
    }
    let what = match plan
        .steps
        .iter()
        .all(|s| matches!(s, Step::Lengthen { .. }))
    {
        true => "",
        false => " What was cut is kept in files *.cut beside the log; nothing reads them.",
    };
    writeln!(
        out,
        "Done. A start takes the log up to entry {}.{what}",
        plan.last
    )?;
    Ok(Verdict::Whole)
}

/// What can be done, if recovery takes what is left then; else it is said why nothing can.
fn plan_of(folder: &Path, progress: &Progress, out: &mut dyn Write) -> io::Result<Option<Plan>> {
    let disk = trial(folder, progress);
    let why = match Plan::make(&disk) {
        Ok(plan) => match Log::open(disk, LogConfig::default()) {
            Ok(_) => return Ok(Some(plan)),
            Err(error) => format!("a start would refuse the rest too: {error}"),
        },
        Err(CantMend::Sound) => "it is not the log that a start refuses".to_owned(),
        Err(CantMend::Other(error)) => format!("a start would not take the rest: {error}"),
    };
    writeln!(out, "Nothing can be cut: {why}.")?;
    Ok(None)
}

fn say(plan: &Plan, is_alone: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "What can be done so that a start takes the log:")?;
    for step in &plan.steps {
        match step {
            Step::Aside { file } => writeln!(out, "  rename {file} to {file}.cut")?,
            Step::Erase { file, from, to } => writeln!(
                out,
                "  cut {} of {file}, offsets {from} to {to}",
                bytes(to - from)
            )?,
            Step::Lengthen { file, from, to } => writeln!(
                out,
                "  lengthen {file} by {} of zeros, from offset {from} on",
                bytes(to - from)
            )?,
        }
    }
    writeln!(out, "What is left, and what is lost:")?;
    writeln!(out, "  entry {} is the last one that stays", plan.last)?;
    match plan.lost.indexes {
        Some((low, high)) => writeln!(
            out,
            "  {} can be read in what is cut, {}; with entries that can't be read, {} are lost",
            count(plan.lost.entries, "entry", "entries"),
            range((low, high)),
            range(((plan.last + 1).min(high), high)),
        )?,
        None if plan.durable => writeln!(
            out,
            "  entries behind it are lost; which can't be told, none of them can be read"
        )?,
        None => writeln!(out, "  no entry can be read in what is cut")?,
    }
    if plan.commit > plan.last {
        writeln!(
            out,
            "  COMMITTED entries are lost: entries up to {} are known to be committed",
            plan.commit
        )?;
    }
    if plan.durable {
        let what = match is_alone {
            true => "nobody else has what was known to be on disk here: writes whose OK was sent are lost",
            false => "what was known to be on disk here is lost: the other members count on its entries, \
                      acknowledgements and votes. Two leaders of one term can come of that: set the \
                      folder aside instead, if other members live",
        };
        writeln!(out, "  {what}")?;
    }
    if let Some((term, vote)) = plan.lost.vote {
        writeln!(
            out,
            "  a vote for {} in term {term} is in what is cut",
            RaftId(vote)
        )?;
    }
    if plan.unknown {
        writeln!(
            out,
            "  whether records stood in the missing end of a file can't be told"
        )?;
    }
    if !plan.loses_committed() {
        writeln!(
            out,
            "  nothing that was known to be on disk, and nothing that is known to be committed"
        )?;
    }
    Ok(())
}

fn is_agreed(out: &mut dyn Write) -> io::Result<bool> {
    write!(out, "Do that? (yes/no) ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
