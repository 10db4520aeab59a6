//! The configuration: every directive in one table, redis.conf and the command line, CONFIG.
//!
//! Owns the typed [`Config`], its parsing ([`Config::from_args`]), CONFIG GET and SET
//! ([`Config::get`], [`Config::set`]) and REWRITE ([`rewrite`]). Never applies anything: the caller that
//! calls `set` makes the changes happen and calls [`Config::restore`] if it could not.
//!
//! Invariant: every field holds a value that its directive's row accepts.

mod accepted;
pub mod check;
mod directive;
mod error;
mod limits;
mod load;
mod markdown;
pub mod rewrite;
mod save;
mod special;
mod table;
mod value;
pub mod words;

#[cfg(test)]
mod tests;

use base::events::Classes;
pub use directive::{Directive, Kind, Standing};
pub use error::{os_text, ConfigError, Place};
pub use limits::{OutputLimit, OutputLimits};
pub use load::{Loaded, Sources};
pub use markdown::markdown;
pub use save::{EndFlags, SaveRule};
pub use table::table;
pub use value::{memory, Value};

use base::glob;
use directive::{Given, Keep};
use std::borrow::Cow;
use std::path::PathBuf;

/// The version of Redis whose behaviour and texts this server has.
pub const REDIS_VERSION: &str = "7.4.1";

/// How far the bus port is from the client port unless `cluster-port` says otherwise.
pub const CLUSTER_PORT_INCREMENT: u16 = 10_000;

/// An enum of a directive's names, typed for its readers.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($variant),* }

        impl value::Field for $type {
            fn to_value(&self) -> Value {
                Value::Text(match self { $($type::$variant => $name),* }.to_owned())
            }
            fn from_value(value: Value) -> Self {
                match value.as_text() {
                    $($name => $type::$variant,)*
                    other => unreachable!("the table lets no {other:?} through"),
                }
            }
        }
    };
}

names! {
    /// When the log is synced (D4: only `Always` holds for a shard with a second member).
    AppendFsync { Always = "always", Everysec = "everysec", No = "no" }
}
names! {
    /// The least important level that is logged.
    LogLevel {
        Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning",
        Nothing = "nothing"
    }
}
names! {
    /// Which clients may do something dangerous.
    ProtectedAction { No = "no", Yes = "yes", Local = "local" }
}
names! {
    /// What clients are told to connect to.
    EndpointType { Ip = "ip", Hostname = "hostname", Unknown = "unknown-endpoint" }
}
names! {
    /// The service manager that started the process and wants to know when it is ready.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
}

impl ProtectedAction {
    /// Whether a client may, given that its connection is (or is not) from this host.
    pub fn allows(self, local: bool) -> bool {
        self == ProtectedAction::Yes || (self == ProtectedAction::Local && local)
    }
}

/// How large containers get before they take another form: the directives `hash-max-listpack-entries` and its like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Containers {
    pub hash_entries: usize,
    pub hash_value: usize,
    pub list_size: i32,
    pub set_ints: usize,
    pub set_entries: usize,
    pub set_value: usize,
    pub zset_entries: usize,
    pub zset_value: usize,
}

