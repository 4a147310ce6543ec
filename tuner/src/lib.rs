//! Where to cut a network.
//!
//! What goes in: the network as a DAG of layers, times measured on the board and in the cloud, and
//! the environment (uplink, round trip, load of the cloud). What comes out: a plan, the table of
//! every point's predicted time and the points chosen from it.
//!
//! | hop | file |
//! |---|---|
//! | the network as the paper's rules see it | [`layer_graph`] |
//! | the points that the rules admit | [`candidates`] |

#![forbid(unsafe_code)]

pub mod candidates;
pub mod layer_graph;

pub use candidates::{Candidate, candidates};
pub use layer_graph::LayerGraph;
