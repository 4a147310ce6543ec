//! Pools, add, tables, LRN, softmax, slice, pad, copy and float layers give the oracle's bits on
//! every instruction set of this CPU, for any shape, pixel strides and quantization, with 1, 2 and
//! 7 threads; they touch no byte outside of their tensors (which end at an unmapped page) and write
//! none between the pixels.

mod common;

use common::{Guarded, Rng, config};
use half::f16;
use proptest::prelude::*;
use seam_kernels::add::Add;
use seam_kernels::float::{self, Input, Output};
use seam_kernels::isa::IsaKind;
use seam_kernels::lrn::Lrn;
use seam_kernels::pool::{self, AveragePool, GlobalAveragePool};
use seam_kernels::softmax::Softmax;
use seam_kernels::table::{self, Table};
use seam_kernels::{Clamp, ConvGeometry, Isa, PoolGeometry, Shape, Team, View, ViewMut, Window};
use seam_kernels::{rearrange, reference};

const FILL: u8 = 0xA5;

/// A tensor of random codes with random bytes between its pixels; its last byte is the last that
/// can be touched.
struct Tensor {
    bytes: Guarded,
    shape: Shape,
    stride: usize,
}

impl Tensor {
    fn random(rng: &mut Rng, shape: Shape, gap: usize) -> Tensor {
        let stride = shape.c + gap;
        let mut bytes = rng.bytes(shape.span(stride));
        // The ends of the range are where sums and squares are largest.
        match rng.below(4) {
            0 => bytes.iter_mut().for_each(|b| *b = if *b < 128 { 0 } else { 255 }),
            1 => bytes.fill(255),
            _ => {}
        }
        Tensor { bytes: Guarded::from(&bytes), shape, stride }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.bytes, self.shape, self.stride)
    }
}

/// Runs `kernel` on every instruction set with every team and compares with `expected` (dense).
fn check(teams: &[Team], shape: Shape, gap: usize, expected: &[u8], kernel: Kernel) {
    let start = vec![FILL; shape.span(shape.c + gap)];
    check_from(teams, shape, gap, &start, expected, kernel);
}

type Kernel<'a> = &'a dyn Fn(Isa, ViewMut, &Team);

/// The same with the output's bytes before the call.
fn check_from(
    teams: &[Team],
    shape: Shape,
    gap: usize,
    start: &[u8],
    expected: &[u8],
    kernel: Kernel,
) {
    let stride = shape.c + gap;
    assert_eq!(expected.len(), shape.len());
    for isa in Isa::available() {
        for team in teams {
            let mut bytes = Guarded::from(start);
            kernel(isa, ViewMut::new(&mut bytes, shape, stride), team);
            for (i, (&byte, &before)) in bytes.iter().zip(start).enumerate() {
                let (pixel, c) = (i / stride, i % stride);
                let want = if c < shape.c { expected[pixel * shape.c + c] } else { before };
                assert_eq!(byte, want, "pixel {pixel} byte {c}, {isa}, {}", team.threads());
            }
        }
    }
}

fn teams() -> Vec<Team> {
    [1, 2, 7].into_iter().map(|threads| Team::new(threads).unwrap()).collect()
}

/// Channel counts around the widths that kernels work in, and gaps.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..20usize, prop::sample::select(vec![31, 32, 33, 63, 64, 65, 80, 96, 127, 160])]
}

fn gap() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 0, 1, 7, 64])
}

/// Shapes up to a few hundred KiB, most of them small.
fn shape() -> impl Strategy<Value = Shape> {
    let side = || prop_oneof![4 => 1..9usize, 1 => 9..33usize];
    (side(), side(), channels()).prop_map(|(h, w, c)| Shape::new(h, w, c))
}

/// Scale and zero point.
fn quantization() -> impl Strategy<Value = (f32, u8)> {
    (0.002..0.2f32, any::<u8>())
}

fn clamp() -> impl Strategy<Value = Clamp> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(zero_point, a, b, none)| {
        if none {
            Clamp::none(zero_point)
        } else {
            Clamp { zero_point, lo: a.min(b), hi: a.max(b) }
        }
    })
}

/// A window over `input`; the output may overhang the padding's end, as `ceil_mode` makes it.
fn pool() -> impl Strategy<Value = PoolGeometry> {
    let axis = || (1..5usize, 1..4usize, 1..3usize, 0..4usize, any::<bool>());
    (shape(), axis(), axis()).prop_map(|(input, rows, columns)| {
        let size = |input: usize, (kernel, stride, dilation, pad, ceil): Axis| {
            let covered = (kernel - 1) * dilation + 1;
            let room = (input + 2 * pad).saturating_sub(covered);
            if ceil { room.div_ceil(stride) + 1 } else { room / stride + 1 }
        };
        let (h, w) = (size(input.h, rows), size(input.w, columns));
        PoolGeometry {
            input,
            output: Shape::new(h, w, input.c),
            window: Window {
                kernel: [rows.0, columns.0],
                stride: [rows.1, columns.1],
                dilation: [rows.2, columns.2],
                pad: [rows.3, columns.3],
            },
        }
    })
}

