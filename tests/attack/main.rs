//! Attacks on the real binary: members of a node's group are played by hand over the real Raft
//! port, its disk is slowed, hung and filled, its loop is stopped between two lines, frames are
//! forged. docs/TESTING.md ("Attacks") says how to write one.
//!
//! One attack at a time (`harness::Turn`); every wait is for a condition with a deadline, but where
//! the passing of time is what is tested. All traffic stays on 127.0.0.1.

mod bus;
#[path = "../common/mod.rs"]
mod common;
#[path = "../cluster/harness.rs"]
#[allow(dead_code)] // the tests of clusters use the rest
mod harness;
mod member;
#[path = "../cluster/node.rs"]
#[allow(dead_code)]
mod node;
mod played;
mod real;
mod shim;
#[path = "../cluster/view.rs"]
#[allow(dead_code)]
mod view;
mod wire;

mod basics;
mod clock;
mod fifth;
mod flood;
mod follower;
mod forged;
mod hung;
mod identity;
mod lagging;
mod liar;
mod loading;
mod outcome;
mod relaxed;
mod room;
mod second;
mod third;
mod thirteenth;
mod twelfth;
mod voters;
