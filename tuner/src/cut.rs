//! The general cut: which operators of a network run on the edge and which in the cloud, whatever
//! crosses between them, so that the sum of all costs is the least.
//!
//! The sum is exact and the search is not one over subsets. Every assignment of operators to edge
//! and cloud is a cut of the flow network below (source: edge, sink: cloud), and the capacity that
//! is cut is the assignment's cost; so the least assignment is a minimum cut.
//!
//! | arc | capacity | cut when | stands for |
//! |---|---|---|---|
//! | source → operator | its cloud time | it runs in the cloud | that time |
//! | operator → sink | its edge time | it runs on the edge | that time |
//! | writer → tensor | what crossing takes | written on the edge, read in the cloud | one transfer, however many read it |
//! | tensor → reader | no bound | never | a reader in the cloud needs the tensor there |
//! | reader → writer | no bound | never | nothing flows back to the board |
//!
//! Operators that can run on one side only are one with that side's terminal: first those that say
//! so, then all that they depend on (edge) or that depends on them (cloud). The round trip is paid
//! once and by every assignment but the one that leaves the cloud idle: that one is compared with
//! the minimum cut afterwards.
//!
//! Costs are whole nanoseconds, so that the least is the least and no rounding decides.

use crate::Error;
use crate::layer_graph::Value;
use crate::min_cut::FlowNetwork;

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostNode {
    /// What it takes on the edge, in nanoseconds.
    pub edge_ns: i64,
    /// What it takes in the cloud, in nanoseconds. A difference of two measured tails may be
    /// negative.
    pub cloud_ns: i64,
    /// Where it may run.
    pub place: Place,
}

/// Where an operator may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On either side.
    #[default]
    Either,
    /// On the edge only: pinned there.
    Edge,
    /// In the cloud only: pinned there, or not supported by the edge.
    Cloud,
}

/// A tensor and who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostTensor {
    /// Who writes it; [`Value::Input`] is on the board from the start.
    pub writer: Value,
    /// The operators that read it; each stands behind the writer.
    pub readers: Vec<usize>,
    /// What it takes to cross, in nanoseconds: encoding, the bytes over the uplink, decoding.
    pub crossing_ns: i64,
}

/// A network with everything priced; checked to be sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostGraph {
    nodes: Vec<CostNode>,
    tensors: Vec<CostTensor>,
    /// Indices of the tensors, sorted by who writes them.
    by_writer: Vec<usize>,
    rtt_ns: i64,
    /// More than any assignment costs.
    unbounded: i64,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Per operator, whether it runs on the edge. What an edge operator reads is on the edge.
    pub on_edge: Vec<bool>,
    /// The tensors that cross, in the order given.
    pub crossing: Vec<usize>,
    /// What the assignment takes, in nanoseconds.
    pub total_ns: i64,
}

impl CostGraph {
    /// The network of `nodes`, in an order in which they can run, joined by `tensors`; whatever
    /// leaves the cloud not idle takes `rtt_ns` beside.
    ///
    /// # Errors
    /// A tensor is read by an operator that does not stand behind its writer, crossing or the round
    /// trip takes less than nothing, or costs are so high that their sum has no room in 63 bits.
    pub fn new(
        nodes: Vec<CostNode>,
        tensors: Vec<CostTensor>,
        rtt_ns: i64,
    ) -> Result<CostGraph, Error> {
        let mut sum = i128::from(rtt_ns);
        let mut sound = rtt_ns >= 0;
        for node in &nodes {
            sum += i128::from(node.edge_ns).abs() + i128::from(node.cloud_ns).abs();
        }
        for (i, tensor) in tensors.iter().enumerate() {
            sum += i128::from(tensor.crossing_ns);
            sound &= tensor.crossing_ns >= 0;
            let behind = |reader: usize| match tensor.writer {
                Value::Input => reader < nodes.len(),
                Value::Node(writer) => writer < reader && reader < nodes.len(),
            };
            if let Some(&reader) = tensor.readers.iter().find(|&&reader| !behind(reader)) {
                return Err(Error::ReaderNotBehind { tensor: i, reader });
            }
        }
        // An arc without bound may carry the whole flow beside.
        if !sound || (sum + 1) * 4 > i128::from(i64::MAX) {
            return Err(Error::Unaffordable);
        }
        let mut by_writer: Vec<usize> = (0..tensors.len()).collect();
        by_writer.sort_by_key(|&i| tensors[i].writer);
        Ok(CostGraph { nodes, tensors, by_writer, rtt_ns, unbounded: sum as i64 + 1 })
    }

    /// The assignment of least cost, `None` if none obeys the places. Of equal ones that with the
    /// fewest operators on the edge.
    pub fn cut(&self) -> Option<Cut> {
        let split = self.assignment(self.minimum_cut(&self.places()?));
        let alone = vec![true; self.nodes.len()];
        if self.nodes.iter().any(|node| node.place == Place::Cloud) {
            return Some(split);
        }
        let alone = self.assignment(alone);
        Some(if alone.total_ns < split.total_ns { alone } else { split })
    }

