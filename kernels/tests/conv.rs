//! Promise: every convolution kernel of this CPU gives the oracle's bits, for any shape, any
//! number of threads, and touches no byte that is not its own.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;

use common::{Guarded, Rng, config};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use seam_kernels::conv::{Algorithm, Conv};
use seam_kernels::fixed_point::FixedPoint;
use seam_kernels::requantize::multipliers;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window, reference};

/// What lies between the pixels of an output, and must stay.
const GAP: u8 = 0xa5;

#[derive(Clone, Debug)]
struct Case {
    geometry: ConvGeometry,
    zero_point: u8,
    clamp: Clamp,
    /// Bytes between the pixels of input and output.
    gaps: [usize; 2],
    /// Extremes instead of random values: all activations (0: random), all weights.
    extreme: [u8; 2],
    seed: u64,
}

struct Data {
    x: Vec<u8>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

impl Case {
    fn data(&self) -> Data {
        let g = &self.geometry;
        let mut rng = Rng::new(self.seed);
        let x = match self.extreme[0] {
            0 => rng.bytes(g.input.span(g.input.c + self.gaps[0])),
            1 => vec![0; g.input.span(g.input.c + self.gaps[0])],
            _ => vec![255; g.input.span(g.input.c + self.gaps[0])],
        };
        let weights = (0..g.weights()).map(|_| match self.extreme[1] {
            0 => (rng.below(255) as i32 - 127) as i8,
            1 => 127,
            2 => -127,
            _ => [127, -127][rng.below(2)],
        });
        let weights = weights.collect();
        let bias = (0..g.output.c).map(|_| rng.below(20_000) as i32 - 10_000).collect();
        let scales: Vec<f32> =
            (0..g.output.c).map(|_| 0.001 + rng.below(1000) as f32 * 1e-5).collect();
        // Most codes neither saturate nor vanish.
        let sy = 0.02 * (g.depth() as f32).sqrt();
        Data { x, weights, bias, multipliers: multipliers(0.03, &scales, sy) }
    }

