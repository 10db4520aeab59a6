//! What this program was built from: filled in by `build.rs`, shown by INFO, `--version` and the log.
//!
//! Owns three texts. Never: runs git itself.

/// Version of this server, beside the Redis version that it speaks.
pub const HOLDFAST: &str = env!("CARGO_PKG_VERSION");

/// Eight hex digits of the commit; zeros outside a checkout.
pub const GIT_SHA1: &str = env!("HOLDFAST_GIT_SHA1");

/// `1`: sources had changed since that commit; else `0`.
pub const GIT_DIRTY: &str = env!("HOLDFAST_GIT_DIRTY");

/// Hex digits that are another when the sources or the way they were compiled are.
pub const BUILD_ID: &str = env!("HOLDFAST_BUILD_ID");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_has_filled_them_in() {
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(GIT_SHA1.len() == 8 && hex(GIT_SHA1), "{GIT_SHA1:?}");
        assert!(["0", "1"].contains(&GIT_DIRTY), "{GIT_DIRTY:?}");
        assert!(u64::from_str_radix(BUILD_ID, 16).is_ok_and(|id| id > 0));
    }
}
