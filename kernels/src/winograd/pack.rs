//! Weights transformed and laid out, and the proof that sums of them are exact.
//!
//! Packed bytes, columns of each group padded to whole (or half) panels: per column the number
//! added behind the shift (i32), the multiplier (f32), and what position (1, 1) starts from (i32);
//! then the panels. A panel holds, for every set of transformed weights, for every pair of input
//! channels, for every column, the pair of i16.

use super::Kernel;
use super::form::Form;
use crate::ConvGeometry;

/// Where everything lies in packed bytes.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Pairs of a group's input channels.
    pub(crate) pairs: usize,
    /// Columns of one group, padding included.
    pub(crate) columns: usize,
    /// Offset of the multipliers.
    pub(crate) multipliers: usize,
    /// Offset of the starts.
    pub(crate) starts: usize,
    /// Offset of the panels.
    panels: usize,
    /// Bytes of one column, all sets.
    column: usize,
    /// Bytes in all.
    len: usize,
}

impl Layout {
    pub(crate) fn new<K: Kernel, F: Form>(g: &ConvGeometry) -> Layout {
        let pairs = g.group_inputs().div_ceil(2);
        let columns = g.group_outputs().next_multiple_of(K::COLUMNS / 2);
        let of_channels = 4 * g.groups * columns;
        let panels = (3 * of_channels).next_multiple_of(64);
        let column = 4 * F::SETS * pairs;
        let len = panels + g.groups * columns * column;
        let starts = 2 * of_channels;
        Layout { pairs, columns, multipliers: of_channels, starts, panels, column, len }
    }

    /// Panels of one group.
    pub(crate) fn panel_count<K: Kernel>(&self) -> usize {
        self.columns.div_ceil(K::COLUMNS)
    }

    /// Those that are not half.
    pub(crate) fn whole_panels<K: Kernel>(&self) -> usize {
        self.columns / K::COLUMNS
    }

    /// Bytes of a panel.
    pub(crate) fn panel_len<K: Kernel>(&self, panel: usize) -> usize {
        self.width::<K>(panel) * self.column
    }

    /// Columns of panel `panel` of a group.
    pub(crate) fn width<K: Kernel>(&self, panel: usize) -> usize {
        (self.columns - panel * K::COLUMNS).min(K::COLUMNS)
    }

    /// Offset of panel `panel` of `group`.
    pub(crate) fn panel<K: Kernel>(&self, group: usize, panel: usize) -> usize {
        let column = group * self.columns + panel * K::COLUMNS;
        self.panels + column * self.column
    }
}

/// Bytes that [`pack`] writes.
pub(crate) fn packed_len<K: Kernel, F: Form>(g: &ConvGeometry) -> usize {
    Layout::new::<K, F>(g).len
}

/// The sums of a channel's positive and of its negative weights' magnitudes.
fn sums(weights: &[i8]) -> [i64; 2] {
    weights.iter().fold([0, 0], |[positive, negative], &w| {
        let w = i64::from(w);
        [positive + w.max(0), negative + (-w).max(0)]
    })
}

/// Whether the sums of every output channel lie in a range that the form can tell apart.
pub(crate) fn is_exact<F: Form>(g: &ConvGeometry, weights: &[i8]) -> bool {
    weights.chunks_exact(g.depth()).all(|channel| {
        let [positive, negative] = sums(channel);
        255 * (positive + negative) < 1 << F::BITS
    })
}

/// Packs OHWI weights with one bias and one multiplier per output channel.
pub(crate) fn pack<K: Kernel, F: Form>(
    g: &ConvGeometry,
    input_zero_point: u8,
    weights: &[i8],
    bias: &[i32],
    multipliers: &[f32],
    packed: &mut [u8],
) {
    let layout = Layout::new::<K, F>(g);
    let (inputs, outputs) = (g.group_inputs(), g.group_outputs());
    let packed = &mut packed[..layout.len];
    packed.fill(0);
    for (channel, weights) in weights.chunks_exact(g.depth()).enumerate() {
        let (group, column) = (channel / outputs, channel % outputs);
        let [positive, negative] = sums(weights);
        // Moves -255 N ..= 255 P to the middle of the range.
        let offset = (255 * (negative - positive)).div_euclid(2);
        let zero_points = i64::from(input_zero_point) * (positive - negative);
        let behind = i64::from(bias[channel]) - zero_points - offset;
        let slot = 4 * (group * layout.columns + column);
        let mut put = |at: usize, four: [u8; 4]| packed[at + slot..][..4].copy_from_slice(&four);
        // The last addition is modulo 2^32 too, and the accumulator itself fits.
        put(0, (behind as i32).to_le_bytes());
        put(layout.multipliers, multipliers[channel].to_le_bytes());
        put(layout.starts, ((i64::from(F::ONE * F::ONE) * offset) as i32).to_le_bytes());

        let (panel, in_panel) = (column / K::COLUMNS, column % K::COLUMNS);
        let width = layout.width::<K>(panel);
        for input in 0..inputs {
            let tap = |y: usize, x: usize| i32::from(weights[(3 * y + x) * inputs + input]);
            let rows = [0, 1, 2].map(|y| F::weights([tap(y, 0), tap(y, 1), tap(y, 2)]));
            for x in 0..F::ROWS {
                let column = F::weights(rows.map(|row| row[x]));
                for (y, weight) in column.into_iter().enumerate().take(F::ROWS) {
                    let pair = (y * F::ROWS + x) * layout.pairs + input / 2;
                    let at = layout.panel::<K>(group, panel)
                        + 4 * (pair * width + in_panel)
                        + 2 * (input % 2);
                    packed[at..][..2].copy_from_slice(&(weight as i16).to_le_bytes());
                }
            }
        }
    }
}