    fn check(&self, data: &Data, want: &[u8], conv: &Conv, team: &Team) {
        let g = &self.geometry;
        let mut packed = Guarded::aligned(conv.packed_len(), 0xff, 64);
        conv.pack(&data.weights, &data.bias, &data.multipliers, &mut packed);
        let x = Guarded::from(&data.x);
        let y_stride = g.output.c + self.gaps[1];
        let mut y = Guarded::new(g.output.span(y_stride), GAP);
        let mut scratch = Guarded::new(conv.scratch_len(team.threads()), 0x99);
        let view = View::new(&x, g.input, g.input.c + self.gaps[0]);
        let out = ViewMut::new(&mut y, g.output, y_stride);
        conv.run(&packed, view, out, &mut scratch, team);
        for (i, pixel) in y.chunks(y_stride).enumerate() {
            let (codes, gap) = pixel.split_at(g.output.c);
            let want = &want[i * g.output.c..][..g.output.c];
            assert_eq!(codes, want, "{} on {} threads, pixel {i}", conv.name(), team.threads());
            assert!(gap.iter().all(|&b| b == GAP), "{} wrote between pixels", conv.name());
        }
    }
}

/// Sizes up to `around + 2`, those near multiples of `step` first.
fn size(step: usize, around: usize) -> impl Strategy<Value = usize> + Clone {
    let near = (0..=around / step, 0..3usize).prop_map(move |(n, d)| (n * step + d).max(2) - 1);
    prop_oneof![1..=around, near]
}

fn cases() -> impl Strategy<Value = Case> {
    let window = (
        prop_oneof![
            Just([1, 1]),
            Just([3, 3]),
            Just([5, 5]),
            Just([1, 3]),
            Just([4, 2]),
            Just([2, 3]),
            Just([7, 7])
        ],
        prop_oneof![3 => Just([1, 1]), 2 => Just([2, 2]), 1 => Just([1, 3]), 1 => Just([3, 1])],
        prop_oneof![3 => Just([1, 1]), 1 => Just([2, 2]), 1 => Just([1, 3])],
        // More rows than the window has: some windows see nothing but padding.
        (prop_oneof![3 => 0..3usize, 1 => 3..9usize], 0..3usize),
        (prop_oneof![3 => 0..3usize, 1 => 3..9usize], 0..3usize),
    );
    let channels = prop_oneof![
        // One group.
        (size(16, 70), size(8, 70)).prop_map(|(i, o)| (i, o, 1)),
        // Several.
        (2..5usize, size(4, 18), size(4, 18)).prop_map(|(g, i, o)| (g * i, g * o, g)),
        // Depthwise, and with a channel multiplier.
        (size(16, 70)).prop_map(|c| (c, c, c)),
        (2..20usize, 2..4usize).prop_map(|(c, m)| (c, c * m, c)),
    ];
    let quantization = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
    let rest = ([0..4usize, 0..4usize], [0..3u8, 0..4u8], any::<u64>());
    (window, channels, [1..12usize, 1..12usize], quantization, rest).prop_filter_map(
        "a window larger than the padded image",
        |(
            (kernel, stride, dilation, (above, left), (below, right)),
            (i, o, groups),
            [h, w],
            q,
            (gaps, extreme, seed),
        )| {
            let (pad, after) = ([above, left], [below, right]);
            let out = |axis: usize, size: usize| {
                let reach = (kernel[axis] - 1) * dilation[axis] + 1;
                let padded = size + pad[axis] + after[axis];
                Some(padded.checked_sub(reach)? / stride[axis] + 1)
            };
            let geometry = ConvGeometry {
                input: Shape::new(h, w, i),
                output: Shape::new(out(0, h)?, out(1, w)?, o),
                window: Window { kernel, stride, dilation, pad },
                groups,
            };
            let clamp = clamp(q.1, q.2, q.3);
            Some(Case { geometry, zero_point: q.0, clamp, gaps, extreme, seed })
        },
    )
}

/// Half of the clamps let every code through, as most layers do.
fn clamp(zero_point: u8, a: u8, b: u8) -> Clamp {
    match a.is_multiple_of(2) {
        true => Clamp::none(zero_point),
        false => Clamp { zero_point, lo: a.min(b) / 4, hi: a.max(b) },
    }
}

/// 3×3 windows at strides 1 and 2: what Winograd kernels run, and some that they do not.
fn winograd_cases() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![
        3 => (size(16, 70), size(8, 70)).prop_map(|(i, o)| (i, o, 1)),
        1 => (2..4usize, size(16, 34), size(8, 34)).prop_map(|(g, i, o)| (g * i, g * o, g)),
    ];
    let sizes = [prop_oneof![1..10usize, 1..40usize], prop_oneof![1..10usize, 1..40usize]];
    let window = ([0..3usize, 0..3usize], [0..3usize, 0..3usize], 1..3usize);
    let quantization = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
    let rest = ([0..4usize, 0..20usize], [0..3u8, 0..4u8], any::<u64>());
    (channels, sizes, window, quantization, rest).prop_filter_map(
        "a window larger than the padded image",
        |((i, o, groups), [h, w], (pad, after, stride), q, (gaps, extreme, seed))| {
            let out = |axis: usize, size: usize| {
                Some((size + pad[axis] + after[axis]).checked_sub(3)? / stride + 1)
            };
            let output = Shape::new(out(0, h)?, out(1, w)?, o);
            let geometry = ConvGeometry {
                input: Shape::new(h, w, i),
                output,
                window: Window { kernel: [3, 3], stride: [stride; 2], pad, ..Window::POINTWISE },
                groups,
            };
            let clamp = clamp(q.1, q.2, q.3);
            let case = Case { geometry, zero_point: q.0, clamp, gaps, extreme, seed };
            Some(case)
        },
    )
}

