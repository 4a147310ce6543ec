//! The geometry of operators that slide a window over an image.

use std::ops::Range;

use crate::view::Shape;

/// A sliding window: its size, steps and the padding before the first row and column. What it
/// overhangs at the end follows from the output's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from one position to the next.
    pub stride: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Rows of padding above and columns of padding to the left.
    pub pad: [usize; 2],
}

impl Window {
    /// A 1×1 window at stride 1.
    pub const POINTWISE: Window =
        Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };

    /// Taps of one position.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Row and column of the input under tap (`ky`, `kx`) at output position (`oy`, `ox`), `None`
    /// where the tap falls on padding.
    pub fn tap(
        &self,
        input: Shape,
        [oy, ox]: [usize; 2],
        [ky, kx]: [usize; 2],
    ) -> Option<[usize; 2]> {
        let y = (oy * self.stride[0] + ky * self.dilation[0]).checked_sub(self.pad[0])?;
        let x = (ox * self.stride[1] + kx * self.dilation[1]).checked_sub(self.pad[1])?;
        (y < input.h && x < input.w).then_some([y, x])
    }

    /// The window's rows that lie on an input of `rows` rows at output row `oy`; the first where none
    /// does.
    pub(crate) fn rows_on_input(&self, rows: usize, oy: usize) -> Range<usize> {
        let [kernel, stride, dilation, pad] =
            [self.kernel, self.stride, self.dilation, self.pad].map(|[of_rows, _]| of_rows);
        let above = |y: usize| y.saturating_sub(oy * stride).div_ceil(dilation).min(kernel);
        let on_input = above(pad)..above(rows + pad);
        if on_input.is_empty() { 0..1 } else { on_input }
    }
}

/// A convolution (ONNX `Conv`, batch 1), or a fully connected layer as one over a 1×1 image.
///
/// Weights are OHWI: `[output.c][kernel rows][kernel columns][input.c / groups]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// The window.
    pub window: Window,
    /// Groups: output channel `o` reads the `input.c / groups` channels of group
    /// `o / (output.c / groups)`.
    pub groups: usize,
}

impl ConvGeometry {
    /// A fully connected layer from `inputs` to `outputs` values.
    pub const fn fully_connected(inputs: usize, outputs: usize) -> ConvGeometry {
        ConvGeometry {
            input: Shape::new(1, 1, inputs),
            output: Shape::new(1, 1, outputs),
            window: Window::POINTWISE,
            groups: 1,
        }
    }

    /// Input channels that one output channel reads.
    pub const fn group_inputs(&self) -> usize {
        self.input.c / self.groups
    }

    /// Output channels of one group.
    pub const fn group_outputs(&self) -> usize {
        self.output.c / self.groups
    }

    /// Products summed into one output value.
    pub const fn depth(&self) -> usize {
        self.window.taps() * self.group_inputs()
    }

    /// Weights.
    pub const fn weights(&self) -> usize {
        self.output.c * self.depth()
    }

    /// Multiply-accumulates, taps on padding counted.
    pub const fn macs(&self) -> u64 {
        self.output.len() as u64 * self.depth() as u64
    }

    /// One input channel per group.
    pub const fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_inputs() == 1
    }
}

/// A pooling operator (ONNX `MaxPool`, `AveragePool`): the output has the input's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output, `ceil_mode` already applied.
    pub output: Shape,
    /// The window.
    pub window: Window,
}

/// The output side of a quantized operator: its zero point and the codes that a fused ReLU, ReLU6
/// or Clip lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clamp {
    /// Zero point of the output.
    pub zero_point: u8,
    /// Smallest code.
    pub lo: u8,
    /// Largest code; not below `lo`.
    pub hi: u8,
}

impl Clamp {
    /// Every code.
    pub const fn none(zero_point: u8) -> Clamp {
        Clamp { zero_point, lo: 0, hi: 255 }
    }
}
