//! Criterion benches of kernels, sessions and planning: see the folder `benches/`. Here is what those of
//! convolutions share.
//!
//! Every kernel's result is compared with the oracle's once before it is timed. One thread.

pub mod net;
pub mod plans;

use aligned_vec::avec;
use criterion::{Criterion, Throughput};
use seam_kernels::conv::Conv;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window, reference};

/// A square convolution, padded by half of its kernel.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Channels in.
    pub inputs: usize,
    /// Rows and columns in.
    pub size: usize,
    /// Channels out.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns from one position to the next.
    pub stride: usize,
    /// Groups.
    pub groups: usize,
}

/// A dense convolution.
pub const fn layer(
    inputs: usize,
    size: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Layer {
    Layer { inputs, size, outputs, kernel, stride, groups: 1 }
}

/// A depthwise convolution.
pub const fn depthwise(channels: usize, size: usize, kernel: usize, stride: usize) -> Layer {
    Layer { groups: channels, ..layer(channels, size, channels, kernel, stride) }
}

impl Layer {
    /// Its geometry.
    pub fn geometry(&self) -> ConvGeometry {
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

    /// `192x28x28 k1 s1 96`: channels, rows and columns in, kernel, stride, channels out.
    pub fn name(&self) -> String {
        let Layer { inputs, size, outputs, kernel, stride, .. } = self;
        format!("{inputs}x{size}x{size} k{kernel} s{stride} {outputs}")
    }
}

/// What throughput counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// Operations, two per multiply-accumulate, taps on padding counted: `Gelem/s` is GOP/s.
    Operation,
    /// Bytes of weights.
    WeightByte,
    /// Output codes.
    Code,
}

/// Bytes without a pattern that a kernel could profit from.
fn bytes(n: usize) -> impl Iterator<Item = u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8)
}

/// Benches every kernel of this CPU that can run `geometry`, under the name `group`.
///
/// # Panics
/// A kernel does not give the oracle's bits.
pub fn convolution(c: &mut Criterion, group: String, g: ConvGeometry, per: Per) {
    let team = Team::new(1).expect("a team of one starts no thread");
    let (zero_point, clamp) = (128, Clamp::none(120));
    let x: Vec<u8> = bytes(g.input.len()).collect();
    // Half of the range: sums stay where every algorithm is exact.
    let weights: Vec<i8> = bytes(g.weights()).map(|b| b as i8 / 2).collect();
    let bias = vec![1000; g.output.c];
    let multipliers = vec![0.01 / (g.depth() as f32).sqrt(); g.output.c];
    let view = View::dense(&x, g.input);
    let mut want: Option<Vec<u8>> = None;

    let mut group = c.benchmark_group(group);
    group.sample_size(20).throughput(match per {
        Per::Operation => Throughput::Elements(2 * g.macs()),
        Per::WeightByte => Throughput::Bytes(g.weights() as u64),
        Per::Code => Throughput::Elements(g.output.len() as u64),
    });
    let algorithms = Conv::algorithms(Isa::best(), &g);
    for algorithm in algorithms.into_iter().filter(|a| a.is_exact(&g, &weights)) {
        let conv = Conv::with_algorithm(g, zero_point, clamp, algorithm);
        group.bench_function(conv.name(), |b| {
            let want = want.get_or_insert_with(|| {
                let mut want = vec![0; g.output.len()];
                let out = ViewMut::dense(&mut want, g.output);
                reference::conv(&g, zero_point, clamp, &weights, &bias, &multipliers, view, out);
                want
            });
            let mut packed = avec![[64]| 0u8; conv.packed_len()];
            conv.pack(&weights, &bias, &multipliers, &mut packed);
            let mut scratch = avec![[64]| 0u8; conv.scratch_len(team.threads())];
            let mut y = vec![0; g.output.len()];
            let mut run = |y: &mut [u8]| {
                conv.run(&packed, view, ViewMut::dense(y, g.output), &mut scratch, &team)
            };
            run(&mut y);
            assert!(y == *want, "{} does not give the oracle's bits", conv.name());
            b.iter(|| run(&mut y));
        });
    }
}
