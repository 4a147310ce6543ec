//! The paper's scheme run end to end: a plain reference executor, `--scheme paper`.
//!
//! Every layer takes the four steps of the paper's section 3: *quantize* what it reads by Formula 1,
//! *multiply* 8-bit codes into 32-bit integers, *dequantize* the sums to reals, and apply the
//! operators without weights (`operators.rs`) to those. At a point the boundary crosses as codes
//! (Formula 1) and the cloud turns them back into reals (Formula 2).
//!
//! Thresholds are one pair for each tensor, activations and weights alike: the least and the greatest
//! value seen, not moved so that zero is a code. Padding is no value then, so sums run over the taps
//! inside of the image. Activations are f64, as the scalar arithmetic in `seam_kernels::paper` is.
//! Nothing here is fast.

mod operators;

use std::collections::HashMap;
use std::sync::Mutex;

use seam_kernels::paper::{Products, Thresholds};

use crate::Error;
use crate::calibrate::Inputs;
use crate::fp32::Plan;
use crate::network::{Conv, Linear, Network, Node, Op, Sliding};

/// Most products in a sum that i32 holds for sure: 255² each.
const DEEPEST: usize = i32::MAX as usize / (255 * 255);

/// A network with the thresholds of its tensors, ready to run by the paper's scheme.
pub struct PaperScheme<'a> {
    network: &'a Network,
    /// The nodes up to the first operator that the edge cannot run.
    nodes: &'a [Node],
    thresholds: HashMap<&'a str, Thresholds>,
    /// The layers' weights, by node.
    codes: HashMap<&'a str, (Thresholds, Vec<u8>)>,
}

/// What one input leads to.
pub struct Run<'a> {
    /// Reals of every value, in ONNX's order.
    reals: HashMap<&'a str, Vec<f64>>,
}

