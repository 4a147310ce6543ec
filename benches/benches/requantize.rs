//! The output stage: convolutions of one and two channels, where it is nearly all there is.
//! Throughput is in codes.
//!
//! `cargo bench -p seam-benches --bench requantize`

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::{Layer, Per, convolution, layer};

const LAYERS: &[Layer] = &[layer(1, 56, 64, 1, 1), layer(2, 56, 64, 1, 1), layer(2, 56, 24, 1, 1)];

fn output_stage(c: &mut Criterion) {
    for layer in LAYERS {
        convolution(c, format!("requantize {}", layer.name()), layer.geometry(), Per::Code);
    }
}

criterion_group!(benches, output_stage);
criterion_main!(benches);