/// The configuration of a running server. Times are in the unit their directive has.
#[derive(Clone, Debug)]
pub struct Config {
    pub always_show_logo: bool,
    pub appenddirname: String,
    pub appendfsync: AppendFsync,
    pub auto_aof_rewrite_min_size: u64,
    pub auto_aof_rewrite_percentage: u32,
    pub bind: Vec<String>,
    pub client_output_buffer_limit: OutputLimits,
    pub client_query_buffer_limit: usize,
    pub cluster_allow_reads_when_down: bool,
    pub cluster_allow_replica_migration: bool,
    pub cluster_announce_bus_port: u16,
    pub cluster_announce_hostname: String,
    pub cluster_announce_human_nodename: String,
    pub cluster_announce_ip: String,
    pub cluster_announce_port: u16,
    pub cluster_config_file: String,
    pub cluster_enabled: bool,
    pub cluster_feature_bits: u32,
    /// Milliseconds.
    pub cluster_node_timeout: u64,
    /// Milliseconds.
    pub cluster_outcome_timeout: u64,
    /// 0: see [`Config::bus_port`].
    pub cluster_port: u16,
    /// Milliseconds: the T of the safety rules.
    pub cluster_raft_election_timeout: u64,
    pub cluster_migrate_ahead: bool,
    pub cluster_raft_witness: bool,
    pub cluster_preferred_endpoint_type: EndpointType,
    pub cluster_require_full_coverage: bool,
    /// How large containers get before they take another form.
    pub containers: Containers,
    pub daemonize: bool,
    pub databases: u32,
    /// Absolute.
    /// In `dir`.
    pub dbfilename: String,
    pub dir: PathBuf,
    pub enable_debug_command: ProtectedAction,
    pub enable_protected_configs: ProtectedAction,
    pub held_output_limit: usize,
    pub hll_sparse_max_bytes: usize,
    pub hz: u32,
    pub latency_tracking: bool,
    /// Numbers as CONFIG GET shows them: see [`Config::latency_percentiles`].
    latency_tracking_info_percentiles: Vec<String>,
    pub log_segment_size: u64,
    pub repl_snapshot_rate: u64,
    /// Relative to `dir`; empty: standard output.
    pub logfile: String,
    pub loglevel: LogLevel,
    pub masterauth: String,
    pub maxclients: u32,
    /// Relative to `dir`; empty: none.
    pub notify_keyspace_events: Classes,
    pub pidfile: String,
    pub port: u16,
    pub protected_mode: bool,
    pub proto_max_bulk_len: usize,
    pub rdbcompression: bool,
    pub requirepass: String,
    pub save: Vec<SaveRule>,
    pub shutdown_on_sigint: EndFlags,
    pub shutdown_on_sigterm: EndFlags,
    /// Seconds.
    pub shutdown_timeout: u64,
    pub supervised: Supervised,
    pub tcp_backlog: u32,
    /// Seconds; 0: off.
    pub tcp_keepalive: u32,
    /// Seconds; 0: never.
    pub timeout: u64,
    pub uncommitted_tail_limit: usize,
    /// Relative to `dir`; empty: none.
    pub unixsocket: String,
    /// Permissions of its file; 0: those that the umask leaves.
    pub unixsocketperm: u32,
    /// The file that was loaded, absolute; CONFIG REWRITE writes it.
    pub file: Option<PathBuf>,
    /// `appenddirname` was given rather than derived.
    appenddirname_given: bool,
    /// Values that nothing reads, by position in the table.
    aside: Vec<Value>,
}

/// A directive that CONFIG SET changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub name: &'static str,
    old: Value,
}

impl Default for Config {
    fn default() -> Self {
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let mut config = Config::blank();
        config.aside = table().iter().map(|row| row.default_value()).collect();
        for row in table() {
            config.put(row, row.default_value());
        }
        config.dir = cwd;
        config
    }
}

impl Config {
    /// Fields that hold nothing yet: `default` puts every directive's default into them.
    fn blank() -> Config {
        Config {
            always_show_logo: false,
            appenddirname: String::new(),
            appendfsync: AppendFsync::Always,
            auto_aof_rewrite_min_size: 0,
            auto_aof_rewrite_percentage: 0,
            bind: Vec::new(),
            client_output_buffer_limit: OutputLimits::NONE,
            client_query_buffer_limit: 0,
            cluster_allow_reads_when_down: false,
            cluster_allow_replica_migration: false,
            cluster_announce_bus_port: 0,
            cluster_announce_hostname: String::new(),
            cluster_announce_human_nodename: String::new(),
            cluster_announce_ip: String::new(),
            cluster_announce_port: 0,
            cluster_config_file: String::new(),
            cluster_enabled: false,
            cluster_feature_bits: 0,
            cluster_node_timeout: 0,
            cluster_outcome_timeout: 0,
            cluster_port: 0,
            cluster_raft_election_timeout: 0,
            cluster_migrate_ahead: false,
            cluster_raft_witness: false,
            cluster_preferred_endpoint_type: EndpointType::Ip,
            cluster_require_full_coverage: false,
            containers: Containers::default(),
            daemonize: false,
            databases: 0,
            dbfilename: String::new(),
            dir: PathBuf::new(),
            enable_debug_command: ProtectedAction::No,
            enable_protected_configs: ProtectedAction::No,
            held_output_limit: 0,
            hll_sparse_max_bytes: 0,
            hz: 0,
            latency_tracking: false,
            latency_tracking_info_percentiles: Vec::new(),
            log_segment_size: 0,
            repl_snapshot_rate: 0,
            logfile: String::new(),
            loglevel: LogLevel::Notice,
            masterauth: String::new(),
            maxclients: 0,
            notify_keyspace_events: Classes::NONE,
            pidfile: String::new(),
            port: 0,
            protected_mode: false,
            proto_max_bulk_len: 0,
            rdbcompression: false,
            requirepass: String::new(),
            save: Vec::new(),
            shutdown_on_sigint: EndFlags::default(),
            shutdown_on_sigterm: EndFlags::default(),
            shutdown_timeout: 0,
            supervised: Supervised::No,
            tcp_backlog: 0,
            tcp_keepalive: 0,
            timeout: 0,
            uncommitted_tail_limit: 0,
            unixsocket: String::new(),
            unixsocketperm: 0,
            file: None,
            appenddirname_given: false,
            aside: Vec::new(),
        }
    }

