//! CLUSTER INFO.
//!
//! Owns: its lines. `text` is also what INFO-like tools may show. Never: decides the state (C3 is
//! the business of the view's maker).

use super::super::env::{Done, Env};
use super::super::motion::moving;
use super::shared::show;
use cluster_bus::bus::MESSAGE_NAMES;
use cluster_bus::wire::Flags;
use resp::args::Args;
use std::fmt::Write;
use topology::ClusterView;

pub fn info(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let moving = moving(env);
    show(env, |view, reply| {
        reply.verbatim("txt", text(view, &moving).as_bytes());
        Ok(())
    })
}

fn text(view: &ClusterView, moving: &[(&str, u64)]) -> String {
    let (mut ok, mut pfail, mut fail) = (0, 0, 0);
    for node in &view.nodes {
        let count = node.slots.len();
        if node.flags.has(Flags::FAIL) {
            fail += count;
        } else if node.flags.has(Flags::PFAIL) {
            pfail += count;
        } else {
            ok += count;
        }
    }
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        write!(out, "{name}:{value}\r\n").expect("a String takes everything");
    };
    line("cluster_state", &if view.ok { "ok" } else { "fail" });
    line("cluster_slots_assigned", &(ok + pfail + fail));
    line("cluster_slots_ok", &ok);
    line("cluster_slots_pfail", &pfail);
    line("cluster_slots_fail", &fail);
    line("cluster_known_nodes", &view.nodes.len());
    line("cluster_size", &view.size);
    line("cluster_current_epoch", &view.current_epoch);
    line("cluster_my_epoch", &view.epoch_of(view.me()));
    for (name, count) in moving.iter().filter(|(_, count)| *count > 0) {
        line(name, count);
    }
    for (direction, counts) in [("sent", &view.sent), ("received", &view.received)] {
        for (kind, count) in MESSAGE_NAMES.iter().zip(counts) {
            if *count > 0 {
                line(&format!("cluster_stats_messages_{kind}_{direction}"), count);
            }
        }
        let total: u64 = counts.iter().sum();
        line(&format!("cluster_stats_messages_{direction}"), &total);
    }
    line(
        "total_cluster_links_buffer_limit_exceeded",
        &view.links_over_limit,
    );
    out
}
