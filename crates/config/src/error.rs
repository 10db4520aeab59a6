//! Everything that can be wrong with a configuration, in Redis's words.
//!
//! `Display` is what the user sees: for `Fatal` the lines on stderr before exit 1, for the others
//! the error of the CONFIG command including its `ERR` prefix.

use super::REDIS_VERSION;
use std::fmt;

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A line of the file, of an included file, of stdin or of the command line can't be accepted.
    Fatal { at: Option<Place>, reason: String },
    /// A configuration file can't be read.
    Unreadable { path: String, reason: String },
    /// CONFIG SET of a name that is not in the table (spelled as the client did).
    UnknownOption(String),
    /// CONFIG SET refused this argument.
    SetFailed { name: String, reason: String },
    /// CONFIG REWRITE of a server that was started without a file.
    NoConfigFile,
    /// CONFIG REWRITE could not write the file.
    Rewrite(String),
}

/// Where the offending line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Fatal { at, reason } => {
                write!(
                    f,
                    "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n"
                )?;
                if let Some(Place { line, text }) = at {
                    writeln!(f, "Reading the configuration file, at line {line}")?;
                    writeln!(f, ">>> '{text}'")?;
                }
                f.write_str(reason)
            }
            ConfigError::Unreadable { path, reason } => {
                write!(f, "Fatal error, can't open config file '{path}': {reason}")
            }
            ConfigError::UnknownOption(name) => {
                write!(
                    f,
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            ConfigError::SetFailed { name, reason } => write!(
                f,
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
            ),
            ConfigError::NoConfigFile => {
                f.write_str("ERR The server is running without a config file")
            }
            ConfigError::Rewrite(reason) => write!(f, "ERR Rewriting config file: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The operating system's words for an error, without Rust's " (os error 2)".
pub fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
