//! What the server's log tells of a failover within this shard, in Redis's words where it has some.
//!
//! Owns the moment and the texts. The moment is that of the record (S2): the new master's epoch has
//! committed, and from now on it is shown as the master. Nodes of other shards tell what they hear on
//! the bus.

use super::Clustered;
use crate::platform::Platform;
use cluster_bus::SlotSet;
use shard::Shard;
use slog::Logger;
use std::fmt::Write;
use std::sync::Arc;
use topology::Record;

impl<P: Platform> Clustered<P> {
    /// Compares the record with the one that was seen last; of another shard, or of a start, nothing is
    /// told.
    pub(super) fn tell_master(&mut self, shard: &Shard<P::Disk>, logger: &Logger) {
        let record = shard.record();
        if self
            .seen
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, record))
        {
            return;
        }
        let Some(before) = self.seen.replace(Arc::clone(record)) else {
            return;
        };
        let me = self.core.myself();
        let node = self.core.bus().node(record.master);
        let addr = node.map_or_else(String::new, |node| format!("{}:{}", node.ip, node.port));
        for line in lines(&before, record, me, &addr) {
            slog::info!(logger, "{}", line);
        }
    }
}

fn lines(before: &Record, now: &Record, me: cluster_bus::NodeId, addr: &str) -> Vec<String> {
    if before.shard != now.shard || before.master == now.master {
        return Vec::new();
    }
    let (old, new, epoch) = (before.master, now.master, now.epoch);
    if new == me {
        let slots = ranges(&now.slots);
        return vec![
            "Failover election won: I'm the new master.".to_owned(),
            format!("configEpoch set to {epoch} after successful failover"),
            format!(
                "I ({new} at {addr}) take over the slots {slots} of shard {} from {old}",
                now.shard
            ),
        ];
    }
    vec![format!(
        "Configuration change detected. Reconfiguring myself as a replica of {new} ({addr}), \
         the new master in place of {old} with epoch {epoch}"
    )]
}

/// As CLUSTER NODES shows them; `none` for none.
fn ranges(slots: &SlotSet) -> String {
    let mut text = String::new();
    for (first, last) in slots.ranges() {
        let space = if text.is_empty() { "" } else { " " };
        let written = match first == last {
            true => write!(text, "{space}{first}"),
            false => write!(text, "{space}{first}-{last}"),
        };
        written.expect("writing to a string");
    }
    if text.is_empty() {
        text.push_str("none");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_bus::{NodeId, ShardId};

    fn record(shard: u8, master: u8) -> Record {
        Record {
            shard: ShardId([shard; 20]),
            epoch: 7,
            master: NodeId([master; 20]),
            slots: (0..=99).chain([200]).collect(),
            ..Record::default()
        }
    }

    #[test]
    fn a_new_master_tells_slots_epoch_and_address() {
        let told = lines(
            &record(9, 1),
            &record(9, 2),
            NodeId([2; 20]),
            "127.0.0.1:7001",
        );
        assert_eq!(told[0], "Failover election won: I'm the new master.");
        assert_eq!(told[1], "configEpoch set to 7 after successful failover");
        let (new, old, shard) = ("02".repeat(20), "01".repeat(20), "09".repeat(20));
        let last = format!(
            "I ({new} at 127.0.0.1:7001) take over the slots 0-99 200 of shard {shard} from {old}"
        );
        assert_eq!(told[2], last);
    }

    #[test]
    fn a_replica_tells_its_new_master() {
        let told = lines(
            &record(9, 1),
            &record(9, 2),
            NodeId([3; 20]),
            "127.0.0.1:7001",
        );
        assert_eq!(told.len(), 1);
        let new = format!(
            "Reconfiguring myself as a replica of {} (127.0.0.1:7001)",
            "02".repeat(20)
        );
        assert!(told[0].contains(&new), "{told:?}");
    }

    #[test]
    fn another_shard_or_epoch_is_no_failover() {
        let me = NodeId([3; 20]);
        let later = Record {
            epoch: 8,
            ..record(9, 1)
        };
        assert!(lines(&record(9, 1), &later, me, "").is_empty());
        assert!(lines(&record(8, 1), &record(9, 2), me, "").is_empty());
    }
}
