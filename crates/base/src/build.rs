//! What a program was built from, as it tells its users.
//!
//! Owns four texts' names. Never: finds them out; the build script of the program does.

/// Shown by INFO, `--version` and the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// Version of this server, beside the Redis version that it speaks.
    pub version: &'static str,
    /// Eight hex digits of the commit; zeros outside a checkout.
    pub git_sha1: &'static str,
    /// `1`: sources had changed since that commit; else `0`.
    pub git_dirty: &'static str,
    /// Hex digits that are another when the sources or the way they were compiled are.
    pub id: &'static str,
}