impl<'a> PaperScheme<'a> {
    /// Finds the thresholds: weights' own, and activations' on `inputs`.
    ///
    /// # Errors
    /// There are no inputs, one cannot be made, the FP32 engine fails, or a layer sums so many
    /// products that 32 bits may not hold them.
    pub fn new(network: &'a Network, inputs: &Inputs<'_>) -> Result<PaperScheme<'a>, Error> {
        if inputs.count == 0 {
            return Err(Error::NoInputs);
        }
        let end = network.nodes.iter().position(|node| matches!(node.op, Op::Other { .. }));
        let nodes = &network.nodes[..end.unwrap_or(network.nodes.len())];
        let mut codes = HashMap::new();
        for node in nodes {
            let (weights, depth) = match &node.op {
                Op::Conv(conv) => (&conv.weights, conv.dims[1..].iter().product()),
                Op::Linear(linear) => (&linear.weights, linear.inputs),
                _ => continue,
            };
            if depth > DEEPEST {
                let layer = node.name.clone();
                return Err(Error::SchemeDepth { layer, depth, most: DEEPEST });
            }
            let thresholds = spread(Thresholds::of(weights), weights[0]);
            let quantized = weights.iter().map(|&w| thresholds.quantize(w.into())).collect();
            codes.insert(node.name.as_str(), (thresholds, quantized));
        }
        let thresholds = seen(network, nodes, inputs)?;
        Ok(PaperScheme { network, nodes, thresholds, codes })
    }

    /// Runs the network on a normalised input (CHW), as far as the edge can run it.
    ///
    /// # Errors
    /// `input` has another size than the network's.
    pub fn run(&self, input: &[f32]) -> Result<Run<'a>, Error> {
        let shape = self.network.input_shape();
        if input.len() != shape.len() {
            let (expected, found) = (shape.len(), input.len());
            return Err(Error::InputLength { expected, found, shape: shape.to_string() });
        }
        let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        let mut reals = HashMap::from([(self.network.input.as_str(), input)]);
        for node in self.nodes {
            let value = match &node.op {
                Op::Conv(conv) => self.conv(node, conv, &reals[node.inputs[0].as_str()]),
                Op::Linear(linear) => self.linear(node, linear, &reals[node.inputs[0].as_str()]),
                _ => operators::apply(self.network, node, &reals),
            };
            reals.insert(node.output(), value);
        }
        Ok(Run { reals })
    }

    /// The thresholds of a value; `None` where the network has none of that name.
    pub fn thresholds(&self, value: &str) -> Option<Thresholds> {
        self.thresholds.get(value).copied()
    }

    /// The codes by which `value` crosses a cut (Formula 1), in ONNX's order; `None` where the run
    /// has no such value.
    pub fn codes(&self, run: &Run<'_>, value: &str) -> Option<Vec<u8>> {
        Some(self.quantized(value, run.reals.get(value)?))
    }

    /// What the cloud makes of codes (Formula 2); `None` where the network has no such value.
    pub fn reals(&self, value: &str, codes: &[u8]) -> Option<Vec<f32>> {
        let thresholds = self.thresholds(value)?;
        Some(codes.iter().map(|&q| thresholds.dequantize(q) as f32).collect())
    }

    /// Step 1 of a layer.
    fn quantized(&self, value: &str, reals: &[f64]) -> Vec<u8> {
        let thresholds = self.thresholds[value];
        reals.iter().map(|&x| thresholds.quantize(x)).collect()
    }

    /// Steps 1 to 3 of a convolution.
    fn conv(&self, node: &Node, conv: &Conv, input: &[f64]) -> Vec<f64> {
        let value = node.inputs[0].as_str();
        let x = self.quantized(value, input);
        let (w_thresholds, w) = &self.codes[node.name.as_str()];
        let of = |value: &str| {
            let dims = &self.network.shapes[value];
            [dims[1], dims[2], dims[3]]
        };
        let image = Image { input: of(value), output: of(node.output()), window: conv.window };
        let [outputs, depth, rows, columns] = conv.dims;
        let (taps, pixels) = (rows * columns, image.output[1] * image.output[2]);
        let mut reals = Vec::with_capacity(outputs * pixels);
        for group in 0..conv.groups {
            let planes = &x[group * depth * image.plane()..][..depth * image.plane()];
            // What does not depend on the weights: once for all of the group's channels.
            let mut inputs = vec![0; pixels];
            let mut counts = vec![0; pixels];
            for tap in 0..taps {
                image.each_row(tap, |out, from, len, step| {
                    for plane in planes.chunks_exact(image.plane()) {
                        for i in 0..len {
                            inputs[out + i] += i32::from(plane[from + i * step]);
                        }
                    }
                    counts[out..out + len].iter_mut().for_each(|n| *n += depth as i32);
                });
            }
            let channels = outputs / conv.groups;
            for channel in group * channels..(group + 1) * channels {
                let w = &w[channel * depth * taps..][..depth * taps];
                let mut products = vec![0; pixels];
                let mut weights = vec![0; pixels];
                for tap in 0..taps {
                    let sum: i32 = w.iter().skip(tap).step_by(taps).map(|&w| i32::from(w)).sum();
                    image.each_row(tap, |out, from, len, step| {
                        weights[out..out + len].iter_mut().for_each(|n| *n += sum);
                        for (plane, w) in
                            planes.chunks_exact(image.plane()).zip(w.iter().skip(tap).step_by(taps))
                        {
                            let (w, row) = (i32::from(*w), &mut products[out..out + len]);
                            if step == 1 {
                                for (sum, &x) in row.iter_mut().zip(&plane[from..from + len]) {
                                    *sum += i32::from(x) * w;
                                }
                            } else {
                                for (i, sum) in row.iter_mut().enumerate() {
                                    *sum += i32::from(plane[from + i * step]) * w;
                                }
                            }
                        }
                    });
                }
                let x_thresholds = self.thresholds[value];
                reals.extend((0..pixels).map(|i| {
                    let sums = Products {
                        products: products[i],
                        inputs: inputs[i],
                        weights: weights[i],
                        count: counts[i],
                    };
                    sums.dequantize(x_thresholds, *w_thresholds) + f64::from(conv.bias[channel])
                }));
            }
        }
        reals
    }

    /// Steps 1 to 3 of a fully connected layer.
    fn linear(&self, node: &Node, linear: &Linear, input: &[f64]) -> Vec<f64> {
        let value = node.inputs[0].as_str();
        let x = self.quantized(value, input);
        let (w_thresholds, w) = &self.codes[node.name.as_str()];
        let rows = w.chunks_exact(linear.inputs).zip(&linear.bias);
        let real = |(row, &bias): (&[u8], &f32)| {
            let mut sums = Products::default();
            x.iter().zip(row).for_each(|(&x, &w)| sums.add(x, w));
            sums.dequantize(self.thresholds[value], *w_thresholds) + f64::from(bias)
        };
        rows.map(real).collect()
    }
}

