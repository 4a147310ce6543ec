//! The general cut is the least of all assignments: held against trying every one.

use proptest::prelude::*;
use seam_tuner::Error;
use seam_tuner::cut::{CostGraph, CostNode, CostTensor, Cut, Place};
use seam_tuner::layer_graph::Value;

/// A network as the tests make it: what [`CostGraph`] holds, in the open.
#[derive(Clone, Debug)]
struct Net {
    nodes: Vec<CostNode>,
    tensors: Vec<CostTensor>,
    rtt_ns: i64,
}

impl Net {
    fn cut(&self) -> Option<Cut> {
        CostGraph::new(self.nodes.clone(), self.tensors.clone(), self.rtt_ns).unwrap().cut()
    }

    /// What an assignment (bit `i`: node `i` runs on the edge) takes, by the words of the rules:
    /// every place is kept, nothing flows back, every tensor crosses once, one round trip.
    fn cost(&self, edge: u32) -> Option<i64> {
        let on_edge = |i: usize| edge >> i & 1 == 1;
        let mut cost = 0;
        for (i, node) in self.nodes.iter().enumerate() {
            match (node.place, on_edge(i)) {
                (Place::Edge, false) | (Place::Cloud, true) => return None,
                (_, true) => cost += node.edge_ns,
                (_, false) => cost += node.cloud_ns,
            }
        }
        for tensor in &self.tensors {
            let written_here = match tensor.writer {
                Value::Input => true,
                Value::Node(i) => on_edge(i),
            };
            let read_there = tensor.readers.iter().any(|&i| !on_edge(i));
            let read_here = tensor.readers.iter().any(|&i| on_edge(i));
            if !written_here && read_here {
                return None;
            }
            if written_here && read_there {
                cost += tensor.crossing_ns;
            }
        }
        let all = (0..self.nodes.len()).all(on_edge);
        Some(if all { cost } else { cost + self.rtt_ns })
    }

    /// The least cost of all 2^n assignments.
    fn least(&self) -> Option<i64> {
        (0..1u32 << self.nodes.len()).filter_map(|edge| self.cost(edge)).min()
    }

    fn bits(cut: &Cut) -> u32 {
        cut.on_edge.iter().enumerate().map(|(i, &edge)| u32::from(edge) << i).sum()
    }
}