/// An image of `h` by `h` and `i` channels, padded to as many pixels and `o` channels.
fn case(h: usize, i: usize, o: usize, k: usize, groups: usize) -> Case {
    Case {
        geometry: ConvGeometry {
            input: Shape::new(h, h, i),
            output: Shape::new(h, h, o),
            window: Window { kernel: [k, k], pad: [k / 2, k / 2], ..Window::POINTWISE },
            groups,
        },
        zero_point: 131,
        clamp: Clamp::none(120),
        gaps: [0, 3],
        extreme: [0, 0],
        seed: (h * i * o * k) as u64,
    }
}

/// Of [`case`], every second row and column.
fn halved(h: usize, i: usize, o: usize, k: usize) -> Case {
    let mut case = case(h, i, o, k, 1);
    case.geometry.window.stride = [2, 2];
    case.geometry.output = Shape::new(h.div_ceil(2), h.div_ceil(2), o);
    case
}

/// Shapes whose depth or pixels need more than one block, or one task, for every kernel.
fn large_cases() -> Vec<Case> {
    let mut cases = vec![
        case(5, 150, 40, 3, 1),
        case(3, 260, 37, 3, 1),
        case(4, 2100, 20, 1, 1),
        case(40, 16, 24, 3, 1),
        case(56, 8, 9, 1, 1),
        case(3, 300, 600, 3, 1),
        case(5, 256, 64, 3, 2),
        case(1, 5000, 100, 1, 1),
        case(30, 40, 40, 3, 40),
        case(40, 7, 7, 3, 7),
        halved(33, 150, 40, 3),
    ];
    cases[2].gaps = [5, 0];
    cases[7].gaps = [0, 0];
    cases
}

struct Teams([Team; 3]);

impl Teams {
    fn new() -> Teams {
        Teams([1, 2, 7].map(|threads| Team::new(threads).unwrap()))
    }

    /// Runs `case` on every kernel that can, on every team; notes the kernels in `ran`.
    fn check(&self, case: &Case, ran: &mut BTreeSet<&'static str>) {
        self.check_data(case, &case.data(), ran);
    }

    fn check_data(&self, case: &Case, data: &Data, ran: &mut BTreeSet<&'static str>) {
        let g = case.geometry;
        let mut want = vec![0; g.output.len()];
        let view = View::new(&data.x, g.input, g.input.c + case.gaps[0]);
        let out = ViewMut::dense(&mut want, g.output);
        let Data { weights, bias, multipliers, .. } = data;
        reference::conv(&g, case.zero_point, case.clamp, weights, bias, multipliers, view, out);
        for algorithm in Conv::algorithms(Isa::best(), &g) {
            if !algorithm.is_exact(&g, weights) {
                continue;
            }
            let conv = Conv::with_algorithm(g, case.zero_point, case.clamp, algorithm);
            ran.insert(conv.name());
            for team in &self.0 {
                case.check(data, &want, &conv, team);
            }
        }
    }
}

