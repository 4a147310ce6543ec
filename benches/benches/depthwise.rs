//! Depthwise convolutions by every algorithm.
//!
//! `cargo bench -p seam-benches --bench depthwise`

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::{Layer, Per, convolution, depthwise};

const LAYERS: &[Layer] = &[
    depthwise(32, 112, 3, 1),
    depthwise(96, 112, 3, 2),
    depthwise(144, 56, 3, 1),
    depthwise(384, 14, 3, 1),
    depthwise(576, 14, 5, 1),
];

fn depthwise_convolutions(c: &mut Criterion) {
    for layer in LAYERS {
        convolution(c, format!("depthwise {}", layer.name()), layer.geometry(), Per::Operation);
    }
}

criterion_group!(benches, depthwise_convolutions);
criterion_main!(benches);
