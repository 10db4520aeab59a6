//! The cluster proof: six real processes, formed by the real redis-cli, under load, killed,
//! stopped, moved, restarted, and on one bus with a real Redis.
//!
//! Two clusters at a time, or one whose times are asserted: two on two cores would measure each other
//! (`harness::Turn`). Nothing waits for a time to pass, only for a condition with a deadline, but
//! where the passing of time is what is tested.
//!
//!     HOLDFAST_BIN=redis-server cargo test --test cluster     another binary: the tests' own check
//!     HOLDFAST_ROUNDS=50 cargo test --release --test cluster  the long forms (scripts/chaos.sh)
//!     HOLDFAST_TABLE=file                                     where measured numbers are added

mod addresses;
mod attack;
mod auth;
mod away;
mod backup;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod disks;
mod grow;
mod harness;
mod hostile;
mod kill;
mod leave;
mod limits;
mod load;
mod members;
mod migrate;
mod mixed;
mod moves;
mod nets;
mod node;
mod outside;
mod partition;
mod raft_link;
mod replicas;
mod restart;
mod routed;
mod script;
mod slots;
mod stall;
mod states;
mod truth;
mod view;
mod waiting;
mod witness;
