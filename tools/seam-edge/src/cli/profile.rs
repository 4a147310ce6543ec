//! `seam-edge profile`: what every step takes on this board.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use seam_runtime::{Model, Session, image, writer};
use seam_tuner::measure::{self, Effort};
use seam_tuner::profile::{CodecEncoding, Minute};
use seam_tuner::{Profile, compression};

use super::Running;

/// Time every step of a network on this board
///
/// Whole runs follow each other until the 95% interval of the median is under 2%, for a run and
/// for every step that takes at least 1% of it, or the time is over. A board that works for long
/// gets hot and slows down: with --minutes it is kept busy before, and the profile says how its
/// times drifted.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  seam-edge profile net.seam -o profile.json\n  \
                  seam-edge profile net.seam --images photos/ -o profile.json\n  \
                  seam-edge profile net.seam -o profile.json --minutes 10")]
pub(crate) struct Args {
    /// The .seam file, or a prefix of one
    net: PathBuf,
    /// Where to write the profile
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    running: Running,
    /// Most seconds to measure
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
    /// Minutes to keep the board busy before measuring
    #[arg(long, value_name = "M", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1440))]
    minutes: u32,
    /// Also measure how far boundaries shrink and what that takes, on images of this folder
    #[arg(long, value_name = "DIR", conflicts_with = "image")]
    images: Option<PathBuf>,
    /// The same on this image; may be given more than once
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
}

/// From one minute to the next, a busy board that has settled changes by no more.
const SETTLED: f64 = 0.02;

/// Images of a folder that are used, evenly over it.
const IMAGES: usize = 8;

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = super::open(&args.net)?;
    let images = images(args, &model)?;
    let mut session = Session::new(model.clone(), args.running.options(&args.net, &model)?)?;
    super::tell_of_packing(&session);
    super::noise(session.input());
    let sustained = sustain(&mut session, args.minutes);
    let bar = super::bar("profiling");
    let effort = Effort { cap: Duration::from_secs(args.seconds), ..Effort::default() };
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    let mut profile = Profile { sustained, ..measure::profile(&mut session, &effort, told) };
    bar.finish_and_clear();
    let bar = super::bar("compressing");
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    compression::measure(&mut session, &images, &mut profile, told);
    bar.finish_and_clear();
    writer::write_file(&args.out, profile.to_json().as_bytes())?;
    println!(
        "{} to {} on {}, {} threads: {:.3} ms; wrote {}",
        profile.model.name,
        model.graph().point_name(session.point()),
        session.isa(),
        session.threads(),
        profile.total.p50 / 1e6,
        args.out.display()
    );
    show_codecs(&profile);
    if !profile.method.met {
        eprintln!(
            "seam-edge: the median is known to {:.1}% only, not the {:.1}% aimed at: quieten the \
             board or allow more --seconds",
            profile.method.reached * 100.0,
            profile.method.target * 100.0
        );
    }
    Ok(())
}

/// Keeps the board busy and tells what it was like.
fn sustain(session: &mut Session, minutes: u32) -> Vec<Minute> {
    let bar = super::bar("warming up");
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    let sustained = measure::sustain(session, minutes, Duration::from_secs(60), told);
    bar.finish_and_clear();
    for (i, Minute { runs, p50, mhz }) in sustained.iter().enumerate() {
        let mhz = mhz.map_or(String::new(), |mhz| format!(", {mhz:.0} MHz"));
        println!("minute {:>3}: {:.3} ms, {runs} runs{mhz}", i + 1, p50 / 1e6);
    }
    if let [.., before, last] = &sustained[..] {
        let drift = last.p50 / before.p50 - 1.0;
        if drift.abs() > SETTLED {
            eprintln!(
                "seam-edge: the last minute differs by {:+.1}% from the one before, the board has \
                 not settled: allow more --minutes",
                drift * 100.0
            );
        }
    }
    sustained
}

/// What every codec makes of every boundary: the part of the raw bytes that crosses, and raw
/// megabytes encoded in a second. Nothing where the profile has no codecs.
fn show_codecs(profile: &Profile) {
    let coded: Vec<_> = profile.points.iter().filter(|point| !point.codecs.is_empty()).collect();
    let Some(first) = coded.first() else { return };
    let width = coded.iter().map(|point| point.name.chars().count()).max().unwrap_or(0).max(5);
    let names = first.codecs.iter().map(|row| format!("  {:>16}", row.codec.name()));
    println!("\n{:<width$}  {:>10}{}", "point", "raw bytes", names.collect::<String>());
    for point in coded {
        let cell = |row: &CodecEncoding| {
            let ratio = row.bytes as f64 / point.frame_bytes as f64;
            let rate = point.raw_bytes as f64 / row.encode_ns.p50.max(1.0) * 1e3;
            format!("  {ratio:.3} {rate:>5.0} MB/s")
        };
        let cells = point.codecs.iter().map(cell).collect::<String>();
        println!("{:<width$}  {:>10}{cells}", point.name, point.raw_bytes);
    }
}

/// The pixels of the images that were given.
fn images(args: &Args, model: &Model) -> Result<Vec<Vec<u8>>> {
    let mut paths = args.image.clone();
    if let Some(folder) = &args.images {
        let all = super::images_in(folder)?;
        let every = all.len().div_ceil(IMAGES);
        paths.extend(all.into_iter().step_by(every));
    }
    let graph = model.graph();
    let shape = graph.tensor(graph.input).shape;
    let pixels = |path: &PathBuf| -> Result<Vec<u8>> {
        let pixels = graph.preprocess.pixels(&image::load(path)?, shape);
        pixels.with_context(|| path.display().to_string())
    };
    paths.iter().map(pixels).collect()
}
