//! Pages and tables for people. Nothing here measures or decides anything.
//!
//! | what | file |
//! |---|---|
//! | `seam report`: the files, the page of one plan | `command.rs`, `page.rs` |
//! | runs and accuracies, read and shown | `measured.rs`, `accuracy.rs` |
//! | the board's steps and their kernels | `steps.rs` |
//! | the memory plan over time | `memory.rs` |
//! | `seam demo`: its [`Report`] as a page and as a table for the terminal | [`html`], [`text`] |
//! | the bandwidth map, a drawing of its own | [`map`] |
//! | what all pages are made of | `document.rs`, `bars.rs`, `style.css` |
//! | numbers with units | [`units`] |

use serde::Serialize;

mod accuracy;
mod bars;
mod command;
mod document;
pub(crate) mod html;
pub(crate) mod map;
mod measured;
mod memory;
mod page;
mod steps;
pub(crate) mod text;
pub(crate) mod units;

pub(crate) use command::{Args, run};

/// Schema of a report as JSON.
pub(crate) const SCHEMA: &str = "seam.report/1";

/// Networks and where to cut them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: &'static str,
    /// The page's heading.
    pub(crate) title: String,
    /// One sentence under the heading.
    pub(crate) lead: String,
    /// On what it was measured: name and value.
    pub(crate) machine: Vec<(String, String)>,
    /// The networks, each with its points.
    pub(crate) networks: Vec<Network>,
    /// What makes the numbers less sure than they should be.
    pub(crate) warnings: Vec<String>,
    /// How the numbers came about, a sentence or two each.
    pub(crate) notes: Vec<String>,
}

/// A network, its points, and what each costs on each uplink.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Network {
    /// The network's name.
    pub(crate) name: String,
    /// What it is, one sentence.
    pub(crate) about: String,
    /// Bytes of the FP32 weights.
    pub(crate) fp32_bytes: u64,
    /// Bytes of the `.seam` file.
    pub(crate) int8_bytes: u64,
    /// Top-1 on held-out images, where there are any.
    pub(crate) accuracy: Option<Accuracy>,
    /// Every point, shallowest first.
    pub(crate) points: Vec<Point>,
    /// The uplinks that were planned for.
    pub(crate) uplinks: Vec<Uplink>,
}

/// Top-1 accuracies on the same images.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Accuracy {
    /// Held-out images.
    pub(crate) images: usize,
    /// Images that the FP32 network names rightly.
    pub(crate) fp32: usize,
    /// Images that the INT8 network names rightly.
    pub(crate) int8: usize,
    /// Images that edge and cloud together name rightly.
    pub(crate) split: usize,
    /// Where they were split.
    pub(crate) split_at: String,
}

/// A place to cut.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// The point's name.
    pub(crate) name: String,
    /// Shape of what crosses; `None` where nothing does.
    pub(crate) boundary: Option<String>,
    /// Bytes of what crosses.
    pub(crate) boundary_bytes: u64,
    /// Bytes of model that a board needs for the edge part.
    pub(crate) prefix_bytes: u64,
}

/// An uplink, and the time of every point over it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Uplink {
    /// Its speed.
    pub(crate) bytes_per_s: f64,
    /// One per point.
    pub(crate) times: Vec<Times>,
    /// Index of the fastest point among those that keep the raw input on the board.
    pub(crate) best: Option<usize>,
    /// Index of the fastest point of all.
    pub(crate) fastest: Option<usize>,
}

/// Nanoseconds from image to answer at one point.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    /// Predicted: the edge part, the boundary's encoding included.
    pub(crate) edge_ns: u64,
    /// Predicted: the boundary over the uplink, the round trip included.
    pub(crate) upload_ns: u64,
    /// Predicted: the tail in the cloud.
    pub(crate) cloud_ns: u64,
    /// Measured from image to answer, where it was.
    pub(crate) measured_ns: Option<u64>,
}

impl Times {
    /// Predicted, from image to answer.
    pub(crate) fn total_ns(&self) -> u64 {
        self.edge_ns + self.upload_ns + self.cloud_ns
    }
}

impl Network {
    /// Index of the point at which the accuracy of a split was taken.
    pub(crate) fn split_point(&self) -> Option<usize> {
        let name = &self.accuracy.as_ref()?.split_at;
        self.points.iter().position(|point| point.name == *name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small report with made-up numbers.
    pub(crate) fn sample() -> Report {
        let point = |name: &str, boundary: Option<&str>, boundary_bytes, prefix_bytes| Point {
            name: name.into(),
            boundary: boundary.map(Into::into),
            boundary_bytes,
            prefix_bytes,
        };
        let points = vec![
            point("input", Some("96x96x3"), 27_648, 0),
            point("conv1", Some("24x24x16"), 9_216, 6_100),
            point("res2", Some("12x12x16"), 2_304, 11_500),
            point("inception3", Some("12x12x96"), 13_824, 22_000),
            point("conv4 <&\"'>", Some("12x12x96"), 13_824, 107_000),
            point("output", None, 0, 240_000),
        ];
        let edge = [0u64, 800, 1_500, 2_900, 6_100, 12_300];
        let cloud = [1_400u64, 1_250, 1_050, 900, 500, 0];
        let uplinks = [(256_000.0, 5, 5), (2_097_152.0, 2, 2), (104_857_600.0, 2, 0)];
        let uplinks = uplinks.map(|(bytes_per_s, best, fastest)| Uplink {
            bytes_per_s,
            times: (0..points.len())
                .map(|i| {
                    let crosses = points[i].boundary_bytes as f64;
                    let upload_ns = if crosses == 0.0 {
                        0
                    } else {
                        (crosses / bytes_per_s * 1e9) as u64 + 300_000
                    };
                    let times = Times {
                        edge_ns: edge[i] * 1000,
                        upload_ns,
                        cloud_ns: cloud[i] * 1000,
                        measured_ns: None,
                    };
                    Times { measured_ns: Some(times.total_ns() * 21 / 20), ..times }
                })
                .collect(),
            best: Some(best),
            fastest: Some(fastest),
        });
        Report {
            schema: SCHEMA,
            title: "Where to cut".into(),
            lead: "The first part runs in INT8 on the edge, the rest in FP32 in the cloud.".into(),
            machine: vec![
                ("Edge".into(), "Some CPU, 1 thread, portable kernels".into()),
                ("Cloud".into(), "Some CPU, tract in FP32, on loopback".into()),
            ],
            networks: vec![Network {
                name: "shapes".into(),
                about: "Ten shapes on busy backgrounds.".into(),
                fp32_bytes: 900_000,
                int8_bytes: 240_000,
                accuracy: Some(Accuracy {
                    images: 240,
                    fp32: 231,
                    int8: 230,
                    split: 231,
                    split_at: "res2".into(),
                }),
                points,
                uplinks: uplinks.into(),
            }],
            warnings: vec!["Something else kept the machine busy.".into()],
            notes: vec!["Edge and tail times are medians.".into()],
        }
    }
}
