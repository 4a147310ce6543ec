//! Where the weights of every step lie in the file.

use std::ops::Range;

use super::ALIGN;
use crate::graph::{Graph, Op, Step};

/// Byte ranges of a step's arrays in the file; empty where the step has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrays {
    pub(crate) scales: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) weights: Range<usize>,
}

/// Where everything behind the header lies.
pub(crate) struct Layout {
    header: usize,
    steps: Vec<Arrays>,
    /// End of the prefix of every candidate, then of the file.
    ends: Vec<usize>,
}

impl Layout {
    /// The layout of a validated graph behind a header of `header` bytes. Validation has bounded
    /// the sum of all weights, so nothing here overflows.
    pub(crate) fn of(graph: &Graph, header: usize) -> Layout {
        let mut at = header;
        let mut place = |len: usize| {
            let start = at;
            at = (start + len).next_multiple_of(ALIGN);
            start..start + len
        };
        let mut steps = Vec::with_capacity(graph.steps.len());
        let mut step_ends = vec![header];
        for step in &graph.steps {
            let [scales, bias, weights] = array_bytes(step);
            let arrays =
                Arrays { scales: place(scales), bias: place(bias), weights: place(weights) };
            step_ends.push(arrays.weights.end.next_multiple_of(ALIGN));
            steps.push(arrays);
        }
        let end = *step_ends.last().unwrap_or(&header);
        let candidates = graph.candidates.iter().map(|c| step_ends[c.steps as usize]);
        Layout { header, steps, ends: candidates.chain([end]).collect() }
    }

    pub(crate) fn header_len(&self) -> usize {
        self.header
    }

    pub(crate) fn step(&self, step: usize) -> &Arrays {
        &self.steps[step]
    }

    /// End of the prefix of candidate `i`; of the file, behind the last candidate.
    pub(crate) fn prefix_len(&self, i: usize) -> usize {
        self.ends[i]
    }

    /// End of the file.
    pub(crate) fn end(&self) -> usize {
        self.ends[self.ends.len() - 1]
    }

    /// Prefix lengths of all candidates, then of the file; ascending.
    pub(crate) fn prefix_lens(&self) -> &[usize] {
        &self.ends
    }
}

/// Bytes of a step's scales, bias and weights.
pub(crate) fn array_bytes(step: &Step) -> [usize; 3] {
    match &step.op {
        Op::Conv { geometry, .. } => {
            [4 * geometry.output.c, 4 * geometry.output.c, geometry.weights()]
        }
        Op::FloatConv { geometry, .. } => [0, 4 * geometry.output.c, 2 * geometry.weights()],
        _ => [0; 3],
    }
}
