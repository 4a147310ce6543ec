//! `seam-edge kernels`: how fast every convolution kernel is here, and how near to what its
//! instruction could do at best.
//!
//! The wall is measured in the same run, in turns with the kernels: a tight loop of the
//! instruction ([`Peak`]), and for fully connected layers reading memory. Times are the shortest of
//! all rounds, on both sides, since whatever else runs can only add to them.

use std::time::{Duration, Instant};

use aligned_vec::{AVec, ConstAlign};
use anyhow::Result;
use seam_kernels::conv::{Algorithm, Conv};
use seam_kernels::isa::IsaKind;
use seam_kernels::peak::{self, Peak};
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window};
use serde_json::{Value, json};

/// Time the convolution kernels on typical layers, against the instruction's own peak
#[derive(clap::Args)]
#[command(after_help = "Example:\n  SEAM_ISA=avx2 seam-edge kernels --threads 1")]
pub(crate) struct Args {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Only layers whose line holds this word, as `3x3`
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Rounds for each layer at least, and at most while the time lasts.
const ROUNDS: [usize; 2] = [15, 101];
/// Time for each layer after the first rounds.
const TIME: Duration = Duration::from_millis(400);
/// Rounds of a tight loop: about a tenth of a millisecond.
const LOOPS: u64 = 40_000;
/// Bytes to read in turn, more than the last-level cache of what Seam runs on.
const MEMORY: usize = 128 << 20;
/// Bytes read at a time.
const PIECE: usize = 8 << 20;

pub(crate) fn run(args: &Args) -> Result<()> {
    let isa = super::isa()?;
    let team = Team::new(super::options(args.threads)?.threads)?;
    let bench = Bench { isa, team, memory: aligned(MEMORY) };
    let peaks = bench.peaks();
    if !args.json {
        println!("{isa}, {} threads", bench.team.threads());
        for (peak, ns) in &peaks {
            println!("peak of {:<44} {:>7.1} GOP/s", peak.name, 1.0 / ns);
        }
        println!();
        println!(
            "{:<44} {:<28} {:>9} {:>7} {:>8} {:>6} {:>8}",
            "layer", "kernel", "ms", "GOP/s", "of peak", "GB/s", "of read"
        );
    }
    let mut rows: Vec<Row> = Vec::new();
    for (name, geometry, counts) in layers() {
        if args.only.as_ref().is_some_and(|word| !name.contains(word.as_str())) {
            continue;
        }
        for row in bench.layer(&name, geometry, counts) {
            if !args.json {
                row.print();
            }
            rows.push(row);
        }
    }
    let means = means(&rows);
    if args.json {
        let peaks = peaks.iter().map(|(peak, ns)| (peak.name.to_string(), json!(1.0 / ns)));
        let means = means.into_iter().map(|(kernel, mean, _)| (kernel.to_string(), json!(mean)));
        let out = json!({
            "isa": isa.name(),
            "threads": bench.team.threads(),
            "peak_gop_per_s": Value::Object(peaks.collect()),
            "kernels": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "geometric_mean_of_peak": Value::Object(means.collect()),
        });
        println!("{out}");
    } else {
        println!();
        for (kernel, mean, layers) in means {
            println!("geometric mean of {layers} dense layers by {kernel}: {mean:.3} of peak");
        }
    }
    Ok(())
}

/// What a layer counts for.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// A dense convolution of the geometric mean.
    Dense,
    /// A first layer or a depthwise one: shown, not averaged.
    Other,
    /// Bound by memory.
    FullyConnected,
}

