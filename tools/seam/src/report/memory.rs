//! The memory plan over time as an SVG: steps to the right, bytes of the arena downwards, a
//! rectangle for every tensor while it holds its value.
//!
//! The inputs of a concat that lie between the pixels of its output are drawn side by side inside of
//! it, each as tall as its bytes.

use std::fmt::{self, Write};
use std::ops::Range;

use seam_runtime::graph::{Graph, TensorId};
use seam_runtime::memory::{MemoryPlan, Placement};

use super::document::escape;
use super::units;

/// What is drawn.
pub(super) struct Drawing<'a> {
    pub(super) graph: &'a Graph,
    pub(super) memory: &'a MemoryPlan,
    /// Where the plan cuts: its name, and the steps before it.
    pub(super) cut: (&'a str, usize),
}

/// Pixels at the left, for the bytes.
const LEFT: f64 = 76.0;
/// Pixels above, for the cut's name.
const TOP: f64 = 26.0;
/// Pixels of the arena.
const ARENA: f64 = 300.0;
/// Pixels below, for the steps.
const BELOW: f64 = 40.0;
/// Pixels of the whole, where steps are neither too many nor too few.
const WIDTH: f64 = 860.0;
/// Least and most pixels of a step.
const STEP: [f64; 2] = [10.0, 64.0];
/// Pixels that a character takes.
const CHARACTER: f64 = 6.6;

/// A tensor's place in the drawing, in bytes.
struct Place {
    tensor: usize,
    first: f64,
    bytes: f64,
}

/// The SVG, an element of a page.
pub(super) fn svg(drawing: &Drawing) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_svg(&mut out, drawing);
    out
}

fn write_svg(out: &mut String, drawing: &Drawing) -> fmt::Result {
    let Drawing { graph, memory, cut } = drawing;
    let steps = memory.work.len();
    // Before the first step, each step, and behind the last one.
    let columns = steps + 2;
    let column = ((WIDTH - LEFT) / columns as f64).clamp(STEP[0], STEP[1]);
    let (width, height) = (LEFT + column * columns as f64 + 8.0, TOP + ARENA + BELOW);
    let arena = memory.arena_bytes.max(1) as f64;
    let x = |time: usize| LEFT + column * time as f64;
    let y = |bytes: f64| TOP + ARENA * bytes / arena;
    writeln!(
        out,
        "<svg class=\"memory\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
         aria-labelledby=\"memory-title memory-about\">\n\
         <title id=\"memory-title\">The memory plan over time</title>\n\
         <desc id=\"memory-about\">{} tensors of {} together in an arena of {}, over {steps} steps.\
         </desc>",
        memory.tensors.iter().flatten().count(),
        units::bytes(memory.unshared_bytes as u64),
        units::bytes(memory.arena_bytes as u64),
    )?;
    for bytes in ticks(memory.arena_bytes) {
        let at = y(bytes as f64);
        writeln!(
            out,
            "<line class=\"tick\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"quiet\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x(columns),
            LEFT - 8.0,
            at + 4.0,
            units::bytes(bytes)
        )?;
    }
    // What crosses at `output` is the answer, and nothing does at `input`.
    let crosses = graph.candidates.iter().find(|c| c.name == cut.0).map(|c| c.boundary);
    let places = places(memory);
    for place in &places {
        let Some(placement) = &memory.tensors[place.tensor] else { continue };
        let tensor = &graph.tensors[place.tensor];
        let class = match placement.life.start <= cut.1 {
            _ if crosses == Some(TensorId(place.tensor as u32)) => "upload",
            true => "edge",
            false => "behind",
        };
        let end = placement.life.end.min(columns);
        let (left, top) = (x(placement.life.start), y(place.first));
        let (wide, tall) = (x(end) - left, ARENA * place.bytes / arena);
        let name = escape(&tensor.name);
        write!(
            out,
            "<g><title>{name}: {}, {} from byte {}, {}</title>\
             <rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.2}\" width=\"{wide:.1}\" \
             height=\"{tall:.2}\"/>",
            tensor.shape,
            units::bytes(tensor.bytes() as u64),
            placement.bytes.start,
            when(placement, steps)
        )?;
        if class == "upload" {
            write!(
                out,
                "<rect fill=\"url(#hatch)\" x=\"{left:.1}\" y=\"{top:.2}\" width=\"{wide:.1}\" \
                 height=\"{tall:.2}\"/>"
            )?;
        }
        let characters = tensor.name.chars().count() as f64;
        let bare = bare(memory, &places, place);
        if tall >= 14.0 && column * bare.len() as f64 >= CHARACTER * characters + 8.0 {
            write!(
                out,
                "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                x(bare.start) + 4.0,
                top + tall.min(18.0) - 4.5
            )?;
        }
        writeln!(out, "</g>")?;
    }
    write_steps(out, steps, &x)?;
    if cut.1 <= steps {
        let at = x(cut.1 + 1);
        // The name is kept inside, whichever side has more room.
        let (side, anchor) = if at > width / 2.0 { (-6.0, "end") } else { (6.0, "start") };
        writeln!(
            out,
            "<line class=\"cut\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"4\" y2=\"{:.1}\"/>\
             <text class=\"now\" x=\"{:.1}\" y=\"15\" text-anchor=\"{anchor}\">cut at {}</text>",
            TOP + ARENA + 4.0,
            at + side,
            escape(cut.0)
        )?;
    }
    writeln!(out, "</svg>")
}

