//! This host's own times: the FP32 tail behind every point, `input` included.
//!
//! What the codecs take to decode a boundary counts in the host's time, so it is timed too.
//!
//! Tails are timed in rounds, one run of each a round, so that a clock that drifts or a neighbour
//! that wakes up meets them all alike. Each run finds the caches as a request does that comes after
//! other work: without the tail's weights.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seam_compiler::fp32::{Datatype, Engine, Tail};
use seam_kernels::Shape;
use seam_runtime::Codec;
use seam_runtime::graph::Point;
use seam_tuner::device::mhz;
use seam_tuner::profile::{
    CLOUD_PROFILE_SCHEMA, CloudProfile, CodecDecoding, Device, Method, ModelRef, SEAM_VERSION,
    TailProfile, Times,
};

use crate::Error;

/// Bytes that other work reads between two runs of a tail: as much as large caches hold.
const OTHER_WORK: usize = 64 << 20;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fewest rounds that count.
    pub least: u32,
    /// Most rounds that count.
    pub most: u32,
    /// After the fewest rounds, no round begins later than this.
    pub time: Duration,
    /// Rounds end once every median's 95% interval is this narrow: half its width as a part of the
    /// median.
    pub target: f64,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { least: 5, most: 1000, time: Duration::from_secs(5), target: 0.02 }
    }
}

/// Times the tail behind every point of `engine`'s network. `progress` is told the part done, from
/// 0 to 1.
///
/// # Errors
/// A tail cannot be made or run.
pub fn measure(
    engine: &Engine,
    model: ModelRef,
    effort: &Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<CloudProfile, Error> {
    let mut tails = Tails::new(engine)?;
    // The engine picks its own instruction set and runs on the calling thread.
    let mut device = Device::here("tract", 1);
    let start = Instant::now();
    let mut rounds = 0;
    let reached = loop {
        for i in 0..tails.timed.len() {
            tails.run(i)?;
        }
        rounds += 1;
        let worst = tails.timed.iter().map(|tail| tail.times().uncertainty()).fold(0.0, f64::max);
        let timed_out = start.elapsed() > effort.time;
        if rounds >= effort.most || rounds >= effort.least && (worst <= effort.target || timed_out)
        {
            break worst;
        }
        let of_rounds = f64::from(rounds) / f64::from(effort.most);
        let of_time = start.elapsed().as_secs_f64() / effort.time.as_secs_f64().max(1e-9);
        progress(of_rounds.max(of_time).min(1.0));
    };
    progress(1.0);
    device.mhz_after = mhz();
    let graph = engine.graph();
    let row = |(point, tail): (Point, &Timed)| TailProfile {
        name: graph.point_name(point).into(),
        tail_ns: tail.times(),
        codecs: decodings(&tail.tail),
    };
    Ok(CloudProfile {
        schema: CLOUD_PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model,
        device,
        engine: concat!("tract in Seam ", env!("CARGO_PKG_VERSION")).into(),
        method: Method {
            warm_up: 1,
            repeats: rounds,
            target: effort.target,
            reached,
            met: reached <= effort.target,
        },
        points: graph.points().zip(&tails.timed).map(row).collect(),
    })
}

/// The tails behind all points of a network but `output`, shallowest first, to be timed run by run.
pub struct Tails {
    timed: Vec<Timed>,
    /// What other work reads.
    other: Vec<u8>,
}

impl Tails {
    /// Those of `engine`'s network, each run once already.
    ///
    /// # Errors
    /// A tail cannot be made or run.
    pub fn new(engine: &Engine) -> Result<Tails, Error> {
        let points = engine.graph().points().filter(|&point| point != Point::Output);
        let timed =
            points.map(|point| Timed::new(engine.tail(point)?)).collect::<Result<_, _>>()?;
        Ok(Tails { timed, other: vec![1; OTHER_WORK] })
    }

    /// Times one more run of tail `i`, behind other work: its nanoseconds.
    ///
    /// # Errors
    /// It cannot be run.
    ///
    /// # Panics
    /// There is no such tail.
    pub fn run(&mut self, i: usize) -> Result<u64, Error> {
        let lines = self.other.iter().step_by(64);
        std::hint::black_box(lines.map(|&byte| u64::from(byte)).sum::<u64>());
        self.timed[i].run()
    }
}

/// Decodings timed of each codec.
const DECODINGS: usize = 7;

/// What the codecs take to decode the tail's input. An activation map is not at hand: half of the
/// codes are zero and the others mostly small, which takes the codecs as long.
fn decodings(tail: &Tail) -> Vec<CodecDecoding> {
    let [input] = tail.inputs() else { return Vec::new() };
    let (Datatype::U8, &[1, h, w, c]) = (input.datatype, &input.shape[..]) else {
        return Vec::new();
    };
    let shape = Shape::new(h, w, c);
    let mut state = 1u32;
    let mut random = || {
        // Numerical Recipes' generator; its high bits are the random ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 20
    };
    let code =
        |_| if random() % 2 == 0 { 0 } else { ((random() % 96) * (random() % 64) / 64) as u8 };
    let codes: Vec<u8> = (0..shape.len()).map(code).collect();
    let decoding = |codec: Codec| {
        let mut encoded = vec![0; codes.len()];
        let len = codec.encoder(shape).encode(&codes, &mut encoded)?;
        let mut decoded = vec![0; codes.len()];
        let mut ns = Vec::new();
        for _ in 0..DECODINGS {
            let start = Instant::now();
            codec.decode(shape, &encoded[..len], &mut decoded).ok()?;
            ns.push(start.elapsed().as_nanos() as u64);
        }
        Some(CodecDecoding { codec, decode_ns: Times::of(&ns) })
    };
    Codec::ALL.into_iter().filter_map(decoding).collect()
}

/// A tail, what it is run on, and how long the runs took.
struct Timed {
    tail: Arc<Tail>,
    inputs: Vec<Vec<u8>>,
    ns: Vec<u64>,
}

impl Timed {
    /// Ready to be timed: run once already.
    fn new(tail: Arc<Tail>) -> Result<Timed, Error> {
        let inputs = tail
            .inputs()
            .iter()
            .map(|input| {
                let len = input.shape.iter().product();
                match input.datatype {
                    // Codes that differ; the values do not matter to a dense network.
                    Datatype::U8 => (0..len).map(|i: usize| (i * 37 % 251) as u8).collect(),
                    Datatype::F16 => 0x3c00u16.to_le_bytes().repeat(len),
                    Datatype::F32 => 1f32.to_le_bytes().repeat(len),
                }
            })
            .collect();
        let mut timed = Timed { tail, inputs, ns: Vec::new() };
        timed.run()?;
        timed.ns.clear();
        Ok(timed)
    }

    fn run(&mut self) -> Result<u64, Error> {
        let inputs: Vec<&[u8]> = self.inputs.iter().map(Vec::as_slice).collect();
        let start = Instant::now();
        std::hint::black_box(self.tail.run(&inputs)?);
        let ns = start.elapsed().as_nanos() as u64;
        self.ns.push(ns);
        Ok(ns)
    }

    fn times(&self) -> Times {
        Times::of(&self.ns)
    }
}
