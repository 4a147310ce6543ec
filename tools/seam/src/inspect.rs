//! `seam inspect`: what a `.seam` file holds.

use std::path::PathBuf;

use anyhow::Result;
use seam_runtime::Model;
use seam_runtime::graph::{Element, Graph, Op, Point, Step};
use seam_runtime::memory::MemoryPlan;
use serde_json::{Value, json};

/// Shows a .seam file: steps, points with their prefix, memory; checks its hashes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam inspect resnet18.seam")]
pub(crate) struct Args {
    /// The file, or a prefix of it
    #[arg(value_name = "NET.seam")]
    model: PathBuf,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = Model::open(&args.model)?;
    model.verify().map_err(|e| e.in_file(&args.model))?;
    let memory = MemoryPlan::new(model.graph(), model.steps(), false)?;
    match args.json {
        true => println!("{:#}", to_json(&model, &memory)),
        false => print(&model, &memory),
    }
    Ok(())
}

fn print(model: &Model, memory: &MemoryPlan) {
    let graph = model.graph();
    let input = graph.tensor(graph.input);
    println!("{}  sha256 {}", graph.name, model.id_hex());
    println!("input {} {}  preprocess {}", input.name, input.shape, graph.preprocess);
    println!(
        "file {} bytes, reaches {}, hashes hold",
        model.bytes().len(),
        graph.point_name(model.reaches())
    );
    println!();
    println!(
        "{:>4}  {:<28} {:<20} {:<18} {:>14} {:>12} {:>12}  codes",
        "step", "name", "layer", "operator", "output", "weight bytes", "arena offset"
    );
    for (i, step) in graph.steps[..model.steps()].iter().enumerate() {
        let output = graph.tensor(step.output);
        let offset = memory.placement(step.output).map_or(0, |p| p.bytes.start);
        println!(
            "{i:>4}  {:<28} {:<20} {:<18} {:>14} {:>12} {:>12}  {}",
            step.name,
            graph.layers[step.layer as usize],
            operator(step),
            output.shape.to_string(),
            model.weight_bytes(i),
            offset,
            codes(output.element)
        );
    }
    println!();
    println!("{:<28} {:>6} {:>14} {:>14}", "point", "steps", "prefix bytes", "boundary bytes");
    for point in graph.points() {
        println!(
            "{:<28} {:>6} {:>14} {:>14}",
            graph.point_name(point),
            graph.steps_before(point),
            model.prefix_len(point),
            boundary_bytes(graph, point)
        );
    }
    println!();
    println!(
        "memory: {} bytes of activations, {} did none share",
        memory.arena_bytes, memory.unshared_bytes
    );
    match &graph.stop {
        Some(stop) => {
            println!("the edge stops before {} ({}): {}", stop.node, stop.operator, stop.reason);
        }
        None => println!("the edge can run the whole network"),
    }
}

fn to_json(model: &Model, memory: &MemoryPlan) -> Value {
    let graph = model.graph();
    let step = |(i, step): (usize, &Step)| {
        let output = graph.tensor(step.output);
        json!({
            "name": step.name,
            "layer": graph.layers[step.layer as usize],
            "operator": operator(step),
            "inputs": step.inputs.iter().map(|&t| &graph.tensor(t).name).collect::<Vec<_>>(),
            "output": output.name,
            "shape": [output.shape.h, output.shape.w, output.shape.c],
            "element": element_json(output.element),
            "weight_bytes": model.weight_bytes(i),
            "arena_offset": memory.placement(step.output).map(|p| p.bytes.start),
        })
    };
    let point = |point: Point| {
        json!({
            "name": graph.point_name(point),
            "steps": graph.steps_before(point),
            "prefix_bytes": model.prefix_len(point),
            "boundary_bytes": boundary_bytes(graph, point),
        })
    };
    let stop = graph
        .stop
        .as_ref()
        .map(|s| json!({ "node": s.node, "operator": s.operator, "reason": s.reason }));
    json!({
        "name": graph.name,
        "sha256": model.id_hex(),
        "file_bytes": model.bytes().len(),
        "reaches": graph.point_name(model.reaches()),
        "preprocess": graph.preprocess.to_string(),
        "steps": graph.steps[..model.steps()].iter().enumerate().map(step).collect::<Vec<_>>(),
        "points": graph.points().map(point).collect::<Vec<_>>(),
        "arena_bytes": memory.arena_bytes,
        "unshared_bytes": memory.unshared_bytes,
        "stop": stop,
    })
}

fn boundary_bytes(graph: &Graph, point: Point) -> usize {
    seam_runtime::boundary::describe(graph, point).bytes
}

fn operator(step: &Step) -> String {
    match &step.op {
        Op::Conv { geometry: g, .. } | Op::FloatConv { geometry: g, .. } => {
            let float = if matches!(step.op, Op::FloatConv { .. }) { "float " } else { "" };
            let [kh, kw] = g.window.kernel;
            let groups = if g.groups > 1 { format!(" g{}", g.groups) } else { String::new() };
            let stride = match g.window.stride {
                [1, 1] => String::new(),
                [s, _] => format!("/{s}"),
            };
            match (g.output.pixels(), g.input.pixels()) {
                (1, 1) => format!("{float}linear"),
                _ => format!("{float}conv {kh}x{kw}{stride}{groups}"),
            }
        }
        Op::MaxPool(g) => format!("max pool {}x{}", g.window.kernel[0], g.window.kernel[1]),
        Op::AveragePool { geometry: g, .. } => {
            format!("average {}x{}", g.window.kernel[0], g.window.kernel[1])
        }
        Op::GlobalAveragePool => "global average".into(),
        Op::Add { .. } => "add".into(),
        Op::Concat => "concat".into(),
        Op::Lrn(_) => "lrn".into(),
        Op::Softmax => "softmax".into(),
        Op::Table(_) => "table".into(),
        Op::Slice(_) => "slice".into(),
        Op::Pad(_) => "pad".into(),
        Op::Reshape => "reshape".into(),
    }
}

fn codes(element: Element) -> String {
    match element {
        Element::U8 { scale, zero_point } => format!("{scale:.6} * (q - {zero_point})"),
        Element::F32 => "f32".into(),
    }
}

fn element_json(element: Element) -> Value {
    match element {
        Element::U8 { scale, zero_point } => json!({ "scale": scale, "zero_point": zero_point }),
        Element::F32 => json!("f32"),
    }
}
