//! Tells the program what it was built from: `HOLDFAST_GIT_SHA1`, `HOLDFAST_GIT_DIRTY` and
//! `HOLDFAST_BUILD_ID`, which INFO and `--version` show.
//!
//! Never fails: without git, or outside a checkout of this repository, the commit is `00000000` as
//! in Redis. It runs again when a source changes, not at a commit: until the next change the
//! program goes on saying the commit it was built from, with changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &[&str] = &[
    "src",
    "crates",
    "cluster-bus",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
];

fn main() {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let sha = head().unwrap_or_else(|| "00000000".to_owned());
    let dirty = u8::from(sha != "00000000" && has_changes());
    println!("cargo:rustc-env=HOLDFAST_GIT_SHA1={sha}");
    println!("cargo:rustc-env=HOLDFAST_GIT_DIRTY={dirty}");
    println!("cargo:rustc-env=HOLDFAST_BUILD_ID={:x}", build_id(&sha));
}

/// What git prints, if it is there and has no complaint.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// Eight digits of the commit; none where the checkout around these files is of another repository.
fn head() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let sha = git(&["rev-parse", "HEAD"])?;
    let digits = sha.get(..8)?;
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| digits.to_owned())
}

fn has_changes() -> bool {
    // A commit may be under way: the index is left alone.
    let status = ["--no-optional-locks", "status", "--porcelain", "--"];
    let args = [&status, SOURCES].concat();
    git(&args).is_none_or(|changes| !changes.is_empty())
}

/// The same sources, compiled in the same way, have the same id.
fn build_id(sha: &str) -> u64 {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(Path::new(source), &mut files);
    }
    files.sort();
    let mut hash = Fnv::new();
    hash.add(sha.as_bytes());
    for variable in ["TARGET", "PROFILE", "OPT_LEVEL", "CARGO_PKG_VERSION"] {
        hash.add(std::env::var(variable).unwrap_or_default().as_bytes());
    }
    for file in files {
        hash.add(file.to_string_lossy().as_bytes());
        hash.add(&fs::read(&file).unwrap_or_default());
    }
    hash.0
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .flatten()
            .for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}

/// FNV-1a: short, and the same everywhere.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
