//! Where to cut a network.
//!
//! What goes in: the network as a DAG of layers, times measured on the board and in the cloud, and
//! the environment (uplink, round trip, load of the cloud). What comes out: a plan, the table of
//! every point's predicted time and the points chosen from it.
//!
//! | hop | file |
//! |---|---|
//! | the network as the paper's rules see it | [`layer_graph`] |
//! | the points that the rules admit | [`mod@candidates`] |
//! | times of a session on the board | [`measure`] (the board itself: [`device`]) |
//! | what codecs make of boundaries | [`compression`] |
//! | the kernel for every convolution | [`mod@choose`] |
//! | what was measured, as JSON | [`profile`] |
//! | what lies between board and cloud | [`environment`] |
//! | from both to a point's time | [`prediction`] |
//! | Algorithm 1 | [`partition`] |
//! | the plan, as JSON and as a table | [`plan`] |
//! | sizes, rates and durations as people write them | [`units`] |

#![forbid(unsafe_code)]

pub mod candidates;
pub mod choose;
pub mod compression;
pub mod device;
pub mod environment;
mod error;
pub mod layer_graph;
pub mod measure;
pub mod partition;
pub mod plan;
pub mod prediction;
pub mod profile;
pub mod units;

pub use candidates::{Candidate, candidates};
pub use compression::CodecChoice;
pub use environment::Environment;
pub use error::Error;
pub use layer_graph::LayerGraph;
pub use partition::{Objective, algorithm1};
pub use plan::Plan;
pub use prediction::MeasuredPoint;
pub use profile::{CloudProfile, Profile};
