//! What the cluster core wants done, in order ([`ClusterOutput`]): every room adds to it, the driver takes it.

use super::control::{encode_words, Control};
use super::migration::word::Words;
use super::transfer::message::Message;
use super::ClusterOutput;
use cluster_bus::NodeId;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: Vec<ClusterOutput>,
}

impl Outbox {
    pub fn push(&mut self, output: ClusterOutput) {
        self.outputs.push(output);
    }

    /// Sends a control message.
    pub fn tell(&mut self, to: NodeId, control: &Control) {
        self.outputs.push(ClusterOutput::Frame {
            to,
            urgent: true,
            back: false,
            bytes: control.encode(),
        });
    }

    /// Answers a node that has called: there it proves that this node has said it.
    pub fn answer(&mut self, to: NodeId, control: &Control) {
        self.outputs.push(ClusterOutput::Frame {
            to,
            urgent: true,
            back: true,
            bytes: control.encode(),
        });
    }

    /// Tells a node of another shard all that there is to say about slots in motion.
    pub fn words(&mut self, to: NodeId, words: &Words) {
        self.outputs.push(ClusterOutput::Frame {
            to,
            urgent: false,
            back: false,
            bytes: encode_words(words),
        });
    }

    /// Says something about a state that one member has and another lacks.
    pub fn state(&mut self, to: NodeId, message: &Message) {
        self.outputs.push(ClusterOutput::Frame {
            to,
            urgent: !message.is_bulk(),
            back: false,
            bytes: message.encode(),
        });
    }

    pub fn take(&mut self) -> Vec<ClusterOutput> {
        std::mem::take(&mut self.outputs)
    }
}
