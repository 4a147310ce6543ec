//! The four networks of the paper's Table 3, and what it says of each.

use crate::nets::{self, Net};

/// Bytes in the paper's KB.
pub(crate) const KB: f64 = 1024.0;

/// A column of Table 3.
pub(crate) struct Case {
    /// Builds the network.
    pub(crate) net: fn() -> Net,
    /// The uplink, KB a second.
    pub(crate) uplink_kb_per_s: f64,
    /// The point that the paper found best.
    pub(crate) point: &'static str,
    /// The paper's time there, from image to answer. It prints two digits; AlexNet's speed-up of
    /// 1.7 says that its 0.36 s are a little less.
    pub(crate) total_s: f64,
    /// The paper's count of the whole network holds the fully connected layers.
    pub(crate) counts_fully_connected: bool,
}

/// In the paper's order.
pub(crate) const CASES: [Case; 4] = [
    Case {
        net: nets::alexnet,
        uplink_kb_per_s: 250.0,
        point: "conv5",
        total_s: 0.356,
        counts_fully_connected: true,
    },
    Case {
        net: nets::vgg16,
        uplink_kb_per_s: 240.0,
        point: "conv1_2",
        total_s: 5.65,
        counts_fully_connected: true,
    },
    Case {
        net: nets::resnet18,
        uplink_kb_per_s: 70.0,
        point: "res4a",
        total_s: 1.86,
        counts_fully_connected: false,
    },
    Case {
        net: nets::googlenet,
        uplink_kb_per_s: 180.0,
        point: "conv2",
        total_s: 1.16,
        counts_fully_connected: true,
    },
];

impl Case {
    /// The uplink in bytes a second.
    pub(crate) fn uplink(&self) -> f64 {
        self.uplink_kb_per_s * KB
    }
}