impl Run<'_> {
    /// Reals of a value, in ONNX's order.
    pub fn reals(&self, value: &str) -> Option<&[f64]> {
        self.reals.get(value).map(Vec::as_slice)
    }
}

/// Least and greatest of every value that the nodes read or write.
fn seen<'a>(
    network: &'a Network,
    nodes: &'a [Node],
    inputs: &Inputs<'_>,
) -> Result<HashMap<&'a str, Thresholds>, Error> {
    let names: Vec<&str> = nodes.iter().map(Node::output).collect();
    let outputs: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let plan = Plan::new(network, &outputs)?;
    let extremes = Mutex::new(vec![[f32::INFINITY, f32::NEG_INFINITY]; names.len() + 1]);
    let see = |i: usize, values: &[f32]| {
        let mut extremes = extremes.lock().unwrap_or_else(|e| e.into_inner());
        for &x in values {
            extremes[i] = [extremes[i][0].min(x), extremes[i][1].max(x)];
        }
    };
    for i in 0..inputs.count {
        let input = (inputs.at)(i)?;
        see(0, &input);
        plan.run(input, |output, values| see(output + 1, values))?;
    }
    let extremes = extremes.into_inner().unwrap_or_else(|e| e.into_inner());
    let names = std::iter::once(network.input.as_str()).chain(names);
    let thresholds = names.zip(extremes).map(|(name, [min, max])| match (max - min).is_finite() {
        true => Ok((name, spread(Thresholds::of(&[min, max]), min))),
        false => Err(Error::NotFinite { value: name.into() }),
    });
    thresholds.collect()
}

/// A tensor that is `value` throughout has that as its least, and any greatest.
fn spread(thresholds: Option<Thresholds>, value: f32) -> Thresholds {
    let one = || Thresholds::new(f64::from(value), f64::from(value) + 1.0);
    thresholds.or_else(one).unwrap_or_else(|| unreachable!("values are finite"))
}

/// A window over an image, channels first.
struct Image {
    /// Channels, rows, columns.
    input: [usize; 3],
    output: [usize; 3],
    window: Sliding,
}

impl Image {
    /// Elements of one channel.
    fn plane(&self) -> usize {
        self.input[1] * self.input[2]
    }

    /// Calls `see` for each output row that a tap meets inside of the image: index of the first
    /// output, index of its input, how many, and the inputs' distance.
    fn each_row(&self, tap: usize, mut see: impl FnMut(usize, usize, usize, usize)) {
        let Sliding { kernel, stride, dilation, pads } = self.window;
        let [ky, kx] = [tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1]];
        let [height, width] = [self.input[1], self.input[2]];
        // Outputs whose tap is inside: first, and one behind the last.
        let inside = |k: usize, pad: usize, stride: usize, size: usize, outputs: usize| {
            let first = pad.saturating_sub(k).div_ceil(stride);
            let end = (size + pad).saturating_sub(k).div_ceil(stride);
            first.min(outputs)..end.min(outputs)
        };
        let columns = inside(kx, pads[1], stride[1], width, self.output[2]);
        if columns.is_empty() {
            return;
        }
        for row in inside(ky, pads[0], stride[0], height, self.output[1]) {
            let y = row * stride[0] + ky - pads[0];
            let x = columns.start * stride[1] + kx - pads[1];
            let out = row * self.output[2] + columns.start;
            see(out, y * width + x, columns.len(), stride[1]);
        }
    }
}
