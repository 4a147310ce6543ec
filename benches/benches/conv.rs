//! Convolutions by every algorithm: the shapes of the tables in docs/performance.md, some of VGG16's
//! and ResNet-18's, and first layers.
//!
//! `cargo bench -p seam-benches --bench conv -- 'avx2.*64x56x56'`

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::{Layer, Per, convolution, layer};

const LAYERS: &[Layer] = &[
    layer(64, 56, 64, 3, 1),
    layer(128, 28, 128, 3, 1),
    layer(256, 14, 256, 3, 1),
    layer(512, 7, 512, 3, 1),
    layer(64, 56, 128, 1, 2),
    layer(192, 28, 96, 1, 1),
    layer(480, 14, 192, 1, 1),
    layer(96, 56, 24, 1, 1),
    layer(64, 224, 64, 3, 1),
    layer(64, 55, 16, 1, 1),
    // VGG16's second and third convolutions.
    layer(64, 112, 128, 3, 1),
    layer(128, 112, 128, 3, 1),
    layer(128, 56, 256, 3, 1),
    layer(256, 56, 256, 3, 1),
    // ResNet-18's layers at stride 2.
    layer(64, 56, 128, 3, 2),
    layer(128, 28, 256, 3, 2),
    layer(256, 14, 512, 3, 2),
    // First layers.
    layer(3, 224, 64, 7, 2),
    layer(3, 224, 32, 3, 2),
];

fn convolutions(c: &mut Criterion) {
    for layer in LAYERS {
        convolution(c, format!("conv {}", layer.name()), layer.geometry(), Per::Operation);
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
