//! What the server says about itself: version line, usage, the banner at the head of the log.

use crate::version::BUILD as OF;
use config::{Config, REDIS_VERSION};

/// The answer to `--version`. Clients' test suites read ` v=7.` from it.
pub fn version() -> String {
    format!(
        "Redis server v={REDIS_VERSION} sha={}:{} malloc=jemalloc-5.3.0 bits={} build={} \
         holdfast={}",
        OF.git_sha1,
        OF.git_dirty,
        usize::BITS,
        OF.id,
        OF.version
    )
}

/// The answer to `--help`.
pub fn usage() -> &'static str {
    "Usage: holdfast-server [/path/to/redis.conf] [options] [-]
       holdfast-server - (read the configuration from standard input)
       holdfast-server -v or --version
       holdfast-server -h or --help

An option is any directive of the configuration file with two dashes before it;
options override the file. docs/CONFIG.md lists the directives.

Examples:
       holdfast-server (with the default configuration)
       holdfast-server /etc/redis/6379.conf
       holdfast-server --port 7777
       holdfast-server --port 7000 --cluster-enabled yes --dir ./node-7000
       holdfast-server /etc/redis.conf --loglevel verbose -
"
}

/// The lines at the head of the log. Redis's test suite looks for ` PID: <pid>` in them, which is
/// in the logo: shown on a terminal or when `always-show-logo` says so, as in Redis.
pub fn banner(config: &Config, terminal: bool) -> Vec<String> {
    let pid = std::process::id();
    let mode = if config.cluster_enabled {
        "cluster"
    } else {
        "standalone"
    };
    let mut lines = vec![
        "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo".to_owned(),
        format!(
            "Redis version={REDIS_VERSION}, bits={}, commit={}, modified={}, pid={pid}, \
             just started",
            usize::BITS,
            OF.git_sha1,
            OF.git_dirty
        ),
        format!("Holdfast version={}", OF.version),
    ];
    if config.always_show_logo || (terminal && config.logfile.is_empty()) {
        lines.push(format!(
            "
       _
      (_)        Holdfast {} (Redis {REDIS_VERSION}) {} bit
   .___|___.
       |         Running in {mode} mode
  |    |    |    Port: {}
  |\\   |   /|    PID: {pid}
   \\'._|_.'/
    '-._.-'      An OK is a promise
",
            OF.version,
            usize::BITS,
            config.port
        ));
    } else {
        lines.push(format!("Running mode={mode}, port={}.", config.port));
    }
    lines
}
