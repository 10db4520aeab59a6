//! CLUSTER RAFT MEMBERS and STATUS as data: who is in a shard's group, and who hosts its witness.

use crate::common::resp::Value;
use crate::harness::{check, wait_for, Cluster, Shard, SOON};
use crate::node::Node;
use std::collections::HashMap;

/// What CLUSTER RAFT MEMBERS says of each member, in this order.
pub const FIELDS: [&str; 8] = [
    "id", "node", "addr", "kind", "voter", "match", "applied", "heard-ms",
];

/// A member of a group as one node of it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The Raft id, which no two members ever share.
    pub id: String,
    pub node: String,
    pub port: u16,
    pub witness: bool,
    pub voter: bool,
    pub matched: i64,
    pub applied: i64,
    pub heard_ms: i64,
}

fn text(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        other => other.text(),
    }
}

/// The names in a map's order (an array of pairs before RESP3).
pub fn names(map: &Value) -> Vec<String> {
    map.items().chunks(2).map(|pair| text(&pair[0])).collect()
}

fn member(value: &Value) -> Member {
    let pairs = value.items().chunks(2);
    let map: HashMap<String, String> = pairs.map(|p| (text(&p[0]), text(&p[1]))).collect();
    let number = |name: &str| -> i64 { map[name].parse().expect("a number") };
    let port = map["addr"].rsplit_once(':');
    Member {
        id: map["id"].clone(),
        node: map["node"].clone(),
        port: port.map_or(0, |(_, p)| p.parse().expect("a port")),
        witness: map["kind"] == "witness",
        voter: number("voter") == 1,
        matched: number("match"),
        applied: number("applied"),
        heard_ms: number("heard-ms"),
    }
}

impl Node {
    pub fn members(&self) -> Result<Vec<Member>, String> {
        let reply = self.try_cmd(&["CLUSTER", "RAFT", "MEMBERS"]);
        match reply.map_err(|e| format!("{}: {e}", self.port))? {
            Value::Array(all) => Ok(all.iter().map(member).collect()),
            other => Err(format!("{}: CLUSTER RAFT MEMBERS -> {other:?}", self.port)),
        }
    }

    /// A number of INFO raft.
    pub fn raft_number(&self, field: &str) -> u64 {
        let value = self.info("raft", field);
        let number = value.as_deref().and_then(|v| v.parse().ok());
        number.unwrap_or_else(|| panic!("{}: {field} is {value:?}", self.port))
    }
}

impl Cluster {
    /// The witness of a shard, as its leader sees it.
    pub fn witness(&self, shard: &Shard) -> Result<Member, String> {
        let members = self.nodes[shard.master].members()?;
        let mut found = members.iter().filter(|m| m.witness && m.voter);
        let one = found
            .next()
            .ok_or_else(|| format!("no witness: {members:?}"))?;
        check(found.next().is_none(), || format!("two: {members:?}"))?;
        Ok(one.clone())
    }

    /// The node that hosts the witness of a shard.
    pub fn witness_host(&self, shard: &Shard) -> usize {
        let witness = wait_for("the shard has a witness", SOON, || self.witness(shard));
        self.index_of(witness.port)
    }

    /// Waits until a shard has a witness that is not this member, and survives any loss again.
    pub fn wait_other_witness(&self, shard: &Shard, old: &Member) -> Member {
        wait_for("the witness is replaced", SOON, || {
            let witness = self.witness(shard)?;
            check(witness.id != old.id, || format!("still {witness:?}"))?;
            let master = &self.nodes[shard.master];
            let ha = master.info("raft", "raft_ha");
            check(ha.as_deref() == Some("1"), || format!("raft_ha is {ha:?}"))?;
            Ok(witness)
        })
    }
}
