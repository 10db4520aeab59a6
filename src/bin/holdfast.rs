//! `holdfast`: the operator's tool.
//!
//! Owns its command line only; what the commands do is in the library.

use clap::{Parser, Subcommand};
use holdfast::command;
use holdfast::config::{self, Config};
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
    },
    /// The commands that work, and those of Redis 7.4 that come later
    Commands {
        /// Print the table of commands as Markdown (this is docs/COMMANDS.md)
        #[arg(long, required = true)]
        markdown: bool,
    },
}

fn main() -> ExitCode {
    let (markdown, check) = match Cli::parse().command {
        Command::Config { markdown, check } => (markdown, check),
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
            print!("{}", config::check::report(&config, &loaded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{}", config::check::refusal(&error));
            ExitCode::FAILURE
        }
    }
}