/// The numbers of some steps below their columns.
fn write_steps(out: &mut String, steps: usize, x: &dyn Fn(usize) -> f64) -> fmt::Result {
    let column = x(1) - x(0);
    let every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    let every = every.into_iter().find(|&n| column * n as f64 >= 28.0).unwrap_or(2000);
    let below = TOP + ARENA + 16.0;
    for step in (0..steps).step_by(every) {
        let middle = x(step + 1) + column / 2.0;
        writeln!(
            out,
            "<text class=\"quiet\" x=\"{middle:.1}\" y=\"{below}\" text-anchor=\"middle\">{step}\
             </text>"
        )?;
    }
    writeln!(out, "<text class=\"quiet\" x=\"{LEFT}\" y=\"{}\">step</text>", below + 18.0)
}

/// Where every tensor is drawn; what lies inside of another comes behind it.
fn places(memory: &MemoryPlan) -> Vec<Place> {
    let place = |(tensor, placement): (usize, &Option<Placement>)| {
        Some(Place { tensor, ..place(memory, placement.as_ref()?) })
    };
    let mut places: Vec<_> = memory.tensors.iter().enumerate().filter_map(place).collect();
    places.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    places
}

fn place(memory: &MemoryPlan, placement: &Placement) -> Place {
    let bytes = &placement.bytes;
    let Some(outer) = around(memory, placement) else {
        return Place { tensor: 0, first: bytes.start as f64, bytes: bytes.len() as f64 };
    };
    let pixels = placement.shape.pixels();
    let before = (bytes.start - outer.bytes.start) * pixels;
    Place {
        tensor: 0,
        first: (outer.bytes.start + before) as f64,
        bytes: (placement.shape.c * pixels) as f64,
    }
}

/// When nothing else is drawn over `place`: in-place steps and concats share bytes for a step.
fn bare(memory: &MemoryPlan, places: &[Place], place: &Place) -> Range<usize> {
    let life = |place: &Place| {
        memory.tensors[place.tensor].as_ref().map_or(0..0, |placement| placement.life.clone())
    };
    let own = life(place);
    let over = places.iter().filter(|other| {
        other.tensor != place.tensor
            && other.first < place.first + place.bytes
            && place.first < other.first + other.bytes
    });
    over.map(life).filter(|other| other.start < own.end && own.start < other.end).fold(
        own.clone(),
        |bare, other| match other.start > own.start {
            true => bare.start..bare.end.min(other.start),
            false => bare.start.max(other.end)..bare.end,
        },
    )
}

