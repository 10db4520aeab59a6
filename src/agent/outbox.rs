//! What the agent wants done, in order ([`Act`]): every room adds to it, the driver takes it.

use super::control::Control;
use super::Act;
use cluster_bus::NodeId;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    acts: Vec<Act>,
}

impl Outbox {
    pub fn push(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Sends a control message.
    pub fn tell(&mut self, to: NodeId, control: &Control) {
        self.acts.push(Act::Frame {
            to,
            urgent: true,
            back: false,
            bytes: control.encode(),
        });
    }

    /// Answers a node that has called: there it proves that this node has said it.
    pub fn answer(&mut self, to: NodeId, control: &Control) {
        self.acts.push(Act::Frame {
            to,
            urgent: true,
            back: true,
            bytes: control.encode(),
        });
    }

    pub fn take(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }
}
