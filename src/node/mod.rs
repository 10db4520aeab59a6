//! The node: the loop that drives a server, and what the server runs on.
//!
//! Owns sockets, the clock, files and threads. Decides nothing: the order of a turn and all that
//! happens in it is [`crate::server`]'s; here is waiting, and the carrying of bytes.
//!
//! Reading order: this file (the loop), `start` (locks, sockets, threads), `platform` and `cluster`
//! (what the server runs on), `conf` (nodes.conf), `witness` (the thread of hosted witnesses),
//! `clock`, `system` (readings for INFO).

mod clock;
mod cluster;
mod conf;
mod platform;
mod start;
mod system;
mod witness;

pub use clock::SystemClock;

use crate::log::{Log, Role};
use crate::process::{Launch, Lock, Supervisor};
use crate::sockets::{Poll, PollEvent};
use platform::RealPlatform;
use server::{Pause, Progress, Server, ServerError};
use std::process::ExitCode;

struct Node {
    poll: Poll,
    server: Server<RealPlatform>,
    log: Log,
    /// Is to be told when the server begins to end.
    supervisor: Option<Supervisor>,
    /// The log and the supervisor know that the keyspace is loaded.
    announced: bool,
    /// Held as long as the folder and nodes.conf are in use.
    _locks: (Lock, Option<Lock>),
}

/// Runs until the process is asked to end.
pub fn run(launch: Launch) -> ExitCode {
    let logger = launch.logger.clone();
    let mut node = match start::start(launch) {
        Ok(node) => node,
        Err(error) => {
            slog::crit!(logger, "{}", error);
            return ExitCode::FAILURE;
        }
    };
    let ended = node.run();
    node.server.platform_mut().remove_unix_file();
    // A client that sees its connection end may start the next server in this folder at once: the threads
    // and the locks go before that.
    let clients = node.server.take_clients();
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            slog::crit!(logger, "Fatal: {}", error);
            node.server.give_up_identity(&error);
            ExitCode::FAILURE
        }
    };
    drop(node);
    drop(clients);
    code
}

impl Node {
    /// Once: a service manager that knows of the end neither restarts the process nor thinks it hangs.
    fn tell_supervisor(&mut self) {
        let Some(supervisor) = self.supervisor.take() else {
            return;
        };
        if let Err(error) = supervisor.stopping() {
            slog::warn!(
                self.server.logger(),
                "Can't tell the supervisor that the server ends: {}",
                error
            );
        }
    }

    /// Lines in the log say whether this node is a master or a replica, as Redis's do.
    fn log_role(&self) {
        let group = self.server.shard().group();
        if group.is_leader() {
            self.log.set_role(Role::Master);
        } else if group.leader().is_some() {
            self.log.set_role(Role::Replica);
        }
    }

    /// Once, when the keyspace has been loaded.
    fn announce(&mut self) {
        if self.announced || self.server.shard().is_starting() {
            return;
        }
        self.announced = true;
        if let Some(supervisor) = &self.supervisor {
            start::announce(self.server.platform(), supervisor, self.server.logger());
        }
    }

    /// Turns until the process is to end.
    fn run(&mut self) -> Result<(), ServerError> {
        let mut pause = Pause::default();
        loop {
            self.poll.wait(Some(pause.patience), pause.eager)?;
            for event in self.poll.events() {
                match event {
                    // Results, events and signals are looked for in every turn.
                    PollEvent::Wake => {}
                    PollEvent::Listener(n) => self.server.platform_mut().note_listener(n),
                    PollEvent::Conn(key, readiness) => self.server.note(key, readiness),
                }
            }
            pause = loop {
                match self.server.step()? {
                    Progress::More(_) => {}
                    Progress::Done(pause) => break pause,
                    Progress::Ended => {
                        self.tell_supervisor();
                        return Ok(());
                    }
                }
            };
            self.log_role();
            self.announce();
            if self.server.is_ending() {
                self.tell_supervisor();
            }
        }
    }
}
