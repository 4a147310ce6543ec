//! Products of matrices: a convolution of one tap, pixels by depth by channels.
//!
//! `cargo bench -p seam-benches --bench gemm`

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::{Per, convolution};
use seam_kernels::{ConvGeometry, Shape, Window};

/// Rows and columns of the left matrix, columns of the right one.
const SHAPES: &[[usize; 3]] = &[
    [256, 256, 256],
    [512, 512, 512],
    [1000, 1000, 1000],
    [3136, 64, 64],
    [784, 512, 128],
    [196, 1024, 256],
    [49, 2048, 512],
    [7, 512, 512],
];

fn products(c: &mut Criterion) {
    for &[rows, depth, columns] in SHAPES {
        let geometry = ConvGeometry {
            input: Shape::new(rows, 1, depth),
            output: Shape::new(rows, 1, columns),
            window: Window::POINTWISE,
            groups: 1,
        };
        convolution(c, format!("gemm {rows}x{depth}x{columns}"), geometry, Per::Operation);
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
