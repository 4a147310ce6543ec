//! What planning must know of a model itself: its points with what each asks of a board, and which
//! steps its layers are.

use seam_runtime::Model;
use seam_runtime::graph::{Graph, Point};
use seam_runtime::memory::MemoryPlan;

use crate::Error;
use crate::profile::ModelRef;

/// A model as a planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The model.
    pub model: ModelRef,
    /// The points that the file at hand reaches, `input` first, shallowest first.
    pub points: Vec<OutlinePoint>,
    /// Per layer its name and its steps, in the order of the layers.
    pub layers: Vec<(String, Vec<u32>)>,
}

/// A point, and what a board needs to cut there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinePoint {
    /// The point's name.
    pub name: String,
    /// Steps that run on the edge: the first of the model.
    pub steps: u32,
    /// Bytes of the `.seam` file that hold the edge part.
    pub download_bytes: u64,
    /// Those bytes and the arena of the edge part's activations. What a session lays out anew at
    /// its start, without a pack, comes on top.
    pub memory_bytes: u64,
}

impl Outline {
    /// The outline of `model` as far as its file reaches.
    ///
    /// # Errors
    /// The activations of an edge part are larger than an arena may be.
    pub fn of(model: &Model) -> Result<Outline, Error> {
        let graph = model.graph();
        let point = |point: Point| {
            let steps = graph.steps_before(point);
            let download_bytes = model.prefix_len(point);
            let arena = MemoryPlan::new(graph, steps, false)?.arena_bytes as u64;
            Ok(OutlinePoint {
                name: graph.point_name(point).into(),
                steps: steps as u32,
                download_bytes,
                memory_bytes: download_bytes + arena,
            })
        };
        let reached = graph.points().filter(|&point| point <= model.reaches());
        Ok(Outline {
            model: ModelRef::new(&graph.name, &model.id()),
            points: reached.map(point).collect::<Result<_, Error>>()?,
            layers: layers(graph),
        })
    }

    /// The same as far as the point called `name` and no deeper; all of it if there is none.
    pub fn up_to(mut self, name: &str) -> Outline {
        if let Some(last) = self.points.iter().position(|point| point.name == name) {
            self.points.truncate(last + 1);
        }
        self
    }

    /// The names of the points.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.points.iter().map(|point| point.name.as_str())
    }

    /// Where the point called `name` stands.
    ///
    /// # Errors
    /// There is none.
    pub fn position(&self, name: &str) -> Result<usize, Error> {
        self.names().position(|point| point == name).ok_or_else(|| Error::NoSuchPoint {
            name: name.into(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// The steps of the layer called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn layer(&self, name: &str) -> Result<&[u32], Error> {
        let layer = self.layers.iter().find(|(layer, _)| layer == name);
        layer
            .map(|(_, steps)| &steps[..])
            .ok_or_else(|| Error::NoSuchLayer { name: name.into(), model: self.model.name.clone() })
    }
}

fn layers(graph: &Graph) -> Vec<(String, Vec<u32>)> {
    let mut layers: Vec<(String, Vec<u32>)> =
        graph.layers.iter().map(|name| (name.clone(), Vec::new())).collect();
    for (i, step) in (0..).zip(&graph.steps) {
        layers[step.layer as usize].1.push(i);
    }
    layers
}
