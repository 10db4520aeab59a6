//! What a shard logs of which a member is of an older build (M9): nothing that such a member can't read.

use super::loading::calls;
use crate::testing::{single, Fixture};
use effect::{parse_entry, Body, Effect};
use keyspace::Layout;
use std::collections::BTreeSet;
use topology::features::TYPES;
use topology::{Record, Routing};

const REFUSED: &[u8] =
    b"-ERR this type can't be written before every node of the shard is upgraded\r\n";

/// A shard with all slots, of which all members read the effects of these features.
fn shard(features: u32) -> Fixture {
    let mut f = Fixture::new(Layout::Cluster);
    let mut record = Record::clone(f.data.record());
    record.slots = (0..base::slot::SLOT_COUNT).collect();
    record.moves.features = features;
    f.data.begin_record(record);
    let mut routing = Routing::default();
    (routing.covered, routing.majority) = (true, true);
    f.routing = Some(routing);
    f.overdue = true;
    f
}

/// A HyperLogLog that notes no count.
fn sketch() -> Vec<u8> {
    let mut f = Fixture::new(single());
    f.line("PFADD h a");
    let (reply, _) = f.outcome(&["GET", "h"]);
    let start = reply.windows(4).position(|bytes| bytes == b"HYLL");
    reply[start.expect("a HyperLogLog")..reply.len() - 2].to_vec()
}

fn numbers(log: &[Vec<u8>]) -> Vec<u8> {
    let mut numbers = Vec::new();
    for body in log {
        let Body::Units(units) = parse_entry(body).expect("a body") else {
            continue;
        };
        for unit in units {
            let (mut unit, mut effect) = (unit.expect("a unit"), Effect::default());
            while unit.next_into(&mut effect).expect("an effect") {
                numbers.push(effect.op.number());
            }
        }
    }
    numbers
}

/// Runs each row on no key, on a number and on a HyperLogLog: how many were refused, and the rows that logged
/// new effects.
fn each_row(features: u32) -> (usize, BTreeSet<&'static str>) {
    let (mut refused, mut new) = (0, BTreeSet::new());
    let sketch = sketch();
    for value in [None, Some(&b"1"[..]), Some(&sketch)] {
        for (spec, args) in calls() {
            let mut f = shard(features);
            if let Some(value) = value {
                f.outcome(&[b"SET", &b"1"[..], value]);
            }
            refused += usize::from(f.outcome(&args).0 == REFUSED);
            let is_new = |number: &u8| matches!(number, 37 | 40..=79);
            if numbers(&f.log).iter().any(is_new) {
                new.insert(spec.full_name);
            }
        }
    }
    (refused, new)
}

#[test]
fn rows_log_nothing_new_before_an_upgrade() {
    let (refused, new) = each_row(0);
    assert!(refused > 150, "only {refused} refused");
    assert_eq!(new, BTreeSet::new());
}

#[test]
fn rows_log_what_is_new_after_it() {
    let (refused, new) = each_row(TYPES);
    assert_eq!(refused, 0);
    assert!(new.contains("pfcount"));
    assert!(new.len() > 10, "{new:?}");
}