type Axis = (usize, usize, usize, usize, bool);

/// Runs `test` on `cases` values of `strategy`.
fn forall<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value, &mut Rng)) {
    let mut runner = proptest::test_runner::TestRunner::new(config(cases));
    let result = runner.run(&(strategy, any::<u64>()), |(value, seed)| {
        test(value, &mut Rng::new(seed));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn max_pool() {
    let teams = teams();
    forall(150, (pool(), gap(), gap()), |(geometry, x_gap, y_gap), rng| {
        let x = Tensor::random(rng, geometry.input, x_gap);
        let expected = reference::max_pool(&geometry, x.view());
        check(&teams, geometry.output, y_gap, &expected, &|isa, y, team| {
            pool::max(isa, &geometry, x.view(), y, team);
        });
    });
}

#[test]
fn average_pool() {
    let teams = teams();
    let cases = (pool(), gap(), gap(), any::<bool>(), quantization(), 0.002..0.2f32, clamp());
    forall(150, cases, |(geometry, x_gap, y_gap, include_pad, input, scale, clamp), rng| {
        let x = Tensor::random(rng, geometry.input, x_gap);
        let expected =
            reference::average_pool(&geometry, include_pad, input, scale, clamp, x.view());
        check(&teams, geometry.output, y_gap, &expected, &|isa, y, team| {
            AveragePool::new(isa, geometry, include_pad, input.0, input.1, scale, clamp).run(
                x.view(),
                y,
                team,
            );
        });
    });
}

#[test]
fn global_average_pool() {
    let teams = teams();
    let cases = (shape(), gap(), quantization(), 0.002..0.2f32, clamp());
    forall(150, cases, |(shape, x_gap, input, scale, clamp), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let expected = reference::global_average_pool(input, scale, clamp, x.view());
        check(&teams, Shape::new(1, 1, shape.c), 0, &expected, &|isa, y, team| {
            GlobalAveragePool::new(isa, shape, input.0, input.1, scale, clamp).run(
                x.view(),
                y,
                team,
            );
        });
    });
}

#[test]
fn add() {
    let teams = teams();
    let operand = || (quantization(), gap());
    let cases = (shape(), operand(), operand(), operand(), clamp());
    forall(150, cases, |(shape, (qa, a_gap), (qb, b_gap), (qy, y_gap), clamp), rng| {
        let a = Tensor::random(rng, shape, a_gap);
        let b = Tensor::random(rng, shape, b_gap);
        let (va, vb) = (a.view(), b.view());
        let (lo, hi) = (clamp.lo, clamp.hi);
        let expected = reference::add((va, qa.0, qa.1), (vb, qb.0, qb.1), qy, lo, hi);
        check(&teams, shape, y_gap, &expected, &|isa, y, team| {
            Add::new(isa, qa, qb, qy, lo, hi).run(va, vb, y, team);
        });
        check_from(&teams, shape, a_gap, &a.bytes, &expected, &|isa, ab, team| {
            Add::new(isa, qa, qb, qy, lo, hi).run_in_place(ab, vb, team);
        });
    });
}

#[test]
fn table_look_up() {
    let teams = teams();
    forall(150, (shape(), gap(), gap()), |(shape, x_gap, y_gap), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let codes = rng.bytes(256);
        let table = Table(std::array::from_fn(|q| codes[q]));
        let expected = reference::look_up(&table.0, x.view());
        check(&teams, shape, y_gap, &expected, &|isa, y, team| {
            table::apply(isa, &table, x.view(), y, team);
        });
    });
}

#[test]
fn lrn() {
    let teams = teams();
    let window = prop_oneof![4 => 1..8usize, 1 => 8..90usize];
    let beta = prop_oneof![Just(0.75f32), 0.0..3.0f32];
    let parameters = (window, 0.0..2.0f32, beta, 0.0..3.0f32);
    let cases = (shape(), gap(), gap(), parameters, quantization(), 0.002..0.2f32, clamp());
    forall(150, cases, |(shape, x_gap, y_gap, parameters, input, output_scale, clamp), rng| {
        let (size, alpha, beta, bias) = parameters;
        let x = Tensor::random(rng, shape, x_gap);
        let form = reference::Lrn { size, alpha, beta, bias, input, output_scale, clamp };
        let expected = reference::lrn(&form, x.view());
        check(&teams, shape, y_gap, &expected, &|isa, y, team| {
            Lrn::new(isa, size, alpha, beta, bias, input, output_scale, clamp).run(
                x.view(),
                y,
                team,
            );
        });
    });
}

/// The definition itself: AlexNet's and GoogLeNet's parameters against f64 and the system's power.
#[test]
fn lrn_is_the_true_value_rounded() {
    let mut rng = Rng::new(5);
    let shape = Shape::new(40, 40, 96);
    let (mut differing, mut total) = (0, 0);
    for (size, alpha, beta, bias) in
        [(5, 1e-4, 0.75, 1.0), (5, 1e-4, 0.75, 2.0), (3, 0.01, 0.5, 0.3), (7, 1.0, 1.25, 1.0)]
    {
        let x = Tensor::random(&mut rng, shape, 0);
        let (input, output) = ((0.7_f32, 12), 0.9_f32);
        let clamp = Clamp::none(9);
        let form = reference::Lrn { size, alpha, beta, bias, input, output_scale: output, clamp };
        let codes = reference::lrn(&form, x.view());
        for (pixel, codes) in codes.chunks(shape.c).enumerate() {
            let real = |c: usize| f64::from(input.0) * (f64::from(x.view().pixel(pixel)[c]) - 12.0);
            for (c, &code) in codes.iter().enumerate() {
                let first = c.saturating_sub((size - 1) / 2);
                let end = (c + size / 2 + 1).min(shape.c);
                let squares: f64 = (first..end).map(|c| real(c) * real(c)).sum();
                let t = f64::from(bias) + f64::from(alpha) / size as f64 * squares;
                let v = real(c) * t.powf(-f64::from(beta)) / f64::from(output);
                let exact = (v.clamp(-9.0, 246.0) + 9.0).clamp(0.0, 255.0);
                // A code away only where the exact value is all but half-way.
                assert!((f64::from(code) - exact).abs() <= 0.5 + 1e-3, "{code} for {exact}");
                differing += u32::from(f64::from(code) != exact.round_ties_even());
                total += 1;
            }
        }
    }
    assert!(differing * 2000 < total, "{differing} of {total}");
}

#[test]
fn softmax() {
    let teams = teams();
    let cases = (shape(), gap(), gap(), 0.001..2.0f32, (1e-4..0.02f32, any::<u8>()));
    forall(100, cases, |(shape, x_gap, y_gap, scale, output), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let expected = reference::softmax(scale, output, x.view());
        let kernel = Softmax::new(scale, output);
        check(&teams, shape, y_gap, &expected, &|_, y, team| kernel.run(x.view(), y, team));
        for (x, y) in (0..shape.pixels()).map(|i| x.view().pixel(i)).zip(expected.chunks(shape.c)) {
            let exp = |q: u8| (f64::from(scale) * f64::from(q)).exp();
            let sum: f64 = x.iter().map(|&q| exp(q)).sum();
            for (&x, &y) in x.iter().zip(y) {
                let exact = exp(x) / sum / f64::from(output.0) + f64::from(output.1);
                let exact = exact.clamp(0.0, 255.0);
                assert!((f64::from(y) - exact).abs() <= 0.5 + 1e-3, "{y} for {exact}");
            }
        }
    });
}