/// A random network of up to 12 operators. Costs are small, so that ties and near ties are common.
fn any_net() -> impl Strategy<Value = Net> {
    let place = prop_oneof![
        8 => Just(Place::Either),
        1 => Just(Place::Edge),
        1 => Just(Place::Cloud),
    ];
    let node = (0..40i64, -3..20i64, place);
    let nodes = prop::collection::vec(node, 1..=12);
    (nodes, 0..12i64, any::<bool>()).prop_flat_map(|(nodes, rtt_ns, private)| {
        let count = nodes.len();
        // Tensor 0 is the input, tensor i + 1 what operator i writes.
        let tensor = |i: usize| {
            let readers = prop::collection::btree_set(i..count.max(i + 1), 0..=4);
            (readers, 0..40i64)
        };
        let tensors: Vec<_> = (0..=count).map(tensor).collect();
        (Just(nodes), tensors).prop_map(move |(nodes, tensors)| {
            let mut nodes: Vec<CostNode> = nodes
                .into_iter()
                .map(|(edge_ns, cloud_ns, place)| CostNode { edge_ns, cloud_ns, place })
                .collect();
            let tensors: Vec<CostTensor> = tensors
                .into_iter()
                .enumerate()
                .map(|(i, (readers, crossing_ns))| CostTensor {
                    writer: if i == 0 { Value::Input } else { Value::Node(i - 1) },
                    readers: readers.into_iter().filter(|&r| r < nodes.len()).collect(),
                    crossing_ns,
                })
                .collect();
            if private {
                // The raw input stays on the board.
                for &reader in &tensors[0].readers {
                    nodes[reader].place = Place::Edge;
                }
            }
            Net { nodes, tensors, rtt_ns }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_equals_brute_force(net in any_net()) {
        let cut = net.cut();
        prop_assert_eq!(cut.as_ref().map(|cut| cut.total_ns), net.least());
        if let Some(cut) = cut {
            // The assignment is one that the rules allow, and costs what it says.
            prop_assert_eq!(net.cost(Net::bits(&cut)), Some(cut.total_ns));
            for (i, tensor) in net.tensors.iter().enumerate() {
                let here = match tensor.writer {
                    Value::Input => true,
                    Value::Node(writer) => cut.on_edge[writer],
                };
                let crosses = here && tensor.readers.iter().any(|&reader| !cut.on_edge[reader]);
                prop_assert_eq!(crosses, cut.crossing.contains(&i));
            }
        }
    }

    /// Of equal assignments the one with the fewest operators on the edge.
    #[test]
    fn of_equal_cuts_the_smallest_edge_part_is_taken(net in any_net()) {
        if let Some(cut) = net.cut() {
            let edge = Net::bits(&cut).count_ones();
            let equal = (0..1u32 << net.nodes.len())
                .filter(|&other| net.cost(other) == Some(cut.total_ns));
            prop_assert_eq!(equal.map(u32::count_ones).min(), Some(edge));
        }
    }

    /// One more pin never makes the least less.
    #[test]
    fn a_pin_never_helps(net in any_net(), at in any::<prop::sample::Index>(), cloud in any::<bool>()) {
        let mut pinned = net.clone();
        let node = &mut pinned.nodes[at.index(net.nodes.len())];
        if node.place == Place::Either {
            node.place = if cloud { Place::Cloud } else { Place::Edge };
            if let Some(cut) = pinned.cut() {
                prop_assert!(net.cut().unwrap().total_ns <= cut.total_ns);
            }
        }
    }
}

fn node(edge_ns: i64, cloud_ns: i64) -> CostNode {
    CostNode { edge_ns, cloud_ns, place: Place::Either }
}

fn tensor(writer: Value, readers: &[usize], crossing_ns: i64) -> CostTensor {
    CostTensor { writer, readers: readers.to_vec(), crossing_ns }
}

/// Three branches of one tensor: it crosses once for all of them, not once for each.
#[test]
fn a_tensor_crosses_once_however_many_read_it() {
    let net = Net {
        nodes: vec![node(10, 1), node(100, 1), node(100, 1), node(100, 1)],
        tensors: vec![tensor(Value::Input, &[0], 1000), tensor(Value::Node(0), &[1, 2, 3], 50)],
        rtt_ns: 7,
    };
    let cut = net.cut().unwrap();
    assert_eq!(
        cut,
        Cut {
            on_edge: vec![true, false, false, false],
            crossing: vec![1],
            total_ns: 10 + 50 + 3 + 7,
        }
    );
}

/// A block whose branches shrink what they read: two small tensors cross instead of a large one,
/// which no single point allows.
#[test]
fn several_small_tensors_may_cross_instead_of_one_large() {
    let net = Net {
        nodes: vec![node(5, 1), node(5, 1), node(5, 1), node(90, 1)],
        tensors: vec![
            tensor(Value::Input, &[0], 200),
            tensor(Value::Node(0), &[1, 2], 100),
            tensor(Value::Node(1), &[3], 10),
            tensor(Value::Node(2), &[3], 15),
        ],
        rtt_ns: 0,
    };
    let cut = net.cut().unwrap();
    assert_eq!((cut.crossing, cut.total_ns), (vec![2, 3], 15 + 25 + 1));
}

#[test]
fn the_round_trip_is_paid_once_or_not_at_all() {
    let chain = |rtt_ns| Net {
        nodes: vec![node(10, 5), node(10, 5)],
        tensors: vec![tensor(Value::Input, &[0], 1), tensor(Value::Node(0), &[1], 1)],
        rtt_ns,
    };
    let in_cloud = chain(9).cut().unwrap();
    assert_eq!((in_cloud.on_edge, in_cloud.total_ns), (vec![false, false], 20));
    let here = chain(10).cut().unwrap();
    assert_eq!((here.on_edge, here.total_ns), (vec![true, true], 20));
}

#[test]
fn what_contradicts_itself_has_no_cut() {
    let mut net = Net {
        nodes: vec![node(1, 1), node(1, 1)],
        tensors: vec![tensor(Value::Node(0), &[1], 1)],
        rtt_ns: 0,
    };
    net.nodes[0].place = Place::Cloud;
    net.nodes[1].place = Place::Edge;
    assert_eq!(net.cut(), None);
}

#[test]
fn a_graph_that_is_none_is_refused() {
    let new = |tensors, rtt| CostGraph::new(vec![node(1, 1), node(1, 1)], tensors, rtt);
    let back = new(vec![tensor(Value::Node(1), &[0], 1)], 0);
    assert!(matches!(back, Err(Error::ReaderNotBehind { tensor: 0, reader: 0 })));
    let outside = new(vec![tensor(Value::Input, &[2], 1)], 0);
    assert!(matches!(outside, Err(Error::ReaderNotBehind { tensor: 0, reader: 2 })));
    for (crossing, rtt) in [(-1, 0), (0, -1), (i64::MAX, i64::MAX), (i64::MAX / 4, 0)] {
        let refused = new(vec![tensor(Value::Input, &[0], crossing)], rtt);
        assert!(matches!(refused, Err(Error::Unaffordable)), "{crossing} {rtt}");
    }
    assert!(CostGraph::new(Vec::new(), Vec::new(), 0).unwrap().cut().is_some());
}
