//! `holdfast-server`: command line to configuration, log, process shell, then the node.
//!
//! Owns the order of the start and of the end. Reading order from here: [`node`] drives a server with
//! [`sockets`], threads and files; [`log`] and [`process`] serve everybody. All that decides is in the
//! crates, and a request travels through them in this order: [`net`] bytes in and gated bytes out, [`resp`]
//! the protocol, [`server`] the turn around it all, [`command`] the table and the families, [`state`] the
//! replicated state machine: [`keyspace`] the data, [`effect`] what a write becomes; [`shard`] one turn
//! of a group, [`raft_group`] the group, [`storage`] its log; [`topology`] the shard among others, [`cluster`]
//! this node's part among them, [`transport`] the connections to other nodes. docs/ARCHITECTURE.md has
//! the picture; what a crate may know stands in its Cargo.toml.

mod log;
mod node;
mod process;
mod sockets;
mod version;

use crate::log::{Log, Output};
use crate::process::{Launch, PidFile, Shutdown, Supervisor};
use crate::sockets::{raise_open_files, OpenFiles};
use config::{os_text, Config, ConfigError, Loaded};
use slog::{info, warn, Logger};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|first| first.to_str()) {
        Some("-v" | "--version") => {
            println!("{}", process::version());
            return ExitCode::SUCCESS;
        }
        Some("-h" | "--help") => {
            print!("{}", process::usage());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let given = args.iter().skip(1).map(|arg| arg.clone().into_vec());
    let started = Config::from_args(given).and_then(|(config, loaded)| {
        let output = prepare(&config)?;
        Ok((config, loaded, output))
    });
    match started {
        Ok((config, loaded, output)) => serve(config, &loaded, output),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What has to work before the process may go to the background, where nobody reads its stderr.
fn prepare(config: &Config) -> Result<Output, ConfigError> {
    let fatal = |what: &str, error: std::io::Error| ConfigError::Fatal {
        at: None,
        reason: format!("{what}: {}", os_text(&error)),
    };
    process::harden_umask();
    std::env::set_current_dir(&config.dir).map_err(|e| fatal("Can't chdir to 'dir'", e))?;
    match config.logfile.as_str() {
        "" => Ok(Output::stdout()),
        path => Output::file(Path::new(path)).map_err(|e| fatal("Can't open the log file", e)),
    }
}

/// The life of the process after its configuration is known.
fn serve(config: Config, loaded: &Loaded, output: Output) -> ExitCode {
    let supervisor = Supervisor::detect(config.supervised);
    let terminal = std::io::stdout().is_terminal();
    if let Err(error) = settle_in(&config, &supervisor) {
        eprintln!("Can't daemonize: {error}");
        return ExitCode::FAILURE;
    }
    let (logger, log) = Log::start(output, config.loglevel);
    process::die_on_panic(log.clone());
    greet(&logger, &config, loaded, terminal);
    let code = run(config, &logger, &log, supervisor);
    log.finish();
    code
}

/// Goes to the background if it should, and drops what a server does not need. No thread may
/// exist before this.
fn settle_in(config: &Config, supervisor: &Supervisor) -> std::io::Result<()> {
    if config.daemonize && !supervisor.is_present() {
        process::daemonize()?;
        // A fork leaves jemalloc's own thread behind; without it freed memory is returned later,
        // which is no reason to fail.
        let _ = tikv_jemalloc_ctl::background_thread::write(true);
    }
    process::ignore_hangup_and_failed_writes();
    process::detach_stdin()
}

fn greet(logger: &Logger, config: &Config, loaded: &Loaded, terminal: bool) {
    for line in process::banner(config, terminal) {
        info!(logger, "{}", line);
    }
    if loaded.all_defaults {
        warn!(
            logger,
            "Warning: no config file specified, using the default config. In order to specify a \
             config file use holdfast-server /path/to/redis.conf"
        );
    } else {
        info!(logger, "Configuration loaded");
    }
    for warning in &loaded.warnings {
        warn!(logger, "{}", warning);
    }
}

/// Locks the data, announces the process, runs the node.
fn run(mut config: Config, logger: &Logger, log: &Log, supervisor: Supervisor) -> ExitCode {
    let failed = |what: String| {
        warn!(logger, "{}", what);
        ExitCode::FAILURE
    };
    let lock = match process::lock_dir(&config.log_dir()) {
        Ok(lock) => lock,
        Err(error) => return failed(error.to_string()),
    };
    if let Err(too_few) = limit_clients(&mut config, logger) {
        return failed(too_few);
    }
    let pidfile = match config.pidfile.as_str() {
        "" => None,
        path => PidFile::create(Path::new(path))
            .map_err(|e| warn!(logger, "Failed to write PID file: {}", e))
            .ok(),
    };
    let shutdown = match Shutdown::watch(logger.clone(), log.clone()) {
        Ok(shutdown) => shutdown,
        Err(error) => return failed(format!("Can't watch for signals: {error}")),
    };
    let launch = Launch {
        config,
        logger: logger.clone(),
        log: log.clone(),
        shutdown,
        supervisor,
        lock,
    };
    let code = node::run(launch);
    drop(pidfile);
    info!(logger, "Redis is now ready to exit, bye bye...");
    code
}

/// As many clients as the operating system lets us have, in Redis's words; an error if that is not one.
fn limit_clients(config: &mut Config, logger: &Logger) -> Result<(), String> {
    let asked = config.maxclients;
    let files = raise_open_files(asked.into(), process::reserved_files(config).into());
    let possible = match files {
        OpenFiles::Enough => return Ok(()),
        OpenFiles::Raised { from, to } => {
            info!(
                logger,
                "Increased maximum number of open files to {} (it was originally set to {}).",
                to,
                from
            );
            return Ok(());
        }
        OpenFiles::TooFew { limit, wanted } => {
            return Err(format!(
                "Your current 'ulimit -n' of {limit} is not enough for the server to start. Please \
                 increase your open file limit to at least {wanted}. Exiting."
            ))
        }
        OpenFiles::Unknown { maxclients, error } => {
            warn!(
                logger,
                "Unable to obtain the current NOFILE limit ({}), assuming 1024 and setting the max \
                 clients configuration accordingly.",
                os_text(&error)
            );
            maxclients
        }
        OpenFiles::Lowered {
            limit,
            wanted,
            maxclients,
            error,
        } => {
            for line in [
                format!(
                    "You requested maxclients of {asked} requiring at least {wanted} max file \
                     descriptors."
                ),
                format!(
                    "Server can't set maximum open files to {wanted} because of OS error: {}.",
                    os_text(&error)
                ),
                format!(
                    "Current maximum open files is {limit}. maxclients has been reduced to \
                     {maxclients} to compensate for low ulimit. If you need higher maxclients \
                     increase 'ulimit -n'."
                ),
            ] {
                warn!(logger, "{}", line);
            }
            maxclients
        }
    };
    config.maxclients = u32::try_from(possible).unwrap_or(asked).min(asked);
    Ok(())
}