/// The tensor between whose pixels `inner` lies.
fn around<'a>(memory: &'a MemoryPlan, inner: &Placement) -> Option<&'a Placement> {
    let is_slice = inner.pixel_stride > inner.shape.c && inner.shape.pixels() > 1;
    memory.tensors.iter().flatten().filter(|_| is_slice).find(|outer| {
        outer.shape.c == inner.pixel_stride
            && outer.pixel_stride == inner.pixel_stride
            && outer.shape.pixels() == inner.shape.pixels()
            && outer.bytes.start <= inner.bytes.start
            && inner.bytes.end <= outer.bytes.end
            && inner.bytes.start - outer.bytes.start + inner.shape.c <= outer.shape.c
            && outer.life.start < inner.life.end
    })
}

/// `from the start to step 3`, `steps 2 to 3`, `from step 2 to the end`.
fn when(placement: &Placement, steps: usize) -> String {
    let (first, last) = (placement.life.start, placement.life.end - 1);
    match (first, last) {
        (0, last) if last > steps => "all the time".into(),
        (0, last) => format!("from the start to step {}", last.saturating_sub(1)),
        (first, last) if last > steps => format!("from step {} to the end", first - 1),
        (first, last) if first == last => format!("step {}", first - 1),
        (first, last) => format!("steps {} to {}", first - 1, last - 1),
    }
}

/// From zero in powers of two, at most eight of them.
fn ticks(arena_bytes: usize) -> impl Iterator<Item = u64> {
    let step = (arena_bytes.max(8) as u64 / 7).next_power_of_two();
    (0..).map(move |i| i * step).take_while(move |&bytes| bytes <= arena_bytes as u64)
}

#[cfg(test)]
mod tests {
    use seam_kernels::Shape;

    use super::*;

    fn placement(bytes: Range<usize>, c: usize, stride: usize, life: Range<usize>) -> Placement {
        Placement { bytes, shape: Shape::new(2, 2, c), pixel_stride: stride, life }
    }

    /// A concat of 3 and 5 channels over four pixels, and a tensor by itself.
    fn memory() -> MemoryPlan {
        let tensors = [
            placement(64..64 + 27, 3, 8, 1..4),
            placement(64 + 3..64 + 32, 5, 8, 2..4),
            placement(64..96, 8, 8, 3..5),
            placement(0..16, 4, 4, 0..2),
        ];
        MemoryPlan {
            arena_bytes: 128,
            unshared_bytes: 80,
            tensors: tensors.map(Some).into(),
            work: Vec::new(),
        }
    }

    #[test]
    fn slices_of_a_concat_lie_side_by_side_in_it_and_each_is_as_tall_as_its_bytes() {
        let memory = memory();
        let places = places(&memory);
        let of = |tensor: usize| {
            let place = places.iter().find(|place| place.tensor == tensor).unwrap();
            (place.first, place.bytes)
        };
        assert_eq!((of(0), of(1)), ((64.0, 12.0), (76.0, 20.0)));
        assert_eq!((of(2), of(3)), ((64.0, 32.0), (0.0, 16.0)));
        assert_eq!(places[0].tensor, 2, "what lies inside is drawn later");
    }

    #[test]
    fn a_name_stands_where_no_other_tensor_is_drawn() {
        let memory = memory();
        let places = places(&memory);
        let of = |tensor: usize| {
            bare(&memory, &places, places.iter().find(|place| place.tensor == tensor).unwrap())
        };
        assert_eq!((of(0), of(2), of(3)), (1..3, 4..5, 0..2));
    }

    #[test]
    fn lives_are_told_in_steps() {
        let told = |life: Range<usize>| when(&placement(0..4, 1, 1, life), 5);
        assert_eq!(told(0..7), "all the time");
        assert_eq!(told(0..3), "from the start to step 1");
        assert_eq!(told(2..3), "step 1");
        assert_eq!(told(2..4), "steps 1 to 2");
        assert_eq!(told(3..7), "from step 2 to the end");
    }

    #[test]
    fn ticks_are_few_and_within_the_arena() {
        for arena in [1, 64, 1_152_000, 1 << 30] {
            let ticks: Vec<u64> = ticks(arena).collect();
            assert!((1..=8).contains(&ticks.len()) && ticks[0] == 0, "{ticks:?}");
            assert!(ticks.iter().all(|&tick| tick <= arena as u64), "{ticks:?}");
        }
    }
}
