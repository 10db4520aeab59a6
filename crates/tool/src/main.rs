//! `holdfast`: the operator's tool.
//!
//! Owns its command line only; what the commands do is in the library.

use clap::{Parser, Subcommand};
use config::check::{Line, Report};
use config::Config;
use serde_json::{json, Value};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
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
