//! The file that names the node's member is gone (S4).

use crate::harness::{check, wait_for};
use crate::node::START;
use crate::real::Stage;
use std::fs;
use std::path::Path;

/// Whether some folder in here holds the member with this base.
fn is_kept(root: &Path, base: &[u8]) -> bool {
    let folders = fs::read_dir(root).expect("the folder").flatten();
    folders
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .any(|p| fs::read(p.join("base")).is_ok_and(|b| b == base) || is_kept(&p, base))
}

#[test]
fn start_without_identity_keeps_the_data() {
    let Some(mut stage) = Stage::open("start_without_identity_keeps_the_data") else {
        return;
    };
    let mut real = stage.alone(&[]);
    real.node.ok(&["SET", "a", "only copy"]);
    let root = real.log_dir();
    let folder = root.join(format!("shard-{:016x}", real.raft_id()));
    let base = fs::read(folder.join("base")).expect("the member's base");
    real.node.kill9();
    fs::remove_file(root.join("identity")).expect("the identity");
    let before = real.node.log().len();
    real.node.spawn();
    // It refuses to start, or sets aside what it does not know, and says which.
    wait_for("it has made up its mind", START, || {
        let ended = !real.node.is_running();
        let serves = real.node.info("server", "process_id").is_some();
        check(ended || serves, || "it starts still".into())
    });
    let said = real.node.log()[before..].to_owned();
    assert!(is_kept(&root, &base), "the only copy is gone\n{said}");
    assert!(said.contains("shard-"), "it does not say so:\n{said}");
}
