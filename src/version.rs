//! What this program was built from: filled in by `build.rs`.
//!
//! Owns four texts. Never: runs git itself.

use base::build::Build;

pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    git_sha1: env!("HOLDFAST_GIT_SHA1"),
    git_dirty: env!("HOLDFAST_GIT_DIRTY"),
    id: env!("HOLDFAST_BUILD_ID"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_has_filled_them_in() {
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        let sha = BUILD.git_sha1;
        assert!(sha.len() == 8 && hex(sha), "{sha:?}");
        assert!(["0", "1"].contains(&BUILD.git_dirty));
        assert!(u64::from_str_radix(BUILD.id, 16).is_ok_and(|id| id > 0));
    }
}
