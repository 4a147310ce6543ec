//! Fully connected layers: throughput is in bytes of weights, for they are what takes the time. The
//! small ones stay in a cache here; `seam-edge kernels` times them from memory.
//!
//! `cargo bench -p seam-benches --bench fc`

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::{Per, convolution};
use seam_kernels::ConvGeometry;

/// Inputs and outputs.
const SHAPES: &[[usize; 2]] = &[[9216, 4096], [4096, 4096], [4096, 1000], [512, 1000]];

fn fully_connected(c: &mut Criterion) {
    for &[inputs, outputs] in SHAPES {
        let geometry = ConvGeometry::fully_connected(inputs, outputs);
        convolution(c, format!("fc {inputs} {outputs}"), geometry, Per::WeightByte);
    }
}

criterion_group!(benches, fully_connected);
criterion_main!(benches);
