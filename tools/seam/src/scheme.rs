//! `seam eval --scheme paper`: the paper's own quantization, run step by step, against the integer
//! path, on the same images at every point.

use std::sync::Arc;

use anyhow::{Context, Result};
use seam_compiler::{Engine, Inputs, PaperScheme};
use seam_kernels::quantize::quantize_value;
use seam_runtime::Model;
use seam_runtime::boundary::describe;
use seam_runtime::graph::{Element, Point, Tensor};
use serde_json::json;

use crate::eval::Split;
use crate::images::{self, Item};
use crate::table::Table;
use crate::workers::{self, Merge};

/// Images to compare on, and to take thresholds from, unless others are asked for.
pub(crate) const IMAGES: usize = 20;

/// Both schemes at one point, over all images.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Compared {
    point: String,
    images: usize,
    /// Right first answers in FP32, on the integer path, under the paper's scheme.
    right: [usize; 3],
    /// Both schemes have the same first answer.
    agree: usize,
    codes: Codes,
}

/// The boundary's codes under both schemes, on the integer path's grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Codes {
    count: u64,
    different: u64,
    /// Sum of the differences.
    sum: u64,
    largest: u8,
}

impl Codes {
    fn add(&mut self, a: u8, b: u8) {
        let difference = a.abs_diff(b);
        self.count += 1;
        self.different += u64::from(difference > 0);
        self.sum += u64::from(difference);
        self.largest = self.largest.max(difference);
    }

    fn merge(&mut self, other: &Codes) {
        self.count += other.count;
        self.different += other.different;
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
    }
}

/// Compares both schemes on `items` at each of `points`; thresholds are taken from `calibration`.
///
/// # Errors
/// An image cannot be read, or a network not run.
pub(crate) fn compare(
    model: &Arc<Model>,
    engine: &Engine,
    points: &[Point],
    calibration: &[Item],
    items: &[Item],
    offset: usize,
) -> Result<Vec<Compared>> {
    let graph = model.graph();
    let shape = graph.tensor(graph.input).shape;
    let input = |item: &Item| -> seam_runtime::Result<Vec<f32>> {
        Ok(graph.preprocess.to_f32(&images::pixels(&item.path, &graph.preprocess, shape)?))
    };
    let calibration = &calibration[..calibration.len().min(IMAGES)];
    let inputs = Inputs { count: calibration.len(), at: &|i: usize| Ok(input(&calibration[i])?) };
    let scheme = PaperScheme::new(engine.network(), &inputs)?;
    // At `input` nothing runs on the edge under either scheme.
    let points: Vec<Point> = points.iter().copied().filter(|p| *p != Point::Input).collect();
    let named =
        |&point: &Point| Compared { point: graph.point_name(point).into(), ..Compared::default() };
    let empty: Vec<Compared> = points.iter().map(named).collect();
    workers::sum(
        items,
        "the paper's scheme",
        &empty,
        || Split::new(model, engine, &points),
        |split, item, sums| {
            let run = scheme.run(&input(item)?)?;
            let (fp32, integer) = split.answers(item)?;
            for ((point, int8), compared) in points.iter().zip(&integer).zip(sums.iter_mut()) {
                let paper = match point {
                    Point::Output => {
                        let output = run.reals(engine.network().output());
                        let output = output.context("the paper's scheme gave no answer")?;
                        output.iter().map(|&x| x as f32).collect()
                    }
                    _ => {
                        let boundary = describe(graph, *point);
                        let missing = || format!("the FP32 network has no {}", boundary.name);
                        let codes = scheme.codes(&run, &boundary.name).with_context(missing)?;
                        let reals = scheme.reals(&boundary.name, &codes).with_context(missing)?;
                        let tensor = graph.tensor(boundary.tensor);
                        compared.codes.merge(&codes_of(&reals, split.boundary(*point), tensor));
                        engine.tail(*point)?.run_reals(&reals)?
                    }
                };
                let firsts = [&fp32, int8, &paper].map(|answer| first(answer));
                let class = item.label.unwrap_or_default() + offset;
                compared.images += 1;
                for (right, first) in compared.right.iter_mut().zip(firsts) {
                    *right += usize::from(first == Some(class));
                }
                compared.agree += usize::from(firsts[1] == firsts[2]);
            }
            Ok(())
        },
    )
}

impl Merge for Compared {
    fn merge(&mut self, other: &Compared) {
        self.images += other.images;
        self.agree += other.agree;
        self.codes.merge(&other.codes);
        self.right.iter_mut().zip(other.right).for_each(|(a, b)| *a += b);
    }
}

