//! New ids, from the cluster core's seed (G2: random, never used twice).

use base::ids::{GroupId, RaftId};
use cluster_bus::{NodeId, ShardId};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

#[derive(Debug)]
pub(super) struct Ids {
    rng: StdRng,
}

impl Ids {
    pub fn new(seed: u64) -> Ids {
        Ids {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub fn mint_member(&mut self) -> RaftId {
        RaftId(self.mint())
    }

    pub fn mint_group(&mut self) -> GroupId {
        GroupId(self.mint())
    }

    /// Never zero.
    fn mint(&mut self) -> u64 {
        loop {
            let id = self.rng.next_u64();
            if id != 0 {
                return id;
            }
        }
    }

    /// Of a node that begins under a new name.
    pub fn mint_node(&mut self) -> NodeId {
        NodeId(self.mint_name())
    }

    pub fn mint_shard(&mut self) -> ShardId {
        ShardId(self.mint_name())
    }

    fn mint_name(&mut self) -> [u8; 20] {
        let mut id = [0; 20];
        self.rng.fill_bytes(&mut id);
        id
    }
}