/// Layers as they occur in networks.
fn layers() -> impl Iterator<Item = (String, ConvGeometry, Class)> {
    // Side, channels in and out, kernel, stride, groups.
    let dense = [
        (56, 64, 64, 3, 1, 1),
        (28, 128, 128, 3, 1, 1),
        (14, 256, 256, 3, 1, 1),
        (7, 512, 512, 3, 1, 1),
        (56, 64, 128, 1, 2, 1),
        (28, 192, 96, 1, 1, 1),
        (14, 480, 192, 1, 1, 1),
        (56, 96, 24, 1, 1, 1),
        (224, 64, 64, 3, 1, 1),
        (55, 64, 16, 1, 1, 1),
    ];
    let other = [
        (224, 3, 64, 7, 2, 1),
        (227, 3, 96, 11, 4, 1),
        (224, 3, 32, 3, 2, 1),
        (112, 32, 32, 3, 1, 32),
        (112, 96, 96, 3, 2, 96),
        (14, 384, 384, 3, 1, 384),
        (14, 576, 576, 5, 1, 576),
    ];
    let fully_connected = [
        (1, 9216, 4096, 1, 1, 1),
        (1, 4096, 4096, 1, 1, 1),
        (1, 4096, 1000, 1, 1, 1),
        (1, 512, 1000, 1, 1, 1),
    ];
    let of = |class| move |layer| (layer, class);
    dense
        .into_iter()
        .map(of(Class::Dense))
        .chain(other.into_iter().map(of(Class::Other)))
        .chain(fully_connected.into_iter().map(of(Class::FullyConnected)))
        .map(|((side, ic, oc, k, stride, groups), class)| {
            // AlexNet's first layer alone has no padding.
            let pad = if k == 11 { 0 } else { k / 2 };
            let out: usize = (side + 2 * pad - k) / stride + 1;
            let geometry = ConvGeometry {
                input: Shape::new(side, side, ic),
                output: Shape::new(out, out, oc),
                window: Window {
                    kernel: [k, k],
                    stride: [stride, stride],
                    dilation: [1, 1],
                    pad: [pad, pad],
                },
                groups,
            };
            let kind = match class {
                Class::FullyConnected => "fc",
                _ if geometry.is_depthwise() => "depthwise",
                _ => "conv",
            };
            let name =
                format!("{kind} {k}x{k} /{stride} {} -> {}", geometry.input, geometry.output);
            (name, geometry, class)
        })
}

/// A layer by a kernel.
struct Row {
    layer: String,
    class: Class,
    kernel: &'static str,
    ns: f64,
    /// Operations per nanosecond, two per multiply-accumulate, taps on padding counted, and the
    /// part of the peak of the kernel's instruction.
    gops: f64,
    of_peak: Option<f64>,
    /// Weights read per nanosecond, and the part of what reading alone reaches.
    read: Option<(f64, f64)>,
}

impl Row {
    fn print(&self) {
        let ratio = |r: Option<f64>| r.map_or(String::new(), |r| format!("{r:.3}"));
        println!(
            "{:<44} {:<28} {:>9.3} {:>7.1} {:>8} {:>6} {:>8}",
            self.layer,
            self.kernel,
            self.ns / 1e6,
            self.gops,
            ratio(self.of_peak),
            self.read.map_or(String::new(), |(rate, _)| format!("{rate:.1}")),
            ratio(self.read.map(|(_, part)| part)),
        );
    }

    fn json(&self) -> Value {
        json!({
            "layer": self.layer,
            "kernel": self.kernel,
            "ns": self.ns,
            "gop_per_s": self.gops,
            "of_peak": self.of_peak,
            "gb_per_s": self.read.map(|(rate, _)| rate),
            "of_read": self.read.map(|(_, part)| part),
        })
    }
}

/// The geometric mean of the part of the peak over dense layers, by kernel, and of how many.
fn means(rows: &[Row]) -> Vec<(&'static str, f64, usize)> {
    let mut kernels: Vec<&str> = Vec::new();
    for row in rows {
        if !kernels.contains(&row.kernel) {
            kernels.push(row.kernel);
        }
    }
    let mean = |kernel| {
        let of = rows.iter().filter(|r| r.kernel == kernel && r.class == Class::Dense);
        let logs: Vec<f64> = of.filter_map(|r| r.of_peak).map(f64::ln).collect();
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        (!logs.is_empty()).then_some((kernel, mean, logs.len()))
    };
    kernels.into_iter().filter_map(mean).collect()
}

struct Bench {
    isa: Isa,
    team: Team,
    memory: AVec<u8, ConstAlign<64>>,
}

/// A kernel with its weights; fully connected layers take turns with several copies, as a network
/// would not find them in a cache.
struct Contender {
    conv: Conv,
    packed: Vec<AVec<u8, ConstAlign<64>>>,
    scratch: AVec<u8, ConstAlign<64>>,
    peak: Option<Peak>,
    ns: f64,
    peak_ns: f64,
}

impl Bench {
    /// Nanoseconds of an operation by every form of product, all threads together.
    fn peaks(&self) -> Vec<(Peak, f64)> {
        let mut peaks: Vec<_> = Peak::available(self.isa).map(|peak| (peak, f64::MAX)).collect();
        for _ in 0..ROUNDS[1] {
            for (peak, ns) in &mut peaks {
                *ns = ns.min(self.peak(peak));
            }
        }
        peaks
    }

    fn peak(&self, peak: &Peak) -> f64 {
        let ns = time(|| {
            self.team.run(self.team.threads(), &|_, _| {
                std::hint::black_box(peak.run(LOOPS));
            });
        });
        ns / (self.team.threads() as u64 * peak.ops(LOOPS)) as f64
    }