    /// The places of all operators, given that nothing flows back; `None` if they contradict each
    /// other.
    fn places(&self) -> Option<Vec<Place>> {
        let given: Vec<Place> = self.nodes.iter().map(|node| node.place).collect();
        let (mut edge, mut cloud) = (given.clone(), given);
        // Readers stand behind their writers: one sweep in the order of the writers carries `cloud`
        // on, one against it `edge` back.
        for (writer, tensor) in self.written() {
            if cloud[writer] == Place::Cloud {
                tensor.readers.iter().for_each(|&reader| cloud[reader] = Place::Cloud);
            }
        }
        for (writer, tensor) in self.written().rev() {
            if tensor.readers.iter().any(|&reader| edge[reader] == Place::Edge) {
                edge[writer] = Place::Edge;
            }
        }
        let both = |(edge, cloud)| match (edge, cloud) {
            (Place::Edge, Place::Cloud) => None,
            (Place::Edge, _) => Some(Place::Edge),
            (_, place) => Some(place),
        };
        edge.into_iter().zip(cloud).map(both).collect()
    }

    /// The tensors that operators write, in the order of those.
    fn written(&self) -> impl DoubleEndedIterator<Item = (usize, &CostTensor)> {
        self.by_writer.iter().filter_map(|&i| match self.tensors[i].writer {
            Value::Input => None,
            Value::Node(writer) => Some((writer, &self.tensors[i])),
        })
    }

    /// Per operator, whether it runs on the edge in the least assignment, did the round trip cost
    /// nothing.
    fn minimum_cut(&self, places: &[Place]) -> Vec<bool> {
        const SOURCE: usize = 0;
        const SINK: usize = 1;
        let mut network = FlowNetwork::new(2);
        let vertices: Vec<usize> = places
            .iter()
            .map(|place| match place {
                Place::Edge => SOURCE,
                Place::Cloud => SINK,
                Place::Either => network.vertex(),
            })
            .collect();
        for (node, &vertex) in self.nodes.iter().zip(&vertices).filter(|(_, v)| **v > SINK) {
            // What both sides cost alike decides nothing.
            match node.cloud_ns - node.edge_ns {
                more @ 0.. => network.arc(SOURCE, vertex, more, 0),
                less => network.arc(vertex, SINK, -less, 0),
            }
        }
        for CostTensor { writer, readers, crossing_ns } in &self.tensors {
            let writer = match *writer {
                Value::Input => SOURCE,
                Value::Node(node) => vertices[node],
            };
            let in_cloud = readers.iter().any(|&reader| vertices[reader] == SINK);
            let open = readers.iter().map(|&reader| vertices[reader]).filter(|v| *v > SINK);
            match (writer, in_cloud) {
                // All readers are in the cloud as well; or it crosses in any case.
                (SINK, _) | (SOURCE, true) => {}
                (writer, true) => {
                    network.arc(writer, SINK, *crossing_ns, 0);
                    open.for_each(|reader| network.arc(reader, writer, self.unbounded, 0));
                }
                // One reader: to cross and not to flow back are the two ways of one pair.
                (writer, false) if readers.len() == 1 => {
                    open.for_each(|r| network.arc(writer, r, *crossing_ns, self.unbounded));
                }
                (writer, false) => {
                    let sent = network.vertex();
                    network.arc(writer, sent, *crossing_ns, 0);
                    for reader in open {
                        network.arc(sent, reader, self.unbounded, 0);
                        network.arc(reader, writer, self.unbounded, 0);
                    }
                }
            }
        }
        let on_edge = network.minimum_cut(SOURCE, SINK);
        vertices.into_iter().map(|vertex| on_edge[vertex]).collect()
    }

    /// What `on_edge` takes and lets cross.
    fn assignment(&self, on_edge: Vec<bool>) -> Cut {
        let mut total_ns = if on_edge.contains(&false) { self.rtt_ns } else { 0 };
        for (node, &edge) in self.nodes.iter().zip(&on_edge) {
            debug_assert_ne!(node.place, if edge { Place::Cloud } else { Place::Edge });
            total_ns += if edge { node.edge_ns } else { node.cloud_ns };
        }
        let mut crossing = Vec::new();
        for (i, tensor) in self.tensors.iter().enumerate() {
            let here = match tensor.writer {
                Value::Input => true,
                Value::Node(node) => on_edge[node],
            };
            let in_cloud = tensor.readers.iter().filter(|&&reader| !on_edge[reader]).count();
            debug_assert!(here || in_cloud == tensor.readers.len(), "nothing flows back");
            if here && in_cloud > 0 {
                total_ns += tensor.crossing_ns;
                crossing.push(i);
            }
        }
        Cut { on_edge, crossing, total_ns }
    }
}