impl Compared {
    fn percent(&self, hits: usize) -> f64 {
        100.0 * hits as f64 / self.images.max(1) as f64
    }
}

/// Compares a boundary's reals, in ONNX's order, with its codes, channels last.
fn codes_of(reals: &[f32], codes: &[u8], tensor: &Tensor) -> Codes {
    let mut compared = Codes::default();
    let Element::U8 { scale, zero_point } = tensor.element else { return compared };
    let (pixels, channels) = (tensor.shape.pixels(), tensor.shape.c);
    for (i, &real) in reals.iter().enumerate() {
        let code = codes[i % pixels * channels + i / pixels];
        compared.add(quantize_value(real, scale, zero_point), code);
    }
    compared
}

/// Index of the largest value; of equal ones the first.
fn first(answer: &[f32]) -> Option<usize> {
    let largest = answer.iter().copied().max_by(f32::total_cmp)?;
    answer.iter().position(|x| *x == largest)
}

/// Prints the comparison, as a table or as JSON.
pub(crate) fn print(compared: &[Compared], as_json: bool) {
    let images = compared.first().map_or(0, |row| row.images);
    if as_json {
        let row = |row: &Compared| {
            let Codes { count, different, sum, largest } = row.codes;
            json!({
                "at": row.point,
                "top1": {
                    "fp32": row.percent(row.right[0]),
                    "integer": row.percent(row.right[1]),
                    "paper": row.percent(row.right[2]),
                },
                "agreement": row.percent(row.agree),
                "codes": {
                    "count": count,
                    "different": different,
                    "sum_of_differences": sum,
                    "largest_difference": largest,
                },
            })
        };
        let points: Vec<_> = compared.iter().map(row).collect();
        println!("{:#}", json!({ "images": images, "points": points }));
        return;
    }
    let title = format!("The paper's scheme against the integer path, {images} images");
    let header = [
        "cut at",
        "agreement %",
        "largest difference, codes",
        "mean",
        "equal codes %",
        "FP32 top-1 %",
        "integer",
        "paper",
    ];
    let mut table = Table::new("scheme", title, &header);
    for row in compared {
        let Codes { count, different, sum, largest } = row.codes;
        // The answer itself does not cross as codes.
        let of_codes = |text: String| if count == 0 { "–".to_string() } else { text };
        let part = |n: u64| n as f64 / count.max(1) as f64;
        let [fp32, integer, paper] = row.right.map(|hits| format!("{:.2}", row.percent(hits)));
        table.row([
            row.point.clone(),
            format!("{:.2}", row.percent(row.agree)),
            of_codes(largest.to_string()),
            of_codes(format!("{:.3}", part(sum))),
            of_codes(format!("{:.2}", 100.0 * part(count - different))),
            fp32,
            integer,
            paper,
        ]);
    }
    table.note(
        "agreement: both schemes have the same first answer; codes: on the integer path's grid",
    );
    print!("{}", table.text());
}

#[cfg(test)]
mod tests {
    use seam_kernels::Shape;

    use super::*;

    #[test]
    fn codes_are_compared_across_layouts() {
        let element = Element::U8 { scale: 0.5, zero_point: 10 };
        let tensor = Tensor { name: "t".into(), shape: Shape::new(1, 2, 3), element };
        // Channels first: pixel 0 and 1 of each of three channels.
        let reals = [0.0, 1.0, -1.0, 2.0, 3.0, 100.0];
        // Channels last; the third pixel pair differs by 1 and, saturated, by 5.
        let codes = [10, 8, 17, 12, 14, 205];
        let compared = codes_of(&reals, &codes, &tensor);
        assert_eq!(compared, Codes { count: 6, different: 2, sum: 1 + 5, largest: 5 });
    }

    #[test]
    fn sums_over_images_follow_their_definitions() {
        let codes = Codes { count: 4, different: 1, sum: 2, largest: 2 };
        let one = Compared { point: "p".into(), images: 1, right: [1, 0, 1], agree: 0, codes };
        let mut both = one.clone();
        both.merge(&Compared { right: [0, 1, 1], agree: 1, ..one });
        assert_eq!((both.images, both.right, both.agree), (2, [1, 1, 2], 1));
        assert_eq!(both.codes, Codes { count: 8, different: 2, sum: 4, largest: 2 });
        assert_eq!(both.percent(both.agree), 50.0);
    }

    #[test]
    fn the_first_of_equal_answers_counts() {
        assert_eq!(first(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(first(&[]), None);
    }
}