    /// Nanoseconds to read a byte, all threads together; `turn` says which.
    fn read(&self, turn: usize) -> f64 {
        let piece = turn % (MEMORY / PIECE);
        let piece = &self.memory[piece * PIECE..][..PIECE];
        let (isa, part) = (self.isa, PIECE / self.team.threads());
        let ns = time(|| {
            self.team.run(self.team.threads(), &|i, _| {
                std::hint::black_box(peak::read(isa, &piece[i * part..][..part]));
            });
        });
        ns / (part * self.team.threads()) as f64
    }

    /// Every kernel on one layer, in turns with the walls.
    fn layer(&self, name: &str, geometry: ConvGeometry, class: Class) -> Vec<Row> {
        let mut weights = vec![0u8; geometry.weights()];
        super::noise(&mut weights);
        // −127..=127: −128 never occurs.
        let weights: Vec<i8> = weights.iter().map(|&w| (w as i8).max(-127)).collect();
        let mut contenders: Vec<Contender> = Conv::algorithms(self.isa, &geometry)
            .into_iter()
            .filter(|a| self.is_worth_it(*a, &geometry) && a.is_exact(&geometry, &weights))
            .map(|algorithm| self.contender(geometry, algorithm, &weights, class))
            .collect();
        let (mut x, mut y) = (aligned(geometry.input.len()), aligned(geometry.output.len()));
        super::noise(&mut x);
        let mut read_ns = f64::MAX;
        let start = Instant::now();
        for round in 0..ROUNDS[1] {
            if round >= ROUNDS[0] && start.elapsed() > TIME {
                break;
            }
            for c in &mut contenders {
                let packed = &c.packed[round % c.packed.len()];
                let mut call = || {
                    let y = ViewMut::dense(&mut y, geometry.output);
                    let x = View::dense(&x, geometry.input);
                    c.conv.run(packed, x, y, &mut c.scratch, &self.team);
                };
                if class != Class::FullyConnected || round == 0 {
                    // Caches and clocks as in the midst of a network.
                    call();
                }
                c.ns = c.ns.min(time(call));
                if let Some(peak) = &c.peak {
                    c.peak_ns = c.peak_ns.min(self.peak(peak));
                }
            }
            if class == Class::FullyConnected {
                read_ns = read_ns.min(self.read(round));
            }
        }
        let row = |c: Contender| {
            let gops = 2.0 * geometry.macs() as f64 / c.ns;
            let rate = geometry.weights() as f64 / c.ns;
            Row {
                layer: name.to_string(),
                class,
                kernel: c.conv.name(),
                ns: c.ns,
                gops,
                of_peak: c.peak.map(|_| gops * c.peak_ns),
                read: (class == Class::FullyConnected).then_some((rate, rate * read_ns)),
            }
        };
        contenders.into_iter().map(row).collect()
    }

    /// Portable kernels are for CPUs that have no other; a product of matrices one column wide is
    /// for depthwise layers that nothing else runs. Both take long.
    fn is_worth_it(&self, algorithm: Algorithm, geometry: &ConvGeometry) -> bool {
        (algorithm.isa() != IsaKind::Portable || self.isa == Isa::PORTABLE)
            && (!geometry.is_depthwise() || algorithm.name().contains("depthwise"))
    }

    fn contender(
        &self,
        geometry: ConvGeometry,
        algorithm: Algorithm,
        weights: &[i8],
        class: Class,
    ) -> Contender {
        let clamp = Clamp { zero_point: 128, lo: 0, hi: 255 };
        let conv = Conv::with_algorithm(geometry, 128, clamp, algorithm);
        let (bias, multipliers) = (vec![0; geometry.output.c], vec![1e-4; geometry.output.c]);
        let mut packed = aligned(conv.packed_len());
        conv.pack(weights, &bias, &multipliers, &mut packed);
        let copies = match class {
            Class::FullyConnected => (MEMORY / 2).div_ceil(packed.len()),
            _ => 1,
        };
        Contender {
            packed: vec![packed; copies],
            scratch: aligned(conv.scratch_len(self.team.threads())),
            peak: Peak::available(self.isa).find(|p| p.bounds == Some(algorithm.isa())),
            conv,
            ns: f64::MAX,
            peak_ns: f64::MAX,
        }
    }
}

/// Nanoseconds of a call.
fn time(call: impl FnOnce()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_nanos() as f64
}

fn aligned(len: usize) -> AVec<u8, ConstAlign<64>> {
    // Written, so that every byte has a page of its own.
    AVec::from_iter(64, std::iter::repeat_n(1, len))
}