#[test]
fn copy() {
    let teams = teams();
    forall(100, (shape(), gap(), gap()), |(shape, x_gap, y_gap), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let identity = std::array::from_fn(|q| q as u8);
        let expected = reference::look_up(&identity, x.view());
        check(&teams, shape, y_gap, &expected, &|_, y, team| rearrange::copy(x.view(), y, team));
    });
}

#[test]
fn slice() {
    let teams = teams();
    let steps = (1..4usize, 1..4usize, 1..4usize);
    forall(100, (shape(), gap(), gap(), steps), |(shape, x_gap, y_gap, steps), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let step = [steps.0, steps.1, steps.2];
        let sizes = [shape.h, shape.w, shape.c];
        let start: [usize; 3] = std::array::from_fn(|axis| rng.below(sizes[axis]));
        let size: [usize; 3] = std::array::from_fn(|axis| {
            1 + rng.below((sizes[axis] - start[axis]).div_ceil(step[axis]))
        });
        let output = Shape::new(size[0], size[1], size[2]);
        let expected = reference::slice(start, step, x.view(), output);
        check(&teams, output, y_gap, &expected, &|_, y, team| {
            rearrange::slice(start, step, x.view(), y, team);
        });
    });
}

#[test]
fn pad() {
    let teams = teams();
    let amount = || (0..4usize, 0..4usize, 0..40usize);
    let cases = (shape(), gap(), gap(), amount(), amount(), any::<u8>());
    forall(100, cases, |(shape, x_gap, y_gap, before, after, value), rng| {
        let x = Tensor::random(rng, shape, x_gap);
        let before = [before.0, before.1, before.2];
        let output = Shape::new(
            before[0] + shape.h + after.0,
            before[1] + shape.w + after.1,
            before[2] + shape.c + after.2,
        );
        let expected = reference::pad(before, value, x.view(), output);
        check(&teams, output, y_gap, &expected, &|_, y, team| {
            rearrange::pad(before, value, x.view(), y, team);
        });
    });
}