#[test]
fn every_kernel_of_this_cpu_gives_the_oracles_bits() {
    let teams = Teams::new();
    let ran = RefCell::new(BTreeSet::new());
    for case in large_cases() {
        teams.check(&case, &mut ran.borrow_mut());
    }
    let cases_run = if cfg!(target_arch = "x86_64") { 300 } else { 60 };
    let result = TestRunner::new(config(cases_run)).run(&cases(), |case| {
        teams.check(&case, &mut ran.borrow_mut());
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let ran = ran.into_inner();
    println!("{ran:?}");
    // A kernel that no case reached would pass unseen.
    let of_this_cpu: BTreeSet<_> = Algorithm::available().map(Algorithm::name).collect();
    assert_eq!(ran, of_this_cpu);
    for isa in Isa::available() {
        assert!(Algorithm::available().any(|a| a.isa() == isa.kind()), "no kernel for {isa}");
    }
}

/// The windows that depthwise kernels have tiles for, over rows long enough for several tiles.
#[test]
fn depthwise_tiles_give_the_oracles_bits() {
    let teams = Teams::new();
    let window = (prop::sample::select(vec![3, 5]), 1..3usize, [0..3usize, 0..3usize]);
    let rest = (any::<u8>(), [0..4usize, 0..4usize], [0..3u8, 0..4u8], any::<u64>());
    let cases = (window, [3..12usize, 3..30usize], size(32, 130), rest).prop_filter_map(
        "a window larger than the padded image",
        |((kernel, stride, pad), [h, w], c, (zero_point, gaps, extreme, seed))| {
            let out =
                |size: usize, pad: usize| Some((size + 2 * pad).checked_sub(kernel)? / stride + 1);
            let geometry = ConvGeometry {
                input: Shape::new(h, w, c),
                output: Shape::new(out(h, pad[0])?, out(w, pad[1])?, c),
                window: Window {
                    kernel: [kernel; 2],
                    stride: [stride; 2],
                    pad,
                    ..Window::POINTWISE
                },
                groups: c,
            };
            let clamp = Clamp { zero_point: 255 - zero_point, lo: 3, hi: 250 };
            Some(Case { geometry, zero_point, clamp, gaps, extreme, seed })
        },
    );
    let result = TestRunner::new(config(100)).run(&cases, |case| {
        teams.check(&case, &mut BTreeSet::new());
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn winograd_kernels_give_the_oracles_bits() {
    let teams = Teams::new();
    let ran = RefCell::new(BTreeSet::new());
    // Every kernel has a case, however few the random ones.
    for case in [case(9, 20, 10, 3, 1), halved(12, 20, 10, 3)] {
        teams.check(&case, &mut ran.borrow_mut());
    }
    let cases_run = if cfg!(target_arch = "x86_64") { 300 } else { 60 };
    let result = TestRunner::new(config(cases_run)).run(&winograd_cases(), |case| {
        teams.check(&case, &mut ran.borrow_mut());
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let winograd = |name: &&str| name.contains("winograd");
    let of_this_cpu = Algorithm::available().map(Algorithm::name).filter(winograd);
    assert!(of_this_cpu.into_iter().all(|name| ran.borrow().contains(name)));
}

/// One output channel after another has all of its weights positive, all negative, and half of
/// each; the image is everywhere the least or the greatest code, so that the sums reach the ends
/// of the range that is proved, and scaled as they are inside they pass 2^32 several times over.
#[test]
fn winograd_kernels_are_exact_up_to_their_bound() {
    // 255 * 263_172 is the last multiple of 255 below 2^26; 263_172 = 230 * 9 * 127 + 282.
    const MOST: i64 = (1 << 26) / 255;
    let geometry = |stride: usize| ConvGeometry {
        input: Shape::new(7, 9, 231),
        output: Shape::new(6 / stride + 1, 8 / stride + 1, 20),
        window: Window { kernel: [3, 3], stride: [stride; 2], pad: [1, 1], ..Window::POINTWISE },
        groups: 1,
    };
    let g = geometry(1);
    let channel = |sum: i64, sign: &dyn Fn(usize) -> i8| -> Vec<i8> {
        let mut left = sum;
        let weight = |i| {
            let magnitude = left.min(127);
            left -= magnitude;
            sign(i) * magnitude as i8
        };
        (0..g.depth()).map(weight).collect()
    };
    let signs: [&dyn Fn(usize) -> i8; 3] = [&|_| 1, &|_| -1, &|i| [1, -1][i % 2]];
    let with_sum = |sum: i64| -> Vec<i8> {
        (0..g.output.c).flat_map(|c| channel(sum, signs[c % 3])).collect()
    };
    let (most, too_much) = (with_sum(MOST), with_sum(MOST + 1));
    let team = Team::new(2).unwrap();
    let mut refused = 0;
    let of_stride = |stride: usize| {
        let g = geometry(stride);
        Conv::algorithms(Isa::best(), &g).into_iter().map(move |algorithm| (g, algorithm))
    };
    for (g, algorithm) in of_stride(1).chain(of_stride(2)) {
        assert!(algorithm.is_exact(&g, &most), "{algorithm:?}");
        refused += usize::from(!algorithm.is_exact(&g, &too_much));
        for zero_point in [0, 1, 128, 255] {
            for codes in [0, 1, 2] {
                let case = Case {
                    geometry: g,
                    zero_point,
                    clamp: Clamp::none(zero_point ^ 0xff),
                    gaps: [0, 0],
                    extreme: [codes, 1],
                    seed: 7,
                };
                let data =
                    Data { weights: most.clone(), multipliers: vec![4e-6; 20], ..case.data() };
                let mut want = vec![0; g.output.len()];
                reference::conv(
                    &g,
                    zero_point,
                    case.clamp,
                    &data.weights,
                    &data.bias,
                    &data.multipliers,
                    View::dense(&data.x, g.input),
                    ViewMut::dense(&mut want, g.output),
                );
                let conv = Conv::with_algorithm(g, zero_point, case.clamp, algorithm);
                case.check(&data, &want, &conv, &team);
            }
        }
    }
    let of_this_cpu = Algorithm::available().filter(|a| a.name().ends_with("winograd4"));
    assert_eq!(refused, of_this_cpu.count());
}

#[test]
fn extremes_of_both_operands_are_exact() {
    let teams = Teams::new();
    for case in large_cases().into_iter().take(2) {
        for extreme in [[1, 1], [1, 2], [2, 1], [2, 2], [2, 3]] {
            for zero_point in [0, 1, 128, 255] {
                let case = Case { extreme, zero_point, ..case.clone() };
                teams.check(&case, &mut BTreeSet::new());
            }
        }
    }
}

/// Sums up to the ends of i32 and products beyond them: where a conversion overflows, and where
/// output stages may leave the clamp to saturation.
#[test]
fn sums_and_multipliers_of_any_size_end_in_the_right_code() {
    let teams = Teams::new();
    let window = |k: usize| Window { kernel: [k, k], pad: [k / 2, k / 2], ..Window::POINTWISE };
    for (k, i, o, groups) in [(1, 16, 84, 1), (1, 70, 24, 1), (3, 16, 24, 1), (3, 40, 40, 40)] {
        let [input, output] = [i, o].map(|channels| Shape::new(5, 7, channels));
        let geometry = ConvGeometry { input, output, window: window(k), groups };
        let room = 255 * 127 * geometry.depth() as i32;
        let ends = [i32::MAX - room, i32::MIN + room, (1 << 24) + 1, -(1 << 23) - 1, 0];
        for zero_point in [0, 128, 255] {
            for clamp in [Clamp::none(zero_point), Clamp { zero_point, lo: 3, hi: 250 }] {
                for multiplier in [0.999_999_94, 1.0, 1.5, 3e9, 1e-7] {
                    let (gaps, extreme, seed) = ([0, 0], [0, 0], o as u64);
                    let case = Case { geometry, zero_point: 3, clamp, gaps, extreme, seed };
                    let bias = (0..o).map(|channel| ends[channel % ends.len()]).collect();
                    let data = Data { bias, multipliers: vec![multiplier; o], ..case.data() };
                    teams.check_data(&case, &data, &mut BTreeSet::new());
                }
            }
        }
    }
}

#[test]
fn gemmlowps_output_stage_ends_any_convolution() {
    let team = Team::new(2).unwrap();
    for case in large_cases() {
        let g = case.geometry;
        let data = case.data();
        let stage =
            FixedPoint { multiplier: 1_518_500_250, shift: 9, offset: 101, min: 3, max: 250 };
        let view = View::new(&data.x, g.input, g.input.c + case.gaps[0]);
        let acc = reference::accumulate(&g, case.zero_point, &data.weights, &data.bias, view);
        let want: Vec<u8> = acc.into_iter().map(|acc| stage.apply(acc)).collect();
        for isa in Isa::available() {
            let conv = Conv::with_fixed_point(isa, g, case.zero_point, stage);
            case.check(&data, &want, &conv, &team);
        }
    }
}
