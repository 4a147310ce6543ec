//! One convolution that answers requests: Seam's side of the comparison with oneDNN in `peers/`.
//!
//! `conv_live IC,H,W,OC,k,stride` prints the algorithms that `SEAM_ISA` and the weights allow, one
//! a line, but for the portable ones. `conv_live IC,H,W,OC,k,stride ALGORITHM` answers a line N on standard input
//! with N lines, each the milliseconds of one convolution on one thread.
//!
//! Padding is half the kernel, the input zero point 0, the output clamped as by a ReLU.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use aligned_vec::avec;
use seam_kernels::conv::Conv;
use seam_kernels::isa::IsaKind;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (shape, algorithm) = match args.as_slice() {
        [shape] => (shape, None),
        [shape, algorithm] => (shape, Some(algorithm)),
        _ => return Err("usage: conv_live IC,H,W,OC,k,stride [ALGORITHM]".into()),
    };
    let geometry = parse(shape)?;
    let mut algorithms = Conv::algorithms(Isa::from_env()?, &geometry);
    let Some(wanted) = algorithm else {
        let weights = bell(geometry.weights());
        algorithms.retain(|a| a.isa() != IsaKind::Portable && a.is_exact(&geometry, &weights));
        for algorithm in algorithms {
            println!("{}", algorithm.name());
        }
        return Ok(());
    };
    let found = algorithms.into_iter().find(|a| a.name() == wanted);
    let algorithm = found.ok_or_else(|| format!("no algorithm {wanted} for {shape}"))?;
    answer(&Conv::with_algorithm(geometry, 0, Clamp::none(0), algorithm))
}

fn parse(shape: &str) -> Result<ConvGeometry, Box<dyn Error>> {
    let numbers = shape.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let &[inputs, h, w, outputs, kernel, stride] = numbers.as_slice() else {
        return Err(format!("{shape}: a shape is IC,H,W,OC,k,stride").into());
    };
    let pad = kernel / 2;
    let out = |side: usize| (side + 2 * pad - kernel) / stride + 1;
    let window =
        Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 2] };
    let (input, output) = (Shape::new(h, w, inputs), Shape::new(out(h), out(w), outputs));
    Ok(ConvGeometry { input, output, window, groups: 1 })
}

fn answer(conv: &Conv) -> Result<(), Box<dyn Error>> {
    let g = conv.geometry();
    let team = Team::new(1)?;
    let x: Vec<u8> = bytes(g.input.len()).collect();
    let weights = bell(g.weights());
    let bias = vec![1000; g.output.c];
    let multipliers = vec![0.01 / (g.depth() as f32).sqrt(); g.output.c];
    let mut packed = avec![[64]| 0u8; conv.packed_len()];
    conv.pack(&weights, &bias, &multipliers, &mut packed);
    let mut scratch = avec![[64]| 0u8; conv.scratch_len(team.threads())];
    let mut y = avec![[64]| 0u8; g.output.len()];

    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        for _ in 0..line?.trim().parse::<u32>()? {
            let start = Instant::now();
            let input = View::dense(&x, g.input);
            conv.run(&packed, input, ViewMut::dense(&mut y, g.output), &mut scratch, &team);
            writeln!(out, "{:.6}", start.elapsed().as_nanos() as f64 / 1e6)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Weights distributed like trained ones, whose largest is 127: means of four uniform ones.
fn bell(n: usize) -> Vec<i8> {
    let bytes: Vec<i32> = bytes(4 * n).map(|b| i32::from(b as i8)).collect();
    bytes.chunks(4).map(|four| (four.iter().sum::<i32>() / 4).max(-127) as i8).collect()
}

/// Bytes without a pattern that a kernel could profit from.
fn bytes(n: usize) -> impl Iterator<Item = u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8)
}
