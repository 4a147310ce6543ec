//! `seam-edge infer`: images, here and in the cloud.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use seam_edge::{Answer, Client, Error, Inference, Timeouts, top};
use seam_runtime::graph::{INPUT, OUTPUT, Point};
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Codec, Model, Options, image, writer};
use seam_tuner::profile::Device;
use seam_tuner::{CodecChoice, Environment, Objective, Plan, units};
use serde_json::json;

use super::Running;
use super::push;

/// Run a network on images, cut where it suits
///
/// Without --at and --plan the cloud host plans the cut from this board's profile (`seam-edge
/// push`) and the uplink, which is measured unless --uplink says what it is. Should the cloud host
/// be out of reach or busy, all of the network runs here, where the file holds all of it.
///
/// With --adaptive the cut follows the link: it is decided anew before each image, from the uploads
/// so far, and moves once another point has been predicted to take a tenth less time twice in a
/// row.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  seam-edge infer net.seam cat.jpg --cloud http://host:8600\n  \
                        seam-edge infer net.seam cat.jpg --at output\n  \
                        seam-edge infer net.seam photos/ --adaptive --cloud http://host:8600"
)]
pub(crate) struct Args {
    /// The .seam file, or a prefix of one
    pub(super) net: PathBuf,
    /// JPEG or PNG files, or folders of them; without --adaptive one file
    #[arg(value_name = "IMAGE", required = true)]
    pub(super) images: Vec<PathBuf>,
    /// The cloud host
    #[arg(long, value_name = "URL", required_unless_present_any = ["at", "plan"])]
    pub(super) cloud: Option<String>,
    /// Decide anew where to cut before each image
    #[arg(long, requires = "cloud", conflicts_with_all = ["at", "plan", "uplink", "save_boundary"])]
    pub(super) adaptive: bool,
    /// Go through the images this many times
    #[arg(long, value_name = "N", default_value_t = 1, requires = "adaptive")]
    pub(super) repeat: usize,
    /// Cut behind this layer; `input` runs all of the network in the cloud, `output` all of it here
    #[arg(long, value_name = "POINT", conflicts_with = "plan")]
    at: Option<String>,
    /// Cut at the fastest point that keeps the image on the board (the default)
    #[arg(long, conflicts_with_all = ["at", "fastest"])]
    best: bool,
    /// Cut at the fastest point
    #[arg(long, conflicts_with = "at")]
    pub(super) fastest: bool,
    /// Cut where this plan says, as `seam plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Send the boundary by this codec, `none` for raw [default: as planned; raw with --at]
    #[arg(long, value_name = "CODEC", default_value_t = CodecChoice::Auto, hide_default_value = true)]
    pub(super) codec: CodecChoice,
    /// Bytes that the uplink carries, such as 250KiB/s [default: measured]
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    uplink: Option<f64>,
    #[command(flatten)]
    pub(super) device: push::Device,
    #[command(flatten)]
    pub(super) running: Running,
    /// Classes to show
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub(super) top: usize,
    /// Write the raw tensor that crossed the uplink
    #[arg(long, value_name = "FILE")]
    save_boundary: Option<PathBuf>,
    /// JSON on standard output, the network's whole output included; with --adaptive a line an image
    #[arg(long)]
    pub(super) json: bool,
}

/// Where to cut, and why there.
struct Cut {
    point: Point,
    /// How the boundary crosses; none raw.
    codec: Option<Codec>,
    reason: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.adaptive {
        return super::adaptive::run(args);
    }
    let [image] = &args.images[..] else {
        bail!("{} images: give one, or --adaptive to run them all", args.images.len());
    };
    let model = super::open(&args.net)?;
    let image = image::load(image)?;
    let options = args.running.options(&args.net, &model)?;
    let cloud = match &args.cloud {
        Some(url) => Some(Client::new(url, Timeouts::default())?),
        None => None,
    };
    let run = |cut: &Cut| infer(&model, cut, &options, cloud.as_ref(), &image);
    let planned = cut(args, &model, &options, cloud.as_ref());
    let result = planned.and_then(|cut| Ok((run(&cut)?, cut)));
    let fallback = || args.at.is_none() && args.plan.is_none() && model.reaches() == Point::Output;
    let ((answer, inference), cut) = match result {
        Err(e) if fallback() && e.downcast_ref().is_some_and(is_away) => {
            eprintln!("seam-edge: {}; running all of the network here", seam_edge::one_line(&e));
            let cut = Cut { point: Point::Output, codec: None, reason: "without the cloud" };
            (run(&cut)?, cut)
        }
        other => other?,
    };
    if let Some(path) = &args.save_boundary {
        match inference.boundary() {
            Some(tensor) => writer::write_file(path, tensor)?,
            None => bail!("nothing crosses the uplink at output: no boundary to save"),
        }
    }
    show(args, &model, &cut, &inference, &answer);
    Ok(())
}

/// The cloud host is out of reach, or has no time for us.
fn is_away(error: &Error) -> bool {
    error.is_unreachable() || error.is_busy()
}

