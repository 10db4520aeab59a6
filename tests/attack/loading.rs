//! A start whose disk reads slowly, or not at all: what the node answers meanwhile (D2, P20).

use crate::common::resp::Value;
use crate::harness::{check, wait_for, SOON};
use crate::real::{Real, Stage};
use crate::shim::{Op, Rule, STORAGE};
use std::time::{Duration, Instant};

/// The node is killed, and comes back with a disk that reads no entries for its keyspace.
fn restart_without_reads(real: &mut Real) -> Rule {
    real.node.kill9();
    let hung = real.shim.on(Op::Read).thread(STORAGE).hang();
    real.node.spawn();
    wait_for("the node says that it loads", SOON, || {
        let loading = real.node.info("persistence", "loading");
        check(loading.as_deref() == Some("1"), || format!("{loading:?}"))
    });
    hung.wait_hanging(SOON);
    hung
}

const SAYS: &str = "LOADING Redis is loading the dataset in memory";

#[test]
fn start_with_hung_reads_answers_loading() {
    let Some(mut stage) = Stage::open("start_with_hung_reads_answers_loading") else {
        return;
    };
    let mut real = stage.alone(&[]);
    for n in 0..100 {
        real.node.ok(&["SET", &format!("k{n}"), &"v".repeat(1000)]);
    }
    let hung = restart_without_reads(&mut real);
    let mut client = real.node.client();
    for refused in [
        &["PING"] as &[&str],
        &["GET", "k1"],
        &["SET", "k1", "w"],
        &["DBSIZE"],
        &["FLUSHALL"],
        &["CLUSTER", "NODES"],
        &["CLUSTER", "RESET"],
        &["CLUSTER", "DELSLOTS", "1"],
        &["WAIT", "0", "0"],
    ] {
        assert_eq!(client.cmd(refused).text(), SAYS, "{refused:?}");
    }
    for served in [
        &["CONFIG", "GET", "maxclients"] as &[&str],
        &["INFO"],
        &["CLIENT", "LIST"],
        &["COMMAND", "COUNT"],
        &["TIME"],
    ] {
        assert!(!client.cmd(served).is_error(), "{served:?}");
    }
    client.cmd(&["MULTI"]);
    assert_eq!(client.cmd(&["SET", "k1", "w"]).text(), SAYS);
    assert!(client.cmd(&["EXEC"]).text().starts_with("EXECABORT"));
    let info = |field: &str| real.node.info("persistence", field).expect("it answers");
    let number = |field: &str| info(field).parse::<u64>().expect("a number");
    assert_eq!(number("loading_loaded_bytes"), 0);
    assert!(number("loading_total_bytes") > 100_000);

    hung.release();
    real.wait_serving();
    assert_eq!(real.node.cmd(&["DBSIZE"]), Value::Int(100));
    assert_eq!(
        real.node.info("persistence", "loading").as_deref(),
        Some("0")
    );
}

/// S2: to the others it is there, with its slots, though it is slow.
#[test]
fn loading_node_keeps_its_slots_on_the_bus() {
    let Some(mut stage) = Stage::open("loading_node_keeps_its_slots_on_the_bus") else {
        return;
    };
    let args = ["--cluster-node-timeout", "1000"];
    let (other, mut real) = (stage.real(&args), stage.real(&args));
    other.meet(&real);
    // A slot that has come late is in the log alone.
    real.own(0, 8000);
    real.own(8001, 16383);
    real.wait_serving();
    for n in 0..20 {
        real.node.ok(&["SET", &format!("k{n}"), &"v".repeat(1000)]);
    }
    let hung = restart_without_reads(&mut real);
    let id = real.id.to_string();
    let seen = || {
        let view = other.node.view();
        view.into_iter()
            .find(|line| line.id == id)
            .expect("it is known")
    };
    wait_for("the node is seen again", SOON, || {
        let line = seen();
        check(!line.has("fail") && !line.has("fail?"), || {
            format!("{line:?}")
        })
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let line = seen();
        assert!(!line.has("fail") && !line.has("fail?"), "{line:?}");
        assert!(line.has("master"), "{line:?}");
        assert_eq!(line.slots, [(0, 16383)], "{line:?}");
        std::thread::sleep(Duration::from_millis(50)); // between two looks
    }
    hung.release();
    real.wait_serving();
    assert_eq!(real.node.cmd(&["DBSIZE"]), Value::Int(20));
}

/// The end waits for no read.
#[test]
fn shutdown_while_loading_ends_in_time() {
    let Some(mut stage) = Stage::open("shutdown_while_loading_ends_in_time") else {
        return;
    };
    let mut real = stage.alone(&[]);
    real.node.ok(&["SET", "a", "v"]);
    for by_signal in [true, false] {
        let _hung = restart_without_reads(&mut real);
        match by_signal {
            true => real.node.signal(libc::SIGTERM),
            // It has no answer: the process ends.
            false => drop(real.node.client().try_cmd(&["SHUTDOWN"])),
        }
        let status = real.node.wait_exit(SOON);
        assert!(status.success(), "{status}\n{}", real.last_lines());
        // For the next round it has to be there.
        real.node.spawn();
    }
}
