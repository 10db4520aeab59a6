//! `holdfast`: the operator's tool.
//!
//! Owns its command line, in [`check`] what files hold, in words, and in [`restore`] the way from a backup to a cluster; what the other
//! commands do is in the library.

mod check;
mod restore;

use check::fix::Fix;
use check::folder::Options;
use check::progress::Progress;
use check::Verdict;
use clap::{Parser, Subcommand};
use config::check::{Line, Report};
use config::Config;
use serde_json::{json, Value};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "The operator's tool for Holdfast")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The directives of the configuration
    Config {
        /// Print the table of directives as Markdown (this is docs/CONFIG.md)
        #[arg(long, conflicts_with = "check")]
        markdown: bool,
        /// Read a file and options as holdfast-server would: say what is wrong, or what has no effect
        #[arg(long, num_args = 1.., value_name = "FILE|--OPTION", allow_hyphen_values = true)]
        check: Option<Vec<OsString>>,
        /// Answer a check in JSON, for programs
        #[arg(long, requires = "check")]
        json: bool,
    },
    /// The commands that work, and those of Redis 7.4 that come later
    Commands {
        /// Print the table of commands as Markdown (this is docs/COMMANDS.md)
        #[arg(long, required = true)]
        markdown: bool,
    },
    /// A member's log in words: what is in it, whether a start takes it, what is lost
    ///
    /// Exit status: 0 a start takes it, 1 damaged, 2 it can't be told.
    CheckLog {
        /// A member's folder, the folder of a node's logs (appenddirname), or a server's dir
        path: PathBuf,
        /// Say of every entry what it does
        #[arg(long)]
        effects: bool,
        /// Cut what a start refuses, after saying what is lost and asking
        #[arg(long, conflicts_with = "effects")]
        fix: bool,
        /// Do not ask
        #[arg(long, requires = "fix")]
        yes: bool,
        /// Let --fix cut what is committed, or what others may count on
        #[arg(long, requires = "fix")]
        yes_lose_committed: bool,
    },
    /// An RDB file in words: a member's snapshot, a backup, a Redis's dump.rdb
    ///
    /// Exit status: 0 whole, 1 damaged or with what this build can't load, 2 it can't be told.
    CheckSnapshot {
        /// The file
        path: PathBuf,
    },
    /// A cluster from a folder of redis-cli --cluster backup
    ///
    /// Checks the folder, says which file goes into which node's dir before its first start, and makes a cluster of the nodes when
    /// they run. Goes on where it was broken off. The password is that of redis-cli: the variable REDISCLI_AUTH.
    /// Exit status: 0 done, 1 refused, 2 a file can't be read or a node not be reached.
    Restore {
        /// The folder
        folder: PathBuf,
        /// The new nodes: as many masters as the backup has first, then replicas
        #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,...")]
        nodes: Vec<String>,
        /// Print the masters' files alone, in the order of the nodes that begin with them
        #[arg(long, conflicts_with = "nodes")]
        files: bool,
    },
}

fn main() -> ExitCode {
    let (markdown, check, json) = match Cli::parse().command {
        Command::Config {
            markdown,
            check,
            json,
        } => (markdown, check, json),
        Command::Commands { markdown: _ } => {
            print!("{}", command::markdown());
            return ExitCode::SUCCESS;
        }
        Command::CheckLog {
            path,
            effects,
            fix,
            yes,
            yes_lose_committed: lose_committed,
        } => {
            let fix = fix.then_some(Fix {
                yes,
                lose_committed,
            });
            let options = Options { effects, fix };
            return say(&path, |out| check::folder::check(&path, &options, out));
        }
        Command::Restore {
            folder,
            nodes,
            files,
        } => return restore::restore(&folder, &nodes, files),
        Command::CheckSnapshot { path } => {
            return say(&path, |out| {
                let progress = Progress::new();
                let checked = check::snapshot::check(&path, &|read| progress.add(read));
                progress.clear();
                let (text, verdict) = checked?;
                out.write_all(text.as_bytes())?;
                Ok(verdict)
            })
        }
    };
    if markdown {
        print!("{}", config::markdown());
        return ExitCode::SUCCESS;
    }
    let args = check.unwrap_or_default();
    match Config::from_args(args.into_iter().map(OsString::into_vec)) {
        Ok((config, loaded)) => {
            let report = config::check::report(&config, &loaded);
            match json {
                true => println!("{}", in_json(&report)),
                false => print!("{}", report.text()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            if json {
                println!("{}", json!({ "taken": false, "error": error.to_string() }));
            } else {
                eprint!("{}", config::check::refusal(&error));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a check that writes to stdout; an error is one of reading or writing.
fn say(
    path: &std::path::Path,
    check: impl FnOnce(&mut dyn Write) -> io::Result<Verdict>,
) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let checked = check(&mut out).and_then(|verdict| out.flush().map(|()| verdict));
    match checked {
        Ok(verdict) => verdict.into(),
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Verdict::Failed.into(),
        Err(error) => {
            let _ = out.flush();
            eprintln!("{}: {error}", path.display());
            Verdict::Failed.into()
        }
    }
}

fn in_json(report: &Report) -> Value {
    let lines = |of: &[Line]| -> Value {
        let line = |l: &Line| json!({ "name": l.name, "value": l.value, "doc": l.doc });
        of.iter().map(line).collect()
    };
    json!({
        "taken": true,
        "given": lines(&report.given),
        "without_effect": lines(&report.without_effect),
        "at_default": report.at_default,
        "warnings": report.warnings,
    })
}
