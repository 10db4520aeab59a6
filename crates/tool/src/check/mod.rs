//! `holdfast check-log` and `holdfast check-snapshot`: what files hold, in words.
//!
//! Owns what is said of them, and the exit codes. Never parses a format: the decoders and the recovery are
//! the server's own. Never writes a file but for `--fix`, after a person has agreed.
//!
//! Reading order: [`snapshot`] a file of a state, [`folder`] where members lie, [`member`] one of them, [`begin`] its base,
//! [`effects`] what its entries do, [`fix`] what may be cut, [`lock`], [`progress`], [`words`].

pub mod begin;
pub mod effects;
pub mod fix;
pub mod folder;
pub mod lock;
pub mod member;
pub mod progress;
pub mod snapshot;
pub mod words;

use std::process::ExitCode;

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Whole,
    /// Damaged, or of no use to this build.
    Damaged,
    /// Nothing could be found out.
    Failed,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        ExitCode::from(match verdict {
            Verdict::Whole => 0,
            Verdict::Damaged => 1,
            Verdict::Failed => 2,
        })
    }
}
