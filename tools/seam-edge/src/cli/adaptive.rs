//! `seam-edge infer --adaptive`: many images, each cut where the link of the moment says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use seam_edge::{Adaptive, Answer, Client, Decision, Event, Timeouts, top};
use seam_runtime::{Codec, image};
use seam_tuner::{Environment, Objective, units};
use serde_json::json;

use super::infer::{Args, files, place, times};

/// A host that is away must not hold up the images for long.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    stall: Duration::from_secs(10),
    answer: Duration::from_secs(60),
};

pub(crate) fn run(args: &Args) -> Result<()> {
    let url = args.cloud.as_deref().context("--adaptive needs --cloud URL")?;
    let client = Client::new(url, TIMEOUTS)?;
    let model = super::open(&args.net)?;
    let options = args.running.options(&args.net, &model)?;
    let objective = if args.fastest { Objective::Fastest } else { Objective::Best };
    let files = files(args)?;
    let device = args.device.id();
    let mut adaptive =
        Adaptive::new(model.clone(), options, client, &device, objective, args.codec)?;
    if let Some(session) = adaptive.inference().session() {
        super::tell_of_packing(session);
    }
    let mut told: Vec<String> = Vec::new();
    let (mut moves, mut longest) = (0, Duration::ZERO);
    let images = (0..args.repeat).flat_map(|_| &files);
    for (i, file) in images.enumerate() {
        let (decision, answer) = adaptive.run(&image::load(file)?)?;
        for warning in adaptive.warnings() {
            if !told.contains(warning) {
                eprintln!("seam-edge: {warning}");
                told.push(warning.clone());
            }
        }
        match &decision.event {
            Some(Event::Lost(why)) => {
                eprintln!("seam-edge: {why}; running all of the network here until it is back");
            }
            Some(Event::Back) => eprintln!("seam-edge: {url} is back"),
            None => {}
        }
        // Before the first image there was no cut to move.
        moves += usize::from(i > 0 && decision.moved);
        longest = longest.max(decision.took);
        show(args, &adaptive, file, &decision, &answer);
    }
    if !args.json {
        println!(
            "{} images, the cut moved {moves} times, deciding took {:.1} us at most",
            files.len() * args.repeat,
            longest.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

fn show(args: &Args, adaptive: &Adaptive, file: &Path, decision: &Decision, answer: &Answer) {
    let inference = adaptive.inference();
    let (point, codec) = (inference.model().graph().point_name(decision.point), inference.codec());
    let classes = top(&answer.values, args.top);
    if args.json {
        println!(
            "{}",
            json!({
                "model": inference.model().graph().name,
                "image": file,
                "point": point,
                "moved": decision.moved,
                "environment": decision.environment,
                "decided_us": decision.took.as_secs_f64() * 1e6,
                "codec": codec.map(Codec::name),
                "uploaded_bytes": answer.uploaded,
                "timing": answer.timing,
                "top": classes
                    .into_iter()
                    .map(|(class, value)| json!({ "class": class, "value": value }))
                    .collect::<Vec<_>>(),
                "output": answer.values,
            })
        );
        return;
    }
    let link = match &decision.environment {
        Some(Environment { uplink_bytes_per_s, rtt_ns, cloud_load, .. }) => format!(
            "{}, {} round trip, load {cloud_load:.2}",
            units::show_rate(*uplink_bytes_per_s),
            units::show_nanoseconds(*rtt_ns)
        ),
        None => "no cloud".to_string(),
    };
    println!("{}: {} ({link})", file.display(), place(point));
    for (class, value) in classes {
        println!("{class:>7}  {value:.4}");
    }
    println!("{}", times(answer, codec));
}
