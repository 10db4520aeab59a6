//! The thirteenth attack: a node that has as many open files as it may, at the steps of a snapshot and of a state's way
//! into the log's place (D5).

use crate::harness::{check, wait_for, SOON};
use crate::real::{Real, Stage};
use crate::shim::{Op, LOOP, STORAGE};
use libc::EMFILE;

fn persistence(real: &Real, field: &str) -> String {
    let said = real.node.info("persistence", field);
    said.unwrap_or_else(|| panic!("no answer\n{}", real.last_lines()))
}

fn wait_base(real: &Real) {
    wait_for("the base names a state", SOON, || {
        let bytes = persistence(real, "aof_base_size");
        check(bytes != "0", || real.last_lines())
    });
}

/// The base is renamed, and then its folder can't be opened to be synced: nobody knew which base stands, so the
/// process ended. It opens the folder before.
#[test]
fn no_file_is_opened_behind_a_bases_rename() {
    let Some(mut stage) = Stage::open("no_file_is_opened_behind_a_bases_rename") else {
        return;
    };
    let mut real = stage.alone(&[]);
    real.node.ok(&["SET", "a-key", "1"]);
    let folders = real.folders();
    let member = folders.iter().find(|name| name.starts_with("shard-"));
    let folder = format!("/{}$", member.expect("its member has a folder"));
    let rule = real.shim.on(Op::Open).thread(STORAGE).path(&folder);
    let rule = rule.fail(EMFILE);
    assert!(!real.node.cmd(&["BGREWRITEAOF"]).is_error());
    wait_for("the base can't be replaced", SOON, || {
        real.assert_lives("a folder that could not be opened");
        let told = real.node.log().contains("The log can't be trimmed");
        check(told, || real.last_lines())
    });
    drop(rule);
    wait_base(&real);
    real.node.ok(&["SET", "a-key", "2"]);
    real.node.kill9();
    real.node.start();
    real.wait_serving();
    assert_eq!(real.node.cmd(&["GET", "a-key"]).text(), "2");
}

/// A state stands in the log's place, and no file can be opened for it: the folder is opened later.
#[test]
fn installed_state_waits_for_open_files() {
    let Some(mut stage) = Stage::open("installed_state_waits_for_open_files") else {
        return;
    };
    let leader = stage.alone(&[]);
    leader.node.ok(&["SET", "a-key", "1"]);
    assert!(!leader.node.cmd(&["BGREWRITEAOF"]).is_error());
    wait_base(&leader);
    let mut joiner = stage.real(&[]);
    let part = joiner.shim.on(Op::Open).thread("hf-transfer").hang();
    joiner.meet(&leader);
    let id = leader.id.to_string();
    joiner.node.ok(&["CLUSTER", "REPLICATE", &id]);
    part.wait_hanging(SOON);
    let base = joiner.shim.on(Op::Open).thread(LOOP).path("/base$");
    let base = base.fail(EMFILE);
    drop(part);
    base.wait_hits(1, SOON);
    joiner.assert_lives("a base that could not be opened");
    drop(base);
    wait_for("it has the key", SOON, || {
        let keys = joiner.node.cmd(&["DBSIZE"]);
        check(!keys.is_error() && keys.int() == 1, || joiner.last_lines())
    });
}