/// A small convolution: image, kernel, stride, padding, groups, channels of a group on both sides.
fn conv() -> impl Strategy<Value = ConvGeometry> {
    let axis = || (1..8usize, 1..4usize, 1..3usize, 0..2usize);
    let group_inputs = prop_oneof![1..20usize, 60..140usize];
    (axis(), axis(), 1..4usize, group_inputs, 1..9usize).prop_map(
        |(rows, columns, groups, inputs, outputs)| {
            let size = |(input, kernel, stride, pad): (usize, usize, usize, usize)| {
                (input + 2 * pad).saturating_sub(kernel) / stride + 1
            };
            ConvGeometry {
                input: Shape::new(rows.0, columns.0, groups * inputs),
                output: Shape::new(size(rows), size(columns), groups * outputs),
                window: Window {
                    kernel: [rows.1, columns.1],
                    stride: [rows.2, columns.2],
                    dilation: [1, 1],
                    pad: [rows.3, columns.3],
                },
                groups,
            }
        },
    )
}

#[test]
fn float_conv() {
    let teams = teams();
    let fully_connected = (1..700usize, 1..40usize)
        .prop_map(|(inputs, outputs)| ConvGeometry::fully_connected(inputs, outputs));
    let geometry = prop_oneof![3 => conv(), 1 => fully_connected];
    let cases = (geometry, gap(), gap(), quantization(), quantization(), any::<bool>());
    forall(150, cases, |(geometry, x_gap, y_gap, input, output, relu), rng| {
        let real = |rng: &mut Rng| rng.below(20_001) as f32 / 1e4 - 1.0;
        let weights: Vec<f16> = (0..geometry.weights()).map(|_| f16::from_f32(real(rng))).collect();
        let bias: Vec<f32> = (0..geometry.output.c).map(|_| real(rng)).collect();
        let limits = if relu { [0.0, 6.0] } else { [f32::NEG_INFINITY, f32::INFINITY] };
        let x = Tensor::random(rng, geometry.input, x_gap);
        let values: Vec<f32> = (0..geometry.input.pixels())
            .flat_map(|i| x.view().pixel(i))
            .map(|&q| (f32::from(q) - f32::from(input.1)) * input.0)
            .collect();
        let expected = reference::float_conv(&geometry, &weights, &bias, &values, limits);
        let zero = f32::from(output.1);
        let codes: Vec<u8> = expected
            .iter()
            .map(|v| ((v / output.0).clamp(-zero, 255.0 - zero).round_ties_even() + zero) as u8)
            .collect();
        let inputs = [Input::U8(x.view(), input), Input::F32(&values)];
        for x in inputs {
            check(&teams, geometry.output, y_gap, &codes, &|isa, y, team| {
                let y = Output::U8(y, output);
                float::conv(isa, &geometry, &weights, &bias, x, y, limits, team);
            });
            for isa in Isa::available() {
                for team in &teams {
                    let mut y = vec![f32::NAN; geometry.output.len()];
                    let out = Output::F32(&mut y);
                    float::conv(isa, &geometry, &weights, &bias, x, out, limits, team);
                    assert_eq!(y, expected, "{isa}, {} threads", team.threads());
                }
            }
        }
    });
}

/// What the system says the CPU has, `Isa::available` must list: an instruction set that detection
/// loses would otherwise go untested without a word.
#[test]
fn every_instruction_set_of_this_cpu_is_tested() {
    let tested: Vec<IsaKind> = Isa::available().map(Isa::kind).collect();
    assert!(tested.contains(&IsaKind::Portable));
    if cfg!(target_arch = "aarch64") {
        // Advanced SIMD is part of the architecture's base.
        assert!(tested.contains(&IsaKind::Neon));
    }
    let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return };
    let listed = |kind, words: &[&str]| {
        let line = text.lines().find(|l| l.starts_with("flags") || l.starts_with("Features"));
        let words_of_cpu: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
        let has = words.iter().all(|word| words_of_cpu.contains(word));
        assert_eq!(has, tested.contains(&kind), "{kind:?}: {words:?} in /proc/cpuinfo");
    };
    if cfg!(target_arch = "x86_64") {
        listed(IsaKind::Avx2, &["avx2", "fma"]);
        listed(IsaKind::AvxVnni, &["avx2", "fma", "avx_vnni"]);
        let avx512 = ["avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"];
        listed(IsaKind::Avx512Vnni, &avx512);
    }
}
