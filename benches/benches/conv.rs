//! Convolution and fully connected layers on one thread, by every algorithm: the shapes of FACTS
//! §10, VGG16's, first layers, depthwise and fully connected ones.
//!
//! Every kernel's result is compared with the oracle's once before it is timed. Throughput is in
//! operations, two per multiply-accumulate (criterion prints `Gelem/s`: GOP/s); taps that fall on
//! padding count.
//!
//! `cargo bench -p seam-benches --bench conv -- 'avx2.*64x56x56'`

use aligned_vec::avec;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seam_kernels::conv::Conv;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window, reference};

struct Layer {
    inputs: usize,
    size: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

const fn layer(inputs: usize, size: usize, outputs: usize, kernel: usize, stride: usize) -> Layer {
    Layer { inputs, size, outputs, kernel, stride, groups: 1 }
}

const fn depthwise(channels: usize, size: usize, stride: usize) -> Layer {
    Layer { groups: channels, ..layer(channels, size, channels, 3, stride) }
}

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
    // First layers.
    layer(3, 224, 64, 7, 2),
    layer(3, 224, 32, 3, 2),
    // Fully connected.
    layer(9216, 1, 4096, 1, 1),
    layer(512, 1, 1000, 1, 1),
    depthwise(32, 112, 1),
    depthwise(96, 112, 2),
    depthwise(384, 14, 1),
];

impl Layer {
    fn geometry(&self) -> ConvGeometry {
        let pad = self.kernel / 2;
        let out = (self.size + 2 * pad - self.kernel) / self.stride + 1;
        ConvGeometry {
            input: Shape::new(self.size, self.size, self.inputs),
            output: Shape::new(out, out, self.outputs),
            window: Window {
                kernel: [self.kernel; 2],
                stride: [self.stride; 2],
                dilation: [1, 1],
                pad: [pad; 2],
            },
            groups: self.groups,
        }
    }
}

/// Bytes without a pattern that a kernel could profit from.
fn bytes(n: usize) -> impl Iterator<Item = u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8)
}

fn convolutions(c: &mut Criterion) {
    let team = Team::new(1).expect("a team of one starts no thread");
    let (zero_point, clamp) = (128, Clamp::none(120));
    for layer in LAYERS {
        let g = layer.geometry();
        let x: Vec<u8> = bytes(g.input.len()).collect();
        let weights: Vec<i8> = bytes(g.weights()).map(|b| (b as i8).max(-127)).collect();
        let bias = vec![1000; g.output.c];
        let multipliers = vec![0.01 / (g.depth() as f32).sqrt(); g.output.c];
        let view = View::dense(&x, g.input);
        let mut want = vec![0; g.output.len()];
        let mut known = false;

        let kind = if g.is_depthwise() { "depthwise" } else { "conv" };
        let mut group = c.benchmark_group(format!(
            "{kind} {}x{}x{} k{} s{} {}",
            g.input.c, g.input.h, g.input.w, layer.kernel, layer.stride, g.output.c
        ));
        group.throughput(Throughput::Elements(2 * g.macs())).sample_size(20);
        let algorithms = Conv::algorithms(Isa::best(), &g);
        for algorithm in algorithms.into_iter().filter(|a| a.is_exact(&g, &weights)) {
            let conv = Conv::with_algorithm(g, zero_point, clamp, algorithm);
            group.bench_function(conv.name(), |b| {
                if !known {
                    let out = ViewMut::dense(&mut want, g.output);
                    reference::conv(
                        &g,
                        zero_point,
                        clamp,
                        &weights,
                        &bias,
                        &multipliers,
                        view,
                        out,
                    );
                    known = true;
                }
                let mut packed = avec![[64]| 0u8; conv.packed_len()];
                conv.pack(&weights, &bias, &multipliers, &mut packed);
                let mut scratch = avec![[64]| 0u8; conv.scratch_len(team.threads())];
                let mut y = vec![0; g.output.len()];
                let mut run = |y: &mut [u8]| {
                    conv.run(&packed, view, ViewMut::dense(y, g.output), &mut scratch, &team)
                };
                run(&mut y);
                assert!(y == want, "{} does not give the oracle's bits", conv.name());
                b.iter(|| run(&mut y));
            });
        }
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