    /// Reads the command line (without the program's name), the file it names and stdin.
    pub fn from_args<I, S>(args: I) -> Result<(Config, Loaded), ConfigError>
    where
        I: IntoIterator<Item = S>,
        S: Into<Vec<u8>>,
    {
        let args: Vec<Vec<u8>> = args.into_iter().map(Into::into).collect();
        load::from_args(&args, &mut Sources::of_process())
    }

    /// The port of the cluster bus.
    pub fn bus_port(&self) -> u16 {
        match self.cluster_port {
            0 => self.port.saturating_add(CLUSTER_PORT_INCREMENT),
            given => given,
        }
    }

    /// What `latency-tracking-info-percentiles` names, each as a number and as its text.
    pub fn latency_percentiles(&self) -> Vec<(f64, String)> {
        let number = |text: &String| (text.parse().expect("its row takes numbers"), text.clone());
        let all = &self.latency_tracking_info_percentiles;
        all.iter().map(number).collect()
    }

    /// The folder of the log.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join(&self.appenddirname)
    }

    /// CONFIG GET: every directive whose name or alias matches one of the patterns, once.
    ///
    /// A name without wildcards is answered as the client spelled it, as Redis does.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Cow<'static, str>, String)> {
        let mut answered: Vec<(Cow<'static, str>, String)> = Vec::new();
        let has = |answered: &[(Cow<'static, str>, String)], name: &str| {
            answered.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        for pattern in patterns {
            if !pattern.iter().any(|b| b"*?[".contains(b)) {
                let Ok(name) = std::str::from_utf8(pattern) else {
                    continue;
                };
                if let Some(row) = table::find(name).filter(|_| !has(&answered, name)) {
                    let value = self.shown(table()[row]);
                    answered.push((Cow::Owned(name.to_owned()), value));
                }
                continue;
            }
            for row in table().iter().filter(|row| !row.hidden) {
                for name in std::iter::once(row.name).chain(row.alias) {
                    if glob::matches(pattern, name.as_bytes(), true) && !has(&answered, name) {
                        answered.push((Cow::Borrowed(name), self.shown(row)));
                    }
                }
            }
        }
        answered
    }

    /// One directive's value as CONFIG GET answers it.
    pub fn get_one(&self, name: &str) -> Option<String> {
        table::find(name).map(|row| self.shown(table()[row]))
    }

    /// CONFIG SET: all of the pairs or none. `local`: the client is on this host.
    ///
    /// The caller applies what changed, and gives it to `restore` if that fails.
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        local: bool,
    ) -> Result<Vec<Changed>, ConfigError> {
        let rows = self.settable(pairs, local)?;
        let mut values = Vec::with_capacity(rows.len());
        for (row, (_, given)) in rows.iter().zip(pairs) {
            let failed = |reason| ConfigError::SetFailed {
                name: row.name.to_owned(),
                reason,
            };
            let words = set_words(row, given).map_err(failed)?;
            let old = self.value(row);
            let given = Given {
                words: &words,
                old: &old,
                again: false,
            };
            let value = row.parse(&given).map_err(failed)?;
            if let Some(reason) = row
                .fixed
                .filter(|_| value != old && value != row.default_value())
            {
                return Err(failed(reason.to_owned()));
            }
            if row.name == "dir" && !self.is_dir(&value) {
                let reason = "the folder of the data can't change while the server runs";
                return Err(failed(reason.to_owned()));
            }
            values.push((old, value));
        }
        let mut changed = Vec::new();
        for (row, (old, value)) in rows.into_iter().zip(values) {
            if row.name == "dir" {
                continue;
            }
            self.put(row, value);
            if self.value(row) != old {
                changed.push(Changed {
                    name: row.name,
                    old,
                });
            }
        }
        self.hold_hz();
        Ok(changed)
    }

    /// Takes back what `set` changed.
    pub fn restore(&mut self, changed: Vec<Changed>) {
        for Changed { name, old } in changed {
            let row = table::find(name).expect("a changed directive is in the table");
            self.put(table()[row], old);
        }
    }

    /// Finds the rows of a CONFIG SET and checks that they may be set, in Redis's order of checks.
    fn settable(
        &self,
        pairs: &[(&[u8], &[u8])],
        local: bool,
    ) -> Result<Vec<&'static Directive>, ConfigError> {
        let mut rows: Vec<&'static Directive> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let name = String::from_utf8_lossy(name).into_owned();
            let Some(row) = table::find(&name).map(|i| table()[i]) else {
                return Err(ConfigError::UnknownOption(name));
            };
            let twice = rows.iter().any(|other| std::ptr::eq(*other, row));
            let reason = if row.immutable {
                "can't set immutable config"
            } else if row.protected && !self.enable_protected_configs.allows(local) {
                "can't set protected config"
            } else if twice {
                "duplicate parameter"
            } else {
                rows.push(row);
                continue;
            };
            return Err(ConfigError::SetFailed {
                name,
                reason: reason.to_owned(),
            });
        }
        Ok(rows)
    }

    fn is_dir(&self, value: &Value) -> bool {
        let same = |path| std::fs::canonicalize(path).ok();
        match same(self.dir.join(value.as_text())) {
            Some(path) => Some(path) == same(self.dir.clone()),
            None => false,
        }
    }

    fn value(&self, row: &Directive) -> Value {
        match &row.keep {
            Keep::Field { get, .. } => get(self),
            Keep::Aside => self.aside[position(row)].clone(),
        }
    }

    fn put(&mut self, row: &Directive, value: Value) {
        match &row.keep {
            Keep::Field { put, .. } => put(self, value),
            Keep::Aside => self.aside[position(row)] = value,
        }
    }

    fn shown(&self, row: &Directive) -> String {
        row.show(&self.value(row))
    }

    fn has_default(&self, row: &Directive) -> bool {
        self.value(row) == row.default_value()
    }

    /// Redis takes any `hz` and holds it to this range.
    fn hold_hz(&mut self) {
        self.hz = self.hz.clamp(1, 500);
    }
}