fn infer(
    model: &Arc<Model>,
    cut: &Cut,
    options: &Options,
    cloud: Option<&Client>,
    image: &Pixels,
) -> Result<(Answer, Inference)> {
    let mut inference = Inference::new(model.clone(), &[cut.point], options.clone(), cloud)?;
    if let Some(codec) = cut.codec {
        inference.cross_by(Some(codec))?;
        if inference.codec().is_none() && cut.point != Point::Output {
            eprintln!("seam-edge: the boundary crosses raw: it or the host has no codec {codec}");
        }
    }
    if let Some(session) = inference.session() {
        super::tell_of_packing(session);
    }
    let answer = inference.run(image)?;
    Ok((answer, inference))
}

/// Where the command line, the plan or the cloud host says to cut.
fn cut(args: &Args, model: &Model, options: &Options, cloud: Option<&Client>) -> Result<Cut> {
    if let Some(name) = &args.at {
        return Ok(Cut { point: model.point(name)?, codec: args.codec.only(), reason: "as asked" });
    }
    let objective = if args.fastest { Objective::Fastest } else { Objective::Best };
    let plan = match (&args.plan, cloud) {
        (Some(path), _) => Plan::read(path)?,
        (None, Some(client)) => {
            let environment = environment(args, client)?;
            client.plan(
                &args.device.id(),
                &model.graph().name,
                environment,
                objective,
                args.codec,
            )?
        }
        (None, None) => bail!("no cloud host to ask where to cut: give --cloud URL or --at POINT"),
    };
    if plan.model.sha256 != model.id_hex() {
        bail!(
            "the plan is of model {} of {}, the file holds {} of {}: plan anew from this model's \
             profile",
            plan.model.sha256,
            plan.model.name,
            model.id_hex(),
            model.graph().name
        );
    }
    warn(&plan, &Device::here(options.isa.name(), options.threads));
    let (name, reason) = match () {
        () if args.fastest => (plan.fastest.as_str(), "fastest by plan"),
        () if args.best => match &plan.best {
            Some(best) => (best.as_str(), "best by plan"),
            None => bail!("the plan has no best point: the edge cannot run the first layer"),
        },
        () => (plan.chosen.as_str(), "by plan"),
    };
    let codec = match args.codec {
        CodecChoice::Auto => plan.point(name).and_then(|point| point.predicted.codec),
        forced => forced.only(),
    };
    Ok(Cut { point: model.point(name)?, codec, reason })
}

/// Says what the plan warns of, and whether it was made for another board than `here`.
fn warn(plan: &Plan, here: &Device) {
    for warning in &plan.warnings {
        eprintln!("seam-edge: {warning}");
    }
    if let Some(differs) = here.differs(&plan.device) {
        eprintln!(
            "seam-edge: the plan is for {differs}: profile this board as it runs now and plan anew"
        );
    }
}

/// The uplink as given, or as it is now.
fn environment(args: &Args, client: &Client) -> Result<Environment> {
    match args.uplink {
        Some(uplink) => {
            let (rtt, load) = client.measure_rtt()?;
            Ok(Environment::new(uplink, rtt.as_nanos() as f64, load)?)
        }
        None => Ok(client.probe()?.environment()),
    }
}

fn show(args: &Args, model: &Model, cut: &Cut, inference: &Inference, answer: &Answer) {
    let graph = model.graph();
    let point = graph.point_name(cut.point);
    let timing = &answer.timing;
    if args.json {
        println!(
            "{}",
            json!({
                "model": graph.name,
                "point": point,
                "reason": cut.reason,
                "isa": inference.session().map(|s| s.isa().name()),
                "threads": inference.session().map(|s| s.threads()),
                "codec": inference.codec(),
                "uploaded_bytes": answer.uploaded,
                "timing": timing,
                "top": top(&answer.values, args.top)
                    .into_iter()
                    .map(|(class, value)| json!({ "class": class, "value": value }))
                    .collect::<Vec<_>>(),
                "output": answer.values,
            })
        );
        return;
    }
    println!("{}, {} ({})", graph.name, place(point), cut.reason);
    for (class, value) in top(&answer.values, args.top) {
        println!("{class:>7}  {value:.4}");
    }
    println!("{}", times(answer, inference.codec()));
}

/// Where the point of that name leaves the work.
pub(super) fn place(point: &str) -> String {
    match point {
        INPUT => "all in the cloud".to_string(),
        OUTPUT => "all on the board".to_string(),
        layer => format!("cut behind {layer}"),
    }
}

/// Where the time went.
pub(super) fn times(answer: &Answer, codec: Option<Codec>) -> String {
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    let timing = &answer.timing;
    format!(
        "preprocess {:.2} ms, edge {:.2} ms, encode {:.2} ms, upload {:.2} ms ({} bytes{}), cloud \
         {:.2} ms, total {:.2} ms",
        ms(timing.preprocess),
        ms(timing.edge),
        ms(timing.encode),
        ms(timing.upload),
        answer.uploaded,
        codec.map_or(String::new(), |codec| format!(" by {codec}")),
        ms(timing.cloud),
        ms(timing.total)
    )
}

/// The files that `images` names, folders in the order of their files' names.
pub(super) fn files(args: &Args) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in &args.images {
        match path.is_dir() {
            true => files.extend(super::images_in(path)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}
