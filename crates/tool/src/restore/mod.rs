//! `holdfast restore`: from a folder of `redis-cli --cluster backup` to a cluster.
//!
//! Owns the order: the backup is looked through, then the nodes are looked at and told what is missing, again and
//! again, until nothing is. So it may be broken off anywhere, and run again. Never: starts a process or writes a file;
//! a file gets into a node by that node's own start (P22). A node that has anything of its own is left alone.
//!
//! Reading order: [`backup`] what is in the folder, [`form`] what is to be done next, [`node`] a node by its client port.

mod backup;
mod form;
mod node;

use backup::Backup;
use form::{Next, Place, Step};
use node::Node;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks at the nodes.
const PAUSE: Duration = Duration::from_millis(200);
/// Between a command and the same one, where nothing has come of it yet.
const AGAIN: Duration = Duration::from_secs(1);
/// So long nothing may change. Loading keys counts as change.
const PATIENCE: Duration = Duration::from_secs(60);

/// The backup is not sound, or a node has something of its own.
const REFUSED: u8 = 1;
/// A folder can't be read, or a node not be reached.
const FAILED: u8 = 2;

/// Checks the folder; with nodes, makes a cluster of them.
pub fn restore(folder: &Path, nodes: &[String], files: bool) -> ExitCode {
    match run(folder, nodes, files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(REFUSED)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(FAILED)
        }
    }
}

pub(super) enum Failure {
    Refused(String),
    Failed(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Failed(error.to_string())
    }
}

fn run(folder: &Path, nodes: &[String], files: bool) -> Result<(), Failure> {
    let backup = Backup::read(folder)?;
    if files {
        for master in &backup.masters {
            println!("{}", master.path.display());
        }
        return Ok(());
    }
    for line in backup.lines() {
        println!("{line}");
    }
    if nodes.is_empty() {
        println!("The backup is sound. --nodes HOST:PORT,... makes a cluster of it");
        return Ok(());
    }
    let places = form::places(&backup, nodes).map_err(Failure::Refused)?;
    for line in form::plan(&backup, &places) {
        println!("{line}");
    }
    let mut nodes = places
        .iter()
        .map(|place| Node::connect(&place.address))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| {
            Failure::Failed(format!(
                "{why}\nStart the nodes as said above, each in an empty folder, and give the same command again"
            ))
        })?;
    form_cluster(&backup, &places, &mut nodes)
}

/// Looks and does what is missing, until nothing is.
fn form_cluster(backup: &Backup, places: &[Place], nodes: &mut [Node]) -> Result<(), Failure> {
    let mut last = None;
    let (mut since, mut told) = (Instant::now(), Instant::now());
    loop {
        let facts = nodes.iter_mut().map(Node::look);
        let facts = facts.collect::<Result<Vec<_>, _>>();
        let next = form::next(backup, places, &facts.map_err(Failure::Failed)?);
        let is_new = last.as_ref() != Some(&next);
        if is_new || matches!(next, Next::Loads(_)) {
            since = Instant::now();
        }
        match &next {
            Next::Done(text) => {
                println!("{text}");
                if last.is_none() {
                    // Else the user of an emptied cluster would believe that its keys are back.
                    println!("Nothing was left to do, and no key was looked at: it was restored before, or is the cluster that the backup was made of");
                }
                return Ok(());
            }
            Next::Refused(why) => return Err(Failure::Refused(why.clone())),
            Next::Loads(text) | Next::Wait(text) if is_new => println!("{text}"),
            Next::Do(steps) if is_new || told.elapsed() >= AGAIN => {
                told = Instant::now();
                for step in steps {
                    carry_out(step, &places[step.node], &mut nodes[step.node], is_new)?;
                }
            }
            _ => {}
        }
        last = Some(next);
        if since.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!(
                "nothing has changed for {} seconds; the same command goes on from here",
                PATIENCE.as_secs()
            )));
        }
        sleep(PAUSE);
    }
}

/// The next look shows what is still missing; an error that stays ends in patience.
fn carry_out(step: &Step, place: &Place, node: &mut Node, is_new: bool) -> Result<(), Failure> {
    let answer = node.call(&step.command).map_err(Failure::Failed)?;
    if is_new {
        println!("{}", step.text);
        if let Err(why) = answer {
            println!("{}: {why}; it is tried again", place.address);
        }
    }
    Ok(())
}
