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
//! | what crosses at the places between them | [`mod@modes`] |
//! | times of a session on the board | [`measure`] (the board itself: [`device`]) |
//! | what codecs make of boundaries | [`compression`] |
//! | the kernel for every convolution | [`mod@choose`] |
//! | what was measured, as JSON | [`profile`] |
//! | what a step has to do | [`work`] |
//! | times of steps that were not measured | [`cost_model`] (by [`mod@nnls`]) |
//! | profiles completed with such times | [`estimate`] |
//! | what lies between board and cloud | [`environment`] |
//! | from both to a point's time | [`prediction`] |
//! | Algorithm 1 | [`partition`] |
//! | Algorithm 1 again before each image, with hysteresis | [`mod@hysteresis`] |
//! | what a model asks of a board at each point | [`outline`] |
//! | limits, and what stays where it is | [`constraints`] |
//! | the least split of any shape, by a minimum cut | [`general`], [`cut`] |
//! | the choice over all bandwidths | [`map`] |
//! | the plan, as JSON and as a table | [`plan`] |
//! | sizes, rates and durations as people write them | [`units`] |

#![forbid(unsafe_code)]

pub mod candidates;
pub mod choose;
pub mod compression;
pub mod constraints;
pub mod cost_model;
pub mod cut;
pub mod device;
pub mod environment;
mod error;
pub mod estimate;
pub mod general;
pub mod hysteresis;
pub mod layer_graph;
pub mod map;
pub mod measure;
mod min_cut;
pub mod modes;
pub mod nnls;
pub mod outline;
pub mod partition;
pub mod plan;
pub mod prediction;
pub mod profile;
pub mod units;
pub mod warnings;
pub mod work;

pub use candidates::{Candidate, candidates};
pub use compression::CodecChoice;
pub use constraints::Constraints;
pub use cost_model::CostModel;
pub use environment::{Environment, Estimator};
pub use error::Error;
pub use hysteresis::Hysteresis;
pub use layer_graph::LayerGraph;
pub use map::Map;
pub use outline::Outline;
pub use partition::{Objective, algorithm1};
pub use plan::{Plan, Request};
pub use prediction::MeasuredPoint;
pub use profile::{CloudProfile, Profile};
pub use work::Work;
