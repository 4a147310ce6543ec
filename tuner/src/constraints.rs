//! What a plan must obey beside its objective. Constraints speak of the board and the model alone:
//! which points they leave does not change with the uplink.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::outline::Outline;
use crate::partition::Objective;
use crate::units::show_bytes;

/// Limits, and layers that stay where they are. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraints {
    /// Bytes that the board has for the model's prefix and the arena of its activations.
    pub max_memory_bytes: Option<u64>,
    /// Bytes of model that the board may download.
    pub max_download_bytes: Option<u64>,
    /// The shallowest point at which data may leave the board, for privacy.
    pub min_depth: Option<String>,
    /// Layers that run on one side whatever it costs.
    pub pins: Vec<Pin>,
}

/// A layer that runs on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The layer's name.
    pub layer: String,
    /// Where it runs.
    pub side: Side,
}

/// Board or cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// On the board.
    Edge,
    /// In the cloud.
    Cloud,
}

/// A constraint that a point breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "constraint", rename_all = "kebab-case")]
pub enum Exclusion {
    /// [`Constraints::max_memory_bytes`].
    MaxMemory {
        /// What the point needs.
        bytes: u64,
        /// What there is.
        limit: u64,
    },
    /// [`Constraints::max_download_bytes`].
    MaxDownload {
        /// What the point needs.
        bytes: u64,
        /// What may be downloaded.
        limit: u64,
    },
    /// [`Constraints::min_depth`].
    MinDepth {
        /// The shallowest point allowed.
        point: String,
    },
    /// One of [`Constraints::pins`].
    Pin(Pin),
}

impl Constraints {
    /// Per point of `outline`, the constraints that it breaks; one that breaks none may be chosen.
    ///
    /// # Errors
    /// A constraint names a point or a layer that the model does not have.
    pub fn exclusions(&self, outline: &Outline) -> Result<Vec<Vec<Exclusion>>, Error> {
        let mut exclusions = vec![Vec::new(); outline.points.len()];
        let min_depth = self.min_depth.as_deref().map(|name| outline.position(name));
        let first = min_depth.transpose()?.unwrap_or(0);
        for ((i, point), broken) in outline.points.iter().enumerate().zip(&mut exclusions) {
            let over = |limit: Option<u64>, bytes| limit.filter(|&limit| bytes > limit);
            let bytes = point.memory_bytes;
            if let Some(limit) = over(self.max_memory_bytes, bytes) {
                broken.push(Exclusion::MaxMemory { bytes, limit });
            }
            let bytes = point.download_bytes;
            if let Some(limit) = over(self.max_download_bytes, bytes) {
                broken.push(Exclusion::MaxDownload { bytes, limit });
            }
            if let Some(name) = self.min_depth.as_ref().filter(|_| i < first) {
                broken.push(Exclusion::MinDepth { point: name.clone() });
            }
        }
        for pin in &self.pins {
            let steps = outline.layer(&pin.layer)?;
            for (point, broken) in outline.points.iter().zip(&mut exclusions) {
                let kept = match pin.side {
                    Side::Edge => steps.iter().all(|&step| step < point.steps),
                    Side::Cloud => steps.iter().all(|&step| step >= point.steps),
                };
                if !kept {
                    broken.push(Exclusion::Pin(pin.clone()));
                }
            }
        }
        Ok(exclusions)
    }

    /// That they leave `objective` nothing to choose from.
    pub(crate) fn leave_nothing(&self, objective: Objective) -> Error {
        let constraints = self.words().join(", ");
        if constraints.is_empty() {
            return Error::NoPoint(objective.name());
        }
        Error::Constrained { objective: objective.name(), constraints }
    }

    /// Every constraint in words, such as `memory up to 2.0 MiB`; empty if there is none.
    pub fn words(&self) -> Vec<String> {
        let memory = self.max_memory_bytes.map(|b| format!("memory up to {}", show_bytes(b)));
        let download = self.max_download_bytes.map(|b| format!("download up to {}", show_bytes(b)));
        let depth = self.min_depth.as_ref().map(|point| format!("no cut before {point}"));
        let pins = self.pins.iter().map(Pin::to_string);
        memory.into_iter().chain(download).chain(depth).chain(pins).collect()
    }
}

/// As in the table of a plan: `needs 3.1 MiB of memory`.
impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exclusion::MaxMemory { bytes, .. } => {
                write!(f, "needs {} of memory", show_bytes(*bytes))
            }
            Exclusion::MaxDownload { bytes, .. } => {
                write!(f, "needs {} of download", show_bytes(*bytes))
            }
            Exclusion::MinDepth { point } => write!(f, "before {point}"),
            Exclusion::Pin(pin) => write!(f, "{pin}"),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Edge => write!(f, "{} on the edge", self.layer),
            Side::Cloud => write!(f, "{} in the cloud", self.layer),
        }
    }
}

/// `LAYER` or `LAYER=edge` pins to the edge, `LAYER=cloud` to the cloud.
impl FromStr for Pin {
    type Err = Error;

    fn from_str(word: &str) -> Result<Pin, Error> {
        let (layer, side) = match word.rsplit_once('=') {
            Some((layer, "edge")) => (layer, Side::Edge),
            Some((layer, "cloud")) => (layer, Side::Cloud),
            _ => (word, Side::Edge),
        };
        if layer.is_empty() {
            return Err(Error::Pin(word.into()));
        }
        Ok(Pin { layer: layer.into(), side })
    }
}
