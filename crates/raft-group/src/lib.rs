//! A shard's Raft group around raft-rs's `RawNode`.
//!
//! Owns: proposals, elections' timing (E1, E2), the lease (E3), transfers (E4), the checks before
//! `step` (D6), the order in which messages may leave (E6). Never: a clock, a socket, a thread, a
//! file, unseeded randomness, or a look into the effects that entries carry. Time comes in with
//! every call; what is to be written and sent comes out.
//!
//! raft-rs's own election timer, leases, transfers and read indexes are not used; why, is told in
//! `docs/RAFT.md` rule by rule.

mod envelope;
mod flow;
mod group;
mod lease;
mod members;
mod outgoing;
mod plan;
mod room;
mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timer;
mod window;

pub use envelope::{Envelope, EnvelopeError, LeaseEpoch};
pub use group::{Group, GroupConfig, MemberView, Persist, Role};
pub use lease::{Lease, Promise};
pub use members::{is_sound, Applied, Change, ChangeError, Membership};
pub use plan::{
    plan, relief, successor, transfer_kind, transferees, Condition, MembershipRequests, Plan,
    Progress, TransferKind, ANSWERED, NEAR_BYTES,
};
pub use step::{Fault, Refusal, StepError};
pub use window::{Wanted, Window};

/// raft-rs ticks in one election timeout: heartbeats leave on every tick.
pub const TICKS_PER_TIMEOUT: u32 = 10;

/// Bytes of applied entries that stay in memory for followers that are a little behind.
pub const DEFAULT_KEEP_BYTES: usize = 4 << 20;
