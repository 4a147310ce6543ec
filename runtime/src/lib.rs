//! The edge runtime: from a `.seam` file to the boundary's bytes.

pub mod graph;
pub mod preprocess;
