//! Where members lie: `holdfast check-log` with its folder.
//!
//! Owns the way from what was named (a member's folder, a file in it, the folder of a node's logs, a server's `dir`) to
//! members, and the locks on that way. What a node's start does with the folders is said by the function that decides it.

use super::fix::{self, Fix};
use super::lock::{lock, Lock};
use super::member::{self, trial, Wanted};
use super::progress::Progress;
use super::Verdict;
use cluster::folders::{decide, Begin, Found};
use cluster::identity::{folder, lost, NodeIdentity};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use storage::survey::FileKind;
use storage::Disk;

/// What a member's folder is called in a cluster.
const OF_MEMBERS: [&str; 3] = ["shard-", "witness-", "lost-"];
const IDENTITY: &str = "identity";

/// What was asked for on the command line.
pub struct Options {
    pub effects: bool,
    pub fix: Option<Fix>,
}

/// Says what is there; the worst that was found.
pub fn check(named: &Path, options: &Options, out: &mut dyn Write) -> io::Result<Verdict> {
    let named = match fs::metadata(named)?.is_dir() {
        true => fs::canonicalize(named)?,
        false => parent_of(&fs::canonicalize(named)?),
    };
    let members = members_in(&named)?;
    if members.is_empty() {
        writeln!(out, "{}: there is no log of a member here", named.display())?;
        return Ok(Verdict::Failed);
    }
    if options.fix.is_some() && members.len() > 1 {
        writeln!(
            out,
            "There are several members here. --fix takes the folder of one:"
        )?;
        for member in &members {
            writeln!(out, "  {}", member.display())?;
        }
        return Ok(Verdict::Failed);
    }
    let Some(_locks) = lock_all(&members, options.fix.is_some(), out)? else {
        return Ok(Verdict::Failed);
    };
    let mut verdict = Verdict::Whole;
    let mut nodes: Vec<PathBuf> = members.iter().filter_map(|m| node_of(m)).collect();
    nodes.dedup();
    // A member by itself is looked at without its node.
    for node in nodes
        .iter()
        .filter(|node| **node == named || node.parent() == Some(&named))
    {
        verdict = verdict.max(check_node(node, out)?);
    }
    for folder in &members {
        let progress = Progress::new();
        let wanted = Wanted {
            folder,
            effects: options.effects,
            progress: &progress,
        };
        let found = member::check(&wanted, out)?;
        progress.clear();
        let found = match &options.fix {
            Some(how) => fix::fix(folder, how, &found, &progress, out)?,
            None => found.verdict,
        };
        verdict = verdict.max(found);
    }
    Ok(verdict)
}

/// The locks of all folders that a server would hold; none if one holds them.
fn lock_all(
    members: &[PathBuf],
    alone: bool,
    out: &mut dyn Write,
) -> io::Result<Option<Vec<Lock>>> {
    let mut to_lock: Vec<PathBuf> = members
        .iter()
        .map(|member| node_of(member).unwrap_or_else(|| member.clone()))
        .collect();
    to_lock.dedup();
    let mut locks = Vec::new();
    for folder in to_lock {
        match lock(&folder, alone)? {
            Some(lock) => locks.push(lock),
            None => {
                writeln!(
                    out,
                    "{} is in use by a server (or by another check): it changes meanwhile. End the \
                     server first, or look at a copy that was taken while it was ended",
                    folder.display()
                )?;
                return Ok(None);
            }
        }
    }
    Ok(Some(locks))
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// The folder of the node's logs, if the member is one of a cluster's node.
pub fn node_of(member: &Path) -> Option<PathBuf> {
    let name = member.file_name()?.to_str()?;
    let is_member = OF_MEMBERS.iter().any(|prefix| name.starts_with(prefix));
    is_member.then(|| parent_of(member))
}

/// The members at the named place, or one or two folders below.
fn members_in(named: &Path) -> io::Result<Vec<PathBuf>> {
    if is_member(named)? {
        return Ok(vec![named.to_owned()]);
    }
    let mut found = Vec::new();
    for below in folders_in(named)? {
        if is_member(&below)? {
            found.push(below);
            continue;
        }
        for deeper in folders_in(&below)? {
            if is_member(&deeper)? {
                found.push(deeper);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the folder has, or has had, a member: its name says so, or it has a base or a segment.
fn is_member(folder: &Path) -> io::Result<bool> {
    if node_of(folder).is_some() {
        return Ok(true);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_name().to_str().map(FileKind::of);
        if matches!(kind, Some(FileKind::Base | FileKind::Segment)) && entry.file_type()?.is_file()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The folder of a cluster's node: its identity, and what a start does with the folders beside it.
fn check_node(node: &Path, out: &mut dyn Write) -> io::Result<Verdict> {
    let progress = Progress::new();
    let disk = trial(node, &progress);
    writeln!(out, "{}: the logs of a cluster's node", node.display())?;
    let identity = match NodeIdentity::load(&disk) {
        Ok(identity) => identity,
        Err(error) => {
            writeln!(out, "{IDENTITY}: a start refuses it: {error}.")?;
            writeln!(
                out,
                "What helps: a copy of the file of this very node. Without one, if other members of the \
                 shard live: rename each folder shard-ID to lost-ID, remove the file {IDENTITY}, and \
                 start: the node joins the shard that nodes.conf names."
            )?;
            return Ok(Verdict::Damaged);
        }
    };
    say_identity(identity.as_ref(), out)?;
    let found = Found::look(&disk, |name| Ok(trial(&node.join(name), &progress)));
    let found = found.map_err(|error| io::Error::other(error.to_string()))?;
    let plan = match decide(&found, identity.as_ref()) {
        Ok(plan) => plan,
        Err(refused) => {
            writeln!(out, "  A start refuses these folders: {refused}.")?;
            return Ok(Verdict::Damaged);
        }
    };
    if plan.begin == Begin::Found {
        writeln!(out, "  A start makes a new member.")?;
    }
    for id in plan.remove {
        writeln!(out, "  A start removes {}.", folder(id))?;
    }
    for id in plan.set_aside {
        writeln!(
            out,
            "  A start renames {} to {}: nothing names it.",
            folder(id),
            lost(id)
        )?;
    }
    let known = |name: &String| {
        let is_member = OF_MEMBERS.iter().any(|prefix| name.starts_with(prefix));
        is_member || name == IDENTITY || FileKind::of(name) == FileKind::Temporary
    };
    let mut other: Vec<String> = disk
        .list()?
        .into_iter()
        .filter(|name| !known(name))
        .collect();
    other.sort();
    if !other.is_empty() {
        writeln!(out, "  nothing reads: {}", other.join(", "))?;
    }
    Ok(Verdict::Whole)
}

/// What the file says that names the node's member.
fn say_identity(identity: Option<&NodeIdentity>, out: &mut dyn Write) -> io::Result<()> {
    match identity {
        None => writeln!(out, "{IDENTITY}: missing")?,
        Some(identity) => {
            let member = match identity.member.0 {
                0 => "no member yet".to_owned(),
                _ => format!("the member in {}", folder(identity.member)),
            };
            writeln!(out, "{IDENTITY}: {member}")?;
            if let Some(joining) = &identity.joining {
                writeln!(
                    out,
                    "  on its way into the shard of node {}, as {}",
                    joining.target, joining.raft_id
                )?;
            }
            if let Some(spare) = identity.spare {
                writeln!(out, "  {} may be removed", folder(spare))?;
            }
        }
    }
    Ok(())
}