/// How the line begins that names what has no effect.
const IDLE: &str = "Accepted, but without effect here: ";

fn is_idle_line(line: &str) -> bool {
    line.starts_with(IDLE)
}

impl Config {
    /// What the operator should hear, of these directives that were given or changed: which have a
    /// value that changes nothing here, and what `appendfsync` gives up.
    pub fn warnings_of(&self, names: &[&str]) -> Vec<String> {
        let mut warnings = Vec::new();
        let accepted = |name: &&str| {
            let row = table::find(name).map(|at| table()[at]);
            row.is_some_and(|row| row.standing == Standing::Accepted && !self.has_default(row))
        };
        let mut idle: Vec<&str> = names.iter().copied().filter(accepted).collect();
        if !idle.is_empty() {
            idle.sort_unstable();
            warnings.push(format!("{IDLE}{}", idle.join(", ")));
        }
        let (policy, lost) = match self.appendfsync {
            AppendFsync::Always => return warnings,
            AppendFsync::Everysec => ("everysec", "the last second of writes, or more"),
            AppendFsync::No => ("no", "all writes that the system has kept in memory"),
        };
        if names.contains(&"appendfsync") {
            warnings.push(format!(
                "WARNING: appendfsync {policy}: while this shard has one member an OK is not yet on \
                 disk, and a crash of the machine loses {lost}. In a shard of two members or more it has \
                 no effect. Use 'appendfsync always', the default, for an OK that is a promise"
            ));
        }
        warnings
    }
}

fn position(row: &Directive) -> usize {
    table::find(row.name).expect("a row is found by its own name")
}

/// CONFIG SET gives one argument; directives of many words split it at blanks.
fn set_words(row: &Directive, given: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(given).map_err(|_| "argument must be valid UTF-8".to_owned())?;
    if row.many {
        return Ok(text.split_ascii_whitespace().map(str::to_owned).collect());
    }
    Ok(vec![text.to_owned()])
}
